//! Files made to be taken for something else, sources that misbehave, and changes at random.

use std::cell::Cell;

use super::{sample::*, tests::*, *};

const DISK_MAGICS: [(usize, &[u8]); 17] = [
    (0, b"QFI\xfb\0\0\0\x03"),
    (0, b"QFI\xfb\0\0\0\x01"),
    (0, b"QED\0"),
    (0, b"KDMV"),
    (0, b"COWD"),
    (0, b"# Disk DescriptorFile\nversion=1\n"),
    (0, b"version=1\nRW 1 FLAT \"/etc/passwd\" 0\n"),
    (0, b"vhdxfile"),
    (0, b"conectix"),
    (64, b"\x7f\x10\xda\xbe"),
    (0, b"LUKS\xba\xbe\0\x01"),
    (16_384, b"SKUL\xba\xbe\0\x02"),
    (0, b"WithoutFreeSpace"),
    (0, b"WithouFreSpacExt"),
    (0, b"Bochs Virtual HD Image"),
    (0, b"#!/bin/sh\n#V2.0 Format\n"),
    (0, b"OOOM\0\0\0\x02"),
];

#[test]
fn a_medium_that_is_a_disk_image_too_is_refused_as_such() {
    for medium in [iso(), udf(), bridge()] {
        for (offset, magic) in DISK_MAGICS {
            let image = changed(medium.clone(), |image| image[offset..][..magic.len()].copy_from_slice(magic));
            assert_eq!(refused(&image).code(), "iso.polyglot", "{}", magic.escape_ascii());
            assert_eq!(code(&whole(&image[..20 * SECTOR_BYTES])), "iso.polyglot", "also when cut off");
        }
    }
}

#[test]
fn a_disk_image_alone_is_not_an_iso_and_named() {
    for (offset, magic) in DISK_MAGICS {
        for length in [512 + 17_000, 300_000] {
            let image = changed(vec![0; length], |image| image[offset..][..magic.len()].copy_from_slice(magic));
            assert!(matches!(refused(&image), Refusal::NotIso { looks_like: Some(_) }), "{}", magic.escape_ascii());
        }
    }
}

#[test]
fn a_disk_image_footer_at_the_end_of_an_iso_is_refused() {
    for (before_end, magic) in [(512, &b"conectix"[..]), (511, b"conectix"), (1024, b"KDMV"), (512, b"koly")] {
        for length in [iso().len(), 3_000_000] {
            let image = changed(iso(), |image| {
                image.resize(length, 0);
                image[length - before_end..][..magic.len()].copy_from_slice(magic);
            });
            assert_eq!(code(&whole(&image)), "iso.polyglot", "{before_end} before the end of {length}");
            assert_eq!(code(&head_of(&image)), "accepted", "the head cannot know");
        }
    }
    let elsewhere = changed(iso(), |image| {
        image.resize(3_000_000, 0);
        image[2_000_000..2_000_008].copy_from_slice(b"conectix");
    });
    assert_eq!(code(&whole(&elsewhere)), "accepted");
}

/// Counts what is read, gives it in small pieces, and can fail.
struct Source<'a> {
    bytes: &'a [u8],
    read: Cell<usize>,
    fails_from: u64,
}

impl ReadAt for Source<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset >= self.fails_from {
            return Err(io::Error::other("the medium is gone"));
        }
        let piece = buffer.len().min(700);
        let count = self.bytes.read_at(offset, &mut buffer[..piece])?;
        self.read.set(self.read.get() + count);
        Ok(count)
    }
}

#[test]
fn reading_is_bounded_and_works_in_pieces() {
    let endless = changed(bridge(), |image| {
        (19..84).for_each(|sector| put(image, sector, &descriptor(3, b"CD001")));
        image.resize(2 * READ_LIMIT, 0);
    });
    for image in [iso(), udf(), bridge(), endless] {
        let source = Source { bytes: &image, read: Cell::new(0), fails_from: u64::MAX };
        assert_eq!(look_at_file(&source, image.len() as u64).unwrap(), whole(&image));
        assert!(source.read.get() <= READ_LIMIT / 2, "{}", source.read.get());
    }
}

#[test]
fn an_error_of_reading_passes_through() {
    for fails_from in [0, 65_536, u64::from(ISO_SECTORS - 1) * 2048] {
        let source = Source { bytes: &iso(), read: Cell::new(0), fails_from };
        assert_eq!(look_at_file(&source, iso().len() as u64).unwrap_err().to_string(), "the medium is gone");
    }
}

#[test]
fn a_source_with_less_than_promised_does_no_harm() {
    assert!(look_at_file(&iso()[..HEAD_BYTES], u64::MAX).unwrap().is_ok());
    assert_eq!(code(&look_at_file(&[][..], u64::MAX).unwrap()), "iso.not_iso");
}

/// Numerical Recipes' linear congruential generator: the same bytes on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    /// A byte that is worth trying, at a place that is looked at.
    fn change(&mut self, image: &mut [u8]) -> (usize, u8) {
        const PLACES: [(usize, usize); 7] =
            [(0, 1024), (32_768, 2048), (34_816, 8192), (64 * 2048, 6144), (39 * 2048, 256), (256 * 2048, 32), (0, usize::MAX)];
        let (start, length) = PLACES[self.below(PLACES.len())];
        let start = if start < image.len() { start } else { 0 };
        let at = start + self.below(length.min(image.len() - start));
        let before = image[at];
        image[at] = match self.below(6) {
            0 => 0,
            1 => 0xff,
            2 => before.wrapping_add(1),
            3 => before ^ (1 << self.below(8)),
            4 => b"CD001BEANSRTEQFI%/@\x88\x90\x91\xef"[self.below(23)],
            _ => u8::try_from(self.below(256)).unwrap(),
        };
        (at, before)
    }
}

#[test]
fn two_hundred_thousand_mutated_heads_never_panic() {
    let mut random = Random(2026);
    let mut accepted = 0_u32;
    for mut image in [iso(), bridge()[..HEAD_BYTES].to_vec()] {
        for round in 0..100_000_u64 {
            let undo: Vec<_> = (0..=random.below(6)).map(|_| random.change(&mut image)).collect();
            let total = [None, Some(image.len() as u64), Some(round), Some(u64::MAX)][random.below(4)];
            match look_at_head(&image[..image.len().min(HEAD_BYTES)], total) {
                Ok(label) => {
                    accepted += 1;
                    assert!(label.declared_bytes <= total || total.is_none());
                }
                Err(refusal) => assert!(!refusal.to_string().is_empty()),
            }
            undo.into_iter().rev().for_each(|(at, before)| image[at] = before);
        }
    }
    assert!((20_000..180_000).contains(&accepted), "{accepted} accepted: the changes hit too little or too much");
}

#[test]
fn mutated_files_never_panic_and_what_the_head_refuses_the_file_refuses() {
    let mut random = Random(1);
    for mut image in [iso(), udf(), bridge()] {
        for _ in 0..5_000 {
            let undo: Vec<_> = (0..=random.below(6)).map(|_| random.change(&mut image)).collect();
            let cut = if random.below(3) == 0 { random.below(image.len()) } else { image.len() };
            let (from_head, from_file) = (head_of(&image[..cut]), whole(&image[..cut]));
            if from_head.is_err() {
                assert!(from_file.is_err(), "{from_head:?} but {from_file:?}");
            }
            undo.into_iter().rev().for_each(|(at, before)| image[at] = before);
        }
    }
}
