//! `torture`: power cuts on real bootloaders, drawn from a seed and counted.

use std::time::Duration;

use anyhow::{Context as _, bail};
use qemu_tests::demo::BoardKind;
use qemu_tests::torture::{Options, Tally, Until, run, run_cycles};

/// What the small matrix draws from: always the same, so that a failure is not luck.
const MATRIX_SEED: u64 = 5;

/// On the simulated device: `--minutes N` and `--seed S` only.
fn simulated(words: &[&str]) -> anyhow::Result<()> {
    let (mut minutes, mut seed) = (10, None);
    for pair in words.chunks(2) {
        match pair {
            ["--minutes", count] => minutes = count.parse().context("--minutes takes a number")?,
            ["--seed", number] => seed = Some(number.parse().context("--seed takes a number")?),
            other => bail!("torture: without --qemu only --minutes N and --seed S, not {other:?}"),
        }
    }
    crate::simulate::torture(minutes, seed)
}

/// From the command line.
pub(crate) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    let mut options = Options {
        boards: vec![BoardKind::Grub, BoardKind::Uboot],
        until: Until::Time(Duration::from_secs(10 * 60)),
        seed: fresh_seed(),
        first_cut_only: false,
        keep: false,
        report: "torture-qemu",
        directory: None,
    };
    if words == ["--qemu", "--matrix"] {
        return matrix();
    }
    if !words.contains(&"--qemu") {
        return simulated(words);
    }
    let mut cycles = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "--directory" {
            let place = words.next().context("--directory needs a path")?;
            options.directory = Some(std::path::absolute(place)?);
            continue;
        }
        let mut number = || -> anyhow::Result<u64> {
            let value = words
                .next()
                .with_context(|| format!("{word} needs a number"))?;
            value
                .parse()
                .with_context(|| format!("{word} takes a number, not {value}"))
        };
        match *word {
            "--qemu" => {}
            "--keep" => options.keep = true,
            "--first-cut" => options.first_cut_only = true,
            "--minutes" => {
                options.until = Until::Time(Duration::from_secs(number()?.saturating_mul(60)));
            }
            "--cycles" => cycles = Some(u32::try_from(number()?)?),
            "--seed" => options.seed = number()?,
            "--round" => options.until = Until::Only(number()?),
            "--board" => options.boards = crate::boards(words.next().copied())?,
            other => bail!("torture: unknown argument {other}"),
        }
    }
    if options.boards.contains(&BoardKind::GrubRauc) {
        bail!("torture: RAUC's script gives a trial one try: a cut there is a rollback by design");
    }
    match cycles {
        Some(count) => Ok(run_cycles(&options, count, &|line| println!("{line}"))?),
        None => torture(&options),
    }
}

/// Each class of cuts once, on one of two boards that run at the same time.
pub(crate) fn matrix() -> anyhow::Result<()> {
    torture(&Options {
        boards: vec![BoardKind::Grub, BoardKind::Uboot],
        until: Until::OnceEach,
        seed: MATRIX_SEED,
        first_cut_only: true,
        keep: false,
        report: "torture-qemu-matrix",
        directory: None,
    })
}

fn torture(options: &Options) -> anyhow::Result<()> {
    println!("seed {}", options.seed);
    let tallies = run(options, &|line| println!("{line}"))?;
    for tally in &tallies {
        println!("\n{}report: {}", tally.table(), tally.path().display());
    }
    if !tallies.iter().all(Tally::is_ok) {
        bail!("power cuts ended in bricks or wrong outcomes, or none could be made");
    }
    Ok(())
}

/// A seed that is another one each time, short enough to be typed.
fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |time| time.as_secs() % 1_000_000)
}
