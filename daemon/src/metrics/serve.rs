//! Answers scrapes.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use super::render::render;
use crate::driver::View;
use crate::settings::MetricsSettings;

/// What the driver shows.
pub type Views = watch::Receiver<Arc<View>>;

/// One scraper asks at a time; a few more may look by hand.
const MOST_CONNECTIONS: usize = 8;
/// For the question and the answer together.
const LIMIT: Duration = Duration::from_secs(10);
/// Before a listener that failed is used again.
const PAUSE: Duration = Duration::from_secs(1);
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until the program ends. What cannot be opened is said, and left: metrics are no reason not to
/// update.
pub async fn serve(settings: MetricsSettings, views: Views) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let unix = async {
        if let Some(path) = &settings.socket {
            match open(path) {
                Ok(listener) => on_socket(&listener, &views, &room).await,
                Err(error) => tracing::warn!("metrics: {}: {error}", path.display()),
            }
        }
    };
    let network = async {
        if let Some(address) = settings.listen {
            match TcpListener::bind(address).await {
                Ok(listener) => on_address(&listener, &views, &room).await,
                Err(error) => tracing::warn!("metrics: {address}: {error}"),
            }
        }
    };
    tokio::join!(unix, network);
}

/// Everybody on this device may read, as on the bus.
fn open(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

async fn on_socket(listener: &UnixListener, views: &Views, room: &Arc<Semaphore>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => answer(stream, views, room).await,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn on_address(listener: &TcpListener, views: &Views, room: &Arc<Semaphore>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => answer(stream, views, room).await,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Waits for room, and answers beside everything else.
async fn answer<S>(stream: S, views: &Views, room: &Arc<Semaphore>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Ok(permit) = Arc::clone(room).acquire_owned().await else {
        return;
    };
    let views = views.clone();
    tokio::spawn(async move {
        let respond = service_fn(move |request: Request<Incoming>| {
            let response = respond(&request, &views);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(LIMIT)
            .max_buf_size(16 * 1024)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), respond);
        // Whoever asks and goes away is no trouble of ours.
        let _ = tokio::time::timeout(LIMIT, connection).await;
        drop(permit);
    });
}

fn respond(request: &Request<Incoming>, views: &Views) -> Response<String> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, FORMAT, render(&views.borrow())),
        (&Method::GET, _) => {
            let text = "metrics are at /metrics\n".into();
            (StatusCode::NOT_FOUND, "text/plain", text)
        }
        _ => {
            let text = "only GET is understood\n".into();
            (StatusCode::METHOD_NOT_ALLOWED, "text/plain", text)
        }
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
