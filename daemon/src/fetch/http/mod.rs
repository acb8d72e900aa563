//! HTTP/2 and HTTP/1.1 behind a blocking face: it is the worker's thread that waits.

mod api;
mod client;
mod connect;
mod credentials;
mod once;
mod question;
mod ranges;
mod redirect;
mod retry_after;
mod trouble;

use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{CONTENT_RANGE, ETAG};
use hyper::{StatusCode, Uri};
use hyper_util::client::proxy::matcher::Matcher;

pub use self::api::HttpApi;
use self::client::{Answer, Client, Manner, text};
use self::connect::authority;
pub use self::credentials::{Credentials, HttpSetupError};
pub use self::once::{HttpPost, HttpProbe, Probed, post, probe};
use self::question::Question;
use self::ranges::HttpParts;
use self::trouble::{broke, transport};
use super::multipart::content_range;
use super::parts::length;
use super::{FetchError, Files, Named, Parts, Source};
use crate::settings::RepositorySettings;

/// Every byte of a small file that came makes its whole time longer, so that this rate is asked of the
/// server on average.
pub(crate) const LEAST_RATE: u64 = 256;

/// A file of this length or less may be asked for to learn something.
const SMALL: usize = 64 * 1024;

/// A question for a whole file, unless it is still the one with this tag.
fn whole(url: &str, known: Option<String>) -> Question {
    Question {
        url: url.to_owned(),
        known,
        ..Question::default()
    }
}

/// How a server answers a question for several ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Ability {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// With all of them.
    Several,
    /// Not well: it is asked for one at a time.
    One,
}

/// A repository behind an https:// address.
pub struct HttpSource {
    client: Arc<Client>,
    base: String,
    stall: Duration,
    /// The file that was streamed last and the version of it that the server named.
    version: Mutex<Option<(String, String)>>,
    /// How questions for several ranges are answered.
    ability: Mutex<Ability>,
    /// A small file that was fetched: a question about it costs little, whatever comes back.
    small: Mutex<Option<String>>,
    /// Whether the last answer came on a connection that can have several under way.
    multiplexed: AtomicBool,
}

impl std::fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpSource")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl HttpSource {
    /// Prepares connections; makes none yet.
    ///
    /// # Errors
    /// The certificate file is not usable, or the system gives no event queue.
    pub fn new(settings: &RepositorySettings) -> Result<Self, HttpSetupError> {
        Self::with(settings, &Credentials::read(settings)?)
    }

    /// The same with certificates and a key that were read already.
    ///
    /// # Errors
    /// The system gives no event queue.
    pub fn with(
        settings: &RepositorySettings,
        credentials: &Credentials,
    ) -> Result<Self, HttpSetupError> {
        Ok(Self {
            client: client(settings, credentials, true)?,
            base: settings.url.clone(),
            stall: settings.stall_timeout,
            version: Mutex::default(),
            ability: Mutex::default(),
            small: Mutex::default(),
            multiplexed: AtomicBool::default(),
        })
    }

    /// Whether several ranges may be asked for at once. A server that does not know this sends the whole file
    /// instead, and megabytes of it are under way before that is noticed: it is asked about a small file first.
    fn takes_several(&self) -> bool {
        let mut ability = self.ability.lock().unwrap_or_else(PoisonError::into_inner);
        if *ability == Ability::Unknown {
            let small = self.small.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(url) = small.as_deref() else {
                return true;
            };
            match ranges::gives_several(&self.client, url) {
                Ok(true) => *ability = Ability::Several,
                Ok(false) => {
                    tracing::debug!("{url}: the server gives one range at a time");
                    *ability = Ability::One;
                }
                // Whatever is asked next shows it.
                Err(_) => return false,
            }
        }
        *ability == Ability::Several
    }

    /// Notes that the server does not answer such a question well.
    fn ask_one_by_one(&self, url: &str, why: &str) {
        let mut ability = self.ability.lock().unwrap_or_else(PoisonError::into_inner);
        if *ability != Ability::One {
            tracing::info!("{url}: asked for several ranges: {why}; asking for one at a time");
            *ability = Ability::One;
        }
    }

    /// What to ask for a part of a file: of the version that was asked for last, if it was this file's.
    fn question(&self, url: &str, range: String) -> Question {
        let version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        let known = version.as_ref().filter(|(known, _)| known == url);
        Question {
            url: url.to_owned(),
            range,
            version: known.map(|(_, version)| version.clone()),
            ..Question::default()
        }
    }

    fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    fn remember(&self, url: &str, answer: &Answer) {
        self.multiplexed
            .store(answer.multiplexed, Ordering::Relaxed);
        // A weak one does not promise the same bytes.
        let strong = text(&answer.headers, ETAG).filter(|tag| tag.starts_with('"'));
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) =
            strong.map(|tag| (url.to_owned(), tag.to_owned()));
    }
}

impl Files for HttpSource {
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let named = self.unless(path, limit, None)?;
        Ok(named.map(|named| named.bytes).unwrap_or_default())
    }

    fn unless(
        &self,
        path: &str,
        limit: u64,
        known: Option<&str>,
    ) -> Result<Option<Named>, FetchError> {
        let url = self.url(path);
        let asked = known.is_some();
        let answer = match self.client.get(&whole(&url, known.map(ToOwned::to_owned))) {
            Err(FetchError::Status { status: 304, .. }) if asked => return Ok(None),
            answer => answer?,
        };
        let tag = text(&answer.headers, ETAG).map(ToOwned::to_owned);
        let bytes = read(answer, &url, limit, self.stall)?;
        // Three bytes are the least that two ranges with something between them can be of. What changes under its
        // name is asked for often, and by others.
        if (3..=SMALL).contains(&bytes.len()) && !path.ends_with("/timestamp.json") {
            let mut small = self.small.lock().unwrap_or_else(PoisonError::into_inner);
            *small = Some(url);
        }
        Ok(Some(Named { bytes, tag }))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }
}

impl Source for HttpSource {
    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        let url = self.url(path);
        let range = match offset {
            0 => String::new(),
            offset => format!("bytes={offset}-"),
        };
        let mut answer = self.client.get(&self.question(&url, range))?;
        self.remember(&url, &answer);
        let starts_at = if answer.status == StatusCode::PARTIAL_CONTENT {
            let range = text(&answer.headers, CONTENT_RANGE).and_then(content_range);
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
        skip(&mut answer.body, offset - starts_at).map_err(|error| broke(&url, &error))?;
        Ok(Box::new(answer.body))
    }

    fn ranges<'a>(
        &'a self,
        path: &str,
        ranges: &[Range<u64>],
    ) -> Result<Box<dyn Parts + 'a>, FetchError> {
        let parts = HttpParts::new(self, self.url(path), ranges)?;
        Ok(Box::new(parts))
    }
}

/// Reads something small whole.
fn read(mut answer: Answer, url: &str, limit: u64, stall: Duration) -> Result<Vec<u8>, FetchError> {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let mut buffer = [0; 8 * 1024];
    loop {
        // One that drips must not hold a poll for ever.
        let received = length(bytes.len());
        let whole = stall * 2 + Duration::from_secs(received / LEAST_RATE);
        let left = whole.saturating_sub(begun.elapsed());
        let time = left.min(stall);
        let count = match answer.body.read_within(&mut buffer, time) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut && time < stall => {
                let detail = format!("only {received} bytes in {} s", whole.as_secs());
                let url = url.to_owned();
                return Err(FetchError::Transport { url, detail });
            }
            count => count.map_err(|error| broke(url, &error))?,
        };
        if count == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if length(bytes.len()) > limit {
            let url = url.to_owned();
            return Err(FetchError::TooLong { url, limit });
        }
    }
}

/// A client with this device's certificates and patience. Only the repository is shown who asks: not an address that
/// somebody names for a bundle, nor a host that an answer points to.
fn client(
    settings: &RepositorySettings,
    credentials: &Credentials,
    only_https: bool,
) -> Result<Arc<Client>, HttpSetupError> {
    let manner = Manner {
        tls: credentials.anonymous()?,
        known: match &credentials.identity {
            Some(identity) if only_https => {
                let host: Option<Uri> = settings.url.parse().ok();
                let tls = credentials.identified(identity.clone())?;
                host.map(|host| (authority(&host), tls))
            }
            _ => None,
        },
        proxies: match &settings.proxy {
            Some(proxy) => Matcher::builder().all(proxy.as_str()).build(),
            None => Matcher::from_env(),
        },
        only_https,
        stall: settings.stall_timeout,
        max_rate: settings.max_rate,
    };
    Client::new(manner).map_err(HttpSetupError::System)
}

/// The file at any address, as a stream, for a bundle.
///
/// # Errors
/// There is no such file, or the server cannot be reached.
pub fn open_url(
    settings: &RepositorySettings,
    credentials: &Credentials,
    url: &str,
) -> Result<Box<dyn Read + Send>, FetchError> {
    let client = client(settings, credentials, false).map_err(|error| transport(url, &error))?;
    let answer = client.get(&whole(url, None))?;
    Ok(Box::new(answer.body))
}

fn skip(reader: &mut dyn Read, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(count), &mut io::sink())?;
    if skipped < count {
        return Err(io::ErrorKind::UnexpectedEof.into());
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
}
