//! What is accepted and what is refused, on media built here.

use super::{sample::*, *};

pub(super) fn whole(image: &[u8]) -> Result<Label, Refusal> {
    look_at_file(image, image.len() as u64).expect("a slice has no input errors")
}

pub(super) fn head_of(image: &[u8]) -> Result<Label, Refusal> {
    look_at_head(&image[..image.len().min(HEAD_BYTES)], Some(image.len() as u64))
}

pub(super) fn code(result: &Result<Label, Refusal>) -> &'static str {
    result.as_ref().map_or_else(Refusal::code, |_| "accepted")
}

/// A good image with one thing changed.
pub(super) fn changed(mut image: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut image);
    image
}

/// The same answer from head and whole file.
pub(super) fn refused(image: &[u8]) -> Refusal {
    let (from_head, from_file) = (head_of(image).unwrap_err(), whole(image).unwrap_err());
    assert_eq!(from_head, from_file);
    from_file
}

#[test]
fn a_good_iso_says_its_name_size_and_boot_modes() {
    let label = whole(&iso()).unwrap();
    assert_eq!(
        label,
        Label {
            format: Format::Iso9660,
            volume_id: Some("SAMPLE_1".into()),
            publisher: Some("US & CO".into()),
            joliet: Some("Sample № 1".into()),
            declared_bytes: Some(u64::from(ISO_SECTORS) * 2048),
            bios: true,
            uefi: true,
            partitions: None,
        }
    );
    assert_eq!((label.title(), label.boot_words()), (Some("Sample № 1"), "bootable by BIOS and UEFI"));
}

#[test]
fn the_head_alone_says_the_same_except_for_what_lies_behind_it() {
    let from_head = head_of(&iso()).unwrap();
    assert_eq!(from_head, Label { bios: false, uefi: false, ..whole(&iso()).unwrap() });
    let near = changed(iso(), |image| {
        put(image, 17, &boot_record(20));
        put(image, 20, &boot_catalogue(&[(0, 0x88)]));
    });
    assert_eq!(head_of(&near).unwrap().boot_words(), "bootable by BIOS");
    assert!(look_at_head(&near[..HEAD_BYTES], None).is_ok(), "a size that is not known yet");
}

#[test]
fn a_volume_id_that_goes_on_where_joliet_ends_is_the_title() {
    let image = changed(iso(), |image| {
        put(image, 16, &primary(ISO_SECTORS, 2048, "Debian 13.1.0 amd64 n"));
        put(image, 18, &joliet("Debian 13.1.0 am", b'C'));
    });
    assert_eq!(whole(&image).unwrap().title(), Some("Debian 13.1.0 amd64 n"));
}

#[test]
fn an_iso_without_a_boot_record_is_accepted_as_not_bootable() {
    let image = changed(iso(), |image| put(image, 17, &descriptor(3, b"CD001")));
    assert_eq!(whole(&image).unwrap().boot_words(), "not bootable");
    let far = changed(iso(), |image| put(image, 17, &boot_record(u32::MAX)));
    assert_eq!(whole(&far).unwrap().boot_words(), "not bootable");
}

#[test]
fn an_iso_longer_than_declared_is_accepted() {
    let image = changed(iso(), |image| image.resize(image.len() * 3 + 17, 0));
    assert_eq!(whole(&image).unwrap().declared_bytes, Some(u64::from(ISO_SECTORS) * 2048));
}

#[test]
fn a_truncated_iso_is_refused() {
    let image = iso();
    let should = image.len() as u64;
    for has in [should - 1, should / 2, 17 * 2048] {
        let cut = &image[..usize::try_from(has).unwrap()];
        assert_eq!(refused(cut), Refusal::Truncated { has, should });
    }
    assert_eq!(code(&whole(&image[..17 * 2048 - 1])), "iso.not_iso");
}

#[test]
fn block_sizes_of_the_standard_are_accepted_and_counted() {
    for block_bytes in [512_u16, 1024, 2048] {
        let blocks = u32::try_from(iso().len()).unwrap() / u32::from(block_bytes);
        let image = changed(iso(), |image| put(image, 16, &primary(blocks, block_bytes, "B")));
        assert_eq!(whole(&image).unwrap().declared_bytes, Some(image.len() as u64));
    }
}

#[test]
fn a_contradiction_in_the_primary_descriptor_is_refused() {
    type Change = fn(&mut Vec<u8>);
    let at = 16 * 2048;
    let cases: [(Change, Inconsistency); 9] = [
        (|image| image[16 * 2048 + 84] = 1, Inconsistency::Sizes { little: 40, big: 40 + (1 << 24) }),
        (|image| image[16 * 2048 + 131] = 1, Inconsistency::BlockSizes { little: 2048, big: 2049 }),
        (|image| put(image, 16, &primary(40, 0, "")), Inconsistency::BlockSize(0)),
        (|image| put(image, 16, &primary(40, 1, "")), Inconsistency::BlockSize(1)),
        (|image| put(image, 16, &primary(u32::MAX, 12_336, "")), Inconsistency::BlockSize(12_336)),
        (|image| put(image, 16, &primary(40, 4096, "")), Inconsistency::BlockSize(4096)),
        (|image| put(image, 16, &primary(0, 2048, "")), Inconsistency::DeclaredTooSmall(0)),
        (|image| put(image, 16, &primary(16, 2048, "")), Inconsistency::DeclaredTooSmall(32_768)),
        (|image| image[16 * 2048 + 6] = 2, Inconsistency::DescriptorVersion(2)),
    ];
    assert_eq!(at, 32_768);
    for (change, what) in cases {
        assert_eq!(refused(&changed(iso(), change)), Refusal::Inconsistent { what });
    }
    let huge = changed(iso(), |image| put(image, 16, &primary(u32::MAX, 2048, "")));
    assert_eq!(refused(&huge), Refusal::Truncated { has: huge.len() as u64, should: 8_796_093_020_160 });
}

#[test]
fn descriptors_without_a_primary_one_are_refused() {
    let what = Inconsistency::NoPrimaryDescriptor;
    for kind in [0, 3, 255] {
        let image = changed(iso(), |image| put(image, 16, &descriptor(kind, b"CD001")));
        assert_eq!(refused(&image), Refusal::Inconsistent { what });
    }
    let behind_the_end = changed(iso(), |image| {
        put(image, 16, &descriptor(255, b"CD001"));
        put(image, 17, &primary(ISO_SECTORS, 2048, "HIDDEN"));
    });
    assert_eq!(refused(&behind_the_end), Refusal::Inconsistent { what });
    let late = changed(vec![0; 200 * SECTOR_BYTES], |image| {
        (16..32).for_each(|sector| put(image, sector, &descriptor(3, b"CD001")));
        put(image, 32, &primary(200, 2048, "LATE"));
        put(image, 33, &descriptor(255, b"CD001"));
    });
    assert_eq!(refused(&late), Refusal::Inconsistent { what });
}

#[test]
fn descriptors_without_end_are_read_up_to_a_limit_and_refused() {
    let image = changed(vec![0; 2000 * SECTOR_BYTES], |image| {
        (16..2000).for_each(|sector| put(image, sector, &descriptor(3, b"CD001")));
        put(image, 16, &primary(2000, 2048, "ENDLESS"));
    });
    assert_eq!(whole(&image), Err(Refusal::Inconsistent { what: Inconsistency::NoEnd { read: iso9660::DESCRIPTORS_MAX } }));
    assert!(head_of(&image).is_ok(), "the head cannot know");
}

#[test]
fn descriptors_that_stop_without_an_end_mark_are_accepted() {
    assert!(whole(&changed(iso(), |image| put(image, 19, &[0; SECTOR_BYTES]))).is_ok());
}

#[test]
fn only_the_levels_of_joliet_name_the_volume() {
    for (level, expected) in [(b'@', Some("J")), (b'C', Some("J")), (b'E', Some("J")), (b'G', None)] {
        let image = changed(iso(), |image| put(image, 18, &joliet("J", level)));
        assert_eq!(whole(&image).unwrap().joliet.as_deref(), expected);
    }
}

#[test]
fn a_publisher_named_in_a_file_is_not_shown() {
    assert_eq!(whole(&changed(iso(), |image| image[16 * 2048 + 318] = b'_')).unwrap().publisher, None);
}

#[test]
fn udf_alone_is_accepted() {
    let label = whole(&udf()).unwrap();
    assert_eq!((label.format, label.title(), label.declared_bytes), (Format::Udf, Some("Grün"), Some(u64::from(UDF_SECTORS) * 2048)));
    let from_head = head_of(&udf()).unwrap();
    assert_eq!((from_head.format, from_head.title(), from_head.declared_bytes), (Format::Udf, None, None));
    let nsr02 = changed(udf(), |image| put(image, 17, &descriptor(0, b"NSR02")));
    assert_eq!(whole(&nsr02).unwrap().format, Format::Udf);
}

#[test]
fn a_truncated_udf_volume_is_refused() {
    let image = udf();
    let should = image.len() as u64;
    assert_eq!(whole(&image[..image.len() - 1]), Err(Refusal::Truncated { has: should - 1, should }));
    let before_anchor = &image[..256 * SECTOR_BYTES];
    assert_eq!(refused(before_anchor), Refusal::Truncated { has: 256 * 2048, should: 257 * 2048 });
}

#[test]
fn udf_with_a_broken_anchor_is_accepted_with_its_size_unknown() {
    for (offset, name) in [(0, "kind"), (4, "checksum"), (12, "location")] {
        let image = changed(udf(), |image| image[256 * SECTOR_BYTES + offset] ^= 0x40);
        assert_eq!(whole(&image).unwrap().declared_bytes, None, "{name}");
    }
}

#[test]
fn a_udf_sequence_that_claims_any_length_is_read_up_to_a_limit() {
    let image = changed(udf(), |image| image[256 * SECTOR_BYTES + 16..][..4].fill(0xff));
    assert_eq!(code(&whole(&image)), "iso.truncated", "it does not fit the file");
    let image = changed(udf(), |image| image[256 * SECTOR_BYTES + 16..][..8].fill(0xff));
    assert_eq!(code(&whole(&image)), "iso.truncated", "it does not fit 32 bits");
}

#[test]
fn a_recognition_sequence_without_a_volume_standard_is_refused() {
    let image = changed(udf(), |image| put(image, 17, &descriptor(0, b"TEA01")));
    assert_eq!(code(&whole(&image)), "iso.inconsistent");
}

#[test]
fn a_bridge_disc_is_as_long_as_the_longer_of_its_volumes() {
    let image = bridge();
    let label = whole(&image).unwrap();
    assert_eq!((label.format, label.title()), (Format::Iso9660WithUdf, Some("Sample № 1")));
    assert_eq!(label.declared_bytes, Some(image.len() as u64));
    assert_eq!(code(&whole(&image[..image.len() - 2048])), "iso.truncated");
    assert_eq!(head_of(&image).unwrap().format, Format::Iso9660WithUdf);
}

#[test]
fn a_hybrid_medium_is_accepted_and_its_partition_table_named() {
    let mbr = changed(iso(), |image| {
        image[446..462].copy_from_slice(&[0x80, 0, 1, 0, 0, 0x27, 8, 1, 0, 0, 0, 0, 0xe8, 0x0c, 0, 0]);
        image[510..512].copy_from_slice(b"\x55\xaa");
    });
    assert_eq!(whole(&mbr).unwrap().partitions, Some(Partitions::Mbr));
    let gpt = changed(mbr, |image| {
        image[512..520].copy_from_slice(b"EFI PART");
        let backup = image.len() - 512;
        image[backup..][..8].copy_from_slice(b"EFI PART");
    });
    assert_eq!((whole(&gpt).unwrap().partitions, head_of(&gpt).unwrap().partitions), (Some(Partitions::Gpt), Some(Partitions::Gpt)));
}

#[test]
fn a_compressed_file_is_refused_with_its_format() {
    for (magic, format) in [
        (&b"\x1f\x8b\x08"[..], "gzip"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"BZh9", "bzip2"),
        (b"PK\x03\x04", "zip"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
    ] {
        for length in [10, 100_000] {
            let image = changed(vec![1; length], |image| image[..magic.len()].copy_from_slice(magic));
            assert_eq!(refused(&image), Refusal::Compressed { format });
        }
    }
}

#[test]
fn something_else_is_refused_and_named_when_known() {
    let cases: [(usize, &[u8], Option<&str>); 9] = [
        (0, b"\x7fELF", Some("a program (ELF)")),
        (0, b"\x89PNG\r\n\x1a\n", Some("a PNG picture")),
        (1080, b"\x53\xef", Some("an ext4 file system")),
        (0, b"<!DOCTYPE html>", Some("a web page")),
        (257, b"ustar", Some("a tar archive or virtual appliance (OVA)")),
        (512, b"EFI PART", Some("a raw disk image (GPT)")),
        (510, b"\x55\xaa", Some("a raw disk or its boot sector")),
        (0, b"just a text", None),
        (32_769, b"CD00", None),
    ];
    for (offset, magic, looks_like) in cases {
        let image = changed(vec![0; 100_000], |image| image[offset..][..magic.len()].copy_from_slice(magic));
        assert_eq!(refused(&image), Refusal::NotIso { looks_like });
    }
}

#[test]
fn an_empty_file_is_refused_as_empty() {
    assert_eq!(refused(b""), Refusal::Empty);
    assert_eq!(look_at_head(b"", None), Err(Refusal::Empty));
    assert_eq!(code(&look_at_head(b"", Some(1 << 30))), "iso.not_iso");
}

#[test]
fn bytes_that_the_file_will_not_have_do_not_count() {
    assert_eq!(code(&look_at_head(&iso()[..HEAD_BYTES], Some(34_815))), "iso.not_iso");
    assert_eq!(look_at_head(&iso()[..HEAD_BYTES], Some(0)), Err(Refusal::Empty));
}

#[test]
fn a_format_has_one_code_and_is_read_back() {
    for format in Format::ALL {
        assert_eq!(Format::parse(format.as_str()), Some(format));
    }
    assert_eq!(Format::parse("ISO 9660"), None);
    assert_eq!(Format::Iso9660WithUdf.to_string(), "ISO 9660 with UDF");
}
