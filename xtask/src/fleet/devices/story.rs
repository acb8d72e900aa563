//! What befalls the fleet, and what must come of it.

use switchback_rollout::{Amount, Plan, Share, Wave};
use switchback_testkit::fleet::{Clocks, Fate, Network, Whom};

/// Which waves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waves {
    /// Those of someone who configures nothing: 1 device, 1 %, 10 %, 50 %, 100 %.
    Default,
    /// Everybody at once, no soak.
    One,
}

/// What befalls the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Befalls {
    Nothing,
    /// `kill -9`, and again, and again; each time it is started at once.
    Kills,
    /// Two replicas over one PostgreSQL: that is killed and comes back, later one replica for good.
    Failover,
}

/// How many devices may have begun the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Most {
    All,
    /// The first wave and half of it again.
    First,
    /// The second wave and half of it again.
    Second,
}

/// One story.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) name: &'static str,
    pub(super) fate: (Fate, Whom),
    pub(super) network: Network,
    pub(super) clocks: Clocks,
    pub(super) waves: Waves,
    pub(super) befalls: Befalls,
    pub(super) most: Most,
    /// Whether it must come to its end, everybody on the new release; otherwise it must be paused.
    pub(super) finishes: bool,
}

pub(super) const GOOD: Story = Story {
    name: "a good release",
    fate: (Fate::Well, Whom::All),
    network: Network::Good,
    clocks: Clocks::Right,
    waves: Waves::Default,
    befalls: Befalls::Nothing,
    most: Most::All,
    finishes: true,
};

const fn bad(name: &'static str, fate: Fate, whom: Whom, most: Most) -> Story {
    Story {
        name,
        fate: (fate, whom),
        most,
        finishes: false,
        ..GOOD
    }
}

pub(super) const STORIES: &[Story] = &[
    Story {
        name: "good, no wave limits",
        waves: Waves::One,
        ..GOOD
    },
    bad("fails on boot", Fate::DiesAtBoot, Whom::All, Most::First),
    bad("is not healthy", Fate::Unhealthy, Whom::All, Most::First),
    bad(
        "bricks: never heard of again",
        Fate::Bricks,
        Whom::All,
        Most::First,
    ),
    bad(
        "fails after an hour",
        Fate::FailsAfter(3600),
        Whom::All,
        Most::Second,
    ),
    bad(
        "silent after an hour",
        Fate::BricksAfter(3600),
        Whom::All,
        Most::Second,
    ),
    bad(
        "fails on one of three kinds of hardware",
        Fate::DiesAtBoot,
        Whom::Revision(1),
        Most::Second,
    ),
    bad(
        "busy processor, keeps polling",
        Fate::BusyProcessor,
        Whom::All,
        Most::Second,
    ),
    GOOD,
    Story {
        name: "good, flaky network",
        network: Network::Flaky,
        ..GOOD
    },
    Story {
        name: "good, clocks wrong",
        clocks: Clocks::Wrong,
        ..GOOD
    },
    Story {
        name: "good, server killed three times",
        befalls: Befalls::Kills,
        ..GOOD
    },
    Story {
        name: "good, PostgreSQL killed, then a replica",
        befalls: Befalls::Failover,
        ..GOOD
    },
];

/// The plan, with hours of so many seconds.
pub(super) fn plan(waves: Waves, hour: u32) -> Plan {
    let mut plan = Plan::default();
    match waves {
        Waves::Default => {
            for wave in &mut plan.waves {
                wave.soak = wave.soak / 3600 * hour;
            }
        }
        Waves::One => {
            plan.waves = vec![Wave {
                reach: Amount::Share(Share::percent(100)),
                soak: 0,
            }];
        }
    }
    plan
}

/// How many devices may have begun it at the end of a wave.
fn limit(plan: &Plan, index: usize, devices: u32) -> u32 {
    let limit = plan.limit(index, devices as usize);
    u32::try_from(limit).unwrap_or(devices)
}

impl Most {
    /// Of so many devices.
    pub(super) fn of(self, plan: &Plan, devices: u32) -> u32 {
        let half_more = |index| limit(plan, index, devices) * 3 / 2;
        match self {
            Self::All => devices,
            Self::First => half_more(0),
            Self::Second => half_more(1),
        }
    }
}
