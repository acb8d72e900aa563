//! `fleet`: whole rollouts, and who was reached: over model devices under the planner alone, over model
//! devices that speak with the real server, over real guests.

mod devices;
mod model;

use anyhow::Context as _;
use qemu_tests::report::Report;
use switchback_rollout::Plan;

/// Devices under the planner alone, unless told.
const MODELS: usize = 10_000;
/// Real guests, unless told.
const GUESTS: usize = 3;

/// Plays what the words say.
pub(crate) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    match words {
        [] | ["--model"] => model::run(MODELS),
        ["--model", number] => model::run(number.parse().context("--model takes a number")?),
        ["--qemu"] => guests(GUESTS),
        ["--qemu", number] => guests(number.parse().context("--qemu takes a number")?),
        ["--devices", ..] | ["--story", ..] => devices::run_from(words),
        other => anyhow::bail!("fleet: unknown arguments {other:?}"),
    }
}

/// Real guests, the real server.
fn guests(count: usize) -> anyhow::Result<()> {
    let mut report = Report::new("fleet-qemu");
    Ok(qemu_tests::fleet::run_and_judge(
        count,
        &mut report,
        &mut |line| println!("{line}"),
    )?)
}

/// How many devices the same waves have been open to after so many seconds, each opened when the one before was open for
/// its soak time.
fn by_time(plan: &Plan, passed: f64, devices: usize) -> usize {
    let mut opens = 0.0;
    let mut reached = 0;
    for (index, wave) in plan.waves.iter().enumerate() {
        if opens <= passed {
            reached = plan.limit(index, devices);
        }
        opens += f64::from(wave.soak);
    }
    reached
}
