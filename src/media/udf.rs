//! The size and name of a UDF volume (ECMA-167 part 3, OSTA UDF 2.60): anchor, volume descriptor sequence, and no further.
//!
//! The anchor is looked for at sector 256 only, and sectors have 2,048 bytes: a volume made for hard disks with other blocks shows
//! nothing to the CD drive of a virtual machine either. Such a volume is accepted with its size unknown.

use super::{ReadAt, Refusal, SECTOR_BYTES, text, window};
use window::{Sector, Stop, Window, field};

/// How many descriptors of the main sequence are read at most; it has 16 sectors by the standard's minimum, and in practice.
pub const SEQUENCE_MAX: u64 = 64;

const ANCHOR_SECTOR: u32 = 256;

const TAG_ANCHOR: u16 = 2;
const TAG_PRIMARY: u16 = 1;
const TAG_PARTITION: u16 = 5;
const TAG_LOGICAL_VOLUME: u16 = 6;
const TAG_END: u16 = 8;

/// What the volume says of itself; nothing where its anchor is not among the bytes that are there.
#[derive(Debug, Default)]
pub(super) struct Volume {
    pub(super) label: Option<String>,
    /// Up to the end of the last partition or sequence.
    pub(super) declared_bytes: Option<u64>,
}

/// Reads anchor and main sequence.
pub(super) fn read_volume<S: ReadAt + ?Sized>(window: &mut Window<'_, S>) -> Result<Volume, Stop> {
    let Some(anchor) = window.sector(ANCHOR_SECTOR.into())?.filter(|sector| tag(sector, ANCHOR_SECTOR) == Some(TAG_ANCHOR)) else {
        return Ok(Volume::default());
    };
    let sectors = u64::from(u32::from_le_bytes(field(&anchor, 16))) / SECTOR_BYTES as u64;
    let start = u32::from_le_bytes(field(&anchor, 20));

    let mut end = end_of(start.into(), sectors).max(end_of(ANCHOR_SECTOR.into(), 1));
    let (mut logical, mut primary) = (None, None);
    for index in 0..u32::try_from(sectors.min(SEQUENCE_MAX)).unwrap_or(0) {
        let Some(location) = start.checked_add(index) else { break };
        let Some(sector) = window.sector(location.into())? else { break };
        match tag(&sector, location) {
            Some(TAG_PRIMARY) => primary = text::from_dstring(&sector[24..56]),
            Some(TAG_LOGICAL_VOLUME) => logical = text::from_dstring(&sector[84..212]),
            Some(TAG_PARTITION) => {
                let (first, length) = (u32::from_le_bytes(field(&sector, 188)), u32::from_le_bytes(field(&sector, 192)));
                end = end.max(end_of(first.into(), length.into()));
            }
            Some(TAG_END) | None => break,
            // Implementation use, unallocated space, a pointer to a further sequence: none of them adds to size or name.
            Some(_) => {}
        }
    }
    Ok(Volume { label: logical.or(primary), declared_bytes: Some(end) })
}

/// A volume of UDF alone without room for its anchor has been cut off.
pub(super) fn require_room_for_anchor<S: ReadAt + ?Sized>(window: &Window<'_, S>) -> Result<(), Refusal> {
    let should = end_of(ANCHOR_SECTOR.into(), 1);
    match window.total() {
        Some(has) if has < should => Err(Refusal::Truncated { has, should }),
        _ => Ok(()),
    }
}

/// Where this many sectors end, in bytes. Both numbers have 32 bits in the file, so nothing saturates there.
fn end_of(start: u64, sectors: u64) -> u64 {
    start.saturating_add(sectors).saturating_mul(SECTOR_BYTES as u64)
}

/// The kind of descriptor in this sector, if its tag is sound (7.2): the sum of its bytes but the fifth, and its own location.
fn tag(sector: &Sector, location: u32) -> Option<u16> {
    let sum = sector[..16].iter().enumerate().filter(|(index, _)| *index != 4).fold(0_u8, |sum, (_, byte)| sum.wrapping_add(*byte));
    let is_sound = sum == sector[4] && u32::from_le_bytes(field(sector, 12)) == location;
    is_sound.then(|| u16::from_le_bytes(field(sector, 0))).filter(|kind| *kind != 0)
}
