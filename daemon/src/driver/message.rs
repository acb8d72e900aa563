//! What can reach the driver.

use switchback_types::{Timestamp, Version};
use tokio::sync::oneshot;

use super::JobId;
use super::Reloaded;
use super::inhibit::{Inhibitor, InhibitorId};
use crate::fetch::BundlePlace;
use crate::fleet::{Trouble, Turn, Word};
use crate::health::{CheckState, HealthPassed};
use crate::worker::Report;

/// Everything that can reach the driver.
#[derive(Debug)]
pub enum Message {
    /// From the worker thread.
    Worker(Report),
    /// From the fleet server.
    Fleet {
        /// What it was told and asked.
        turn: Turn,
        /// What it said, or why there is no word of it.
        word: Result<Word, Trouble>,
    },
    /// What the health checks say, all of them.
    Checks(Vec<CheckState>),
    /// The health checks ended.
    Health {
        /// Whether they judged a trial.
        trial: bool,
        /// How.
        result: Result<HealthPassed, String>,
    },
    /// Somebody asks for something.
    Command {
        /// What.
        command: Command,
        /// Told whether it was taken, and if not, why.
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    /// An application asks not to be interrupted.
    Inhibit(Inhibitor),
    /// It let go, or died.
    Uninhibit(InhibitorId),
    /// The configuration was read anew.
    Reload(Box<Reloaded>),
    /// The program is asked to end.
    Terminate,
}

/// What people and programs ask for.
#[derive(Debug)]
pub enum Command {
    /// Ask the repository; the job ends with the answer.
    Check(JobId),
    /// Ask the repository and install what it offers.
    Install {
        /// Ends when the slot is armed, or nothing was to be done.
        job: JobId,
        /// How a person wants it.
        wish: Wish,
    },
    /// Install what a bundle brings.
    InstallBundle {
        /// Ends when the slot is armed, or nothing was to be done.
        job: JobId,
        /// The bundle.
        place: BundlePlace,
        /// How a person wants it.
        wish: Wish,
    },
    /// Go back to the other slot and stay there.
    RollBack {
        /// Ends when the slot is armed.
        job: JobId,
        /// For the hold.
        reason: String,
    },
    /// Make the inactive slot whole, if it went bad.
    Repair(JobId),
    /// Call off what is under way.
    Cancel,
    /// Call off one job.
    CancelJob(JobId),
    /// Stay on what runs.
    Hold {
        /// Why.
        reason: String,
        /// When it ends by itself, if it does.
        until: Option<Timestamp>,
    },
    /// Let updates go on.
    Release,
    /// Let no other version come than this one; nothing: the one that runs.
    Pin {
        /// The version.
        version: Option<Version>,
        /// Why.
        reason: String,
    },
    /// Let any version come.
    Unpin,
    /// Give consent to what is offered.
    Approve {
        /// The version that is meant, if the person named one.
        version: Option<Version>,
    },
    /// Mark the booted slot good.
    MarkGood,
    /// Make sure that the inactive slot is not started.
    MarkBad,
    /// Restart into the armed slot.
    Restart,
}

/// How a person wants an install.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Whether an image that failed here is tried once more.
    pub retry: bool,
    /// Why gates, holds and the like do not count, if they do not.
    pub overriding: Option<String>,
}

/// Why a command was not taken, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The error's name below `org.switchback.Update1.Error`.
    pub name: &'static str,
    /// In words.
    pub message: String,
}
