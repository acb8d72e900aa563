//! What happens, as it happens; and what is counted.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast::error::RecvError;

use super::{Problem, Refusal};
use crate::access::{Caller, Role};
use crate::app::App;
use crate::drift;
use crate::metrics::write_one;

/// Server-sent events: `rollout`, `progress`, `outcome`, `device`, `release`; `missed` when some
/// were lost, because the reader was slow.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn stream(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Refusal> {
    caller.must_be(Role::Viewer)?;
    let events = stream::unfold(app.watch(), |mut receiver| async move {
        let event = match receiver.recv().await {
            Ok(event) => sse::Event::default().event(event.kind).data(&*event.data),
            Err(RecvError::Lagged(_)) => sse::Event::default().event("missed").data("{}"),
            Err(RecvError::Closed) => return None,
        };
        Some((Ok(event), receiver))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "events",
    responses((status = 200, content_type = "text/plain", body = String), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn metrics(State(app): State<Arc<App>>, caller: Caller) -> Result<Response, Refusal> {
    caller.must_be(Role::Viewer)?;
    let mut text = String::new();
    app.metrics.write(&mut text);
    let overview = drift::overview(&app);
    let gauge = |text: &mut String, name: &str, help: &str, value: usize| {
        write_one(text, name, "gauge", help, &[(String::new(), value as u64)]);
    };
    gauge(
        &mut text,
        "switchback_devices",
        "Devices.",
        overview.devices,
    );
    gauge(
        &mut text,
        "switchback_devices_pending",
        "Devices that wait for a person.",
        overview.pending,
    );
    gauge(
        &mut text,
        "switchback_devices_heard",
        "Devices that were heard of lately.",
        overview.heard,
    );
    gauge(
        &mut text,
        "switchback_devices_drifting",
        "Devices that do not run what they should.",
        overview.drifting,
    );
    if let Some(since) = overview.drifting_since {
        let help = "Since when the device that has drifted longest does, in seconds since 1970.";
        let name = "switchback_drift_since_timestamp_seconds";
        gauge(&mut text, name, help, usize::try_from(since).unwrap_or(0));
    }
    if let Some(tls) = &app.tls {
        let ends = usize::try_from(tls.ends_at()).unwrap_or(0);
        let help = "When the server's certificate ends, in seconds since 1970.";
        let name = "switchback_certificate_ends_timestamp_seconds";
        gauge(&mut text, name, help, ends);
    }
    let rollouts: Vec<(String, u64)> = {
        let book = app.book();
        let open = book
            .rollouts
            .values()
            .filter(|live| !live.rollout.phase.is_over());
        open.flat_map(|live| {
            let tally = live.tally();
            [
                ("pending", tally.pending),
                ("succeeded", tally.succeeded),
                ("failed", tally.failed),
                ("rolled-back", tally.rolled_back),
                ("silent", tally.silent),
            ]
            .map(|(outcome, count)| {
                let id = &live.id;
                (
                    format!("rollout=\"{id}\",outcome=\"{outcome}\""),
                    count as u64,
                )
            })
        })
        .collect()
    };
    let phases = {
        let book = app.book();
        let mut phases = std::collections::BTreeMap::new();
        for live in book.rollouts.values() {
            *phases.entry(live.rollout.phase.as_str()).or_insert(0) += 1;
        }
        let labelled = |(phase, count)| (format!("phase=\"{phase}\""), count);
        phases.into_iter().map(labelled).collect::<Vec<_>>()
    };
    let help = "Rollouts, by how they stand.";
    write_one(&mut text, "switchback_rollouts", "gauge", help, &phases);
    let help = "Devices of each open rollout.";
    write_one(
        &mut text,
        "switchback_rollout_devices",
        "gauge",
        help,
        &rollouts,
    );
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
