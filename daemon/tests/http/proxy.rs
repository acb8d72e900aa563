//! Through a proxy, a good one and one that cuts.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use switchbackd::fetch::{Files, HttpSource, Source};

use super::file;
use super::server::{Server, multi, whole};

/// A proxy that knows `CONNECT`, and notes the heads that it was sent.
struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Each connection is cut after `most` bytes to the client.
    fn start(status: &'static str, most: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heads);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let notes = Arc::clone(&notes);
                std::thread::spawn(move || serve(client.unwrap(), status, most, &notes));
            }
        });
        Self { port, heads }
    }
}

fn serve(mut client: TcpStream, status: &str, most: usize, notes: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    notes.lock().unwrap().push(head);
    let answer = format!("HTTP/1.1 {status}\r\n\r\n");
    client.write_all(answer.as_bytes()).unwrap();
    if !status.starts_with("200") {
        return;
    }
    let server = TcpStream::connect(target).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let _ended = std::io::copy(&mut server.take(most), &mut client);
    let _gone = client.shutdown(std::net::Shutdown::Both);
}

fn through(proxy: &Proxy, server: &Server) -> HttpSource {
    let mut settings = server.settings();
    settings.proxy = Some(format!("http://me:secret@localhost:{}", proxy.port));
    HttpSource::new(&settings).unwrap()
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_with_name_and_password() {
    let (proxy, server) = (
        Proxy::start("200 OK", usize::MAX),
        Server::of(b"hello", whole),
    );
    let source = through(&proxy, &server);
    assert_eq!(source.file("x", 5).unwrap(), b"hello");
    assert_eq!(source.file("x", 5).unwrap(), b"hello");
    let heads = proxy.heads.lock().unwrap();
    assert_eq!(heads.len(), 1);
    let target = format!("CONNECT localhost:{} HTTP/1.1\r\n", server.port);
    assert!(heads[0].starts_with(&target), "{}", heads[0]);
    // "me:secret" in Base64.
    let password = "proxy-authorization: Basic bWU6c2VjcmV0\r\n";
    assert!(
        heads[0].to_lowercase().contains(&password.to_lowercase()),
        "{}",
        heads[0]
    );
    // The server does not learn it.
    assert_eq!(server.asked()[0].header("proxy-authorization"), None);
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let proxy = Proxy::start("407 Proxy Authentication Required", 0);
    let server = Server::of(b"hello", whole);
    let error = through(&proxy, &server)
        .file("x", 5)
        .unwrap_err()
        .to_string();
    assert!(error.contains("the proxy localhost"), "{error}");
    assert!(
        error.contains("status 407") && !error.contains("secret"),
        "{error}"
    );
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn a_proxy_that_cuts_every_connection_is_worn_down() {
    let content = file(200_000);
    let (proxy, server) = (Proxy::start("200 OK", 20_000), Server::of(&content, multi));
    let source = through(&proxy, &server);
    let mut left: Vec<_> = (0..20_u64)
        .map(|at| at * 10_000..at * 10_000 + 5_000)
        .collect();
    let mut bytes = Vec::new();
    let mut tries = 0;
    while !left.is_empty() {
        tries += 1;
        assert!(tries < 30);
        let Ok(mut parts) = source.ranges("x", &left) else {
            continue;
        };
        let mut buffer = [0; 999];
        let mut got = 0;
        while let Ok(count @ 1..) = parts.read(&mut buffer) {
            bytes.extend_from_slice(&buffer[..count]);
            got += count as u64;
        }
        drop(parts);
        // Goes on at the very byte.
        while let Some(first) = left.first_mut() {
            let taken = got.min(first.end - first.start);
            first.start += taken;
            got -= taken;
            if !first.is_empty() {
                break;
            }
            left.remove(0);
        }
    }
    let expected: Vec<u8> = content
        .chunks(10_000)
        .flat_map(|chunk| &chunk[..5000])
        .copied()
        .collect();
    assert!(bytes == expected);
    assert!(tries > 5, "{tries}");
}
