//! The list of volume descriptors from sector 16 on (ECMA-119 section 8), and the marks of UDF that may follow it.
//!
//! Of each descriptor only fixed fields are read: names, size, block size, and where the boot catalogue is. Path tables, directories
//! and their extensions are never followed; that is where readers of ISO files have had their overflows and endless loops.

use super::{Inconsistency, ReadAt, Refusal, SECTOR_BYTES, text, window};
use window::{Stop, Window, field, has};

/// How many descriptors are read at most, those of UDF included. Real media have 3 to 8.
pub const DESCRIPTORS_MAX: u64 = 64;

/// How many of them the primary one must be among. It is what the head holds, so that head and whole file get the same answer; the
/// boot record of El Torito has its fixed place right behind the primary descriptor, and no medium is known that has it later.
pub const PRIMARY_WITHIN: u64 = 16;

/// The first sector behind the system area.
const FIRST_SECTOR: u64 = 16;

/// Where the head says what kind of descriptor comes first.
const FIRST_MARK: usize = 16 * SECTOR_BYTES + 1;

/// Up to the end of the first descriptor, the least that a volume can have.
const DECLARED_MIN: u64 = 17 * SECTOR_BYTES as u64;

/// What the descriptors say.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    pub(super) primary: Option<Primary>,
    pub(super) joliet: Option<String>,
    /// The sector of El Torito's boot catalogue.
    pub(super) boot_catalogue: Option<u32>,
    /// The recognition sequence of UDF stands there (ECMA-167 part 2, section 8).
    pub(super) udf: bool,
}

/// What the primary volume descriptor says.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) volume_id: Option<String>,
    pub(super) publisher: Option<String>,
    pub(super) declared_bytes: u64,
}

/// Whether a first descriptor stands where it must, wholly in the head: of ISO 9660, or of UDF alone.
pub(super) fn begins_in(head: &[u8]) -> bool {
    head.len() >= 17 * SECTOR_BYTES && (has(head, FIRST_MARK, b"CD001") || has(head, FIRST_MARK, b"BEA01"))
}

/// Reads the descriptors as far as they are there.
pub(super) fn read_descriptors<S: ReadAt + ?Sized>(window: &mut Window<'_, S>) -> Result<Descriptors, Stop> {
    let mut found = Descriptors::default();
    let mut iso_has_ended = false;
    let mut udf_has_begun = false;
    for index in 0..DESCRIPTORS_MAX {
        let Some(sector) = window.sector(FIRST_SECTOR + index)? else { return Ok(found) };
        match &sector[1..6] {
            // Behind its end the list of ISO 9660 says nothing more: readers stop there, so another primary one would be a second truth.
            b"CD001" if !iso_has_ended => match (sector[0], sector[6]) {
                (255, _) => iso_has_ended = true,
                // Copies of the primary descriptor are allowed; readers take the first.
                (1, version) if found.primary.is_none() && index < PRIMARY_WITHIN => {
                    if version != 1 {
                        return Err(inconsistent(Inconsistency::DescriptorVersion(version)));
                    }
                    found.primary = Some(read_primary(&sector).map_err(inconsistent)?);
                }
                (2, 1) if found.joliet.is_none() && is_joliet(&sector) => found.joliet = text::from_wide(&sector[40..72]),
                (0, 1) if found.boot_catalogue.is_none() && has(&sector, 7, b"EL TORITO SPECIFICATION") => {
                    found.boot_catalogue = Some(u32::from_le_bytes(field(&sector, 71)));
                }
                _ => {}
            },
            b"CD001" => {}
            b"BEA01" => udf_has_begun = true,
            b"NSR02" | b"NSR03" if udf_has_begun => found.udf = true,
            // Others that may stand in the sequence of UDF: the boot descriptor and the one of CD-WO media.
            b"BOOT2" | b"CDW02" if udf_has_begun => {}
            // The end of UDF's sequence, or of the descriptors altogether. That ISO 9660's own end mark is missing is no reason to refuse
            // what every operating system reads.
            _ => return Ok(found),
        }
    }
    Err(inconsistent(Inconsistency::NoEnd { read: DESCRIPTORS_MAX }))
}

fn inconsistent(what: Inconsistency) -> Stop {
    Refusal::Inconsistent { what }.into()
}

fn read_primary(sector: &window::Sector) -> Result<Primary, Inconsistency> {
    let (little, big) = (u32::from_le_bytes(field(sector, 80)), u32::from_be_bytes(field(sector, 84)));
    if little != big {
        return Err(Inconsistency::Sizes { little, big });
    }
    let blocks = little;
    let (little, big) = (u16::from_le_bytes(field(sector, 128)), u16::from_be_bytes(field(sector, 130)));
    if little != big {
        return Err(Inconsistency::BlockSizes { little, big });
    }
    if !matches!(little, 512 | 1024 | 2048) {
        return Err(Inconsistency::BlockSize(little));
    }
    // Cannot overflow: 32 bits times 12.
    let declared_bytes = u64::from(blocks) * u64::from(little);
    if declared_bytes < DECLARED_MIN {
        return Err(Inconsistency::DeclaredTooSmall(declared_bytes));
    }
    // An underscore there says that the publisher is named in a file of the medium (8.4.20).
    let publisher = if sector[318] == b'_' { None } else { text::from_bytes(&sector[318..446]) };
    Ok(Primary { volume_id: text::from_bytes(&sector[40..72]), publisher, declared_bytes })
}

/// The three levels of UCS-2 that Joliet announces.
fn is_joliet(sector: &window::Sector) -> bool {
    matches!(&sector[88..91], b"%/@" | b"%/C" | b"%/E")
}
