//! Telling others: signed, kept until delivered, tried again.
//!
//! The header `Switchback-Signature: t=SECONDS,v1=HEX` holds the HMAC-SHA256 of
//! `SECONDS.BODY` with the webhook's secret.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;

use crate::app::{App, Event, now};
use crate::secret::random_hex;
use crate::store::{DeliveryRow, Statement, StoreError};

/// Tries before a delivery is given up: over a day.
const MAX_TRIES: i64 = 12;
/// What is worth telling. Single outcomes are not: they come by the thousand.
const TOLD: [&str; 3] = ["rollout", "device", "release"];

/// The signature of a body.
#[must_use]
pub fn signature(secret: &str, seconds: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex::encode(tag))
}

/// Keeps what happens for each webhook, until the process ends.
pub async fn collect(app: Arc<App>) {
    let mut events = app.watch();
    loop {
        match events.recv().await {
            Ok(event) if TOLD.contains(&event.kind) => {
                if let Err(why) = keep(&app, &event).await {
                    tracing::warn!("webhooks: {why}");
                }
            }
            Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

async fn keep(app: &App, event: &Event) -> Result<(), StoreError> {
    let body = format!(
        "{{\"event\":\"{}\",\"at\":{},\"data\":{}}}",
        event.kind,
        now().unix(),
        event.data
    );
    let mut statements = Vec::new();
    for webhook in app.store.webhooks().await? {
        let id = random_hex::<12>().unwrap_or_default();
        statements.push(Statement::new(
            "INSERT INTO deliveries (id, webhook, body, tries, next_at) VALUES ($1, $2, $3, 0, $4)",
            vec![
                id.into(),
                webhook.id.into(),
                body.as_str().into(),
                now().unix().into(),
            ],
        ));
    }
    if statements.is_empty() {
        return Ok(());
    }
    app.store.write(statements).await
}

/// Delivers what is due, until the process ends. With several replicas one delivery may be made
/// twice, never not at all.
pub async fn deliver(app: Arc<App>) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .max_redirects(0)
        .build()
        .into();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Ok(due) = app.store.deliveries(now().unix()).await else {
            continue;
        };
        if due.is_empty() {
            continue;
        }
        let Ok(webhooks) = app.store.webhooks().await else {
            continue;
        };
        for delivery in due {
            let Some(webhook) = webhooks.iter().find(|row| row.id == delivery.webhook) else {
                continue;
            };
            let (url, body) = (webhook.url.clone(), delivery.body.clone());
            let signature = signature(&webhook.secret, now().unix(), &body);
            let agent = agent.clone();
            let sent = tokio::task::spawn_blocking(move || {
                let request = agent.post(&url).header("Content-Type", "application/json");
                request
                    .header("Switchback-Signature", &signature)
                    .send(&body)
                    .is_ok()
            });
            let done = sent.await.unwrap_or(false);
            let _ = app.store.write(vec![after(&app, &delivery, done)]).await;
        }
    }
}

fn after(app: &App, delivery: &DeliveryRow, done: bool) -> Statement {
    let tries = delivery.tries + 1;
    if done {
        app.metrics.webhooks.add(1);
    } else {
        app.metrics.webhook_failures.add(1);
    }
    if done || tries >= MAX_TRIES {
        let id = delivery.id.as_str().into();
        return Statement::new("DELETE FROM deliveries WHERE id = $1", vec![id]);
    }
    // 10 s, 20 s, 40 s, … to some six hours.
    let pause = 10_i64.saturating_mul(1 << tries.clamp(0, 11));
    Statement::new(
        "UPDATE deliveries SET tries = $1, next_at = $2 WHERE id = $3",
        vec![
            tries.into(),
            (now().unix() + pause).into(),
            delivery.id.as_str().into(),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::signature;

    #[test]
    fn signed_over_time_and_body() {
        // python3 -c 'import hmac;print(hmac.new(b"key",b"7.{}","sha256").hexdigest())'
        assert_eq!(
            signature("key", 7, "{}"),
            "t=7,v1=77bc83bd1f40422311e47918b203449aecf84b02c1568bb1b570ac2a474cc2d8"
        );
    }
}
