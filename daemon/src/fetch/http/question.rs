//! Questions, and the requests that they become.

use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, IF_NONE_MATCH,
    IF_RANGE, PROXY_AUTHORIZATION, RANGE, USER_AGENT,
};
use hyper::{Method, Request, Uri};

use super::connect::{Connection, Sender, authority};
use crate::report::chain;

const NAME: &str = concat!("switchbackd/", env!("CARGO_PKG_VERSION"));

/// What to ask for.
#[derive(Debug, Clone, Default)]
pub(super) struct Question {
    pub(super) url: String,
    /// The value of `Range`; empty for the whole file.
    pub(super) range: String,
    /// The version that ranges are wanted of; if it changed, the file comes whole.
    pub(super) version: Option<String>,
    /// The version of a whole file that is not wanted again.
    pub(super) known: Option<String>,
    /// What is sent with it. Such a question goes nowhere but to its address.
    pub(super) sending: Option<Sending>,
}

/// A question that is more than one for a file.
#[derive(Debug, Clone)]
pub(super) struct Sending {
    pub(super) method: Method,
    /// Who asks.
    pub(super) authorization: Option<HeaderValue>,
    /// JSON.
    pub(super) body: Option<String>,
}

/// The request for it, as this connection wants it.
pub(super) fn request(
    to: &Uri,
    question: &Question,
    connection: &Connection,
) -> Result<Request<String>, String> {
    let old = matches!(connection.sender, Sender::One(_));
    let path = to.path_and_query().map_or("/", |path| path.as_str());
    let target = match (&connection.whole_address, old) {
        (None, true) => path.to_owned(),
        _ => format!(
            "{}://{}{path}",
            to.scheme_str().unwrap_or_default(),
            authority(to)
        ),
    };
    let mut request = Request::get(target)
        .header(USER_AGENT, NAME)
        // A range of compressed bytes is of no use.
        .header(ACCEPT_ENCODING, "identity");
    if old {
        request = request.header(HOST, authority(to));
    }
    if let Some(password) = connection
        .whole_address
        .as_ref()
        .and_then(|proxy| proxy.basic_auth())
    {
        request = request.header(PROXY_AUTHORIZATION, password);
    }
    if !question.range.is_empty() {
        request = request.header(RANGE, &question.range);
        if let Some(version) = &question.version {
            request = request.header(IF_RANGE, version);
        }
    }
    if let Some(known) = &question.known {
        request = request.header(IF_NONE_MATCH, known);
    }
    let Some(sending) = &question.sending else {
        return request.body(String::new()).map_err(|error| chain(&error));
    };
    request = request
        .method(sending.method.clone())
        .header(ACCEPT, "application/json");
    if let Some(who) = &sending.authorization {
        request = request.header(AUTHORIZATION, who);
    }
    if sending.body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = sending.body.clone().unwrap_or_default();
    request.body(body).map_err(|error| chain(&error))
}
