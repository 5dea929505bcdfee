//! Marks of everything that is not an installation image, and of partition tables, which it may have besides.
//!
//! Disk images come first and in full: each mark that a program could believe is listed with the place where the format puts it. For
//! the others a good guess is enough; it only completes a sentence.

use super::{Partitions, Refusal, window};
use window::{TAIL_BYTES, has};

type Mark = (usize, &'static [u8], &'static str);

/// Where QEMU (`bdrv_probe` of each driver), libvirt (`virstoragefileprobe`) and the inspector of `OpenStack` look for these formats.
const DISK_IMAGES: &[Mark] = &[
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"QED\0", "a QED disk image"),
    (0, b"KDMV", "a VMDK disk image"),
    (0, b"COWD", "a VMDK disk image"),
    (0, b"# Disk DescriptorFile", "a VMDK descriptor"),
    (0, b"vhdxfile", "a VHDX disk image"),
    (0, b"conectix", "a VHD disk image"),
    (64, b"\x7f\x10\xda\xbe", "a VDI disk image"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    // The second header of LUKS2, which tools believe when the first is damaged; other places are behind the system area.
    (16 * 1024, b"SKUL\xba\xbe", "a LUKS volume"),
    (0, b"WithoutFreeSpace", "a Parallels disk image"),
    (0, b"WithouFreSpacExt", "a Parallels disk image"),
    (0, b"Bochs Virtual HD Image", "a Bochs disk image"),
    (0, b"#!/bin/sh\n#V2.0 Format\n", "a cloop image"),
    (0, b"OOOM", "a COW disk image"),
];

/// The same at the end of the file; offsets count from [`TAIL_BYTES`] before it.
const DISK_IMAGE_FOOTERS: &[Mark] = &[
    (0, b"KDMV", "a VMDK disk image"),
    (TAIL_BYTES - 512, b"conectix", "a VHD disk image"),
    // Written so by early versions of Virtual PC.
    (TAIL_BYTES - 511, b"conectix", "a VHD disk image"),
    (TAIL_BYTES - 512, b"koly", "an Apple disk image"),
];

/// Files that may have an installation image inside.
const COMPRESSED: &[Mark] = &[
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"BZh", "bzip2"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"LZIP", "lzip"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
];

/// What else people pick by mistake.
const OTHERS: &[Mark] = &[
    (0, b"\x7fELF", "a program (ELF)"),
    (0, b"MZ", "a program for Windows"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"%PDF-", "a PDF document"),
    // What a failed download leaves behind.
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<!doctype", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0", "a raw CD image with sectors of 2,352 bytes (BIN): convert it to ISO first"),
    (0, b"MSWIM\0\0\0", "a Windows image (WIM)"),
    (0, b"hsqs", "a squashfs file system"),
    (0, b"XFSB", "an XFS file system"),
    (0, b"\xed\xab\xee\xdb", "an RPM package"),
    (0, b"!<arch>\n", "a Debian package or other archive"),
    (0, b"VMA\0", "a Proxmox backup (VMA)"),
    (257, b"ustar", "a tar archive or virtual appliance (OVA)"),
    (1080, b"\x53\xef", "an ext4 file system"),
    (32_777, b"CDROM", "a CD in the High Sierra format, older than ISO 9660"),
    (512, b"EFI PART", "a raw disk image (GPT)"),
    (54, b"FAT1", "a FAT file system or floppy image"),
    (82, b"FAT32", "a FAT file system"),
    (510, b"\x55\xaa", "a raw disk or its boot sector"),
];

/// The disk-image format that this file could be taken for. `tail` is the last [`TAIL_BYTES`], or less when there is no more.
pub(super) fn disk_image(head: &[u8], tail: &[u8]) -> Option<&'static str> {
    let in_footer = || if tail.len() == TAIL_BYTES { first_of(DISK_IMAGE_FOOTERS, tail) } else { None };
    first_of(DISK_IMAGES, head).or_else(|| is_vmdk_descriptor(head).then_some("a VMDK descriptor")).or_else(in_footer)
}

/// The refusal of a file without a descriptor of ISO 9660 or UDF; `disk` as [`disk_image`] found it.
pub(super) fn not_a_medium(head: &[u8], disk: Option<&'static str>) -> Refusal {
    if disk.is_none()
        && let Some(format) = first_of(COMPRESSED, head)
    {
        return Refusal::Compressed { format };
    }
    Refusal::NotIso { looks_like: disk.or_else(|| first_of(OTHERS, head)) }
}

/// The partition table in the system area. A signature alone is none: boot sectors of floppies have it too.
pub(super) fn partitions(head: &[u8]) -> Option<Partitions> {
    if has(head, 512, b"EFI PART") {
        return Some(Partitions::Gpt);
    }
    let table = head.get(446..512).filter(|_| has(head, 510, b"\x55\xaa"))?;
    let (entries, _) = table.as_chunks::<16>();
    let is_plausible = |entry: &[u8; 16]| matches!(entry[0], 0 | 0x80) && entry[4..8] != [0; 4] && entry[12..] != [0; 4];
    entries.iter().any(is_plausible).then_some(Partitions::Mbr)
}

fn first_of(marks: &[Mark], bytes: &[u8]) -> Option<&'static str> {
    marks.iter().find(|(offset, mark, _)| has(bytes, *offset, mark)).map(|(_, _, name)| *name)
}

/// QEMU takes for a VMDK descriptor, which names other files of the host, any text that says `version=1` (to 3) after lines that are
/// blank or begin with `#` (`vmdk_probe`), with or without the usual first line. It looks at 512 bytes; four times that here.
fn is_vmdk_descriptor(head: &[u8]) -> bool {
    let text = &head[..head.len().min(2048)];
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if !line.is_empty() && line[0] != b'#' {
            return matches!(line, b"version=1" | b"version=2" | b"version=3");
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_qemu_takes_for_a_vmdk_descriptor_is_one() {
        let cases: [(&[u8], bool); 8] = [
            (b"# Disk DescriptorFile\nversion=1\n", true),
            (b"version=1\nRW 1 FLAT \"/etc/passwd\" 0\n", true),
            (b"#\n# anything\n  \r\nversion=3\r\n", true),
            (b"#!/bin/sh\nversion=2\n", true),
            (b"version=4\n", false),
            (b"# version=1\nx\nversion=1\n", false),
            (b"\0\0\0\0version=1\n", false),
            (b"", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_vmdk_descriptor(text), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_partition_table_needs_a_plausible_entry() {
        let mut sector = [0_u8; 1024];
        sector[510..512].copy_from_slice(b"\x55\xaa");
        assert_eq!(partitions(&sector), None);
        sector[446] = 0x80;
        sector[450] = 0x17;
        assert_eq!(partitions(&sector), None, "an entry without sectors");
        sector[458] = 1;
        assert_eq!(partitions(&sector), Some(Partitions::Mbr));
        sector[446] = 0x33;
        assert_eq!(partitions(&sector), None, "a status that no entry has");
        sector[512..520].copy_from_slice(b"EFI PART");
        assert_eq!(partitions(&sector), Some(Partitions::Gpt));
        assert_eq!(partitions(&sector[..500]), None);
    }
}
