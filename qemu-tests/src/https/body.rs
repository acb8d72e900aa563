//! The content of an answer: a range of a file, with its disturbance.

use super::Shared;
use super::fault::Disturbance;
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Content goes out in pieces of at most this many bytes.
const PIECE: u64 = 64 << 10;

/// With a limited rate, one piece goes out in this time.
const TICK: Duration = Duration::from_millis(50);
const TICKS_PER_SECOND: u64 = 20;

/// Content of an answer.
pub(super) struct Content {
    file: Option<File>,
    /// Next byte of the file, and the end of the range.
    at: u64,
    end: u64,
    sent: u64,
    disturbance: Disturbance,
    /// What went out is out of the connection's buffer before it breaks.
    flushed: bool,
    pause: Option<Pin<Box<Sleep>>>,
    /// Where to count, and under which name.
    account: Option<(Arc<Shared>, String)>,
}

impl Content {
    /// No content.
    pub(super) fn none() -> Self {
        Self {
            file: None,
            at: 0,
            end: 0,
            sent: 0,
            disturbance: Disturbance::default(),
            flushed: false,
            pause: None,
            account: None,
        }
    }

    /// The bytes `at..end` of a file, counted in `class`.
    pub(super) fn of(
        file: File,
        at: u64,
        end: u64,
        disturbance: Disturbance,
        account: (Arc<Shared>, String),
    ) -> Self {
        Self {
            file: Some(file),
            at,
            end,
            disturbance,
            account: Some(account),
            ..Self::none()
        }
    }

    /// How many bytes may go out now; 0 at the point where a fault strikes.
    fn allowance(&self) -> u64 {
        let until =
            |limit: Option<u64>| limit.map_or(u64::MAX, |limit| limit - self.sent.min(limit));
        let rate = self
            .disturbance
            .bytes_per_second
            .map_or(u64::MAX, |rate| (rate / TICKS_PER_SECOND).max(1));
        PIECE
            .min(self.end - self.at)
            .min(until(self.disturbance.truncate_after))
            .min(until(self.disturbance.stall_after))
            .min(rate)
    }

    /// Reads the next piece. The read blocks, which costs microseconds from the page cache.
    fn piece(&mut self, length: u64) -> io::Result<Bytes> {
        let Some(file) = &self.file else {
            return Ok(Bytes::new());
        };
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, self.at)?;
        let corrupt = self
            .disturbance
            .corrupt_at
            .and_then(|offset| offset.checked_sub(self.at));
        if let Some(byte) = corrupt.and_then(|index| bytes.get_mut(usize::try_from(index).ok()?)) {
            *byte = !*byte;
        }
        self.at += length;
        self.sent += length;
        if let Some((shared, class)) = &self.account {
            shared.state().stats.entry(class.clone()).or_default().bytes += length;
        }
        Ok(bytes.into())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if self.at == self.end {
            return Poll::Ready(None);
        }
        let length = self.allowance();
        if length == 0 && self.disturbance.stall_after == Some(self.sent) {
            // Nobody will wake this; it ends with its connection.
            return Poll::Pending;
        }
        if length == 0 && !self.flushed {
            // Pending makes the connection write out what it has; breaking it at once would lose it.
            self.flushed = true;
            self.pause = Some(Box::pin(tokio::time::sleep(TICK)));
            return self.as_mut().poll_frame(context);
        }
        if length == 0 {
            return Poll::Ready(Some(Err(io::Error::other("truncated on demand"))));
        }
        if self.disturbance.bytes_per_second.is_some() {
            self.pause = Some(Box::pin(tokio::time::sleep(TICK)));
        }
        Poll::Ready(Some(self.piece(length).map(Frame::data)))
    }
}
