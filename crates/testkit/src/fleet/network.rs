//! The way to the server: the daemon's own client, a watch, and what a bad network does.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use hyper::Method;
use switchbackd::fetch::{Api, FetchError, HttpApi};

use super::seen::Histogram;
use crate::storage::Chance;

/// What becomes of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Good,
    /// One of ten questions does not arrive, and of one of ten the answer is lost after the server acted.
    Flaky,
}

/// Asks through one thread's connection.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub(super) api: &'a HttpApi,
    pub(super) network: Network,
    pub(super) chance: &'a RefCell<Chance>,
    pub(super) times: &'a RefCell<Histogram>,
    /// Whether something was asked that the server may have acted on although nobody heard.
    pub(super) lost: Cell<bool>,
}

impl Api for Way<'_> {
    fn send(
        &self,
        method: Method,
        url: &str,
        authorization: Option<&str>,
        body: Option<String>,
        limit: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let broken = |detail: &str| {
            Err(FetchError::Transport {
                url: url.to_owned(),
                detail: detail.into(),
            })
        };
        let fault = match self.network {
            Network::Good => 100,
            Network::Flaky => self.chance.borrow_mut().below(100),
        };
        if fault < 10 {
            return broken("the model network lost the question");
        }
        let is_poll = method == Method::GET && url.matches('/').count() == 6;
        let tells = method != Method::GET;
        let began = Instant::now();
        let answer = self.api.send(method, url, authorization, body, limit);
        if is_poll && answer.is_ok() {
            let passed = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.times.borrow_mut().note(passed);
        }
        if fault < 20 {
            self.lost.set(self.lost.get() | tells);
            return broken("the model network lost the answer");
        }
        answer
    }
}
