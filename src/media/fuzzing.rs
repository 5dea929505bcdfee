//! What must hold for any file that the reader of media looks at.

use std::{
    cell::Cell,
    io,
    time::{Duration, Instant},
};

use super::{Format, HEAD_BYTES, Label, READ_LIMIT, ReadAt, Refusal, look_at_file, look_at_head};
use crate::fuzzing::{length, number, take};

/// How long one look may take; an unoptimised build is given more.
const MOST_TIME: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_millis(1) };

/// A file that is all zeros but for its fragments, so that an input of a hundred bytes can stand for a medium of many gigabytes.
struct Sparse<'data> {
    total: u64,
    fragments: Vec<(u64, &'data [u8])>,
    /// Bytes given at a time.
    piece: usize,
    /// Reads that succeed.
    reads: usize,
    calls: Cell<usize>,
    given: Cell<usize>,
}

impl<'data> Sparse<'data> {
    /// Six bytes of size, then fragments: six bytes of place, two of length, content.
    fn decode(mut data: &'data [u8]) -> Self {
        let total = number(&mut data, 6);
        let mut fragments = Vec::new();
        while !data.is_empty() {
            let at = number(&mut data, 6);
            let bytes = length(&mut data, 2);
            fragments.push((at, take(&mut data, bytes)));
        }
        Self { total, fragments, piece: usize::MAX, reads: usize::MAX, calls: Cell::new(0), given: Cell::new(0) }
    }
}

impl ReadAt for Sparse<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get() > self.reads {
            return Err(io::Error::other("the medium is gone"));
        }
        let there = usize::try_from(self.total.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = buffer.len().min(there).min(self.piece);
        let buffer = &mut buffer[..count];
        buffer.fill(0);
        for (at, bytes) in &self.fragments {
            let skipped = usize::try_from(offset.saturating_sub(*at)).unwrap_or(usize::MAX);
            let start = usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
            let (Some(bytes), Some(place)) = (bytes.get(skipped..), buffer.get_mut(start..)) else { continue };
            let common = bytes.len().min(place.len());
            place[..common].copy_from_slice(&bytes[..common]);
        }
        self.given.set(self.given.get() + count);
        Ok(count)
    }
}

type Look = Result<Label, Refusal>;

/// Looks at one file in every way there is, and compares.
pub fn check(data: &[u8]) {
    let mut file = Sparse::decode(data);
    let mut head = vec![0; usize::try_from(file.total).map_or(HEAD_BYTES, |total| total.min(HEAD_BYTES))];
    let Ok(filled) = file.read_at(0, &mut head) else { return };
    assert_eq!(filled, head.len());

    let (whole, calls) = look(&file, file.total);
    sound(&whole, Some(file.total));
    let from_head = look_at_head(&head, Some(file.total));
    sound(&from_head, Some(file.total));
    agree(&from_head, &whole);
    sound(&look_at_head(&head, None), (head.len() < HEAD_BYTES).then_some(file.total));
    // A sender can state any size beside the same bytes.
    for stated in [0, 1, file.total / 2, file.total.saturating_add(1), u64::MAX] {
        sound(&look_at_head(&head, Some(stated)), Some(stated));
    }

    file.piece = 700 + usize::from(data.first().copied().unwrap_or(0)) * 16;
    assert_eq!(look(&file, file.total).0, whole, "a medium that reads in pieces of {}", file.piece);
    if let Some(reads) = usize::from(data.get(1).copied().unwrap_or(0)).checked_rem(calls) {
        (file.piece, file.reads) = (usize::MAX, reads);
        file.calls.set(0);
        assert!(look_at_file(&file, file.total).is_err(), "an error of reading is kept quiet");
    }
}

/// The look at the whole file, and how many reads it took.
fn look(file: &Sparse<'_>, total: u64) -> (Look, usize) {
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        file.calls.set(0);
        file.given.set(0);
        let start = Instant::now();
        let found = look_at_file(file, total);
        fastest = fastest.min(start.elapsed());
        assert!(file.given.get() <= READ_LIMIT, "{} bytes were read", file.given.get());
        let Ok(found) = found else { panic!("an error that the file did not give") };
        // Another process may have had the processor meanwhile; it does not have it five times. Small pieces are the file's own slowness.
        if fastest <= MOST_TIME || file.piece < HEAD_BYTES {
            return (found, file.calls.get());
        }
    }
    panic!("a look took {fastest:?}");
}

/// What an answer may say, given the file's size where it is known.
fn sound(found: &Look, total: Option<u64>) {
    match found {
        Ok(label) => {
            if let (Some(declared), Some(total)) = (label.declared_bytes, total) {
                assert!(declared <= total, "a volume of {declared} bytes in a file of {total}");
            }
            assert_ne!(total, Some(0));
            assert!(label.declared_bytes.is_some() || label.format == Format::Udf);
            for text in [&label.volume_id, &label.publisher, &label.joliet].into_iter().flatten() {
                assert!(!text.is_empty() && text.trim() == text, "{text:?} is not trimmed");
                assert!(!text.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "{text:?} shows more than text");
                assert!(text.chars().count() <= 128, "{text:?} is longer than any field");
            }
            let title = label.title();
            assert!(title.is_none() || title == label.joliet.as_deref() || title == label.volume_id.as_deref());
        }
        Err(refusal) => {
            let words = refusal.to_string();
            assert!(refusal.code().starts_with("iso.") && words.len() > 10 && !words.chars().any(char::is_control), "{words:?}");
            if let Refusal::Truncated { has, should } = refusal {
                assert!(has < should && Some(*has) == total);
            }
        }
    }
}

/// The head knows less than the file, but nothing else.
fn agree(head: &Look, whole: &Look) {
    let Ok(whole) = whole else { return };
    let Ok(head) = head else { panic!("the head refuses ({head:?}) what the file is accepted for") };
    assert!(head.format == whole.format || (head.format, whole.format) == (Format::Iso9660, Format::Iso9660WithUdf));
    assert!(head.joliet.is_none() || head.joliet == whole.joliet);
    assert_eq!((&head.publisher, head.partitions), (&whole.publisher, whole.partitions));
    assert!(head.volume_id.is_none() || head.volume_id == whole.volume_id);
    assert!(whole.bios >= head.bios && whole.uefi >= head.uefi);
    assert!(head.declared_bytes <= whole.declared_bytes);
}

#[cfg(test)]
mod tests {
    use super::{
        super::{sample::*, *},
        *,
    };

    /// An image as the target's input: what is not zero, in fragments.
    pub fn encode(image: &[u8]) -> Vec<u8> {
        let mut encoded = image.len().to_le_bytes()[..6].to_vec();
        let mut at = 0;
        while let Some(start) = image[at..].iter().position(|byte| *byte != 0).map(|start| at + start) {
            let mut end = start + 1;
            // A gap shorter than what it would cost is part of the fragment.
            while let Some(next) = image[end..].iter().take(9).position(|byte| *byte != 0) {
                end += next + 1;
                if end - start > 60_000 {
                    break;
                }
            }
            encoded.extend_from_slice(&start.to_le_bytes()[..6]);
            encoded.extend_from_slice(&(end - start).to_le_bytes()[..2]);
            encoded.extend_from_slice(&image[start..end]);
            at = end;
        }
        encoded
    }

    fn with(mut image: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        change(&mut image);
        image
    }

    #[test]
    fn an_encoded_image_is_the_image() {
        for image in [iso(), udf(), bridge()] {
            let encoded = encode(&image);
            assert!(encoded.len() < 3_000, "{}", encoded.len());
            let file = Sparse::decode(&encoded);
            assert_eq!(file.total, image.len() as u64);
            let mut read = vec![1; image.len()];
            assert_eq!(file.read_at(0, &mut read).unwrap(), image.len());
            assert!(read == image);
            assert!(look_at_file(&file, file.total).unwrap().is_ok());
            let mut middle = [1; 5_000];
            file.read_at(33_000, &mut middle).unwrap();
            assert!(middle[..] == image[33_000..38_000]);
        }
    }

    #[test]
    fn the_seeds_are_what_the_builders_make() {
        let gpt = |image: &mut Vec<u8>| {
            image[510..520].copy_from_slice(b"\x55\xaaEFI PART");
            image[446..462].copy_from_slice(b"\x80\0\0\0\x17\0\0\0\x01\0\0\0\x40\0\0\0");
        };
        let chain = |image: &mut Vec<u8>| (19..84).for_each(|sector| put(image, sector, &descriptor(3, b"CD001")));
        let images = [
            ("iso", iso()),
            ("udf", udf()),
            ("bridge", bridge()),
            ("hybrid", with(iso(), gpt)),
            ("qcow2", with(iso(), |image| image[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03"))),
            ("vhd-footer", with(bridge(), |image| image.extend([&b"conectix"[..], &[1; 504]].concat()))),
            ("vmdk-descriptor", with(iso(), |image| image[..22].copy_from_slice(b"# Disk\nversion=1\nRW 1 "))),
            ("no-end", with(bridge(), chain)),
            ("cut", iso()[..20 * 2048].to_vec()),
            ("small-blocks", with(iso(), |image| put(image, 16, &primary(160, 512, "SMALL BLOCKS")))),
            ("far-catalogue", with(iso(), |image| put(image, 17, &boot_record(u32::MAX)))),
            ("gzip", b"\x1f\x8b\x08\0\0\0\0\0".to_vec()),
        ];
        for (name, image) in images {
            crate::fuzzing::short::seed("media", name, &encode(&image));
        }
    }
}
