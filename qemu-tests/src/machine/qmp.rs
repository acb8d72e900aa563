//! A small client for QEMU's control protocol (QMP): one JSON object per line, each way.
//!
//! We listen and QEMU connects, so that there is no moment at which the socket does not exist yet.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Error, IoContext as _, Result};

/// QEMU answers within milliseconds; a loaded machine may take seconds.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// Something that QEMU told unasked: `RESET`, `WATCHDOG`, `SHUTDOWN`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuEvent {
    /// The event's name.
    pub name: String,
    /// Since the machine was started.
    pub at: Duration,
    /// Its `data` as JSON text, empty when it has none.
    pub data: String,
}

#[derive(Debug, Default)]
struct Events {
    seen: Mutex<Vec<QemuEvent>>,
    changed: Condvar,
}

/// The control connection of one machine.
#[derive(Debug)]
pub(crate) struct Qmp {
    socket: PathBuf,
    stream: Option<UnixStream>,
    connected: Receiver<UnixStream>,
    answers: Receiver<Value>,
    events: Arc<Events>,
    /// Events before this one were already returned by a wait.
    cursor: usize,
}

impl Qmp {
    /// Listens on `socket`, to be given to QEMU as `-qmp unix:…`.
    pub(crate) fn listen(socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket).io("listen on", socket)?;
        let (connection, connected) = channel();
        let (answer, answers) = channel();
        let events = Arc::new(Events::default());
        let filled = Arc::clone(&events);
        let started = Instant::now();
        thread::spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                // A stream that cannot be cloned or read ends this thread, which closes the
                // channels; whoever asks then gets an error.
                let _closed = read_all(stream, &connection, &answer, &filled, started);
            }
        });
        let socket = socket.to_owned();
        Ok(Self {
            socket,
            stream: None,
            connected,
            answers,
            events,
            cursor: 0,
        })
    }

    /// Runs a command without arguments and waits for its answer.
    pub(crate) fn command(&mut self, name: &str) -> Result<Value> {
        let failed = |why: String| Error::Qmp {
            why: format!("{name}: {why}"),
        };
        if self.stream.is_none() {
            let stream = self.connected.recv_timeout(ANSWER_DEADLINE);
            self.stream = Some(stream.map_err(|_| failed("QEMU did not connect".into()))?);
        }
        let Some(stream) = &mut self.stream else {
            return Err(failed("no connection".into()));
        };
        let line = format!("{}\n", json!({ "execute": name }));
        stream
            .write_all(line.as_bytes())
            .map_err(|why| failed(why.to_string()))?;
        let answer = self.answers.recv_timeout(ANSWER_DEADLINE);
        let answer = answer.map_err(|why| failed(why.to_string()))?;
        match answer.get("error") {
            Some(error) => Err(failed(error.to_string())),
            None => Ok(answer.get("return").cloned().unwrap_or(Value::Null)),
        }
    }

    /// The next event of that name, after those returned before.
    pub(crate) fn wait_event(&mut self, name: &str, within: Duration) -> Result<QemuEvent> {
        let deadline = Instant::now() + within;
        let mut seen = self
            .events
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            while let Some(event) = seen.get(self.cursor) {
                self.cursor += 1;
                if event.name == name {
                    return Ok(event.clone());
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let names: Vec<_> = seen.iter().map(|event| event.name.as_str()).collect();
                let why = format!(
                    "no event {name} within {within:?}; seen: {}",
                    names.join(" ")
                );
                return Err(Error::Qmp { why });
            }
            let waited = self.events.changed.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All events so far.
    pub(crate) fn events(&self) -> Vec<QemuEvent> {
        self.events
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        // A QEMU that never connected leaves the thread in accept(): wake it.
        let _no_longer_listening = UnixStream::connect(&self.socket);
    }
}

/// Reads greeting, answers and events until QEMU ends.
fn read_all(
    stream: UnixStream,
    connection: &Sender<UnixStream>,
    answers: &Sender<Value>,
    events: &Events,
    started: Instant,
) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    let Some(greeting) = lines.next() else {
        return Ok(());
    };
    greeting?;
    writer.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
    let mut negotiated = false;
    for line in lines {
        let message: Value = serde_json::from_str(&line?)?;
        if let Some(name) = message.get("event").and_then(Value::as_str) {
            let data = message
                .get("data")
                .map(Value::to_string)
                .unwrap_or_default();
            let event = QemuEvent {
                name: name.to_owned(),
                at: started.elapsed(),
                data,
            };
            events
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(event);
            events.changed.notify_all();
        } else if negotiated {
            // A test that does not listen any more is no reason to stop reading events.
            let _unheard = answers.send(message);
        } else {
            negotiated = true;
            let _unheard = connection.send(writer.try_clone()?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Qmp;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// Plays QEMU: greets, accepts capabilities, sends an event, answers one command.
    fn play_qemu(socket: std::path::PathBuf) -> std::thread::JoinHandle<Vec<String>> {
        std::thread::spawn(move || {
            let mut stream = UnixStream::connect(socket).unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            stream.write_all(b"{\"QMP\":{}}\n").unwrap();
            let mut heard = vec![lines.next().unwrap().unwrap()];
            stream.write_all(b"{\"return\":{}}\n").unwrap();
            heard.push(lines.next().unwrap().unwrap());
            stream
                .write_all(b"{\"event\":\"RESET\",\"data\":{\"guest\":false}}\n")
                .unwrap();
            stream
                .write_all(b"{\"return\":{\"status\":\"running\"}}\n")
                .unwrap();
            heard
        })
    }

    #[test]
    fn answers_and_events_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("q");
        let mut qmp = Qmp::listen(&socket).unwrap();
        let qemu = play_qemu(socket);
        let answer = qmp.command("query-status").unwrap();
        assert_eq!(
            answer.get("status").and_then(|s| s.as_str()),
            Some("running")
        );
        let event = qmp.wait_event("RESET", Duration::from_secs(5)).unwrap();
        assert_eq!(event.data, "{\"guest\":false}");
        assert!(qmp.wait_event("RESET", Duration::ZERO).is_err());
        assert_eq!(
            qemu.join().unwrap(),
            [
                "{\"execute\":\"qmp_capabilities\"}",
                "{\"execute\":\"query-status\"}"
            ]
        );
    }
}
