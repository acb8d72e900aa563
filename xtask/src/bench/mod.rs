//! `bench delta`: what an update costs with ours and with what Debian has.
//!
//! - [`pairs`]: images of Debian's packages, built here and kept;
//! - [`ours`]: the real publisher and the device's installer, [`cgroup`] limits its memory;
//! - [`peers`]: the others, [`adaptive`] counts the one that cannot run here;
//! - [`goals`]: what the issue wants; [`table`]: what is printed and written;
//! - [`measure`], [`files`]: programs with what they took, and what they left.

mod adaptive;
mod cgroup;
mod files;
mod goals;
mod measure;
mod ours;
mod pairs;
mod peers;
mod table;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use qemu_tests::tools::{Tool, ensure};

use goals::Row;
use ours::Programs;
use pairs::{Extent, Format, Pair, Trees, Workshop};
use peers::{Case, Outcome, Peer};

/// A peer's program is stopped after so many minutes, unless told.
const MINUTES: u64 = 45;

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
    extent: Extent,
    limit: Duration,
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
        extent: Extent::Whole,
        limit: Duration::from_secs(MINUTES * 60),
    };
    if quick {
        options.pairs = vec![Pair::Binary, Pair::Config];
        options.formats = vec![Format::Ext4];
        options.extent = Extent::Small;
    }
    let mut words = words.iter().filter(|word| **word != "--quick");
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .with_context(|| format!("{word} needs a value"))
        };
        match *word {
            "--pairs" => options.pairs = list(value()?, Pair::named)?,
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
    let _lock = lock(&place)?;
    let bench = Bench {
        programs: Programs::build()?,
        workshop: Workshop::open(&place, options.extent)?,
        work: place.join("work"),
        limit: options.limit,
        begun,
    };

    let report = workspace.join("target/reports/bench-delta.json");
    let quick = options.extent == Extent::Small;
    let (mut rows, mut not_made) = (Vec::new(), Vec::new());
    for pair in &options.pairs {
        bench.say(&format!("pair {}: {}", pair.letter(), pair.what()));
        let trees = match bench.workshop.trees(*pair) {
            Ok(trees) => trees,
            Err(error) => {
                bench.say(&format!("pair {} cannot be made: {error:#}", pair.letter()));
                not_made.push(pair.letter());
                continue;
            }
        };
        // It sends files: the format of the image is nothing to it.
        let mut files_only = None;
        for format in &options.formats {
            let row = bench.row(*pair, *format, &trees, &mut files_only)?;
            print!("{}", table::image(&row));
            rows.push(row);
            // Each time, so that an interrupted run leaves what it found.
            write(&report, &table::report(&rows, quick))?;
        }
    }
    let _ = std::fs::remove_dir_all(&bench.work);
    print!("{}", table::summary(&rows));
    if quick {
        println!("small trees: the goals are about larger ones");
    }
    println!("report: {}; {:.0?}", report.display(), begun.elapsed());
    if !not_made.is_empty() {
        bail!("these pairs could not be made: {}", not_made.join(", "));
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
struct Bench {
    programs: Programs,
    workshop: Workshop,
    work: PathBuf,
    limit: Duration,
    begun: Instant,
}

impl Bench {
    fn say(&self, what: &str) {
        println!("[{:>6.0} s] {what}", self.begun.elapsed().as_secs_f64());
    }

    fn row(
        &self,
        pair: Pair,
        format: Format,
        trees: &Trees,
        files_only: &mut Option<Outcome>,
    ) -> anyhow::Result<Row> {
        let name = format!("{}.{}", pair.letter(), format.name());
        let (old, new) = self.workshop.images(trees, format)?;
        self.say(&format!("{name}: Switchback"));
        let ours = self.programs.measure(&old, &new, &self.work)?;
        let case = Case {
            old: &old,
            new: &new,
            old_tree: &trees.old,
            new_tree: &trees.new,
            work: &self.work,
            limit: self.limit,
        };
        let mut peers = Vec::new();
        for peer in Peer::ALL {
            let known = files_only.clone().filter(|_| peer == Peer::Ostree);
            let outcome = known.unwrap_or_else(|| {
                self.say(&format!("{name}: {peer}"));
                peer.measure(&case)
            });
            if peer == Peer::Ostree {
                *files_only = Some(outcome.clone());
            }
            peers.push((peer, outcome));
        }
        Ok(Row {
            pair,
            format,
            extent: self.workshop.extent(),
            length: files::size(&new)?,
            ours,
            peers,
        })
    }
}

fn write(path: &Path, value: &serde_json::Value) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    std::fs::write(path, format!("{value:#}\n")).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::{Duration, Extent, Format, Pair, options};

    #[test]
    fn everything_unless_told() {
        let options = options(&[]).unwrap();
        assert_eq!(options.pairs, Pair::ALL);
        assert_eq!(options.formats, Format::ALL);
        assert_eq!(options.extent, Extent::Whole);
    }

    #[test]
    fn quick_is_small_wherever_it_stands() {
        let quick = options(&["--minutes", "2", "--quick"]).unwrap();
        assert_eq!(quick.pairs, [Pair::Binary, Pair::Config]);
        assert_eq!(quick.formats, [Format::Ext4]);
        assert_eq!(quick.extent, Extent::Small);
        assert_eq!(quick.limit, Duration::from_secs(120));
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
            &["--fast"],
        ] {
            assert!(options(words).is_err(), "{words:?}");
        }
    }
}
