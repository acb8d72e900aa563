//! The files that records are kept in. Each method is one step that a power cut can fall behind.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

/// Access to records. Nothing is durable before the matching `sync` has returned.
pub trait RecordFiles: fmt::Debug + Send + Sync {
    /// Keeps every other process out of a directory until the guard is dropped, or this process
    /// ends in whatever way.
    ///
    /// # Errors
    /// `WouldBlock` where another process has it; else as the operating system has them.
    fn lock(&self, directory: &Path) -> io::Result<Box<dyn fmt::Debug + Send>>;

    /// Makes a directory and those above it, if they are not there.
    ///
    /// # Errors
    /// As the operating system has them.
    fn make_directory(&self, directory: &Path) -> io::Result<()>;

    /// At most `limit` bytes of a file, from its start.
    ///
    /// # Errors
    /// As the operating system has them; `NotFound` where there is no such file.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// Makes a file, or empties the one that is there, and fills it.
    ///
    /// # Errors
    /// As the operating system has them.
    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Returns once the content of a file is durable.
    ///
    /// # Errors
    /// As the operating system has them.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in place of the one that has it.
    ///
    /// # Errors
    /// As the operating system has them.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns once the names in a directory are durable.
    ///
    /// # Errors
    /// As the operating system has them.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// The real ones.
#[derive(Debug, Clone, Copy)]
pub struct DiskFiles;

impl RecordFiles for DiskFiles {
    fn lock(&self, directory: &Path) -> io::Result<Box<dyn fmt::Debug + Send>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join("lock"))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map(|lock| Box::new(lock) as Box<dyn fmt::Debug + Send>)
            .map_err(|(_, errno)| errno.into())
    }

    fn make_directory(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?
            .write_all(bytes)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}
