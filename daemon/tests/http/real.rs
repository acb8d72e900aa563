//! Servers that others wrote: nginx, and Python's, which has no ranges.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use switchbackd::fetch::{FetchError, Files, HttpSource, Source};

use super::server::{Identity, settings};
use super::{file, joined};

/// A program that is stopped when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts it and waits until it listens.
    fn start(command: &mut Command, port: u16, package: &str) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let why = format!("{package} is installed (apt-get install {package})");
        let mut running = Self(child.expect(&why));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(running.0.try_wait().unwrap().is_none(), "{package} ended");
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{package} does not listen"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        running
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

struct Nginx {
    identity: Identity,
    port: u16,
    _running: Running,
}

impl Nginx {
    fn start(content: &[u8], more: &str) -> Self {
        let identity = Identity::new(&[]);
        let directory = identity.directory.path();
        let port = free_port();
        std::fs::create_dir(directory.join("www")).unwrap();
        std::fs::write(directory.join("www/pack"), content).unwrap();
        let config = format!(
            "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;
             events {{ worker_connections 64; }}
             http {{
               log_format asked '$connection $server_protocol $status $body_bytes_sent $http_range';
               access_log {0}/access.log asked;
               client_body_temp_path {0}/t1; proxy_temp_path {0}/t2; fastcgi_temp_path {0}/t3;
               uwsgi_temp_path {0}/t4; scgi_temp_path {0}/t5;
               server {{
                 listen 127.0.0.1:{port} ssl http2;
                 ssl_certificate {0}/ca.pem; ssl_certificate_key {0}/key.pem;
                 root {0}/www; {more}
               }}
             }}",
            directory.display()
        );
        std::fs::write(directory.join("nginx.conf"), config).unwrap();
        let mut command = Command::new("nginx");
        // Where a user who is not root may not look.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .args(["-p", ".", "-e", "stderr", "-c"])
            .arg(directory.join("nginx.conf"));
        let running = Running::start(&mut command, port, "nginx-light");
        Self {
            identity,
            port,
            _running: running,
        }
    }

    fn source(&self) -> HttpSource {
        let url = format!("https://localhost:{}", self.port);
        let ca = self.identity.directory.path().join("ca.pem");
        HttpSource::new(&settings(&url, ca)).unwrap()
    }

    /// Its log's lines, once there are `count`.
    fn log(&self, count: usize) -> Vec<String> {
        let path = self.identity.directory.path().join("access.log");
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if lines.len() >= count || begun.elapsed() > Duration::from_secs(5) {
                return lines;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn many(count: u64) -> Vec<Range<u64>> {
    (0..count)
        .map(|at| at * 20_000..at * 20_000 + 3_000)
        .collect()
}

fn check(source: &HttpSource, content: &[u8], ranges: &[Range<u64>]) -> u64 {
    let mut parts = source.ranges("pack", ranges).unwrap();
    let expected = joined(content, ranges);
    let mut bytes = vec![0; expected.len()];
    parts.fill(&mut bytes).unwrap();
    assert!(bytes == expected);
    parts.received() - expected.len() as u64
}

#[test]
fn nginx_gives_64_ranges_in_one_answer_over_http2() {
    let content = file(2_000_000);
    let nginx = Nginx::start(&content, "");
    let around = check(&nginx.source(), &content, &many(100));
    let log = nginx.log(2);
    assert_eq!(log.len(), 2, "{log:?}");
    for line in &log {
        assert!(line.contains("HTTP/2.0 206"), "{line}");
    }
    println!("{} bytes around each of 100 ranges", around / 100);
    assert!(around < 160 * 100, "{around}");
}

#[test]
fn nginx_without_several_ranges_gives_them_one_by_one_on_one_connection() {
    let content = file(2_000_000);
    let nginx = Nginx::start(&content, "max_ranges 1;");
    assert_eq!(check(&nginx.source(), &content, &many(100)), 0);
    let log = nginx.log(101);
    let connection = |line: &String| line.split(' ').next().unwrap().to_owned();
    assert_eq!(log.len(), 101);
    assert!(
        log.iter()
            .all(|line| connection(line) == connection(&log[0])),
        "{log:?}"
    );
    assert_eq!(
        log.iter()
            .filter(|line| line.contains("HTTP/2.0 206"))
            .count(),
        100
    );
    // The whole file that came first was broken off.
    let sent: u64 = log
        .iter()
        .map(|line| line.split(' ').nth(3).unwrap().parse::<u64>().unwrap())
        .sum();
    println!("{sent} bytes sent for 300000");
    assert!(sent < 300_000 + 1_000_000, "{sent}");
}

#[test]
fn nginx_without_ranges_is_told_apart() {
    let content = file(2_000_000);
    let nginx = Nginx::start(&content, "max_ranges 0;");
    let error = nginx.source().ranges("pack", &many(100)).err().unwrap();
    assert!(matches!(error, FetchError::NoRanges { .. }), "{error}");
}

#[test]
fn a_file_that_nginx_replaces_is_not_mixed() {
    let nginx = Nginx::start(&[1; 100_000], "");
    let source = nginx.source();
    let mut first = source.stream("pack", 0).unwrap();
    first.read_exact(&mut [0; 100]).unwrap();
    let www = nginx.identity.directory.path().join("www");
    std::fs::write(www.join("new"), vec![2; 90_000]).unwrap();
    std::fs::rename(www.join("new"), www.join("pack")).unwrap();
    let mut bytes = Vec::new();
    source
        .stream("pack", 100)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, vec![2; 89_900]);
    let log = nginx.log(2);
    assert!(log[1].contains(" 200 90000 bytes=100-"), "{log:?}");
}

/// Python's `http.server`.
pub(crate) struct Python {
    pub(crate) port: u16,
    _running: Running,
}

impl Python {
    pub(crate) fn plain(directory: &Path) -> Self {
        let port = free_port();
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1"]);
        command
            .arg(port.to_string())
            .arg("--directory")
            .arg(directory);
        let running = Running::start(&mut command, port, "python3");
        Self {
            port,
            _running: running,
        }
    }

    /// The same behind its own TLS.
    fn encrypted(directory: &Path, identity: &Identity) -> Self {
        const PROGRAM: &str = "
import http.server, ssl, sys, functools
port, www, keys = int(sys.argv[1]), sys.argv[2], sys.argv[3]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=www)
server = http.server.ThreadingHTTPServer(('127.0.0.1', port), handler)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(keys + '/ca.pem', keys + '/key.pem')
server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
";
        let port = free_port();
        let mut command = Command::new("python3");
        command.args(["-c", PROGRAM, &port.to_string()]);
        command.arg(directory).arg(identity.directory.path());
        let running = Running::start(&mut command, port, "python3");
        Self {
            port,
            _running: running,
        }
    }
}

#[test]
fn pythons_server_has_no_ranges_and_gives_files_from_the_start() {
    let (identity, directory) = (Identity::new(&[]), tempfile::tempdir().unwrap());
    let content = file(2_000_000);
    std::fs::write(directory.path().join("pack"), &content).unwrap();
    let python = Python::encrypted(directory.path(), &identity);
    let url = format!("https://localhost:{}", python.port);
    let ca = identity.directory.path().join("ca.pem");
    let source = HttpSource::new(&settings(&url, ca)).unwrap();
    let error = source.ranges("pack", &many(50)).err().unwrap();
    assert!(matches!(error, FetchError::NoRanges { .. }), "{error}");
    // Nearly all of it: read over.
    check(&source, &content, &[0..900_000, 1_000_000..2_000_000]);
    let mut bytes = Vec::new();
    source
        .stream("pack", 1_500_000)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert!(bytes == content[1_500_000..]);
    let error = source.file("other", 10).unwrap_err();
    assert!(matches!(error, FetchError::Missing { .. }), "{error}");
}

/// An S3 store, as `moto` plays it: single ranges, and a public object. `moto` weighs a hundred megabytes, so it
/// is not part of the ordinary run:
///
/// `pip install 'moto[server,s3]'`, then
/// `SWITCHBACK_MOTO=moto_server cargo test -p switchbackd --test http -- --ignored s3`
#[test]
#[ignore = "needs moto_server, see above"]
fn an_s3_store_gives_ranges_one_by_one() {
    let program = std::env::var("SWITCHBACK_MOTO").unwrap_or_else(|_| "moto_server".into());
    let identity = Identity::new(&[]);
    let directory = identity.directory.path();
    let port = free_port();
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string(), "-s", "-c"]);
    command
        .arg(directory.join("ca.pem"))
        .arg("-k")
        .arg(directory.join("key.pem"));
    let _running = Running::start(&mut command, port, "moto");
    let content = file(2_000_000);
    std::fs::write(directory.join("pack"), &content).unwrap();
    let url = format!("https://localhost:{port}/bucket");
    let put = |target: String, data: Option<&Path>| {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--fail",
            "-X",
            "PUT",
            "--cacert",
        ]);
        curl.arg(directory.join("ca.pem"))
            .args(["-H", "x-amz-acl: public-read"]);
        if let Some(data) = data {
            // Its server waits for the content before it lets curl send it.
            curl.args([
                "-H",
                "Expect:",
                "-H",
                "Content-Type: application/octet-stream",
            ]);
            curl.arg("--data-binary")
                .arg(format!("@{}", data.display()));
        }
        assert!(curl.arg(target).status().unwrap().success());
    };
    put(url.clone(), None);
    put(format!("{url}/pack"), Some(&directory.join("pack")));
    let source = HttpSource::new(&settings(&url, directory.join("ca.pem"))).unwrap();
    assert_eq!(check(&source, &content, &many(50)), 0);
    let mut bytes = Vec::new();
    source
        .stream("pack", 1_999_000)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert!(bytes == content[1_999_000..]);
    let error = source.file("other", 10).unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Missing { .. } | FetchError::Status { status: 403, .. }
        ),
        "{error}"
    );
}
