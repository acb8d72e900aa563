//! What daemon and fetcher say to each other: a head in JSON, and bytes behind it where there are some.
//!
//! The daemon asks ([`Request`]); the fetcher answers each question with one [`Reply`], and may call for what only
//! the daemon can do ([`Call`]) before it does.

use serde::{Deserialize, Serialize};
use switchback_types::{Digest, ProductName, SlotName, Version};
use switchback_update_core::{ImageIdentity, InstallFailure};

use crate::fetch::FetchError;
use crate::fleet::{Access, Word};
use crate::install::{Choice, Fetched, InstallProgress, Way};
use crate::settings::RepositorySettings;

/// The first thing the daemon says. The certificates (PEM) that servers are checked against are behind it.
#[derive(Serialize, Deserialize)]
pub(super) struct Hello {
    /// How the repository is reached.
    pub(super) repository: RepositorySettings,
    /// What it is shown of this device. The key stays with the daemon.
    pub(super) identity: Option<Shown>,
    /// The fleet server, for a process that speaks to it.
    pub(super) fleet: Option<Access>,
}

/// A certificate, and how the key for it can sign.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shown {
    /// PEM.
    pub(super) certificates: String,
    /// Numbers of TLS's `SignatureScheme`.
    pub(super) schemes: Vec<u16>,
}

/// What the daemon wants.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "want", rename_all = "kebab-case")]
pub(super) enum Request {
    /// A small file, unless it is the one of this name.
    File {
        /// From the bundle that is open.
        bundled: bool,
        path: String,
        limit: u64,
        known: Option<String>,
    },
    /// A bundle. Without an address it is the file that comes with this message.
    OpenBundle { name: String, url: bool },
    /// No bundle any more.
    CloseBundle,
    /// An image. The release document is behind this, both slots come with it: a, then b.
    Install(Box<Install>),
    /// An exchange with the fleet server: the turn is behind this.
    Fleet,
}

/// How to install.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Install {
    pub(super) running: Option<ImageIdentity>,
    pub(super) begun: bool,
    pub(super) bundled: bool,
    pub(super) lost: Option<(Way, String)>,
    pub(super) booted: SlotName,
    /// Paths of both slots, for messages.
    pub(super) paths: [String; 2],
}

/// What the fetcher says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Said {
    /// It needs something first.
    Call(Call),
    /// It is done.
    Reply(Reply),
}

/// The end of what was asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(super) enum Reply {
    /// A file, behind this.
    File { tag: Option<String> },
    /// It is still the one that was named.
    Unchanged,
    /// It did not come.
    Failed { error: FetchError },
    /// A bundle that says that it brings this.
    Opened {
        product: ProductName,
        version: Version,
    },
    /// It is no bundle.
    NotOpened { why: String },
    /// As asked.
    Closed,
    /// Written, and proven by the daemon.
    Installed { fetched: Fetched },
    /// Not installed.
    NotInstalled { failure: InstallFailure },
    /// What the fleet server said.
    Word(Box<Word>),
}

/// What only the daemon can do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub(super) enum Call {
    /// A signature over what is behind this, to show who asks.
    Sign { scheme: u16 },
    /// A way is taken.
    Chosen(Choice),
    /// A segment further.
    Progress(InstallProgress),
    /// The inactive slot is going to be written.
    Open,
    /// What is behind this belongs there.
    Write { offset: u64 },
    /// Everything is to be on the device.
    Sync,
    /// The slot is to be read back and compared with what was signed.
    Prove,
}

/// What came of a call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub(super) enum Answer {
    /// Done; where a signature was called for it is behind this.
    Done,
    /// The slot reads back with another digest.
    Differs { found: Digest },
    /// Not done.
    Failed { code: Option<i32>, detail: String },
}
