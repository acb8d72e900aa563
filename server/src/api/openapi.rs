//! The description of the API.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::OpenApi;
use utoipa::openapi::ResponseBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::{audit, devices, enrol, events, people, releases, rollouts};

#[derive(OpenApi)]
#[openapi(
    info(title = "Switchback fleet server", version = "1"),
    paths(
        people::me, enrol::enroll, devices::overview, devices::drift, devices::list,
        enrol::create, devices::show, devices::delete, devices::labels, devices::approve,
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
        // What every address may answer.
        for item in document.paths.paths.values_mut() {
            let all = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
            ];
            for operation in all.into_iter().flatten() {
                let mut add = |status: &str, what: &str| {
                    let response = ResponseBuilder::new().description(what).build();
                    let responses = &mut operation.responses.responses;
                    responses
                        .entry(status.to_owned())
                        .or_insert(response.into());
                };
                add(
                    "429",
                    "Too many wrong tokens from this address; see Retry-After",
                );
                add("503", "The database does not answer; see Retry-After");
                add("507", "The disk is full; see Retry-After");
                if operation.request_body.is_some() {
                    add("413", "The body is too long");
                    add("415", "The body is of another kind");
                }
            }
        }
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
