//! Who fetches and decodes: nothing that is not verified yet is touched by the process that may write slots.
//!
//! What a server sends is received, taken out of its compression and made into segments by a process of its own
//! ([`serve`]) that has no rights: no root, no files of its own, no devices but both slots for reading. The daemon
//! ([`Remote`]) asks it over a socket, writes what it says to the inactive slot, and believes only what it reads back
//! from there. Tests, and the simulator, have all of it in one process ([`Inside`]).

mod channel;
mod fleet;
mod inside;
mod messages;
mod remote;
mod serve;
mod slots;
mod writing;

use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use switchback_manifest::TrustedRelease;
use switchback_types::{ProductName, Version};
use switchback_update_core::{ImageIdentity, InstallFailure};

use crate::cancel::Cancel;
use crate::fetch::{BundlePlace, Files};
use crate::install::{Choice, InstallProgress, Installed};
use crate::slot::Layout;

pub use self::fleet::RemoteFleet;
pub use self::inside::{Inside, Opener};
pub use self::remote::Remote;
pub use self::serve::{ServeError, serve};

/// Where the daemon finds the process that fetches.
pub const SOCKET: &str = "/run/switchback/fetch";

/// After so much time without work the process that fetches is let go.
const QUIET: Duration = Duration::from_secs(15);

/// The next piece of work for a thread that may have such a process waiting: `rest` is called when none came for a
/// while. Nothing, when there will be no more.
pub(crate) fn next_work<T>(work: &Receiver<T>, rest: impl FnOnce()) -> Option<T> {
    match work.recv_timeout(QUIET) {
        Err(RecvTimeoutError::Timeout) => {
            rest();
            work.recv().ok()
        }
        next => next.ok(),
    }
}

/// An install, as it is ordered.
pub struct Order<'a> {
    /// What to install.
    pub release: &'a TrustedRelease,
    /// What runs, as far as is known.
    pub running: Option<&'a ImageIdentity>,
    /// Whether the slot is known to hold parts of the image.
    pub begun: bool,
    /// Whether the content is in the bundle that is open.
    pub bundled: bool,
    /// The slots.
    pub layout: &'a Layout,
    /// Asked between two segments.
    pub cancel: &'a Cancel,
    /// Told which way is taken, and again when another one is.
    pub chosen: &'a mut dyn FnMut(Choice),
    /// Told after each segment.
    pub progress: &'a mut dyn FnMut(InstallProgress),
    /// Waits between two tries.
    pub pause: &'a mut dyn FnMut(Duration),
}

impl fmt::Debug for Order<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("release", &self.release.version)
            .finish_non_exhaustive()
    }
}

/// Fetches files and installs images.
pub trait Fetcher: Send {
    /// The repository's small files.
    fn repository(&self) -> &dyn Files;

    /// Opens a bundle in the place of one that is open; gives what it says that it brings.
    ///
    /// # Errors
    /// Says what is wrong with it.
    fn open_bundle(&mut self, place: BundlePlace) -> Result<(ProductName, Version), String>;

    /// The small files of the bundle that is open.
    fn bundle(&self) -> Option<&dyn Files>;

    /// Closes the bundle, if one is open.
    fn close_bundle(&mut self);

    /// Writes an image into the inactive slot and proves it.
    ///
    /// # Errors
    /// Says whether the network, the content or the slot stood in the way.
    fn install(&mut self, order: Order<'_>) -> Result<Installed, InstallFailure>;

    /// Told when nothing was asked for a while.
    fn rest(&mut self) {}
}
