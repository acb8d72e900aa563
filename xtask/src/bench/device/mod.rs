//! `bench device`: what the daemon costs a device that does nothing, and one that updates, beside the daemons that
//! Debian has.
//!
//! - [`rig`]: a device on this machine; [`bus`]: a client of it; [`web`]: servers that count;
//! - [`peers`]: the others; [`process`]: what the kernel says of a process.

mod bus;
mod peers;
mod process;
mod rig;
mod web;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use qemu_tests::report::{Entry, Report};
use qemu_tests::tools::{Tool, ensure};
use serde_json::{Map, Value};

use self::bus::Client;
use self::rig::{Rig, Running};
use crate::process::cargo;

/// Processes of the daemon that fetch end so long after their last question.
const FETCHER_ENDS: Duration = Duration::from_secs(25);
/// Bytes of the image that is installed.
const IMAGE: usize = 256 << 20;
/// How often the repository is asked in an hour: `repository.poll-interval` as it comes.
const POLLS_AN_HOUR: f64 = 4.0;

const TOOLS: &[Tool] = &[
    Tool {
        package: "dbus-daemon",
        why: "a private bus",
    },
    Tool {
        package: "e2fsprogs",
        why: "mke2fs: a slot to run from",
    },
    Tool {
        package: "grub-common",
        why: "grub-editenv: a boot environment",
    },
    Tool {
        package: "mount",
        why: "losetup and mount: slots",
    },
    Tool {
        package: "time",
        why: "/usr/bin/time: what a program took",
    },
];

/// One row of the table.
#[derive(Debug, Default)]
struct Row {
    name: String,
    figures: Map<String, Value>,
}

impl Row {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.figures.insert(key.into(), value.into());
    }

    fn shown(&self, key: &str) -> String {
        match self.figures.get(key) {
            None => "–".into(),
            Some(Value::Number(number)) => match number.as_f64() {
                Some(whole) if whole.fract() == 0.0 => format!("{whole:.0}"),
                Some(part) => format!("{part:.1}"),
                None => number.to_string(),
            },
            Some(other) => other.to_string(),
        }
    }
}

/// From the command line.
pub(crate) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    let mut seconds = 120;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" => {
                let value = words.next().context("--seconds needs a number")?;
                seconds = value.parse().context("--seconds needs a number")?;
            }
            other => bail!("bench device: unknown argument {other}"),
        }
    }
    run(Duration::from_secs(seconds))
}

fn run(window: Duration) -> anyhow::Result<()> {
    ensure(&[TOOLS, peers::TOOLS].concat())?;
    let (daemon, publisher) = build()?;
    let work = tempfile::tempdir()?;
    let work = work.path();
    let rig = Rig::new(work, &daemon, &publisher)?;
    let ours = rig.start(&daemon)?;
    let peers = peers::start(&rig, work)?;
    let client = Client::connect(&rig.bus_address()).with_context(|| said(&rig))?;
    client.wait_for_decision()?;
    let mut row = Row {
        name: "switchbackd".into(),
        ..Row::default()
    };
    row.set("program-bytes", std::fs::metadata(&daemon)?.len());

    // A poll for which nothing has changed.
    client.check()?;
    std::thread::sleep(Duration::from_secs(1));
    rig.meter.take();
    let before = process::switches(ours.id())?;
    client.check()?;
    std::thread::sleep(Duration::from_secs(1));
    let woken_by_poll = process::switches(ours.id())? - before;
    row.set("poll-bytes", rig.meter.take());

    println!("idle for {} s …", window.as_secs());
    std::thread::sleep(FETCHER_ENDS);
    for peer in &peers {
        if let Some((meter, _)) = &peer.polls {
            meter.take();
        }
    }
    let mut all: Vec<(&str, Vec<u32>)> = vec![("", process::family(ours.id()))];
    all.extend(
        peers
            .iter()
            .map(|peer| (peer.name, process::family(peer.running.id()))),
    );
    let begun = Instant::now();
    let mut woken = Vec::new();
    for (_, family) in &all {
        woken.push(count(family)?);
    }
    std::thread::sleep(window);
    let elapsed = begun.elapsed().as_secs_f64();
    let mut rows = Vec::new();
    for ((name, family), before) in all.iter().zip(woken) {
        let resting = (count(family)? - before) as f64 * 3600.0 / elapsed;
        let mut memory = 0;
        for pid in family {
            memory += process::pss(*pid)?;
        }
        let target = if name.is_empty() {
            row.set(
                "wakeups-per-hour",
                (resting + woken_by_poll as f64 * POLLS_AN_HOUR).round(),
            );
            row.set("wakeups-per-hour-without-polls", resting.round());
            &mut row
        } else {
            rows.push(Row {
                name: (*name).into(),
                ..Row::default()
            });
            let last = rows.last_mut().context("a row was just added")?;
            last.set("wakeups-per-hour", resting.round());
            last
        };
        target.set("idle-pss-kib", memory);
        target.set("processes", family.len());
    }
    for (row, peer) in rows.iter_mut().zip(&peers) {
        row.set("program-bytes", std::fs::metadata(peer.program)?.len());
        if let Some((meter, an_hour)) = &peer.polls {
            let polls = (elapsed * an_hour / 3600.0).floor();
            if polls >= 1.0 {
                row.set("poll-bytes", (meter.take() as f64 / polls).round());
            }
        }
    }
    drop(peers);

    update(&rig, &ours, &client, work, &mut row)?;
    rows.insert(0, row);
    report(&rows, window)
}

/// An installation at full speed, with calls on the bus beside it.
fn update(
    rig: &Rig,
    ours: &Running,
    client: &Client,
    work: &Path,
    row: &mut Row,
) -> anyhow::Result<()> {
    let image = work.join("image");
    make_image(&image)?;
    rig.publish(&image, "2")?;
    let resting = client.at_rest(200)?;
    row.set("call-p99-us-at-rest", resting.percentile(99));
    let lines = lines(rig)?;
    let mut most = 0;
    let mut look = Instant::now();
    let (took, calls) = client
        .install(|| {
            if look.elapsed() > Duration::from_millis(200) {
                look = Instant::now();
                most = most.max(process::pss(ours.id()).unwrap_or_default());
            }
        })
        .with_context(|| said(rig))?;
    row.set("journal-lines-per-update", self::lines(rig)? - lines);
    row.set("install-seconds", took.as_secs_f64());
    row.set(
        "install-mib-per-second",
        (IMAGE >> 20) as f64 / took.as_secs_f64(),
    );
    row.set("install-pss-kib-at-most", most);
    row.set("calls-during-install", calls.count());
    row.set("call-p50-us", calls.percentile(50));
    row.set("call-p99-us", calls.percentile(99));
    row.set("call-max-us", calls.percentile(100));
    Ok(())
}

fn build() -> anyhow::Result<(PathBuf, PathBuf)> {
    cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "switchbackd",
        "--bin",
        "switchbackd",
        "--package",
        "switchback-repo",
        "--bin",
        "switchback-repo",
    ])?;
    let own = std::env::current_exe().context("where this program is")?;
    let release = own
        .ancestors()
        .nth(2)
        .context("cargo's target directory")?
        .join("release");
    Ok((release.join("switchbackd"), release.join("switchback-repo")))
}

fn count(family: &[u32]) -> anyhow::Result<u64> {
    family.iter().map(|pid| process::switches(*pid)).sum()
}

/// Half of it can be packed, as of most images.
fn make_image(path: &Path) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut state = 1_u64;
    for _ in 0..IMAGE / 8192 {
        let mut block = [0_u8; 8192];
        for bytes in block.as_chunks_mut::<8>().0.iter_mut().step_by(2) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *bytes = (state ^ (state >> 29)).to_le_bytes();
        }
        file.write_all(&block)?;
    }
    Ok(file.flush()?)
}

fn lines(rig: &Rig) -> anyhow::Result<usize> {
    Ok(std::fs::read_to_string(rig.log())?.lines().count())
}

/// The end of what the daemon said.
fn said(rig: &Rig) -> String {
    let text = std::fs::read_to_string(rig.log()).unwrap_or_default();
    let last: Vec<&str> = text.lines().rev().take(5).collect();
    format!(
        "the daemon said: {}",
        last.into_iter().rev().collect::<Vec<_>>().join(" | ")
    )
}

fn report(rows: &[Row], window: Duration) -> anyhow::Result<()> {
    let mut report = Report::new("bench-device");
    let columns = [
        "idle-pss-kib",
        "processes",
        "wakeups-per-hour",
        "poll-bytes",
        "program-bytes",
    ];
    println!(
        "\n| daemon, idle for {} s | {} |",
        window.as_secs(),
        columns.join(" | ")
    );
    println!("|---|{}", "---|".repeat(columns.len()));
    for row in rows {
        let shown: Vec<String> = columns.iter().map(|key| row.shown(key)).collect();
        println!("| {} | {} |", row.name, shown.join(" | "));
        report.add(Entry {
            name: row.name.clone(),
            expected: "measured".into(),
            observed: "measured".into(),
            ok: true,
            figures: row.figures.clone(),
        })?;
    }
    println!("\n| switchbackd, beside that and while it updates | |\n|---|---|");
    let first = rows.first().context("there is a row for ours")?;
    for key in first
        .figures
        .keys()
        .filter(|key| !columns.contains(&key.as_str()))
    {
        println!("| {key} | {} |", first.shown(key));
    }
    println!("\n{}", report.path().display());
    Ok(())
}
