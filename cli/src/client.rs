//! One method for each verb.

use std::os::fd::AsFd as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use switchback_dbus_api::{JobProxy, ManagerProxy, Options, ToJson};
use switchback_types::Timestamp;
use zbus::{Connection, OwnedObjectPath, Variant};

use crate::args::{MarkState, Wish};
use crate::exit::{self, Failure};
use crate::explain::{self, Explanation};
use crate::{health, render, style, watch};

/// How often a running job is looked at, beside its signals.
const JOB_INTERVAL: Duration = Duration::from_millis(200);

/// A connection to the daemon.
pub(crate) struct Client {
    connection: Connection,
    pub(crate) manager: ManagerProxy<'static>,
}

/// How a job ended.
struct Ended {
    done: bool,
    message: String,
}

impl Client {
    pub(crate) async fn connect() -> Result<Self, Failure> {
        let connection = Connection::system().await?;
        let manager = ManagerProxy::builder(&connection)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        Ok(Self {
            connection,
            manager,
        })
    }

    pub(crate) async fn status(&self, json: bool) -> Result<u8, Failure> {
        let status = render::Status {
            phase: self.manager.phase().await?,
            progress: self.manager.progress().await?,
            transfer: self.manager.transfer().await?,
            slots: self.manager.slots().await?,
            decision: self.manager.decision().await?,
            hold: self.manager.held().await?,
            pin: self.manager.pinned().await?,
            restart: self.manager.pending_restart().await?,
            inhibitors: self.manager.inhibitors().await?,
            failed: self.manager.failed().await?,
            last_error: self.manager.last_error().await?,
            now: now(),
        };
        print(json, &status.to_json(), || status.to_text());
        Ok(exit::OK)
    }

    pub(crate) async fn explain(&self, json: bool) -> Result<u8, Failure> {
        let explanation = Explanation {
            decision: self.manager.decision().await?,
            gates: self.manager.gates().await?,
            restart: self.manager.pending_restart().await?,
            columns: style::columns(),
        };
        let mut value = explanation.decision.to_json();
        if let Value::Object(map) = &mut value {
            map.insert("gates".into(), explanation.gates.to_json());
            map.insert("pending-restart".into(), explanation.restart.to_json());
        }
        print(json, &value, || explanation.to_text());
        Ok(exit::OK)
    }

    pub(crate) async fn offer(&self, json: bool) -> Result<u8, Failure> {
        let offer = self.manager.offer().await?;
        print(json, &offer.to_json(), || render::offer(&offer));
        Ok(match offer.version.is_empty() {
            true => exit::NOTHING_TO_DO,
            false => exit::OK,
        })
    }

    pub(crate) async fn slots(&self, json: bool) -> Result<u8, Failure> {
        let slots = self.manager.slots().await?;
        let phase = self.manager.phase().await?;
        let version = self.manager.progress().await?.version;
        print(json, &json!({ "slots": slots.to_json() }), || {
            render::slots(&slots, &phase, &version, now())
        });
        Ok(exit::OK)
    }

    /// Fails where a required check does not hold.
    pub(crate) async fn health(&self, json: bool) -> Result<u8, Failure> {
        let checks = self.manager.health().await?;
        print(json, &json!({ "health": checks.to_json() }), || {
            health::text(&checks)
        });
        let fails = checks
            .iter()
            .any(|check| check.required && check.state == "failing");
        Ok(if fails { exit::FAILED } else { exit::OK })
    }

    pub(crate) async fn history(&self, json: bool) -> Result<u8, Failure> {
        let history = self.manager.history().await?;
        print(json, &json!({ "history": history.to_json() }), || {
            render::history(&history)
        });
        Ok(exit::OK)
    }

    pub(crate) async fn check(&self, json: bool) -> Result<u8, Failure> {
        let job = self.manager.check(Options::new()).await?;
        self.wait(&job, false).await?;
        self.explain(json).await?;
        let go = self.manager.decision().await?.go;
        Ok(if go { exit::OK } else { exit::NOTHING_TO_DO })
    }

    pub(crate) async fn update(&self, wish: &Wish, json: bool) -> Result<u8, Failure> {
        let options = wish_options(wish);
        let job = self.manager.install(options).await?;
        self.installed(&job, json).await
    }

    pub(crate) async fn install(
        &self,
        bundle: &str,
        wish: &Wish,
        json: bool,
    ) -> Result<u8, Failure> {
        let options = wish_options(wish);
        let is_url = bundle.starts_with("https://") || bundle.starts_with("http://");
        let job = if is_url {
            self.manager.install_url(bundle, options).await?
        } else {
            // Opened here: the daemon need not see, or be allowed, what this user may.
            let file = std::fs::File::open(bundle).map_err(|error| {
                Failure::new(exit::FAILED, format!("{bundle}: cannot be opened: {error}"))
            })?;
            self.manager
                .install_file(file.as_fd().into(), bundle, options)
                .await?
        };
        self.installed(&job, json).await
    }

    /// How an install ended, and whether there was one at all.
    async fn installed(&self, job: &OwnedObjectPath, json: bool) -> Result<u8, Failure> {
        let ended = self.wait(job, !json).await?;
        let decision = self.manager.decision().await?;
        if !ended.done && !decision.go {
            let text = format!("{}; `switchback explain` shows every answer", ended.message);
            return Err(Failure::new(exit::FAILED, text));
        }
        finish(json, &ended)?;
        Ok(if decision.go {
            exit::OK
        } else {
            exit::NOTHING_TO_DO
        })
    }

    pub(crate) async fn rollback(&self, reason: Option<&str>, json: bool) -> Result<u8, Failure> {
        let mut options = Options::new();
        if let Some(reason) = reason {
            options.insert("reason", Variant::from(reason));
        }
        let job = self.manager.roll_back(options).await?;
        let ended = self.wait(&job, !json).await?;
        finish(json, &ended)?;
        Ok(exit::OK)
    }

    pub(crate) async fn repair(&self, json: bool) -> Result<u8, Failure> {
        let job = self.manager.repair(Options::new()).await?;
        let ended = self.wait(&job, !json).await?;
        finish(json, &ended)?;
        Ok(exit::OK)
    }

    pub(crate) async fn hold(
        &self,
        reason: &str,
        until: Option<&str>,
        json: bool,
    ) -> Result<u8, Failure> {
        let until = until.map(|text| explain::moment(text, now())).transpose();
        let until = until.map_err(|message| Failure::new(exit::USAGE, message))?;
        let mut options = Options::new();
        if let Some(until) = &until {
            options.insert("until", Variant::from(until.as_str()));
        }
        self.manager.hold(reason, options).await?;
        let end = until.map(|until| format!(" until {until}"));
        let end = end.unwrap_or_default();
        done(
            json,
            &format!("held{end}; `switchback unhold` lets updates go on"),
        );
        Ok(exit::OK)
    }

    pub(crate) async fn pin(
        &self,
        version: Option<&str>,
        reason: &str,
        json: bool,
    ) -> Result<u8, Failure> {
        let options = Options::from([("reason", Variant::from(reason))]);
        self.manager
            .pin(version.unwrap_or_default(), options)
            .await?;
        let pinned = self.manager.pinned().await?.version;
        done(
            json,
            &format!("pinned to version {pinned}; `switchback unpin` lets other versions come"),
        );
        Ok(exit::OK)
    }

    pub(crate) async fn unpin(&self, json: bool) -> Result<u8, Failure> {
        self.manager.unpin(Options::new()).await?;
        done(json, "any version may come; the repository is asked now");
        Ok(exit::OK)
    }

    pub(crate) async fn approve(&self, version: Option<&str>, json: bool) -> Result<u8, Failure> {
        let version = version.unwrap_or_default();
        self.manager.approve(version, Options::new()).await?;
        let offered = self.manager.offer().await?.version;
        done(json, &format!("version {offered} is approved"));
        Ok(exit::OK)
    }

    pub(crate) async fn unhold(&self, json: bool) -> Result<u8, Failure> {
        self.manager.release(Options::new()).await?;
        done(json, "updates go on; the repository is asked now");
        Ok(exit::OK)
    }

    pub(crate) async fn cancel(&self, json: bool) -> Result<u8, Failure> {
        self.manager.cancel(Options::new()).await?;
        done(json, "called off");
        Ok(exit::OK)
    }

    pub(crate) async fn mark(&self, state: MarkState, json: bool) -> Result<u8, Failure> {
        match state {
            MarkState::Good => {
                self.manager.mark_good(Options::new()).await?;
                done(json, "the booted slot is marked good");
            }
            MarkState::Bad => {
                self.manager.mark_bad(Options::new()).await?;
                done(json, "the other slot is marked bad: it is not started");
            }
        }
        Ok(exit::OK)
    }

    pub(crate) async fn restart(&self, json: bool) -> Result<u8, Failure> {
        self.manager.restart(Options::new()).await?;
        done(json, "restarting into the armed slot");
        Ok(exit::OK)
    }

    /// Waits for a job's end, with its progress on a terminal.
    async fn wait(&self, job: &OwnedObjectPath, show: bool) -> Result<Ended, Failure> {
        let proxy = JobProxy::builder(&self.connection)
            .path(job.clone())
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        let mut bar = watch::Bar::new(show);
        loop {
            let state = proxy.state().await?;
            if state != "running" {
                bar.finish();
                return Ok(Ended {
                    done: state == "done",
                    message: proxy.message().await?,
                });
            }
            if show {
                bar.show(&self.manager.progress().await?);
            }
            tokio::time::sleep(JOB_INTERVAL).await;
        }
    }
}

fn wish_options(wish: &Wish) -> Options<'_> {
    let retry = wish.retry.then(|| ("retry", Variant::from(true)));
    let reason = wish.overriding.as_deref();
    let overriding = reason.map(|reason| ("override", Variant::from(reason)));
    retry.into_iter().chain(overriding).collect()
}

/// The clock's time.
fn now() -> Timestamp {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Timestamp::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn finish(json: bool, ended: &Ended) -> Result<(), Failure> {
    if ended.done {
        done(json, &ended.message);
        return Ok(());
    }
    Err(Failure::new(exit::FAILED, ended.message.as_str()))
}

fn done(json: bool, message: &str) {
    print(json, &json!({ "message": message }), || {
        format!("{message}\n")
    });
}

/// Prints one or the other; the JSON with its schema number first.
pub(crate) fn print(as_json: bool, value: &Value, text: impl FnOnce() -> String) {
    if !as_json {
        print!("{}", text());
        return;
    }
    let mut map = serde_json::Map::new();
    map.insert("schema".into(), 1.into());
    if let Value::Object(fields) = value {
        map.extend(fields.clone());
    }
    println!("{:#}", Value::Object(map));
}
