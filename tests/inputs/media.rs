//! Group I: files that are no installation images, odd ones, damaged ones, and ones that are something else as well.

#![allow(dead_code, reason = "the builder of media has more than is used here")]

#[path = "../../src/media/sample.rs"]
mod sample;

use std::{path::Path, process::Command};

use sample::{bridge, descriptor, iso, joliet, primary, put, udf};

use super::{
    Batch,
    fixtures::{iso_of, sha256},
    table::{Act, Left, Row, so},
    usual,
    world::{World, ask, form},
};

const SECTOR_BYTES: usize = 2_048;

/// Offers a file as the console's script does: its first 64 KiB, and if they are taken, all of it.
fn offered(make: impl FnOnce() -> Vec<u8> + 'static) -> Act {
    Box::new(move |world| {
        let (name, bytes) = (world.fresh("medium"), make());
        let base = world.draft(&name);
        Box::new(move |world| world.deliver(&base, "medium.iso", &bytes))
    })
}

/// Refused by its first 64 KiB or by its size: no image comes to be.
fn early(id: &'static str, what: impl Into<String>, code: &'static str, make: impl FnOnce() -> Vec<u8> + 'static) -> Row {
    Row::new(id, what, offered(make), &[422]).words(&[code])
}

/// Refused when it is whole: the image stays, Pending, without its bytes.
fn late(id: &'static str, what: impl Into<String>, code: &'static str, make: impl FnOnce() -> Vec<u8> + 'static) -> Row {
    early(id, what, code, make).left(Left::Pending("refused"))
}

/// Taken, and shown with these words.
fn taken(id: &'static str, what: impl Into<String>, words: &'static [&'static str], make: impl FnOnce() -> Vec<u8> + 'static) -> Row {
    Row::new(id, what, offered(make), &[200]).left(Left::Available).also(move |world, _| {
        let page = ask("GET", format!("/images/{}", world.newest())).send(world);
        let said = page.words();
        words.iter().try_for_each(|word| so(said.contains(word), || format!("the page does not say “{word}”: {said}")))
    })
}

fn changed(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut bytes);
    bytes
}

/// 100,000 bytes that begin so.
fn begins(at: usize, mark: &[u8]) -> Vec<u8> {
    changed(vec![0x35; 100_000], |bytes| bytes[at..at + mark.len()].copy_from_slice(mark))
}

/// What some tool makes of a small folder.
fn made(program: &'static str, arguments: &'static [&'static str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::create_dir(here.join("d")).unwrap();
    std::fs::write(here.join("d/readme with a long name.txt"), "hello").unwrap();
    std::fs::write(here.join("d/boot.bin"), vec![0x90; 2_048]).unwrap();
    std::fs::write(here.join("d/big"), vec![7; 300_000]).unwrap();
    run(program, arguments, here);
    std::fs::read(here.join("out.iso")).unwrap()
}

fn run(program: &str, arguments: &[&str], here: &Path) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output = Command::new(program).args(arguments).current_dir(here).env("PATH", path).output();
    let output = output.unwrap_or_else(|failed| panic!("{program}: {failed}; tests/tools/setup installs it"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn rows() -> Vec<Batch> {
    let mut rows = Vec::new();
    rows.extend(something_else());
    rows.extend(descriptors());
    rows.extend(truncated());
    rows.extend(whole_media());
    rows.extend(also_something_else());
    rows.push(
        taken("B-I15", "64 MiB of zeros behind a head that declares them", &["64 MiB"], || zeros(32_768, 32_768))
            .differs("64 MiB instead of 8 GiB: what is read of a file does not depend on its size (at most 1 MiB)"),
    );
    rows.push(early("B-I15", "64 MiB of zeros behind a head that declares 8 GiB", "iso.truncated", || zeros(32_768, 4_194_304)));
    rows.push(taken("B-I16", "without a boot catalogue", &["not bootable"], || iso_of("NOBOOT", 50)));
    vec![usual(rows)]
}

fn zeros(sectors: usize, declared: u32) -> Vec<u8> {
    changed(vec![0; sectors * SECTOR_BYTES], |bytes| {
        put(bytes, 16, &primary(declared, 2_048, "ZEROS"));
        put(bytes, 17, &descriptor(255, b"CD001"));
    })
}

fn something_else() -> Vec<Row> {
    let not = |what: &'static str, make: fn() -> Vec<u8>| early("B-I01", what, "iso.not_iso", make);
    let mut rows = vec![
        not("random bytes", || (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
        not("a text", || b"This is a text about installation images.\n".repeat(2_000)),
        not("zeros", || vec![0; 100_000]),
        not("a web page, as a failed download leaves", || b"<!DOCTYPE html><html><body>404</body></html>".repeat(1_000)),
        not("an ext4 file system", || begins(1_080, b"\x53\xef")),
        not("a FAT32 file system", || changed(begins(82, b"FAT32   "), |bytes| bytes[510..512].copy_from_slice(b"\x55\xaa"))),
        not("a floppy image", || {
            changed(vec![0; 1_474_560], |bytes| {
                bytes[54..62].copy_from_slice(b"FAT12   ");
                bytes[510..512].copy_from_slice(b"\x55\xaa");
            })
        }),
        not("a raw disk with GPT", || begins(512, b"EFI PART")),
        not("a raw disk with MBR", || begins(510, b"\x55\xaa")),
        not("a raw CD with sectors of 2,352 bytes", || begins(0, b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0")),
        not("a High Sierra CD", || begins(32_777, b"CDROM")),
        not("a tar archive", || begins(257, b"ustar")),
        not("CD00 where CD001 should be", || begins(32_769, b"CD00\0")),
        not("CD001 a byte too late", || begins(32_770, b"CD001")),
    ];
    for (what, mark) in [
        ("PNG", &b"\x89PNG\r\n\x1a\n"[..]),
        ("JPEG", b"\xff\xd8\xff\xe0"),
        ("GIF", b"GIF89a"),
        ("PDF", b"%PDF-1.7"),
        ("ELF", b"\x7fELF\x02\x01\x01"),
        ("a program for Windows", b"MZ\x90\0"),
        ("a program for macOS", b"\xcf\xfa\xed\xfe"),
        ("WIM", b"MSWIM\0\0\0"),
        ("squashfs", b"hsqs"),
        ("XFS", b"XFSB"),
        ("RPM", b"\xed\xab\xee\xdb"),
        ("deb", b"!<arch>\ndebian-binary"),
        ("cpio", b"070701"),
        ("cab", b"MSCF\0\0\0\0"),
        ("arj", b"\x60\xea"),
        ("chm", b"ITSF\x03"),
        ("swf", b"FWS\x06"),
        ("rtf", b"{\\rtf1"),
        ("a mail", b"From: a@example.org\r\nSubject: x\r\n\r\n"),
        ("TNEF", b"\x78\x9f\x3e\x22"),
        ("OLE2", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        ("sis", b"\x12\x3a\0\x10"),
        ("a script", b"#!/bin/sh\n"),
    ] {
        rows.push(early("B-I01", format!("{what} named .iso"), "iso.not_iso", move || begins(0, mark)));
    }
    for (what, mark) in [
        ("gzip", &b"\x1f\x8b\x08"[..]),
        ("zip", b"PK\x03\x04"),
        ("7z", b"7z\xbc\xaf\x27\x1c"),
        ("rar", b"Rar!\x1a\x07"),
        ("xz", b"\xfd7zXZ\0"),
        ("bzip2", b"BZh9"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
    ] {
        rows.push(early("B-I01", format!("{what} named .iso"), "iso.compressed", move || begins(0, mark)));
    }
    rows
}

fn descriptors() -> Vec<Row> {
    let with = |change: fn(&mut Vec<u8>)| move || changed(iso(), change);
    let pvd = 16 * SECTOR_BYTES;
    assert_eq!(pvd, 32_768);
    let mut rows = vec![
        early("B-I02", "an end descriptor alone", "iso.inconsistent", || {
            changed(vec![0; 100_000], |bytes| put(bytes, 16, &descriptor(255, b"CD001")))
        }),
        early("B-I02", "boot records alone", "iso.inconsistent", || {
            changed(vec![0; 100_000], |bytes| (16..20).for_each(|sector| put(bytes, sector, &descriptor(0, b"CD001"))))
        }),
        late("B-I02", "64 descriptors, none of them primary", "iso.inconsistent", || {
            changed(vec![0; 300_000], |bytes| (16..100).for_each(|sector| put(bytes, sector, &descriptor(3, b"CD001"))))
        })
        .left(Left::Changed)
        .also(nothing_on_the_storage),
        late("B-I02", "the primary descriptor behind 70 others", "iso.inconsistent", || {
            changed(vec![0; 300_000], |bytes| {
                (16..86).for_each(|sector| put(bytes, sector, &descriptor(3, b"CD001")));
                put(bytes, 86, &primary(100, 2_048, "LATE"));
            })
        })
        .left(Left::Changed)
        .also(nothing_on_the_storage),
        late("B-I03", "64 descriptors and no end", "iso.inconsistent", || {
            changed(vec![0; 400_000], |bytes| {
                put(bytes, 16, &primary(150, 2_048, "NOEND"));
                (17..120).for_each(|sector| put(bytes, sector, &descriptor(3, b"CD001")));
            })
        }),
        late("B-I03", "4,000 descriptors", "iso.inconsistent", || {
            changed(vec![0; 4_016 * SECTOR_BYTES], |bytes| {
                put(bytes, 16, &primary(4_016, 2_048, "MANY"));
                (17..4_016).for_each(|sector| put(bytes, sector, &descriptor(3, b"CD001")));
            })
        })
        .differs("4,000 instead of a million: no more than 64 are read of any number"),
        taken("B-I03", "three descriptors and no end", &["Available"], || changed(iso(), |bytes| put(bytes, 19, &[0; SECTOR_BYTES])))
            .differs("a list that simply stops is what every operating system reads; only one that goes on beyond 64 is refused"),
        early("B-I04", "two sizes", "iso.inconsistent", with(|bytes| bytes[32_768 + 84..][..4].copy_from_slice(&41_u32.to_be_bytes()))),
        early("B-I04", "one size alone, of Intel", "iso.inconsistent", with(|bytes| bytes[32_768 + 84..][..4].fill(0))),
        early("B-I04", "one size alone, of Motorola", "iso.inconsistent", with(|bytes| bytes[32_768 + 80..][..4].fill(0))),
        early(
            "B-I04",
            "two block sizes",
            "iso.inconsistent",
            with(|bytes| bytes[32_768 + 130..][..2].copy_from_slice(&1_024_u16.to_be_bytes())),
        ),
        early("B-I04", "version 0 of the descriptor", "iso.inconsistent", with(|bytes| bytes[32_768 + 6] = 0)),
        early("B-I05", "a volume of 0 blocks", "iso.inconsistent", || changed(iso(), |bytes| put(bytes, 16, &primary(0, 2_048, "NONE")))),
        early("B-I05", "2^32-1 blocks", "iso.truncated", || changed(iso(), |bytes| put(bytes, 16, &primary(u32::MAX, 2_048, "MOST")))),
    ];
    for bytes in [0_u16, 1, 511, 513, 2_047, 4_096, 12_336, u16::MAX] {
        rows.push(early("B-I05", format!("blocks of {bytes} bytes"), "iso.inconsistent", move || {
            changed(iso(), |image| put(image, 16, &primary(40, bytes, "BLOCKS")))
        }));
    }
    // A directory whose records lead into themselves, and names that are longer than they can be.
    let loops = |extent: u32| {
        move || {
            changed(iso_of("LOOP", 60), |bytes| {
                let root = 16 * SECTOR_BYTES + 156;
                bytes[root] = 34;
                bytes[root + 2..root + 6].copy_from_slice(&extent.to_le_bytes());
                bytes[root + 10..root + 14].copy_from_slice(&u32::MAX.to_le_bytes());
                let record = &mut bytes[20 * SECTOR_BYTES..21 * SECTOR_BYTES];
                record[0] = 255;
                record[32] = 255;
                record[34..38].copy_from_slice(b"CE\x1c\x01");
                record[38..42].copy_from_slice(&20_u32.to_le_bytes());
                record[62..66].copy_from_slice(b"ZF\xff\x01");
                record[66..70].fill(0xff);
            })
        }
    };
    rows.push(taken("B-I11", "a continuation that leads to itself", &["Available"], loops(20)));
    rows.push(taken("B-I11", "a root directory beyond the end", &["Available"], loops(u32::MAX)));
    rows.push(taken("B-I11", "a root directory in the descriptor", &["Available"], loops(16)));
    rows.push(taken("B-I11", "a boot catalogue beyond the end", &["Available"], || {
        changed(iso(), |bytes| put(bytes, 17, &sample::boot_record(u32::MAX)))
    }));
    rows.push(taken("B-I11", "a boot catalogue that is the descriptor", &["Available"], || {
        changed(iso(), |bytes| put(bytes, 17, &sample::boot_record(16)))
    }));
    rows.push(taken("B-I11", "a Joliet name of lone surrogates", &["Available"], || {
        changed(iso(), |bytes| {
            put(bytes, 18, &joliet("", b'E'));
            bytes[18 * SECTOR_BYTES + 40..][..32].fill(0xd8);
        })
    }));
    rows.push(taken("B-I11", "an anchor of UDF that leads to itself", &["Available"], || {
        changed(bridge(), |bytes| bytes[256 * SECTOR_BYTES + 20..][..4].copy_from_slice(&256_u32.to_le_bytes()))
    }));
    for (what, label) in [
        ("markup", &b"<svg onload=alert(1)>"[..]),
        ("NUL and escapes", b"A\0B\x1b[31m\r\nC"),
        ("Shift JIS", b"\x93\xfa\x96\x7b\x8c\xea"),
        ("UTF-8", "Größe №1".as_bytes()),
        ("direction marks", "\u{202e}gnp.exe\u{202c}".as_bytes()),
        ("spaces alone", b"    "),
        ("quotation marks", b"\"><b>'"),
    ] {
        rows.push(
            taken("B-I12", format!("a label of {what}"), &["Available"], move || {
                changed(iso_of("LABEL", 50), |bytes| bytes[32_768 + 40..][..label.len()].copy_from_slice(label))
            })
            .also(|world, _| {
                let id = world.newest();
                let shown = world.text(&format!("SELECT COALESCE(label, '') AS t FROM images WHERE id = '{id}'"));
                so(!shown.chars().any(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}')), || format!("the label is {shown:?}"))?;
                let page = ask("GET", format!("/images/{id}")).send(world);
                so(!page.text().contains("<svg onload") && !page.text().contains("\"><b>"), || {
                    "the label stands in the source as it is".to_owned()
                })
            }),
        );
    }
    rows
}

/// Whatever became of the image, its bytes are gone.
fn nothing_on_the_storage(world: &mut World, _: &super::answer::Answer) -> Result<(), String> {
    let id = world.newest();
    let pending = world.text(&format!("SELECT status AS t FROM images WHERE id = '{id}'"));
    so(!world.file_of(&id).exists() || pending == "available", || "the file is there".to_owned())
}

fn truncated() -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, sectors, declared) in
        [("24 of 174 blocks", 24, 174), ("25 of 26 blocks", 25, 26), ("a block is missing", 99, 100), ("a byte is missing", 0, 100)]
    {
        rows.push(
            early("B-I06", what, "iso.truncated", move || {
                let mut bytes = iso_of("CUT", declared);
                bytes.truncate(if sectors == 0 { bytes.len() - 1 } else { sectors * SECTOR_BYTES });
                bytes
            })
            .words(&["should have at least"]),
        );
    }
    for mebibytes in 1..4 {
        rows.push(early("B-I06", format!("cut after {mebibytes} of 4 MiB"), "iso.truncated", move || {
            iso_of("FOURMIB", 2_048)[..mebibytes << 20].to_vec()
        }));
    }
    rows.push(late("B-I06", "UDF, cut: its size stands beyond the first 64 KiB", "iso.truncated", || {
        let image = udf();
        image[..image.len() - SECTOR_BYTES].to_vec()
    }));
    rows.push(early("B-I06", "UDF, cut before its anchor", "iso.truncated", || udf()[..200 * SECTOR_BYTES].to_vec()));
    rows.push(late("B-I06", "a bridge, cut within UDF", "iso.truncated", || {
        let image = bridge();
        image[..image.len() - SECTOR_BYTES].to_vec()
    }));
    rows.push(
        Row::new(
            "B-I06",
            "cut, in a form without scripts",
            Box::new(|world| {
                let base = world.draft("cut in a form");
                Box::new(move |world| {
                    let mut bytes = iso_of("CUT", 100);
                    bytes.truncate(99 * SECTOR_BYTES);
                    ask("POST", format!("{base}/create")).body("multipart/form-data; boundary=b", form("x.iso", &bytes)).follow(world)
                })
            }),
            &[422, 303],
        )
        .words(&["should have at least"])
        .left(Left::Changed)
        .also(nothing_on_the_storage),
    );
    rows
}

fn whole_media() -> Vec<Row> {
    let mut rows = vec![
        taken("B-I07", "430,080 bytes of which 122,880 are declared", &["Available"], || {
            changed(iso_of("LONGER", 60), |bytes| bytes.resize(430_080, 0))
        }),
        taken("B-I07", "358,400 bytes of which 51,200 are declared", &["Available"], || {
            changed(iso_of("LONGER", 25), |bytes| bytes.resize(358_400, 1))
        }),
        taken("B-I07", "one byte more than declared", &["Available"], || changed(iso_of("LONGER", 60), |bytes| bytes.push(0))),
        taken("B-I08", "ISO with MBR", &["Available"], || {
            changed(iso(), |bytes| {
                bytes[446..462].copy_from_slice(&[0x80, 0, 1, 0, 0, 0x27, 8, 1, 0, 0, 0, 0, 0xe8, 0x0c, 0, 0]);
                bytes[510..512].copy_from_slice(b"\x55\xaa");
            })
        }),
        taken("B-I08", "ISO with GPT", &["Available"], || changed(iso(), |bytes| bytes[512..520].copy_from_slice(b"EFI PART"))),
        taken("B-I09", "UDF alone", &["UDF"], udf),
        taken("B-I10", "Joliet and El Torito", &["BIOS", "UEFI", "Sample № 1"], iso),
        taken("B-I10", "ISO 9660 and UDF", &["Available", "Sample № 1"], bridge),
    ];
    for path in [
        "/usr/lib/memtest86+/memtest86+x64.iso",
        "/usr/lib/memtest86+/memtest86+ia32.iso",
        "/usr/lib/ipxe/ipxe.iso",
        "/usr/lib/grub-rescue/grub-rescue-cdrom.iso",
    ] {
        let id = if path.contains("grub") { "B-I08" } else { "B-I07" };
        rows.push(
            taken(id, path, &["BIOS"], move || {
                std::fs::read(path).unwrap_or_else(|failed| panic!("{path}: {failed}; tests/tools/setup installs it"))
            })
            .also(move |world, _| {
                let file = world.file_of(&world.newest());
                so(std::fs::read(file).map(|bytes| sha256(&bytes)).ok() == std::fs::read(path).map(|bytes| sha256(&bytes)).ok(), || {
                    "other bytes".to_owned()
                })
            }),
        );
        if id == "B-I07" {
            rows.push(taken("B-I08", format!("{path}, as a hybrid"), &["BIOS"], move || std::fs::read(path).unwrap()));
        }
    }
    let tools: [(&str, &'static str, &'static [&'static str]); 8] = [
        ("Rock Ridge", "genisoimage", &["-R", "-V", "RR", "-o", "out.iso", "d"]),
        ("Joliet and Rock Ridge", "genisoimage", &["-J", "-r", "-V", "JR", "-o", "out.iso", "d"]),
        ("level 4", "genisoimage", &["-iso-level", "4", "-V", "L4", "-o", "out.iso", "d"]),
        ("El Torito", "genisoimage", &["-V", "ET", "-b", "boot.bin", "-no-emul-boot", "-o", "out.iso", "d"]),
        ("HFS", "genisoimage", &["-hfs", "-V", "HFS", "-o", "out.iso", "d"]),
        ("a bridge by genisoimage", "genisoimage", &["-udf", "-V", "UDF", "-o", "out.iso", "d"]),
        ("zisofs", "xorriso", &["-outdev", "out.iso", "-zisofs", "level=9", "-map", "d", "/", "-set_filter_r", "--zisofs", "/", "--"]),
        (
            "xorriso with GPT",
            "xorriso",
            &[
                "-as",
                "mkisofs",
                "-V",
                "XG",
                "-J",
                "-R",
                "-efi-boot-part",
                "--efi-boot-image",
                "-e",
                "boot.bin",
                "-no-emul-boot",
                "-o",
                "out.iso",
                "d",
            ],
        ),
    ];
    for (what, program, arguments) in tools {
        rows.push(taken("B-I10", what, &["Available"], move || made(program, arguments)));
    }
    rows.push(taken("B-I10", "several sessions", &["Available"], || {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        for session in ["one", "two", "three"] {
            std::fs::write(here.join(session), session.repeat(10_000)).unwrap();
            run("xorriso", &["-dev", "out.iso", "-map", session, &format!("/{session}"), "-commit"], here);
        }
        std::fs::read(here.join("out.iso")).unwrap()
    }));
    for (what, arguments) in [
        ("UDF 1.02", &["-b", "2048", "--media-type=dvdram", "-r", "0x0102", "--new-file", "out.iso", "2048"][..]),
        ("UDF 2.01", &["-b", "2048", "--media-type=hd", "-r", "0x0201", "--new-file", "out.iso", "2048"]),
        ("UDF 1.50", &["-b", "2048", "--media-type=hd", "-r", "0x0150", "--new-file", "out.iso", "2048"]),
    ] {
        rows.push(taken("B-I09", what, &["UDF"], move || {
            let folder = tempfile::tempdir().unwrap();
            run("mkudffs", arguments, folder.path());
            std::fs::read(folder.path().join("out.iso")).unwrap()
        }));
    }
    rows
}

fn also_something_else() -> Vec<Row> {
    let mut rows = Vec::new();
    let marks: [(&str, usize, &'static [u8]); 17] = [
        ("qcow2", 0, b"QFI\xfb\0\0\0\x03"),
        ("qcow", 0, b"QFI\xfb\0\0\0\x01"),
        ("QED", 0, b"QED\0"),
        ("VMDK", 0, b"KDMV"),
        ("VMDK of ESX", 0, b"COWD"),
        ("a VMDK descriptor", 0, b"# Disk DescriptorFile\nversion=1\nRW 1 FLAT \"/etc/passwd\" 0\n"),
        ("a VMDK descriptor without its first line", 0, b"version=1\nRW 1 FLAT \"/etc/passwd\" 0\n"),
        ("VHDX", 0, b"vhdxfile"),
        ("VHD", 0, b"conectix"),
        ("VDI", 64, b"\x7f\x10\xda\xbe"),
        ("LUKS", 0, b"LUKS\xba\xbe\0\x01"),
        ("the second header of LUKS2", 16_384, b"SKUL\xba\xbe\0\x02"),
        ("Parallels", 0, b"WithoutFreeSpace"),
        ("Parallels 2", 0, b"WithouFreSpacExt"),
        ("Bochs", 0, b"Bochs Virtual HD Image"),
        ("cloop", 0, b"#!/bin/sh\n#V2.0 Format\n"),
        ("COW", 0, b"OOOM\0\0\0\x02"),
    ];
    for (what, at, mark) in marks {
        rows.push(
            early("B-I13", format!("ISO that is {what} too"), "iso.polyglot", move || {
                changed(iso(), |bytes| bytes[at..at + mark.len()].copy_from_slice(mark))
            })
            .words(&["also looks like"]),
        );
    }
    rows.push(early("B-I13", "UDF that is qcow2 too", "iso.polyglot", || changed(udf(), |bytes| bytes[..4].copy_from_slice(b"QFI\xfb"))));
    // A header of 512-byte clusters with a backing file, as qemu-img writes it over the unused system area of a real medium.
    let qcow2 = |backing: &'static str| {
        move || {
            changed(iso(), |bytes| {
                bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
                bytes[8..16].copy_from_slice(&1_024_u64.to_be_bytes());
                bytes[16..20].copy_from_slice(&u32::try_from(backing.len()).unwrap().to_be_bytes());
                bytes[20..24].copy_from_slice(&9_u32.to_be_bytes());
                bytes[1_024..1_024 + backing.len()].copy_from_slice(backing.as_bytes());
            })
        }
    };
    for backing in [
        "secret.raw",
        "/etc/shadow",
        "json:{\"driver\":\"raw\",\"file\":{\"filename\":\"/etc/shadow\"}}",
        "nbd:127.0.0.1:1",
        "ssh://root@127.0.0.1/x",
        "/dev/sda",
        "/proc/self/environ",
    ] {
        rows.push(early("B-I13", format!("qcow2 over {backing}, within an ISO (B-Q02)"), "iso.polyglot", qcow2(backing)));
        rows.push(early("B-I13", format!("qcow2 over {backing}, alone (B-Q01)"), "iso.not_iso", move || {
            changed(qcow2(backing)(), |bytes| bytes[32_768..].fill(0))
        }));
    }
    let ends = |before: usize, mark: &'static [u8]| {
        move || {
            changed(iso_of("ENDS", 60), |bytes| {
                let at = bytes.len() - before;
                bytes[at..at + mark.len()].copy_from_slice(mark);
            })
        }
    };
    rows.push(late("B-I14", "a VHD footer", "iso.polyglot", ends(512, b"conectix")));
    rows.push(late("B-I14", "a VHD footer of 511 bytes", "iso.polyglot", ends(511, b"conectix")));
    rows.push(late("B-I14", "a VMDK footer", "iso.polyglot", ends(1_024, b"KDMV")));
    rows.push(late("B-I14", "an Apple footer", "iso.polyglot", ends(512, b"koly")));
    rows.push(taken("B-I14", "a backup of a GPT", &["Available"], ends(512, b"EFI PART")));
    rows.push(taken("B-I14", "a VHD footer in the middle", &["Available"], || {
        changed(iso_of("MIDDLE", 60), |bytes| bytes[100_000..100_008].copy_from_slice(b"conectix"))
    }));
    rows
}
