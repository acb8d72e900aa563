//! Both slots, as the process that fetches has them: to be read, and to be written by the daemon.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::channel::Channel;
use super::messages::{Answer, Call, Reply, Said};
use crate::slot::{Access, BlockDevice, Devices, device_of};

/// The daemon, from this side.
#[derive(Debug, Clone)]
pub(super) struct Daemon(Arc<Mutex<Channel>>);

impl Daemon {
    pub(super) fn new(channel: Channel) -> Self {
        Self(Arc::new(Mutex::new(channel)))
    }

    pub(super) fn channel(&self) -> MutexGuard<'_, Channel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the daemon do something; gives what it answers, and what is behind that.
    pub(super) fn call(&self, call: Call, body: &[u8]) -> io::Result<(Answer, Vec<u8>)> {
        let mut channel = self.channel();
        let files: &[BorrowedFd<'_>] = &[];
        channel.send(&Said::Call(call), body, files)?;
        // When it is gone this process ends.
        let (answer, length) = channel.head(&mut || Ok(()))?;
        let body = channel.body(length, &mut || Ok(()))?;
        Ok((answer, body))
    }

    /// The same, for what is done or not.
    pub(super) fn done(&self, call: Call, body: &[u8]) -> io::Result<Vec<u8>> {
        match self.call(call, body)? {
            (Answer::Done, body) => Ok(body),
            (Answer::Failed { code, detail }, _) => Err(match code {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::other(detail),
            }),
            (Answer::Differs { .. }, _) => Err(io::Error::other("the slot differs")),
        }
    }

    pub(super) fn reply(&self, reply: Reply, body: &[u8]) -> io::Result<()> {
        self.channel().send(&Said::Reply(reply), body, &[])
    }
}

/// Slot a and slot b.
#[derive(Debug)]
pub(super) struct GivenSlots {
    pub(super) slots: [(PathBuf, File); 2],
    pub(super) daemon: Daemon,
}

impl Devices for GivenSlots {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn BlockDevice>> {
        let mut slots = self.slots.iter();
        let found = slots.find(|(slot, _)| slot == path);
        let (_, file) = found.ok_or(io::ErrorKind::NotFound)?;
        let read = device_of(file.try_clone()?)?;
        match access {
            Access::Read => Ok(read),
            Access::Write => {
                self.daemon.done(Call::Open, &[])?;
                let daemon = self.daemon.clone();
                Ok(Box::new(WrittenByDaemon { read, daemon }))
            }
        }
    }
}

#[derive(Debug)]
struct WrittenByDaemon {
    read: Box<dyn BlockDevice>,
    daemon: Daemon,
}

impl BlockDevice for WrittenByDaemon {
    fn size(&self) -> u64 {
        self.read.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read.read_at(buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.daemon.done(Call::Write { offset }, buffer).map(drop)
    }

    fn sync(&self) -> io::Result<()> {
        self.daemon.done(Call::Sync, &[]).map(drop)
    }
}
