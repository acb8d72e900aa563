//! What befalls a device, as data.

mod stories;

use switchback_update_core::PhaseKind;

pub use self::stories::{BOARDS, MORE_BOARDS, scenarios};
use crate::bootloader::Loader;
use crate::repository::{ServerFault, Stage};

/// How an image behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// It works.
    Good,
    /// It starts, and its health checks fail.
    Unhealthy,
    /// It panics before the daemon runs.
    DiesEarly,
    /// It hangs before the daemon runs, until the watchdog resets the device.
    HangsEarly,
    /// It hangs as soon as the daemon has started, before health is looked at.
    HangsAtStart,
    /// It restarts the system in an orderly way as soon as the daemon has started.
    RestartsAtStart,
    /// It hangs while its health is being looked at.
    HangsLate,
}

/// What a person does, or the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// `switchback rollback`
    RollBack,
    /// `switchback cancel`
    Cancel,
    /// `switchback hold`
    Hold,
    /// `switchback unhold`
    Unhold,
    /// `switchback restart`
    Restart,
    /// `switchback repair`
    Repair,
    /// `systemctl reboot`
    Reboot,
    /// The repository changes.
    Publish(Stage),
    /// A bit flips in the inactive slot.
    Rot,
}

/// When it happens: as soon as the device is in a phase, running a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct When {
    /// The phase.
    pub phase: PhaseKind,
    /// The version that runs.
    pub running: u8,
}

/// Of all times that something is done, those that go wrong: `times` of them, the first one of
/// which is number `from`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first.
    pub from: u32,
    /// How many.
    pub times: u32,
}

impl Span {
    /// Whether number `count` is one of them.
    #[must_use]
    pub const fn contains(self, count: u32) -> bool {
        count >= self.from && count < self.from.saturating_add(self.times)
    }
}

/// What can go wrong with a device or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IoFault {
    /// Reading gives an error.
    Read(Span),
    /// Writing gives an error; where there is no room, too.
    Write(Span),
    /// Syncing gives an error, and nothing is durable.
    Sync(Span),
    /// Writing seems to work, and one bit is wrong.
    Flip(Span),
}

/// What the device's clock does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Clock {
    /// It is right.
    #[default]
    Right,
    /// There is none: each boot begins in 1970.
    Absent,
    /// It runs backwards by a day with each boot.
    Back,
    /// It is fourteen years ahead, until it is set right after some polls.
    Ahead,
}

/// What is wrong with the boot environment that the device left the factory with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EnvironmentDamage {
    /// Nothing.
    #[default]
    None,
    /// The copy that counts is garbage.
    One,
    /// Every copy is garbage.
    All,
}

/// What goes wrong beside the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// The server's, at first.
    pub server: ServerFault,
    /// Whether the server stays like that; else it heals after some polls.
    pub server_stays: bool,
    /// Whether the releases are made for other hardware than the device's.
    pub other_hardware: bool,
    /// Whether the daemon is configured with another, sound environment than the loader reads.
    pub other_environment: bool,
    /// The slots'.
    pub slot: Option<IoFault>,
    /// The records': no room, no disk.
    pub records: Option<IoFault>,
    /// The boot environment's.
    pub environment: Option<IoFault>,
    /// The clock's.
    pub clock: Clock,
    /// The boot environment as it left the factory.
    pub damage: EnvironmentDamage,
    /// Whether slot b is too small for every image.
    pub small_slot: bool,
    /// How often an outcome cannot be told.
    pub tell: u8,
    /// How often the gate before the restart is found closed.
    pub closed_gates: u8,
}

/// One device's story.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The boot script.
    pub loader: Loader,
    /// Tries given to a trial.
    pub tries: u8,
    /// How version 2 and version 3 behave; version 1 works.
    pub behaviour: [Behaviour; 2],
    /// What goes wrong.
    pub faults: Faults,
    /// What people do, in this order.
    pub deeds: Vec<(When, Deed)>,
    /// What is published at the start.
    pub published: Stage,
    /// Whether the daemon restarts the device by itself.
    pub automatic: bool,
    /// Whether the server has the deltas that releases name. To decode them takes time, and steps of
    /// a way are durable or not in the same places: most stories do without.
    pub deltas: bool,
    /// Whether the inactive slot is read back from time to time.
    pub verifies: bool,
    /// The version that runs in the end when nothing is cut; 0 where any may.
    pub ends_in: u8,
}

impl Scenario {
    /// A good version 2 is offered to a device with version 1, and nothing goes wrong.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        Self {
            name: name.into(),
            loader: Loader::SwitchbackGrub,
            tries: 1,
            behaviour: [Behaviour::Good; 2],
            faults: Faults::default(),
            deeds: Vec::new(),
            published: Stage::Two,
            automatic: true,
            deltas: false,
            verifies: false,
            ends_in: 2,
        }
    }

    /// The same on another board, which its name says.
    #[must_use]
    pub fn on(self, loader: Loader, tries: u8) -> Self {
        Self {
            name: format!("{} ({loader:?}, {tries} tries)", self.name),
            loader,
            tries,
            ..self
        }
    }

    /// How a version behaves.
    #[must_use]
    pub fn behaviour(&self, version: u8) -> Behaviour {
        match version {
            2 => self.behaviour[0],
            3 => self.behaviour[1],
            _ => Behaviour::Good,
        }
    }

    /// Whether a person wants something in it.
    #[must_use]
    pub fn has_person(&self) -> bool {
        self.deeds
            .iter()
            .any(|(_, deed)| !matches!(deed, Deed::Publish(_) | Deed::Rot))
    }
}
