//! The boot catalogue of El Torito 1.0: for which firmware the medium has something to start.
//!
//! Only the first sector of the catalogue is read, 64 records, and boot images not at all. A catalogue that cannot be read or makes no
//! sense says nothing, and refuses nothing: a medium without it may still be of use.

use super::{ReadAt, SECTOR_BYTES, window};
use window::{Stop, Window};

const RECORD_BYTES: usize = 32;

const PLATFORM_X86: u8 = 0;
const PLATFORM_EFI: u8 = 0xef;

/// For which firmware there is a bootable entry.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boot {
    pub(super) bios: bool,
    pub(super) uefi: bool,
}

/// Reads the catalogue at `sector`, if it is among the bytes that are there.
pub(super) fn read_catalogue<S: ReadAt + ?Sized>(window: &mut Window<'_, S>, sector: u32) -> Result<Boot, Stop> {
    Ok(window.sector(sector.into())?.map_or_else(Boot::default, |sector| boot_of(&sector)))
}

/// The validation entry, the default entry, then sections: a header with the platform, and its entries.
fn boot_of(catalogue: &[u8; SECTOR_BYTES]) -> Boot {
    let mut boot = Boot::default();
    let (records, _) = catalogue.as_chunks::<RECORD_BYTES>();
    let [validation, default, sections @ ..] = records else { return boot };
    // Its checksum is not asked for: firmware starts media without it.
    if validation[0] != 1 || validation[30..] != [0x55, 0xaa] {
        return boot;
    }
    boot.note(validation[1], default[0]);

    let (mut platform, mut entries_left, mut is_last) = (0, 0_u16, false);
    for record in sections {
        match record[0] {
            // Continues the entry before it.
            0x44 => {}
            indicator if entries_left > 0 => {
                boot.note(platform, indicator);
                entries_left -= 1;
            }
            header @ (0x90 | 0x91) if !is_last => {
                platform = record[1];
                entries_left = u16::from_le_bytes([record[2], record[3]]);
                is_last = header == 0x91;
            }
            _ => break,
        }
    }
    boot
}

impl Boot {
    fn note(&mut self, platform: u8, indicator: u8) {
        if indicator == 0x88 {
            self.bios |= platform == PLATFORM_X86;
            self.uefi |= platform == PLATFORM_EFI;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn the_platforms_of_bootable_entries_are_what_counts() {
        let cases = [
            (&[(0, 0x88)][..], (true, false)),
            (&[(0xef, 0x88)], (false, true)),
            (&[(0, 0x88), (0xef, 0x88)], (true, true)),
            (&[(0, 0x88), (0xef, 0)], (true, false)),
            (&[(0, 0), (0xef, 0)], (false, false)),
            (&[(1, 0x88), (2, 0x88)], (false, false)),
        ];
        for (entries, (bios, uefi)) in cases {
            assert_eq!(boot_of(&sample::boot_catalogue(entries)), Boot { bios, uefi }, "{entries:?}");
        }
    }

    #[test]
    fn a_catalogue_that_makes_no_sense_says_nothing() {
        let mut no_key = sample::boot_catalogue(&[(0, 0x88)]);
        no_key[30] = 0;
        for catalogue in [[0; SECTOR_BYTES], [0xff; SECTOR_BYTES], no_key] {
            assert_eq!(boot_of(&catalogue), Boot::default());
        }
    }

    #[test]
    fn a_section_that_claims_more_entries_than_fit_ends_with_the_sector() {
        let mut catalogue = sample::boot_catalogue(&[(0, 0), (0xef, 0x88)]);
        catalogue[66..68].fill(0xff);
        assert_eq!(boot_of(&catalogue), Boot { bios: false, uefi: true });
    }

    #[test]
    fn what_stands_behind_the_last_section_does_not_count() {
        let mut catalogue = sample::boot_catalogue(&[(0, 0x88), (0, 0)]);
        catalogue[128..132].copy_from_slice(&[0x91, 0xef, 1, 0]);
        catalogue[160] = 0x88;
        assert_eq!(boot_of(&catalogue), Boot { bios: true, uefi: false });
    }

    #[test]
    fn an_extension_record_is_not_counted_as_an_entry() {
        let mut catalogue = sample::boot_catalogue(&[(0, 0x88), (0xef, 0)]);
        catalogue[66] = 2;
        catalogue[128] = 0x44;
        catalogue[160] = 0x88;
        assert_eq!(boot_of(&catalogue), Boot { bios: true, uefi: true });
    }
}
