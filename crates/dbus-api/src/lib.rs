//! The update daemon's face on D-Bus: names, the dictionaries that properties carry, and the
//! proxies by which a client calls it.
//!
//! The bus speaks its own stable words. The daemon converts its inner types to these, so that
//! neither side's changes reach the other by accident. The XML that the daemon answers to
//! introspection is committed under `docs/dbus/`.
#![forbid(unsafe_code)]

mod types;

pub use types::{
    Answer, Check, Decision, Failed, Gate, HistoryEntry, Hold, Inhibitor, Offer, PendingRestart,
    Pin, Progress, Slot, ToJson, Transfer,
};

/// Well-known name of the daemon.
pub const BUS_NAME: &str = "org.switchback.Update1";
/// Path of the manager object.
pub const MANAGER_PATH: &str = "/org/switchback/Update1";
/// Paths of jobs begin with this; a number follows.
pub const JOB_PATH: &str = "/org/switchback/Update1/job";
/// Paths of slots begin with this; `a` or `b` follows.
pub const SLOT_PATH: &str = "/org/switchback/Update1/slot";
/// Named errors begin with this.
pub const ERROR_PREFIX: &str = "org.switchback.Update1.Error";

/// Optional arguments of a method, by name. Unknown names are refused.
pub type Options<'a> = std::collections::HashMap<&'a str, zbus::Variant<'a>>;

/// The manager: what the device is doing, and what it is told to do.
#[zbus::proxy(
    interface = "org.switchback.Update1.Manager",
    default_service = "org.switchback.Update1",
    default_path = "/org/switchback/Update1"
)]
pub trait Manager {
    /// Asks the repository now.
    #[zbus(allow_interactive_auth)]
    fn check(&self, options: Options<'_>) -> zbus::Result<zbus::OwnedObjectPath>;
    /// Asks the repository now and installs what it offers.
    #[zbus(allow_interactive_auth)]
    fn install(&self, options: Options<'_>) -> zbus::Result<zbus::OwnedObjectPath>;
    /// Installs what a bundle in an open file brings; `name` is what messages call it.
    #[zbus(allow_interactive_auth)]
    fn install_file(
        &self,
        file: zbus::Fd<'_>,
        name: &str,
        options: Options<'_>,
    ) -> zbus::Result<zbus::OwnedObjectPath>;
    /// Installs what a bundle at an address brings.
    #[zbus(allow_interactive_auth)]
    fn install_url(&self, url: &str, options: Options<'_>) -> zbus::Result<zbus::OwnedObjectPath>;
    /// Goes back to what the other slot holds, and stays there.
    #[zbus(allow_interactive_auth)]
    fn roll_back(&self, options: Options<'_>) -> zbus::Result<zbus::OwnedObjectPath>;
    /// Makes the inactive slot whole, if it went bad.
    #[zbus(allow_interactive_auth)]
    fn repair(&self, options: Options<'_>) -> zbus::Result<zbus::OwnedObjectPath>;
    /// Calls off what is under way.
    #[zbus(allow_interactive_auth)]
    fn cancel(&self, options: Options<'_>) -> zbus::Result<()>;
    /// The five answers given last.
    fn explain(&self, options: Options<'_>) -> zbus::Result<Decision>;
    /// Asks not to be interrupted, until the file descriptor is closed. `what` is `update`,
    /// `restart` or `update:restart`, `mode` is `block` or `delay`.
    #[zbus(allow_interactive_auth)]
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<zbus::OwnedFd>;
    /// Lets no other version come than this one; empty: the one that runs.
    #[zbus(allow_interactive_auth)]
    fn pin(&self, version: &str, options: Options<'_>) -> zbus::Result<()>;
    /// Lets any version come.
    #[zbus(allow_interactive_auth)]
    fn unpin(&self, options: Options<'_>) -> zbus::Result<()>;
    /// Gives consent to what is offered; `version` says which is meant, if it is not empty.
    #[zbus(allow_interactive_auth)]
    fn approve(&self, version: &str, options: Options<'_>) -> zbus::Result<()>;
    /// Stays on what runs, until released.
    #[zbus(allow_interactive_auth)]
    fn hold(&self, reason: &str, options: Options<'_>) -> zbus::Result<()>;
    /// Lets updates go on.
    #[zbus(allow_interactive_auth)]
    fn release(&self, options: Options<'_>) -> zbus::Result<()>;
    /// Marks the booted slot good.
    #[zbus(allow_interactive_auth)]
    fn mark_good(&self, options: Options<'_>) -> zbus::Result<()>;
    /// Makes sure that the inactive slot is not started.
    #[zbus(allow_interactive_auth)]
    fn mark_bad(&self, options: Options<'_>) -> zbus::Result<()>;
    /// Restarts into the armed slot.
    #[zbus(allow_interactive_auth)]
    fn restart(&self, options: Options<'_>) -> zbus::Result<()>;

    /// `idle`, `installing`, `staged`, `on-trial` or `reporting`.
    #[zbus(property)]
    fn phase(&self) -> zbus::Result<String>;
    /// What is being done, how far it is.
    #[zbus(property)]
    fn progress(&self) -> zbus::Result<Progress>;
    /// How the image comes that is installed, or was last.
    #[zbus(property)]
    fn transfer(&self) -> zbus::Result<Transfer>;
    /// The release that was offered last.
    #[zbus(property)]
    fn offer(&self) -> zbus::Result<Offer>;
    /// Both slots.
    #[zbus(property)]
    fn slots(&self) -> zbus::Result<Vec<Slot>>;
    /// The five answers given last.
    #[zbus(property)]
    fn decision(&self) -> zbus::Result<Decision>;
    /// What an update, or the restart into it, waits for.
    #[zbus(property)]
    fn gates(&self) -> zbus::Result<Vec<Gate>>;
    /// The restart that has not come yet.
    #[zbus(property)]
    fn pending_restart(&self) -> zbus::Result<PendingRestart>;
    /// What each health check said last.
    #[zbus(property)]
    fn health(&self) -> zbus::Result<Vec<Check>>;
    /// Who asks not to be interrupted.
    #[zbus(property)]
    fn inhibitors(&self) -> zbus::Result<Vec<Inhibitor>>;
    /// The only version that may come.
    #[zbus(property)]
    fn pinned(&self) -> zbus::Result<Pin>;
    /// What went wrong last, or nothing.
    #[zbus(property)]
    fn last_error(&self) -> zbus::Result<String>;
    /// Whether a person holds the device.
    #[zbus(property)]
    fn held(&self) -> zbus::Result<Hold>;
    /// Images that failed here.
    #[zbus(property)]
    fn failed(&self) -> zbus::Result<Vec<Failed>>;
    /// What happened, oldest first.
    #[zbus(property)]
    fn history(&self) -> zbus::Result<Vec<HistoryEntry>>;
    /// Version of the daemon.
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;

    /// The phase changed.
    #[zbus(signal)]
    fn transition(&self, from: &str, to: &str, version: &str) -> zbus::Result<()>;
    /// The device is about to restart into a new version: at the latest at `latest` (seconds since
    /// 1970), or as soon as everybody who delays it has let go.
    #[zbus(signal)]
    fn prepare_for_restart(&self, version: &str, latest: u64) -> zbus::Result<()>;
    /// A job ended.
    #[zbus(signal)]
    fn completed(&self, job: zbus::ObjectPath<'_>, result: &str, message: &str)
    -> zbus::Result<()>;
}

/// One piece of long work that a client began.
#[zbus::proxy(
    interface = "org.switchback.Update1.Job",
    default_service = "org.switchback.Update1"
)]
pub trait Job {
    /// Calls it off.
    #[zbus(allow_interactive_auth)]
    fn cancel(&self, options: Options<'_>) -> zbus::Result<()>;

    /// `check`, `install`, `rollback` or `repair`.
    #[zbus(property)]
    fn kind(&self) -> zbus::Result<String>;
    /// `running`, `done` or `failed`.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    /// How far it is.
    #[zbus(property)]
    fn progress(&self) -> zbus::Result<Progress>;
    /// How it ended, as a stable word for programs.
    #[zbus(property)]
    fn result(&self) -> zbus::Result<String>;
    /// How it ended, in words.
    #[zbus(property)]
    fn message(&self) -> zbus::Result<String>;
}
