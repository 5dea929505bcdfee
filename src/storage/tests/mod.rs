//! Facts about storages, against real folders.

mod directory;
mod full;
mod pool;
mod receive;

use std::{fs, path::Path, sync::Arc};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

const NOW: &str = "2026-01-02T03:04:05Z";

/// A storage in a folder that goes away with it.
struct Fixture {
    folder: TempDir,
    dir: Arc<Directory>,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = Directory::initialise(folder.path(), StorageId::new(), NOW).unwrap();
        Self { folder, dir: Arc::new(dir) }
    }

    fn path(&self, below: &str) -> std::path::PathBuf {
        self.folder.path().join(below)
    }

    fn image_path(&self, image: ImageId) -> std::path::PathBuf {
        self.path(&format!("images/{image}.iso"))
    }

    fn part_path(&self, image: ImageId) -> std::path::PathBuf {
        self.path(&format!("staging/{image}.part"))
    }

    fn publish(&self, image: ImageId, bytes: &[u8]) -> Result<Published, StorageError> {
        let mut part = self.dir.create_part(image, Some(bytes.len() as u64))?;
        part.write_at(0, bytes)?;
        self.dir.publish(image, part, bytes.len() as u64, &manifest(&self.dir, image, bytes))
    }
}

fn manifest(dir: &Directory, image: ImageId, bytes: &[u8]) -> Manifest {
    Manifest {
        version: 1,
        image,
        storage: dir.id(),
        kind: "installation".into(),
        name: "Debian “13”".into(),
        note: String::new(),
        size_bytes: bytes.len() as u64,
        sha256: hex(&Sha256::digest(bytes)),
        format: "iso".into(),
        volume_label: None,
        os: "debian13".into(),
        min_vcpu: 1,
        min_memory_mib: 512,
        min_disk_gib: 4,
        created_at: NOW.into(),
        created_by: "anna".into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every path below a folder with the bytes of what is a file, to see that nothing changed.
fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
        if path.is_dir() && !path.is_symlink() {
            all.extend(snapshot(&path));
        }
    }
    all.sort();
    all
}

/// Every operation that could write.
fn every_operation(dir: &Directory, image: ImageId) -> Vec<(&'static str, StorageError)> {
    vec![
        ("probe", dir.probe().unwrap_err()),
        ("create_part", dir.create_part(image, Some(10)).unwrap_err()),
        ("open_part", dir.open_part(image).unwrap_err()),
        ("remove", dir.remove(image).unwrap_err()),
        ("remove_part", dir.remove_part(image).unwrap_err()),
        ("look", dir.look(image).unwrap_err()),
        ("open_file", dir.open_file(image).unwrap_err()),
        ("write_manifest", dir.write_manifest(&manifest(dir, image, b"")).unwrap_err()),
        ("read_manifest", dir.read_manifest(image).unwrap_err()),
        ("contents", dir.contents().unwrap_err()),
    ]
}
