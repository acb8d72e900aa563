//! The poll: what a device asks most often, answered from memory.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use switchback_ddi::{Config, Link, Poll, PollLinks, Polling, write_sleep};

use super::{Asking, Refused, hal};
use crate::app::{App, now};
use crate::fleet::TaskKind;

/// Tells a device when to come again and what there is to do.
pub(super) async fn poll(
    State(app): State<Arc<App>>,
    asking: Asking,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    app.metrics.polls.add(1);
    let (task, unknown) = app
        .fleet
        .with(&asking.id, |device| {
            (device.task.as_deref().cloned(), !device.described)
        })
        .ok_or(Refused::Missing)?;
    let base = &asking.base;
    let link = |path: String| {
        Some(Link {
            href: format!("{base}/{path}"),
        })
    };
    let mut links = PollLinks::default();
    let mut tag = String::from("\"idle\"");
    if let Some(task) = &task {
        let action = task.action;
        // A changed action has another address: clients that keep answers see it.
        let content = format!("{action}?c={}", content_hash(&task.identity));
        match task.kind {
            TaskKind::Install | TaskKind::Back => {
                links.deployment_base = link(format!("deploymentBase/{content}"));
            }
            TaskKind::Confirm => {
                links.confirmation_base = link(format!("confirmationBase/{content}"));
            }
            TaskKind::Cancel => links.cancel_action = link(format!("cancelAction/{action}")),
        }
        tag = format!("\"{action}-{:?}\"", task.kind);
    }
    if unknown {
        links.config_data = link("configData".into());
        tag = tag.replacen('"', "\"c-", 1);
    }
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|seen| seen.as_bytes() == tag.as_bytes())
    {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let sleep = write_sleep(app.pause(&asking.id, now().unix()));
    let etag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
    if links.is_empty() {
        let body = format!("{{\"config\":{{\"polling\":{{\"sleep\":\"{sleep}\"}}}}}}");
        let kind = HeaderValue::from_static("application/hal+json");
        return Ok(([(CONTENT_TYPE, kind), (ETAG, etag)], body).into_response());
    }
    let poll = Poll {
        config: Config {
            polling: Polling { sleep },
        },
        links,
    };
    let mut response = hal(&poll);
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}

fn content_hash(identity: &str) -> u32 {
    identity.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
