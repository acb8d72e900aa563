//! hawkBit's Direct Device Integration API, version 1: the documents on the wire.
//!
//! What a device sends is read leniently, because the clients in the field differ: ids as numbers
//! or texts, times in three forms or none, `mode` absent or null, words in another case, fields
//! that nobody documented. What is unclear is read as the harmless meaning. Only limits are firm:
//! a body that is too long is refused before it is looked at, and what is kept of it is cut.
//!
//! What a server sends is written as hawkBit writes it. [`Poll`] and [`DeploymentBase`] can be
//! read as well, for clients and for tests.
//!
//! The crate does no I/O and knows no address but those that it is given.
//!
//! ```
//! use switchback_ddi::{Feedback, Meaning};
//!
//! let text = br#"{"id":7,"status":{"execution":"closed","result":{"finished":"none"}}}"#;
//! assert_eq!(Feedback::parse(text).unwrap().meaning(), Meaning::Succeeded);
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(any(test, feature = "cbor"))]
mod cbor;
mod config_data;
mod confirmation;
mod deployment;
mod error;
mod feedback;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod lenient;
mod poll;
mod sleep;

#[cfg(any(test, feature = "cbor"))]
pub use cbor::{from_cbor, to_cbor};
pub use config_data::{
    ATTRIBUTE_ANSWER, ATTRIBUTE_IMAGE, ATTRIBUTE_SLOT, ATTRIBUTE_VERSION, ConfigData,
    MAX_ATTRIBUTES, MAX_KEY_CHARS, MAX_VALUE_CHARS, Mode,
};
pub use confirmation::{
    AutoConfirm, AutoConfirmRequest, Confirmation, ConfirmationBase, ConfirmationFeedback,
    ConfirmationOffer,
};
pub use deployment::{
    ActionHistory, Artifact, ArtifactLinks, CancelAction, Cancellation, Chunk, Deployment,
    DeploymentBase, Handling, Hashes, InstalledBase, MaintenanceWindow, Metadata,
};
pub use error::DdiError;
pub use feedback::{
    CODE_ROLLED_BACK, CancelMeaning, Feedback, MAX_DETAIL_CHARS, MAX_DETAILS, Meaning, Progress,
};
pub use poll::{Config, Link, Poll, PollLinks, Polling};
pub use sleep::{MAX_SLEEP_SECONDS, MIN_SLEEP_SECONDS, read_sleep, write_sleep};

/// Longest body in bytes that a device may send: SWUpdate sends its log in one piece.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
