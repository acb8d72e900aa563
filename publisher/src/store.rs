//! The repository's directory: the only place where files are changed.
//!
//! Every file is written under a temporary name, synced, renamed into place and made durable by
//! syncing its directory: a reader, or a power cut, sees the whole file or none of it. One
//! process at a time may change a repository.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{RepoError, io};

/// Where files wait until they are whole; emptied when the next process takes the lock.
const STAGING: &str = ".staging";
const LOCK: &str = ".lock";

/// A repository's directory, locked for changes.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Held until the store goes away.
    _lock: File,
    #[cfg(test)]
    fuse: std::cell::Cell<Fuse>,
}

impl Store {
    /// Locks the directory, makes it if there is none, and clears what an interrupted process
    /// left behind.
    ///
    /// # Errors
    /// [`RepoError::Busy`] when another process has it, [`RepoError::Io`] otherwise.
    pub fn lock(root: &Path) -> Result<Self, RepoError> {
        fs::create_dir_all(root).map_err(io("create", root))?;
        let path = root.join(LOCK);
        let lock = File::create(&path).map_err(io("create", &path))?;
        #[cfg(test)]
        crate::tests::images::no_child_starts();
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RepoError::Busy { path: root.into() }),
            Err(TryLockError::Error(source)) => return Err(io("lock", &path)(source)),
        }
        let staging = root.join(STAGING);
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io("empty", &staging)(error));
            }
            _ => fs::create_dir(&staging).map_err(io("create", &staging))?,
        }
        Ok(Self {
            root: root.into(),
            _lock: lock,
            #[cfg(test)]
            fuse: std::cell::Cell::default(),
        })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A new file that is not part of the repository until it is [kept](Self::keep).
    ///
    /// # Errors
    /// [`RepoError::Io`].
    pub fn stage(&self) -> Result<NamedTempFile, RepoError> {
        let staging = self.root.join(STAGING);
        tempfile::Builder::new()
            // A web server under another account reads these files.
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(&staging)
            .map_err(io("create a file in", &staging))
    }

    /// Makes a staged file part of the repository, durably, replacing what was there.
    ///
    /// # Errors
    /// [`RepoError::Io`].
    pub fn keep(&self, file: NamedTempFile, relative: &str) -> Result<(), RepoError> {
        let path = self.root.join(relative);
        file.as_file().sync_all().map_err(io("sync", &path))?;
        #[cfg(test)]
        let file = self.burn(file, Cut::Before, &path)?;
        let directory = path.parent().unwrap_or(&self.root);
        make_directories(directory)?;
        file.persist(&path)
            .map_err(|error| io("rename into place", &path)(error.error))?;
        sync_directory(directory)?;
        #[cfg(test)]
        self.burn((), Cut::After, &path)?;
        Ok(())
    }

    /// Writes a whole file of the repository, durably.
    ///
    /// # Errors
    /// [`RepoError::Io`].
    pub fn put(&self, relative: &str, bytes: &[u8]) -> Result<(), RepoError> {
        let mut file = self.stage()?;
        file.write_all(bytes).map_err(io("write", file.path()))?;
        self.keep(file, relative)
    }

    /// Deletes a file of the repository, durably, and its directory if that is empty then.
    /// A file that is not there is fine: an interrupted process has deleted it.
    ///
    /// # Errors
    /// [`RepoError::Io`].
    pub(crate) fn remove(&self, relative: &str) -> Result<(), RepoError> {
        let path = self.root.join(relative);
        #[cfg(test)]
        self.burn((), Cut::Before, &path)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io("delete", &path)(error));
            }
            _ => {}
        }
        let directory = path.parent().unwrap_or(&self.root);
        sync_directory(directory)?;
        // It fails when other files are in it, and then it is right that it stays.
        let _ = fs::remove_dir(directory);
        #[cfg(test)]
        self.burn((), Cut::After, &path)?;
        Ok(())
    }
}

impl Drop for Store {
    /// The staging directory is empty by now, unless something went wrong: then the next process
    /// empties it.
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.root.join(STAGING));
    }
}

/// Creates a directory and its parents, each made durable in the one above.
fn make_directories(directory: &Path) -> Result<(), RepoError> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        make_directories(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io("create", directory)(error));
            }
            _ => sync_directory(parent)?,
        }
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), RepoError> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(io("sync", directory))
}

/// When a process of the tests dies.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// With the file staged, but not in place.
    Before,
    /// With the file in place.
    After,
}

/// Which durable step a process of the tests dies at.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fuse {
    pub(crate) steps: u32,
    pub(crate) cut: Option<(u32, Cut)>,
}

#[cfg(test)]
impl Store {
    /// Dies at the `step`-th durable step, counted from 0.
    pub(crate) fn cut_at(&self, step: u32, cut: Cut) {
        self.fuse.set(Fuse {
            steps: 0,
            cut: Some((step, cut)),
        });
    }

    fn burn<T>(&self, thing: T, now: Cut, path: &Path) -> Result<T, RepoError> {
        let mut fuse = self.fuse.get();
        if fuse.cut == Some((fuse.steps, now)) {
            // A killed process cleans nothing up.
            std::mem::forget(thing);
            return Err(io("go on after", path)(io::Error::other("cut")));
        }
        if now == Cut::After {
            fuse.steps += 1;
            self.fuse.set(fuse);
        }
        Ok(thing)
    }
}
