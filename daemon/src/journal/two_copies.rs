//! A small record kept in two checksummed copies with a generation number.
//!
//! Each commit replaces the *older* copy (new file, fsync, rename, fsync of the directory), so
//! that the newest whole record survives a power cut at any point, and one copy survives damage
//! to the other. A copy is:
//!
//! ```text
//! 8 bytes  "SBRECORD"
//! 4        layout version, little-endian: 1
//! 8        generation, little-endian
//! 8        length of the content, little-endian
//! 32       SHA-256 over all of the above and the content
//! …        content
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::RecordFiles;
use crate::hash::Hasher;

const MAGIC: &[u8; 8] = b"SBRECORD";
const LAYOUT: u32 = 1;
const HEADER: usize = 8 + 4 + 8 + 8;
const CHECKSUM: usize = 32;
/// A record larger than this was not written here.
const MAX_CONTENT: usize = 32 * 1024 * 1024;

/// Two files that hold one record.
#[derive(Debug)]
pub struct TwoCopies {
    files: Arc<dyn RecordFiles>,
    directory: PathBuf,
    stem: &'static str,
    generation: u64,
    /// The copy that the next commit replaces.
    older: u8,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Neither copy exists.
    Nothing,
    /// The newest record.
    Whole(Vec<u8>),
    /// A record; the other copy is damaged.
    OneDamaged {
        /// The record.
        bytes: Vec<u8>,
        /// What is damaged.
        warning: String,
    },
    /// Copies exist and none is whole.
    BothDamaged {
        /// What was found, and where it was moved if it was.
        warning: String,
    },
}

impl Loaded {
    /// The content, and what a person should know.
    #[must_use]
    pub(crate) fn split(self) -> (Option<Vec<u8>>, Option<String>) {
        match self {
            Self::Nothing => (None, None),
            Self::Whole(bytes) => (Some(bytes), None),
            Self::OneDamaged { bytes, warning } => (Some(bytes), Some(warning)),
            Self::BothDamaged { warning } => (None, Some(warning)),
        }
    }
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file exists and cannot be read.
    #[error("{}: cannot be read; check the storage it is on", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("{}: cannot be written; is the partition mounted, writable and not full?", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error(
        "{}: another switchbackd runs and uses it: `systemctl status switchbackd`, and stop the \
         one that was started by hand",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The record was written by another version of this program.
    #[error(
        "{}: written in format {found}, this program knows {known}: update it, or remove the file \
         to begin afresh",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The format known.
        known: u32,
    },
}

impl TwoCopies {
    /// Opens the record `stem` in `directory` and reads its newest whole copy. Copies none of
    /// which is whole are moved aside.
    ///
    /// # Errors
    /// A copy exists and cannot be read, or the directory cannot be created.
    pub fn open(
        files: &Arc<dyn RecordFiles>,
        directory: &Path,
        stem: &'static str,
    ) -> Result<(Self, Loaded), RecordError> {
        files
            .make_directory(directory)
            .map_err(|source| RecordError::Write {
                path: directory.into(),
                source,
            })?;
        let (copies, loaded) = Self::look(files, directory, stem)?;
        let loaded = match loaded {
            Loaded::BothDamaged { warning } => copies.set_aside(&warning)?,
            loaded => loaded,
        };
        Ok((copies, loaded))
    }

    /// As [`open`](Self::open), changing nothing.
    ///
    /// # Errors
    /// A copy exists and cannot be read.
    pub fn look(
        files: &Arc<dyn RecordFiles>,
        directory: &Path,
        stem: &'static str,
    ) -> Result<(Self, Loaded), RecordError> {
        let mut copies = Self {
            files: Arc::clone(files),
            directory: directory.into(),
            stem,
            generation: 0,
            older: 0,
        };
        let first = copies.read(0)?;
        let second = copies.read(1)?;
        let loaded = match (first, second) {
            (Copy::Absent, Copy::Absent) => Loaded::Nothing,
            (Copy::Whole(a, x), Copy::Whole(b, y)) => {
                if a >= b {
                    copies.take(0, a, x)
                } else {
                    copies.take(1, b, y)
                }
            }
            (Copy::Whole(generation, bytes), Copy::Absent) => copies.take(0, generation, bytes),
            (Copy::Absent, Copy::Whole(generation, bytes)) => copies.take(1, generation, bytes),
            (Copy::Whole(generation, bytes), Copy::Damaged(why)) => {
                let warning = copies.damaged(1, &why);
                copies.take(0, generation, bytes).warn(warning)
            }
            (Copy::Damaged(why), Copy::Whole(generation, bytes)) => {
                let warning = copies.damaged(0, &why);
                copies.take(1, generation, bytes).warn(warning)
            }
            (Copy::Damaged(why), Copy::Absent | Copy::Damaged(_))
            | (Copy::Absent, Copy::Damaged(why)) => Loaded::BothDamaged { warning: why },
        };
        Ok((copies, loaded))
    }

    /// The path of copy 0 or 1.
    #[must_use]
    pub fn path(&self, copy: u8) -> PathBuf {
        self.directory.join(format!("{}.{copy}", self.stem))
    }

    /// Makes `content` durable in the older copy.
    ///
    /// # Errors
    /// Something could not be written; the newest record before is still whole.
    pub fn commit(&mut self, content: &[u8]) -> Result<(), RecordError> {
        let path = self.path(self.older);
        let temporary = self.directory.join(format!(".{}.new", self.stem));
        let generation = self.generation.saturating_add(1);
        let write = || -> std::io::Result<()> {
            let files = &self.files;
            files.create(&temporary, &encode(generation, content))?;
            files.sync(&temporary)?;
            files.rename(&temporary, &path)?;
            files.sync_directory(&self.directory)
        };
        write().map_err(|source| RecordError::Write {
            path: path.clone(),
            source,
        })?;
        self.generation = generation;
        self.older = 1 - self.older;
        Ok(())
    }

    fn read(&self, copy: u8) -> Result<Copy, RecordError> {
        let path = self.path(copy);
        let limit = u64::try_from(HEADER + CHECKSUM + MAX_CONTENT + 1).unwrap_or(u64::MAX);
        let bytes = match self.files.read(&path, limit) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Copy::Absent),
            Err(source) => return Err(RecordError::Read { path, source }),
        };
        Ok(
            decode(&bytes).map_or_else(Copy::Damaged, |(generation, content)| {
                Copy::Whole(generation, content.to_vec())
            }),
        )
    }

    fn take(&mut self, copy: u8, generation: u64, bytes: Vec<u8>) -> Loaded {
        self.generation = generation;
        self.older = 1 - copy;
        Loaded::Whole(bytes)
    }

    fn damaged(&self, copy: u8, why: &str) -> String {
        format!(
            "{}: {why}; the other copy is used and this one written anew",
            self.path(copy).display()
        )
    }

    fn set_aside(&self, why: &str) -> Result<Loaded, RecordError> {
        let mut kept = Vec::new();
        for copy in [0, 1] {
            let from = self.path(copy);
            let to = self.directory.join(format!("{}.{copy}.damaged", self.stem));
            match self.files.rename(&from, &to) {
                Ok(()) => kept.push(to.display().to_string()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(RecordError::Write { path: from, source }),
            }
        }
        let warning = format!(
            "{}: no whole copy ({why}); kept as {}, beginning afresh",
            self.path(0).display(),
            kept.join(" and ")
        );
        Ok(Loaded::BothDamaged { warning })
    }
}

impl Loaded {
    fn warn(self, warning: String) -> Self {
        match self {
            Self::Whole(bytes) => Self::OneDamaged { bytes, warning },
            other => other,
        }
    }
}

enum Copy {
    Absent,
    Whole(u64, Vec<u8>),
    Damaged(String),
}

fn checksum(header: &[u8], content: &[u8]) -> switchback_types::Digest {
    let mut hasher = Hasher::default();
    hasher.update(header);
    hasher.update(content);
    hasher.finish()
}

pub(crate) fn encode(generation: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + CHECKSUM + content.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&LAYOUT.to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(
        &u64::try_from(content.len())
            .unwrap_or(u64::MAX)
            .to_le_bytes(),
    );
    let sum = checksum(&bytes, content);
    bytes.extend_from_slice(sum.as_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// The generation and the content of one copy, or what is wrong with it.
pub(crate) fn decode(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let (header, rest) = bytes
        .split_at_checked(HEADER)
        .ok_or_else(|| format!("only {} bytes", bytes.len()))?;
    let (sum, content) = rest
        .split_at_checked(CHECKSUM)
        .ok_or_else(|| format!("only {} bytes", bytes.len()))?;
    let (magic, numbers) = header.split_at_checked(8).ok_or("no header")?;
    if magic != MAGIC {
        return Err("not a record of this program".into());
    }
    let (layout, numbers) = numbers.split_first_chunk::<4>().ok_or("no header")?;
    let (generation, numbers) = numbers.split_first_chunk::<8>().ok_or("no header")?;
    let (length, _) = numbers.split_first_chunk::<8>().ok_or("no header")?;
    if u32::from_le_bytes(*layout) != LAYOUT {
        return Err(format!(
            "layout {}, expected {LAYOUT}",
            u32::from_le_bytes(*layout)
        ));
    }
    if usize::try_from(u64::from_le_bytes(*length)) != Ok(content.len()) {
        let length = u64::from_le_bytes(*length);
        return Err(format!(
            "{} bytes of content, {length} were written",
            content.len()
        ));
    }
    if checksum(header, content).as_bytes() != sum {
        return Err("the checksum does not fit".into());
    }
    Ok((u64::from_le_bytes(*generation), content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path) -> (TwoCopies, Loaded) {
        let files: Arc<dyn RecordFiles> = Arc::new(crate::journal::DiskFiles);
        TwoCopies::open(&files, directory, "record").unwrap()
    }

    #[test]
    fn newest_whole_copy_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let (mut copies, loaded) = open(directory.path());
        assert_eq!(loaded, Loaded::Nothing);
        for text in ["one", "two", "three"] {
            copies.commit(text.as_bytes()).unwrap();
            assert_eq!(open(directory.path()).1, Loaded::Whole(text.into()));
        }
    }

    #[test]
    fn every_prefix_and_every_flipped_byte_of_the_newer_copy_gives_the_older_record() {
        let directory = tempfile::tempdir().unwrap();
        let (mut copies, _) = open(directory.path());
        copies.commit(b"older").unwrap();
        copies.commit(b"newer").unwrap();
        let newer = copies.path(1);
        let whole = std::fs::read(&newer).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            damaged.push(bytes);
        }
        damaged.push([whole.as_slice(), b"x"].concat());
        for bytes in damaged {
            std::fs::write(&newer, bytes).unwrap();
            let (mut copies, loaded) = open(directory.path());
            assert!(
                matches!(&loaded, Loaded::OneDamaged { bytes, .. } if bytes == b"older"),
                "{loaded:?}"
            );
            // The next commit replaces the damaged copy, not the whole one.
            copies.commit(b"next").unwrap();
            assert_eq!(open(directory.path()).1, Loaded::Whole(b"next".to_vec()));
        }
    }

    #[test]
    fn two_damaged_copies_are_kept_aside_and_said() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("record.0"), b"").unwrap();
        std::fs::write(directory.path().join("record.1"), b"garbage").unwrap();
        let (_, loaded) = open(directory.path());
        assert!(
            matches!(&loaded, Loaded::BothDamaged { warning } if warning.contains("record.1.damaged"))
        );
        assert!(directory.path().join("record.0.damaged").exists());
    }
}
