//! The stories that everything is tried with.

use switchback_update_core::PhaseKind;

use super::{Behaviour, Clock, Deed, EnvironmentDamage, Faults, IoFault, Scenario, Span, When};
use crate::bootloader::Loader;
use crate::repository::{ServerFault, Stage};

/// The boot scripts and tries that every test run plays.
pub const BOARDS: [(Loader, u8); 4] = [
    (Loader::SwitchbackGrub, 3),
    (Loader::RaucUboot, 3),
    (Loader::RaucGrub, 1),
    (Loader::Bootcount, 3),
];

/// The further ones that a long run plays as well.
pub const MORE_BOARDS: [(Loader, u8); 9] = [
    (Loader::SwitchbackGrub, 1),
    (Loader::RaucUboot, 1),
    // Mender's limit.
    (Loader::Bootcount, 1),
    (Loader::SwitchbackGrub, 2),
    (Loader::SwitchbackGrub, 4),
    (Loader::SwitchbackGrub, 5),
    (Loader::RaucUboot, 2),
    (Loader::RaucUboot, 4),
    (Loader::RaucUboot, 5),
];

/// All stories on one board.
#[must_use]
pub fn scenarios(loader: Loader, tries: u8) -> Vec<Scenario> {
    let mut all = images();
    all.extend(servers());
    all.extend(deltas());
    all.extend(releases());
    all.extend(storage());
    all.extend(clocks());
    if loader != Loader::RaucGrub {
        // RAUC's script for GRUB starts nothing from a damaged environment: boot/grub/README.md.
        all.extend(environments());
        all.push(Scenario {
            faults: Faults {
                other_environment: true,
                ..Faults::default()
            },
            ends_in: 1,
            ..plain("loader reads another environment")
        });
        // And it leaves a good slot after a single cut, for the other one, rotten or not.
        all.extend(rot());
    }
    all.extend(people());
    all.into_iter()
        .map(|scenario| scenario.on(loader, tries))
        .collect()
}

fn plain(name: &str) -> Scenario {
    Scenario::plain(name)
}

const fn when(phase: PhaseKind, running: u8) -> When {
    When { phase, running }
}

const fn idle(running: u8) -> When {
    when(PhaseKind::Idle, running)
}

/// What an image may do.
fn images() -> Vec<Scenario> {
    let bad = |name: &str, behaviour| Scenario {
        behaviour: [behaviour, Behaviour::Good],
        ends_in: 1,
        ..plain(name)
    };
    vec![
        plain("good"),
        bad("unhealthy", Behaviour::Unhealthy),
        bad("dies early", Behaviour::DiesEarly),
        bad("hangs early", Behaviour::HangsEarly),
        bad("hangs at the daemon's start", Behaviour::HangsAtStart),
        bad("restarts in order for ever", Behaviour::RestartsAtStart),
        bad("hangs during health", Behaviour::HangsLate),
    ]
}

/// What a server may do.
fn servers() -> Vec<Scenario> {
    let faulty = |name: &str, server| Scenario {
        faults: Faults {
            server,
            ..Faults::default()
        },
        ..plain(name)
    };
    vec![
        faulty("corrupt download, then good", ServerFault::Corrupt),
        faulty("truncated download, then good", ServerFault::Truncated),
        faulty("server gone, then back", ServerFault::Gone),
        faulty("server with unsigned lies, then good", ServerFault::Lying),
        Scenario {
            faults: Faults {
                server: ServerFault::Corrupt,
                server_stays: true,
                ..Faults::default()
            },
            ends_in: 1,
            ..plain("corrupt download for ever")
        },
        Scenario {
            faults: Faults {
                tell: 2,
                ..Faults::default()
            },
            ..plain("outcome cannot be told at first")
        },
        Scenario {
            deeds: vec![(idle(2), Deed::Publish(Stage::One))],
            ..plain("server replays an older repository")
        },
    ]
}

/// What is different when a delta leads to an image.
fn deltas() -> Vec<Scenario> {
    let by_delta = |scenario: Scenario| Scenario {
        deltas: true,
        ..scenario
    };
    let corrupt = Faults {
        server: ServerFault::Corrupt,
        ..Faults::default()
    };
    let bad = [Behaviour::Unhealthy, Behaviour::Good];
    vec![
        by_delta(plain("good, by a delta")),
        by_delta(Scenario {
            behaviour: bad,
            deeds: vec![(idle(1), Deed::Publish(Stage::Three))],
            ends_in: 3,
            ..plain("bad, then superseded, by deltas")
        }),
        by_delta(Scenario {
            faults: corrupt,
            ..plain("corrupt deltas and frames, then good")
        }),
        by_delta(Scenario {
            deeds: vec![(when(PhaseKind::Installing, 1), Deed::Publish(Stage::Three))],
            ends_in: 3,
            ..plain("superseded while a delta is installed")
        }),
    ]
}

/// What a publisher may do.
fn releases() -> Vec<Scenario> {
    let third = |at| vec![(at, Deed::Publish(Stage::Three))];
    vec![
        Scenario {
            deeds: third(idle(2)),
            ends_in: 3,
            ..plain("second update over an older good slot")
        },
        Scenario {
            behaviour: [Behaviour::Good, Behaviour::DiesEarly],
            deeds: third(idle(2)),
            ..plain("second update dies early")
        },
        Scenario {
            behaviour: [Behaviour::Unhealthy, Behaviour::Good],
            deeds: third(idle(1)),
            ends_in: 3,
            ..plain("bad, then superseded")
        },
        Scenario {
            deeds: third(when(PhaseKind::Installing, 1)),
            ends_in: 3,
            ..plain("superseded while it is installed")
        },
        Scenario {
            automatic: false,
            deeds: vec![
                (when(PhaseKind::OnTrial, 1), Deed::Publish(Stage::Three)),
                (when(PhaseKind::OnTrial, 1), Deed::Restart),
                (when(PhaseKind::OnTrial, 2), Deed::Restart),
            ],
            ends_in: 0,
            ..plain("superseded while it waits for a person's restart")
        },
        Scenario {
            deeds: vec![(idle(2), Deed::Publish(Stage::BackToOne))],
            ends_in: 1,
            ..plain("publisher takes the release back")
        },
        Scenario {
            faults: Faults {
                other_hardware: true,
                ..Faults::default()
            },
            ends_in: 1,
            ..plain("release for other hardware")
        },
        Scenario {
            deeds: vec![
                (idle(2), Deed::Publish(Stage::Three)),
                (idle(3), Deed::Publish(Stage::BackToTwo)),
            ],
            ends_in: 3,
            ..plain("publisher takes back what the floor forbids")
        },
        Scenario {
            deeds: vec![
                (idle(2), Deed::Publish(Stage::Three)),
                (idle(3), Deed::RollBack),
            ],
            ends_in: 3,
            ..plain("person wants what the floor forbids")
        },
    ]
}

/// What disks may do.
fn storage() -> Vec<Scenario> {
    let once = |from| Span { from, times: 1 };
    let slot = |name: &str, fault| Scenario {
        faults: Faults {
            slot: Some(fault),
            ..Faults::default()
        },
        ..plain(name)
    };
    let records = |name: &str, fault| Scenario {
        faults: Faults {
            records: Some(fault),
            ..Faults::default()
        },
        ends_in: 0,
        ..plain(name)
    };
    let environment = |name: &str, fault| Scenario {
        faults: Faults {
            environment: Some(fault),
            ..Faults::default()
        },
        ends_in: 0,
        ..plain(name)
    };
    vec![
        slot("slot cannot be written once", IoFault::Write(once(2))),
        slot("slot cannot be synced once", IoFault::Sync(once(1))),
        slot("slot cannot be read once", IoFault::Read(once(2))),
        slot("slot stores a wrong bit", IoFault::Flip(once(2))),
        Scenario {
            faults: Faults {
                small_slot: true,
                ..Faults::default()
            },
            ends_in: 1,
            ..plain("slot is too small")
        },
        records(
            "no room for the journal at first",
            IoFault::Write(Span { from: 1, times: 4 }),
        ),
        records(
            "no room for the journal in the middle",
            IoFault::Write(Span { from: 4, times: 3 }),
        ),
        records("journal cannot be synced once", IoFault::Sync(once(3))),
        environment(
            "environment cannot be written once",
            IoFault::Write(once(2)),
        ),
        environment("environment cannot be synced once", IoFault::Sync(once(2))),
        environment("mark good cannot be synced", IoFault::Sync(once(3))),
    ]
}

/// What a bit that flips in the inactive slot may do.
fn rot() -> Vec<Scenario> {
    vec![
        Scenario {
            deeds: vec![(idle(2), Deed::Rot)],
            verifies: true,
            ..plain("inactive slot rots")
        },
        Scenario {
            deeds: vec![(idle(2), Deed::Rot), (idle(2), Deed::Repair)],
            verifies: true,
            ..plain("inactive slot rots and is repaired")
        },
        Scenario {
            deeds: vec![(idle(2), Deed::Rot), (idle(2), Deed::RollBack)],
            ..plain("person rolls back to a slot that rotted")
        },
    ]
}

/// What clocks may do.
fn clocks() -> Vec<Scenario> {
    let clock = |name: &str, clock| Scenario {
        faults: Faults {
            clock,
            ..Faults::default()
        },
        ..plain(name)
    };
    vec![
        clock("no clock", Clock::Absent),
        clock("clock runs backwards", Clock::Back),
        clock("clock is ahead at first", Clock::Ahead),
    ]
}

/// What a boot environment may look like.
fn environments() -> Vec<Scenario> {
    let damaged = |name: &str, damage| Scenario {
        faults: Faults {
            damage,
            ..Faults::default()
        },
        ..plain(name)
    };
    vec![
        damaged(
            "one copy of the environment is garbage",
            EnvironmentDamage::One,
        ),
        // The loader starts the slot of its defaults and says so; U-Boot writes a new environment
        // itself, for GRUB the daemon does.
        damaged("the whole environment is garbage", EnvironmentDamage::All),
    ]
}

/// What people may do.
fn people() -> Vec<Scenario> {
    let mut all = vec![
        Scenario {
            deeds: vec![(idle(2), Deed::RollBack)],
            ends_in: 1,
            ..plain("person rolls back")
        },
        Scenario {
            deeds: vec![(idle(2), Deed::RollBack), (idle(1), Deed::Unhold)],
            ..plain("person rolls back and unholds")
        },
        Scenario {
            automatic: false,
            deeds: vec![(when(PhaseKind::OnTrial, 1), Deed::Restart)],
            ..plain("person restarts")
        },
        Scenario {
            deeds: vec![(when(PhaseKind::OnTrial, 2), Deed::Reboot)],
            ..plain("person restarts the system during the trial")
        },
        Scenario {
            faults: Faults {
                closed_gates: 4,
                ..Faults::default()
            },
            ..plain("the restart waits for its gate")
        },
        Scenario {
            faults: Faults {
                closed_gates: 4,
                ..Faults::default()
            },
            deeds: vec![(when(PhaseKind::OnTrial, 1), Deed::Reboot)],
            ..plain("the system restarts while the restart waits for its gate")
        },
    ];
    for (name, second) in [
        ("", None),
        (", and restarts the system", Some(Deed::Reboot)),
    ] {
        for deed in [Deed::Cancel, Deed::RollBack] {
            let armed = when(PhaseKind::OnTrial, 1);
            let deeds = [Some(deed), second].into_iter().flatten();
            all.push(Scenario {
                faults: Faults {
                    closed_gates: 4,
                    ..Faults::default()
                },
                deeds: deeds.map(|deed| (armed, deed)).collect(),
                ends_in: 0,
                ..plain(&format!(
                    "{deed:?} while the restart waits for its gate{name}"
                ))
            });
        }
    }
    let places = [
        (PhaseKind::Idle, 1),
        (PhaseKind::Installing, 1),
        (PhaseKind::OnTrial, 1),
        (PhaseKind::OnTrial, 2),
        (PhaseKind::Reporting, 2),
    ];
    for (phase, running) in places {
        for deed in [Deed::Cancel, Deed::Hold, Deed::RollBack] {
            all.push(Scenario {
                deeds: vec![(when(phase, running), deed)],
                faults: Faults {
                    tell: u8::from(phase == PhaseKind::Reporting),
                    ..Faults::default()
                },
                // Any of the two is right: what counts is that it is settled and told.
                ends_in: 0,
                ..plain(&format!("{deed:?} while {phase} in version {running}"))
            });
        }
    }
    all
}
