//! What is known of one update so far: its spans. Pure; time is handed in, in nanoseconds since 1970.

use serde::{Deserialize, Serialize};
use switchback_types::SlotName;
use switchback_update_core::{Attempt, Event, Outcome, Phase};

/// An update that goes on for longer has other troubles.
const MOST_SPANS: usize = 100;

/// One update: where it belongs, and its spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The span above all of these: of publishing.
    pub parent: String,
    /// The span of the whole update on this device.
    pub span: Span,
    /// The action on this device.
    pub action: String,
    /// `update`, `rollback`, `return` or `repair`.
    pub kind: String,
    /// The version wanted.
    pub version: String,
    /// The version that ran before; empty if unknown.
    pub from: String,
    /// The slot that is to run it.
    pub slot: String,
    /// How the image came; empty while that is not known.
    pub way: String,
    /// Bytes received for it.
    pub received: u64,
    /// How it ended; empty while it goes on.
    pub outcome: String,
    /// Its parts, in order.
    pub parts: Vec<Span>,
}

/// One span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// 16 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its begin.
    pub start: u64,
    /// Its end, once there is one.
    pub end: Option<u64>,
    /// What went wrong in it, if something did.
    pub error: Option<String>,
}

/// One step of the state machine.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// What happened.
    pub event: &'a Event,
    /// The phase before it.
    pub before: &'a Phase,
    /// The phase after it.
    pub after: &'a Phase,
    /// The slot that runs.
    pub booted: SlotName,
}

/// Gives names for spans.
pub(super) type NewId<'a> = &'a mut dyn FnMut() -> String;

impl Trace {
    /// An update begins: what was asked before it belongs to it.
    pub(super) fn begin(
        (id, parent): (String, String),
        attempt: &Attempt,
        polled: Option<(u64, u64)>,
        now: u64,
        new_id: NewId<'_>,
    ) -> Self {
        let start = polled.map_or(now, |(start, _)| start);
        let mut trace = Self {
            id,
            parent,
            span: Span::new("update", start, new_id),
            action: attempt.action.to_string(),
            kind: attempt.kind.to_string(),
            version: attempt.image.version.to_string(),
            from: attempt
                .from
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            slot: attempt.target.to_string(),
            way: String::new(),
            received: 0,
            outcome: String::new(),
            parts: Vec::new(),
        };
        if let Some((start, end)) = polled {
            let mut poll = Span::new("poll", start, new_id);
            poll.end = Some(end);
            trace.parts.push(poll);
        }
        let name = if attempt.flip_only { "verify" } else { "write" };
        trace.open(name, now, new_id);
        trace
    }

    /// The work reads back now.
    pub(super) fn verifying(&mut self, now: u64, new_id: NewId<'_>) {
        if self.is_in("write") {
            self.next("verify", now, new_id);
        }
    }

    /// Takes in one step.
    pub(super) fn step(&mut self, seen: Seen<'_>, now: u64, new_id: NewId<'_>) {
        let Seen {
            event,
            before,
            after,
            booted,
        } = seen;
        if let Phase::Reporting { outcome, .. } = after
            && !matches!(before, Phase::Reporting { .. })
        {
            self.finish(outcome, now);
            return;
        }
        match (before, after) {
            (Phase::Installing { .. }, Phase::Staged { .. }) => self.next("arm", now, new_id),
            (Phase::Installing { .. } | Phase::Staged { .. }, Phase::OnTrial { .. }) => {
                self.next("restart", now, new_id);
            }
            (
                Phase::OnTrial { verdict: None, .. },
                Phase::OnTrial {
                    verdict: Some(reason),
                    ..
                },
            ) => {
                self.close(now, Some(reason.to_string()));
                self.open("fall-back", now, new_id);
            }
            (_, Phase::OnTrial { attempt, .. }) if attempt.target == booted => match event {
                Event::Started(_) if self.is_in("restart") => self.next("trial", now, new_id),
                Event::HealthPassed if self.is_in("trial") => self.next("commit", now, new_id),
                _ => {}
            },
            _ => {}
        }
    }

    fn finish(&mut self, outcome: &Outcome, now: u64) {
        let error = match outcome {
            Outcome::Committed | Outcome::Repaired => None,
            Outcome::RolledBack(_) | Outcome::Failed(_) => Some(outcome.to_string()),
        };
        self.end(outcome.to_string(), error, now);
    }

    /// It did not go on: something else began.
    pub(super) fn abandon(&mut self, now: u64) {
        let why = "another update began".to_owned();
        self.end("abandoned".into(), Some(why), now);
    }

    fn end(&mut self, outcome: String, error: Option<String>, now: u64) {
        self.close(now, error.clone());
        self.outcome = outcome;
        self.span.error = error;
        self.span.end = Some(now.max(self.span.start));
    }

    /// Whether it ended.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.span.end.is_some()
    }

    fn is_in(&self, name: &str) -> bool {
        let last = self.parts.last();
        last.is_some_and(|span| span.name == name && span.end.is_none())
    }

    fn next(&mut self, name: &str, now: u64, new_id: NewId<'_>) {
        self.close(now, None);
        self.open(name, now, new_id);
    }

    fn open(&mut self, name: &str, now: u64, new_id: NewId<'_>) {
        if self.parts.len() < MOST_SPANS {
            self.parts.push(Span::new(name, now, new_id));
        }
    }

    fn close(&mut self, now: u64, error: Option<String>) {
        if let Some(span) = self.parts.last_mut().filter(|span| span.end.is_none()) {
            // The clock may have been set back.
            span.end = Some(now.max(span.start));
            span.error = error;
        }
    }
}

impl Span {
    fn new(name: &str, start: u64, new_id: NewId<'_>) -> Self {
        Self {
            id: new_id(),
            name: name.into(),
            start,
            end: None,
            error: None,
        }
    }
}
