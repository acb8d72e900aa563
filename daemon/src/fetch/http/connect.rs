//! One connection: through a proxy if there is one, encrypted, in the best protocol that both ends
//! speak.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Request, Response, Uri, body::Incoming};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::report::chain;

/// From the name to the end of the last handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of one answer that HTTP/2 may send before they are read: no more than this comes in the time of one
/// way there and back.
const STREAM_WINDOW: u32 = 512 * 1024;
/// The same for all answers together: that which is read, ranges behind it ([`MOST_AHEAD`]) and a stream that is
/// open beside them, so that none waits for one that is not read.
const CONNECTION_WINDOW: u32 = 3 * STREAM_WINDOW;
/// Ranges under way at once over HTTP/2.
pub(super) const MOST_STREAMS: usize = 32;
/// Bytes of those that are not read yet.
pub(super) const MOST_AHEAD: u64 = 512 * 1024;
/// Most bytes of an answer's head.
const MOST_HEAD: usize = 32 * 1024;

/// A connection that is ready for questions.
pub(super) enum Sender {
    /// HTTP/1.1.
    One(http1::SendRequest<String>),
    /// HTTP/2.
    Many(http2::SendRequest<String>),
}

/// A connection and how questions on it are written.
pub(super) struct Connection {
    pub(super) sender: Sender,
    /// Tells one to a server from the next one to it.
    pub(super) number: u64,
    /// Behind a proxy that reads the questions: they name the whole address.
    pub(super) whole_address: Option<Intercept>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Sender {
    /// Asks.
    pub(super) async fn send(
        &mut self,
        request: Request<String>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Many(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// Opens a connection to the server that `to` names, or to a proxy, which is shown less.
///
/// # Errors
/// Says what failed.
pub(super) async fn connect(
    to: &Uri,
    tls: &Arc<ClientConfig>,
    proxy_tls: &Arc<ClientConfig>,
    proxies: &Matcher,
) -> Result<Connection, String> {
    let opened = open(to, tls, proxy_tls, proxies);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, opened).await;
    connected.unwrap_or_else(|_| {
        let seconds = CONNECT_TIMEOUT.as_secs();
        Err(format!("no connection within {seconds} s"))
    })
}

async fn open(
    to: &Uri,
    tls: &Arc<ClientConfig>,
    proxy_tls: &Arc<ClientConfig>,
    proxies: &Matcher,
) -> Result<Connection, String> {
    let encrypted = to.scheme_str() == Some("https");
    let Some(proxy) = proxies.intercept(to) else {
        let stream = Box::new(tcp(to).await?);
        return handshake(stream, to, tls, encrypted, None).await;
    };
    let via = proxy.uri().clone();
    let of_proxy = |error: String| format!("the proxy {}: {error}", authority(&via));
    let stream: Box<dyn Stream> = match via.scheme_str() {
        Some("http") => Box::new(tcp(&via).await.map_err(of_proxy)?),
        Some("https") => {
            let stream = tcp(&via).await.map_err(of_proxy)?;
            let mut only_old = ClientConfig::clone(proxy_tls);
            only_old.alpn_protocols = vec![b"http/1.1".to_vec()];
            Box::new(
                encrypt(stream, &via, &Arc::new(only_old))
                    .await
                    .map_err(of_proxy)?,
            )
        }
        _ => return Err(of_proxy("is none that speaks HTTP".into())),
    };
    if !encrypted {
        return handshake(stream, to, tls, false, Some(proxy)).await;
    }
    let stream = tunnel(stream, to, &proxy).await.map_err(of_proxy)?;
    handshake(stream, to, tls, true, None).await
}

/// Host and port, without a name and a password.
pub(super) fn authority(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn host_and_port(uri: &Uri) -> (&str, u16) {
    let host = uri.host().unwrap_or_default();
    let plain = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let standard = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    (plain.unwrap_or(host), uri.port_u16().unwrap_or(standard))
}

async fn tcp(to: &Uri) -> Result<TcpStream, String> {
    let (host, port) = host_and_port(to);
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|error| format!("{host}: the name is not found: {error}"))?;
    let addresses: Vec<SocketAddr> = found.collect();
    // An address that does not answer leaves time for the next.
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT / count, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Only slower without.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address}: does not answer"),
        }
    }
    Err(format!("{host}: {last}"))
}

async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    to: &Uri,
    tls: &Arc<ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<S>, String> {
    let (host, _) = host_and_port(to);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))?;
    let connector = TlsConnector::from(Arc::clone(tls));
    let stream = connector.connect(name, stream).await;
    stream.map_err(|error| format!("{host}: {}", chain(&error)))
}

async fn handshake(
    stream: Box<dyn Stream>,
    to: &Uri,
    tls: &Arc<ClientConfig>,
    encrypted: bool,
    whole_address: Option<Intercept>,
) -> Result<Connection, String> {
    let said = |error: hyper::Error| chain(&error);
    if !encrypted {
        let sender = Sender::One(old(stream).await.map_err(said)?);
        return Ok(Connection {
            sender,
            number: 0,
            whole_address,
        });
    }
    let stream = encrypt(stream, to, tls).await?;
    let sender = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(u32::try_from(MOST_HEAD).unwrap_or(u32::MAX))
                .max_send_buf_size(16 * 1024)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(said)?;
            // Its end is seen by the questions on it.
            tokio::spawn(async { drop(connection.await) });
            Sender::Many(sender)
        }
        _ => Sender::One(old(stream).await.map_err(said)?),
    };
    Ok(Connection {
        sender,
        number: 0,
        whole_address: None,
    })
}

async fn old(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<http1::SendRequest<String>, hyper::Error> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(async { drop(connection.with_upgrades().await) });
    Ok(sender)
}

/// Asks the proxy for a connection to the server.
async fn tunnel(
    stream: Box<dyn Stream>,
    to: &Uri,
    proxy: &Intercept,
) -> Result<Box<dyn Stream>, String> {
    let said = |error: hyper::Error| chain(&error);
    let mut sender = old(stream).await.map_err(said)?;
    let (host, port) = host_and_port(to);
    let target = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let mut request = Request::connect(&target).header(HOST, &target);
    if let Some(password) = proxy.basic_auth() {
        request = request.header(PROXY_AUTHORIZATION, password);
    }
    let request = request.body(String::new()).map_err(|error| chain(&error))?;
    let answer = sender.send_request(request).await.map_err(said)?;
    if !answer.status().is_success() {
        return Err(format!("answered with status {}", answer.status().as_u16()));
    }
    let stream = hyper::upgrade::on(answer).await.map_err(said)?;
    Ok(Box::new(TokioIo::new(stream)))
}
