//! Messages over a socket: the length of the head, the length of what is behind it (4 bytes each, little-endian), both.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes of a head.
const MOST_HEAD: usize = 64 * 1024;
/// Most bytes behind one: the largest metadata, or a segment.
pub(super) const MOST_BODY: usize = 8 << 20;
/// Files that come with a message.
const MOST_FILES: usize = 2;
/// How often who waits is asked whether to go on.
const BEAT: Duration = Duration::from_millis(250);

/// One end.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(BEAT))?;
        Ok(Self { stream })
    }

    /// Sends one message, with files if there are some.
    pub(super) fn send(
        &mut self,
        head: &impl Serialize,
        body: &[u8],
        files: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let head = serde_json::to_vec(head)?;
        if head.len() > MOST_HEAD || body.len() > MOST_BODY {
            return Err(invalid("too long to be told to the other process"));
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut lengths = [0; 8];
        lengths[..4].copy_from_slice(&length(&head));
        lengths[4..].copy_from_slice(&length(body));
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let mut with = SendAncillaryBuffer::new(&mut room);
        if !files.is_empty() && !with.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(invalid("more files than a message has"));
        }
        // Files come with the first byte of what they belong to.
        let parts = [IoSlice::new(&lengths)];
        let sent = sendmsg(&self.stream, &parts, &mut with, SendFlags::NOSIGNAL)?;
        self.stream
            .write_all(lengths.get(sent..).unwrap_or_default())?;
        self.stream.write_all(&head)?;
        self.stream.write_all(body)
    }

    /// The head of the next message, and how many bytes are behind it: they must be taken before the next one.
    /// `going_on` is asked from time to time whether to wait on.
    ///
    /// # Errors
    /// The other end is gone, `going_on` said no, or it is no message.
    pub(super) fn head<T: DeserializeOwned>(
        &mut self,
        going_on: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<(T, usize)> {
        let mut lengths = [0; 8];
        // Files that somebody sends with it are closed by the kernel: this end takes none.
        self.fill(&mut lengths, going_on)?;
        self.rest_of_head(lengths, going_on)
    }

    /// The same, and the files that came with it.
    pub(super) fn head_with_files<T: DeserializeOwned>(
        &mut self,
        going_on: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<(T, usize, Vec<File>)> {
        let mut lengths = [0; 8];
        let (count, files) = loop {
            match self.first(&mut lengths) {
                Err(error) if is_beat(&error) => going_on()?,
                taken => break taken?,
            }
        };
        let rest = lengths.get_mut(count..).unwrap_or_default();
        self.fill(rest, going_on)?;
        let (head, body) = self.rest_of_head(lengths, going_on)?;
        Ok((head, body, files))
    }

    fn first(&mut self, lengths: &mut [u8; 8]) -> io::Result<(usize, Vec<File>)> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let mut with = RecvAncillaryBuffer::new(&mut room);
        let mut parts = [IoSliceMut::new(lengths)];
        let message = recvmsg(&self.stream, &mut parts, &mut with, RecvFlags::CMSG_CLOEXEC)?;
        let mut files = Vec::new();
        for part in with.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = part {
                files.extend(came.map(File::from));
            }
        }
        match message.bytes {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok((count, files)),
        }
    }

    fn rest_of_head<T: DeserializeOwned>(
        &mut self,
        lengths: [u8; 8],
        going_on: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<(T, usize)> {
        let [a, b, c, d, e, f, g, h] = lengths;
        let length = |bytes| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        let (head, body) = (length([a, b, c, d]), length([e, f, g, h]));
        if head > MOST_HEAD || body > MOST_BODY {
            return Err(invalid("it sends more than any message has"));
        }
        let mut text = vec![0; head];
        self.fill(&mut text, going_on)?;
        let head = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        Ok((head, body))
    }

    /// All that is behind a head.
    pub(super) fn body(
        &mut self,
        length: usize,
        going_on: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes, going_on)?;
        Ok(bytes)
    }

    /// The next bytes, to a place for all of them.
    pub(super) fn fill(
        &mut self,
        mut place: &mut [u8],
        going_on: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        while !place.is_empty() {
            match self.stream.read(place) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => place = place.get_mut(count..).unwrap_or_default(),
                Err(error) if is_beat(&error) => going_on()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether only time has passed.
fn is_beat(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
