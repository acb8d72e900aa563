//! Requests to the server's API.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Request, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody, Body};

use crate::args::To;
use crate::exit::{FAILED, Failure, UNREACHABLE, USAGE};
use crate::token;

/// A request and its answer take no longer; uploads and events may.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a file is sent as.
const FILE: &str = "application/octet-stream";
/// Longest answer in bytes.
const MAX_ANSWER: u64 = 256 << 20;

/// Where the server is, and as whom it is asked.
#[derive(Debug)]
pub(crate) struct Client {
    base: String,
    token: String,
    agent: Agent,
}

impl Client {
    pub(crate) fn new(to: &To) -> Result<Self, Failure> {
        let base = to.server.trim_end_matches('/').to_owned();
        let wrong = |why: &str| Failure::new(USAGE, format!("--server {base}: {why}"));
        let uri: Uri = base.parse().map_err(|_| wrong("is no address"))?;
        let host = uri.host().unwrap_or_default();
        let is_here = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_here || to.plain_http => {}
            Some("http") => {
                return Err(wrong(
                    "everybody on the way could read the token: use https://, or --plain-http \
                     where that is no harm",
                ));
            }
            _ => return Err(wrong("an address begins with https://")),
        }
        let token = token::find(to.token_file.as_deref(), |name| std::env::var_os(name))?;
        // Fails only when there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let roots = match &to.ca {
            Some(path) => named_roots(path)?,
            None if uri.scheme_str() == Some("https") => system_roots()?,
            None => RootCerts::new_with_certs(&[]),
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(15)))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .user_agent(concat!("switchback-fleet/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            base,
            token,
            agent: agent.into(),
        })
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: impl AsSendBody,
        limit: Option<Duration>,
    ) -> Result<ureq::http::Response<Body>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", kind);
        if kind == FILE {
            // Gigabytes are sent only where they are wanted, and a refusal is heard.
            request = request.header("Expect", "100-continue");
        }
        let request = request
            .body(body)
            .map_err(|why| Failure::new(USAGE, why.to_string()))?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(limit)
            .build();
        let answer = self.agent.run(request).map_err(|why| {
            Failure::new(
                UNREACHABLE,
                format!(
                    "{}: {why}; does the server run there? --server or SWITCHBACK_SERVER names \
                     another",
                    self.base
                ),
            )
        })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let again = answer.headers().get("retry-after").cloned();
        let text = read(answer)?;
        let said: Option<Value> = serde_json::from_str(&text).ok();
        let said = said
            .as_ref()
            .and_then(|body| body.get("error")?.as_str())
            .unwrap_or(text.as_str());
        let again = again.as_ref().and_then(|value| value.to_str().ok());
        Err(Failure::of_answer(status, said, again))
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        json(self.send("GET", path, "application/json", (), Some(PATIENCE))?)
    }

    /// Sends a document; the answer is nothing where the server has nothing to say.
    pub(crate) fn tell(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = body.to_string();
        json(self.send(method, path, "application/json", &body, Some(PATIENCE))?)
    }

    /// The same without a document.
    pub(crate) fn order(&self, method: &str, path: &str) -> Result<Value, Failure> {
        json(self.send(method, path, "application/json", (), Some(PATIENCE))?)
    }

    /// Sends a file.
    pub(crate) fn upload(&self, path: &str, file: &Path) -> Result<Value, Failure> {
        let open = File::open(file)
            .map_err(|why| Failure::new(USAGE, format!("{}: {why}", file.display())))?;
        json(self.send("PUT", path, FILE, open, None)?)
    }

    /// What happens, line by line.
    pub(crate) fn events(&self) -> Result<ureq::BodyReader<'static>, Failure> {
        let answer = self.send("GET", "/api/v1/events", "application/json", (), None)?;
        Ok(answer.into_body().into_reader())
    }
}

fn read(answer: ureq::http::Response<Body>) -> Result<String, Failure> {
    let mut body = answer.into_body();
    let text = body.with_config().limit(MAX_ANSWER).read_to_string();
    text.map_err(|why| Failure::new(UNREACHABLE, format!("the answer broke off: {why}")))
}

fn json(answer: ureq::http::Response<Body>) -> Result<Value, Failure> {
    let text = read(answer)?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text)
        .map_err(|why| Failure::new(FAILED, format!("the answer is no JSON: {why}")))
}

fn named_roots(path: &Path) -> Result<RootCerts, Failure> {
    let wrong = |why: String| Failure::new(USAGE, format!("{}: {why}", path.display()));
    let text = std::fs::read(path).map_err(|why| wrong(why.to_string()))?;
    let mut all = Vec::new();
    for item in parse_pem(&text) {
        match item.map_err(|why| wrong(why.to_string()))? {
            PemItem::Certificate(certificate) => all.push(certificate),
            _ => return Err(wrong("holds something else than certificates".into())),
        }
    }
    if all.is_empty() {
        return Err(wrong("holds no certificate in PEM form".into()));
    }
    Ok(RootCerts::new_with_certs(&all))
}

fn system_roots() -> Result<RootCerts, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let all: Vec<Certificate<'static>> = found
        .certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    if all.is_empty() {
        return Err(Failure::new(
            FAILED,
            "this machine trusts no CA (the package ca-certificates?): name one with --ca",
        ));
    }
    Ok(RootCerts::new_with_certs(&all))
}
