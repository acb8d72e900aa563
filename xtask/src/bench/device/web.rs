//! Servers of the bench that count: bytes that pass, and a hawkBit that never has anything.

use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;

/// Passes everything on to another port and counts it, both ways.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) port: u16,
    bytes: Arc<AtomicU64>,
}

impl Meter {
    /// In front of a port of this machine.
    pub(super) fn before(server: u16) -> anyhow::Result<Self> {
        Self::serve(move |client, bytes| {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                return;
            };
            let (Ok(back_from), Ok(back_to)) = (server.try_clone(), client.try_clone()) else {
                return;
            };
            let counted = Arc::clone(&bytes);
            std::thread::spawn(move || copy(back_from, &back_to, &counted));
            copy(client, &server, &bytes);
        })
    }

    /// A hawkBit that says when to come again, and no more.
    pub(super) fn of_hawkbit() -> anyhow::Result<Self> {
        Self::serve(|mut client, bytes| {
            let body = "{\"config\":{\"polling\":{\"sleep\":\"00:00:30\"}},\"_links\":{}}";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/hal+json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let mut buffer = [0; 8192];
            // Its questions are small: each comes in one piece.
            while let Ok(count @ 1..) = client.read(&mut buffer) {
                if client.write_all(answer.as_bytes()).is_err() {
                    return;
                }
                bytes.fetch_add((count + answer.len()) as u64, Ordering::Relaxed);
            }
        })
    }

    fn serve(
        each: impl Fn(TcpStream, Arc<AtomicU64>) + Clone + Send + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port")?;
        let port = listener.local_addr()?.port();
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        // Ends with the program.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (each, counted) = (each.clone(), Arc::clone(&counted));
                std::thread::spawn(move || each(client, counted));
            }
        });
        Ok(Self { port, bytes })
    }

    /// Bytes since it was asked last.
    pub(super) fn take(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

fn copy(mut from: TcpStream, mut to: &TcpStream, bytes: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        bytes.fetch_add(count as u64, Ordering::Relaxed);
        if to
            .write_all(buffer.get(..count).unwrap_or_default())
            .is_err()
        {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
