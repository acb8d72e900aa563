//! Questions and answers. All of it waits on the thread that asks: a small runtime of its own turns
//! the connections while somebody waits for an answer, and only then.

use std::io::{self, Read};
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER};
use hyper::{Response, StatusCode, Uri, Version};
use hyper_util::client::proxy::matcher::Matcher;
use rustls::ClientConfig;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::super::FetchError;
use super::super::rate::Pace;
use super::connect::{Connection, Sender, authority, connect};
use super::question::{Question, request};
use super::trouble::{kind, transport};
use super::{redirect, retry_after};
use crate::report::chain;

/// An unused connection is not trusted after this time: the server may have closed it.
const MOST_IDLE: Duration = Duration::from_secs(15);
/// The repository, and the place where it keeps its content.
const MOST_CONNECTIONS: usize = 2;
const MOST_REDIRECTS: usize = 4;
/// The end of an answer that is not wanted is read up to here, to keep the connection.
const MOST_DRAINED: u64 = 8 * 1024;

/// Connections, and the runtime that turns them.
pub(super) struct Client {
    runtime: Runtime,
    web: Arc<Web>,
    pace: Option<Arc<Pace>>,
}

/// What the tasks on the runtime share.
struct Web {
    tls: Arc<ClientConfig>,
    known: Option<(String, Arc<ClientConfig>)>,
    proxies: Matcher,
    only_https: bool,
    stall: Duration,
    idle: Mutex<Vec<Idle>>,
    /// Connections that were made.
    made: AtomicU64,
}

struct Idle {
    to: String,
    connection: Connection,
    used: Instant,
}

/// How to connect, and with how much patience.
pub(super) struct Manner {
    pub(super) tls: ClientConfig,
    /// The host that is shown who asks, and how.
    pub(super) known: Option<(String, ClientConfig)>,
    pub(super) proxies: Matcher,
    pub(super) only_https: bool,
    pub(super) stall: Duration,
    pub(super) max_rate: Option<NonZeroU64>,
}

/// The head of an answer, and its content as it comes.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// Whether the connection can have several answers under way.
    pub(super) multiplexed: bool,
}

/// An answer that is under way. Dropped, it is not wanted any more.
pub(super) struct Pending {
    client: Arc<Client>,
    task: JoinHandle<Result<Response<Incoming>, FetchError>>,
    url: String,
}

/// The content of an answer.
pub(super) struct Body {
    client: Arc<Client>,
    incoming: Incoming,
    piece: Bytes,
}

impl Client {
    pub(super) fn new(manner: Manner) -> io::Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // Looks up names.
            .max_blocking_threads(1)
            .build()?;
        let web = Web {
            tls: Arc::new(manner.tls),
            known: manner.known.map(|(host, tls)| (host, Arc::new(tls))),
            proxies: manner.proxies,
            only_https: manner.only_https,
            stall: manner.stall,
            idle: Mutex::default(),
            made: AtomicU64::default(),
        };
        Ok(Arc::new(Self {
            runtime,
            web: Arc::new(web),
            pace: manner.max_rate.map(|rate| Arc::new(Pace::new(rate))),
        }))
    }

    /// Asks and waits for the head of the answer.
    pub(super) fn get(self: &Arc<Self>, question: &Question) -> Result<Answer, FetchError> {
        let response = self.runtime.block_on(self.web.answer(question))?;
        self.answer(&question.url, response)
    }

    /// Sends and waits for the head of the answer, any that says that it was taken.
    pub(super) fn send(self: &Arc<Self>, question: &Question) -> Result<Answer, FetchError> {
        let response = self.runtime.block_on(self.web.answer(question))?;
        if response.status().is_success() {
            return Ok(self.taken(response));
        }
        self.answer(&question.url, response)
    }

    /// Asks, and waits later.
    pub(super) fn start(self: &Arc<Self>, question: Question) -> Pending {
        let web = Arc::clone(&self.web);
        let url = question.url.clone();
        let task = self
            .runtime
            .spawn(async move { web.answer(&question).await });
        Pending {
            client: Arc::clone(self),
            task,
            url,
        }
    }

    fn answer(
        self: &Arc<Self>,
        url: &str,
        response: Response<Incoming>,
    ) -> Result<Answer, FetchError> {
        let url = || url.to_owned();
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(self.taken(response)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(FetchError::Missing {
                url: url(),
                status: response.status().as_u16(),
            }),
            // It is shorter than what was asked for.
            StatusCode::RANGE_NOT_SATISFIABLE => Err(FetchError::EndedEarly { url: url() }),
            _ => Err(FetchError::Status {
                url: url(),
                status: response.status().as_u16(),
                retry_after: text(response.headers(), RETRY_AFTER)
                    .and_then(|value| retry_after::parse(value, text(response.headers(), DATE))),
            }),
        }
    }

    fn taken(self: &Arc<Self>, response: Response<Incoming>) -> Answer {
        let multiplexed = response.version() == Version::HTTP_2;
        let (head, incoming) = response.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: Body {
                client: Arc::clone(self),
                incoming,
                piece: Bytes::new(),
            },
            multiplexed,
        }
    }
}

/// A header.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

impl Pending {
    /// Waits for the head of the answer.
    pub(super) fn wait(mut self) -> Result<Answer, FetchError> {
        let client = Arc::clone(&self.client);
        let joined = client.runtime.block_on(&mut self.task);
        let response = joined.map_err(|error| transport(&self.url, &error))??;
        client.answer(&self.url, response)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Body {
    /// Some bytes, if they come in time.
    pub(super) fn read_within(&mut self, buffer: &mut [u8], time: Duration) -> io::Result<usize> {
        let pace = self.client.pace.clone();
        let room = pace
            .as_ref()
            .map_or(buffer.len(), |pace| pace.room(buffer.len()));
        while self.piece.is_empty() && room > 0 {
            let next = next(&mut self.incoming);
            // The timer belongs to the runtime.
            let next = async { tokio::time::timeout(time, next).await };
            match self.client.runtime.block_on(next) {
                Ok(Some(Ok(piece))) => self.piece = piece,
                Ok(Some(Err(error))) => return Err(io::Error::new(kind(&error), error)),
                Ok(None) => return Ok(0),
                Err(_) => {
                    let what = format!("nothing came for {} s", time.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, what));
                }
            }
        }
        let count = room.min(self.piece.len());
        let piece = self.piece.split_to(count);
        if let Some(part) = buffer.get_mut(..count) {
            part.copy_from_slice(&piece);
        }
        if let Some(pace) = pace {
            pace.took(count);
        }
        Ok(count)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_within(buffer, self.client.web.stall)
    }
}

/// The next piece of content; nothing at its end.
pub(super) async fn next(incoming: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context));
        match frame.await? {
            // Trailers mean nothing here.
            Ok(frame) => match frame.into_data() {
                Ok(piece) if !piece.is_empty() => return Some(Ok(piece)),
                _ => {}
            },
            Err(error) => return Some(Err(error)),
        }
    }
}

impl Web {
    /// Asks, and follows where the server points.
    async fn answer(&self, question: &Question) -> Result<Response<Incoming>, FetchError> {
        let fail = |detail: String| FetchError::Transport {
            url: question.url.clone(),
            detail,
        };
        let mut url = question.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let to: Uri = url
                .parse()
                .map_err(|error| transport(&question.url, &error))?;
            let known = match to.scheme_str() {
                Some("https") => true,
                Some("http") => !self.only_https,
                _ => false,
            };
            if !known || to.host().is_none() {
                return Err(fail(format!("{url}: is not an address that may be asked")));
            }
            let asked = self.exchange(&to, question);
            let response = asked.await.map_err(&fail)?;
            let further = match response.status().as_u16() {
                _ if question.sending.is_some() => None,
                301 | 302 | 303 | 307 | 308 => text(response.headers(), LOCATION),
                _ => None,
            };
            let Some(location) = further else {
                return Ok(response);
            };
            url = redirect::target(&to, location)
                .ok_or_else(|| fail(format!("points to {location}, which is no address")))?;
            drain(response, self.stall).await;
        }
        Err(fail(format!(
            "points further more than {MOST_REDIRECTS} times"
        )))
    }

    /// One question and the head of its answer.
    async fn exchange(&self, to: &Uri, question: &Question) -> Result<Response<Incoming>, String> {
        let key = format!(
            "{}://{}",
            to.scheme_str().unwrap_or_default(),
            authority(to)
        );
        let mut broken = None;
        loop {
            let (mut connection, used) = self.connection(&key, to, broken).await?;
            let request = request(to, question, &connection)?;
            let sent = connection.sender.send(request);
            match tokio::time::timeout(self.stall, sent).await {
                Ok(Ok(response)) => {
                    if matches!(connection.sender, Sender::One(_)) {
                        self.keep(key, connection).await;
                    }
                    return Ok(response);
                }
                // The server closed it meanwhile, which it may do at any time.
                Ok(Err(_)) if used => broken = Some(connection.number),
                Ok(Err(error)) => return Err(chain(&error)),
                Err(_) => {
                    // What comes late must not be taken for another answer.
                    self.forget(&key).await;
                    return Err(format!("no answer for {} s", self.stall.as_secs()));
                }
            }
        }
    }

    /// A connection, and whether it was used before. One that can have several questions under way stays
    /// with the others, one that cannot is given out.
    async fn connection(
        &self,
        key: &str,
        to: &Uri,
        broken: Option<u64>,
    ) -> Result<(Connection, bool), String> {
        // Held until there is one: those that wait behind want the same.
        let mut idle = self.idle.lock().await;
        idle.retain(|idle| {
            let closed = match &idle.connection.sender {
                Sender::One(sender) => sender.is_closed(),
                Sender::Many(sender) => sender.is_closed(),
            };
            let broken = broken == Some(idle.connection.number);
            !closed && !broken && idle.used.elapsed() < MOST_IDLE
        });
        let found = idle.iter().position(|idle| idle.to == key);
        if let Some(at) = found {
            let known = idle.swap_remove(at);
            let number = known.connection.number;
            match known.connection.sender {
                Sender::Many(sender) => {
                    let again = || Connection {
                        sender: Sender::Many(sender.clone()),
                        number,
                        whole_address: None,
                    };
                    idle.push(Idle {
                        to: known.to,
                        connection: again(),
                        used: Instant::now(),
                    });
                    return Ok((again(), true));
                }
                Sender::One(mut sender) => {
                    // It is, at once, if the answer before was read to its end.
                    let ready = tokio::time::timeout(Duration::from_millis(100), sender.ready());
                    if matches!(ready.await, Ok(Ok(()))) {
                        let connection = Connection {
                            sender: Sender::One(sender),
                            number,
                            whole_address: known.connection.whole_address,
                        };
                        return Ok((connection, true));
                    }
                }
            }
        }
        let known = self.known.as_ref();
        let known = known.filter(|(host, _)| *host == authority(to));
        let tls = known.map_or(&self.tls, |(_, tls)| tls);
        let mut connection = connect(to, tls, &self.tls, &self.proxies).await?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        connection.number = number;
        if let Sender::Many(sender) = &connection.sender {
            let kept = Connection {
                sender: Sender::Many(sender.clone()),
                number,
                whole_address: None,
            };
            keep(&mut idle, key.to_owned(), kept);
        }
        Ok((connection, false))
    }

    async fn keep(&self, key: String, connection: Connection) {
        keep(&mut *self.idle.lock().await, key, connection);
    }

    async fn forget(&self, key: &str) {
        self.idle.lock().await.retain(|idle| idle.to != key);
    }
}

fn keep(idle: &mut Vec<Idle>, to: String, connection: Connection) {
    if idle.len() >= MOST_CONNECTIONS {
        idle.remove(0);
    }
    let used = Instant::now();
    idle.push(Idle {
        to,
        connection,
        used,
    });
}

/// Reads a short answer to its end, so that its connection can be used again.
async fn drain(response: Response<Incoming>, time: Duration) {
    let length = text(response.headers(), CONTENT_LENGTH).and_then(|text| text.parse().ok());
    if length.is_none_or(|length: u64| length > MOST_DRAINED) {
        return;
    }
    let mut incoming = response.into_body();
    let all = async { while let Some(Ok(_)) = next(&mut incoming).await {} };
    // The connection is not used again then.
    let _ = tokio::time::timeout(time, all).await;
}
