//! Which devices do not run what they should.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;
use switchback_ddi::ATTRIBUTE_ANSWER;
use switchback_rollout::{Filter, Outcome};
use utoipa::ToSchema;

use crate::app::{App, now};
use crate::book::Book;
use crate::fleet::{Device, DeviceState, NamedLabels};

/// A device that does not run what it should.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Drifting {
    /// The device.
    pub id: String,
    /// What it says that it runs.
    pub runs: String,
    /// What it should run.
    pub wanted: String,
    /// The rollout that says so.
    pub rollout: String,
    /// Since when, in seconds since 1970.
    pub since: i64,
    /// Why, as far as it is known: how its attempt ended.
    pub why: String,
    /// Its own answers to the five questions, where it reports them.
    pub answers: BTreeMap<String, String>,
    /// When it was heard of last.
    pub heard_at: i64,
}

/// Whether a device does not run what it should.
#[must_use]
pub fn of(book: &Book, id: &str, device: &Device) -> Option<Drifting> {
    let wanted = book.wanted(id)?;
    // A client that never says what it runs is believed what it said of its attempt.
    let runs_it = if device.identity.is_empty() {
        wanted.outcome == Outcome::Succeeded
    } else {
        *device.identity == *wanted.identity && wanted.outcome != Outcome::Silent
    };
    if runs_it || device.state != DeviceState::Active {
        return None;
    }
    let answer = |(name, value): (&str, &str)| {
        Some((
            name.strip_prefix(ATTRIBUTE_ANSWER)?.to_owned(),
            value.to_owned(),
        ))
    };
    Some(Drifting {
        id: id.to_owned(),
        runs: device.identity.to_string(),
        wanted: wanted.identity,
        rollout: wanted.rollout.to_string(),
        since: wanted.since,
        why: match wanted.outcome {
            Outcome::Succeeded => "was well, and runs something else now",
            Outcome::Failed => "failed",
            Outcome::RolledBack => "went back",
            Outcome::Silent => "not heard of by the deadline",
            Outcome::Cancelled => "called off",
            Outcome::Pending => "at it",
        }
        .to_owned(),
        answers: device.labels.iter().filter_map(answer).collect(),
        heard_at: device.heard_at.load(Ordering::Relaxed),
    })
}

/// All of a group, the longest first.
#[must_use]
pub fn all(app: &App, filter: &Filter) -> Vec<Drifting> {
    let mut found = Vec::new();
    app.fleet.with_all(|devices| {
        let book = app.book();
        for (id, device) in devices {
            let labels = &device.labels;
            if filter.matches(&NamedLabels { id, labels }) {
                found.extend(of(&book, id, device));
            }
        }
    });
    found.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
    found
}

/// The fleet in numbers.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Overview {
    /// All devices.
    pub devices: usize,
    /// Those that wait for a person.
    pub pending: usize,
    /// Those that were heard of in the last three pauses between polls.
    pub heard: usize,
    /// Those that do not run what they should.
    pub drifting: usize,
    /// Since when the one does that has done so longest, in seconds since 1970.
    pub drifting_since: Option<i64>,
    /// How many run what; releases by name, the rest by what they say.
    pub versions: BTreeMap<String, usize>,
    /// How many polls were answered since the start.
    pub polls: u64,
}

/// Counts the fleet.
#[must_use]
pub fn overview(app: &App) -> Overview {
    let mut overview = Overview {
        polls: app.metrics.polls.get(),
        ..Overview::default()
    };
    let names: BTreeMap<String, String> = {
        let releases = app.releases();
        let pair =
            |r: &std::sync::Arc<crate::releases::Release>| (r.identity.clone(), r.name.clone());
        releases.values().map(pair).collect()
    };
    let recent = now().unix() - 3 * i64::from(app.pause("", 0)) - 60;
    app.fleet.with_all(|devices| {
        let book = app.book();
        for (id, device) in devices {
            let is_full = overview.versions.len() >= 200;
            overview.devices += 1;
            overview.pending += usize::from(device.state == DeviceState::Pending);
            let heard = device.heard_at.load(Ordering::Relaxed);
            overview.heard += usize::from(heard >= recent);
            if let Some(drifting) = of(&book, id, device) {
                overview.drifting += 1;
                let before = overview.drifting_since.unwrap_or(i64::MAX);
                overview.drifting_since = Some(before.min(drifting.since));
            }
            let identity = &*device.identity;
            let name = names.get(identity).map_or(identity, String::as_str);
            let name = if name.is_empty() { "unknown" } else { name };
            match overview.versions.get_mut(name) {
                Some(count) => *count += 1,
                // What devices say is not to fill the memory.
                None if is_full => {
                    *overview.versions.entry("others".into()).or_default() += 1;
                }
                None => {
                    overview.versions.insert(name.to_owned(), 1);
                }
            }
        }
    });
    overview
}
