//! What devices say.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use switchback_ddi::{
    ATTRIBUTE_IMAGE, ATTRIBUTE_VERSION, CancelMeaning, ConfigData, Feedback, Meaning,
};
use switchback_rollout::Outcome;

use super::cbor::Said;
use super::deployment::OfAction;
use super::{Asking, Refused, hal};
use crate::app::{App, now_ms};
use crate::control::{Word, message};
use crate::fleet::Device;
use crate::secret::{TokenHash, new_token};
use crate::store::{DeviceRow, Statement, StoreError};

/// Attributes that say what a device runs, the best first.
const IDENTITIES: [&str; 5] = [
    ATTRIBUTE_IMAGE,
    ATTRIBUTE_VERSION,
    "version",
    "sw_version",
    "softwareVersion",
];

/// How an action goes.
pub(super) async fn deployment(
    State(app): State<Arc<App>>,
    asking: Asking,
    Path(of): Path<OfAction>,
    Said(body): Said,
) -> Result<StatusCode, Refused> {
    let action = of.number()?;
    app.catch_up_with(&asking.id, action).await?;
    let feedback = Feedback::parse(&body)?;
    app.metrics.feedback.add(1);
    let word = match feedback.meaning() {
        Meaning::Proceeding | Meaning::Downloading | Meaning::Downloaded | Meaning::Rejected => {
            Word::Proceeding
        }
        Meaning::Succeeded => Word::Claims,
        Meaning::Failed => Word::Failed,
        Meaning::RolledBack => Word::RolledBack,
        Meaning::Cancelled => Word::Cancelled,
    };
    check_open(&app, &asking.id, action, word)?;
    app.say(&asking.id, action, word, &text(&feedback)).await?;
    Ok(StatusCode::OK)
}

/// What ended takes no more words, but for the one that it ended with: its answer may have been
/// lost. After a success a device may still say that it went back.
fn check_open(app: &App, device: &str, action: i64, word: Word) -> Result<(), Refused> {
    let book = app.book();
    let (live, is_back) = book.of_action(device, action).ok_or(Refused::Missing)?;
    let outcome = live.attempts.get(device).ok_or(Refused::Missing)?.outcome;
    let allowed = is_back
        || match outcome {
            Outcome::Pending | Outcome::Silent => true,
            Outcome::Succeeded => matches!(word, Word::Claims | Word::RolledBack),
            Outcome::Failed => word == Word::Failed,
            Outcome::RolledBack => word == Word::RolledBack,
            Outcome::Cancelled => word == Word::Cancelled,
        };
    if allowed { Ok(()) } else { Err(Refused::Gone) }
}

fn text(feedback: &Feedback) -> String {
    let mut text = feedback.details.join("\n");
    if let Some(progress) = feedback.progress {
        text = format!("[{}/{}] {text}", progress.done, progress.of);
    }
    if let Some(code) = feedback.code {
        text = format!("({code}) {text}");
    }
    text
}

/// How a cancellation goes.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    asking: Asking,
    Path(of): Path<OfAction>,
    Said(body): Said,
) -> Result<StatusCode, Refused> {
    let action = of.number()?;
    app.catch_up_with(&asking.id, action).await?;
    let feedback = Feedback::parse(&body)?;
    let word = match feedback.cancel_meaning() {
        CancelMeaning::Accepted => Word::Cancelled,
        CancelMeaning::Refused => Word::CancelRefused,
        CancelMeaning::Pending => Word::Proceeding,
    };
    if app.book().of_action(&asking.id, action).is_none() {
        return Err(Refused::Missing);
    }
    app.say(&asking.id, action, word, &text(&feedback)).await?;
    Ok(StatusCode::OK)
}

/// What a device says of itself.
pub(super) async fn config_data(
    State(app): State<Arc<App>>,
    asking: Asking,
    Said(body): Said,
) -> Result<StatusCode, Refused> {
    let config = ConfigData::parse(&body)?;
    let row = row(&app, &asking.id).await?;
    let mut attributes: BTreeMap<String, String> =
        serde_json::from_str(&row.attributes).unwrap_or_default();
    config.apply(&mut attributes)?;
    let identity = IDENTITIES.iter().find_map(|name| attributes.get(*name));
    let identity = identity.cloned().unwrap_or_default();
    let fresh = DeviceRow {
        attributes: serde_json::to_string(&attributes).unwrap_or_default(),
        identity,
        ..row
    };
    keep(&app, &fresh).await?;
    app.runs(&asking.id).await?;
    Ok(StatusCode::OK)
}

/// A device says what it has already.
pub(super) async fn installed(
    State(app): State<Arc<App>>,
    asking: Asking,
    Said(body): Said,
) -> Result<StatusCode, Refused> {
    #[derive(serde::Deserialize)]
    struct Installed {
        name: String,
        version: String,
    }
    let Ok(installed) = serde_json::from_slice::<Installed>(&body) else {
        return Ok(StatusCode::BAD_REQUEST);
    };
    let identity = {
        let releases = app.releases();
        let mut all = releases.values();
        let found = all.find(|r| r.product == installed.name && r.version == installed.version);
        found.ok_or(Refused::Missing)?.identity.clone()
    };
    let row = row(&app, &asking.id).await?;
    if row.identity == identity {
        return Ok(StatusCode::OK);
    }
    keep(&app, &DeviceRow { identity, ..row }).await?;
    app.runs(&asking.id).await?;
    Ok(StatusCode::CREATED)
}

/// A device wants another token. The old one holds until the new one is used.
pub(super) async fn rotate(
    State(app): State<Arc<App>>,
    asking: Asking,
) -> Result<Response, Refused> {
    let (token, hash) = new_token().map_err(|_| Refused::Unavailable)?;
    change(&app, &asking.id, |row| row.next_token_hash = hash.to_text()).await?;
    Ok(hal(&serde_json::json!({ "token": token })))
}

/// The new token was used: the old one holds no more.
pub(super) async fn settle(app: &App, device: &str) -> Result<(), Refused> {
    let mut row = row(app, device).await?;
    if TokenHash::from_text(&row.next_token_hash) == TokenHash::NONE {
        return Ok(());
    }
    row.token_hash = std::mem::take(&mut row.next_token_hash);
    Ok(keep(app, &row).await?)
}

/// Whether a device agrees to everything.
pub(super) async fn auto_confirm(app: &App, device: &str, who: String) -> Result<(), Refused> {
    let log = message(device, 0, "auto-confirm", &who);
    change(app, device, |row| row.auto_confirm = who).await?;
    app.refresh_task(device);
    app.store.write(vec![log]).await?;
    Ok(())
}

pub(super) async fn row(app: &App, device: &str) -> Result<DeviceRow, Refused> {
    app.store
        .device(device)
        .await?
        .pop()
        .ok_or(Refused::Missing)
}

/// Changes what is kept of a device.
async fn change(app: &App, device: &str, how: impl FnOnce(&mut DeviceRow)) -> Result<(), Refused> {
    let mut row = row(app, device).await?;
    how(&mut row);
    Ok(keep(app, &row).await?)
}

/// Keeps a device, then remembers it.
pub(crate) async fn keep(app: &App, row: &DeviceRow) -> Result<(), StoreError> {
    let statement = Statement::new(
        "UPDATE devices SET state = $1, token_hash = $2, next_token_hash = $3, attributes = $4, \
         labels = $5, identity = $6, auto_confirm = $7, changed = $8 WHERE id = $9",
        vec![
            row.state.as_str().into(),
            row.token_hash.as_str().into(),
            row.next_token_hash.as_str().into(),
            row.attributes.as_str().into(),
            row.labels.as_str().into(),
            row.identity.as_str().into(),
            row.auto_confirm.as_str().into(),
            now_ms().into(),
            row.id.as_str().into(),
        ],
    )
    .of_one_row();
    app.store.write(vec![statement]).await?;
    app.fleet.put(&row.id, Device::from_row(row));
    Ok(())
}
