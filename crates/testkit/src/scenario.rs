//! What befalls a device, as data.

use switchback_update_core::PhaseKind;

use crate::bootloader::Loader;
use crate::repository::Fault;

/// How an image behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Behaviour {
    /// It works.
    Good,
    /// It starts, and its health checks fail.
    Unhealthy,
    /// It resets before the daemon runs: a panic, or a hang that the watchdog ends.
    DiesEarly,
    /// It hangs after the daemon started; the watchdog ends it.
    HangsLate,
}

/// What a person does.
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
    /// The publisher's next version appears.
    Publish,
}

/// When a person does it: as soon as the device is in a phase, running a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct When {
    /// The phase.
    pub phase: PhaseKind,
    /// The version that runs.
    pub running: u8,
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
    /// What is wrong with the server at first; it heals after some polls.
    pub fault: Fault,
    /// How often an outcome cannot be told.
    pub tell_failures: u8,
    /// What people do, in this order.
    pub deeds: Vec<(When, Deed)>,
    /// Versions that are published at the start.
    pub published: u8,
    /// The version that runs in the end when nothing is cut.
    pub ends_in: u8,
}

impl Scenario {
    /// How a version behaves.
    #[must_use]
    pub fn behaviour(&self, version: u8) -> Behaviour {
        match version {
            2 => self.behaviour[0],
            3 => self.behaviour[1],
            _ => Behaviour::Good,
        }
    }
}

/// The boot scripts and tries that everything is run with.
#[must_use]
pub fn boards() -> Vec<(Loader, u8)> {
    let counted = [Loader::SwitchbackGrub, Loader::RaucUboot];
    let mut all: Vec<_> = counted
        .into_iter()
        .flat_map(|loader| (1..=5).map(move |tries| (loader, tries)))
        .collect();
    all.push((Loader::RaucGrub, 1));
    all
}

/// All stories on one board.
#[must_use]
pub fn scenarios(loader: Loader, tries: u8) -> Vec<Scenario> {
    let plain = |name: &str| Scenario {
        name: format!("{name} ({loader:?}, {tries} tries)"),
        loader,
        tries,
        behaviour: [Behaviour::Good; 2],
        fault: Fault::None,
        tell_failures: 0,
        deeds: Vec::new(),
        published: 2,
        ends_in: 2,
    };
    let bad = |name: &str, behaviour| Scenario {
        behaviour: [behaviour, Behaviour::Good],
        ends_in: 1,
        ..plain(name)
    };
    let when = |phase, running| When { phase, running };
    let idle = |running| when(PhaseKind::Idle, running);
    let mut all = vec![
        plain("good"),
        bad("unhealthy", Behaviour::Unhealthy),
        bad("dies early", Behaviour::DiesEarly),
        bad("hangs late", Behaviour::HangsLate),
        Scenario {
            fault: Fault::Corrupt,
            ..plain("corrupt download, then good")
        },
        Scenario {
            fault: Fault::Truncated,
            ..plain("truncated download, then good")
        },
        Scenario {
            fault: Fault::Gone,
            ..plain("server gone, then back")
        },
        Scenario {
            tell_failures: 2,
            ..plain("outcome cannot be told at first")
        },
        Scenario {
            deeds: vec![(idle(2), Deed::Publish)],
            ends_in: 3,
            ..plain("second update over an older good slot")
        },
        Scenario {
            behaviour: [Behaviour::Good, Behaviour::DiesEarly],
            deeds: vec![(idle(2), Deed::Publish)],
            ..plain("second update dies early")
        },
        Scenario {
            deeds: vec![(idle(1), Deed::Publish)],
            ends_in: 3,
            behaviour: [Behaviour::Unhealthy, Behaviour::Good],
            ..plain("bad, then superseded")
        },
        Scenario {
            deeds: vec![(idle(2), Deed::RollBack)],
            ends_in: 1,
            ..plain("person rolls back")
        },
        Scenario {
            deeds: vec![(idle(2), Deed::RollBack), (idle(1), Deed::Unhold)],
            ..plain("person rolls back and unholds")
        },
    ];
    for phase in [PhaseKind::Installing, PhaseKind::OnTrial] {
        for deed in [Deed::Cancel, Deed::Hold, Deed::RollBack] {
            for running in [1, 2] {
                if running == 2 && phase != PhaseKind::OnTrial {
                    continue;
                }
                all.push(Scenario {
                    deeds: vec![(when(phase, running), deed)],
                    // Any of the two is right: what counts is that it is settled and told.
                    ends_in: 0,
                    ..plain(&format!("{deed:?} while {phase} in version {running}"))
                });
            }
        }
    }
    all
}
