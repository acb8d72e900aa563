//! A person at the server's API.

use hyper::Method;
use serde_json::{Value, json};
use switchbackd::fetch::{Api as _, Credentials, FetchError, HttpApi, HttpSetupError};

use super::crowd::connection;
use super::{NEXT, PRODUCT, image};

/// Most bytes of an answer.
const LIMIT: u64 = 64 << 20;

/// A person with a token.
#[derive(Debug)]
pub struct Person {
    api: HttpApi,
    pub base: String,
    pub token: String,
}

impl Person {
    /// One at the server at `base`.
    ///
    /// # Errors
    /// The system gives no event queue.
    pub fn new(base: &str, token: &str) -> Result<Self, HttpSetupError> {
        Ok(Self {
            api: HttpApi::new(base, &connection(base), &Credentials::none())?,
            base: base.to_owned(),
            token: token.to_owned(),
        })
    }

    /// One question.
    ///
    /// # Errors
    /// The server says no, or nothing.
    pub fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, FetchError> {
        let url = format!("{}{path}", self.base);
        let who = format!("Bearer {}", self.token);
        let body = body.map(Value::to_string);
        let answer = self.api.send(method, &url, Some(&who), body, LIMIT)?;
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }

    /// # Errors
    /// As [`Self::ask`].
    pub fn get(&self, path: &str) -> Result<Value, FetchError> {
        self.ask(Method::GET, path, None)
    }

    /// # Errors
    /// As [`Self::ask`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, FetchError> {
        self.ask(Method::POST, path, Some(body))
    }

    /// Names a version to the server.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn register(&self, version: u8) -> Result<(), FetchError> {
        let image = image(version);
        let digest = image.sha256.to_string();
        let file = json!({"filename": "image", "size": image.size, "sha256": digest, "url": "http://127.0.0.1:9/image"});
        let release = json!({"product": PRODUCT, "version": image.version.to_string(),
            "identity": digest, "files": [file]});
        self.post("/api/v1/releases", &release).map(drop)
    }

    /// Begins a rollout of [`NEXT`]; gives its name.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn roll_out(&self, more: &Value) -> Result<String, FetchError> {
        let mut wanted = json!({"name": "spring", "release": format!("{PRODUCT}/{NEXT}")});
        if let (Some(wanted), Some(more)) = (wanted.as_object_mut(), more.as_object()) {
            wanted.extend(more.clone());
        }
        let begun = self.post("/api/v1/rollouts", &wanted)?;
        Ok(text(&begun, "/id").to_owned())
    }
}

/// A text in an answer, by its place; empty where there is none.
#[must_use]
pub fn text<'a>(answer: &'a Value, place: &str) -> &'a str {
    answer
        .pointer(place)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
