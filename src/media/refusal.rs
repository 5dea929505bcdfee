//! Why a file is refused, in words for whoever chose it: each sentence names the numbers or the way out.
//!
//! The codes are for programs and never change; the sentences may.

use std::fmt;

/// A file that is not accepted as an installation image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The file has no bytes.
    Empty,
    /// No ISO 9660 or UDF descriptor where it must stand.
    NotIso { looks_like: Option<&'static str> },
    /// The descriptors contradict themselves or the standard.
    Inconsistent { what: Inconsistency },
    /// The file is shorter than its volume, in bytes.
    Truncated { has: u64, should: u64 },
    /// A medium that is a disk image at the same time.
    Polyglot { format: &'static str },
    /// Compressed or packed; there may be an image inside.
    Compressed { format: &'static str },
}

impl Refusal {
    /// The code of this refusal in the API.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "iso.empty",
            Self::NotIso { .. } => "iso.not_iso",
            Self::Inconsistent { .. } => "iso.inconsistent",
            Self::Truncated { .. } => "iso.truncated",
            Self::Polyglot { .. } => "iso.polyglot",
            Self::Compressed { .. } => "iso.compressed",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("The file is empty (0 bytes)."),
            Self::NotIso { looks_like: None } => {
                f.write_str("The file is not an installation image: it has no ISO 9660 or UDF descriptor.")
            }
            Self::NotIso { looks_like: Some(thing) } => {
                write!(f, "The file is not an installation image: it has no ISO 9660 or UDF descriptor, and looks like {thing}.")
            }
            Self::Inconsistent { what } => write!(f, "The file contradicts itself: {what}. Get it again."),
            Self::Truncated { has, should } => write!(
                f,
                "The file has {} bytes, but its volume says that it should have at least {}: it was cut off. Get it again.",
                Grouped(*has),
                Grouped(*should)
            ),
            Self::Polyglot { format } => write!(
                f,
                "The file is an ISO or UDF image that also looks like {format}, which could be used to read other files of the host. Get it from its publisher."
            ),
            Self::Compressed { format } => {
                write!(f, "The file is compressed ({format}): unpack it first, and choose the .iso file from inside.")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// What does not fit together; ECMA-119 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inconsistency {
    /// Volume descriptors, but none of type 1 among those in the head (8.4).
    NoPrimaryDescriptor,
    /// More descriptors than are read, and no end among them (8.3).
    NoEnd { read: u64 },
    /// The version of the primary descriptor is not 1 (8.4.3).
    DescriptorVersion(u8),
    /// The two byte orders of the volume's size disagree (8.4.8).
    Sizes { little: u32, big: u32 },
    /// The two byte orders of the block size disagree (8.4.12).
    BlockSizes { little: u16, big: u16 },
    /// A block size other than 512, 1,024 or 2,048 (6.2.2, for sectors of 2,048).
    BlockSize(u16),
    /// A volume too small for its own descriptors, in bytes.
    DeclaredTooSmall(u64),
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoPrimaryDescriptor => f.write_str("it has volume descriptors, but no primary one at their beginning"),
            Self::NoEnd { read } => write!(f, "its list of volume descriptors does not end within {read}"),
            Self::DescriptorVersion(version) => write!(f, "its primary volume descriptor has version {version} instead of 1"),
            Self::Sizes { little, big } => {
                write!(f, "its size is given twice, as {} and as {} blocks", Grouped(little.into()), Grouped(big.into()))
            }
            Self::BlockSizes { little, big } => {
                write!(f, "its block size is given twice, as {} and as {} bytes", Grouped(little.into()), Grouped(big.into()))
            }
            Self::BlockSize(bytes) => write!(f, "its block size is {} bytes instead of 512, 1,024 or 2,048", Grouped(bytes.into())),
            Self::DeclaredTooSmall(bytes) => {
                write!(f, "its volume says that it has {} bytes, fewer than its own descriptors need", Grouped(bytes))
            }
        }
    }
}

/// A number with commas between thousands.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_numbers_and_the_way_out() {
        let cases = [
            (Refusal::Empty, "iso.empty", "The file is empty (0 bytes)."),
            (
                Refusal::Truncated { has: 49_152, should: 356_352 },
                "iso.truncated",
                "The file has 49,152 bytes, but its volume says that it should have at least 356,352: it was cut off. Get it again.",
            ),
            (
                Refusal::Compressed { format: "xz" },
                "iso.compressed",
                "The file is compressed (xz): unpack it first, and choose the .iso file from inside.",
            ),
            (
                Refusal::NotIso { looks_like: Some("a PNG picture") },
                "iso.not_iso",
                "The file is not an installation image: it has no ISO 9660 or UDF descriptor, and looks like a PNG picture.",
            ),
            (
                Refusal::Inconsistent { what: Inconsistency::BlockSize(12_336) },
                "iso.inconsistent",
                "The file contradicts itself: its block size is 12,336 bytes instead of 512, 1,024 or 2,048. Get it again.",
            ),
            (
                Refusal::Polyglot { format: "a qcow2 disk image" },
                "iso.polyglot",
                "The file is an ISO or UDF image that also looks like a qcow2 disk image, which could be used to read other files of the host. Get it from its publisher.",
            ),
        ];
        for (refusal, code, sentence) in cases {
            assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, sentence));
        }
    }

    #[test]
    fn numbers_have_commas_between_thousands() {
        for (number, shown) in [(0, "0"), (999, "999"), (1_000, "1,000"), (u64::MAX, "18,446,744,073,709,551,615")] {
            assert_eq!(Grouped(number).to_string(), shown);
        }
    }
}
