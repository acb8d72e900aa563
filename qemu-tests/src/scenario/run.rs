//! Runs a scenario on a real board.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use switchback_testkit::repository::ServerFault;
use switchback_testkit::scenario::{Behaviour, Scenario as Story};

use super::{Cut, End, Scenario};
use crate::bench::{Bench, https};
use crate::board::Board;
use crate::error::{Error, Result};
use crate::factory::{self, DeviceSettings, Repository};
use crate::https::Fault;
use crate::image::Image;
use crate::nbd::Survive;
use crate::product::{Contract, Product};
use crate::report::Entry;
use crate::rootfs::{RootfsSpec, TinyRootfs, Variant, tiny};

/// Longest boot to the marker; the machine may be shared with another board.
const BOOT: Duration = Duration::from_secs(120);
/// Longest step that involves writing a slot.
const WORK: Duration = Duration::from_secs(180);
/// A hang lasts as long as the watchdog, three times.
const FALLBACK: Duration = Duration::from_secs(300);
/// Room for the larger of two images.
const SLOT: u64 = 64 << 20;

/// What all scenarios on one board share.
#[derive(Debug)]
pub struct Bed<'a> {
    /// The programs.
    pub product: &'a Product,
    /// The guest.
    pub guest: &'a TinyRootfs<'a>,
    /// The board.
    pub board: &'a dyn Board,
    /// The contract of its boot script.
    pub contract: Contract,
    /// The staged product.
    pub overlay: &'a Path,
    /// Where logs go.
    pub work: &'a Path,
}

impl Bed<'_> {
    fn image(&self, version: &str, variant: Variant) -> Result<Image> {
        self.guest.image(
            &RootfsSpec::new(version)
                .variant(variant)
                .overlay(self.overlay),
        )
    }
}

/// Runs one scenario; gives its line in the report. A failure of the rig is a failed line, too.
#[must_use]
pub fn run(bed: &Bed<'_>, scenario: &Scenario) -> Entry {
    let started = Instant::now();
    let work = bed.work.join(scenario.story.name.replace([' ', ','], "-"));
    let _ = std::fs::remove_dir_all(&work);
    let mut figures = Map::new();
    let result = play(bed, scenario, &work, &mut figures);
    figures.insert("seconds".into(), Value::from(started.elapsed().as_secs()));
    let name = format!("{}: {}", bed.board.name(), scenario.story.name);
    let (observed, ok) = match result {
        Ok(observed) => {
            // Logs of a scenario that went well are of no use; a failed one keeps its disk.
            let _ = std::fs::remove_dir_all(&work);
            (observed, true)
        }
        Err(error) => (format!("{error}; see {}", work.display()), false),
    };
    Entry {
        name,
        expected: scenario.expectation(),
        observed,
        ok,
        figures,
    }
}

fn play(
    bed: &Bed<'_>,
    scenario: &Scenario,
    work: &Path,
    figures: &mut Map<String, Value>,
) -> Result<String> {
    let one = bed.image("1", Variant::Good)?;
    let story = &scenario.story;
    let two = bed.image("2", variant(story)?)?;
    let settings = DeviceSettings::default();
    let mut bench = Bench::set_up(bed.board, bed.product, &one, "1", SLOT, &settings, work)?;
    if story.faults.other_environment {
        factory::put_other_environment(&bench.disk, bed.contract)?;
    }
    let gone_first = story.faults.server == ServerFault::Gone;
    if gone_first {
        bench.server.set_fault(Fault::Unreachable).map_err(https)?;
    }
    bench.switch_on()?;
    bench.wait(&format!("{} slot=A version=1", tiny::UP), BOOT)?;
    if gone_first {
        bench.wait("no update: https://", WORK)?;
        bench.repository.publish_with_delta(&two, "2")?;
        bench.server.clear_faults().map_err(https)?;
    } else {
        bench.wait("version 1 runs already", WORK)?;
        bench.server.reset_stats();
        offer(bed, story, &mut bench, &two, work)?;
    }
    if let Some(cut) = scenario.cut {
        let lost = cut_power(&mut bench, cut)?;
        figures.insert("unflushed_sectors_at_cut".into(), lost.into());
    }
    let observed = match &scenario.end {
        End::Committed { on_try } => committed(&mut bench, bed.contract, *on_try, &two)?,
        End::RolledBack { because, starts } => rolled_back(&mut bench, because, *starts, &one)?,
        End::Returned => returned(&mut bench)?,
        End::Refused { because } => refused(&mut bench, because, &one)?,
    };
    let (bytes, _) = bench.traffic();
    figures.insert("wire_bytes".into(), bytes.into());
    Ok(observed)
}

/// The image of version 2.
fn variant(story: &Story) -> Result<Variant> {
    match story.behaviour(2) {
        Behaviour::Good => Ok(Variant::Good),
        Behaviour::Unhealthy => Ok(Variant::UnhealthyApp),
        Behaviour::DiesEarly => Ok(Variant::PanicInit),
        Behaviour::HangsEarly => Ok(Variant::HangInit),
        other => Err(Error::Server {
            why: format!("there is no guest that is {other:?}"),
        }),
    }
}

fn offer(
    bed: &Bed<'_>,
    story: &Story,
    bench: &mut Bench<'_>,
    two: &Image,
    work: &Path,
) -> Result<()> {
    let path_contains = "content/".to_owned();
    let fault = match story.faults.server {
        ServerFault::Lying => {
            let other = Repository::create_named(bed.product, work, "foreign")?;
            // As many publications as the real one, so that no version number goes backwards.
            other.publish(&bed.image("1", Variant::Good)?, "1")?;
            other.publish(two, "2")?;
            return bench.server.serve(&other.directory).map_err(https);
        }
        ServerFault::None | ServerFault::Gone => None,
        ServerFault::Corrupt => Some(Fault::Corrupt {
            path_contains,
            offset: 1000,
        }),
        ServerFault::Truncated => Some(Fault::Truncate {
            path_contains,
            after_bytes: 500_000,
        }),
    };
    let damages = fault.is_some();
    if let Some(fault) = fault {
        bench.server.set_fault(fault).map_err(https)?;
    }
    match story.faults.other_hardware {
        true => bench.repository.publish_for(two, "2", "another-board"),
        // What is damaged is the whole image: with a delta the device would not fetch it.
        false if damages => bench.repository.publish(two, "2"),
        // A device takes the delta if there is one: each loader's boards show one way.
        false if bed.board.name().starts_with("u-boot") => {
            bench.repository.publish_in_chunks(two, "2")
        }
        false => bench.repository.publish_with_delta(two, "2"),
    }
}

fn cut_power(bench: &mut Bench<'_>, cut: Cut) -> Result<u64> {
    let lost = match cut {
        Cut::WhileWriting(fraction) => {
            let reached = bench.stop_in_slot_b(fraction)?;
            reached.recv_timeout(WORK).map_err(|_| Error::Server {
                why: "slot b was not written that far in time".to_owned(),
            })?;
            // The worst of both: some unflushed sectors are there, others are not.
            bench.cut_power(Survive::Random { seed: 7 })?
        }
        Cut::AfterArming => {
            bench.wait("is armed: the next boot is a trial", WORK)?;
            bench.cut_power(Survive::Nothing)?
        }
        Cut::BlipsAfterCommit => {
            bench.wait("is healthy and committed", WORK)?;
            // Everything about the commit is durable before it is said.
            for _ in 0..3 {
                bench.cut_power(Survive::Nothing)?;
                bench.switch_on()?;
                bench.wait("SB: slot=B order=", BOOT)?;
            }
            bench.cut_power(Survive::Nothing)?
        }
        Cut::DuringTrial => {
            bench.wait("is on trial, try 1 of 3", WORK)?;
            bench.cut_power(Survive::Nothing)?
        }
    };
    bench.switch_on()?;
    Ok(lost)
}

fn committed(bench: &mut Bench<'_>, contract: Contract, on_try: u8, two: &Image) -> Result<String> {
    bench.wait(
        &format!("is on trial, try {on_try} of {}", contract.tries()),
        WORK,
    )?;
    let line = bench.wait("is healthy and committed", WORK)?;
    // The daemon stays in place and finds nothing more to do.
    bench.said("version 2 runs already", WORK)?;
    bench.switch_off()?;
    if !bench.slot_holds("slot-b", two)? {
        return Err(Error::Server {
            why: "slot b does not hold version 2 byte for byte".into(),
        });
    }
    Ok(clean(&line))
}

fn rolled_back(bench: &mut Bench<'_>, because: &str, starts: usize, one: &Image) -> Result<String> {
    let line = bench.wait("was rolled back", FALLBACK)?;
    if !line.contains(because) {
        return Err(Error::Server {
            why: format!("rolled back for another reason: {line}"),
        });
    }
    bench.said("version 2 failed here", WORK)?;
    let seen = bench
        .machine()?
        .lines()
        .iter()
        .filter(|line| line.text.contains("SB: slot=B order="))
        .count();
    bench.switch_off()?;
    if seen != starts {
        let why = format!("version 2 was started {seen} times, expected {starts}");
        return Err(Error::Server { why });
    }
    if !bench.slot_holds("slot-a", one)? {
        return Err(Error::Server {
            why: "slot a is not version 1 any more".into(),
        });
    }
    Ok(clean(&line))
}

fn returned(bench: &mut Bench<'_>) -> Result<String> {
    bench.wait("SB: slot=A order=", BOOT)?;
    let line = bench.wait("came up in slot a without a trial", WORK)?;
    bench.wait("version 2 for slot b is in the other slot already", WORK)?;
    bench.wait("version 2 for slot b is healthy and committed", WORK)?;
    let lines = bench.machine()?.lines();
    if let Some(line) = lines
        .iter()
        .find(|line| line.text.contains("was rolled back"))
    {
        return Err(Error::Server {
            why: format!("must not happen: {}", line.text),
        });
    }
    bench.switch_off()?;
    Ok(clean(&line))
}

fn refused(bench: &mut Bench<'_>, because: &str, one: &Image) -> Result<String> {
    let line = bench.wait(because, WORK)?;
    // Still there, still asking: the next requests come from the same boot.
    let before = bench.traffic().1;
    let asked = Instant::now();
    while bench.traffic().1 == before {
        if asked.elapsed() > WORK {
            return Err(Error::Server {
                why: "the daemon stopped polling".into(),
            });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let lines = bench.machine()?.lines();
    for never in ["SB: DAEMON-EXIT", "is armed", "SB: slot=B"] {
        if let Some(line) = lines.iter().find(|line| line.text.contains(never)) {
            return Err(Error::Server {
                why: format!("must not happen: {}", line.text),
            });
        }
    }
    bench.switch_off()?;
    if !bench.slot_holds("slot-a", one)? {
        return Err(Error::Server {
            why: "slot a is not version 1 any more".into(),
        });
    }
    Ok(clean(&line))
}

/// What the device said, without the log's own decoration.
fn clean(line: &str) -> String {
    let text = ["INFO ", "WARN ", "ERROR "]
        .iter()
        .find_map(|level| line.split_once(level));
    let text = text.map_or(line, |(_, text)| text);
    text.split(" MESSAGE_ID=")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}
