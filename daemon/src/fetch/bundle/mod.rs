//! One file instead of a repository: an uncompressed tar with the files of one release in the order
//! in which they are needed, read once from front to back and never stored.
//!
//! What is in it is checked exactly as if a server had sent it. All metadata and signed documents come
//! first and are held in memory; the content that follows is read when it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchback_types::{ProductName, Version};

use super::{FetchError, Files, Source};
use crate::report::chain;

/// Bytes of a tar block.
const BLOCK: usize = 512;
/// Most bytes of what comes before the content.
const MOST_METADATA: u64 = 8 << 20;
/// Most files before the content, and most files after it began.
const MOST_FILES: usize = 1024;
/// Content up to this length that is passed over is kept, all of it up to [`MOST_METADATA`]: a way that
/// does not fit is followed by one that wants the lists before it.
const SMALL: u64 = 1 << 20;
/// The paths of all content, one on each line: what is not there is not looked for.
const CONTENTS: &str = "bundle/content";
/// Longest path.
const MOST_PATH: usize = 512;

/// An open bundle.
#[derive(Debug)]
pub struct Bundle {
    /// For messages.
    name: String,
    files: BTreeMap<String, Vec<u8>>,
    /// What it says that it holds.
    listed: Option<BTreeSet<String>>,
    content: Arc<Mutex<Content>>,
}

/// The part that is read as it comes.
struct Content {
    reader: Box<dyn Read + Send>,
    /// The file whose bytes come next, and how many of them are left.
    open: Option<Entry>,
    /// Bytes between the end of the file and the next header.
    padding: u64,
    kept: BTreeMap<String, Vec<u8>>,
    kept_bytes: u64,
    /// Which of its readers may still read.
    reading: u64,
    /// Files that were opened.
    opened: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: String,
    left: u64,
    length: u64,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read.
    #[error("{name}: cannot be read")]
    Read {
        /// The file or URL.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{name}: is not a bundle: {what}; make one with `switchback-repo bundle`")]
    NotABundle {
        /// The file or URL.
        name: String,
        /// What is wrong.
        what: String,
    },
}

impl Bundle {
    /// Reads everything up to the content.
    ///
    /// # Errors
    /// It cannot be read, is no tar, or has more before its content than any bundle has.
    pub fn open(name: &str, reader: Box<dyn Read + Send>) -> Result<Self, BundleError> {
        let mut content = Content {
            reader,
            open: None,
            padding: 0,
            kept: BTreeMap::new(),
            kept_bytes: 0,
            reading: 0,
            opened: 0,
        };
        let mut files = BTreeMap::new();
        let mut bytes = 0_u64;
        let wrong = |what: &str| BundleError::NotABundle {
            name: name.into(),
            what: what.into(),
        };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::InvalidData => wrong(&source.to_string()),
            _ => BundleError::Read {
                name: name.into(),
                source,
            },
        };
        while content.next().map_err(failed)? {
            let Some(entry) = content.open.clone() else {
                break;
            };
            if entry.path.starts_with("content/") {
                break;
            }
            bytes = bytes.saturating_add(entry.length);
            if bytes > MOST_METADATA || files.len() >= MOST_FILES {
                return Err(wrong("too much comes before its content"));
            }
            let text = content.rest().map_err(failed)?;
            files.insert(entry.path, text);
        }
        if files.is_empty() {
            return Err(wrong("it holds no metadata"));
        }
        let listed = files.remove(CONTENTS).map(|text| {
            let text = String::from_utf8_lossy(&text);
            text.lines().take(MOST_FILES).map(Into::into).collect()
        });
        Ok(Self {
            name: name.into(),
            files,
            listed,
            content: Arc::new(Mutex::new(content)),
        })
    }

    /// The release that it brings, by the name of its document. Only a hint: what counts is signed.
    ///
    /// # Errors
    /// It brings none, or several.
    pub fn release(&self) -> Result<(ProductName, Version), BundleError> {
        let mut found: Vec<(ProductName, Version)> = self
            .files
            .keys()
            .filter_map(|path| path.strip_prefix("targets/releases/"))
            .filter_map(|path| {
                let mut parts = path.split('/');
                let (product, version) = (parts.next()?, parts.next()?);
                let file = parts.next().filter(|_| parts.next().is_none())?;
                file.ends_with("release.json")
                    .then(|| Some((product.parse().ok()?, version.parse().ok()?)))?
            })
            .collect();
        match (found.pop(), found.is_empty()) {
            (Some(release), true) => Ok(release),
            (found, _) => Err(BundleError::NotABundle {
                name: self.name.clone(),
                what: match found {
                    Some(_) => "it brings several releases".into(),
                    None => "it brings no release".into(),
                },
            }),
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on to a file of the content.
    fn find(&self, path: &str) -> Result<Entry, FetchError> {
        // To look for it would pass over what is wanted next.
        let listed = self.listed.as_ref();
        if listed.is_some_and(|listed| !listed.contains(path)) {
            return Err(FetchError::Missing {
                url: self.url(path),
                status: 404,
            });
        }
        let mut content = self.content();
        loop {
            if let Some(entry) = &content.open
                && entry.path == path
                && entry.left == entry.length
            {
                return Ok(entry.clone());
            }
            let next = content.pass().and_then(|()| content.next());
            match next {
                Ok(true) => {}
                Ok(false) => {
                    return Err(FetchError::Missing {
                        url: self.url(path),
                        status: 404,
                    });
                }
                Err(error) => {
                    return Err(FetchError::Transport {
                        url: self.url(path),
                        detail: chain(&error),
                    });
                }
            }
        }
    }

    fn held(&self, path: &str) -> Option<Vec<u8>> {
        let held = self.files.get(path).cloned();
        held.or_else(|| self.content().kept.get(path).cloned())
    }

    fn transport(&self, path: &str, error: &io::Error) -> FetchError {
        FetchError::Transport {
            url: self.url(path),
            detail: chain(error),
        }
    }
}

impl Files for Bundle {
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let too_long = || FetchError::TooLong {
            url: self.url(path),
            limit,
        };
        if let Some(held) = self.held(path) {
            let fits = u64::try_from(held.len()).is_ok_and(|length| length <= limit);
            return fits.then_some(held).ok_or_else(too_long);
        }
        if !path.starts_with("content/") {
            return Err(FetchError::Missing {
                url: self.url(path),
                status: 404,
            });
        }
        if self.find(path)?.length > limit {
            return Err(too_long());
        }
        self.content()
            .rest()
            .map_err(|error| self.transport(path, &error))
    }

    fn url(&self, path: &str) -> String {
        format!("{}: {path}", self.name)
    }
}

impl Source for Bundle {
    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        if let Some(held) = self.held(path) {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let rest = held.get(start..).unwrap_or_default().to_vec();
            return Ok(Box::new(io::Cursor::new(rest)));
        }
        self.find(path)?;
        let number = {
            let mut content = self.content();
            content
                .skip(offset)
                .map_err(|error| self.transport(path, &error))?;
            content.reading += 1;
            content.reading
        };
        Ok(Box::new(Stream {
            content: Arc::clone(&self.content),
            number,
        }))
    }
}

/// Reads one file of the content, until another is asked for.
struct Stream {
    content: Arc<Mutex<Content>>,
    number: u64,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        match content.reading == self.number {
            true => content.read(buffer),
            false => Ok(0),
        }
    }
}

impl Content {
    /// Goes to the next file; false at the end. The one before must have been read or passed.
    fn next(&mut self) -> io::Result<bool> {
        let padding = std::mem::take(&mut self.padding);
        self.discard(padding)?;
        self.open = None;
        self.reading += 1;
        let mut block = [0; BLOCK];
        self.reader.read_exact(&mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(false);
        }
        self.opened += 1;
        if self.opened > 2 * MOST_FILES {
            let what = "it holds more files than any bundle";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let entry = header(&block)?;
        let block = u64::try_from(BLOCK).unwrap_or(1);
        self.padding = entry.length.next_multiple_of(block) - entry.length;
        self.open = Some(entry);
        Ok(true)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(entry) = &mut self.open else {
            return Ok(0);
        };
        let most = usize::try_from(entry.left).unwrap_or(usize::MAX);
        let room = buffer.len().min(most);
        let part = buffer.get_mut(..room).unwrap_or_default();
        let count = self.reader.read(part)?;
        entry.left = entry
            .left
            .saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }

    /// What is left of the open file; its length was held against a limit.
    fn rest(&mut self) -> io::Result<Vec<u8>> {
        let left = self.open.as_ref().map_or(0, |entry| entry.left);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(0)];
        self.reader.read_exact(&mut bytes)?;
        if let Some(entry) = &mut self.open {
            entry.left = 0;
        }
        Ok(bytes)
    }

    /// Leaves the open file behind; a small one is kept.
    fn pass(&mut self) -> io::Result<()> {
        let Some(entry) = self.open.clone() else {
            return Ok(());
        };
        let whole = entry.left == entry.length;
        let kept = self.kept_bytes.saturating_add(entry.length);
        if whole && entry.length <= SMALL && kept <= MOST_METADATA {
            let bytes = self.rest()?;
            self.kept_bytes = kept;
            self.kept.insert(entry.path, bytes);
            return Ok(());
        }
        self.skip(entry.left)
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        self.discard(count)?;
        if let Some(entry) = &mut self.open {
            entry.left = entry.left.saturating_sub(count);
        }
        Ok(())
    }

    fn discard(&mut self, count: u64) -> io::Result<()> {
        let passed = io::copy(&mut (&mut self.reader).take(count), &mut io::sink())?;
        match passed == count {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The file that a header announces.
fn header(block: &[u8; BLOCK]) -> io::Result<Entry> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let header = tar::Header::from_byte_slice(block);
    let mut again = header.clone();
    again.set_cksum();
    if header.cksum().ok() != again.cksum().ok() {
        return Err(invalid("a header's checksum does not fit"));
    }
    if !header.entry_type().is_file() {
        return Err(invalid("it holds something else than files"));
    }
    let path = header.path_bytes();
    let path = std::str::from_utf8(&path).map_err(|_| invalid("a name is not text"))?;
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    if path.len() > MOST_PATH || !path.split('/').all(plain) {
        return Err(invalid("a name is not one of a repository's"));
    }
    let length = header
        .entry_size()
        .map_err(|_| invalid("a file has no length"))?;
    Ok(Entry {
        path: path.into(),
        left: length,
        length,
    })
}

#[cfg(test)]
mod tests;
