//! The loop that asks the planner and does what it says. One replica does it at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use switchback_rollout::{Attempt, DeviceFacts, Moment, Phase, Planned, plan};
use switchback_types::Timestamp;

use crate::app::{App, now, now_ms};
use crate::book::Book;
use crate::control::ControlError;
use crate::fleet::{Device, NamedLabels};
use crate::store::{Leadership, Statement, StoreError};

/// Most turns of one rollout before the others have theirs.
const TURNS: usize = 16;
/// Milliseconds of changes that are read again at each look: replicas' clocks may differ by that.
const OVERLAP_MS: i64 = 10_000;
/// A device's last word is kept when it is this many seconds older than the one before.
const HEARD_GRAIN: i64 = 60;

/// Plans until the process ends. Without the database it waits for it.
pub async fn run(app: Arc<App>) {
    let mut leadership: Option<Leadership> = None;
    loop {
        let lost = match &mut leadership {
            Some(held) => !held.holds().await,
            None => true,
        };
        if lost {
            leadership = app.store.try_lead().await.ok().flatten();
        }
        let rest = Duration::from_secs(app.settings.turn_seconds);
        if leadership.is_none() {
            // Nothing that happens here makes another one give up: each question is a new connection.
            tokio::time::sleep(rest).await;
            continue;
        }
        let started = Instant::now();
        if let Err(why) = turn(&app).await {
            tracing::error!("planner: {why}");
        }
        app.metrics.planner_turns.add(1);
        // With a large fleet a turn takes long: it never takes more than a third of a core.
        let least = (started.elapsed() * 2).max(Duration::from_millis(50));
        tokio::time::sleep(least).await;
        tokio::select! {
            () = app.wake.notified() => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// One look at all rollouts.
///
/// # Errors
/// Nothing could be kept.
pub async fn turn(app: &Arc<App>) -> Result<(), ControlError> {
    let open: Vec<Arc<str>> = {
        let book = app.book();
        // A rollout that was stopped still takes back what devices are at.
        let open = |live: &&crate::book::Live| match live.rollout.phase {
            Phase::Stopped => live.attempts.values().any(Attempt::is_in_flight),
            ref phase => !phase.is_over(),
        };
        let lives = book.rollouts.values().filter(open);
        lives.map(|live| live.id.clone()).collect()
    };
    for id in open {
        for _ in 0..TURNS {
            let asked = app.clone();
            let of = id.clone();
            let answer = tokio::task::spawn_blocking(move || ask(&asked, &of)).await;
            let Ok(Some((mut rollout, planned))) = answer else {
                break;
            };
            if let Some(live) = app.book_mut().get_mut(&id) {
                live.waiting.clone_from(&planned.waiting);
            }
            if planned.actions.is_empty() {
                break;
            }
            match app
                .act(&id, &mut rollout, &planned.actions, Vec::new())
                .await
            {
                // Somebody was faster: look again.
                Ok(()) | Err(ControlError::Store(StoreError::Conflict)) => {}
                Err(why) => return Err(why),
            }
        }
    }
    Ok(())
}

fn ask(app: &App, id: &str) -> Option<(switchback_rollout::Rollout, Planned)> {
    let moment = Moment {
        now: now(),
        listening_since: app.listening_since,
    };
    app.fleet.with_all(|devices| {
        let book = app.book();
        let live = book.get(id)?;
        let named: Vec<NamedLabels<'_>> = devices
            .iter()
            .map(|(id, device)| NamedLabels {
                id,
                labels: &device.labels,
            })
            .collect();
        let facts: Vec<DeviceFacts<'_>> = devices
            .iter()
            .zip(&named)
            .map(|((id, device), labels)| facts(&book, live.number, id, device, labels))
            .collect();
        let planned = plan(&live.rollout, &live.attempts, &facts, moment);
        Some((live.rollout.clone(), planned))
    })
}

fn facts<'a>(
    book: &Book,
    number: i64,
    id: &'a str,
    device: &'a Device,
    labels: &'a NamedLabels<'a>,
) -> DeviceFacts<'a> {
    let at_another = || {
        let others = book.rollouts.iter().filter(|(other, _)| **other != number);
        others.into_iter().any(|(other, live)| {
            live.attempts
                .get(id)
                .is_some_and(|attempt| *other > number || attempt.is_in_flight())
        })
    };
    DeviceFacts {
        id,
        labels,
        identity: (!device.identity.is_empty()).then_some(&*device.identity),
        heard_at: Timestamp::from_unix(device.heard_at.load(Ordering::Relaxed)),
        busy: device.state != crate::fleet::DeviceState::Active || at_another(),
    }
}

/// Keeps when devices were heard of last, every few seconds, until the process ends.
pub async fn save_heard(app: Arc<App>) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let mut late = Vec::new();
        app.fleet.each(|id, device| {
            let heard = device.heard_at.load(Ordering::Relaxed);
            let saved = device.saved_heard_at.load(Ordering::Relaxed);
            if heard - saved >= HEARD_GRAIN {
                late.push((id.to_owned(), heard));
            }
        });
        for part in late.chunks(1000) {
            let statement = |(id, heard): &(String, i64)| {
                Statement::new(
                    "UPDATE devices SET heard_at = $1 WHERE id = $2 AND heard_at < $1",
                    vec![(*heard).into(), id.as_str().into()],
                )
            };
            if app
                .store
                .write(part.iter().map(statement).collect())
                .await
                .is_err()
            {
                break;
            }
            for (id, heard) in part {
                app.fleet.with(id, |device| {
                    device.saved_heard_at.store(*heard, Ordering::Relaxed);
                });
            }
        }
    }
}

/// Reads what other replicas changed, every second, until the process ends.
pub async fn follow(app: Arc<App>) {
    let mut since = now_ms() - OVERLAP_MS;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = now_ms();
        if follow_once(&app, since).await.is_ok() {
            since = began - OVERLAP_MS;
        }
    }
}

async fn follow_once(app: &App, since: i64) -> Result<(), StoreError> {
    for row in app.store.devices_changed(since).await? {
        app.fleet.put(&row.id, Device::from_row(&row));
    }
    for row in app.store.rollouts_changed(since).await? {
        app.book_mut().put(&row)?;
    }
    for row in app.store.attempts_changed(since).await? {
        app.take_attempt(&row)?;
    }
    app.load_releases().await?;
    app.load_people().await
}
