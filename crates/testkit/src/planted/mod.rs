//! Mistakes, as somebody could make them in the daemon, to prove that they would be found.
//!
//! None is in the product: a mistake is a decision function that errs ([`decisions`]) or a port
//! that does something else than it was asked to ([`storage`]), and only a test hands it to the
//! daemon. What its types rule out, such as arming a slot without a `VerifiedSlot`, cannot be
//! planted at all.

mod decisions;
mod storage;

use std::sync::Arc;

use switchback_types::SlotName;
use switchback_update_core::{State, step};
use switchbackd::boot::EnvFiles;
use switchbackd::driver::Decide;
use switchbackd::host::Host;
use switchbackd::journal::RecordFiles;
use switchbackd::slot::Devices;

use self::storage::Saboteur;
use crate::board::Bench;
use crate::world::World;

macro_rules! mistakes {
    ($($name:ident = $text:literal,)*) => {
        /// A mistake, as somebody could make it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mistake { $(#[doc = $text] $name,)* }

        impl Mistake {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What is wrong, in words.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

mistakes! {
    SlotNotSynced = "the slot is not synced before it is read back",
    SlotNotReadBack = "what was sent to the slot counts as what it holds",
    ResumesByMemory = "a segment that was sent once is not looked at again",
    LastSegmentLost = "the last segment of an image is not written",
    RunningSlotWritten = "the slot that runs is written",
    RecordNotSynced = "a record is renamed before its content is durable",
    DirectoryNotSynced = "the directory is not synced after the rename",
    RecordInPlace = "a record is overwritten where it is",
    OneRecordCopyRead = "only the first copy of a record is read",
    ActBeforeCommit = "effects run before the state that decided them is durable",
    StateInMemory = "the state is kept in memory only",
    EnvironmentNotSynced = "the boot environment is not synced after a write",
    EnvironmentCurrentCopyWritten = "the copy of the environment that counts is overwritten",
    EnvironmentOneCopyRead = "only the first copy of the environment is read",
    GoodBeforeHealth = "a slot counts as healthy as soon as the daemon runs",
    JournalOverBoot = "the journal is believed about which slot runs, not the boot",
    SlotNotInvalidated = "the bootloader is not told that the slot is being written",
    SlotRecordKept = "the journal still calls the old image whole while it is overwritten",
    OutcomeBeforeAct = "committed is noted before the bootloader is told",
    NeverReports = "an outcome that was not told before a restart is forgotten",
    ReportsSuccess = "a rolled back update is reported as committed",
    FallBackForgotten = "an unhealthy slot is left armed",
    FailureForgotten = "an image that failed here is not remembered",
    FloorNotRaised = "a commit does not raise the floor",
    PrimaryNotSwitched = "a commit does not make the slot primary in the journal",
    PrimarySwitchedEarly = "arming makes the slot primary in the journal",
    TrialTakenForOrdinary = "the boot of a slot on trial is taken for an ordinary one",
    CancelKeepsSlotArmed = "a cancelled update leaves its slot armed",
    RollBackWithoutHold = "after a person's rollback the device updates again",
    DamageIgnored = "a slot that does not read back stays a way back",
    ReasonLost = "why a trial was lost is not made durable",
    TrialForgotten = "a trial that the bootloader ended is forgotten",
    AlwaysGivesBack = "a trial gets its try back without end",
    NotLocked = "a second daemon is not kept out",
    CommitNotTold = "committed is noted, and the bootloader is never told",
    InterruptedForgotten = "an update that a restart cut short goes on as another action",
}

/// What the daemon is given to decide with and to act on.
#[derive(Debug)]
pub struct Ports {
    /// The state machine.
    pub decide: Decide,
    /// Its records.
    pub files: Arc<dyn RecordFiles>,
    /// The slots.
    pub devices: Arc<dyn Devices>,
    /// The boot environment.
    pub environment: Box<dyn EnvFiles>,
    /// The machine.
    pub host: Arc<dyn Host>,
    mistake: Option<Mistake>,
}

impl Ports {
    /// Those of a bench: the world's own, or with the bench's mistake in between.
    #[must_use]
    pub fn new(bench: &Bench, world: &World) -> Self {
        let Some(mistake) = bench.planted else {
            return Self {
                decide: step,
                files: Arc::new(world.clone()),
                devices: Arc::new(world.clone()),
                environment: Box::new(world.clone()),
                host: Arc::new(world.clone()),
                mistake: None,
            };
        };
        let ports = Saboteur::new(bench, world, mistake);
        Self {
            decide: decisions::with(mistake),
            files: Arc::new(ports.clone()),
            devices: Arc::new(ports.clone()),
            environment: Box::new(ports.clone()),
            host: Arc::new(ports),
            mistake: Some(mistake),
        }
    }

    /// The slot that the daemon thinks it runs from.
    #[must_use]
    pub fn booted(&self, truly: SlotName, state: &State) -> SlotName {
        match self.mistake {
            Some(Mistake::JournalOverBoot) => state.primary.unwrap_or(truly),
            _ => truly,
        }
    }
}
