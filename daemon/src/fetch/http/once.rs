//! One question and its answer, on a connection of its own: for health checks, and for a collector of traces.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::client::proxy::matcher::Matcher;

use super::client::next;
use super::connect::connect;
use super::credentials::Credentials;
use super::question::{Question, request};
use crate::report::chain;

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub struct HttpProbe<'a> {
    /// `http://` or `https://`.
    pub url: &'a str,
    /// Certificates that the server is checked against (PEM).
    pub ca_file: Option<&'a Path>,
    /// For all of it.
    pub timeout: Duration,
    /// Bytes of the answer that are read.
    pub most: usize,
}

/// What came.
#[derive(Debug, Clone)]
pub struct Probed {
    /// The status.
    pub status: u16,
    /// The beginning of the content.
    pub body: Vec<u8>,
}

/// What to send.
#[derive(Debug, Clone, Copy)]
pub struct HttpPost<'a> {
    /// `http://` or `https://`.
    pub url: &'a str,
    /// Certificates that the server is checked against (PEM).
    pub ca_file: &'a Path,
    /// For all of it.
    pub timeout: Duration,
    /// What the content is.
    pub content_type: &'static str,
    /// The content.
    pub body: &'a str,
}

/// Asks once, through no proxy, and follows nowhere.
///
/// # Errors
/// There was no answer in time, or none that is HTTP.
pub fn probe(question: &HttpProbe<'_>) -> Result<Probed, String> {
    let HttpProbe {
        url,
        ca_file,
        timeout,
        most,
    } = *question;
    exchange(url, ca_file, timeout, most, |request| request)
}

/// Sends once, through no proxy, and follows nowhere. Gives the status of the answer, of which no more is read.
///
/// # Errors
/// There was no answer in time, or none that is HTTP.
pub fn post(question: &HttpPost<'_>) -> Result<u16, String> {
    // Without encryption nobody is checked.
    let encrypted = question.url.starts_with("https:");
    let ca_file = encrypted.then_some(question.ca_file);
    let answer = exchange(question.url, ca_file, question.timeout, 0, |mut request| {
        *request.method_mut() = Method::POST;
        let kind = HeaderValue::from_static(question.content_type);
        request.headers_mut().insert(CONTENT_TYPE, kind);
        question.body.clone_into(request.body_mut());
        request
    })?;
    Ok(answer.status)
}

fn exchange(
    url: &str,
    ca_file: Option<&Path>,
    timeout: Duration,
    most: usize,
    make: impl FnOnce(Request<String>) -> Request<String>,
) -> Result<Probed, String> {
    let to: Uri = url.parse().map_err(|_| "is no address")?;
    let credentials = match ca_file {
        Some(file) => {
            let pem =
                std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Credentials::new(file, &pem, None)
                .map_err(|_| format!("{}: holds no PEM certificate", file.display()))?
        }
        None => Credentials::none(),
    };
    let tls = credentials.anonymous().map_err(|error| chain(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .map_err(|error| error.to_string())?;
    let asked = async {
        let tls = Arc::new(tls);
        let proxies = Matcher::builder().build();
        let mut connection = connect(&to, &tls, &tls, &proxies).await?;
        let whole = Question {
            url: url.into(),
            ..Question::default()
        };
        let request = make(request(&to, &whole, &connection)?);
        let response = connection.sender.send(request).await;
        let response = response.map_err(|error| chain(&error))?;
        let status = response.status().as_u16();
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while body.len() < most {
            match next(&mut incoming).await {
                None => break,
                Some(piece) => {
                    let piece = piece.map_err(|error| chain(&error))?;
                    let room = most - body.len();
                    body.extend(piece.iter().take(room));
                }
            }
        }
        Ok(Probed { status, body })
    };
    let answer = runtime.block_on(async { tokio::time::timeout(timeout, asked).await });
    // A lookup of a name that hangs must not hold the caller.
    runtime.shutdown_background();
    answer.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}
