//! Devices: who they are, what they run, what they should.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use switchback_rollout::{Attempt, Filter};
use utoipa::{IntoParams, ToSchema};

use super::enrol::{Enrolled, check_labels};
use super::{Ask, Body, Part, Problem, Refusal};
use crate::access::{Caller, Role};
use crate::app::App;
use crate::ddi::keep_device;
use crate::drift::{self, Drifting};
use crate::fleet::{Device, DeviceState, NamedLabels};
use crate::secret;
use crate::store::{DeviceRow, Statement};

/// Most devices of one answer.
const MAX_PAGE: usize = 1000;

/// A device, in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listed {
    /// Its name.
    pub id: String,
    /// `active`, `pending` or `revoked`.
    pub state: String,
    /// What it says that it runs; empty when it does not say.
    pub identity: String,
    /// The release of that identity, if this server knows it.
    pub release: Option<String>,
    /// When it was heard of last, in seconds since 1970; 0 for never.
    pub heard_at: i64,
    /// What filters look at.
    pub labels: BTreeMap<String, String>,
}

/// Many devices.
#[derive(Debug, Serialize, ToSchema)]
pub struct Devices {
    /// How many match.
    pub total: usize,
    /// The first of them, by name.
    pub devices: Vec<Listed>,
}

/// Which devices.
#[derive(Debug, Deserialize, IntoParams)]
pub struct Which {
    /// A filter over labels.
    #[serde(default)]
    pub filter: String,
    /// Only those after this name.
    #[serde(default)]
    pub after: String,
    /// Most in one answer.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

fn listed(app: &App, id: &str, device: &Device) -> Listed {
    let release = app
        .release_by_identity(&device.identity)
        .map(|release| release.name.clone());
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Listed {
        id: id.to_owned(),
        state: device.state.as_str().into(),
        identity: device.identity.to_string(),
        release,
        heard_at: device.heard_at.load(Ordering::Relaxed),
        labels: device.labels.iter().map(owned).collect(),
    }
}

fn filter(text: &str) -> Result<Filter, Refusal> {
    text.parse()
        .map_err(|why: switchback_rollout::FilterError| Refusal::bad(why.to_string()))
}

/// Devices by name.
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", params(Which),
    responses((status = 200, body = Devices), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ask(which): Ask<Which>,
) -> Result<Json<Devices>, Refusal> {
    caller.must_be(Role::Viewer)?;
    let filter = filter(&which.filter)?;
    let limit = usize::try_from(which.limit.unwrap_or(100))
        .unwrap_or(100)
        .clamp(1, MAX_PAGE);
    let mut names = Vec::new();
    app.fleet.each(|id, device| {
        let labels = &device.labels;
        if filter.matches(&NamedLabels { id, labels }) {
            names.push(id.to_owned());
        }
    });
    names.sort_unstable();
    let page = names
        .iter()
        .filter(|id| id.as_str() > which.after.as_str())
        .take(limit);
    Ok(Json(Devices {
        total: names.len(),
        devices: page
            .filter_map(|id| app.fleet.with(id, |device| listed(&app, id, device)))
            .collect(),
    }))
}

/// What a device said.
#[derive(Debug, Serialize, ToSchema)]
pub struct Said {
    /// When, in seconds since 1970.
    pub at: i64,
    /// Of which action; 0 for none.
    pub action: i64,
    /// Its word.
    pub word: String,
    /// Its messages.
    pub text: String,
}

/// A device's part in a rollout.
#[derive(Debug, Serialize, ToSchema)]
pub struct Taking {
    /// The rollout.
    pub rollout: String,
    /// What people call it.
    pub name: String,
    /// The release.
    pub release: String,
    /// The attempt.
    #[schema(value_type = Object)]
    pub attempt: Attempt,
}

/// All that is known of a device.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceDetail {
    /// What a list says.
    #[serde(flatten)]
    pub device: Listed,
    /// Where it does not run what it should.
    pub drift: Option<Drifting>,
    /// Its part in each rollout, the newest first.
    pub rollouts: Vec<Taking>,
    /// What it said, the newest first.
    pub messages: Vec<Said>,
}

/// One device, with its history.
#[utoipa::path(get, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = DeviceDetail), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn show(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(id): Part<String>,
) -> Result<Json<DeviceDetail>, Refusal> {
    caller.must_be(Role::Viewer)?;
    let device = app.fleet.with(&id, |device| listed(&app, &id, device));
    let device = device.ok_or_else(|| Refusal::missing("device"))?;
    let messages = app.store.messages(&id, 200).await?;
    let rollouts = {
        let book = app.book();
        let part = |live: &crate::book::Live| {
            Some(Taking {
                rollout: live.id.to_string(),
                name: live.rollout.definition.name.clone(),
                release: live.rollout.definition.target.release.clone(),
                attempt: live.attempts.get(&id)?.clone(),
            })
        };
        book.rollouts.values().rev().filter_map(part).collect()
    };
    let drift = app
        .fleet
        .with(&id, |device| drift::of(&app.book(), &id, device));
    Ok(Json(DeviceDetail {
        device,
        drift: drift.flatten(),
        rollouts,
        messages: messages
            .into_iter()
            .map(|row| Said {
                at: row.at,
                action: row.action,
                word: row.word,
                text: row.text,
            })
            .collect(),
    }))
}

async fn row(app: &App, id: &str) -> Result<DeviceRow, Refusal> {
    app.store
        .device(id)
        .await?
        .pop()
        .ok_or_else(|| Refusal::missing("device"))
}

async fn change(app: &App, who: &str, what: &str, row: &DeviceRow) -> Result<StatusCode, Refusal> {
    keep_device(app, row).await?;
    app.store
        .write(vec![App::audit(who, what, row.id.clone())])
        .await?;
    app.tell(
        "device",
        &serde_json::json!({"device": row.id, "state": row.state}),
    );
    app.wake.notify_one();
    Ok(StatusCode::NO_CONTENT)
}

/// What people say of a device, in the place of what they said before.
#[utoipa::path(put, path = "/api/v1/devices/{id}/labels", tag = "devices", params(("id" = String, Path)),
    request_body = BTreeMap<String, String>,
    responses((status = 204), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn labels(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(id): Part<String>,
    Body(labels): Body<BTreeMap<String, String>>,
) -> Result<StatusCode, Refusal> {
    let who = caller.must_be(Role::Operator)?;
    let labels = check_labels(&labels)?;
    let row = row(&app, &id).await?;
    change(&app, who, "device.labels", &DeviceRow { labels, ..row }).await
}

/// Lets a device in that waits.
#[utoipa::path(post, path = "/api/v1/devices/{id}/approve", tag = "devices", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn approve(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(id): Part<String>,
) -> Result<StatusCode, Refusal> {
    let who = caller.must_be(Role::Operator)?;
    let state = DeviceState::Active.as_str().into();
    let row = row(&app, &id).await?;
    change(&app, who, "device.approve", &DeviceRow { state, ..row }).await
}

/// Takes a device's token back.
#[utoipa::path(post, path = "/api/v1/devices/{id}/revoke", tag = "devices", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(id): Part<String>,
) -> Result<StatusCode, Refusal> {
    let who = caller.must_be(Role::Operator)?;
    let row = DeviceRow {
        state: DeviceState::Revoked.as_str().into(),
        next_token_hash: String::new(),
        ..row(&app, &id).await?
    };
    change(&app, who, "device.revoke", &row).await
}

/// A new token for a device; the old one holds no more.
#[utoipa::path(post, path = "/api/v1/devices/{id}/token", tag = "devices", params(("id" = String, Path)),
    responses((status = 200, body = Enrolled), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn new_token(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(id): Part<String>,
) -> Result<Response, Refusal> {
    let who = caller.must_be(Role::Operator)?;
    let (token, hash) = secret::new_token().map_err(|why| Refusal::conflict(why.to_string()))?;
    let row = DeviceRow {
        state: DeviceState::Active.as_str().into(),
        token_hash: hash.to_text(),
        next_token_hash: String::new(),
        ..row(&app, &id).await?
    };
    change(&app, who, "device.token", &row).await?;
    Ok(Json(Enrolled {
        id: row.id,
        token,
        state: row.state,
    })
    .into_response())
}

/// Forgets a device.
#[utoipa::path(delete, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(id): Part<String>,
) -> Result<StatusCode, Refusal> {
    let who = caller.must_be(Role::Operator)?;
    row(&app, &id).await?;
    let forget = Statement::new(
        "DELETE FROM devices WHERE id = $1",
        vec![id.as_str().into()],
    );
    let log = App::audit(who, "device.delete", id.clone());
    app.store.write(vec![forget.of_one_row(), log]).await?;
    app.fleet.remove(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// How many devices run what.
#[utoipa::path(get, path = "/api/v1/fleet", tag = "devices",
    responses((status = 200, body = drift::Overview), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn overview(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<drift::Overview>, Refusal> {
    caller.must_be(Role::Viewer)?;
    Ok(Json(drift::overview(&app)))
}

/// Devices that do not run what they should, the longest first.
#[utoipa::path(get, path = "/api/v1/drift", tag = "devices", params(Which),
    responses((status = 200, body = [Drifting]), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn drift(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ask(which): Ask<Which>,
) -> Result<Json<Vec<Drifting>>, Refusal> {
    caller.must_be(Role::Viewer)?;
    let filter = filter(&which.filter)?;
    let limit = usize::try_from(which.limit.unwrap_or(100))
        .unwrap_or(100)
        .clamp(1, MAX_PAGE);
    let mut all = drift::all(&app, &filter);
    all.truncate(limit);
    Ok(Json(all))
}
