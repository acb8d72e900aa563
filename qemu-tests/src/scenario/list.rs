//! The scenarios.

use super::{Cut, End, Offer, Scenario};
use crate::https::Fault;
use crate::product::Contract;
use crate::rootfs::Variant;

/// Those that make sense with a contract. Where a trial has one try, a power cut during it is a
/// rollback, as with RAUC itself: what RAUC's script does is not ours to test.
#[must_use]
pub fn scenarios_for(contract: Contract) -> Vec<Scenario> {
    let mut chosen = scenarios();
    if contract.tries() == 1 {
        chosen.retain(|scenario| ["good update", "unhealthy"].contains(&scenario.name));
    }
    chosen
}

/// All of them.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let good = Scenario {
        name: "good update",
        offer: Offer::Image(Variant::Good),
        cut: None,
        server_gone_first: false,
        other_environment: false,
        end: End::Committed { on_try: 1 },
    };
    let image = |name, variant, because, starts| Scenario {
        name,
        offer: Offer::Image(variant),
        end: End::RolledBack { because, starts },
        ..good.clone()
    };
    let cut = |name, cut, on_try| Scenario {
        name,
        cut: Some(cut),
        end: End::Committed { on_try },
        ..good.clone()
    };
    let refused = |name, offer, because| Scenario {
        name,
        offer,
        end: End::Refused { because },
        ..good.clone()
    };
    vec![
        image(
            "unhealthy",
            Variant::UnhealthyApp,
            "health checks failed",
            1,
        ),
        image(
            "panic before init",
            Variant::PanicInit,
            "died each time before the daemon ran",
            3,
        ),
        image(
            "hang before init",
            Variant::HangInit,
            "died each time before the daemon ran",
            3,
        ),
        cut("power cut while writing", Cut::WhileWriting(0.3), 1),
        cut("power cut right after the flip", Cut::AfterArming, 1),
        cut("power cut during the trial", Cut::DuringTrial, 2),
        Scenario {
            name: "repository unreachable, then back",
            server_gone_first: true,
            ..good.clone()
        },
        Scenario {
            name: "power blips eat the tries of a good slot",
            cut: Some(Cut::BlipsAfterCommit),
            end: End::Returned,
            ..good.clone()
        },
        Scenario {
            name: "bootloader reads another environment",
            other_environment: true,
            end: End::Refused {
                because: "reads another environment than",
            },
            ..good.clone()
        },
        refused(
            "corrupt content",
            Offer::Faulty(Fault::Corrupt {
                path_contains: "content/".to_owned(),
                offset: 1000,
            }),
            "frame 0 decodes to bytes that are not the signed ones",
        ),
        refused(
            "truncated content",
            Offer::Faulty(Fault::Truncate {
                path_contains: "content/".to_owned(),
                after_bytes: 500_000,
            }),
            "the file is truncated",
        ),
        refused("wrongly signed", Offer::OtherKeys, "not trusted"),
        refused(
            "wrong product",
            Offer::OtherHardware,
            "the release is made for",
        ),
        good,
    ]
}
