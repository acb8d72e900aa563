//! Who did what. There is no way here to change or remove a line.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Ask, Problem, Refusal};
use crate::access::{Caller, Role};
use crate::app::App;

/// A line of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Line {
    /// Its name; later lines have later names.
    pub id: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// Who.
    pub who: String,
    /// What.
    pub what: String,
    /// To what, and how.
    pub detail: String,
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
pub struct Which {
    /// Only those up to this second.
    #[param(minimum = 0)]
    pub before: Option<i64>,
    /// Most in one answer.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// Who did what, the newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "people", params(Which),
    responses((status = 200, body = [Line]), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ask(which): Ask<Which>,
) -> Result<Json<Vec<Line>>, Refusal> {
    caller.must_be(Role::Viewer)?;
    let limit = i64::from(which.limit.unwrap_or(100).clamp(1, 1000));
    let rows = app
        .store
        .audit(which.before.unwrap_or(i64::MAX), limit)
        .await?;
    let lines = rows.into_iter().map(|row| Line {
        id: row.id,
        at: row.at,
        who: row.who,
        what: row.what,
        detail: row.detail,
    });
    Ok(Json(lines.collect()))
}
