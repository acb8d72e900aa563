//! What goes wrong on the way, as our errors.

use std::io;

use super::super::FetchError;
use crate::report::chain;

/// How an answer broke off: an end that is none is told from other troubles, as a file that the server has only
/// a part of ends there each time.
pub(super) fn kind(error: &hyper::Error) -> io::ErrorKind {
    let mut cause = std::error::Error::source(error);
    let mut ended = error.is_incomplete_message();
    while let Some(inner) = cause {
        ended |= inner
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
        cause = inner.source();
    }
    if ended {
        io::ErrorKind::UnexpectedEof
    } else {
        io::ErrorKind::ConnectionAborted
    }
}

/// Why no more of an answer comes.
pub(super) fn broke(url: &str, error: &io::Error) -> FetchError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FetchError::EndedEarly { url: url.into() },
        _ => transport(url, error),
    }
}

pub(super) fn transport(url: &str, error: &dyn std::error::Error) -> FetchError {
    FetchError::Transport {
        url: url.into(),
        detail: chain(error),
    }
}
