//! HTTP/2: many ranges under way on one connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use switchbackd::fetch::{HttpSource, Source};

use super::server::{Identity, settings, tasks};
use super::{file, joined};

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    questions: AtomicUsize,
    /// Under way now, and at most.
    open: AtomicUsize,
    most: AtomicUsize,
}

/// A server of one file that knows only single ranges, each after 50 ms.
fn start(content: Arc<Vec<u8>>) -> (u16, tempfile::TempDir, Arc<Counts>) {
    let Identity { tls, directory } = Identity::new(&["h2"]);
    let counts = Arc::new(Counts::default());
    let noted = Arc::clone(&counts);
    let port = tasks(move |stream| {
        noted.connections.fetch_add(1, Ordering::Relaxed);
        let tls = tokio_rustls::TlsAcceptor::from(Arc::clone(&tls));
        let (content, noted) = (Arc::clone(&content), Arc::clone(&noted));
        async move {
            let stream = tls.accept(stream).await.unwrap();
            let service = service_fn(move |request| {
                respond(request, Arc::clone(&content), Arc::clone(&noted))
            });
            let _ended = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    });
    (port, directory, counts)
}

async fn respond(
    request: Request<Incoming>,
    content: Arc<Vec<u8>>,
    counts: Arc<Counts>,
) -> Result<Response<Whole>, Infallible> {
    counts.questions.fetch_add(1, Ordering::Relaxed);
    let open = counts.open.fetch_add(1, Ordering::Relaxed) + 1;
    counts.most.fetch_max(open, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    counts.open.fetch_sub(1, Ordering::Relaxed);
    let range = request
        .headers()
        .get("range")
        .map(|range| range.to_str().unwrap());
    let one = range.filter(|range| !range.contains(','));
    let Some((first, last)) = one.and_then(|one| one.strip_prefix("bytes=")?.split_once('-'))
    else {
        return Ok(Response::new(Whole(Some(content.to_vec()))));
    };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let response = Response::builder()
        .status(206)
        .header(
            "content-range",
            format!("bytes {first}-{last}/{}", content.len()),
        )
        .body(Whole(Some(content[first..=last].to_vec())));
    Ok(response.unwrap())
}

/// A body of one piece.
struct Whole(Option<Vec<u8>>);

impl hyper::body::Body for Whole {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, Infallible>>> {
        let piece = self.0.take();
        std::task::Poll::Ready(piece.map(|piece| Ok(hyper::body::Frame::data(piece.into()))))
    }
}

#[test]
fn single_ranges_are_under_way_together_on_one_connection() {
    let content = Arc::new(file(4_000_000));
    let (port, directory, counts) = start(Arc::clone(&content));
    let url = format!("https://localhost:{port}");
    let source = HttpSource::new(&settings(&url, directory.path().join("ca.pem"))).unwrap();
    let ranges: Vec<_> = (0..40_u64)
        .map(|at| at * 100_000..at * 100_000 + if at % 10 == 0 { 90_000 } else { 2_000 })
        .chain([3_950_000..4_000_000, 0..200_000])
        .collect();
    let mut parts = source.ranges("pack", &ranges).unwrap();
    let expected = joined(&content, &ranges);
    let mut bytes = vec![0; expected.len()];
    parts.fill(&mut bytes).unwrap();
    assert!(bytes == expected);
    assert_eq!(parts.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(parts.received(), expected.len() as u64);
    assert_eq!(counts.connections.load(Ordering::Relaxed), 1);
    // One for several ranges, which brought the whole file.
    assert_eq!(counts.questions.load(Ordering::Relaxed), 1 + 42);
    let most = counts.most.load(Ordering::Relaxed);
    assert!((8..=32).contains(&most), "{most}");
    // One that has more bytes than its window, and than all that are behind it may take.
    let ranges = [0..2_500_000, 2_600_000..3_500_000, 3_600_000..3_999_999];
    let mut parts = source.ranges("pack", &ranges).unwrap();
    for range in ranges {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        parts.fill(&mut bytes).unwrap();
        assert!(bytes == content[range.start as usize..range.end as usize]);
    }
}

#[test]
fn a_large_file_comes_through_the_window() {
    let content = Arc::new(file(3_000_000));
    let (port, directory, _) = start(Arc::clone(&content));
    let url = format!("https://localhost:{port}");
    let source = HttpSource::new(&settings(&url, directory.path().join("ca.pem"))).unwrap();
    let mut stream = source.stream("pack", 0).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut bytes).unwrap();
    assert!(bytes == *content);
}
