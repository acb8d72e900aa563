//! Getting bytes from the repository. What arrives is not trusted here, only bounded.

mod bundle;
mod http;
pub(crate) mod multipart;
mod parts;
mod rate;

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::time::Duration;

pub use self::bundle::{Bundle, BundleError};
pub use self::http::{HttpSetupError, HttpSource, open_url};
pub use self::parts::Parts;

/// Where files of a repository come from.
pub trait Source: Send {
    /// The whole file at `path` below the repository, at most `limit` bytes.
    ///
    /// # Errors
    /// [`FetchError`] names the URL; a longer file is an error, not cut short.
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError>;

    /// Whether the file at `path` is still the one that [`file`](Self::file) gave last: asked without having it sent
    /// again. `false` if that cannot be said.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    fn is_unchanged(&self, _path: &str) -> Result<bool, FetchError> {
        Ok(false)
    }

    /// The file at `path` from byte `offset` to its end, as a stream. A server that ignores the
    /// range is read from the start, without keeping what is skipped.
    ///
    /// # Errors
    /// [`FetchError`] names the URL.
    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError>;

    /// The bytes of `ranges` of the file at `path`, one range after another. They may come in any
    /// order and lie over each other; ascending ones that do not cost the fewest questions, and ranges
    /// with a small gap between them are fetched with the gap.
    ///
    /// # Errors
    /// [`FetchError`] names the URL. [`FetchError::NoRanges`]: the file comes only as a whole, and reading
    /// over what is not wanted would cost more than is wanted; nothing was read yet.
    fn ranges<'a>(
        &'a self,
        path: &str,
        ranges: &[Range<u64>],
    ) -> Result<Box<dyn Parts + 'a>, FetchError> {
        let parts = parts::ByStream::new(self, path, ranges)?;
        Ok(Box::new(parts))
    }

    /// The URL of `path`, for messages.
    fn url(&self, path: &str) -> String;
}

/// Where a bundle comes from.
#[derive(Debug)]
pub enum BundlePlace {
    /// A file that somebody has open.
    File {
        /// What they call it.
        name: String,
        /// It.
        file: File,
    },
    /// An address, `https://` or `http://`: what is in it is signed.
    Url(String),
}

/// Why bytes did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server says that there is no such file.
    #[error("{url}: not there (status {status})")]
    Missing {
        /// What was asked for.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The server refuses or is in trouble.
    #[error("{url}: the server answered with status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// Its answer.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// No answer, or it broke off.
    #[error("{url}: {detail}")]
    Transport {
        /// What was asked for.
        url: String,
        /// What happened.
        detail: String,
    },
    /// The server closed the stream in good order before the file's signed end.
    #[error("{url}: ended before all of it had arrived: the file is truncated")]
    EndedEarly {
        /// What was asked for.
        url: String,
    },
    /// The server sends files only as a whole, and this one has much more than what is wanted of it.
    #[error("{url}: the server sends no ranges")]
    NoRanges {
        /// What was asked for.
        url: String,
    },
    /// More than was announced.
    #[error("{url}: longer than the {limit} bytes allowed; nothing of it was used")]
    TooLong {
        /// What was asked for.
        url: String,
        /// Most bytes allowed.
        limit: u64,
    },
}
