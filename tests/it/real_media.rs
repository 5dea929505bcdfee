//! Real media, and what the usual tools make: looked at as whole files, and the smallest of them sent through the form. A file or tool
//! that is not installed fails the test: tests/tools/setup installs them all.

use std::{fs, fs::File, io, os::unix::fs::FileExt, path::Path, process::Command};

use vmimg::media::{self, Format, HEAD_BYTES, Label, ReadAt, Refusal};

use super::support::sha256;

struct OnDisk(File);

impl ReadAt for OnDisk {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}

fn look(path: &Path) -> Result<Label, Refusal> {
    let file = File::open(path).unwrap_or_else(|failed| panic!("{}: {failed}", path.display()));
    let total = file.metadata().unwrap().len();
    media::look_at_file(&OnDisk(file), total).unwrap()
}

fn look_at_head(path: &Path) -> Result<Label, Refusal> {
    let bytes = fs::read(path).unwrap();
    media::look_at_head(&bytes[..bytes.len().min(HEAD_BYTES)], Some(bytes.len() as u64))
}

fn make(program: &str, arguments: &[&str], directory: &Path) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let output = Command::new(program).args(arguments).current_dir(directory).env("PATH", path).output();
    let output = output.unwrap_or_else(|failed| panic!("{program}: {failed}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

const DEBIAN: [(&str, &str, &str); 4] = [
    ("/usr/lib/memtest86+/memtest86+x64.iso", "MT86PLUS_64", "bootable by BIOS and UEFI"),
    ("/usr/lib/memtest86+/memtest86+ia32.iso", "MT86PLUS_32", "bootable by BIOS and UEFI"),
    ("/usr/lib/ipxe/ipxe.iso", "ISOIMAGE", "bootable by BIOS and UEFI"),
    ("/usr/lib/grub-rescue/grub-rescue-cdrom.iso", "ISOIMAGE", "bootable by BIOS"),
];

#[test]
fn the_isos_that_debian_ships_are_accepted_with_names_and_boot_modes() {
    let directory = tempfile::tempdir().unwrap();
    let cut = directory.path().join("cut.iso");
    for (path, title, boots) in DEBIAN {
        let path = Path::new(path);
        let label = look(path).unwrap();
        assert_eq!((label.format, label.title(), label.boot_words()), (Format::Iso9660, Some(title), boots), "{}", path.display());
        assert_eq!(look_at_head(path).unwrap().title(), Some(title));
        let (bytes, declared) = (fs::read(path).unwrap(), label.declared_bytes.unwrap());
        assert!(declared <= bytes.len() as u64, "longer than declared is normal");
        for length in (1 << 20..declared).step_by(1 << 20) {
            fs::write(&cut, &bytes[..usize::try_from(length).unwrap()]).unwrap();
            assert_eq!(look(&cut), Err(Refusal::Truncated { has: length, should: declared }), "{}", path.display());
        }
    }
}

#[test]
fn media_made_by_the_usual_tools_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    fs::create_dir(here.join("d")).unwrap();
    fs::write(here.join("d/readme.txt"), "hello").unwrap();
    fs::write(here.join("d/big"), vec![7; 300_000]).unwrap();
    let cases: [(&str, &[&str], Format, &str); 6] = [
        ("xorriso", &["-as", "mkisofs", "-V", "Xorriso 1", "-J", "-R", "-o", "1.iso", "d"], Format::Iso9660, "Xorriso 1"),
        ("genisoimage", &["-V", "GENISO", "-o", "2.iso", "d"], Format::Iso9660, "GENISO"),
        ("genisoimage", &["-V", "Geniso Joliet", "-J", "-r", "-o", "3.iso", "d"], Format::Iso9660, "Geniso Joliet"),
        ("genisoimage", &["-udf", "-J", "-V", "BRIDGE", "-o", "4.iso", "d"], Format::Iso9660WithUdf, "BRIDGE"),
        ("mkudffs", &["-b", "2048", "--media-type=hd", "--label=Grüße", "--new-file", "5.iso", "2048"], Format::Udf, "Grüße"),
        ("mkudffs", &["-b", "2048", "--media-type=dvdram", "--label=日本", "--new-file", "6.iso", "4096"], Format::Udf, "日本"),
    ];
    for (index, (program, arguments, format, title)) in cases.into_iter().enumerate() {
        let path = here.join(format!("{}.iso", index + 1));
        make(program, arguments, here);
        let label = look(&path).unwrap();
        assert_eq!((label.format, label.title(), label.boot_words()), (format, Some(title), "not bootable"), "{arguments:?}");
        assert_eq!(look_at_head(&path).unwrap().format, format);
        let (total, declared) = (fs::metadata(&path).unwrap().len(), label.declared_bytes.unwrap());
        assert!(declared <= total && declared > 300_000, "{declared} of {total}");
        File::options().write(true).open(&path).unwrap().set_len(declared - 1).unwrap();
        assert_eq!(look(&path), Err(Refusal::Truncated { has: declared - 1, should: declared }), "{arguments:?}");
    }
}

two_databases! {
    async fn real_media_become_available_with_the_digest_of_their_source(start: Start) {
        let app = start.ready().await;
        for (path, title, boots) in DEBIAN {
            let bytes = fs::read(path).unwrap_or_else(|failed| panic!("{path}: {failed}"));
            let id = app.image(path, bytes.clone()).await;
            let page = app.admin().open(&format!("/images/{id}")).await;
            page.expect("Available").expect(&sha256(&bytes)).expect(title).expect(&boots.replace(" and ", ", "));
            assert_eq!(sha256(&fs::read(app.file_of(&id)).unwrap()), sha256(&bytes), "{path}");
        }
    }

    async fn media_of_the_usual_tools_become_available(start: Start) {
        let app = start.ready().await;
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("d")).unwrap();
        make("xorriso", &["-as", "mkisofs", "-V", "X1", "-o", "x.iso", "d"], directory.path());
        make("mkudffs", &["-b", "2048", "--media-type=hd", "--label=Grün", "--new-file", "u.iso", "1024"], directory.path());
        for (file, words) in [("x.iso", "X1"), ("u.iso", "Grün")] {
            let id = app.image(file, fs::read(directory.path().join(file)).unwrap()).await;
            app.admin().open(&format!("/images/{id}")).await.expect(words);
        }
    }
}
