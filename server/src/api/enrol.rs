//! How devices come in: by a person, by their fleet's token, by a certificate.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Body, Problem, Refusal};
use crate::access::{Caller, Role};
use crate::app::{App, now, now_ms};
use crate::fleet::{Device, DeviceState};
use crate::secret::{self, TokenHash};
use crate::store::{DeviceRow, Statement, StoreError};
use crate::tls::is_device_name;

/// A device to let in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Its name: letters, digits and `-_.:`.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:-]+$")]
    pub id: String,
    /// What people say of it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The token that it would have: who asks again with the same one, because the answer was lost, gets the same answer.
    #[serde(default)]
    #[schema(min_length = 32, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    pub token: Option<String>,
}

/// A device that was let in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Enrolled {
    /// Its name.
    pub id: String,
    /// Its token: shown once, kept as a digest.
    pub token: String,
    /// `active`, or `pending` until a person lets it in.
    pub state: String,
}

pub(super) fn check_labels(labels: &BTreeMap<String, String>) -> Result<String, Refusal> {
    let fits = |(name, value): (&String, &String)| name.len() <= 128 && value.len() <= 1024;
    if labels.len() > 100 || !labels.iter().all(fits) {
        return Err(Refusal::bad("at most 100 labels of 128 and 1024 bytes"));
    }
    serde_json::to_string(labels).map_err(|why| Refusal::bad(why.to_string()))
}

async fn insert(
    app: &App,
    new: &NewDevice,
    state: DeviceState,
    token: TokenHash,
    who: &str,
) -> Result<(), Refusal> {
    if !is_device_name(&new.id) {
        return Err(Refusal::bad(
            "a device's name has 1 to 128 letters, digits and -_.:",
        ));
    }
    let labels = check_labels(&new.labels)?;
    let row = DeviceRow {
        id: new.id.clone(),
        state: state.as_str().into(),
        token_hash: token.to_text(),
        next_token_hash: String::new(),
        attributes: "{}".into(),
        labels,
        identity: String::new(),
        auto_confirm: String::new(),
        enrolled_at: now().unix(),
        heard_at: 0,
    };
    let statement = Statement::new(
        "INSERT INTO devices (id, state, token_hash, next_token_hash, attributes, labels, \
         identity, auto_confirm, enrolled_at, heard_at, changed) \
         VALUES ($1, $2, $3, '', '{}', $4, '', '', $5, 0, $6) ON CONFLICT (id) DO NOTHING",
        vec![
            row.id.as_str().into(),
            row.state.as_str().into(),
            row.token_hash.as_str().into(),
            row.labels.as_str().into(),
            row.enrolled_at.into(),
            now_ms().into(),
        ],
    )
    .of_one_row();
    let log = App::audit(who, "device.create", row.id.clone());
    match app.store.write(vec![statement, log]).await {
        Ok(()) => {}
        // Whoever knows the fleet's token cannot take over a device that is there.
        Err(StoreError::Conflict) => {
            return Err(Refusal::conflict("there is such a device already"));
        }
        Err(why) => return Err(why.into()),
    }
    app.fleet.put(&row.id, Device::from_row(&row));
    app.tell(
        "device",
        &serde_json::json!({"device": row.id, "state": row.state}),
    );
    Ok(())
}

/// Lets a device in and gives it a token.
async fn with_token(
    app: &App,
    new: NewDevice,
    state: DeviceState,
    who: &str,
) -> Result<Json<Enrolled>, Refusal> {
    let (token, hash) = match &new.token {
        Some(token) => (token.clone(), chosen(token)?),
        None => secret::new_token().map_err(|why| Refusal::conflict(why.to_string()))?,
    };
    let state = match insert(app, &new, state, hash, who).await {
        Ok(()) => state,
        Err(refusal) => {
            // It may have been another replica that let it in.
            app.catch_up_with_device(&new.id).await?;
            let known = |device: &Device| device.token.admits(&hash).then_some(device.state);
            let again = app.fleet.with(&new.id, known).flatten();
            again.ok_or(refusal)?
        }
    };
    Ok(Json(Enrolled {
        id: new.id,
        token,
        state: state.as_str().into(),
    }))
}

/// A token that a device chose for itself.
fn chosen(token: &str) -> Result<TokenHash, Refusal> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (32..=128).contains(&token.len()) && token.bytes().all(fits) {
        Ok(TokenHash::of(token))
    } else {
        Err(Refusal::bad(
            "token: 32 to 128 letters, digits and -_ are wanted, by chance",
        ))
    }
}

/// What a device is at first that no person let in.
fn first_state(app: &App) -> DeviceState {
    if app.settings.approve_devices {
        DeviceState::Pending
    } else {
        DeviceState::Active
    }
}

/// A device came with a certificate for the first time. It has no token.
///
/// # Errors
/// Nothing could be kept.
pub async fn enrol_certified(app: &App, id: &str) -> Result<DeviceState, Refusal> {
    let new = NewDevice {
        id: id.to_owned(),
        labels: BTreeMap::new(),
        token: None,
    };
    let state = first_state(app);
    match insert(app, &new, state, TokenHash::NONE, "device certificate").await {
        Ok(()) => Ok(state),
        // It came twice at the same time.
        Err(why) => app.fleet.with(id, |device| device.state).ok_or(why),
    }
}

/// A device exchanges the token of its fleet for one of its own.
#[utoipa::path(post, path = "/api/v1/enroll", tag = "devices", request_body = NewDevice,
    responses((status = 200, body = Enrolled), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub async fn enroll(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewDevice>,
) -> Result<Json<Enrolled>, Refusal> {
    let state = first_state(&app);
    with_token(&app, new, state, &caller.0.name).await
}

/// A person lets a device in.
#[utoipa::path(post, path = "/api/v1/devices", tag = "devices", request_body = NewDevice,
    responses((status = 200, body = Enrolled), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewDevice>,
) -> Result<Json<Enrolled>, Refusal> {
    let who = caller.must_be(Role::Operator)?;
    with_token(&app, new, DeviceState::Active, who).await
}
