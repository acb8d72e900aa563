use super::*;
use std::sync::Arc;
use std::time::Instant;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// A server with one file of 200,000 telling bytes at `/content/blob`, and a client that trusts it.
struct Bench {
    root: tempfile::TempDir,
    server: HttpsServer,
    client: Agent,
}

const SIZE: usize = 200_000;

fn content() -> Vec<u8> {
    (0..=250).cycle().take(SIZE).collect()
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("content")).unwrap();
        std::fs::write(root.path().join("content/blob"), content()).unwrap();
        let server = HttpsServer::start(root.path()).unwrap();
        let client = client(server.ca_pem());
        Self {
            root,
            server,
            client,
        }
    }

    /// Status and content, or what arrived of it, and whether that was all.
    fn get(&self, path: &str, range: Option<&str>) -> Answer {
        let mut request = self.client.get(format!("{}{path}", self.server.url()));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let answer = request.call().unwrap();
        let status = answer.status().as_u16();
        let mut bytes = Vec::new();
        let complete =
            io::Read::read_to_end(&mut answer.into_body().into_reader(), &mut bytes).is_ok();
        Answer {
            status,
            bytes,
            complete,
        }
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    bytes: Vec<u8>,
    complete: bool,
}

fn client(ca_pem: &str) -> Agent {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authority = Certificate::from_pem(ca_pem.as_bytes()).unwrap();
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::new_with_certs(&[authority]))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(3)))
        .build()
        .into()
}

fn fault(make: fn(String, u64) -> Fault, position: u64) -> Fault {
    make("content/".to_owned(), position)
}

#[test]
fn serves_whole_files_and_single_ranges() {
    let bench = Bench::new();
    let cases = [
        (None, 200, 0..SIZE),
        (Some("bytes=70000-"), 206, 70_000..SIZE),
        (Some("bytes=1-3"), 206, 1..4),
        (Some("bytes=-5"), 206, SIZE - 5..SIZE),
        (Some("bytes=200000-"), 416, 0..0),
    ];
    for (range, status, bytes) in cases {
        let answer = bench.get("/content/blob", range);
        assert_eq!(
            (answer.status, answer.complete),
            (status, true),
            "{range:?}"
        );
        assert!(answer.bytes == content()[bytes], "{range:?}");
    }
    assert_eq!(bench.get("/content/none", None).status, 404);
    assert_eq!(bench.get("/content", None).status, 404);
}

#[test]
fn head_and_a_known_entity_tag_bring_no_content() {
    let bench = Bench::new();
    let url = format!("{}/content/blob", bench.server.url());
    let head = bench.client.head(&url).call().unwrap();
    assert_eq!(head.headers()["content-length"], "200000");
    let tag = head.headers()["etag"].clone();
    let again = bench
        .client
        .get(&url)
        .header("if-none-match", &tag)
        .call()
        .unwrap();
    assert_eq!(again.status(), 304);
    assert_eq!(
        bench.server.stats()["content"],
        ClassStats {
            requests: 2,
            bytes: 0
        }
    );

    // The file changed: a range of the old one is no use, the new one comes whole.
    std::fs::write(bench.root.path().join("content/blob"), b"new").unwrap();
    let request = bench
        .client
        .get(&url)
        .header("range", "bytes=1-")
        .header("if-range", &tag);
    let mut answer = request.call().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.body_mut().read_to_string().unwrap(), "new");
}

#[test]
fn requests_are_logged_and_counted_by_first_directory() {
    let bench = Bench::new();
    bench.get("/content/blob", Some("bytes=0-99"));
    bench.get("/metadata/root.json", None);
    let stats = bench.server.stats();
    assert_eq!(
        stats["content"],
        ClassStats {
            requests: 1,
            bytes: 100
        }
    );
    assert_eq!(
        stats["metadata"],
        ClassStats {
            requests: 1,
            bytes: 0
        }
    );
    assert_eq!(
        bench.server.log()[0],
        LoggedRequest {
            method: "GET".into(),
            path: "/content/blob".into(),
            range: Some("bytes=0-99".into()),
            status: 206
        }
    );
    bench.server.reset_stats();
    assert!(bench.server.log().is_empty() && bench.server.stats().is_empty());
}

#[test]
fn a_client_that_does_not_know_the_authority_refuses_the_server() {
    let bench = Bench::new();
    let other = HttpsServer::start(bench.root.path()).unwrap();
    let refused = client(other.ca_pem())
        .get(bench.server.url())
        .call()
        .unwrap_err();
    assert!(
        refused.to_string().contains("invalid peer certificate"),
        "{refused}"
    );
}

#[test]
fn the_certificate_names_what_hosts_and_guests_dial() {
    let bench = Bench::new();
    let url = format!("https://localhost:{}/content/blob", bench.server.port());
    assert_eq!(bench.client.get(url).call().unwrap().status(), 200);
    // 10.0.2.2 exists in guests only: curl is told that it is here.
    let authority = bench.root.path().join("ca.pem");
    std::fs::write(&authority, bench.server.ca_pem()).unwrap();
    let port = bench.server.port();
    let curl = std::process::Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--output",
            "/dev/null",
            "--cacert",
        ])
        .arg(authority)
        .args(["--connect-to", &format!("10.0.2.2:{port}:127.0.0.1:{port}")])
        .arg(format!("{}/content/blob", bench.server.guest_url()))
        .output()
        .expect("curl: apt-get install curl");
    assert!(
        curl.status.success(),
        "{}",
        String::from_utf8_lossy(&curl.stderr)
    );
}

#[test]
fn truncation_breaks_off_after_exactly_so_many_bytes() {
    let bench = Bench::new();
    let truncate = |path_contains, after_bytes| Fault::Truncate {
        path_contains,
        after_bytes,
    };
    bench.server.set_fault(fault(truncate, 100_000)).unwrap();
    let answer = bench.get("/content/blob", None);
    assert_eq!(
        (answer.status, answer.bytes.len(), answer.complete),
        (200, 100_000, false)
    );
    // Counted in each answer: the rest is short enough to arrive.
    let rest = bench.get("/content/blob", Some("bytes=100000-"));
    assert_eq!(
        (rest.status, rest.bytes.len(), rest.complete),
        (206, 100_000, true)
    );
}

#[test]
fn corruption_changes_one_byte_of_the_file_in_any_range() {
    let bench = Bench::new();
    let corrupt = |path_contains, offset| Fault::Corrupt {
        path_contains,
        offset,
    };
    bench.server.set_fault(fault(corrupt, 70_001)).unwrap();
    for (range, start) in [
        (None, 0),
        (Some("bytes=70000-"), 70_000),
        (Some("bytes=70001-"), 70_001),
    ] {
        let answer = bench.get("/content/blob", range);
        let right = &content()[start..];
        let wrong: Vec<usize> = (0..right.len())
            .filter(|index| answer.bytes[*index] != right[*index])
            .collect();
        assert_eq!(wrong, [70_001 - start], "{range:?}");
    }
    assert!(bench.get("/content/blob", Some("bytes=70002-")).bytes == content()[70_002..]);
}

#[test]
fn a_stall_leaves_the_client_waiting() {
    let bench = Bench::new();
    let stall = |path_contains, after_bytes| Fault::Stall {
        path_contains,
        after_bytes,
    };
    bench.server.set_fault(fault(stall, 1000)).unwrap();
    let began = Instant::now();
    let answer = bench.get("/content/blob", None);
    assert_eq!((answer.bytes.len(), answer.complete), (1000, false));
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "the client's own deadline ended it"
    );
}

#[test]
fn an_unreachable_server_comes_back_on_its_port() {
    let bench = Bench::new();
    assert_eq!(bench.get("/content/blob", None).status, 200);
    bench.server.set_fault(Fault::Unreachable).unwrap();
    let refused = bench.client.get(bench.server.url()).call().unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
    bench.server.clear_faults().unwrap();
    assert_eq!(bench.get("/content/blob", None).status, 200);
}

#[test]
fn status_ranges_and_rate_can_be_spoilt_and_repaired() {
    let bench = Bench::new();
    bench.server.set_fault(Fault::Status(503)).unwrap();
    assert_eq!(bench.get("/content/blob", None).status, 503);
    bench.server.clear_faults().unwrap();

    bench.server.set_fault(Fault::NoRanges).unwrap();
    let whole = bench.get("/content/blob", Some("bytes=5-6"));
    assert_eq!((whole.status, whole.bytes.len()), (200, SIZE));
    bench.server.clear_faults().unwrap();

    bench
        .server
        .set_fault(Fault::Rate {
            bytes_per_second: 400_000,
        })
        .unwrap();
    let began = Instant::now();
    assert!(bench.get("/content/blob", None).complete);
    assert!(
        began.elapsed() >= Duration::from_millis(400),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn the_served_directory_can_be_replaced() {
    let bench = Bench::new();
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("file"), b"other").unwrap();
    bench.server.serve(other.path()).unwrap();
    assert_eq!(bench.get("/file", None).bytes, b"other");
    assert_eq!(bench.get("/content/blob", None).status, 404);
    let missing = bench.server.serve(&other.path().join("none")).unwrap_err();
    assert!(matches!(missing, HttpsError::Directory(_)), "{missing}");
}
