//! Whether a storage is alive. Asking for its size or listing it says "fine" about a disk that has vanished; only a write that is
//! flushed tells the truth, and a read that cannot come from the cache.

use std::{os::unix::fs::FileExt, time::Duration};

use rustix::{
    fs::{self, Advice},
    io::Errno,
};

use super::{
    StorageError,
    folder::{Folder, TEMPORARY, is_regular, stat_of},
    marker::temporary_name,
};

const PREFIX: &str = ".vmimg-probe-";

/// A probe or a manifest takes moments; what is older was left by a process that died.
const STALE: Duration = Duration::from_secs(600);

/// Whether a name is one of our momentary files.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || name.starts_with(TEMPORARY)
}

/// Writes, flushes, reads back and removes a small file. Answers with the medium's own present time in seconds: on a network storage
/// it is not ours, and ages of files must be told by one clock.
pub(super) fn run(folder: &Folder) -> Result<i64, StorageError> {
    let name = temporary_name(PREFIX);
    let file = folder.create(&name, 0o600)?;
    let written = (|| {
        // The name is new each time, so old bytes cannot be taken for these.
        let bytes = name.repeat(10).into_bytes();
        file.write_all_at(&bytes, 0).map_err(StorageError::from_failed_write)?;
        file.sync_all().map_err(StorageError::from_failed_write)?;
        let _ = fs::fadvise(&file, 0, None, Advice::DontNeed);
        let mut back = vec![0; bytes.len()];
        file.read_exact_at(&mut back, 0)
            .map_err(|error| StorageError::from_errno("read a file", Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        if back != bytes {
            return Err(StorageError::from_errno("read back what was written", Errno::IO));
        }
        stat_of(&file)
    })();
    let removed = folder.unlink(&name);
    let now = written?.st_mtime;
    removed?;
    Ok(now)
}

/// Removes momentary files older than [`STALE`] by the medium's clock.
pub(super) fn sweep(folder: &Folder, now: i64) -> Result<(), StorageError> {
    let mut stale = Vec::new();
    folder.names(|name| {
        if is_ours(name)
            && folder.stat(name)?.is_some_and(|stat| is_regular(&stat) && now.saturating_sub(stat.st_mtime) > STALE.as_secs() as i64)
        {
            stale.push(name.to_owned());
        }
        Ok(())
    })?;
    for name in stale {
        tracing::info!(name, "removing a temporary file that was left on a storage");
        folder.unlink(&name)?;
    }
    Ok(())
}
