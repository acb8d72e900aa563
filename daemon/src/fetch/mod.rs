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

use hyper::Method;
use serde::{Deserialize, Serialize};

pub use self::bundle::{Bundle, BundleError};
pub(crate) use self::http::LEAST_RATE;
pub use self::http::{
    Credentials, HttpApi, HttpPost, HttpProbe, HttpSetupError, HttpSource, Probed, open_url, post,
    probe,
};
pub use self::parts::Parts;

/// A small file, and how the server names this version of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The name (`ETag`), if it has one.
    pub tag: Option<String>,
}

/// Where small files of a repository come from, each as a whole.
pub trait Files: Send {
    /// The whole file at `path` below the repository, at most `limit` bytes.
    ///
    /// # Errors
    /// [`FetchError`] names the URL; a longer file is an error, not cut short.
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError>;

    /// The same, with the name of this version; `None` if it is still the one named `known`, which then is not sent
    /// again.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    fn unless(
        &self,
        path: &str,
        limit: u64,
        _known: Option<&str>,
    ) -> Result<Option<Named>, FetchError> {
        let bytes = self.file(path, limit)?;
        Ok(Some(Named { bytes, tag: None }))
    }

    /// The URL of `path`, for messages.
    fn url(&self, path: &str) -> String;
}

/// Where all files of a repository come from, also parts of large ones.
pub trait Source: Files {
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
}

/// A server that is told things and asked for documents, and never leads elsewhere.
pub trait Api {
    /// Sends `body`, or asks without one, and gives what is answered, at most `limit` bytes.
    ///
    /// # Errors
    /// [`FetchError`] names the URL.
    fn send(
        &self,
        method: Method,
        url: &str,
        authorization: Option<&str>,
        body: Option<String>,
        limit: u64,
    ) -> Result<Vec<u8>, FetchError>;
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
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "is", rename_all = "kebab-case")]
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

impl FetchError {
    /// The same with `tidy` text, as it comes from another process.
    #[must_use]
    pub(crate) fn with_text(self, tidy: impl Fn(&str) -> String) -> Self {
        let mut error = self;
        match &mut error {
            Self::Transport { url, detail } => {
                *url = tidy(url);
                *detail = tidy(detail);
            }
            Self::Missing { url, .. }
            | Self::Status { url, .. }
            | Self::EndedEarly { url }
            | Self::NoRanges { url }
            | Self::TooLong { url, .. } => *url = tidy(url),
        }
        error
    }
}
