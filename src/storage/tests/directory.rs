//! The folder, its marker and what is found in place of files.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;

#[test]
fn a_marker_is_never_overwritten() {
    let storage = Fixture::new();
    let before = snapshot(storage.folder.path());
    Directory::initialise(storage.folder.path(), storage.dir.id(), "2030-01-01T00:00:00Z").unwrap();
    let refused = Directory::initialise(storage.folder.path(), StorageId::new(), NOW).unwrap_err();
    assert!(matches!(refused, StorageError::OtherMedium { found } if found == storage.dir.id()), "{refused}");
    assert_eq!(snapshot(storage.folder.path()), before);

    let damaged = tempfile::tempdir().unwrap();
    for bad in [&b"{"[..], b"", b"{\"vmimg_storage\":2,\"id\":\"x\"}", b"[]", &[b' '; 70_000]] {
        fs::write(damaged.path().join(".vmimg-storage.json"), bad).unwrap();
        let refused = Directory::initialise(damaged.path(), StorageId::new(), NOW).unwrap_err();
        assert!(matches!(refused, StorageError::BadMarker { .. }), "{refused}");
        assert_eq!(fs::read(damaged.path().join(".vmimg-storage.json")).unwrap(), bad);
    }
}

#[test]
fn a_marker_that_is_a_link_or_a_pipe_is_refused() {
    let storage = Fixture::new();
    let marker = storage.path(".vmimg-storage.json");
    fs::rename(&marker, storage.path("elsewhere")).unwrap();
    symlink(storage.path("elsewhere"), &marker).unwrap();
    assert!(matches!(storage.dir.probe(), Err(StorageError::BadMarker { .. })));
    fs::remove_file(&marker).unwrap();
    mkfifoat(CWD, &marker, Mode::from_raw_mode(0o600)).unwrap();
    assert!(matches!(storage.dir.probe(), Err(StorageError::BadMarker { .. })));
}

#[test]
fn another_medium_refuses_every_operation_and_gets_no_byte() {
    let (ours, other) = (Fixture::new(), Fixture::new());
    let image = ImageId::new();
    other.publish(image, b"theirs").unwrap();
    let before = snapshot(other.folder.path());
    let confused = Directory::at(other.folder.path(), ours.dir.id());
    for (operation, error) in every_operation(&confused, image) {
        assert!(matches!(error, StorageError::OtherMedium { found } if found == other.dir.id()), "{operation}: {error}");
    }
    let part = ours.dir.create_part(image, None).unwrap();
    assert!(matches!(confused.publish(image, part, 0, &manifest(&confused, image, b"")), Err(StorageError::OtherMedium { .. })));
    assert_eq!(snapshot(other.folder.path()), before);
}

#[test]
fn an_empty_mount_point_gets_no_byte() {
    let empty = tempfile::tempdir().unwrap();
    let dir = Directory::at(empty.path(), StorageId::new());
    for (operation, error) in every_operation(&dir, ImageId::new()) {
        assert!(matches!(error, StorageError::NoMarker), "{operation}: {error}");
    }
    assert_eq!(snapshot(empty.path()), []);
}

#[test]
fn a_root_must_be_a_folder_reached_without_links() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    fs::write(folder.path().join("file"), b"").unwrap();
    symlink(folder.path(), folder.path().join("link")).unwrap();
    let inspect = |below: &str| Directory::inspect(&folder.path().join(below));
    assert!(inspect("real").is_ok());
    assert!(matches!(inspect("nothing"), Err(StorageError::NotThere { .. })));
    assert!(matches!(inspect("file"), Err(StorageError::NotADirectory { .. })));
    assert!(matches!(inspect("link"), Err(StorageError::ThroughALink { .. })));
    assert!(matches!(inspect("link/real"), Err(StorageError::ThroughALink { .. })));
    assert!(matches!(inspect("real/.."), Err(StorageError::BadPath)));
    assert!(matches!(Directory::inspect(Path::new("tmp")), Err(StorageError::BadPath)));
}

#[test]
fn an_inspection_counts_and_leaves_nothing() {
    let storage = Fixture::new();
    storage.publish(ImageId::new(), b"one").unwrap();
    fs::write(storage.path("holiday.jpg"), b"").unwrap();
    let before = snapshot(storage.folder.path());
    let found = Directory::inspect(storage.folder.path()).unwrap();
    assert_eq!((found.marker, found.images, found.others), (Some(storage.dir.id()), 1, 1));
    assert!(found.space.free_bytes > 0 && found.space.free_bytes <= found.space.capacity_bytes);
    assert_eq!(snapshot(storage.folder.path()), before);
}

#[test]
fn a_probe_leaves_nothing_and_sweeps_only_old_files_of_ours() {
    let storage = Fixture::new();
    let (old, young, foreign) = (storage.path(".vmimg-probe-old"), storage.path("staging/.vmimg-tmp-young"), storage.path("old"));
    for path in [&old, &young, &foreign] {
        fs::write(path, b"").unwrap();
    }
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    for path in [&old, &foreign] {
        fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    storage.dir.probe().unwrap();
    assert!(!old.exists() && young.exists() && foreign.exists());
    assert_eq!(fs::read_dir(storage.folder.path()).unwrap().count(), 4);
}

#[test]
fn publishing_makes_a_durable_read_only_file_named_by_its_id() {
    let storage = Fixture::new();
    let image = ImageId::new();
    assert_eq!(storage.dir.look(image).unwrap(), Look::Missing);
    assert_eq!(storage.publish(image, b"bytes").unwrap(), Published { bytes: 5 });
    let meta = fs::metadata(storage.image_path(image)).unwrap();
    assert_eq!((meta.permissions().mode() & 0o7777, meta.nlink()), (0o440, 1));
    assert_eq!(fs::read(storage.image_path(image)).unwrap(), b"bytes");
    assert_eq!(storage.dir.look(image).unwrap(), Look::Present { bytes: 5 });
    assert_eq!(storage.dir.read_manifest(image).unwrap(), manifest(&storage.dir, image, b"bytes"));
    let all = Contents { images: vec![(image, 5)], parts: vec![], manifests: vec![image], unknown: 0 };
    assert_eq!(storage.dir.contents().unwrap(), all);
    storage.dir.remove(image).unwrap();
    storage.dir.remove(image).unwrap();
    assert_eq!(storage.dir.contents().unwrap(), Contents::default());
}

#[test]
fn publishing_never_replaces() {
    let storage = Fixture::new();
    let image = ImageId::new();
    storage.publish(image, b"first").unwrap();
    let before = storage.dir.read_manifest(image).unwrap();
    assert!(matches!(storage.publish(image, b"second!"), Err(StorageError::FileExists)));
    assert_eq!(fs::read(storage.image_path(image)).unwrap(), b"first");
    assert_eq!(storage.dir.read_manifest(image).unwrap(), before);
    assert!(storage.dir.open_part(image).is_ok(), "the part is kept for the caller to decide");
}

#[test]
fn publishing_refuses_another_length_and_another_manifest() {
    let storage = Fixture::new();
    let image = ImageId::new();
    let mut part = storage.dir.create_part(image, None).unwrap();
    part.write_at(0, b"12345").unwrap();
    let error = storage.dir.publish(image, part, 6, &manifest(&storage.dir, image, b"123456")).unwrap_err();
    assert!(matches!(error, StorageError::WrongSize { has: 5, should: 6 }));
    let part = storage.dir.open_part(image).unwrap();
    let error = storage.dir.publish(image, part, 5, &manifest(&storage.dir, ImageId::new(), b"12345")).unwrap_err();
    assert!(matches!(error, StorageError::BadManifest { .. }));
    assert_eq!(storage.dir.look(image).unwrap(), Look::Missing);
}

#[test]
fn a_part_that_was_exchanged_is_not_published_and_stays() {
    let storage = Fixture::new();
    let image = ImageId::new();
    let mut part = storage.dir.create_part(image, None).unwrap();
    part.write_at(0, b"ours!").unwrap();
    fs::remove_file(storage.part_path(image)).unwrap();
    fs::write(storage.part_path(image), b"evil!").unwrap();
    let error = storage.dir.publish(image, part, 5, &manifest(&storage.dir, image, b"ours!")).unwrap_err();
    assert!(matches!(error, StorageError::NotARegularFile), "{error}");
    assert_eq!(storage.dir.contents().unwrap(), Contents { parts: vec![image], ..Contents::default() });
}

type Place<'a> = Box<dyn Fn(&Path) + 'a>;

/// Puts something else at a path: a link, a pipe, a folder, a file with a second name.
fn replacements(storage: &Fixture) -> [(&'static str, Place<'_>); 4] {
    let secret = storage.path("secret");
    fs::write(&secret, b"secret").unwrap();
    let linked = secret.clone();
    [
        ("link", Box::new(move |at| symlink(&linked, at).unwrap())),
        ("pipe", Box::new(|at| mkfifoat(CWD, at, Mode::from_raw_mode(0o666)).unwrap())),
        ("folder", Box::new(|at| fs::create_dir(at).unwrap())),
        ("second name", Box::new(move |at| fs::hard_link(&secret, at).unwrap())),
    ]
}

#[test]
fn what_is_not_a_plain_file_is_refused_in_place_of_a_part() {
    let storage = Fixture::new();
    for (what, place) in replacements(&storage) {
        let image = ImageId::new();
        place(&storage.part_path(image));
        assert!(matches!(storage.dir.open_part(image), Err(StorageError::NotARegularFile)), "{what}");
        assert!(matches!(storage.dir.create_part(image, None), Err(StorageError::FileExists)), "{what}");
    }
    assert_eq!(fs::read(storage.path("secret")).unwrap(), b"secret");
}

#[test]
fn what_is_not_a_plain_file_is_refused_in_place_of_an_image() {
    let storage = Fixture::new();
    for (what, place) in replacements(&storage) {
        let image = ImageId::new();
        place(&storage.image_path(image));
        assert_eq!(storage.dir.look(image).unwrap(), Look::NotAFile, "{what}");
        assert!(matches!(storage.dir.open_file(image), Err(StorageError::NotARegularFile)), "{what}");
        assert!(matches!(storage.publish(image, b"x"), Err(StorageError::FileExists)), "{what}");
        let removed = storage.dir.remove(image);
        assert_eq!(removed.is_err(), what == "folder", "{what}");
    }
    assert_eq!(fs::read(storage.path("secret")).unwrap(), b"secret");
}

#[test]
fn our_folders_are_not_followed_through_links() {
    let (storage, outside) = (Fixture::new(), tempfile::tempdir().unwrap());
    for folder in ["images", "staging"] {
        fs::remove_dir(storage.path(folder)).unwrap();
        symlink(outside.path(), storage.path(folder)).unwrap();
    }
    assert!(storage.dir.create_part(ImageId::new(), None).is_err());
    assert!(storage.dir.remove(ImageId::new()).is_err());
    assert!(storage.dir.contents().is_err());
    assert_eq!(snapshot(outside.path()), []);
}

#[test]
fn a_rename_by_linking_that_was_cut_short_is_still_our_file() {
    let storage = Fixture::new();
    let image = ImageId::new();
    storage.publish(image, b"bytes").unwrap();
    fs::hard_link(storage.image_path(image), storage.part_path(image)).unwrap();
    assert_eq!(storage.dir.look(image).unwrap(), Look::Present { bytes: 5 });
    assert!(storage.dir.open_file(image).is_ok());
}

#[test]
fn what_was_published_and_not_recorded_is_a_part_again_wherever_that_was_cut_short() {
    let storage = Fixture::new();
    let image = ImageId::new();
    let is_a_part = || {
        storage.dir.take_back(image).unwrap();
        assert_eq!(storage.dir.contents().unwrap(), Contents { parts: vec![image], ..Contents::default() });
        assert_eq!(fs::read(storage.part_path(image)).unwrap(), b"bytes");
    };
    storage.publish(image, b"bytes").unwrap();
    is_a_part();
    // Before the rename, with the manifest in place.
    storage.dir.write_manifest(&manifest(&storage.dir, image, b"bytes")).unwrap();
    assert_eq!(storage.dir.contents().unwrap().manifests, [image]);
    is_a_part();
    // By linking, with both names.
    fs::hard_link(storage.part_path(image), storage.image_path(image)).unwrap();
    is_a_part();
}

#[test]
fn a_part_has_one_writer() {
    let storage = Fixture::new();
    let image = ImageId::new();
    let part = storage.dir.create_part(image, None).unwrap();
    assert!(matches!(storage.dir.open_part(image), Err(StorageError::PartInUse)));
    drop(part);
    assert!(storage.dir.open_part(image).is_ok());
    let mode = fs::metadata(storage.part_path(image)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn a_manifest_is_replaced_whole_and_bounded() {
    let storage = Fixture::new();
    let image = ImageId::new();
    let mut described = manifest(&storage.dir, image, b"");
    storage.dir.write_manifest(&described).unwrap();
    described.name = "another".into();
    storage.dir.write_manifest(&described).unwrap();
    assert_eq!(storage.dir.read_manifest(image).unwrap(), described);
    described.note = "x".repeat(70_000);
    assert!(matches!(storage.dir.write_manifest(&described), Err(StorageError::BadManifest { .. })));
    assert_eq!(storage.dir.read_manifest(image).unwrap().name, "another");
    assert_eq!(storage.dir.contents().unwrap().unknown, 0);
}

#[test]
fn what_others_put_beside_our_files_is_counted_and_kept() {
    let storage = Fixture::new();
    for path in ["images/notes.txt", "images/0190-not-an-id.iso", "staging/x"] {
        fs::write(storage.path(path), b"").unwrap();
    }
    assert_eq!(storage.dir.contents().unwrap(), Contents { unknown: 3, ..Contents::default() });
}

#[test]
fn messages_have_no_numbers_of_the_system_and_no_inner_paths() {
    let error = StorageError::from_failed_write(std::io::Error::from_raw_os_error(5));
    assert_eq!(error.to_string(), "The storage reported a write error (input/output error).");
    let storage = Fixture::new();
    let missing = storage.dir.open_file(ImageId::new()).unwrap_err();
    assert_eq!(missing.to_string(), "The file is not on the storage.");
}
