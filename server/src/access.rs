//! Which person, or which program of theirs, asks, and what it may do.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};

use crate::api::Refusal;
use crate::app::{App, now};
use crate::proxy::Client;
use crate::secret::TokenHash;
use crate::store::PersonRow;

/// What somebody may do; each role may do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Let devices in with it, and nothing else: the token that a fleet shares.
    Enroll,
    /// Look at everything.
    Viewer,
    /// Register releases and begin rollouts: for a pipeline.
    Publisher,
    /// Steer rollouts and devices.
    Operator,
    /// Tokens, webhooks.
    Admin,
}

impl Role {
    /// The word that is kept.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Viewer => "viewer",
            Self::Publisher => "publisher",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// From the word that is kept.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [
            Self::Enroll,
            Self::Viewer,
            Self::Publisher,
            Self::Operator,
            Self::Admin,
        ]
        .into_iter()
        .find(|role| role.as_str() == text)
    }
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub struct Person {
    /// The name: stands in the audit log, and is compared when somebody else must agree.
    pub name: String,
    /// What is allowed.
    pub role: Role,
    /// Of the token.
    pub token: TokenHash,
    /// When it ends, in seconds since 1970; 0 for never.
    pub expires_at: i64,
}

impl Person {
    /// From what is kept; nothing, when the role is not known.
    #[must_use]
    pub fn from_row(row: &PersonRow) -> Option<Self> {
        Some(Self {
            name: row.name.clone(),
            role: Role::from_text(&row.role)?,
            token: TokenHash::from_text(&row.token_hash),
            expires_at: row.expires_at,
        })
    }
}

/// The token of an `Authorization` header with this scheme.
#[must_use]
pub fn token<'a>(parts: &'a Parts, scheme: &str) -> Option<&'a str> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (found, token) = value.split_once(' ')?;
    let token = token.trim();
    (found.eq_ignore_ascii_case(scheme) && (1..=256).contains(&token.len())).then_some(token)
}

/// Whoever asks, known by a token.
#[derive(Debug, Clone)]
pub struct Caller(pub Person);

impl Caller {
    /// Demands a role.
    ///
    /// # Errors
    /// It is a lesser one.
    pub fn must_be(&self, role: Role) -> Result<&str, Refusal> {
        if self.0.role >= role {
            return Ok(&self.0.name);
        }
        Err(Refusal::forbidden(format!(
            "{} is {}; this takes {}",
            self.0.name,
            self.0.role.as_str(),
            role.as_str()
        )))
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let peer = parts
            .extensions
            .get::<Client>()
            .map(|client| client.address);
        if peer.is_some_and(|peer| app.must_wait(peer)) {
            return Err(Refusal::too_many());
        }
        let found = token(parts, "Bearer").map(TokenHash::of).and_then(|given| {
            // All are looked at, whichever it is.
            let people = app.people();
            people.iter().fold(None, |found, person| {
                if person.token.admits(&given) {
                    Some(person.clone())
                } else {
                    found
                }
            })
        });
        match found {
            Some(person) if person.expires_at == 0 || person.expires_at > now().unix() => {
                Ok(Self(person))
            }
            _ => {
                if let Some(peer) = peer {
                    app.note_failure(peer);
                }
                Err(Refusal::unauthorized())
            }
        }
    }
}
