//! The thread that waits for the server.

use std::io;
use std::sync::mpsc::{Sender, channel};

use tokio::sync::mpsc::UnboundedSender;

use super::{Trouble, Turn, Word};
use crate::driver::Message;
use crate::fetch::FetchError;
use crate::fetcher::next_work;
use crate::health::Reached;
use crate::report::chain;

/// Makes turns.
pub trait Asking: Send {
    /// One exchange.
    ///
    /// # Errors
    /// As those of a [`Client`](super::Client).
    fn turn(&mut self, turn: &Turn) -> Result<Word, FetchError>;

    /// Told when there was none for a while.
    fn rest(&mut self) {}
}

/// Starts the thread; what comes of each turn goes to the driver. A server that answered was reached.
///
/// # Errors
/// The system has no thread left.
pub fn start(
    mut asking: Box<dyn Asking>,
    reached: Reached,
    words: UnboundedSender<Message>,
) -> io::Result<Sender<Turn>> {
    let (sender, turns) = channel();
    std::thread::Builder::new()
        .name("fleet".into())
        .spawn(move || {
            while let Some(turn) = next_work(&turns, || asking.rest()) {
                let word = asking.turn(&turn).map_err(|error| trouble(&error));
                if word.is_ok() {
                    reached.note();
                }
                // If the driver is gone the program is ending.
                let _ = words.send(Message::Fleet { turn, word });
            }
        })?;
    Ok(sender)
}

fn trouble(error: &FetchError) -> Trouble {
    Trouble {
        retry_after: match error {
            FetchError::Status { retry_after, .. } => *retry_after,
            _ => None,
        },
        detail: chain(error),
    }
}
