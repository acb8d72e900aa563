//! The five answers and what stands behind them, for people.

use std::fmt::Write as _;

use switchback_dbus_api::{Answer, Decision, Gate, PendingRestart};
use switchback_types::Timestamp;

use crate::style;

/// The column in which the reasons of answers begin.
const REASON: usize = 42;
/// And those of gates.
const GATE: usize = 45;

/// Everything that `explain` shows.
pub(crate) struct Explanation {
    pub(crate) decision: Decision,
    pub(crate) gates: Vec<Gate>,
    pub(crate) restart: PendingRestart,
    /// Columns to write in; nothing: as many as it takes.
    pub(crate) columns: Option<usize>,
}

impl Explanation {
    pub(crate) fn to_text(&self) -> String {
        let decision = &self.decision;
        if decision.at.is_empty() {
            return "The repository has not been asked yet: `switchback check` asks it.\n".into();
        }
        let mut text = String::new();
        let about = match decision.version.as_str() {
            "" => "no particular version".to_owned(),
            version => format!("version {version}"),
        };
        let _ = writeln!(text, "Asked at {} about {about}:", decision.at);
        for answer in &decision.answers {
            self.answer(&mut text, answer);
        }
        if !self.gates.is_empty() {
            let _ = writeln!(text, "\nGates:");
            for gate in &self.gates {
                self.gate(&mut text, gate);
            }
        }
        if self.restart.pending {
            let _ = writeln!(text, "\n{}", pending(&self.restart));
        }
        text
    }

    fn line(&self, text: &mut String, indent: usize, words: &str) {
        let words = style::wrapped(words, indent, self.columns);
        let _ = writeln!(text, "{:indent$}{words}", "");
    }

    fn answer(&self, text: &mut String, answer: &Answer) {
        let question = match answer.question.as_str() {
            "available" => "Is there an update?",
            "wanted" => "Do we want it?",
            "risk" => "Is the risk right now acceptable?",
            "trusted" => "Do we trust it?",
            _ => "Can we verify it?",
        };
        // Padded before it is coloured: a colour has a length, too.
        let word = match answer.answer.as_str() {
            "yes" => style::good("yes "),
            "no" => style::bad("NO  "),
            _ => "-   ".into(),
        };
        let reason = style::wrapped(&answer.reason, REASON, self.columns);
        let _ = writeln!(text, "  {question:<34} {word} {reason}");
        if answer.answer != "no" {
            return;
        }
        if !answer.way_out.is_empty() {
            self.line(text, REASON, &format!("→ {}", answer.way_out));
        }
        let again = match answer.again.as_str() {
            "" => String::new(),
            again => format!(", asked again at {again}"),
        };
        if !answer.since.is_empty() {
            let words = format!("since {}{again}", answer.since);
            self.line(text, REASON, &style::faint(words));
        }
    }

    fn gate(&self, text: &mut String, gate: &Gate) {
        let word = match gate.open {
            true => style::good("open  "),
            false => style::bad("CLOSED"),
        };
        let before = match gate.before.as_str() {
            "both" => "update, restart",
            other => other,
        };
        let reason = style::wrapped(&gate.reason, GATE, self.columns);
        let _ = writeln!(text, "  {:<17} {before:<16} {word}  {reason}", gate.name);
        if gate.open {
            return;
        }
        let opens = match gate.opens.as_str() {
            "" => String::new(),
            opens => format!(", opens at {opens}"),
        };
        self.line(text, GATE, &format!("→ {}{opens}", gate.way_out));
    }
}

/// The restart that has not come yet.
pub(crate) fn pending(restart: &PendingRestart) -> String {
    let PendingRestart {
        since,
        reason,
        way_out,
        again,
        ..
    } = restart;
    match restart.waits_for.as_str() {
        "gates" => format!(
            "The restart waits since {since}: {reason}\n  → {way_out}; `switchback restart` does \
             it at once; asked again at {again}"
        ),
        "applications" => {
            format!("The restart waits since {since}: {reason}, at the latest until {again}")
        }
        _ => format!("The restart is due since {since}"),
    }
}

/// A time by the clock, as people write it, in the form that the bus takes: as it is, or so long
/// from `now`.
///
/// # Errors
/// What could be written.
pub(crate) fn moment(text: &str, now: Timestamp) -> Result<String, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.to_string());
    }
    let units = [('m', 60), ('h', 3600), ('d', 86_400), ('w', 7 * 86_400)];
    let seconds = units.iter().find_map(|(unit, seconds)| {
        let count: i64 = text.strip_suffix(*unit)?.parse().ok()?;
        (count > 0).then_some(count.checked_mul(*seconds)?)
    });
    match seconds {
        Some(seconds) => Ok(now.plus_seconds(seconds).to_string()),
        None => Err(format!(
            "{text:?}: write a time such as 2026-12-24T18:00:00Z, or how long from now: 30m, 4h, \
             2d, 1w"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(question: &str, answer: &str, reason: &str) -> Answer {
        Answer {
            question: question.into(),
            answer: answer.into(),
            reason: reason.into(),
            since: "2026-11-25T11:00:00Z".into(),
            ..Answer::default()
        }
    }

    fn explanation() -> Explanation {
        let held = Answer {
            way_out: "charge it".into(),
            again: "2026-11-25T12:00:30Z".into(),
            ..answer(
                "risk",
                "no",
                "the battery has 12 %, at least 30 % are wanted",
            )
        };
        Explanation {
            decision: Decision {
                at: "2026-11-25T12:00:00Z".into(),
                version: "3".into(),
                go: false,
                answers: vec![
                    answer("available", "yes", "version 3 is published, 2 runs"),
                    answer("wanted", "yes", "the channel names it"),
                    held,
                    answer("trusted", "not-asked", "nothing to ask about"),
                ],
            },
            gates: vec![
                Gate {
                    name: "battery".into(),
                    before: "update".into(),
                    reason: "the battery has 12 %, at least 30 % are wanted".into(),
                    way_out: "charge it".into(),
                    ..Gate::default()
                },
                Gate {
                    name: "window".into(),
                    before: "both".into(),
                    open: true,
                    reason: "open until 05:00".into(),
                    ..Gate::default()
                },
            ],
            restart: PendingRestart {
                pending: true,
                since: "2026-11-25T11:59:00Z".into(),
                waits_for: "gates".into(),
                reason: "player asks not to be interrupted: a film".into(),
                way_out: "it ends when player lets go".into(),
                again: "2026-11-25T12:00:30Z".into(),
            },
            columns: None,
        }
    }

    #[test]
    fn answers_and_gates_in_words() {
        insta::assert_snapshot!("explain", explanation().to_text());
    }

    #[test]
    fn narrow_terminal_wraps_the_reasons() {
        let mut narrow = explanation();
        narrow.columns = Some(80);
        let text = narrow.to_text();
        insta::assert_snapshot!("explain-narrow", text);
    }

    #[test]
    fn moments_are_times_or_so_long_from_now() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
            ("30m", "2026-11-25T12:30:00Z"),
            ("4h", "2026-11-25T16:00:00Z"),
            ("2d", "2026-11-27T12:00:00Z"),
        ] {
            assert_eq!(moment(text, now).unwrap(), time);
        }
        for text in ["", "0m", "-1h", "tomorrow", "99999999999999999999d"] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }
}
