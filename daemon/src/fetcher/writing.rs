//! What the daemon does for an install that another process works out.

use std::io;

use switchback_update_core::ImageIdentity;

use super::Order;
use super::channel::Channel;
use super::messages::{Answer, Call};
use super::remote::plain;
use crate::install::{Way, identity, reading_back};
use crate::report::chain;
use crate::slot::{Access, BlockDevice, SlotBuffer, SlotError, VerifiedSlot, verify_slot};

/// The inactive slot while it is written.
pub(super) struct Writing<'o, 'a> {
    order: &'o mut Order<'a>,
    image: ImageIdentity,
    device: Option<Box<dyn BlockDevice>>,
    buffer: SlotBuffer,
    /// Bytes that came from the network, as was told last.
    received: u64,
    proof: Option<VerifiedSlot>,
    /// The way that is taken.
    pub(super) way: Option<Way>,
}

impl<'o, 'a> Writing<'o, 'a> {
    pub(super) fn new(order: &'o mut Order<'a>) -> Self {
        Self {
            image: identity(order.release),
            order,
            device: None,
            buffer: SlotBuffer::default(),
            received: 0,
            proof: None,
            way: None,
        }
    }

    /// The proof, if the slot was read back and is what was signed, and nothing was written since.
    pub(super) fn proof(self) -> Option<VerifiedSlot> {
        self.proof
    }

    /// Does what is called for; `length` bytes of it are still to be taken from the channel.
    ///
    /// # Errors
    /// The other process is gone, or the work was called off.
    pub(super) fn answer(
        &mut self,
        call: Call,
        length: usize,
        channel: &mut Channel,
    ) -> io::Result<Answer> {
        let cancel = self.order.cancel;
        let mut going_on = || match cancel.is_requested() {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => Ok(()),
        };
        going_on()?;
        if let Call::Write { offset } = call {
            let place = self.buffer.of(length);
            channel.fill(place, &mut going_on)?;
            self.proof = None;
            let device = self.device.as_ref().ok_or(io::ErrorKind::NotConnected)?;
            return Ok(done(write(&**device, place, offset)));
        }
        channel.body(length, &mut going_on)?;
        Ok(match call {
            Call::Chosen(mut choice) => {
                choice.reason = plain(&choice.reason);
                self.way = Some(choice.way);
                (self.order.chosen)(choice);
                Answer::Done
            }
            Call::Progress(progress) => {
                self.received = progress.received;
                (self.order.progress)(progress);
                Answer::Done
            }
            Call::Open => {
                // One that is open for writing is open for nobody else.
                self.device = None;
                let layout = self.order.layout;
                let opened = layout.devices.open(layout.inactive().path(), Access::Write);
                done(opened.map(|device| self.device = Some(device)))
            }
            Call::Sync => done(match &self.device {
                Some(device) => device.sync(),
                None => Err(io::ErrorKind::NotConnected.into()),
            }),
            Call::Prove => self.prove()?,
            Call::Write { .. } | Call::Sign { .. } => Answer::Failed {
                code: None,
                detail: "not now".into(),
            },
        })
    }

    fn prove(&mut self) -> io::Result<Answer> {
        self.proof = None;
        // Also what nobody has asked to be synced.
        if let Some(Err(error)) = self.device.as_ref().map(|device| device.sync()) {
            return Ok(done(Err(error)));
        }
        let proved = verify_slot(
            &self.order.layout.inactive(),
            &self.image,
            self.order.cancel,
            &mut reading_back(&mut *self.order.progress, self.image.size, self.received),
        );
        match proved {
            Ok(proof) => {
                self.proof = Some(proof);
                Ok(Answer::Done)
            }
            Err(SlotError::Cancelled) => Err(io::ErrorKind::Interrupted.into()),
            Err(SlotError::Differs { found, .. }) => Ok(Answer::Differs { found }),
            Err(error) => Ok(Answer::Failed {
                code: None,
                detail: chain(&error),
            }),
        }
    }
}

/// Only within the device: its end is not the kernel's to find.
fn write(device: &dyn BlockDevice, bytes: &[u8], offset: u64) -> io::Result<()> {
    let end = u64::try_from(bytes.len())
        .ok()
        .and_then(|length| offset.checked_add(length));
    match end {
        Some(end) if end <= device.size() => device.write_at(bytes, offset),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn done(outcome: io::Result<()>) -> Answer {
    match outcome {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed {
            code: error.raw_os_error(),
            detail: chain(&error),
        },
    }
}
