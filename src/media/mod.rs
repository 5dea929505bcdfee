//! What a file is: reads the marks of an installation image and says what it claims to be, or why it is refused.
//!
//! Media are volumes as a CD or DVD drive would show them: ISO 9660, UDF, or both. Only volume descriptors, the boot catalogue, the
//! system area and the last 1,024 bytes are ever looked at; directories, files and boot code are not. Nothing here opens, writes or
//! keeps anything: bytes come from a slice or through [`ReadAt`], at most [`READ_LIMIT`] of them, and no number found in a file decides
//! how much memory is taken or how often a loop runs.
//!
//! A file is refused when somebody could take it for a disk image as well: `qemu-img` without a stated format follows such a header to
//! other files of the host (RELIABILITY.md, finding 1).

pub mod disk_format;
pub mod el_torito;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(test)]
mod hostile_tests;
pub mod iso9660;
pub mod os_catalogue;
mod refusal;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
mod text;
pub mod udf;
mod window;

use std::{fmt, io};

pub use refusal::{Inconsistency, Refusal};
use window::{Stop, Window};

/// How much of a file's beginning is enough for [`look_at_head`], in bytes. It holds the first 16 volume descriptors.
pub const HEAD_BYTES: usize = 64 * 1024;

/// The most that [`look_at_file`] reads of one file, in bytes, the head included.
pub const READ_LIMIT: usize = 1024 * 1024;

/// The sector of every medium here, in bytes: a CD or DVD drive has no other.
const SECTOR_BYTES: usize = 2048;

/// Bytes to look at.
pub trait ReadAt {
    /// Fills `buffer` from `offset` on, and returns how many bytes were there: fewer at the end, 0 beyond it or where they are not
    /// known yet.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let there = usize::try_from(offset).ok().and_then(|start| self.get(start..)).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }
}

/// The kinds of volume that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// ECMA-119, with or without Joliet.
    Iso9660,
    /// ECMA-167 alone.
    Udf,
    /// A "bridge" disc: both describe the same medium, as on Windows installation media.
    Iso9660WithUdf,
}

impl Format {
    /// Every format, for tables and tests.
    pub const ALL: [Self; 3] = [Self::Iso9660, Self::Udf, Self::Iso9660WithUdf];

    /// The short code that a database column holds; it never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iso9660 => "iso9660",
            Self::Udf => "udf",
            Self::Iso9660WithUdf => "iso9660_udf",
        }
    }

    /// The format with this code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == code)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Iso9660 => "ISO 9660",
            Self::Udf => "UDF",
            Self::Iso9660WithUdf => "ISO 9660 with UDF",
        })
    }
}

/// The partition table in the system area of a medium that can be copied to a USB stick as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Partitions {
    /// A master boot record with at least one plausible entry.
    Mbr,
    /// A GUID partition table, protective or hybrid MBR included.
    Gpt,
}

impl fmt::Display for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mbr => "MBR",
            Self::Gpt => "GPT",
        })
    }
}

/// What an accepted file says about itself. Texts are cleaned for display, but still to be escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub format: Format,
    /// From the primary volume descriptor, at most 32 bytes there; of a UDF volume the logical volume's name.
    pub volume_id: Option<String>,
    /// Who made it, when it is not the name of a file on the medium.
    pub publisher: Option<String>,
    /// The name in the Joliet descriptor: any script, but at most 16 characters.
    pub joliet: Option<String>,
    /// How many bytes the volume says it has. The file may be longer. Of UDF it is known from the whole file only.
    pub declared_bytes: Option<u64>,
    /// The boot catalogue has a bootable entry for x86 firmware. False also where the catalogue is not among the bytes looked at: it
    /// mostly lies just behind the head.
    pub bios: bool,
    /// The same for UEFI.
    pub uefi: bool,
    pub partitions: Option<Partitions>,
}

impl Label {
    /// The name to show: Joliet's, else the volume id. Joliet ends after 16 characters; a volume id that goes on from there is whole.
    pub fn title(&self) -> Option<&str> {
        match (self.joliet.as_deref(), self.volume_id.as_deref()) {
            (Some(joliet), Some(volume_id)) if volume_id.starts_with(joliet) => Some(volume_id),
            (joliet, volume_id) => joliet.or(volume_id),
        }
    }

    /// How a virtual machine can start from it, as words for a sentence.
    pub const fn boot_words(&self) -> &'static str {
        match (self.bios, self.uefi) {
            (true, true) => "bootable by BIOS and UEFI",
            (true, false) => "bootable by BIOS",
            (false, true) => "bootable by UEFI",
            (false, false) => "not bootable",
        }
    }
}

/// Looks at the first [`HEAD_BYTES`] of a file, or at all of it when it is smaller, and at its size in bytes, if known.
///
/// A head shorter than [`HEAD_BYTES`] without a size is taken for the whole file. Whatever is refused here is refused by
/// [`look_at_file`] too; what is accepted may still turn out to be a UDF volume cut off, or to end like a disk image.
pub fn look_at_head(head: &[u8], total: Option<u64>) -> Result<Label, Refusal> {
    let head_length = u64::try_from(head.len()).unwrap_or(u64::MAX);
    let total = total.or((head.len() < HEAD_BYTES).then_some(head_length));
    // A sender's wrong size must not let bytes count that the file will not have.
    let head_length = usize::try_from(total.unwrap_or(head_length)).map_or(head.len(), |total| total.min(head.len()));
    match examine(&mut Window::<[u8]>::over_head(&head[..head_length], total)) {
        Ok(label) => Ok(label),
        Err(Stop::Refused(refusal)) => Err(refusal),
        // A slice has no input errors; the type cannot say so.
        Err(Stop::Io(_)) => Err(Refusal::NotIso { looks_like: None }),
    }
}

/// Looks at a whole file of `total` bytes, reading at most [`READ_LIMIT`] of them; errors of reading pass through.
///
/// The last bytes are part of the judgement, so a file must be complete to be cleared: where `source` has no bytes, nothing is found.
pub fn look_at_file(source: &(impl ReadAt + ?Sized), total: u64) -> Result<Result<Label, Refusal>, io::Error> {
    let mut head = vec![0; usize::try_from(total).map_or(HEAD_BYTES, |total| total.min(HEAD_BYTES))];
    let there = window::read_full(source, 0, &mut head)?;
    match examine(&mut Window::over_file(&head[..there], source, total)) {
        Ok(label) => Ok(Ok(label)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Io(error)) => Err(error),
    }
}

/// The one judgement behind both doors.
fn examine<S: ReadAt + ?Sized>(window: &mut Window<'_, S>) -> Result<Label, Stop> {
    if window.total() == Some(0) {
        return Err(Refusal::Empty.into());
    }
    let tail = window.tail()?;
    let disk = disk_format::disk_image(window.head(), &tail);
    if !iso9660::begins_in(window.head()) {
        return Err(disk_format::not_a_medium(window.head(), disk).into());
    }
    // Before everything else: a polyglot must not be described as merely truncated, which would invite to complete it.
    if let Some(format) = disk {
        return Err(Refusal::Polyglot { format }.into());
    }

    let found = iso9660::read_descriptors(window)?;
    let udf = if found.udf { Some(udf::read_volume(window)?) } else { None };
    let (format, mut label_of_udf, declared) = match (&found.primary, udf) {
        (Some(primary), None) => (Format::Iso9660, None, Some(primary.declared_bytes)),
        (Some(primary), Some(udf)) => (Format::Iso9660WithUdf, udf.label, udf.declared_bytes.max(Some(primary.declared_bytes))),
        (None, Some(udf)) => {
            udf::require_room_for_anchor(window)?;
            (Format::Udf, udf.label, udf.declared_bytes)
        }
        (None, None) => return Err(Refusal::Inconsistent { what: Inconsistency::NoPrimaryDescriptor }.into()),
    };
    if let (Some(should), Some(has)) = (declared, window.total())
        && should > has
    {
        return Err(Refusal::Truncated { has, should }.into());
    }

    let boot = match found.boot_catalogue {
        Some(sector) => el_torito::read_catalogue(window, sector)?,
        None => el_torito::Boot::default(),
    };
    let (volume_id, publisher) = found.primary.map_or((None, None), |primary| (primary.volume_id, primary.publisher));
    Ok(Label {
        format,
        volume_id: volume_id.or_else(|| label_of_udf.take()),
        publisher,
        joliet: found.joliet,
        declared_bytes: declared,
        bios: boot.bios,
        uefi: boot.uefi,
        partitions: disk_format::partitions(window.head()),
    })
}
