//! What a device is to install, to stop, or has installed.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use switchback_ddi::{
    ActionHistory, Artifact, ArtifactLinks, CancelAction, Cancellation, Chunk, Deployment,
    DeploymentBase, Handling, Hashes, Link, Metadata,
};
use switchback_rollout::Outcome;

use super::{Asking, Refused, hal};
use crate::app::App;
use crate::control::Word;
use crate::fleet::TaskKind;
use crate::releases::{File, Release};

/// The last part of an address.
#[derive(Debug, Deserialize)]
pub(super) struct OfAction {
    action: String,
}

impl OfAction {
    /// The action; no action has a name that is no number.
    pub(super) fn number(&self) -> Result<i64, Refused> {
        self.action.parse().map_err(|_| Refused::Missing)
    }
}

/// What a device may ask beside it.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(rename = "actionHistory")]
    action_history: Option<i64>,
}

impl Asked {
    pub(super) fn messages(&self) -> i64 {
        self.action_history.unwrap_or(0).clamp(0, 100)
    }
}

/// What to install. From here on the device counts as reached.
pub(super) async fn deployment(
    State(app): State<Arc<App>>,
    asking: Asking,
    Path(of): Path<OfAction>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let action = of.number()?;
    app.catch_up_with(&asking.id, action).await?;
    if !app.task_is(&asking.id, action, &[TaskKind::Install, TaskKind::Back]) {
        return Err(Refused::Missing);
    }
    app.say(&asking.id, action, Word::Taken, "").await?;
    let (release, _) = release_of(&app, &asking.id, action)?;
    told(&app, &asking, action, &asked, &release).await
}

/// What a device installed last.
pub(super) async fn installed(
    State(app): State<Arc<App>>,
    asking: Asking,
    Path(of): Path<OfAction>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let action = of.number()?;
    app.catch_up_with(&asking.id, action).await?;
    let (release, outcome) = release_of(&app, &asking.id, action)?;
    if outcome == Outcome::Pending {
        return Err(Refused::Missing);
    }
    told(&app, &asking, action, &asked, &release).await
}

async fn told(
    app: &App,
    asking: &Asking,
    action: i64,
    asked: &Asked,
    release: &Release,
) -> Result<Response, Refused> {
    Ok(hal(&DeploymentBase {
        id: action.to_string(),
        deployment: content(release, &asking.base),
        action_history: history(app, &asking.id, action, asked.messages()).await?,
    }))
}

/// What to stop.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    asking: Asking,
    Path(of): Path<OfAction>,
) -> Result<Response, Refused> {
    let action = of.number()?;
    app.catch_up_with(&asking.id, action).await?;
    if !app.task_is(&asking.id, action, &[TaskKind::Cancel]) {
        return Err(Refused::Missing);
    }
    Ok(hal(&CancelAction {
        id: action.to_string(),
        cancel_action: Cancellation {
            stop_id: action.to_string(),
        },
    }))
}

/// The release that an action is about, and how far the device is with it.
pub(super) fn release_of(
    app: &App,
    device: &str,
    action: i64,
) -> Result<(Arc<Release>, Outcome), Refused> {
    let (name, previous, outcome) = {
        let book = app.book();
        let (live, is_back) = book.of_action(device, action).ok_or(Refused::Missing)?;
        let attempt = live.attempts.get(device).ok_or(Refused::Missing)?;
        let previous = if is_back {
            attempt.previous.clone()
        } else {
            None
        };
        let name = live.rollout.definition.target.release.clone();
        (name, previous, attempt.outcome)
    };
    let release = match previous {
        Some(identity) => app.release_by_identity(&identity),
        None => app.releases().get(&name).cloned(),
    };
    Ok((release.ok_or(Refused::Missing)?, outcome))
}

/// What was said of an action before, where the device asks.
pub(super) async fn history(
    app: &App,
    device: &str,
    action: i64,
    most: i64,
) -> Result<Option<ActionHistory>, Refused> {
    if most == 0 {
        return Ok(None);
    }
    let rows = app.store.messages_of(device, action, most).await?;
    Ok(Some(ActionHistory {
        status: "RUNNING".into(),
        messages: rows.into_iter().map(|row| row.text).collect(),
    }))
}

/// A release as DDI says it.
pub(super) fn content(release: &Release, base: &str) -> Deployment {
    let module = &release.name.replace('/', ":");
    let artifact = |file: &File| {
        let own = || {
            format!(
                "{base}/softwaremodules/{module}/artifacts/{}",
                file.filename
            )
        };
        let href = file.url.clone().unwrap_or_else(own);
        let md5sum = (file.url.is_none() && !file.md5.is_empty()).then(|| Link {
            href: format!("{href}.MD5SUM"),
        });
        let link = Some(Link { href });
        Artifact {
            filename: file.filename.clone(),
            size: file.size,
            hashes: Hashes {
                sha1: file.sha1.clone(),
                md5: file.md5.clone(),
                sha256: file.sha256.clone(),
            },
            // Some clients look for one of the two, some for the other.
            links: ArtifactLinks {
                download: link.clone(),
                download_http: link,
                md5sum: md5sum.clone(),
                md5sum_http: md5sum,
            },
        }
    };
    let pair = |key: &str, value: String| Metadata {
        key: key.to_owned(),
        value,
    };
    let mut metadata = vec![pair("switchback.identity", release.identity.clone())];
    if let Some(sequence) = release.sequence {
        metadata.push(pair("switchback.sequence", sequence.to_string()));
    }
    Deployment {
        download: Handling::Forced,
        update: Handling::Forced,
        maintenance_window: None,
        chunks: vec![Chunk {
            part: "os".into(),
            version: release.version.clone(),
            name: release.product.clone(),
            artifacts: release.files.iter().map(artifact).collect(),
            metadata,
        }],
    }
}
