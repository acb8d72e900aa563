//! The API for people and their programs.

mod audit;
mod devices;
mod enrol;
mod events;
mod openapi;
mod people;
mod releases;
mod rollouts;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use serde::Serialize;

use crate::app::App;
use crate::control::ControlError;
use crate::store::StoreError;

pub use enrol::enrol_certified;
pub use openapi::document;
pub use people::{NewToken, give};

/// Longest body in bytes; uploads of files have a limit of their own.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// All addresses of the API.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/openapi.json", get(openapi::serve))
        .route("/api/v1/me", get(people::me))
        .route("/api/v1/enroll", post(enrol::enroll))
        .route("/api/v1/fleet", get(devices::overview))
        .route("/api/v1/drift", get(devices::drift))
        .route("/api/v1/devices", get(devices::list).post(enrol::create))
        .route(
            "/api/v1/devices/{id}",
            get(devices::show).delete(devices::delete),
        )
        .route("/api/v1/devices/{id}/labels", put(devices::labels))
        .route("/api/v1/devices/{id}/approve", post(devices::approve))
        .route("/api/v1/devices/{id}/revoke", post(devices::revoke))
        .route("/api/v1/devices/{id}/token", post(devices::new_token))
        .route(
            "/api/v1/releases",
            get(releases::list).post(releases::register),
        )
        .route("/api/v1/releases/signed", post(releases::register_signed))
        .route(
            "/api/v1/rollouts",
            get(rollouts::list).post(rollouts::create),
        )
        .route("/api/v1/rollouts/{id}", get(rollouts::show))
        .route("/api/v1/rollouts/{id}/attempts", get(rollouts::attempts))
        .route("/api/v1/rollouts/{id}/command", post(rollouts::command))
        .route("/api/v1/rollback", post(rollouts::rollback))
        .route("/api/v1/people", get(people::list).post(people::create))
        .route("/api/v1/people/{name}", delete(people::delete))
        .route(
            "/api/v1/webhooks",
            get(people::webhooks).post(people::add_webhook),
        )
        .route("/api/v1/webhooks/{id}", delete(people::remove_webhook))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/events", get(events::stream))
        .route("/metrics", get(events::metrics))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .route("/api/v1/files/{name}", put(releases::upload))
}

/// Why a request is refused.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    what: String,
}

/// How a refusal looks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// What is wrong, for people.
    pub error: String,
}

impl Refusal {
    /// The request is wrong.
    pub fn bad(what: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            what: what.into(),
        }
    }

    /// There is no such thing.
    #[must_use]
    pub fn missing(what: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            what: format!("there is no such {what}"),
        }
    }

    /// It does not fit what is there.
    pub fn conflict(what: impl Into<String>) -> Self {
        Self {
            status: StatusCode::CONFLICT,
            what: what.into(),
        }
    }

    /// No token, or a wrong one.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            what: "a token is needed: Authorization: Bearer …".into(),
        }
    }

    /// Not with this role.
    #[must_use]
    pub fn forbidden(what: String) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            what,
        }
    }

    /// A file cannot be kept.
    #[must_use]
    pub fn of_disk(why: &std::io::Error) -> Self {
        let is_full = matches!(
            why.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        );
        Self {
            status: match is_full {
                true => StatusCode::INSUFFICIENT_STORAGE,
                false => StatusCode::SERVICE_UNAVAILABLE,
            },
            what: format!("the file cannot be kept: {why}"),
        }
    }

    /// Too many wrong tokens.
    #[must_use]
    pub fn too_many() -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            what: "too many wrong tokens from this address".into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Problem { error: self.what })).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                axum::http::HeaderValue::from_static("Bearer"),
            );
        }
        if matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::INSUFFICIENT_STORAGE
        ) {
            headers.insert(RETRY_AFTER, axum::http::HeaderValue::from_static("30"));
        }
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Conflict => StatusCode::CONFLICT,
            StoreError::Full => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self {
            status,
            what: error.to_string(),
        }
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        let what = error.to_string();
        match error {
            ControlError::Missing(_) => Self {
                status: StatusCode::NOT_FOUND,
                what,
            },
            ControlError::Refused(_) => Self::conflict(what),
            ControlError::Definition(_) | ControlError::Not(_) => Self::bad(what),
            ControlError::Store(why) => why.into(),
        }
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        let status = rejection.status();
        // Axum's two words for a body that does not fit are one here.
        let status = match status {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            other => other,
        };
        Self {
            status,
            what: rejection.body_text(),
        }
    }
}

impl From<PathRejection> for Refusal {
    fn from(rejection: PathRejection) -> Self {
        Self::bad(rejection.body_text())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad(rejection.body_text())
    }
}

/// A JSON body, whose faults look as all refusals do.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(Refusal))]
pub struct Body<T>(pub T);

/// A part of the address.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Refusal))]
pub struct Part<T>(pub T);

/// The query of an address.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Refusal))]
pub struct Ask<T>(pub T);
