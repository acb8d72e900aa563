//! The description of the API.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::{audit, devices, events, people, releases, rollouts};

#[derive(OpenApi)]
#[openapi(
    info(title = "Switchback fleet server", version = "1"),
    paths(
        people::me, devices::enroll, devices::overview, devices::drift, devices::list,
        devices::create, devices::show, devices::delete, devices::labels, devices::approve,
        devices::revoke, devices::new_token, releases::list, releases::register,
        releases::register_signed, releases::upload, rollouts::list, rollouts::create,
        rollouts::show, rollouts::attempts, rollouts::command, rollouts::rollback, people::list,
        people::create, people::delete, people::webhooks, people::add_webhook,
        people::remove_webhook, audit::list, events::stream, events::metrics,
    ),
    modifiers(&Token),
    security(("token" = [])),
)]
struct Described;

struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The description, as it is committed.
///
/// # Errors
/// Never in practice: it holds nothing that JSON cannot say.
pub fn document() -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(&Described::openapi())?;
    text.push('\n');
    Ok(text)
}

/// The description.
pub(super) async fn serve() -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "application/json")],
        document().unwrap_or_default(),
    )
}
