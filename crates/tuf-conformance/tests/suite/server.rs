//! A repository's server: plain HTTP on loopback, one request on each connection.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use percent_encoding::percent_decode_str;

/// Where the repository is on the server: the client must take a base with an escape as it is.
const BASE: &str = "/a%20repository/";

pub struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
pub struct State {
    /// What is served, by the name below the base, without escapes.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What was asked for, below the base, as it was asked for.
    pub requests: Vec<String>,
    over: bool,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().over {
                    return;
                }
                // A client that went away is its own affair.
                drop(stream.and_then(|stream| answer(&stream, &shared)));
            }
        });
        Self {
            address,
            state,
            thread: Some(thread),
        }
    }

    /// The address of a directory below the base.
    pub fn url(&self, directory: &str) -> String {
        format!("http://{}{BASE}{directory}/", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.over = true;
        }
        // Wakes the thread up, which sees that it is over.
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let target = first.split(' ').nth(1).unwrap_or_default();
    let file = {
        let mut state = state.lock().unwrap();
        let asked = target.strip_prefix(BASE).unwrap_or(target);
        state.requests.push(asked.into());
        let name = percent_decode_str(asked).decode_utf8_lossy();
        state.files.get(name.as_ref()).cloned()
    };
    let (status, body) = match file {
        Some(bytes) => ("200 OK", bytes),
        None => ("404 Not Found", b"there is no such file".to_vec()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}
