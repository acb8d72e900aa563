//! What was found, for people.

use std::fmt::Write as _;

use super::goals::{Goal, Row, geometric_mean, judge, mebibytes};
use super::measure::Usage;
use super::ours::{Held, LIMITS, Ours};
use super::peers::{Figures, Outcome};

/// Columns of one image.
const HEAD: &str =
    "                          bytes  encode s     cpu s     MiB   apply s     cpu s     MiB\n";

/// One image's part of the table.
pub(crate) fn image(row: &Row) -> String {
    let mut text = format!(
        "\n{}: {}, {} bytes\n{HEAD}",
        row.name(),
        row.pair.what(),
        grouped(row.length)
    );
    let ours = &row.ours.found;
    line(&mut text, "Switchback", &figures_of(ours));
    let _ = writeln!(
        text,
        "    at {}, by {}: {} bytes of content, {} of metadata and documents",
        ours.commit,
        ours.way,
        grouped(ours.content),
        grouped(ours.metadata)
    );
    let _ = writeln!(
        text,
        "    from any base: {} bytes of content",
        grouped(ours.any_base)
    );
    for (limit, held) in LIMITS.iter().zip(ours.held) {
        let held = match held {
            Held::Yes => "ran",
            Held::No => "did NOT run",
            Held::NotTried => "not tried (no cgroup can be made here)",
        };
        let _ = writeln!(text, "    under a limit of {} MiB: {held}", limit >> 20);
    }
    let best = row.best();
    for entry in &row.peers {
        let (peer, outcome) = &entry.found;
        if let Outcome::Measured(figures) = outcome {
            let best = best.is_some_and(|(best, _)| best == *peer);
            let star = if best { " *" } else { "" };
            line(&mut text, &format!("{peer}{star}"), figures);
        } else {
            let _ = writeln!(text, "{peer:<20}  {}", in_words(outcome));
        }
        if let Some(remark) = peer.remark() {
            let _ = writeln!(text, "    {remark}");
        }
    }
    if let Some((peer, best)) = best {
        let _ = writeln!(text, "ours / {peer} *: {}", ratios(row, best));
    }
    let _ = writeln!(
        text,
        "apply / (dd + sha256sum, {:.2} s, cpu {:.2} s): {:.2}, cpu {:.2}",
        ours.baseline.seconds,
        ours.baseline.cpu,
        row.apply_ratio(),
        row.apply_cpu_ratio()
    );
    text
}

fn figures_of(ours: &Ours) -> Figures {
    Figures {
        wire: ours.wire(),
        encode: Some(ours.encode),
        apply: Some(ours.apply),
    }
}

/// An outcome in one line.
pub(crate) fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Measured(figures) => {
            let mut text = format!("{} bytes", grouped(figures.wire));
            for (what, usage) in [("encode", figures.encode), ("apply", figures.apply)] {
                if let Some(Usage { seconds, peak, cpu }) = usage {
                    let _ = write!(
                        text,
                        ", {what} {seconds:.1} s (cpu {cpu:.1} s) {:.0} MiB",
                        mebibytes(peak)
                    );
                }
            }
            text
        }
        Outcome::OutOfTime { seconds, doing } => {
            format!("did not finish in {} min: {doing}", seconds / 60)
        }
        Outcome::NotHere(why) => format!("not here: {why}"),
        Outcome::Failed(why) => format!("failed: {why}"),
        Outcome::SameAs(other) => format!("as {other}"),
    }
}

/// Ours in one line.
pub(crate) fn ours_in_words(ours: &Ours) -> String {
    in_words(&Outcome::Measured(figures_of(ours)))
}

fn line(text: &mut String, name: &str, figures: &Figures) {
    let _ = writeln!(
        text,
        "{name:<20} {:>12}{}{}",
        grouped(figures.wire),
        usage(figures.encode),
        usage(figures.apply)
    );
}

fn usage(usage: Option<Usage>) -> String {
    usage.map_or_else(
        || format!("{:>10}{:>10}{:>8}", "-", "-", "-"),
        |Usage { seconds, peak, cpu }| {
            format!("{seconds:>10.2}{cpu:>10.2}{:>8.1}", mebibytes(peak))
        },
    )
}

/// Our figures as parts of the best peer's.
fn ratios(row: &Row, best: &Figures) -> String {
    let mut text = format!("bytes {:.3}", row.ratio().unwrap_or(f64::NAN));
    for (what, ours, theirs) in [
        ("encode", row.ours.found.encode, best.encode),
        ("apply", row.ours.found.apply, best.apply),
    ] {
        if let Some(theirs) = theirs {
            let seconds = part(ours.seconds, theirs.seconds);
            let cpu = part(ours.cpu, theirs.cpu);
            let peak = part(ours.peak as f64, theirs.peak as f64);
            let _ = write!(text, ", {what} s {seconds}, cpu s {cpu}, MiB {peak}");
        }
    }
    text
}

/// Nothing sensible can be said of what took no time that the clock could tell.
fn part(ours: f64, theirs: f64) -> String {
    if theirs > 0.0 {
        format!("{:.2}", ours / theirs)
    } else {
        "-".into()
    }
}

/// Pairs that things were tuned on and pairs that nothing was, then the goals.
pub(crate) fn summary(rows: &[Row]) -> String {
    let mut text = String::new();
    for (what, held_out) in [
        ("pairs of the lab", false),
        ("pairs that nothing was tuned on", true),
    ] {
        let here: Vec<&Row> = rows
            .iter()
            .filter(|row| row.pair.held_out() == held_out)
            .collect();
        if here.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{what}: ours against the smallest peer");
        for row in &here {
            let Some((peer, best)) = row.best() else {
                continue;
            };
            let _ = writeln!(
                text,
                "  {:<12}{:>12} / {:>12}  {:.3}  {peer}",
                row.name(),
                grouped(row.ours.found.wire()),
                grouped(best.wire),
                row.ratio().unwrap_or(f64::NAN)
            );
        }
        let ratios: Vec<f64> = here.iter().filter_map(|row| row.ratio()).collect();
        if let Some(mean) = geometric_mean(&ratios) {
            let _ = writeln!(text, "  geometric mean {mean:.3}");
        }
    }
    let _ = writeln!(text, "\ngoals of the issue");
    for Goal {
        text: goal,
        met,
        seen,
    } in judge(rows)
    {
        let word = match met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        let _ = writeln!(text, "  {word:<4}{goal}\n        {seen}");
    }
    text
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::goals::tests::{entry, row};
    use super::{grouped, image, summary};
    use crate::bench::pairs::Pair;
    use crate::bench::peers::{Outcome, Peer};

    #[test]
    fn groups_digits_by_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn table_says_who_is_best_and_who_did_not_finish() {
        let mut row = row(
            Pair::Point,
            1000,
            &[(Peer::Zstd, 9000), (Peer::Xdelta, 4000)],
        );
        let late = Outcome::OutOfTime {
            seconds: 45 * 60,
            doing: "encode".into(),
        };
        row.peers.push(entry((Peer::Bsdiff, late)));
        let text = image(&row);
        assert!(text.contains("xdelta3 * "), "{text}");
        assert!(text.contains("did not finish in 45 min: encode"), "{text}");
        assert!(
            text.contains("ours / xdelta3 *: bytes 0.500, encode s 1.00"),
            "{text}"
        );
    }

    #[test]
    fn pairs_that_nothing_was_tuned_on_stand_apart() {
        let peers = [(Peer::Zstd, 9000)];
        let rows = [
            row(Pair::Kernel, 1000, &peers),
            row(Pair::Point, 1000, &peers),
        ];
        let text = summary(&rows);
        let apart = text.find("nothing was tuned on").unwrap();
        assert!(text.find("a.ext4").unwrap() < apart, "{text}");
        assert!(text.find("k.ext4").unwrap() > apart, "{text}");
        assert!(text.contains("  -   any base"), "{text}");
    }
}
