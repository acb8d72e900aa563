//! `bench delta`: what an update costs with ours and with what Debian has.
//!
//! - [`pairs`]: images of Debian's packages, built here and kept;
//! - [`ours`]: the real publisher and the device's installer, [`cgroup`] limits its memory;
//! - [`peers`]: the others, [`adaptive`] counts the one that cannot run here;
//! - [`device`]: `bench device`, what the daemon costs;
//! - [`goals`]: what the issue wants; [`table`]: what is printed; [`record`]: what is written and read again;
//! - [`measure`], [`files`]: programs with what they took, and what they left.

mod adaptive;
mod cgroup;
pub(crate) mod device;
mod files;
mod goals;
mod measure;
mod ours;
mod pairs;
mod peers;
mod record;
pub(crate) mod server;
mod table;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use qemu_tests::tools::{Tool, ensure};

use goals::Row;
use ours::{Ours, Programs};
use pairs::{Extent, Format, Pair, Trees, Workshop};
use peers::{Case, Outcome, Peer};
use record::{Entry, Report};

/// A peer's program is stopped after so many minutes, unless told.
const MINUTES: u64 = 45;
/// The same with `--quick`.
const QUICK_MINUTES: u64 = 2;

/// What builds images and measures.
const TOOLS: &[Tool] = &[
    Tool {
        package: "mmdebstrap",
        why: "trees of Debian's packages",
    },
    Tool {
        package: "e2fsprogs",
        why: "mke2fs -d: ext4 images without mounting",
    },
    Tool {
        package: "squashfs-tools",
        why: "mksquashfs: squashfs images",
    },
    Tool {
        package: "erofs-utils",
        why: "mkfs.erofs: erofs images",
    },
    Tool {
        package: "fakeroot",
        why: "files in images belong to root although nobody here is",
    },
    Tool {
        package: "time",
        why: "/usr/bin/time: what a program took",
    },
];

/// What is asked for.
#[derive(Debug, PartialEq)]
struct Options {
    pairs: Vec<Pair>,
    formats: Vec<Format>,
    peers: Vec<Peer>,
    extent: Extent,
    limit: Duration,
    /// What is in the report is measured once more.
    again: bool,
    /// Nothing is measured.
    images_only: bool,
}

/// From the command line.
pub(crate) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    run(&options(words)?)
}

fn options(words: &[&str]) -> anyhow::Result<Options> {
    let quick = words.contains(&"--quick");
    let mut options = Options {
        pairs: Pair::ALL.to_vec(),
        formats: Format::ALL.to_vec(),
        peers: Peer::ALL.to_vec(),
        extent: Extent::Whole,
        limit: Duration::from_secs(MINUTES * 60),
        again: false,
        images_only: false,
    };
    if quick {
        options.pairs = vec![Pair::Binary, Pair::Config];
        options.formats = vec![Format::Ext4];
        options.extent = Extent::Small;
        options.limit = Duration::from_secs(QUICK_MINUTES * 60);
    }
    let mut words = words.iter().filter(|word| **word != "--quick");
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{word} needs a value"))
        };
        match *word {
            "--images" => options.images_only = true,
            "--pairs" => options.pairs = list(value()?, Pair::named)?,
            "--again" => options.again = true,
            "--peers" => {
                options.peers = match *value()? {
                    "none" => Vec::new(),
                    words => list(words, Peer::named)?,
                }
            }
            "--formats" => options.formats = list(value()?, Format::named)?,
            "--minutes" => {
                let minutes: u64 = value()?.parse().context("--minutes takes a number")?;
                if minutes == 0 {
                    bail!("--minutes takes a number from 1 up");
                }
                options.limit = Duration::from_secs(minutes.saturating_mul(60));
            }
            other => bail!("bench delta: unknown argument {other}"),
        }
    }
    Ok(options)
}

/// Words between commas, each once, in the order given.
fn list<T: PartialEq>(
    words: &str,
    named: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let mut found = Vec::new();
    for word in words.split(',') {
        let one = named(word)?;
        if !found.contains(&one) {
            found.push(one);
        }
    }
    Ok(found)
}

fn run(options: &Options) -> anyhow::Result<()> {
    let begun = Instant::now();
    ensure(TOOLS)?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace around xtask")?;
    let place = workspace.join("target/bench");
    std::fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    if options.images_only {
        return make_images(options, &Workshop::open(&place, options.extent)?);
    }
    let _lock = lock(&place)?;
    let quick = options.extent == Extent::Small;
    let name = if quick {
        "bench-delta-quick.json"
    } else {
        "bench-delta.json"
    };
    let path = workspace.join("target/reports").join(name);
    let mut bench = Bench {
        programs: Programs::build()?,
        workshop: Workshop::open(&place, options.extent)?,
        work: place.join("work"),
        report: Report::open(&path, quick)?,
        options,
        begun,
    };
    let not_made = bench.all()?;
    let _ = std::fs::remove_dir_all(&bench.work);
    print!("{}", table::summary(bench.report.rows()));
    if quick {
        println!("small trees: the goals are about larger ones");
    }
    println!("report: {}; {:.0?}", path.display(), begun.elapsed());
    if !not_made.is_empty() {
        bail!("these pairs could not be made: {}", not_made.join(", "));
    }
    Ok(())
}

/// All trees and images, for somebody who wants to look at them or to measure later.
fn make_images(options: &Options, workshop: &Workshop) -> anyhow::Result<()> {
    for pair in &options.pairs {
        println!("pair {}: {}", pair.letter(), pair.what());
        let trees = workshop.trees(*pair)?;
        for format in &options.formats {
            let (old, new) = workshop.images(&trees, *format)?;
            println!("  {}\n  {}", old.display(), new.display());
        }
    }
    Ok(())
}

/// One benchmark at a time: another one would spoil the times and use the same directory.
fn lock(place: &Path) -> anyhow::Result<File> {
    let path = place.join("lock");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    file.try_lock()
        .with_context(|| format!("{}: another benchmark runs", path.display()))?;
    Ok(file)
}

/// What all measurements share.
struct Bench<'a> {
    programs: Programs,
    workshop: Workshop,
    work: PathBuf,
    report: Report,
    options: &'a Options,
    begun: Instant,
}

impl Bench<'_> {
    fn say(&self, what: &str) {
        println!("[{:>6.0} s] {what}", self.begun.elapsed().as_secs_f64());
    }

    /// Everything that was asked for; pairs that cannot be made are given back.
    fn all(&mut self) -> anyhow::Result<Vec<&'static str>> {
        let mut not_made = Vec::new();
        for pair in &self.options.pairs {
            self.say(&format!("pair {}: {}", pair.letter(), pair.what()));
            let trees = match self.workshop.trees(*pair) {
                Ok(trees) => trees,
                Err(error) => {
                    self.say(&format!("pair {} cannot be made: {error:#}", pair.letter()));
                    not_made.push(pair.letter());
                    continue;
                }
            };
            for format in &self.options.formats {
                let row = self.row(*pair, *format, &trees)?;
                print!("{}", table::image(&row));
            }
        }
        Ok(not_made)
    }

    /// One pair in one format. The report is written after each outcome, so an interrupted run leaves what
    /// it found.
    fn row(&mut self, pair: Pair, format: Format, trees: &Trees) -> anyhow::Result<Row> {
        let (old, new) = self.workshop.images(trees, format)?;
        let (images, files) = (
            record::kept_digest(&[&old, &new])?,
            record::kept_digest(&[&trees.old, &trees.new])?,
        );
        let mut row = Row {
            pair,
            format,
            extent: self.workshop.extent(),
            length: files::size(&new)?,
            ours: self.ours(pair, format, (&old, &new), &images)?,
            peers: Vec::new(),
        };
        let of = |peer| {
            if peer == Peer::Ostree {
                &files
            } else {
                &images
            }
        };
        if let Some(before) = self.report.row(&row.name()) {
            row.peers.clone_from(&before.peers);
            // Other images: their figures are no longer of this row.
            row.peers.retain(|entry| entry.of == *of(entry.found.0));
        }
        self.report.put(row.clone())?;
        let case = Case {
            old: &old,
            new: &new,
            old_tree: &trees.old,
            new_tree: &trees.new,
            work: &self.work,
            limit: self.options.limit,
        };
        for peer in &self.options.peers {
            let entry = self.outcome(&row.name(), *peer, &case, of(*peer))?;
            row.peers.retain(|entry| entry.found.0 != *peer);
            row.peers.push(entry);
            row.peers
                .sort_by_key(|entry| Peer::ALL.iter().position(|peer| *peer == entry.found.0));
            self.report.put(row.clone())?;
        }
        Ok(row)
    }

    /// Ours, measured unless the report has it.
    fn ours(
        &self,
        pair: Pair,
        format: Format,
        (old, new): (&Path, &Path),
        of: &str,
    ) -> anyhow::Result<Entry<Ours>> {
        let name = format!("{}.{}", pair.letter(), format.name());
        let programs = self.programs.digest();
        let known = self.report.row(&name).map(|row| &row.ours);
        let known = known.filter(|entry| !self.options.again && entry.is_of(of, programs));
        if let Some(entry) = known {
            let words = table::ours_in_words(&entry.found);
            self.say(&format!("{name}: Switchback, before: {words}"));
            return Ok(entry.clone());
        }
        self.say(&format!("{name}: Switchback"));
        let begun = Instant::now();
        let found = self.programs.measure(old, new, &self.work)?;
        let words = table::ours_in_words(&found);
        self.say(&format!("{name}: Switchback: {words}"));
        Ok(Entry {
            of: of.to_owned(),
            programs: programs.to_owned(),
            took: begun.elapsed().as_secs_f64(),
            found,
        })
    }

    /// A peer's outcome, measured unless the report has it.
    fn outcome(
        &self,
        name: &str,
        peer: Peer,
        case: &Case<'_>,
        of: &str,
    ) -> anyhow::Result<Entry<(Peer, Outcome)>> {
        let programs = match peer.programs() {
            Ok(programs) => programs,
            Err(error) => format!("none: {error:#}"),
        };
        let known = self.report.outcome(peer, of, &programs);
        let known = known.filter(|entry| !self.options.again && entry.found.1.holds(case.limit));
        if let Some(entry) = known {
            let words = table::in_words(&entry.found.1);
            self.say(&format!("{name}: {peer}, before: {words}"));
            return Ok(entry.clone());
        }
        self.say(&format!("{name}: {peer}"));
        let begun = Instant::now();
        let outcome = peer.measure(case);
        let took = begun.elapsed();
        let words = table::in_words(&outcome);
        self.say(&format!("{name}: {peer}: {words} ({took:.0?} in all)"));
        Ok(Entry {
            of: of.to_owned(),
            programs,
            took: took.as_secs_f64(),
            found: (peer, outcome),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Extent, Format, Pair, Peer, options};

    #[test]
    fn everything_unless_told() {
        let options = options(&[]).unwrap();
        assert_eq!(options.pairs, Pair::ALL);
        assert_eq!(options.formats, Format::ALL);
        assert_eq!(options.peers, Peer::ALL);
        assert_eq!(options.extent, Extent::Whole);
        assert!(!options.again && !options.images_only);
    }

    #[test]
    fn peers_can_be_chosen_and_measured_again() {
        let options = options(&["--again", "--peers", "bsdiff,zstd"]).unwrap();
        assert!(options.again);
        assert_eq!(options.peers, [Peer::Bsdiff, Peer::Zstd]);
        let nobody = super::options(&["--peers", "none"]).unwrap();
        assert!(nobody.peers.is_empty());
    }

    #[test]
    fn quick_is_small_wherever_it_stands() {
        let quick = options(&["--minutes", "2", "--quick"]).unwrap();
        assert_eq!(quick.pairs, [Pair::Binary, Pair::Config]);
        assert_eq!(quick.formats, [Format::Ext4]);
        assert_eq!(quick.extent, Extent::Small);
        assert_eq!(quick.limit, Duration::from_secs(120));
        assert_eq!(super::options(&["--quick"]).unwrap().limit, quick.limit);
        let more = options(&["--pairs", "a,d,a", "--quick"]).unwrap();
        assert_eq!(more.pairs, [Pair::Point, Pair::Config]);
    }

    #[test]
    fn wrong_words_are_named() {
        for words in [
            &["--pairs", "z"][..],
            &["--pairs"],
            &["--formats", "ext4,"],
            &["--minutes", "0"],
            &["--peers", "rsync"],
            &["--fast"],
        ] {
            assert!(options(words).is_err(), "{words:?}");
        }
    }
}
