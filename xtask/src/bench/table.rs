//! What was found, for people and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::goals::{Goal, Row, geometric_mean, judge, mebibytes};
use super::measure::Usage;
use super::ours::{Held, LIMITS};
use super::peers::{Figures, Outcome};

/// Columns of one image.
const HEAD: &str = "                          bytes    encode s      MiB     apply s      MiB\n";

/// One image's part of the table.
pub(crate) fn image(row: &Row) -> String {
    let mut text = format!(
        "\n{}: {}, {} bytes\n{HEAD}",
        row.name(),
        row.pair.what(),
        grouped(row.length)
    );
    let ours = &row.ours;
    line(&mut text, "Switchback", &our_figures(row));
    let _ = writeln!(
        text,
        "    by {}: {} bytes of content, {} of metadata and documents",
        ours.way,
        grouped(ours.content),
        grouped(ours.metadata)
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
    for (peer, outcome) in &row.peers {
        match outcome {
            Outcome::Measured(figures) => {
                let best = best.is_some_and(|(best, _)| best == *peer);
                let star = if best { " *" } else { "" };
                line(&mut text, &format!("{peer}{star}"), figures);
            }
            Outcome::OutOfTime(limit) => {
                let minutes = limit.as_secs() / 60;
                let _ = writeln!(text, "{peer:<20}  did not finish in {minutes} min");
            }
            Outcome::NotHere(why) => {
                let _ = writeln!(text, "{peer:<20}  not here: {why}");
            }
            Outcome::Failed(why) => {
                let _ = writeln!(text, "{peer:<20}  failed: {why}");
            }
            Outcome::SameAs(other) => {
                let _ = writeln!(text, "{peer:<20}  as {other}");
            }
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
        "apply / (dd + sha256sum, {:.2} s): {:.2}",
        ours.baseline,
        row.apply_ratio()
    );
    text
}

fn our_figures(row: &Row) -> Figures {
    Figures {
        wire: row.ours.wire(),
        encode: Some(row.ours.encode),
        apply: Some(row.ours.apply),
    }
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
        || format!("{:>12}{:>9}", "-", "-"),
        |usage| format!("{:>12.2}{:>9.1}", usage.seconds, mebibytes(usage.peak)),
    )
}

/// Our figures as parts of the best peer's.
fn ratios(row: &Row, best: &Figures) -> String {
    let mut text = format!("bytes {:.3}", row.ratio().unwrap_or(f64::NAN));
    for (what, ours, theirs) in [
        ("encode", row.ours.encode, best.encode),
        ("apply", row.ours.apply, best.apply),
    ] {
        if let Some(theirs) = theirs {
            let seconds = part(ours.seconds, theirs.seconds);
            let peak = part(ours.peak as f64, theirs.peak as f64);
            let _ = write!(text, ", {what} s {seconds}, MiB {peak}");
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
                grouped(row.ours.wire()),
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

/// The whole of it.
pub(crate) fn report(rows: &[Row], quick: bool) -> Value {
    let images: Vec<Value> = rows.iter().map(image_json).collect();
    let goals: Vec<Value> = judge(rows)
        .into_iter()
        .map(|goal| json!({ "goal": goal.text, "met": goal.met, "seen": goal.seen }))
        .collect();
    json!({ "schema": 1, "quick": quick, "images": images, "goals": goals })
}

fn image_json(row: &Row) -> Value {
    let ours = &row.ours;
    let held: Vec<Value> = LIMITS
        .iter()
        .zip(ours.held)
        .map(|(limit, held)| {
            let ran = match held {
                Held::Yes => Some(true),
                Held::No => Some(false),
                Held::NotTried => None,
            };
            json!({ "limit_bytes": limit, "ran": ran })
        })
        .collect();
    let peers: Vec<Value> = row
        .peers
        .iter()
        .map(|(peer, outcome)| {
            let mut value = match outcome {
                Outcome::Measured(figures) => figures_json(figures),
                Outcome::OutOfTime(limit) => json!({ "did_not_finish_in_s": limit.as_secs() }),
                Outcome::NotHere(why) => json!({ "not_here": why }),
                Outcome::Failed(why) => json!({ "failed": why }),
                Outcome::SameAs(other) => json!({ "same_as": other.name() }),
            };
            if let Some(fields) = value.as_object_mut() {
                fields.insert("peer".into(), peer.name().into());
                fields.insert("remark".into(), peer.remark().into());
                fields.insert("any_base".into(), peer.any_base().into());
            }
            value
        })
        .collect();
    let mut own = figures_json(&our_figures(row));
    if let Some(fields) = own.as_object_mut() {
        fields.insert("way".into(), ours.way.clone().into());
        fields.insert("content_bytes".into(), ours.content.into());
        fields.insert("metadata_bytes".into(), ours.metadata.into());
        fields.insert("limits".into(), held.into());
    }
    json!({
        "image": row.name(),
        "what": row.pair.what(),
        "held_out": row.pair.held_out(),
        "image_bytes": row.length,
        "ours": own,
        "peers": peers,
        "best_peer": row.best().map(|(peer, _)| peer.name()),
        "wire_ratio": row.ratio(),
        "baseline_s": ours.baseline,
        "apply_ratio": row.apply_ratio(),
    })
}

fn figures_json(figures: &Figures) -> Value {
    let usage = |usage: Option<Usage>| {
        usage.map(|usage| json!({ "seconds": usage.seconds, "peak_bytes": usage.peak }))
    };
    json!({
        "wire_bytes": figures.wire,
        "encode": usage(figures.encode),
        "apply": usage(figures.apply),
    })
}

#[cfg(test)]
mod tests {
    use super::super::goals::tests::row;
    use super::{grouped, image, report, summary};
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
        let late = Outcome::OutOfTime(std::time::Duration::from_secs(45 * 60));
        row.peers.push((Peer::Bsdiff, late));
        let text = image(&row);
        assert!(text.contains("xdelta3 * "), "{text}");
        assert!(text.contains("did not finish in 45 min"), "{text}");
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
        assert!(text.contains("  NO  any base"), "{text}");
    }

    #[test]
    fn report_holds_what_the_table_says() {
        let value = report(&[row(Pair::Point, 1000, &[(Peer::Zstd, 4000)])], true);
        assert_eq!(value.pointer("/images/0/ours/wire_bytes").unwrap(), 2000);
        assert_eq!(
            value.pointer("/images/0/best_peer").unwrap(),
            "zstd --patch-from"
        );
        assert_eq!(value.pointer("/images/0/wire_ratio").unwrap(), 0.5);
    }
}
