//! Who has a token, and whom the server tells.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Body, Part, Problem, Refusal};
use crate::access::{Caller, Role};
use crate::app::{App, now};
use crate::secret;
use crate::store::{Statement, StoreError};

/// Somebody with a token.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonShown {
    /// The name.
    pub name: String,
    /// What is allowed.
    pub role: Role,
    /// When the token ends, in seconds since 1970; 0 for never.
    pub expires_at: i64,
}

/// A token to give out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Whom it is for.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_.@-]+$")]
    pub name: String,
    /// What is allowed.
    pub role: Role,
    /// Days until it ends; never, when not given.
    #[serde(default)]
    pub days: Option<u32>,
}

/// A token that was given out.
#[derive(Debug, Serialize, ToSchema)]
pub struct Given {
    /// Whom it is for.
    pub name: String,
    /// The token: shown once, kept as a digest.
    pub token: String,
}

/// Who asks.
#[utoipa::path(get, path = "/api/v1/me", tag = "people",
    responses((status = 200, body = PersonShown), (status = 401, body = Problem)))]
pub async fn me(caller: Caller) -> Json<PersonShown> {
    let person = caller.0;
    Json(PersonShown {
        name: person.name,
        role: person.role,
        expires_at: person.expires_at,
    })
}

/// Everybody with a token.
#[utoipa::path(get, path = "/api/v1/people", tag = "people",
    responses((status = 200, body = [PersonShown]), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Vec<PersonShown>>, Refusal> {
    caller.must_be(Role::Admin)?;
    let people = app.people();
    let shown = people.iter().map(|person| PersonShown {
        name: person.name.clone(),
        role: person.role,
        expires_at: person.expires_at,
    });
    Ok(Json(shown.collect()))
}

/// Gives out a token.
#[utoipa::path(post, path = "/api/v1/people", tag = "people", request_body = NewToken,
    responses((status = 200, body = Given), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 409, body = Problem)))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewToken>,
) -> Result<Json<Given>, Refusal> {
    let who = caller.must_be(Role::Admin)?;
    let token = give(&app, &new, who).await?;
    Ok(Json(Given {
        name: new.name,
        token,
    }))
}

/// Keeps a new token and returns it.
///
/// # Errors
/// The name is wrong or taken, or nothing could be kept.
pub async fn give(app: &App, new: &NewToken, who: &str) -> Result<String, Refusal> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if !(1..=64).contains(&new.name.len()) || !new.name.chars().all(good) {
        return Err(Refusal::bad(
            "name: 1 to 64 letters, digits and -_.@ are allowed",
        ));
    }
    let (token, hash) = secret::new_token().map_err(|why| Refusal::conflict(why.to_string()))?;
    let ends = new
        .days
        .map_or(0, |days| now().unix() + i64::from(days) * 86_400);
    let statement = Statement::new(
        "INSERT INTO people (name, role, token_hash, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING",
        vec![
            new.name.as_str().into(),
            new.role.as_str().into(),
            hash.to_text().into(),
            now().unix().into(),
            ends.into(),
        ],
    );
    let log = App::audit(
        who,
        "people.create",
        format!("{} {}", new.name, new.role.as_str()),
    );
    match app.store.write(vec![statement.of_one_row(), log]).await {
        Ok(()) => {}
        Err(StoreError::Conflict) => return Err(Refusal::conflict("that name has a token")),
        Err(why) => return Err(why.into()),
    }
    app.load_people().await?;
    Ok(token)
}

/// Takes a token back.
#[utoipa::path(delete, path = "/api/v1/people/{name}", tag = "people", params(("name" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(name): Part<String>,
) -> Result<StatusCode, Refusal> {
    let who = caller.must_be(Role::Admin)?;
    if name == who {
        return Err(Refusal::conflict(
            "nobody takes away the own token: somebody must stay",
        ));
    }
    let log = App::audit(who, "people.delete", name.clone());
    let statement = Statement::new("DELETE FROM people WHERE name = $1", vec![name.into()]);
    match app.store.write(vec![statement.of_one_row(), log]).await {
        Ok(()) => {}
        Err(StoreError::Conflict) => return Err(Refusal::missing("name")),
        Err(why) => return Err(why.into()),
    }
    app.load_people().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whom to tell.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where: `https://…` or `http://…`.
    #[schema(max_length = 1024)]
    pub url: String,
}

/// Who is told.
#[derive(Debug, Serialize, ToSchema)]
pub struct Webhook {
    /// Its name.
    pub id: String,
    /// Where.
    pub url: String,
    /// What the signature is made with: shown once, when it is new.
    pub secret: Option<String>,
}

/// Who is told.
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "people",
    responses((status = 200, body = [Webhook]), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn webhooks(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<Vec<Webhook>>, Refusal> {
    caller.must_be(Role::Admin)?;
    let rows = app.store.webhooks().await?;
    let shown = rows.into_iter().map(|row| Webhook {
        id: row.id,
        url: row.url,
        secret: None,
    });
    Ok(Json(shown.collect()))
}

/// Tells one more.
#[utoipa::path(post, path = "/api/v1/webhooks", tag = "people", request_body = NewWebhook,
    responses((status = 200, body = Webhook), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem)))]
pub async fn add_webhook(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewWebhook>,
) -> Result<Json<Webhook>, Refusal> {
    let who = caller.must_be(Role::Admin)?;
    let known = ["https://", "http://"]
        .iter()
        .any(|scheme| new.url.starts_with(scheme));
    if !known || new.url.len() > 1024 {
        return Err(Refusal::bad(
            "url: https://… or http://…, at most 1024 bytes",
        ));
    }
    let chance = |why: secret::NoChance| Refusal::conflict(why.to_string());
    let id = secret::random_hex::<8>().map_err(chance)?;
    let key = secret::random_hex::<32>().map_err(chance)?;
    let statement = Statement::new(
        "INSERT INTO webhooks (id, url, secret) VALUES ($1, $2, $3)",
        vec![
            id.as_str().into(),
            new.url.as_str().into(),
            key.as_str().into(),
        ],
    );
    let log = App::audit(who, "webhook.create", new.url.clone());
    app.store.write(vec![statement, log]).await?;
    Ok(Json(Webhook {
        id,
        url: new.url,
        secret: Some(key),
    }))
}

/// Tells one less.
#[utoipa::path(delete, path = "/api/v1/webhooks/{id}", tag = "people", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
pub async fn remove_webhook(
    State(app): State<Arc<App>>,
    caller: Caller,
    Part(id): Part<String>,
) -> Result<StatusCode, Refusal> {
    let who = caller.must_be(Role::Admin)?;
    let log = App::audit(who, "webhook.delete", id.clone());
    let statement = Statement::new(
        "DELETE FROM webhooks WHERE id = $1",
        vec![id.as_str().into()],
    )
    .of_one_row();
    let rest = Statement::new("DELETE FROM deliveries WHERE webhook = $1", vec![id.into()]);
    match app.store.write(vec![statement, rest, log]).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(StoreError::Conflict) => Err(Refusal::missing("webhook")),
        Err(why) => Err(why.into()),
    }
}
