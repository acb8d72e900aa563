//! `fleet --model`: whole rollouts over model devices under the real planner, and who was reached; beside
//! the same waves opened by time alone, and everyone at once. No network, no server, no clock: seconds.

use std::time::Instant;

use qemu_tests::report::{Entry, Report};
use switchback_rollout::model::{Device, Fate, Model, START, definition, fleet};
use switchback_rollout::{OnBrokenGate, Phase};

/// Hours that a story may take.
const HOURS: i64 = 30;

/// One way to fail, and what a person would call it.
struct Story {
    name: &'static str,
    devices: fn(usize) -> Vec<Device>,
    reverts: bool,
    /// Most devices that may be reached, of so many.
    most: fn(usize) -> usize,
}

const STORIES: &[Story] = &[
    Story {
        name: "a good release",
        devices: |count| fleet(count, Fate::Well(180)),
        reverts: false,
        most: |count| count,
    },
    Story {
        name: "fails on boot",
        devices: |count| fleet(count, Fate::RollsBack(180)),
        reverts: false,
        most: |_| 1,
    },
    Story {
        name: "bricks: never heard of again",
        devices: |count| fleet(count, Fate::Dies),
        reverts: false,
        most: |_| 1,
    },
    Story {
        name: "fails after an hour",
        devices: |count| fleet(count, Fate::SlowBurn(3600)),
        reverts: false,
        most: |_| 1,
    },
    Story {
        name: "fails after an hour, automatic revert",
        devices: |count| fleet(count, Fate::SlowBurn(3600)),
        reverts: true,
        most: |_| 1,
    },
    Story {
        name: "falls silent after an hour",
        devices: |count| fleet(count, Fate::DiesLater(3600)),
        reverts: false,
        most: |count| count / 100 + 1,
    },
    Story {
        name: "fails on one of three kinds of hardware",
        devices: |count| {
            let mut devices = fleet(count, Fate::Well(180));
            for device in devices.iter_mut().step_by(3) {
                device.fate = Fate::RollsBack(180);
            }
            devices
        },
        reverts: false,
        most: |count| count / 100 + 1,
    },
    Story {
        name: "good, 5 % of the fleet away",
        devices: |count| {
            let mut devices = fleet(count, Fate::Well(180));
            for device in devices.iter_mut().step_by(20) {
                device.every = 0;
            }
            devices
        },
        reverts: false,
        most: |count| count,
    },
];

/// How a story went.
struct Run {
    ours: usize,
    by_time: usize,
    hours: f64,
    phase: &'static str,
    seconds: f64,
}

/// Runs all stories and prints the table.
pub(super) fn run(count: usize) -> anyhow::Result<()> {
    let mut report = Report::new("fleet");
    println!("{count} model devices that poll every 5 minutes; default plan and gates\n");
    println!(
        "{:<40} {:>9} {:>13} {:>12}  after      ended",
        "story", "reached", "waves by time", "all at once"
    );
    for story in STORIES {
        let run = play(story, count)?;
        println!(
            "{:<40} {:>9} {:>13} {:>12}  {:>5.1} h    {} ({:.0} s of computing)",
            story.name, run.ours, run.by_time, count, run.hours, run.phase, run.seconds
        );
        let mut figures = serde_json::Map::new();
        figures.insert("reached".into(), run.ours.into());
        figures.insert("reached_by_time_alone".into(), run.by_time.into());
        figures.insert("reached_all_at_once".into(), count.into());
        figures.insert("hours".into(), run.hours.into());
        let most = (story.most)(count);
        report.add(Entry {
            name: story.name.into(),
            expected: format!("at most {most} devices reached"),
            observed: format!("{} reached, {}", run.ours, run.phase),
            ok: run.ours <= most,
            figures,
        })?;
    }
    anyhow::ensure!(
        report.is_ok(),
        "more devices were reached than may be: {:?}",
        report.path()
    );
    println!(
        "\nreached: took the offer by the time it ended; in the two columns beside it, how many the same\n\
         waves opened by time alone, and an offer to everyone, had been open to by then."
    );
    Ok(())
}

fn play(story: &Story, count: usize) -> anyhow::Result<Run> {
    let started = Instant::now();
    let mut wanted = definition();
    if story.reverts {
        wanted.on_broken_gate = OnBrokenGate::Revert;
    }
    let plan = wanted.plan.clone();
    let mut model = Model::new(wanted, (story.devices)(count));
    let ended = |model: &Model| {
        let phase = &model.rollout.phase;
        phase.is_over() || matches!(phase, Phase::Paused { .. })
    };
    model.run_until(HOURS, ended);
    let passed = u32::try_from(model.now.unix() - START).map(f64::from)?;
    let reached = model
        .attempts
        .values()
        .filter(|attempt| attempt.taken_at.is_some());
    Ok(Run {
        ours: reached.count(),
        by_time: super::by_time(&plan, passed, count),
        hours: passed / 3600.0,
        phase: model.rollout.phase.as_str(),
        seconds: started.elapsed().as_secs_f64(),
    })
}
