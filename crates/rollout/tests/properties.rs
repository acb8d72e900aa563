//! What holds for every rollout, whatever the fleet does. The model itself checks, at every
//! step, that no more devices are reached than the wave allows and that plans are repeatable.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use proptest::prelude::*;
use switchback_rollout::model::{Device, Fate, Model, definition, device};
use switchback_rollout::{Command, OnBrokenGate, Phase, Plan, Wave};

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => (0_i64..4000).prop_map(Fate::Well),
        1 => (0_i64..4000).prop_map(Fate::RollsBack),
        1 => (0_i64..4000).prop_map(Fate::Fails),
        1 => Just(Fate::Dies),
        1 => (0_i64..9000).prop_map(Fate::SlowBurn),
        1 => (0_i64..9000).prop_map(Fate::DiesLater),
        1 => Just(Fate::Shy),
    ]
}

fn devices() -> impl Strategy<Value = Vec<Device>> {
    proptest::collection::vec((fate(), 0_i64..5), 0..60).prop_map(|all| {
        let made = all.into_iter().enumerate().map(|(number, (fate, away))| {
            let mut one = device(number, fate);
            // One of five is never heard of.
            one.every = if away == 0 { 0 } else { 300 };
            one
        });
        made.collect()
    })
}

fn plans() -> impl Strategy<Value = Plan> {
    let limit = || proptest::option::of(1_u32..30);
    (
        proptest::collection::vec((1_u32..60, 0_u32..4000), 1..5),
        limit(),
        limit(),
    )
        .prop_map(|(mut waves, in_flight, per_hour)| {
            waves.sort_unstable();
            let wave = |(reach, soak): (u32, u32)| Wave {
                reach: format!("{reach}").parse().unwrap(),
                soak,
            };
            Plan {
                waves: waves.into_iter().map(wave).collect(),
                in_flight,
                per_hour,
            }
        })
}

fn commands() -> impl Strategy<Value = Vec<(u8, Command)>> {
    let command = prop_oneof![
        Just(Command::Pause),
        Just(Command::Resume),
        Just(Command::NextWave),
        Just(Command::Retry { device: None }),
        Just(Command::Revert { group: None }),
        Just(Command::Stop),
    ];
    proptest::collection::vec((any::<u8>(), command), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens(
        devices in devices(),
        plan in plans(),
        commands in commands(),
        revert in any::<bool>(),
    ) {
        let mut wanted = definition();
        wanted.plan = plan;
        if revert {
            wanted.on_broken_gate = OnBrokenGate::Revert;
        }
        let mut model = Model::new(wanted, devices);
        let (mut before, mut wave) = (model.exposed(), 0);
        for turn in 0_u16..255 {
            for (when, command) in &commands {
                if u16::from(*when) == turn {
                    let attempts = model.attempts.clone();
                    let taken = model.rollout.command(&attempts, command, "bob", model.now);
                    for action in taken.unwrap_or_default() {
                        model.rollout.apply(&mut model.attempts, &action, model.now);
                    }
                }
            }
            let phase = model.rollout.phase.clone();
            model.turn();
            let exposed = model.exposed();
            let gone: Vec<_> = before.difference(&exposed).collect();
            // Only an offer that was withdrawn untaken is forgotten.
            prop_assert!(gone.iter().all(|id| model.attempts[*id].taken_at.is_none()));
            prop_assert!(model.rollout.wave >= wave, "waves go forward");
            if matches!(phase, Phase::Paused { .. }) || phase.is_over() {
                prop_assert!(exposed.is_subset(&before), "{:?}: nobody new", phase);
                prop_assert_eq!(&model.rollout.phase, &phase, "left by itself");
            }
            (before, wave) = (exposed, model.rollout.wave);
        }
    }

    /// Every device that gets it goes bad at once: at most half as many again as the first wave.
    #[test]
    fn a_release_that_is_bad_everywhere_stays_in_the_first_wave(
        count in 1_usize..80,
        plan in plans(),
        kind in 0_u8..3,
        after in 0_i64..3000,
    ) {
        let fate = [Fate::RollsBack(after), Fate::Fails(after), Fate::Dies][usize::from(kind)];
        let mut wanted = definition();
        wanted.plan = plan;
        let first = wanted.plan.waves[0].reach.of(count);
        let mut model = Model::new(wanted, switchback_rollout::model::fleet(count, fate));
        model.run_until(8, |_| false);
        let exposed = model.exposed().len();
        prop_assert!(exposed * 2 <= first * 3, "{} of a first wave of {}", exposed, first);
        let paused = matches!(model.rollout.phase, Phase::Paused { .. });
        prop_assert!(paused);
    }

    /// Who was in a wave is in every later one, and the order is the salt's, not the fleet's.
    #[test]
    fn cohorts_grow(count in 2_usize..60, other in 0_usize..60) {
        let reached = |count: usize, reach: usize| {
            let mut wanted = definition();
            wanted.plan = Plan {
                waves: vec![Wave { reach: format!("{reach}").parse().unwrap(), soak: 0 }],
                in_flight: None,
                per_hour: None,
            };
            let mut model = Model::new(wanted, switchback_rollout::model::fleet(count, Fate::Well(0)));
            model.act();
            model.exposed()
        };
        let reach = 1 + other % (count - 1);
        prop_assert!(reached(count, reach).is_subset(&reached(count, reach + 1)));
        // More devices push some out, and change nothing among the others.
        let larger = reached(count + other, reach);
        let kept: Vec<_> = larger.iter().filter(|id| {
            id.trim_start_matches("device-").parse::<usize>().unwrap() < count
        }).collect();
        let smaller = reached(count, reach);
        prop_assert!(kept.iter().all(|id| smaller.contains(*id)));
    }
}
