//! The shape that both machines share: ask for a file, be fed, ask again.

use alloc::vec::Vec;

use crate::error::TufError;
use crate::name::MetadataName;

/// A machine that wants metadata files, one after another.
///
/// Call [`poll`](Self::poll), fetch what it wants, [`feed`](Self::feed) it, until it wants
/// nothing more. When a fetch fails otherwise than by the file's absence (no network, a
/// timeout), feed nothing: try again later, or drop the machine and keep its state.
pub trait Exchange {
    /// What is wanted now. Asking again changes nothing.
    fn poll(&self) -> Want;

    /// Answers the last [`Want::File`].
    ///
    /// # Errors
    ///
    /// Whatever makes the answer untrustworthy. The machine then wants nothing more, its trusted
    /// state keeps what was verified before, and its result is an error.
    fn feed(&mut self, answer: Answer) -> Result<(), TufError>;
}

/// What an [`Exchange`] wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// This file.
    File(FileRequest),
    /// Nothing: take the result.
    Done,
}

/// A metadata file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRequest {
    /// Its name below the repository's metadata directory.
    pub name: MetadataName,
    /// Most bytes to fetch; a file that goes on after them must be given up.
    pub max_length: u64,
    /// Whether its absence is an ordinary answer (the next root version) or a fault of the
    /// repository.
    pub may_be_missing: bool,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The whole content, byte for byte.
    File(Vec<u8>),
    /// The repository says that it has no such file (HTTP 404, or 403 from some stores). Never
    /// say this for any other failure: withholding a root would pass for its absence.
    Missing,
}

impl FileRequest {
    /// The bytes of an answer, if there are any and no more than were asked for.
    pub(crate) fn accept(&self, answer: Answer) -> Result<Option<Vec<u8>>, TufError> {
        match answer {
            Answer::File(bytes) => {
                let length = crate::hashes::length_of(&bytes);
                if length > self.max_length {
                    return Err(TufError::TooLarge {
                        file: self.name.as_str().into(),
                        length,
                        limit: self.max_length,
                    });
                }
                Ok(Some(bytes))
            }
            Answer::Missing => Ok(None),
        }
    }

    /// As [`accept`](Self::accept), for files that must exist.
    pub(crate) fn require(&self, answer: Answer) -> Result<Vec<u8>, TufError> {
        self.accept(answer)?.ok_or_else(|| TufError::Missing {
            file: self.name.as_str().into(),
        })
    }
}
