//! The scenarios.

use switchback_testkit::bootloader::Loader;
use switchback_testkit::repository::ServerFault;
use switchback_testkit::scenario::{Behaviour, Faults, Scenario as Story};

use super::{Cut, End, Scenario};
use crate::product::Contract;

/// Those that make sense with a contract. Where a trial has one try, a power cut during it is a
/// rollback, as with RAUC itself: what RAUC's script does is not ours to test.
#[must_use]
pub fn scenarios_for(contract: Contract) -> Vec<Scenario> {
    let mut chosen = scenarios();
    if contract.tries() == 1 {
        chosen.retain(|scenario| ["good update", "unhealthy"].contains(&&*scenario.story.name));
    }
    for scenario in &mut chosen {
        scenario.story.loader = loader(contract);
        scenario.story.tries = contract.tries();
    }
    chosen
}

const fn loader(contract: Contract) -> Loader {
    match contract {
        Contract::SwitchbackGrub => Loader::SwitchbackGrub,
        Contract::RaucGrub => Loader::RaucGrub,
        Contract::RaucUboot => Loader::RaucUboot,
    }
}

fn scenarios() -> Vec<Scenario> {
    let good = |name| Scenario {
        story: Story::plain(name),
        cut: None,
        end: End::Committed { on_try: 1 },
    };
    let image = |name, behaviour, because, starts| Scenario {
        story: Story {
            behaviour: [behaviour, Behaviour::Good],
            ends_in: 1,
            ..Story::plain(name)
        },
        end: End::RolledBack { because, starts },
        ..good(name)
    };
    let cut = |name, cut, on_try| Scenario {
        cut: Some(cut),
        end: End::Committed { on_try },
        ..good(name)
    };
    let refused = |name, faults, because| Scenario {
        story: Story {
            faults,
            ends_in: 1,
            ..Story::plain(name)
        },
        end: End::Refused { because },
        ..good(name)
    };
    let server = |server| Faults {
        server,
        server_stays: true,
        ..Faults::default()
    };
    let died = "died each time before the daemon ran";
    vec![
        image("unhealthy", Behaviour::Unhealthy, "health checks failed", 1),
        image("panic before init", Behaviour::DiesEarly, died, 3),
        image("hang before init", Behaviour::HangsEarly, died, 3),
        cut("power cut while writing", Cut::WhileWriting(0.3), 1),
        cut("power cut right after the flip", Cut::AfterArming, 1),
        cut("power cut during the trial", Cut::DuringTrial, 2),
        Scenario {
            story: Story {
                faults: Faults {
                    server: ServerFault::Gone,
                    ..Faults::default()
                },
                ..Story::plain("repository unreachable, then back")
            },
            ..good("")
        },
        Scenario {
            cut: Some(Cut::BlipsAfterCommit),
            end: End::Returned,
            ..good("power blips eat the tries of a good slot")
        },
        refused(
            "bootloader reads another environment",
            Faults {
                other_environment: true,
                ..Faults::default()
            },
            "reads another environment than",
        ),
        refused(
            "corrupt content",
            server(ServerFault::Corrupt),
            "frame 0 decodes to bytes that are not the signed ones",
        ),
        refused(
            "truncated content",
            server(ServerFault::Truncated),
            "the file is truncated",
        ),
        refused("wrongly signed", server(ServerFault::Lying), "not trusted"),
        refused(
            "wrong product",
            Faults {
                other_hardware: true,
                ..Faults::default()
            },
            "the release is made for",
        ),
        good("good update"),
    ]
}
