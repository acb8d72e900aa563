//! What was found, held against the goals of issue 6.

use serde::{Deserialize, Serialize};

use super::measure::Usage;
use super::ours::{Held, LIMITS, Ours};
use super::pairs::{Extent, Format, Pair};
use super::peers::{Figures, Outcome, Peer};
use super::record::Entry;

/// Ours against the smallest peer, on every pair.
const EXACT_EACH: f64 = 0.8;
/// The same, geometric mean.
const EXACT_MEAN: f64 = 0.4;
/// Ours by chunks against the smallest peer that needs no certain base.
const ANY_BASE: f64 = 0.5;
/// An installation against `dd` and `sha256sum`.
const APPLY: f64 = 1.2;
/// A delta below this part of the image is small.
const SMALL: u64 = 100;
/// One changed config file.
const CONFIG: u64 = 8 << 10;
/// The 448 MiB ext4 pair.
const ENCODE_SECONDS: f64 = 180.0;
const ENCODE_PEAK: u64 = 1536 << 20;

/// What one pair in one format gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) pair: Pair,
    pub(crate) format: Format,
    pub(crate) extent: Extent,
    /// Length of the new image.
    pub(crate) length: u64,
    pub(crate) ours: Entry<Ours>,
    /// Those that were asked for until now.
    pub(crate) peers: Vec<Entry<(Peer, Outcome)>>,
}

impl Row {
    /// `a.ext4`.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.pair.letter(), self.format.name())
    }

    /// Where it stands in the table.
    pub(crate) fn place(&self) -> (Option<usize>, Option<usize>) {
        (
            Format::ALL.iter().position(|format| *format == self.format),
            Pair::ALL.iter().position(|pair| *pair == self.pair),
        )
    }

    /// The peer that sends least.
    pub(crate) fn best(&self) -> Option<(Peer, &Figures)> {
        self.least(|_| true)
    }

    fn least(&self, counts: impl Fn(Peer) -> bool) -> Option<(Peer, &Figures)> {
        let measured = self.peers.iter().filter_map(|entry| match &entry.found {
            (peer, Outcome::Measured(figures)) if counts(*peer) => Some((*peer, figures)),
            _ => None,
        });
        measured.min_by_key(|(_, figures)| figures.wire)
    }

    /// The same among those that need no delta from the very image that runs.
    pub(crate) fn best_any_base(&self) -> Option<(Peer, &Figures)> {
        self.least(Peer::any_base)
    }

    /// Our bytes as a part of the best peer's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (_, best) = self.best()?;
        Some(self.ours.found.wire() as f64 / best.wire as f64)
    }

    /// The same for a device of which nobody knows what runs.
    pub(crate) fn any_base_ratio(&self) -> Option<f64> {
        let (_, best) = self.best_any_base()?;
        let ours = self.ours.found.any_base + self.ours.found.metadata;
        Some(ours as f64 / best.wire as f64)
    }

    /// An installation's time as a multiple of the baseline's.
    pub(crate) fn apply_ratio(&self) -> f64 {
        self.ours.found.apply.seconds / self.ours.found.baseline.seconds
    }

    /// The same in seconds of processors.
    pub(crate) fn apply_cpu_ratio(&self) -> f64 {
        self.ours.found.apply.cpu / self.ours.found.baseline.cpu
    }

    fn is_small(&self) -> bool {
        self.ours.found.way == "Delta" && self.ours.found.content <= self.length / SMALL
    }
}

/// The mean that does not care which of two is called the whole.
pub(crate) fn geometric_mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let sum: f64 = values.iter().map(|value| value.ln()).sum();
    Some((sum / values.len() as f64).exp())
}

/// A goal and what became of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Goal {
    /// What the issue wants.
    pub(crate) text: &'static str,
    /// Nothing: this run does not tell.
    pub(crate) met: Option<bool>,
    /// What was seen.
    pub(crate) seen: String,
}

/// All goals, in the order of the issue.
pub(crate) fn judge(rows: &[Row]) -> Vec<Goal> {
    let ratios: Vec<f64> = rows.iter().filter_map(Row::ratio).collect();
    let mean = geometric_mean(&ratios);
    vec![
        worst(
            "exact base: at most 0.8 of the smallest peer on every pair",
            EXACT_EACH,
            rows.iter()
                .filter_map(|row| Some((row.name(), row.ratio()?))),
        ),
        Goal {
            text: "exact base: geometric mean at most 0.4 of the smallest peer",
            met: mean.map(|mean| mean <= EXACT_MEAN),
            seen: mean.map_or_else(
                || "no peer to compare with".into(),
                |mean| format!("{mean:.2} over {} images", ratios.len()),
            ),
        },
        worst(
            "any base: at most 0.5 of the smallest of zchunk, casync, RAUC adaptive",
            ANY_BASE,
            rows.iter()
                .filter_map(|row| Some((row.name(), row.any_base_ratio()?))),
        ),
        worst(
            "apply: at most 1.2 of dd + sha256sum for small deltas",
            APPLY,
            rows.iter()
                .filter(|row| row.is_small())
                .map(|row| (row.name(), row.apply_ratio())),
        ),
        peak(
            rows,
            0,
            "install: at most 16 MiB (the installer alone, without bus and TLS)",
        ),
        peak(rows, 1, "install: never above 24 MiB (the same)"),
        encode(rows),
        config(rows),
    ]
}

/// Met where the largest of the ratios is.
fn worst(text: &'static str, limit: f64, ratios: impl Iterator<Item = (String, f64)>) -> Goal {
    let worst = ratios.max_by(|one, other| one.1.total_cmp(&other.1));
    Goal {
        text,
        met: worst.as_ref().map(|(_, ratio)| *ratio <= limit),
        seen: worst.map_or_else(
            || "not in this run".into(),
            |(name, ratio)| format!("{ratio:.2} on {name}, the worst"),
        ),
    }
}

fn peak(rows: &[Row], which: usize, text: &'static str) -> Goal {
    let Some(row) = rows.iter().max_by_key(|row| row.ours.found.apply.peak) else {
        return Goal {
            text,
            met: None,
            seen: "not in this run".into(),
        };
    };
    let limit = LIMITS.get(which).copied().unwrap_or_default();
    let all = || rows.iter().filter_map(|row| row.ours.found.held.get(which));
    let tried = all().any(|held| *held != Held::NotTried);
    let failed = all().filter(|held| **held == Held::No).count();
    let peak = row.ours.found.apply.peak;
    let under = match (tried, failed) {
        (false, _) => "no cgroup here to limit it: VmHWM only".into(),
        (true, 0) => format!("all ran under a limit of {} MiB", limit >> 20),
        (true, failed) => format!("{failed} did not run under a limit of {} MiB", limit >> 20),
    };
    Goal {
        text,
        met: Some(peak <= limit && failed == 0),
        seen: format!("{:.1} MiB on {}; {under}", mebibytes(peak), row.name()),
    }
}

fn encode(rows: &[Row]) -> Goal {
    let text = "encode: the 448 MiB ext4 pair in 3 minutes and 1.5 GiB (all of publish counted)";
    let row = rows.iter().find(|row| {
        (row.pair, row.format, row.extent) == (Pair::Point, Format::Ext4, Extent::Whole)
    });
    let Some(ours) = row.map(|row| &row.ours.found) else {
        return Goal {
            text,
            met: None,
            seen: "not in this run".into(),
        };
    };
    let Usage { seconds, peak, cpu } = ours.encode;
    Goal {
        text,
        met: Some(seconds <= ENCODE_SECONDS && peak <= ENCODE_PEAK),
        seen: format!(
            "{seconds:.0} s ({cpu:.0} s of a processor), {:.0} MiB",
            mebibytes(peak)
        ),
    }
}

fn config(rows: &[Row]) -> Goal {
    let text = "one changed config file: at most 8 KiB, metadata included";
    let changed = rows.iter().filter(|row| row.pair == Pair::Config);
    let Some(row) = changed.max_by_key(|row| row.ours.found.wire()) else {
        return Goal {
            text,
            met: None,
            seen: "not in this run".into(),
        };
    };
    Goal {
        text,
        met: Some(row.ours.found.wire() <= CONFIG),
        seen: format!(
            "{} bytes on {}, {} of them metadata",
            row.ours.found.wire(),
            row.name(),
            row.ours.found.metadata
        ),
    }
}

/// For people.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Row, geometric_mean, judge};
    use crate::bench::measure::Usage;
    use crate::bench::ours::{Held, Ours};
    use crate::bench::pairs::{Extent, Format, Pair};
    use crate::bench::peers::{Figures, Outcome, Peer};
    use crate::bench::record::Entry;

    pub(in crate::bench) fn entry<T>(found: T) -> Entry<T> {
        Entry {
            of: "images".into(),
            programs: "1.0".into(),
            took: 3.0,
            found,
        }
    }

    /// Ours sends `content` and 1,000 bytes; the peers send `peers`.
    pub(in crate::bench) fn row(pair: Pair, content: u64, peers: &[(Peer, u64)]) -> Row {
        let usage = Usage {
            seconds: 2.0,
            peak: 8 << 20,
            cpu: 1.0,
        };
        let figures = |wire| Figures {
            wire,
            encode: Some(usage),
            apply: None,
        };
        Row {
            pair,
            format: Format::Ext4,
            extent: Extent::Whole,
            length: 448 << 20,
            ours: entry(Ours {
                commit: "abc".into(),
                way: "Delta".into(),
                content,
                any_base: 10 * content,
                metadata: 1000,
                encode: usage,
                apply: usage,
                baseline: usage,
                held: [Held::Yes, Held::NotTried],
            }),
            peers: peers
                .iter()
                .map(|(peer, wire)| entry((*peer, Outcome::Measured(figures(*wire)))))
                .collect(),
        }
    }

    fn met(rows: &[Row]) -> Vec<Option<bool>> {
        judge(rows).into_iter().map(|goal| goal.met).collect()
    }

    #[test]
    fn best_peer_sends_least() {
        let mut row = row(
            Pair::Point,
            1000,
            &[(Peer::Zstd, 9000), (Peer::Bsdiff, 4000)],
        );
        let late = Outcome::OutOfTime {
            seconds: 1,
            doing: "encode".into(),
        };
        row.peers.push(entry((Peer::Xdelta, late)));
        assert_eq!(row.best().map(|(peer, _)| peer), Some(Peer::Bsdiff));
        assert_eq!(row.ratio(), Some(0.5));
    }

    #[test]
    fn mean_is_geometric() {
        let mean = geometric_mean(&[0.1, 10.0]).unwrap();
        assert!((mean - 1.0).abs() < 1e-9, "{mean}");
        assert_eq!(geometric_mean(&[]), None);
    }

    #[test]
    fn all_goals_of_good_figures_are_met_but_the_one_that_is_not_measured() {
        let rows = [
            row(Pair::Point, 1000, &[(Peer::Bsdiff, 10_000)]),
            row(Pair::Config, 1000, &[(Peer::Ostree, 10_000)]),
        ];
        let yes = Some(true);
        assert_eq!(met(&rows), [yes, yes, None, yes, yes, yes, yes, yes]);
    }

    #[test]
    fn one_bad_pair_misses_the_goal_for_all() {
        let rows = [
            row(Pair::Point, 1000, &[(Peer::Bsdiff, 100_000)]),
            row(Pair::Config, 8000, &[(Peer::Ostree, 10_000)]),
        ];
        let goals = judge(&rows);
        let [each, mean, .., config] = goals.as_slice() else {
            panic!("{goals:?}");
        };
        assert_eq!(each.met, Some(false));
        assert_eq!(each.seen, "0.90 on d.ext4, the worst");
        assert_eq!(mean.met, Some(true));
        assert_eq!(config.met, Some(false));
    }

    #[test]
    fn what_is_not_in_the_run_is_neither_met_nor_missed() {
        let none = None;
        let rows = [row(Pair::Binary, 1000, &[])];
        let yes = Some(true);
        assert_eq!(met(&rows), [none, none, none, yes, yes, yes, none, none]);
        assert_eq!(met(&[]), [none, none, none, none, none, none, none, none]);
    }

    #[test]
    fn failure_under_a_limit_misses_the_goal_whatever_the_peak() {
        let mut one = row(Pair::Binary, 1000, &[]);
        one.ours.found.held = [Held::No, Held::Yes];
        assert_eq!(met(&[one]).get(4..6), Some(&[Some(false), Some(true)][..]));
    }
}
