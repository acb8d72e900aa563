//! Somebody at the device agrees first.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use switchback_ddi::{
    AutoConfirm, AutoConfirmRequest, Confirmation, ConfirmationBase, ConfirmationFeedback,
    ConfirmationOffer, Link,
};

use super::cbor::Said;
use super::deployment::{Asked, OfAction, content, history, release_of};
use super::{Asking, Refused, feedback, hal};
use crate::app::{App, now_ms};
use crate::control::Word;
use crate::fleet::TaskKind;

/// What can be done.
pub(super) async fn base(State(app): State<Arc<App>>, asking: Asking) -> Result<Response, Refused> {
    let row = feedback::row(&app, &asking.id).await?;
    let auto_confirm: AutoConfirm = serde_json::from_str(&row.auto_confirm).unwrap_or_default();
    let link = |path: &str| Link {
        href: format!("{}/confirmationBase/{path}", asking.base),
    };
    let word = if auto_confirm.active {
        "deactivateAutoConfirm"
    } else {
        "activateAutoConfirm"
    };
    let mut links = BTreeMap::from([(word.to_owned(), link(word))]);
    let task = app
        .fleet
        .with(&asking.id, |device| device.task.as_deref().cloned());
    if let Some(task) = task.flatten().filter(|task| task.kind == TaskKind::Confirm) {
        links.insert("confirmationBase".into(), link(&task.action.to_string()));
    }
    Ok(hal(&ConfirmationBase {
        auto_confirm,
        links,
    }))
}

/// What would be installed.
pub(super) async fn offer(
    State(app): State<Arc<App>>,
    asking: Asking,
    Path(of): Path<OfAction>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let action = of.number()?;
    app.catch_up_with(&asking.id, action).await?;
    if !app.task_is(&asking.id, action, &[TaskKind::Confirm]) {
        return Err(Refused::Missing);
    }
    let (release, _) = release_of(&app, &asking.id, action)?;
    Ok(hal(&ConfirmationOffer {
        id: action.to_string(),
        confirmation: content(&release, &asking.base),
        action_history: history(&app, &asking.id, action, asked.messages()).await?,
    }))
}

/// The answer.
pub(super) async fn feedback(
    State(app): State<Arc<App>>,
    asking: Asking,
    Path(of): Path<OfAction>,
    Said(body): Said,
) -> Result<StatusCode, Refused> {
    let action = of.number()?;
    app.catch_up_with(&asking.id, action).await?;
    let answer = ConfirmationFeedback::parse(&body)?;
    if app.book().of_action(&asking.id, action).is_none() {
        return Err(Refused::Missing);
    }
    if !app.task_is(&asking.id, action, &[TaskKind::Confirm]) {
        return Err(Refused::Gone);
    }
    let word = match answer.confirmation {
        Confirmation::Confirmed => Word::Confirmed,
        Confirmation::Denied => Word::Denied,
    };
    app.say(&asking.id, action, word, &answer.details.join("\n"))
        .await?;
    Ok(StatusCode::OK)
}

/// The device agrees to everything from now on.
pub(super) async fn activate(
    State(app): State<Arc<App>>,
    asking: Asking,
    Said(body): Said,
) -> Result<StatusCode, Refused> {
    let request = AutoConfirmRequest::parse(&body)?;
    if !feedback::row(&app, &asking.id)
        .await?
        .auto_confirm
        .is_empty()
    {
        return Ok(StatusCode::CONFLICT);
    }
    let auto_confirm = AutoConfirm {
        active: true,
        initiator: request.initiator,
        remark: request.remark,
        activated_at: Some(now_ms()),
    };
    let text = serde_json::to_string(&auto_confirm).unwrap_or_default();
    feedback::auto_confirm(&app, &asking.id, text).await?;
    Ok(StatusCode::OK)
}

/// It does no more.
pub(super) async fn deactivate(
    State(app): State<Arc<App>>,
    asking: Asking,
) -> Result<StatusCode, Refused> {
    feedback::auto_confirm(&app, &asking.id, String::new()).await?;
    Ok(StatusCode::OK)
}
