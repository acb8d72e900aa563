//! Servers that are slow, change their mind, point elsewhere, or lie.

use std::io::Read;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use switchbackd::fetch::{Credentials, FetchError, Files, HttpSource, Source, open_url};

use super::file;
use super::server::{
    self, Answer, Piece, Question, Server, answer, multi, settings, single, whole,
};

fn source(server: &Server) -> HttpSource {
    HttpSource::new(&server.settings()).unwrap()
}

/// One that loses patience after two seconds.
fn impatient(server: &Server) -> HttpSource {
    let mut settings = server.settings();
    settings.stall_timeout = Duration::from_secs(2);
    HttpSource::new(&settings).unwrap()
}

fn all(mut stream: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map(|_| bytes)
}

fn transport(error: &FetchError, part: &str) {
    assert!(matches!(error, FetchError::Transport { .. }), "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[test]
fn a_question_says_who_asks_and_asks_for_bytes_as_they_are() {
    let server = Server::of(b"hello", whole);
    let source = source(&server);
    assert_eq!(source.file("metadata/root.json", 5).unwrap(), b"hello");
    assert_eq!(source.file("metadata/root.json", 5).unwrap(), b"hello");
    let asked = server.asked();
    assert_eq!(asked[0].path, "/repository/metadata/root.json");
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    let name = asked[0].header("user-agent").unwrap();
    assert!(name.starts_with("switchbackd/"), "{name}");
    let host = format!("localhost:{}", server.port);
    assert_eq!(asked[0].header("host"), Some(host.as_str()));
    assert_eq!(asked[0].connection, asked[1].connection);
}

#[test]
fn a_file_longer_than_allowed_is_refused_even_if_it_never_ends() {
    let server = Server::of(b"hello", whole);
    let error = source(&server).file("x", 4).unwrap_err();
    assert!(matches!(error, FetchError::TooLong { .. }), "{error}");

    let server = Server::start(|_| {
        let mut pieces = vec![Piece::Bytes(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())];
        pieces.extend((0..10_000).map(|_| Piece::Bytes(vec![7; 10_000])));
        pieces
    });
    let error = source(&server).file("x", 100_000).unwrap_err();
    assert!(matches!(error, FetchError::TooLong { .. }), "{error}");
}

#[test]
fn a_stall_breaks_off_after_the_time_for_it() {
    let pause = || Piece::Pause(Duration::from_secs(20));
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_vec();
    let server = Server::start(move |question| match question.path.ends_with("head") {
        true => vec![pause()],
        false => vec![Piece::Bytes(head.clone()), pause()],
    });
    let source = impatient(&server);
    let begun = Instant::now();
    transport(&source.file("head", 10).unwrap_err(), "no answer for 2 s");
    transport(
        &source.file("body", 10).unwrap_err(),
        "nothing came for 2 s",
    );
    let mut stream = source.stream("body", 0).unwrap();
    let mut read = [0; 5];
    stream.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"hello");
    let error = stream.read(&mut read).unwrap_err();
    assert!(error.to_string().contains("nothing came"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_small_file_that_drips_does_not_hold_a_poll_for_ever() {
    let server = Server::start(|_| {
        let mut pieces = vec![Piece::Bytes(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec(),
        )];
        for _ in 0..1000 {
            pieces.push(Piece::Bytes(b"x".to_vec()));
            pieces.push(Piece::Pause(Duration::from_millis(200)));
        }
        pieces
    });
    let begun = Instant::now();
    transport(
        &impatient(&server).file("x", 1000).unwrap_err(),
        "bytes in 4 s",
    );
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn retry_after_is_understood_in_both_forms() {
    let server = Server::start(|question| match question.path.ends_with("seconds") {
        true => answer("503 Service Unavailable", "Retry-After: 120\r\n", b"busy"),
        false => answer(
            "429 Too Many Requests",
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:54:37 GMT\r\n",
            b"",
        ),
    });
    let source = source(&server);
    for (path, expected, pause) in [("seconds", 503, 120), ("date", 429, 300)] {
        match source.file(path, 10).unwrap_err() {
            FetchError::Status {
                status,
                retry_after,
                ..
            } => {
                assert_eq!(status, expected);
                assert_eq!(retry_after, Some(Duration::from_secs(pause)));
            }
            other => panic!("{other}"),
        }
    }
}

fn redirect(location: &str) -> Answer {
    answer(
        "302 Found",
        &format!("Location: {location}\r\n"),
        b"over there",
    )
}

#[test]
fn redirects_are_followed_with_their_ranges_but_not_for_ever() {
    let server = Server::start(|question| {
        let path = question
            .path
            .strip_prefix("/repository/")
            .unwrap_or(&question.path);
        match path {
            "start" => redirect("further"),
            "further" => redirect("/elsewhere"),
            "/elsewhere" => single(&file(1000), question),
            "loop" => redirect("loop"),
            "downgrade" => redirect("http://localhost/x"),
            _ => redirect("nonsense:"),
        }
    });
    let source = source(&server);
    assert!(all(source.stream("start", 990).unwrap()).unwrap() == file(1000)[990..]);
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[2].header("range"), Some("bytes=990-"));
    // What they hold is read, so one connection is enough.
    assert_eq!(asked[2].connection, asked[0].connection);
    transport(&source.file("loop", 10).unwrap_err(), "more than 4 times");
    assert_eq!(server.asked().len(), 3 + 5);
    transport(&source.file("downgrade", 10).unwrap_err(), "may be asked");
    transport(&source.file("nonsense", 10).unwrap_err(), "no address");
}

#[test]
fn an_unencrypted_repository_is_not_asked() {
    let server = Server::of(b"hello", whole);
    let settings = settings("http://localhost:1", server.ca_file());
    let error = HttpSource::new(&settings)
        .unwrap()
        .file("x", 10)
        .unwrap_err();
    transport(&error, "may be asked");
}

#[test]
fn a_server_with_another_certificate_is_not_believed() {
    let (server, other) = (Server::of(b"hello", whole), Server::of(b"hello", whole));
    let url = format!("https://localhost:{}", server.port);
    let source = HttpSource::new(&settings(&url, other.ca_file())).unwrap();
    transport(&source.file("x", 10).unwrap_err(), "certificate");
    assert_eq!(server.asked().len(), 0);
}

/// A file of which another version appears after the first question, with its entity tag.
fn changing(count: &AtomicUsize, question: &Question) -> Answer {
    let changed = count.fetch_add(1, Ordering::Relaxed) > 0;
    let (tag, content) = match changed {
        false => ("\"one\"", vec![1; 10_000]),
        true => ("\"two\"", vec![2; 10_000]),
    };
    let holds = question.header("if-range").is_none_or(|asked| asked == tag);
    let mut pieces = match holds {
        true => multi(&content, question),
        false => whole(&content, question),
    };
    let [Piece::Bytes(bytes)] = pieces.as_mut_slice() else {
        panic!("one piece");
    };
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes.splice(line..line, format!("ETag: {tag}\r\n").into_bytes());
    pieces
}

#[test]
fn a_file_that_changed_meanwhile_is_not_mixed() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |question| changing(&count, question));
    let source = source(&server);
    let mut first = source.stream("x", 0).unwrap();
    first.read_exact(&mut [0; 100]).unwrap();
    // It comes whole, and what is before the place is read over.
    assert_eq!(all(source.stream("x", 9_000).unwrap()).unwrap(), [2; 1000]);
    assert_eq!(server.asked()[1].header("if-range"), Some("\"one\""));
    let mut parts = source.ranges("x", &[1..2, 5_000..5_001]).unwrap();
    let mut bytes = [0; 2];
    parts.fill(&mut bytes).unwrap();
    assert_eq!(bytes, [2; 2]);
    assert_eq!(server.asked()[2].header("if-range"), Some("\"two\""));
    // Another file's version is not asked for.
    let _ = source.stream("y", 10).unwrap();
    assert_eq!(server.asked()[3].header("if-range"), None);
}

#[test]
fn an_answer_that_is_cut_is_no_end_of_the_file() {
    let server = Server::start(|question| {
        let mut pieces = single(&file(100_000), question);
        let Some(Piece::Bytes(bytes)) = pieces.first_mut() else {
            panic!("one piece");
        };
        bytes.truncate(5000);
        pieces.push(match question.path.ends_with("cut") {
            true => Piece::Cut,
            false => Piece::Close,
        });
        pieces
    });
    let source = source(&server);
    for path in ["cut", "closed"] {
        let mut stream = source.stream(path, 0).unwrap();
        let error = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{path}");
        // A file of which the server has only a part is told from a bad network by how often this happens.
        let mut parts = source.ranges(path, &[0..30_000]).unwrap();
        let error = parts.fill(&mut [0; 30_000]).unwrap_err();
        assert!(matches!(error, FetchError::EndedEarly { .. }), "{error}");
        drop(parts);
        // Ranges go on where they broke.
        let wanted = 10..30_000;
        let mut at = wanted.start;
        let mut bytes = Vec::new();
        for _ in 0..20 {
            let ranges = [at..wanted.end];
            let Ok(mut parts) = source.ranges(path, &ranges) else {
                continue;
            };
            let mut buffer = [0; 1000];
            while let Ok(count @ 1..) = parts.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..count]);
                at += count as u64;
            }
        }
        assert!(
            bytes == file(100_000)[10..30_000],
            "{path}: {}",
            bytes.len()
        );
    }
}

#[test]
fn a_connection_that_the_server_closed_meanwhile_is_replaced() {
    let server = Server::start(|_| {
        let mut pieces = answer("200 OK", "", b"hello");
        pieces.push(Piece::Cut);
        pieces
    });
    let source = source(&server);
    for expected in 0..3 {
        assert_eq!(source.file("x", 5).unwrap(), b"hello");
        assert_eq!(server.asked()[expected].connection, expected);
    }
}

#[test]
fn the_limit_holds_for_all_ranges_together() {
    let content = file(1_000_000);
    let server = Server::of(&content, single);
    let mut settings = server.settings();
    settings.max_rate = NonZeroU64::new(100_000);
    let source = HttpSource::new(&settings).unwrap();
    let ranges: Vec<_> = (0..10)
        .map(|at| at * 100_000..at * 100_000 + 6_000)
        .collect();
    let begun = Instant::now();
    let mut parts = source.ranges("x", &ranges).unwrap();
    let mut bytes = vec![0; 60_000];
    parts.fill(&mut bytes).unwrap();
    // 0.6 s without the last slice.
    assert!(
        begun.elapsed() >= Duration::from_millis(400),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_head_without_an_end_is_refused() {
    let server = Server::start(|_| {
        let mut pieces = vec![Piece::Bytes(b"HTTP/1.1 200 OK\r\n".to_vec())];
        pieces.extend((0..10_000).map(|_| Piece::Bytes(b"X-Filler: yes, more\r\n".to_vec())));
        pieces
    });
    assert!(source(&server).file("x", 10).is_err());
}

#[test]
fn a_bundle_may_come_from_a_plain_address() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("x.bundle"), file(100_000)).unwrap();
    let python = super::real::Python::plain(directory.path());
    let server = Server::of(b"", server::whole);
    let settings = settings("https://localhost:1", server.ca_file());
    let url = format!("http://localhost:{}/x.bundle", python.port);
    assert!(
        all(open_url(&settings, &Credentials::read(&settings).unwrap(), &url).unwrap()).unwrap()
            == file(100_000)
    );
}
