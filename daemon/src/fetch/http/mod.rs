//! HTTPS by a blocking client on the worker's thread: small, and cancelled between two reads.

mod ranges;

use std::io::Read;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::header::{CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, RANGE, RETRY_AFTER};
use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use self::ranges::HttpParts;
use super::multipart::content_range;
use super::rate::Throttled;
use super::{FetchError, Parts, Source};
use crate::settings::RepositorySettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A server that asks for a longer pause is asked again after this one all the same.
const MAX_RETRY_AFTER: u64 = 24 * 60 * 60;

/// A repository behind an https:// address.
#[derive(Debug)]
pub struct HttpSource {
    agent: Agent,
    base: String,
    max_rate: Option<NonZeroU64>,
    /// The file that was streamed last and the version of it that the server named.
    version: Mutex<Option<(String, String)>>,
    /// Set once a question for several ranges was not answered well.
    one_by_one: AtomicBool,
}

/// The head of an answer, and its content as it comes.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Box<dyn Read + Send>,
}

/// Why no connection can be made at all.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// The certificates cannot be read.
    #[error("{}: cannot be read; set `repository.ca-file` to a PEM file with certificates", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no certificate.
    #[error("{}: holds no PEM certificate; set `repository.ca-file` to one that does", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
}

impl HttpSource {
    /// Prepares connections; makes none yet.
    ///
    /// # Errors
    /// The certificate file is not usable.
    pub fn new(settings: &RepositorySettings) -> Result<Self, HttpSetupError> {
        Ok(Self {
            agent: agent(settings, true)?,
            base: settings.url.clone(),
            max_rate: settings.max_rate,
            version: Mutex::default(),
            one_by_one: AtomicBool::default(),
        })
    }

    /// Whether several ranges may be asked for at once.
    fn takes_several(&self) -> bool {
        !self.one_by_one.load(Ordering::Relaxed)
    }

    /// Notes that the server does not answer such a question well.
    fn ask_one_by_one(&self, url: &str, why: &str) {
        if !self.one_by_one.swap(true, Ordering::Relaxed) {
            tracing::info!("{url}: asked for several ranges: {why}; asking for one at a time");
        }
    }

    /// Asks for a part of a file, of the version that was streamed last if it was this file's.
    fn get(&self, url: &str, range: &str) -> Result<Answer, FetchError> {
        let version = self.version_of(url);
        let answer = get(&self.agent, url, range, version, self.max_rate)?;
        self.remember(url, &answer);
        Ok(answer)
    }

    /// What the server called the file when it was streamed last.
    fn version_of(&self, url: &str) -> Option<String> {
        let version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        let known = version.as_ref().filter(|(known, _)| known == url);
        known.map(|(_, version)| version.clone())
    }

    fn remember(&self, url: &str, answer: &Answer) {
        // A weak one does not promise the same bytes.
        let strong = text(answer, ETAG).filter(|tag| tag.starts_with('"'));
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) =
            strong.map(|tag| (url.to_owned(), tag.to_owned()));
    }
}

impl Source for HttpSource {
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let url = self.url(path);
        let answer = get(&self.agent, &url, "", None, None)?;
        let mut bytes = Vec::new();
        answer
            .body
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| transport(&url, &error))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(FetchError::TooLong { url, limit });
        }
        Ok(bytes)
    }

    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        let url = self.url(path);
        let range = match offset {
            0 => String::new(),
            offset => format!("bytes={offset}-"),
        };
        let mut answer = self.get(&url, &range)?;
        let starts_at = if answer.status == StatusCode::PARTIAL_CONTENT {
            let range = text(&answer, CONTENT_RANGE).and_then(content_range);
            let range = range.ok_or_else(|| FetchError::Transport {
                url: url.clone(),
                detail: "answered with a part of the file without saying which".into(),
            })?;
            range.start
        } else {
            0
        };
        if starts_at > offset {
            let detail = format!("asked from byte {offset}, answered from byte {starts_at}");
            return Err(FetchError::Transport { url, detail });
        }
        skip(&mut answer.body, offset - starts_at).map_err(|error| transport(&url, &error))?;
        Ok(answer.body)
    }

    fn ranges<'a>(
        &'a self,
        path: &str,
        ranges: &[Range<u64>],
    ) -> Result<Box<dyn Parts + 'a>, FetchError> {
        let parts = HttpParts::new(self, self.url(path), ranges)?;
        Ok(Box::new(parts))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }
}

/// Asks for a file, or for a `range` of it. With a `version`, a file that changed meanwhile comes
/// whole.
fn get(
    agent: &Agent,
    url: &str,
    range: &str,
    version: Option<String>,
    max_rate: Option<NonZeroU64>,
) -> Result<Answer, FetchError> {
    let mut request = agent.get(url);
    if !range.is_empty() {
        request = request.header(RANGE, range);
        if let Some(version) = version {
            request = request.header(IF_RANGE, version);
        }
    }
    let response = request.call().map_err(|error| transport(url, &error))?;
    let (head, body) = response.into_parts();
    match head.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: limited(body.into_reader(), max_rate),
        }),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchError::Missing {
            url: url.into(),
            status: head.status.as_u16(),
        }),
        // It is shorter than what was asked for.
        StatusCode::RANGE_NOT_SATISFIABLE => Err(FetchError::EndedEarly { url: url.into() }),
        _ => {
            let retry_after = head
                .headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok())
                .map(|seconds| Duration::from_secs(seconds.min(MAX_RETRY_AFTER)));
            Err(FetchError::Status {
                url: url.into(),
                status: head.status.as_u16(),
                retry_after,
            })
        }
    }
}

/// A header of an answer.
fn text(answer: &Answer, name: HeaderName) -> Option<&str> {
    answer.headers.get(name)?.to_str().ok()
}

fn limited(
    reader: impl Read + Send + 'static,
    max_rate: Option<NonZeroU64>,
) -> Box<dyn Read + Send> {
    match max_rate {
        Some(rate) => Box::new(Throttled::new(reader, rate)),
        None => Box::new(reader),
    }
}

/// A client with this device's certificates and patience.
fn agent(settings: &RepositorySettings, only_https: bool) -> Result<Agent, HttpSetupError> {
    let configured = settings.proxy.as_deref();
    // It was looked at when the configuration was read.
    let configured = configured.and_then(|proxy| Proxy::new(proxy).ok());
    let proxy = configured.or_else(Proxy::try_from_env);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(certificates(&settings.ca_file)?)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let agent = Agent::config_builder()
        .tls_config(tls)
        .https_only(only_https)
        .http_status_as_error(false)
        .proxy(proxy)
        .user_agent(concat!("switchbackd/", env!("CARGO_PKG_VERSION")))
        .max_redirects(4)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(settings.stall_timeout))
        .timeout_per_read(Some(settings.stall_timeout))
        .timeout_per_write(Some(settings.stall_timeout))
        // One worker, one server: one connection, and it is closed between polls.
        .max_idle_connections(1)
        .max_idle_connections_per_host(1)
        .max_idle_age(Duration::from_secs(15))
        .input_buffer_size(32 * 1024)
        .output_buffer_size(8 * 1024)
        .build()
        .new_agent();
    Ok(agent)
}

/// The file at any address, as a stream, for a bundle.
///
/// # Errors
/// The certificates cannot be used, or there is no such file.
pub fn open_url(
    settings: &RepositorySettings,
    url: &str,
) -> Result<Box<dyn Read + Send>, FetchError> {
    let agent = agent(settings, false).map_err(|error| transport(url, &error))?;
    let answer = get(&agent, url, "", None, settings.max_rate)?;
    Ok(answer.body)
}

fn certificates(path: &Path) -> Result<RootCerts, HttpSetupError> {
    let pem = std::fs::read(path).map_err(|source| HttpSetupError::Read {
        path: path.into(),
        source,
    })?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(HttpSetupError::NoCertificate { path: path.into() });
    }
    Ok(RootCerts::new_with_certs(&found))
}

fn transport(url: &str, error: &dyn std::error::Error) -> FetchError {
    FetchError::Transport {
        url: url.into(),
        detail: crate::report::chain(error),
    }
}

fn skip(reader: &mut dyn Read, count: u64) -> std::io::Result<()> {
    let skipped = std::io::copy(&mut reader.take(count), &mut std::io::sink())?;
    if skipped < count {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipping_past_the_end_is_an_error() {
        assert!(skip(&mut &b"abc"[..], 3).is_ok());
        assert!(skip(&mut &b"abc"[..], 4).is_err());
    }

    #[test]
    fn file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = certificates(file.path()).unwrap_err();
        assert!(
            error.to_string().contains("holds no PEM certificate"),
            "{error}"
        );
    }
}
