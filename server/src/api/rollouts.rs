//! Rollouts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use switchback_rollout::{
    Attempt, Barrier, Command, Definition, Filter, Gates, OnBrokenGate, Outcome, Plan, Rollout,
    Tally, Target, Window,
};
use switchback_types::Timestamp;
use utoipa::{IntoParams, ToSchema};

use super::{Ask, Body, Part, Problem, Refusal};
use crate::access::{Caller, Role};
use crate::app::App;
use crate::book::Live;
use crate::fleet::NamedLabels;

/// A rollout to begin. What is not named has a value that is safe.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollout {
    /// What people call it.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// The release's name: product and version.
    pub release: String,
    /// A filter over labels; everybody, when not given.
    #[serde(default)]
    pub group: Option<String>,
    /// The waves: `{"waves":[{"reach":"1%","soak":3600}],"in_flight":100,"per_hour":1000}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub plan: Option<Plan>,
    /// When to stop: `{"succeeded":"90%","failed":{"share":"5%"},"silent":{"count":3}}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub gates: Option<Gates>,
    /// `pause` or `revert`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub on_broken_gate: Option<OnBrokenGate>,
    /// Seconds until a device that took the offer counts as silent.
    #[serde(default)]
    pub deadline: Option<u32>,
    /// Seconds after which a device that was not heard of is offered nothing.
    #[serde(default)]
    pub seen_within: Option<u32>,
    /// Further tries for devices that failed.
    #[serde(default)]
    pub retries: Option<u32>,
    /// Each wave waits for a person.
    #[serde(default)]
    pub manual: bool,
    /// Somebody else must agree first.
    #[serde(default)]
    pub needs_approval: bool,
    /// Somebody at the device must agree as well.
    #[serde(default)]
    pub needs_confirmation: bool,
    /// Not before this time.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub not_before: Option<Timestamp>,
    /// Not before a group runs something: `{"group":"site == lab","identity":"…"}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub barrier: Option<Barrier>,
    /// When nothing begins.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub freeze: Vec<Window>,
    /// A faster plan, also in freeze windows; never one without limits.
    #[serde(default)]
    pub emergency: bool,
}

/// A rollout that was begun.
#[derive(Debug, Serialize, ToSchema)]
pub struct Begun {
    /// Its name in addresses.
    pub id: String,
}

/// A rollout, with its numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct RolloutDetail {
    /// Its name in addresses.
    pub id: String,
    /// When it was wanted, in seconds since 1970.
    pub created_at: i64,
    /// The rollout: definition, phase, wave.
    #[schema(value_type = Object)]
    pub rollout: Rollout,
    /// How many devices are where.
    #[schema(value_type = Object)]
    pub tally: Tally,
    /// The same, wave by wave.
    #[schema(value_type = Vec<Object>)]
    pub waves: Vec<Tally>,
    /// What it waits for, for people.
    pub waiting: Option<String>,
}

fn shown(live: &Live) -> RolloutDetail {
    let in_wave = |wave: u32| {
        let attempts = live
            .attempts
            .values()
            .filter(|attempt| attempt.wave == wave);
        Tally::of(attempts, None)
    };
    let waves = u32::try_from(live.rollout.definition.plan.waves.len()).unwrap_or(0);
    RolloutDetail {
        id: live.id.to_string(),
        created_at: live.created_at,
        rollout: live.rollout.clone(),
        tally: live.tally(),
        waves: (0..waves).map(in_wave).collect(),
        waiting: live.waiting.as_ref().map(ToString::to_string),
    }
}

/// All rollouts, the newest first.
#[utoipa::path(get, path = "/api/v1/rollouts", tag = "rollouts",
    responses((status = 200, body = [RolloutDetail]), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Vec<RolloutDetail>>, Refusal> {
    caller.must_be(Role::Viewer)?;
    Ok(Json(
        app.book().rollouts.values().rev().map(shown).collect(),
    ))
}

/// One rollout.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}", tag = "rollouts", params(("id" = String, Path)),
    responses((status = 200, body = RolloutDetail), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn show(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(id): Part<String>,
) -> Result<Json<RolloutDetail>, Refusal> {
    caller.must_be(Role::Viewer)?;
    let shown = app.book().get(&id).map(shown);
    shown.map(Json).ok_or_else(|| Refusal::missing("rollout"))
}

/// Which attempts.
#[derive(Debug, Deserialize, IntoParams)]
pub struct Which {
    /// Only those that ended so: `failed`, `rolled-back`, `silent`, …
    pub outcome: Option<String>,
    /// Only those after this device.
    #[serde(default)]
    pub after: String,
}

/// The attempts of a rollout, by device: at most 1000.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}/attempts", tag = "rollouts", params(("id" = String, Path), Which),
    responses((status = 200, body = BTreeMap<String, Object>), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn attempts(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(id): Part<String>,
    Ask(which): Ask<Which>,
) -> Result<Json<BTreeMap<String, Attempt>>, Refusal> {
    caller.must_be(Role::Viewer)?;
    let book = app.book();
    let live = book.get(&id).ok_or_else(|| Refusal::missing("rollout"))?;
    let wanted = |attempt: &Attempt| {
        which
            .outcome
            .as_deref()
            .is_none_or(|word| attempt.outcome.as_str() == word)
    };
    let all = live
        .attempts
        .iter()
        .filter(|(device, attempt)| device.as_str() > which.after.as_str() && wanted(attempt));
    Ok(Json(
        all.take(1000)
            .map(|(device, a)| (device.clone(), a.clone()))
            .collect(),
    ))
}

/// Begins a rollout.
#[utoipa::path(post, path = "/api/v1/rollouts", tag = "rollouts", request_body = NewRollout,
    responses((status = 200, body = Begun), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewRollout>,
) -> Result<Json<Begun>, Refusal> {
    let who = caller.must_be(Role::Publisher)?;
    let release = app.releases().get(&new.release).cloned();
    let release = release.ok_or_else(|| Refusal::bad(format!("no release {:?}", new.release)))?;
    let group = new.group.as_deref().unwrap_or_default();
    let group: Filter = group
        .parse()
        .map_err(|why: switchback_rollout::FilterError| Refusal::bad(why.to_string()))?;
    let target = Target {
        release: release.name.clone(),
        identity: release.identity.clone(),
    };
    let mut definition = Definition::new(&new.name, target, group);
    definition.plan = match (new.plan, new.emergency) {
        (Some(plan), _) => plan,
        (None, true) => Plan::emergency(),
        (None, false) => Plan::default(),
    };
    definition.gates = new.gates.unwrap_or_default();
    definition.on_broken_gate = new.on_broken_gate.unwrap_or_default();
    definition.deadline = new.deadline.unwrap_or(definition.deadline);
    definition.seen_within = new.seen_within.unwrap_or(definition.seen_within);
    definition.retries = new.retries.unwrap_or(0);
    definition.manual = new.manual;
    definition.needs_approval = new.needs_approval;
    definition.needs_confirmation = new.needs_confirmation;
    definition.not_before = new.not_before;
    definition.barrier = new.barrier;
    definition.freeze = new.freeze;
    definition.emergency = new.emergency;
    // With a shorter one, devices that keep to the pace they were told would count as silent.
    let least = app.pause("", 0).saturating_mul(3);
    if definition.deadline < least {
        return Err(Refusal::bad(format!(
            "deadline: {} s; devices are told to come so often that {least} is the least",
            definition.deadline
        )));
    }
    Ok(Json(Begun {
        id: app.begin(definition, who).await?,
    }))
}

/// Steers a rollout: `{"command":"pause"}`, `resume`, `approve`, `deny`, `stop`, `next-wave`,
/// `{"command":"retry","device":"…"}`, `{"command":"revert","group":"…"}`.
#[utoipa::path(post, path = "/api/v1/rollouts/{id}/command", tag = "rollouts", params(("id" = String, Path)),
    request_body = Object,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn command(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(id): Part<String>,
    Body(command): Body<Command>,
) -> Result<StatusCode, Refusal> {
    let who = caller.must_be(Role::Operator)?;
    app.command(&id, &command, who).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A group to bring back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// A filter over labels.
    pub group: String,
}

/// What is brought back.
#[derive(Debug, Serialize, ToSchema)]
pub struct RolledBack {
    /// The rollouts that are reverted for this group.
    pub rollouts: Vec<String>,
    /// How many devices go back.
    pub devices: usize,
}

/// Returns a group to what its devices ran before: those that hold it only flip. Each device goes
/// back one step: the one that its newest rollout brought it.
#[utoipa::path(post, path = "/api/v1/rollback", tag = "rollouts", request_body = Rollback,
    responses((status = 200, body = RolledBack), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub async fn rollback(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(wanted): Body<Rollback>,
) -> Result<Json<RolledBack>, Refusal> {
    let who = caller.must_be(Role::Operator)?;
    let group: Filter = wanted
        .group
        .parse()
        .map_err(|why: switchback_rollout::FilterError| Refusal::bad(why.to_string()))?;
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    app.fleet.with_all(|devices| {
        let book = app.book();
        for (id, device) in devices {
            let labels = &device.labels;
            if !group.matches(&NamedLabels { id, labels }) {
                continue;
            }
            let Some(live) = book.newest_of(id) else {
                continue;
            };
            let runs_it = live.attempts.get(*id).is_some_and(|attempt| {
                matches!(attempt.outcome, Outcome::Succeeded | Outcome::Silent)
                    && attempt.previous.is_some()
                    && attempt.revert.is_none()
            });
            if runs_it {
                *found.entry(live.id.to_string()).or_default() += 1;
            }
        }
    });
    if found.is_empty() {
        return Err(Refusal::conflict(
            "no device of this group has anything to go back to",
        ));
    }
    for id in found.keys() {
        let command = Command::Revert {
            group: Some(group.clone()),
        };
        app.command(id, &command, who).await?;
    }
    Ok(Json(RolledBack {
        devices: found.values().sum(),
        rollouts: found.into_keys().collect(),
    }))
}
