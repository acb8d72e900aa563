//! Documents of one server: asked for and sent with a token, and with no other server in between.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderValue;

use super::super::Api;
use super::client::Client;
use super::credentials::{Credentials, HttpSetupError};
use super::question::{Question, Sending};
use super::{FetchError, client, read};
use crate::settings::RepositorySettings;

/// One server that is spoken to.
pub struct HttpApi {
    client: Arc<Client>,
    stall: Duration,
}

impl std::fmt::Debug for HttpApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpApi").finish_non_exhaustive()
    }
}

impl HttpApi {
    /// Prepares connections to the server at `url`, which is reached as the repository is.
    ///
    /// # Errors
    /// The system gives no event queue.
    pub fn new(
        url: &str,
        repository: &RepositorySettings,
        credentials: &Credentials,
    ) -> Result<Self, HttpSetupError> {
        let settings = RepositorySettings {
            url: url.to_owned(),
            max_rate: None,
            ..repository.clone()
        };
        Ok(Self {
            client: client(&settings, credentials, url.starts_with("https:"))?,
            stall: settings.stall_timeout,
        })
    }
}

impl Api for HttpApi {
    /// An answer that points elsewhere is an error.
    fn send(
        &self,
        method: Method,
        url: &str,
        authorization: Option<&str>,
        body: Option<String>,
        limit: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let authorization = authorization.map(|text| {
            let mut value = HeaderValue::from_str(text).map_err(|_| FetchError::Transport {
                url: url.to_owned(),
                detail: "the token has characters that no header may have".into(),
            })?;
            value.set_sensitive(true);
            Ok(value)
        });
        let sending = Sending {
            method,
            authorization: authorization.transpose()?,
            body,
        };
        let answer = self.client.send(&Question {
            url: url.to_owned(),
            sending: Some(sending),
            ..Question::default()
        })?;
        read(answer, url, limit, self.stall)
    }
}
