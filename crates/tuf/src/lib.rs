//! The device's own TUF client: decides which signed files to trust, and does no I/O.
//!
//! It follows The Update Framework specification 1.0.31 and later (section numbers stand beside
//! the code). A caller drives an [`Exchange`]: the machine names the file that it wants, the
//! caller fetches it and feeds the bytes back. Nothing here opens a socket, a file or a clock.
//!
//! 1. [`TrustedState::from_root`] once, with the root metadata shipped in the image; afterwards
//!    [`TrustedState::from_bytes`] with what was stored last.
//! 2. [`Refresh`] brings root, timestamp, snapshot and targets up to date and gives a
//!    [`Refreshed`].
//! 3. [`Refreshed::lookup`] finds one artifact through the delegations and gives a
//!    [`TargetInfo`], whose [`verify`](TargetInfo::verify) is the only way to a
//!    [`VerifiedTarget`].
//!
//! After every exchange, also a failed one, [`TrustedState::to_bytes`] must be stored durably
//! before anything is installed: it is the memory that makes going backwards impossible.
//!
//! Metadata that has expired is no error: the result is [`Freshness::Stale`], no artifact can
//! be looked up, and polling goes on. Metadata that goes backwards is an error.
//!
//! ```
//! use switchback_tuf::{Answer, Exchange, TufError, Want};
//!
//! /// Drives either machine over any way of fetching.
//! fn drive(
//!     exchange: &mut dyn Exchange,
//!     fetch: impl Fn(&str, u64) -> Option<Vec<u8>>,
//! ) -> Result<(), TufError> {
//!     while let Want::File(request) = exchange.poll() {
//!         match fetch(request.name.as_str(), request.max_length) {
//!             Some(bytes) => exchange.feed(Answer::File(bytes))?,
//!             None => exchange.feed(Answer::Missing)?,
//!         }
//!     }
//!     Ok(())
//! }
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "remembering")]
extern crate std;

mod canonical;
mod checks;
mod delegation;
mod document;
mod envelope;
mod error;
mod exchange;
mod freshness;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod hashes;
mod key;
mod limits;
mod lookup;
mod name;
mod refresh;
mod refreshed;
#[cfg(feature = "remembering")]
mod remembering;
mod schema;
mod spki;
mod state;
mod state_codec;
mod target;

pub use error::{ErrorKind, TufError};
pub use exchange::{Answer, Exchange, FileRequest, Want};
pub use freshness::{Freshness, Staleness};
pub use limits::Limits;
pub use lookup::Lookup;
pub use name::{MetadataName, Role};
pub use refresh::Refresh;
pub use refreshed::Refreshed;
pub use state::{TrustedState, Versions};
pub use target::{TargetInfo, VerifiedTarget};
