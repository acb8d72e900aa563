//! One round: a kept disk, power cuts, and what the device makes of them.

use std::path::Path;
use std::time::{Duration, Instant};

use super::device::{Device, Hit, Seen};
use super::judge::{self, Verdict};
use super::plan::{Class, Plan};
use super::prepare::{Prepared, copy};
use crate::error::Result;
use crate::nbd::Survive;

/// A device that shows no guest for so long is a brick. A boot takes 5 s of an idle processor; on a
/// host with seven times as much to do it was seen to take 40 s.
const UP: Duration = Duration::from_secs(300);
/// And one that is up must have settled by then, with downloads and restarts.
const SETTLE: Duration = Duration::from_secs(600);

/// Health settles in a second or two; the host may be busy.
const GIVEN_BACK: Duration = Duration::from_secs(120);

/// What came of a round.
#[derive(Debug, Clone)]
pub(super) struct Played {
    /// The cuts that were made, and whether at their point.
    pub(super) cuts: Vec<(Class, Hit)>,
    /// How it ended.
    pub(super) verdict: Verdict,
    /// How long it took.
    pub(super) took: Duration,
}

/// Plays a round in the directory `work`, which is emptied first.
pub(super) fn play(bed: &Prepared<'_>, plan: &Plan, work: &Path) -> Result<Played> {
    let started = Instant::now();
    if work.exists() {
        std::fs::remove_dir_all(work).map_err(|source| crate::Error::Io {
            doing: "remove",
            path: work.to_owned(),
            source,
        })?;
    }
    let disk = copy(bed.disk(plan.start)?, work)?;
    let mut device = Device::new(bed.board, disk, work);
    let mut cuts = Vec::new();
    let verdict = run(bed, plan, &mut device, &mut cuts, work)?;
    Ok(Played {
        cuts,
        verdict,
        took: started.elapsed(),
    })
}

fn run(
    bed: &Prepared<'_>,
    plan: &Plan,
    device: &mut Device<'_>,
    cuts: &mut Vec<(Class, Hit)>,
    work: &Path,
) -> Result<Verdict> {
    for cut in &plan.cuts {
        device.switch_on()?;
        let hit = device.run_to(cut, &bed.reference, bed.two_ends, SETTLE)?;
        if hit == Hit::Missed {
            break;
        }
        cuts.push((cut.class, hit));
        if let Some(why) = judge::after_cut(bed, &device.disk)? {
            return Ok(Verdict::Wrong(format!("after cut {}: {why}", cuts.len())));
        }
        // Before the next start changes what there is to be looked at.
        if let Some(alarm) = device.watch.alarms.first() {
            return Ok(Verdict::Wrong(format!("by cut {}: {alarm}", cuts.len())));
        }
    }
    if !device.is_on() {
        device.switch_on()?;
    }
    if device.watch.up.is_none() && device.wait(Some("SB: TINY-UP"), false, UP)? != Some(Seen::Line)
    {
        let last = device.watch.alarms.last();
        let last = last.map_or("it gave no reason", String::as_str);
        return Ok(Verdict::Brick(format!(
            "no guest came up within {UP:?}: {last}"
        )));
    }
    if device.wait(None, true, SETTLE)?.is_none() {
        return Ok(match &device.watch.up {
            Some((slot, version)) => Verdict::Wrong(format!(
                "version {version} in slot {slot} did not settle within {SETTLE:?}"
            )),
            None => Verdict::Brick(format!("no guest was up after {SETTLE:?}")),
        });
    }
    // The try of this boot is given back once its health is known. What is read here is what is
    // durable: both boards' environments are written through, or flushed by the daemon.
    let settled = Instant::now();
    while let Some((slot, _)) = device.watch.up.clone()
        && settled.elapsed() < GIVEN_BACK
    {
        let env = bed.board.read_env(&device.disk);
        if env.is_ok_and(|env| judge::tries_left(&env, &slot) == "3") {
            break;
        }
        device.wait(None, false, Duration::from_millis(300))?;
    }
    device.rest()?;
    let Some(up) = device.watch.up.clone() else {
        return Ok(Verdict::Brick("no guest was up in the end".to_owned()));
    };
    device.cut(Survive::Everything)?;
    judge::settled(
        bed,
        &device.disk,
        &device.watch,
        &up,
        plan.start,
        cuts.len(),
        work,
    )
}
