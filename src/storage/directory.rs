//! A storage that is a folder of a mounted file system.
//!
//! ```text
//! .vmimg-storage.json    the marker
//! images/<uuid>.iso      a published file, mode 0440, never written again
//! images/<uuid>.json     its manifest
//! staging/<uuid>.part    a file being received, mode 0600
//! ```
//!
//! Every operation opens the root anew, checks the marker and works from the folder it then holds, so a disk that is unmounted or
//! exchanged between two operations is noticed by the next one and nothing is written to the wrong place.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rustix::fs::{OFlags, Stat};

use super::{
    Contents, Inspection, Look, Manifest, Part, Space, StorageError,
    folder::{Folder, TEMPORARY, is_regular, length, stat_of},
    manifest, marker, probe,
};
use crate::domain::ids::{ImageId, StorageId};

pub(super) const IMAGES: &str = "images";
pub(super) const STAGING: &str = "staging";
/// The hypervisor's user reads images by group; parts concern nobody else.
pub(super) const IMAGES_MODE: u32 = 0o750;
const STAGING_MODE: u32 = 0o700;

/// One storage. Holds no handle; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    root: PathBuf,
    id: StorageId,
}

impl Directory {
    /// The storage `id` at `root`. Does no I/O: whether it is there is asked by every operation.
    pub fn at(root: impl Into<PathBuf>, id: StorageId) -> Self {
        Self { root: root.into(), id }
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The identifier its medium must carry.
    pub fn id(&self) -> StorageId {
        self.id
    }

    /// Looks at a folder that is to be added. Leaves nothing behind, but does write, flush and delete a small file, because reading
    /// alone says "fine" about a dead disk. Whether the path is allowed at all is for the caller to decide before.
    ///
    /// # Errors
    /// [`StorageError::BadPath`], [`NotThere`](StorageError::NotThere), [`NotADirectory`](StorageError::NotADirectory),
    /// [`ThroughALink`](StorageError::ThroughALink), [`BadMarker`](StorageError::BadMarker), or why it cannot be written.
    pub fn inspect(root: &Path) -> Result<Inspection, StorageError> {
        let folder = Folder::root(root)?;
        let marker = marker::read(&folder)?;
        probe::run(&folder)?;
        folder.sync()?;
        let (mut images, mut others) = (0, 0);
        folder.names(|name| {
            others += u64::from(!matches!(name, marker::NAME | IMAGES | STAGING | "lost+found") && !probe::is_ours(name));
            Ok(())
        })?;
        if let Some(inside) = present(folder.folder(IMAGES))? {
            inside.names(|name| {
                images += u64::from(image_named(name, ".iso").is_some());
                Ok(())
            })?;
        }
        Ok(Inspection { space: folder.space()?, marker, images, others })
    }

    /// Makes a folder the storage `id`: the marker, if it has none, and the folders, all durable. May be repeated. `created_at` is
    /// the present time in RFC 3339, for people who look at the medium.
    ///
    /// # Errors
    /// [`StorageError::OtherMedium`] when it carries another identifier; nothing is written then. Otherwise as [`Directory::inspect`].
    pub fn initialise(root: &Path, id: StorageId, created_at: &str) -> Result<Self, StorageError> {
        let folder = Folder::root(root)?;
        if marker::read(&folder)?.is_some() {
            marker::require(&folder, id)?;
        }
        folder.folder_or_new(IMAGES, IMAGES_MODE)?;
        folder.folder_or_new(STAGING, STAGING_MODE)?;
        // Last: what carries the marker is complete.
        marker::write(&folder, id, created_at)?;
        Ok(Self::at(root, id))
    }

    /// Whether the storage can be relied on now: it carries our marker, and a small file can be written, flushed, read back from the
    /// medium and deleted. Also sweeps away what earlier probes and writers left for more than ten minutes.
    ///
    /// # Errors
    /// The reason why it is degraded. [`StorageError::Full`] means that what lies on it can still be used.
    pub fn probe(&self) -> Result<Space, StorageError> {
        let root = self.open()?;
        let now = probe::run(&root)?;
        probe::sweep(&root, now)?;
        if let Some(staging) = present(root.folder(STAGING))? {
            probe::sweep(&staging, now)?;
        }
        root.space()
    }

    /// Begins the file of an image. With `size` in bytes the room is claimed at once where the file system can.
    ///
    /// # Errors
    /// [`StorageError::Full`] with the part removed again; [`StorageError::FileExists`] when something has its name.
    pub fn create_part(&self, image: ImageId, size: Option<u64>) -> Result<Part, StorageError> {
        let root = self.open()?;
        let staging = root.folder_or_new(STAGING, STAGING_MODE)?;
        let name = part_name(image);
        let file = staging.create(&name, 0o600)?;
        let begun = Part::new(file).and_then(|mut part| {
            let full = |needed| StorageError::Full { needed: Some(needed), free: root.space().ok().map(|space| space.free_bytes) };
            if let Some(needed) = size {
                part.allocate(needed).map_err(|error| if error.is_full() { full(needed) } else { error })?;
                // Nothing is claimed here, but what cannot fit should not be sent either.
                if !part.allocated() && needed > root.space()?.free_bytes {
                    return Err(full(needed));
                }
            }
            // The name must outlive a power cut together with the offsets that will be recorded for it.
            staging.sync()?;
            Ok(part)
        });
        if begun.is_err() {
            let _ = staging.unlink(&name);
        }
        begun
    }

    /// Opens a part again to go on with it.
    ///
    /// # Errors
    /// [`StorageError::FileMissing`], [`StorageError::NotARegularFile`], or [`StorageError::PartInUse`] while another handle is open,
    /// here or in another process.
    pub fn open_part(&self, image: ImageId) -> Result<Part, StorageError> {
        let staging = self.open()?.folder(STAGING)?;
        let name = part_name(image);
        let file = match staging.open(&name, OFlags::RDWR) {
            // It was sealed, and publishing was cut short before the rename. The owner may still read it, and so give itself the right back.
            Err(StorageError::NotWritable { .. }) => {
                Part::new(single(staging.open(&name, OFlags::RDONLY)?)?)?.unseal();
                staging.open(&name, OFlags::RDWR)?
            }
            other => other?,
        };
        let part = Part::new(single(file)?)?;
        part.unseal();
        Ok(part)
    }

    /// Reads bytes of a part that nobody writes: up to `most` from `offset`, fewer only at its end.
    ///
    /// # Errors
    /// As [`Directory::open_part`], but for the lock, which it does not take.
    pub fn read_part(&self, image: ImageId, offset: u64, most: usize) -> Result<Vec<u8>, StorageError> {
        let file = single(self.open()?.folder(STAGING)?.open(&part_name(image), OFlags::RDONLY)?)?;
        read_up_to(&file, offset, most)
    }

    /// Reads the first bytes of an image's file: up to `most`, fewer only at its end.
    ///
    /// # Errors
    /// As [`Directory::open_file`].
    pub fn read_beginning(&self, image: ImageId, most: usize) -> Result<Vec<u8>, StorageError> {
        read_up_to(&self.open_file(image)?, 0, most)
    }

    /// Removes an image's file, manifest and part, durably. Removing what is not there succeeds.
    ///
    /// # Errors
    /// [`StorageError::NotARegularFile`] when a folder has one of the names; nothing in it is touched.
    pub fn remove(&self, image: ImageId) -> Result<(), StorageError> {
        let root = self.open()?;
        if let Some(images) = present(root.folder(IMAGES))? {
            // The manifest last, so that what an interruption leaves can still be told.
            images.unlink(&file_name(image))?;
            images.unlink(&manifest::file_name(image))?;
            images.sync()?;
        }
        self.remove_part(image)
    }

    /// Removes an image's part, durably. Removing what is not there succeeds.
    ///
    /// # Errors
    /// As [`Directory::remove`].
    pub fn remove_part(&self, image: ImageId) -> Result<(), StorageError> {
        if let Some(staging) = present(self.open()?.folder(STAGING))? {
            staging.unlink(&part_name(image))?;
            staging.sync()?;
        }
        Ok(())
    }

    /// Makes a part again of a file that was renamed into place and never became its image's, and removes its manifest, which came before
    /// it. Does nothing where there is another part already.
    ///
    /// # Errors
    /// As [`Directory::remove`].
    pub fn take_back(&self, image: ImageId) -> Result<(), StorageError> {
        let root = self.open()?;
        let Some(images) = present(root.folder(IMAGES))? else { return Ok(()) };
        let staging = root.folder_or_new(STAGING, STAGING_MODE)?;
        let (name, part) = (file_name(image), part_name(image));
        match (images.stat(&name)?, staging.stat(&part)?) {
            (None, _) => {}
            (Some(_), None) => images.move_new(&name, &staging, &part)?,
            // Where a file system renames by linking, a power cut may have left both names.
            (Some(published), Some(other)) if same_file(&published, &other) => drop(images.unlink(&name)?),
            (Some(_), Some(_)) => return Ok(()),
        }
        images.unlink(&manifest::file_name(image))?;
        staging.sync()?;
        images.sync()
    }

    /// What stands at an image's place. Reads no byte of it.
    ///
    /// # Errors
    /// Only when the storage itself cannot be asked.
    pub fn look(&self, image: ImageId) -> Result<Look, StorageError> {
        let root = self.open()?;
        let Some(images) = present(root.folder(IMAGES))? else { return Ok(Look::Missing) };
        Ok(match images.stat(&file_name(image))? {
            None => Look::Missing,
            Some(stat) if is_regular(&stat) && only_ours(&root, image, &stat)? => Look::Present { bytes: length(&stat) },
            Some(_) => Look::NotAFile,
        })
    }

    /// Opens an image's file for reading.
    ///
    /// # Errors
    /// [`StorageError::FileMissing`] or [`StorageError::NotARegularFile`].
    pub fn open_file(&self, image: ImageId) -> Result<File, StorageError> {
        let root = self.open()?;
        let file = root.folder(IMAGES)?.open(&file_name(image), OFlags::RDONLY)?;
        if only_ours(&root, image, &stat_of(&file)?)? { Ok(file) } else { Err(StorageError::NotARegularFile) }
    }

    /// Writes or replaces an image's manifest, durably; whole or not at all.
    ///
    /// # Errors
    /// [`StorageError::BadManifest`] for one of another storage or one that is longer than 64 KiB.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), StorageError> {
        if manifest.storage != self.id {
            return Err(StorageError::BadManifest { why: "it describes another storage's image" });
        }
        let root = self.open()?;
        manifest::write(&root.folder_or_new(IMAGES, IMAGES_MODE)?, &root.folder_or_new(STAGING, STAGING_MODE)?, manifest)
    }

    /// Reads an image's manifest. It may name another storage, when the files were copied here by hand.
    ///
    /// # Errors
    /// [`StorageError::FileMissing`] or [`StorageError::BadManifest`].
    pub fn read_manifest(&self, image: ImageId) -> Result<Manifest, StorageError> {
        manifest::read(&self.open()?.folder(IMAGES)?, image)
    }

    /// Everything that lies in our folders, in no particular order. One `stat` per image.
    ///
    /// # Errors
    /// Only when the storage itself cannot be asked.
    pub fn contents(&self) -> Result<Contents, StorageError> {
        let root = self.open()?;
        let mut found = Contents::default();
        if let Some(images) = present(root.folder(IMAGES))? {
            images.names(|name| {
                let regular = images.stat(name)?.filter(is_regular);
                match (image_named(name, ".iso"), image_named(name, ".json"), regular) {
                    (Some(image), _, Some(stat)) => found.images.push((image, length(&stat))),
                    (_, Some(image), Some(_)) => found.manifests.push(image),
                    _ => found.unknown += 1,
                }
                Ok(())
            })?;
        }
        if let Some(staging) = present(root.folder(STAGING))? {
            staging.names(|name| {
                match image_named(name, ".part") {
                    Some(image) => found.parts.push(image),
                    None => found.unknown += u64::from(!name.starts_with(TEMPORARY)),
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// The root, on the right medium. Every operation begins here.
    pub(super) fn open(&self) -> Result<Folder, StorageError> {
        let root = Folder::root(&self.root)?;
        marker::require(&root, self.id)?;
        Ok(root)
    }
}

fn read_up_to(file: &File, offset: u64, most: usize) -> Result<Vec<u8>, StorageError> {
    use std::os::unix::fs::FileExt;
    let (mut bytes, mut done) = (vec![0; most], 0);
    while done < most {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(StorageError::Io { what: "read the file", source }),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

pub(super) fn file_name(image: ImageId) -> String {
    format!("{image}.iso")
}

pub(super) fn part_name(image: ImageId) -> String {
    format!("{image}.part")
}

fn image_named(name: &str, ending: &str) -> Option<ImageId> {
    name.strip_suffix(ending)?.parse().ok()
}

/// Absence as an answer instead of an error.
fn present(folder: Result<Folder, StorageError>) -> Result<Option<Folder>, StorageError> {
    match folder {
        Err(StorageError::FileMissing) => Ok(None),
        other => other.map(Some),
    }
}

pub(super) fn same_file(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// A second name would let somebody change the bytes elsewhere.
fn single(file: File) -> Result<File, StorageError> {
    if stat_of(&file)?.st_nlink == 1 { Ok(file) } else { Err(StorageError::NotARegularFile) }
}

/// Whether a published file has no name but its own. Where a file system renames by linking, a power cut may have left its part's name.
fn only_ours(root: &Folder, image: ImageId, stat: &Stat) -> Result<bool, StorageError> {
    Ok(match stat.st_nlink {
        1 => true,
        2 => match present(root.folder(STAGING))? {
            Some(staging) => staging.stat(&part_name(image))?.is_some_and(|part| same_file(&part, stat)),
            None => false,
        },
        _ => false,
    })
}
