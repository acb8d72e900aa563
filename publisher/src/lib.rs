//! Cuts releases, signs them and publishes them as plain files for any web server.
//!
//! A repository is what `docs/` calls it: signed metadata, signed documents, and blobs named by
//! their digests. [`init`](init::init) makes one, [`publish`](release::publish) adds a release,
//! [`channel::set`] says which release devices should run, [`refresh`](refresh::refresh) renews
//! signatures, [`inspect`](inspect::inspect) looks at everything and changes nothing.
//!
//! What holds, whenever the power goes: a reader never sees metadata that names a file which is
//! not there, and whatever was interrupted is finished by running it again.
//!
//! What this program never does: send anything over a network, change a published version, or
//! sign what it did not find signed by the keys that the keys directory pins.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod advice;
pub mod bundle;
pub mod channel;
mod chunks;
pub mod cli;
pub mod content;
pub mod deltas;
mod edit;
mod error;
mod exit;
pub mod explain;
mod filesystem;
pub mod flags;
mod format;
pub mod gc;
pub mod init;
pub mod inspect;
pub mod keys;
mod metadata;
mod output;
mod papers;
mod progress;
pub mod refresh;
pub mod release;
mod repository;
mod role;
mod run;
mod signing;
mod store;
#[cfg(test)]
mod tests;
mod unpack;

pub use edit::Workplace;
pub use error::RepoError;
pub use exit::ExitKind;
pub use keys::{KeyError, Keys, RoleKey};
pub use metadata::Metadata;
pub use repository::{Repository, artifact_file};
pub use role::{Lifetime, Lifetimes, ParseLifetimeError, Role};
pub use run::run;
pub use store::Store;
