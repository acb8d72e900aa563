//! Accepting connections, within limits.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;
use crate::{api, dashboard, ddi, planner, webhooks};

/// Most connections at the same time.
const MAX_CONNECTIONS: usize = 200_000;
/// A client has this long for the head of a request: one that sends byte by byte is cut off.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What the client speaks.
#[derive(Debug, Clone, Copy)]
pub struct Scheme(pub &'static str);

/// All addresses.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .merge(ddi::router())
        .merge(api::router())
        .merge(dashboard::router())
        .layer(CatchPanicLayer::new())
        .with_state(app)
}

/// Starts what runs beside the requests.
pub fn start_tasks(app: &Arc<App>) {
    tokio::spawn(planner::run(app.clone()));
    tokio::spawn(planner::save_heard(app.clone()));
    tokio::spawn(webhooks::collect(app.clone()));
    tokio::spawn(webhooks::deliver(app.clone()));
    if app.store.is_shared() {
        tokio::spawn(planner::follow(app.clone()));
    }
}

/// Answers connections until the process ends.
///
/// # Errors
/// The listener is broken.
pub async fn serve(app: Arc<App>, listener: TcpListener) -> std::io::Result<()> {
    let router = router(app);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return Ok(());
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(why) if is_passing(&why) => {
                // Out of files, or the client is gone already.
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            Err(why) => return Err(why),
        };
        let router = router.clone();
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            connection(router, TokioIo::new(stream), peer).await;
            drop(place);
        });
    }
}

async fn connection(router: Router, io: TokioIo<tokio::net::TcpStream>, peer: SocketAddr) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let router = router.clone();
        async move {
            request.extensions_mut().insert(Peer(peer.ip()));
            request.extensions_mut().insert(Scheme("http"));
            let answer = tower_service::Service::call(&mut router.clone(), request).await;
            Ok::<_, Infallible>(answer.into_response())
        }
    });
    // A client that breaks off is no news.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(32 * 1024)
        .serve_connection(io, service)
        .await;
}

fn is_passing(why: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    let kind = matches!(
        why.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    );
    // EMFILE, ENFILE.
    kind || matches!(why.raw_os_error(), Some(23 | 24))
}
