//! Accepting connections, within limits.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::{App, now};
use crate::proxy::{Client, Proxies};
use crate::tls::{Certified, NoHandshake};
use crate::{api, dashboard, ddi, planner, webhooks};

/// Most connections at the same time.
const MAX_CONNECTIONS: usize = 200_000;
/// A client has this long for the head of a request: one that sends byte by byte is cut off.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Longest head of a request in bytes.
const MAX_HEAD: u32 = 32 * 1024;
/// Requests of one HTTP/2 connection at the same time.
const MAX_STREAMS: u32 = 32;
/// A quiet HTTP/2 connection is asked after this time whether it is still there.
const ASK_AFTER: Duration = Duration::from_secs(60);

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
    let router = router(app.clone());
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
        let (router, app) = (router.clone(), app.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            accepted(router, &app, stream, peer.ip()).await;
            drop(place);
        });
    }
}

/// One connection, from its handshake to its end.
async fn accepted(router: Router, app: &App, stream: TcpStream, peer: IpAddr) {
    let proxies = app.settings.proxies.clone();
    let Some(tls) = &app.tls else {
        let caller = Connected::new(router, proxies, peer, None);
        caller.speak(stream, false, None).await;
        return;
    };
    match tls.accept(stream).await {
        Ok(secured) => {
            // Who came without a certificate does not depend on whose are trusted.
            let trust = secured.device.is_some().then_some(secured.trust);
            let mut caller = Connected::new(router, proxies, peer, secured.device);
            caller.direct.is_secure = true;
            caller.speak(secured.stream, secured.is_http2, trust).await;
        }
        Err(why) => {
            app.metrics.refused_handshakes.add(1);
            tell_refusal(peer, &why);
        }
    }
}

/// Says at most once in a second that there was no handshake: anybody can make them fail.
fn tell_refusal(peer: IpAddr, why: &NoHandshake) {
    static TOLD_AT: AtomicI64 = AtomicI64::new(0);
    let of_certificate = matches!(why, NoHandshake::Refused(why)
        if why.get_ref().is_some_and(|why| matches!(
            why.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))));
    let now = now().unix();
    if of_certificate && TOLD_AT.swap(now, Ordering::Relaxed) != now {
        tracing::warn!("TLS: {peer}: {why}");
    }
}

/// The other end of a connection.
struct Connected {
    router: Router,
    proxies: Arc<Proxies>,
    direct: Client,
    asked: Arc<AtomicBool>,
}

impl Connected {
    fn new(
        router: Router,
        proxies: Arc<Proxies>,
        peer: IpAddr,
        device: Option<Arc<Certified>>,
    ) -> Self {
        Self {
            router,
            proxies,
            direct: Client {
                address: peer,
                is_secure: false,
                device,
            },
            asked: Arc::default(),
        }
    }

    /// Answers requests. When whom to trust changes, those that are begun are the last.
    async fn speak<S>(self, stream: S, is_http2: bool, trust: Option<watch::Receiver<u64>>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self {
            router,
            proxies,
            direct,
            asked,
        } = self;
        let began = asked.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            began.store(true, Ordering::Relaxed);
            let client = proxies.client(direct.clone(), request.headers());
            request.extensions_mut().insert(client);
            let mut router = router.clone();
            async move {
                let answer = tower_service::Service::call(&mut router, request).await;
                Ok::<_, Infallible>(answer.into_response())
            }
        });
        let io = TokioIo::new(stream);
        if is_http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_concurrent_streams(MAX_STREAMS)
                .max_header_list_size(MAX_HEAD)
                .keep_alive_interval(ASK_AFTER)
                .keep_alive_timeout(HEAD_TIME);
            let connection = builder.serve_connection(io, service);
            to_the_end(connection, &asked, trust).await;
        } else {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(MAX_HEAD as usize);
            let connection = builder.serve_connection(io, service);
            to_the_end(connection, &asked, trust).await;
        }
    }
}

async fn to_the_end<C: GracefulConnection>(
    connection: C,
    asked: &AtomicBool,
    trust: Option<watch::Receiver<u64>>,
) {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A client that breaks off is no news.
        _ = connection.as_mut() => return,
        () = nothing_asked(asked) => return,
        () = changed(trust) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Ends when a connection had its time and nothing was asked over it.
async fn nothing_asked(asked: &AtomicBool) {
    tokio::time::sleep(HEAD_TIME * 2).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

async fn changed(trust: Option<watch::Receiver<u64>>) {
    if let Some(mut trust) = trust
        && trust.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
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
