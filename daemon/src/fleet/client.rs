//! The requests of one turn. It runs where nothing can be harmed: what the server sends is read here.
//!
//! Addresses are made from the one that the server is known by, and from names of actions: a link leads nowhere else.

use std::collections::BTreeMap;

use hyper::Method;
use serde::de::DeserializeOwned;
use switchback_ddi::{
    CancelAction, ConfigData, ConfirmationOffer, Deployment, DeploymentBase, Handling, Link,
    MAX_BODY_BYTES, MaintenanceWindow, Mode, Poll, read_sleep,
};

use super::{About, Access, Report, Secret, Stop, Turn, Wanted, Word};
use crate::fetch::{Api, FetchError};

/// Most bytes of an answer.
const MOST_ANSWER: u64 = MAX_BODY_BYTES as u64;
/// Most characters of a token.
const MAX_TOKEN: usize = 4096;
/// Most characters of what the server calls a release.
const MOST_NAME: usize = 128;

/// Whether a text can be a token.
#[must_use]
pub fn is_token(text: &str) -> bool {
    (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Speaks DDI.
#[derive(Debug)]
pub struct Client<'a, A> {
    api: &'a A,
    base: String,
    access: &'a Access,
    authorization: Option<Secret>,
}

impl<'a, A: Api> Client<'a, A> {
    /// With the server that `access` names.
    pub fn new(api: &'a A, access: &'a Access) -> Self {
        let Access {
            url, tenant, id, ..
        } = access;
        Self {
            api,
            base: format!("{url}/{tenant}/controller/v1/{id}"),
            access,
            authorization: access.authorization.clone(),
        }
    }

    /// One exchange. What was told already when it fails is told again with the next one.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or says what is no DDI.
    pub fn turn(&mut self, turn: &Turn) -> Result<Word, FetchError> {
        let mut word = Word {
            token: self.enroll()?,
            ..Word::default()
        };
        if let Some(attributes) = turn.attributes.as_ref().filter(|_| turn.attributes_new) {
            self.tell_attributes(attributes)?;
            word.attributes_told = true;
        }
        for report in &turn.reports {
            self.report(report)?;
            word.told += 1;
        }
        let poll: Poll = self.ask(&self.base)?;
        word.sleep = read_sleep(&poll.config.polling.sleep);
        let links = &poll.links;
        if let Some(attributes) = turn.attributes.as_ref()
            && links.config_data.is_some()
            && !word.attributes_told
        {
            self.tell_attributes(attributes)?;
            word.attributes_told = true;
        }
        if let Some(link) = &links.cancel_action {
            let (cancellation, url) = self.place(link, "cancelAction")?;
            let cancel: CancelAction = self.ask(&url)?;
            word.stop = Some(Stop {
                cancellation,
                action: short(&cancel.cancel_action.stop_id),
            });
        } else if let Some(link) = &links.deployment_base {
            let (action, url) = self.place(link, "deploymentBase")?;
            let base: DeploymentBase = self.ask(&url)?;
            word.wanted = Some(wanted(action, &base.deployment, false));
        } else if let Some(link) = &links.confirmation_base {
            let (action, url) = self.place(link, "confirmationBase")?;
            let offer: ConfirmationOffer = self.ask(&url)?;
            word.wanted = Some(wanted(action, &offer.confirmation, true));
        }
        Ok(word)
    }

    /// Exchanges the fleet's token for one of this device's, where there is none yet.
    fn enroll(&mut self) -> Result<Option<Secret>, FetchError> {
        #[derive(serde::Deserialize)]
        struct Enrolled {
            token: String,
        }
        let (None, Some(fleet)) = (&self.authorization, &self.access.enroll) else {
            return Ok(None);
        };
        let url = format!("{}/api/v1/enroll", self.access.url);
        let id = &self.access.id;
        let body = match &self.access.proposed {
            Some(token) => serde_json::json!({ "id": id, "token": token }),
            None => serde_json::json!({ "id": id }),
        };
        let body = body.to_string();
        let bearer = format!("Bearer {}", fleet.0);
        let (who, body) = (Some(bearer.as_str()), Some(body));
        let sent = self.api.send(Method::POST, &url, who, body, MOST_ANSWER);
        let answer = sent.map_err(|error| match error {
            FetchError::Status { status: 409, .. } => FetchError::Transport {
                url: url.clone(),
                detail: format!(
                    "a device named {} is there already: give this one its token in `fleet.token-file`, or another \
                     name in `fleet.id`",
                    self.access.id
                ),
            },
            error => error,
        })?;
        let Enrolled { token } = read(&url, &answer)?;
        if !is_token(&token) {
            let detail = "gives a token that is none".into();
            return Err(FetchError::Transport { url, detail });
        }
        self.authorization = Some(Secret(format!("TargetToken {token}")));
        Ok(Some(Secret(token)))
    }

    fn report(&self, report: &Report) -> Result<(), FetchError> {
        let kind = match report.about {
            About::Deployment => "deploymentBase",
            About::Cancellation => "cancelAction",
            About::Confirmation => "confirmationBase",
        };
        let url = format!("{}/{kind}/{}/feedback", self.base, report.action);
        let sent = self.send(Method::POST, &url, Some(report.body.clone()));
        match sent.map(drop) {
            // It knows of no such action any more, or has heard its end: there is nobody to tell.
            Err(
                FetchError::Missing { .. }
                | FetchError::Status {
                    status: 400 | 409 | 422,
                    ..
                },
            ) => Ok(()),
            sent => sent,
        }
    }

    fn tell_attributes(&self, attributes: &BTreeMap<String, String>) -> Result<(), FetchError> {
        let config = ConfigData {
            // What the device does not say any more is not true any more.
            mode: Mode::Replace,
            data: attributes.clone(),
        };
        let url = format!("{}/configData", self.base);
        self.send(Method::PUT, &url, Some(config.to_json()))
            .map(drop)
    }

    fn send(&self, method: Method, url: &str, body: Option<String>) -> Result<Vec<u8>, FetchError> {
        let who = self.authorization.as_ref();
        let who = who.map(|Secret(text)| text.as_str());
        let sent = self.api.send(method, url, who, body, MOST_ANSWER);
        sent.map_err(|error| self.explained(error))
    }

    fn ask<T: DeserializeOwned>(&self, url: &str) -> Result<T, FetchError> {
        read(url, &self.send(Method::GET, url, None)?)
    }

    /// The way out, where a person has to find one.
    fn explained(&self, error: FetchError) -> FetchError {
        let detail = match &error {
            FetchError::Status { status: 401, .. } if self.authorization.is_none() => {
                "the server wants to know who asks: set `fleet.token-file`, `fleet.enroll-token-file`, or a certificate in \
                 `repository.client-certificate`"
            }
            FetchError::Status { status: 401, .. } => {
                "the server does not know this device by its token: see `fleet.id` and `fleet.token-file`"
            }
            FetchError::Status { status: 403, .. } => {
                "the server does not let this device in: a person must approve it there"
            }
            _ => return error,
        };
        FetchError::Transport {
            url: self.base.clone(),
            detail: detail.into(),
        }
    }

    /// The action that a link names, and where it is asked for.
    fn place(&self, link: &Link, kind: &str) -> Result<(String, String), FetchError> {
        let (action, query) = link.action(kind).ok_or_else(|| FetchError::Transport {
            url: self.base.clone(),
            detail: format!("names no action in {}", short(&link.href)),
        })?;
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let url = format!("{}/{kind}/{action}{query}", self.base);
        Ok((action.to_owned(), url))
    }
}

fn read<T: DeserializeOwned>(url: &str, answer: &[u8]) -> Result<T, FetchError> {
    serde_json::from_slice(answer).map_err(|error| FetchError::Transport {
        url: url.into(),
        detail: format!("answers what is no document of hawkBit's DDI ({error})"),
    })
}

/// What is to be installed, as far as this device can have it.
fn wanted(action: String, deployment: &Deployment, confirm: bool) -> Wanted {
    let image = deployment.chunks.iter().find(|chunk| chunk.part == "os");
    let named = match (image, deployment.chunks.as_slice()) {
        (Some(chunk), _) | (None, [chunk]) => {
            let read = || Ok((chunk.name.parse()?, chunk.version.parse()?));
            read().map_err(|error: switchback_types::ParseNameError| {
                let name = short(&chunk.name);
                let version = short(&chunk.version);
                format!("the server wants {name:?}, version {version:?}: {error}")
            })
        }
        (None, chunks) => Err(format!(
            "the server wants {} pieces of software, none of them of the kind \"os\"",
            chunks.len()
        )),
    };
    let closed = deployment.maintenance_window == Some(MaintenanceWindow::Unavailable);
    let later = if deployment.download == Handling::Skip {
        Some("the server does not want it fetched yet")
    } else if deployment.update == Handling::Skip || closed {
        Some("the server's maintenance window is closed")
    } else {
        None
    };
    Wanted {
        action,
        release: named,
        confirm,
        later: later.map(ToOwned::to_owned),
    }
}

fn short(text: &str) -> String {
    text.chars().take(MOST_NAME).collect()
}

#[cfg(test)]
mod tests;
