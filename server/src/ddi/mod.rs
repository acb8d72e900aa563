//! hawkBit's DDI v1, for devices.

mod artifacts;
mod cbor;
mod confirmation;
mod deployment;
mod feedback;
mod poll;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path};
use axum::http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;

pub(crate) use feedback::keep as keep_device;

use crate::access::token;
use crate::api::enrol_certified;
use crate::app::{App, now};
use crate::control::ControlError;
use crate::fleet::{Device, DeviceState};
use crate::proxy::Client;
use crate::secret::TokenHash;
use crate::tls::Certified;

/// All addresses of DDI v1.
pub fn router() -> Router<Arc<App>> {
    let device = Router::new()
        .route("/", get(poll::poll))
        .route("/softwaremodules/{module}/artifacts", get(artifacts::list))
        .route(
            "/softwaremodules/{module}/artifacts/{file}",
            get(artifacts::file),
        )
        .route("/deploymentBase/{action}", get(deployment::deployment))
        .route(
            "/deploymentBase/{action}/feedback",
            post(feedback::deployment),
        )
        .route("/configData", put(feedback::config_data))
        .route("/cancelAction/{action}", get(deployment::cancel))
        .route("/cancelAction/{action}/feedback", post(feedback::cancel))
        .route("/installedBase/{action}", get(deployment::installed))
        .route("/installedBase", put(feedback::installed))
        .route("/confirmationBase", get(confirmation::base))
        .route(
            "/confirmationBase/activateAutoConfirm",
            post(confirmation::activate),
        )
        .route(
            "/confirmationBase/deactivateAutoConfirm",
            post(confirmation::deactivate),
        )
        .route("/confirmationBase/{action}", get(confirmation::offer))
        .route(
            "/confirmationBase/{action}/feedback",
            post(confirmation::feedback),
        )
        .route("/token", post(feedback::rotate))
        .layer(DefaultBodyLimit::max(switchback_ddi::MAX_BODY_BYTES));
    // hawkBit's clients ask with and without the last slash.
    Router::new()
        .route("/{tenant}/controller/v1/{device}/", get(poll::poll))
        .nest("/{tenant}/controller/v1/{device}", device)
        .layer(axum::middleware::from_fn(cbor::answer))
}

/// Why a device is refused.
#[derive(Debug)]
pub enum Refused {
    /// No token, or a wrong one.
    Unauthorized,
    /// A person must let it in first, or its token was taken back.
    Forbidden,
    /// Its certificate is not of this device, or of none.
    Certificate(String),
    /// There is no such thing for this device.
    Missing,
    /// It is over.
    Gone,
    /// The body cannot be read.
    Body(switchback_ddi::DdiError),
    /// Too many at once.
    Later(u32),
    /// The server cannot keep it now.
    Unavailable,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let wait = |status: StatusCode, seconds: u32| {
            (status, [(RETRY_AFTER, seconds.to_string())]).into_response()
        };
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED.into_response(),
            Self::Forbidden => StatusCode::FORBIDDEN.into_response(),
            Self::Certificate(why) => (StatusCode::FORBIDDEN, why).into_response(),
            Self::Missing => StatusCode::NOT_FOUND.into_response(),
            Self::Gone => StatusCode::GONE.into_response(),
            Self::Body(why) => {
                let status = match why {
                    switchback_ddi::DdiError::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                    _ => StatusCode::BAD_REQUEST,
                };
                (status, why.to_string()).into_response()
            }
            Self::Later(seconds) => wait(StatusCode::TOO_MANY_REQUESTS, seconds),
            Self::Unavailable => wait(StatusCode::SERVICE_UNAVAILABLE, 30),
        }
    }
}

impl From<ControlError> for Refused {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Missing(_) => Self::Missing,
            _ => Self::Unavailable,
        }
    }
}

impl From<crate::api::Refusal> for Refused {
    fn from(_: crate::api::Refusal) -> Self {
        Self::Unavailable
    }
}

impl From<crate::store::StoreError> for Refused {
    fn from(_: crate::store::StoreError) -> Self {
        Self::Unavailable
    }
}

impl From<switchback_ddi::DdiError> for Refused {
    fn from(error: switchback_ddi::DdiError) -> Self {
        Self::Body(error)
    }
}

/// The device that asks, known by its certificate or its token.
#[derive(Debug)]
pub struct Asking {
    /// Its name.
    pub id: String,
    /// The base of the addresses that it is given.
    pub base: String,
}

#[derive(Deserialize)]
struct Address {
    tenant: String,
    device: String,
}

impl FromRequestParts<Arc<App>> for Asking {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refused> {
        let path = Path::<Address>::from_request_parts(parts, app).await;
        let Path(Address { tenant, device }) = path.map_err(|_| Refused::Missing)?;
        let client = parts.extensions.get::<Client>();
        if client.is_some_and(|client| app.must_wait(client.address)) {
            return Err(Refused::Later(60));
        }
        match client.and_then(|client| client.device.as_deref()) {
            Some(certified) => by_certificate(app, &device, certified).await?,
            None => by_token(app, &device, parts).await?,
        }
        let base = base(app, parts);
        Ok(Self {
            base: format!("{base}/{tenant}/controller/v1/{device}"),
            id: device,
        })
    }
}

/// Whose certificate was checked needs no token; what a token would say is not asked.
async fn by_certificate(
    app: &Arc<App>,
    device: &str,
    certified: &Certified,
) -> Result<(), Refused> {
    let refused = |why: String| Err(Refused::Certificate(why));
    let now = now().unix();
    match &certified.device {
        Err(why) => return refused(why.to_string()),
        Ok(name) if **name != *device => {
            return refused(format!("the certificate is of {name}, not of {device}"));
        }
        Ok(_) if certified.ends_at <= now => return refused("the certificate has ended".into()),
        Ok(_) => {}
    }
    let heard = |known: &Device| {
        known.heard_at.fetch_max(now, Ordering::Relaxed);
        known.state
    };
    let state = match app.fleet.with(device, heard) {
        Some(state) => state,
        // The CA's word is as good as the fleet's token.
        None => enrol_certified(app, device).await?,
    };
    match state {
        DeviceState::Active => Ok(()),
        DeviceState::Pending => refused(format!("a person must let {device} in first")),
        DeviceState::Revoked => refused(format!("{device} is not let in any more")),
    }
}

async fn by_token(app: &Arc<App>, device: &str, parts: &Parts) -> Result<(), Refused> {
    app.catch_up_with_device(device).await?;
    let given = token(parts, "TargetToken").map(TokenHash::of);
    let now = now().unix();
    // An unknown device and a wrong token are one answer.
    let admitted = given.and_then(|given| {
        app.fleet.with(device, |known| {
            let (now_token, next) = (known.token.admits(&given), known.next_token.admits(&given));
            if now_token | next {
                known.heard_at.fetch_max(now, Ordering::Relaxed);
            }
            (now_token | next).then_some((known.state, next))
        })
    });
    match admitted.flatten() {
        Some((DeviceState::Active, is_next)) => {
            if is_next {
                feedback::settle(app, device).await?;
            }
            Ok(())
        }
        Some(_) => Err(Refused::Forbidden),
        None => {
            if let Some(client) = parts.extensions.get::<Client>() {
                app.note_failure(client.address);
            }
            Err(Refused::Unauthorized)
        }
    }
}

/// What devices reach this server by: as configured, else as this one did.
fn base(app: &App, parts: &Parts) -> String {
    if let Some(url) = &app.settings.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let is_secure = parts
        .extensions
        .get::<Client>()
        .is_some_and(|client| client.is_secure);
    let scheme = if is_secure { "https" } else { "http" };
    // HTTP/2 says it in the address.
    let host = match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => parts.headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    let plain = |host: &&str| {
        let good =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
        host.chars().all(good)
    };
    format!("{scheme}://{}", host.filter(plain).unwrap_or("localhost"))
}

/// A document, as hawkBit sends it.
fn hal<T: serde::Serialize>(document: &T) -> Response {
    match serde_json::to_vec(document) {
        Ok(body) => {
            let kind = HeaderValue::from_static("application/hal+json");
            ([(CONTENT_TYPE, kind)], body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
