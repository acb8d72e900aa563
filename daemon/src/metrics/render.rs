//! Writes what the driver shows as Prometheus reads it.

use std::fmt::Write as _;

use switchback_types::Timestamp;

use super::table::{self, Metric};
use crate::driver::View;
use crate::health::Standing;

const PHASES: [&str; 5] = ["idle", "installing", "staged", "on-trial", "reporting"];
const OUTCOMES: [&str; 5] = [
    "committed",
    "repaired",
    "rolled-back",
    "failed",
    "cancelled",
];

/// All metrics of this moment, in the text format of Prometheus (version 0.0.4).
#[must_use]
pub fn render(view: &View) -> String {
    let mut out = Out::default();
    out.metric(table::BUILD, [(vec![env!("CARGO_PKG_VERSION")], 1.0)]);
    let booted = view.slots.iter().find(|slot| slot.booted);
    let booted = booted.map_or("", |slot| slot.name.as_str());
    out.metric(table::RUNNING, [(vec![view.running.as_str(), booted], 1.0)]);
    let offer = Some(view.offer.version.as_str()).filter(|version| !version.is_empty());
    out.metric(table::OFFER, offer.map(|version| (vec![version], 1.0)));
    out.metric(
        table::PHASE,
        PHASES.map(|phase| (vec![phase], truth(view.phase == phase))),
    );
    decision(&mut out, view);
    out.metric(table::HELD, [(vec![], truth(view.hold.held))]);
    out.metric(table::ERROR, [(vec![], truth(!view.last_error.is_empty()))]);
    progress(&mut out, view);
    slots(&mut out, view);
    health(&mut out, view);
    out.metric(table::FAILED, [(vec![], count(view.failed.len()))]);
    history(&mut out, view);
    out.0
}

fn decision(out: &mut Out, view: &View) {
    let answers = view.decision.answers.iter().map(|answer| {
        let labels = [&answer.question, &answer.answer, &answer.code];
        (labels.map(String::as_str).to_vec(), 1.0)
    });
    out.metric(table::ANSWER, answers);
    let at = seconds(&view.decision.at);
    out.metric(table::DECISION, at.map(|at| (vec![], at)));
    out.metric(table::GO, [(vec![], truth(view.decision.go))]);
}

fn progress(out: &mut Out, view: &View) {
    let progress = &view.progress;
    let under_way = progress.total > 0 && !progress.stage.is_empty();
    let ratio = under_way.then(|| {
        let ratio = amount(progress.done) / amount(progress.total);
        (vec![progress.stage.as_str()], ratio)
    });
    out.metric(table::STAGE, ratio);
    let transfer = &view.transfer;
    let known = !transfer.version.is_empty();
    let received = known.then(|| (vec![transfer.way.as_str()], amount(transfer.received)));
    out.metric(table::RECEIVED, received);
}

fn slots(out: &mut Out, view: &View) {
    let each = |value: fn(&switchback_dbus_api::Slot) -> f64| {
        view.slots
            .iter()
            .map(move |slot| (vec![slot.name.as_str()], value(slot)))
    };
    out.metric(table::BOOTED, each(|slot| truth(slot.booted)));
    out.metric(table::PRIMARY, each(|slot| truth(slot.primary)));
    out.metric(table::GOOD, each(|slot| truth(slot.good)));
    let states = view.slots.iter();
    let states = states.map(|slot| (vec![slot.name.as_str(), slot.boot_state.as_str()], 1.0));
    out.metric(table::BOOT_STATE, states);
    out.metric(table::TRIES, each(|slot| f64::from(slot.tries_left)));
    let contents = view.slots.iter();
    let contents = contents.map(|slot| (vec![slot.name.as_str(), slot.content.as_str()], 1.0));
    out.metric(table::CONTENT, contents);
    let checked = view.slots.iter().filter_map(|slot| {
        let at = seconds(&slot.checked)?;
        Some((vec![slot.name.as_str()], at))
    });
    out.metric(table::CHECKED, checked);
}

fn health(out: &mut Out, view: &View) {
    let known = || {
        view.health
            .iter()
            .filter(|check| check.standing != Standing::Unknown)
    };
    let standing = known().map(|check| {
        let required = if check.required { "true" } else { "false" };
        let holds = check.standing == Standing::Passing;
        (
            vec![check.name.as_str(), check.kind, required],
            truth(holds),
        )
    });
    out.metric(table::HEALTH, standing);
    let since = known().map(|check| {
        let labels = vec![check.name.as_str(), check.kind];
        (labels, number(check.since.unix()))
    });
    out.metric(table::HEALTH_SINCE, since);
}

fn history(out: &mut Out, view: &View) {
    let ended_so = |outcome: &'static str| {
        view.history
            .iter()
            .filter(move |entry| entry.outcome == outcome)
    };
    let counts = OUTCOMES.map(|outcome| (vec![outcome], count(ended_so(outcome).count())));
    out.metric(table::UPDATES, counts);
    let last = view.history.last();
    let labels = last.map(|last| vec![last.version.as_str(), last.outcome.as_str()]);
    out.metric(table::LAST, labels.map(|labels| (labels, 1.0)));
    let ended = OUTCOMES.iter().filter_map(|outcome| {
        let entry = ended_so(outcome).next_back()?;
        Some((vec![*outcome], seconds(&entry.ended)?))
    });
    out.metric(table::ENDED, ended);
    let took = last.and_then(|last| Some(seconds(&last.ended)? - seconds(&last.started)?));
    out.metric(table::SECONDS, took.map(|took| (vec![], took)));
}

/// The text so far.
#[derive(Default)]
struct Out(String);

impl Out {
    /// One metric with all its samples; nothing at all if there is none.
    fn metric<'a>(
        &mut self,
        metric: Metric,
        samples: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) {
        let Metric { name, labels, help } = metric;
        // Writing to a text does not fail.
        let mut begun = false;
        for (values, value) in samples {
            if !begun {
                let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
                begun = true;
            }
            self.0.push_str(name);
            let mut before = '{';
            for (label, value) in labels.iter().zip(&values) {
                let _ = write!(self.0, "{before}{label}=\"");
                escape(&mut self.0, value);
                self.0.push('"');
                before = ',';
            }
            if before == ',' {
                self.0.push('}');
            }
            let _ = writeln!(self.0, " {value}");
        }
    }
}

fn escape(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

const fn truth(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

/// Exact up to the size of any image.
#[expect(clippy::cast_precision_loss, reason = "sizes are below 2^53")]
const fn amount(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(clippy::cast_precision_loss, reason = "times are below 2^53")]
const fn number(seconds: i64) -> f64 {
    seconds as f64
}

/// Of a time in the words of the bus; nothing of an empty one.
fn seconds(text: &str) -> Option<f64> {
    let time: Timestamp = text.parse().ok()?;
    Some(number(time.unix()))
}
