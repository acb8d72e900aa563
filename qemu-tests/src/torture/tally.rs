//! Counts of what came of the cuts, as a table and as a file that is written after each round.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::Options;
use super::device::Hit;
use super::judge::Verdict;
use super::plan::Class;
use super::round::Played;
use crate::error::{IoContext as _, Result};
use crate::product::workspace;

/// Counts for one class of cuts. A round counts for the class of its first cut.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    rounds: u64,
    cuts: u64,
    by_clock: u64,
    committed: u64,
    returned: u64,
    rolled_back: u64,
    bricks: u64,
    wrong: u64,
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.cuts += other.cuts;
        self.by_clock += other.by_clock;
        self.committed += other.committed;
        self.returned += other.returned;
        self.rolled_back += other.rolled_back;
        self.bricks += other.bricks;
        self.wrong += other.wrong;
    }
}

/// The tally of one board.
#[derive(Debug)]
pub struct Tally {
    board: &'static str,
    seed: u64,
    first_cut_only: bool,
    started: Instant,
    rows: BTreeMap<Class, Row>,
    failures: Vec<Value>,
    rig_failures: Vec<String>,
    path: PathBuf,
}

impl Tally {
    pub(super) fn new(board: &'static str, options: &Options) -> Self {
        Self {
            board,
            seed: options.seed,
            first_cut_only: options.first_cut_only,
            started: Instant::now(),
            rows: BTreeMap::new(),
            failures: Vec::new(),
            rig_failures: Vec::new(),
            path: match &options.directory {
                Some(directory) => directory.clone(),
                None => workspace().join("target/reports"),
            }
            .join(format!("{}-{board}.json", options.report)),
        }
    }

    /// Adds a round; `first` is the class it was made for.
    pub(super) fn add(
        &mut self,
        first: Class,
        round: u64,
        played: &Played,
        kept: Option<&Path>,
    ) -> Result<()> {
        for (class, hit) in &played.cuts {
            let row = self.rows.entry(*class).or_default();
            row.cuts += 1;
            row.by_clock += u64::from(*hit == Hit::ByClock);
        }
        let row = self.rows.entry(first).or_default();
        row.rounds += 1;
        let failed = match &played.verdict {
            Verdict::Committed => {
                row.committed += 1;
                None
            }
            Verdict::Returned => {
                row.returned += 1;
                None
            }
            Verdict::RolledBack => {
                row.rolled_back += 1;
                None
            }
            Verdict::Brick(why) => {
                row.bricks += 1;
                Some(why)
            }
            Verdict::Wrong(why) => {
                row.wrong += 1;
                Some(why)
            }
        };
        if let Some(why) = failed {
            self.failures.push(json!({
                "round": round,
                "class": first.name(),
                "why": why,
                "kept": kept.map(|path| path.display().to_string()),
                "repeat": self.repeat(round),
            }));
        }
        self.write()
    }

    /// Adds a round that the rig itself could not play.
    pub(super) fn add_rig_failure(&mut self, round: u64, why: &str) -> Result<()> {
        self.rig_failures.push(format!("round {round}: {why}"));
        self.write()
    }

    /// The command that plays a round again.
    pub(super) fn repeat(&self, round: u64) -> String {
        let first = if self.first_cut_only {
            " --first-cut"
        } else {
            ""
        };
        format!(
            "cargo xtask torture --qemu --board {} --seed {} --round {round}{first} --keep",
            self.board, self.seed
        )
    }

    fn total(&self) -> Row {
        let mut total = Row::default();
        self.rows.values().for_each(|row| total.add(row));
        total
    }

    /// Whether cuts were made in each class that was played, and nothing ended wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let total = self.total();
        let missed = self
            .rows
            .values()
            .any(|row| row.rounds > 0 && row.cuts == 0);
        total.cuts > 0
            && !missed
            && total.bricks == 0
            && total.wrong == 0
            && self.rig_failures.is_empty()
    }

    /// The table, for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{}, seed {}, {} s\n{:<42}{:>7}{:>7}{:>9}{:>10}{:>9}{:>8}{:>7}{:>7}\n",
            self.board,
            self.seed,
            self.started.elapsed().as_secs(),
            "point of the cut",
            "rounds",
            "cuts",
            "by clock",
            "committed",
            "returned",
            "rolled",
            "brick",
            "wrong",
        );
        let total = self.total();
        let named = self.rows.iter().map(|(class, row)| (class.name(), row));
        for (name, row) in named.chain([("all", &total)]) {
            text.push_str(&format!(
                "{name:<42}{:>7}{:>7}{:>9}{:>10}{:>9}{:>8}{:>7}{:>7}\n",
                row.rounds,
                row.cuts,
                row.by_clock,
                row.committed,
                row.returned,
                row.rolled_back,
                row.bricks,
                row.wrong,
            ));
        }
        for failure in &self.failures {
            text.push_str(&format!("FAILED {failure:#}\n"));
        }
        for failure in &self.rig_failures {
            text.push_str(&format!("RIG {failure}\n"));
        }
        text
    }

    fn write(&self) -> Result<()> {
        let shown = |row: &Row| {
            json!({
                "rounds": row.rounds,
                "cuts": row.cuts,
                "cuts_by_clock": row.by_clock,
                "committed": row.committed,
                "returned": row.returned,
                "rolled_back": row.rolled_back,
                "bricks": row.bricks,
                "wrong": row.wrong,
            })
        };
        let classes: serde_json::Map<String, Value> = self
            .rows
            .iter()
            .map(|(class, row)| (class.name().to_owned(), shown(row)))
            .collect();
        let report = json!({
            "board": self.board,
            "seed": self.seed,
            "seconds": self.started.elapsed().as_secs(),
            "ok": self.is_ok(),
            "total": shown(&self.total()),
            "classes": classes,
            "failures": self.failures,
            "rig_failures": self.rig_failures,
        });
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent).io("make", parent)?;
        }
        // Beside, then renamed: who stops the run in between still has a whole report.
        let unfinished = self.path.with_extension("new");
        std::fs::write(&unfinished, format!("{report:#}\n")).io("write", &unfinished)?;
        std::fs::rename(&unfinished, &self.path).io("rename", &unfinished)
    }

    /// Where the report is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
