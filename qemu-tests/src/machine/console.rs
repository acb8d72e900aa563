//! The guest's serial console: always drained, kept whole in a file, and readable line by line.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, IoContext as _, Result};

/// Lines shown in errors.
const TAIL: usize = 20;

/// A line longer than this is cut into several: a broken guest must not fill our memory.
const LONGEST_LINE: usize = 8192;

/// One complete line of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLine {
    /// Since the machine was started.
    pub at: Duration,
    /// Without line end and terminal escapes.
    pub text: String,
}

#[derive(Debug, Default)]
struct Received {
    lines: Vec<ConsoleLine>,
    ended: bool,
}

/// What the reading thread and the waiting test share.
#[derive(Debug, Default)]
struct Shared {
    received: Mutex<Received>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Received> {
        // A panicking test holds no half-made state here: the lines are whole.
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading side of a console.
#[derive(Debug)]
pub(crate) struct Console {
    machine: String,
    log: PathBuf,
    shared: Arc<Shared>,
    /// Lines before this one were already returned by a wait.
    cursor: usize,
}

impl Console {
    /// Starts the thread that drains `source` into `log`.
    pub(crate) fn start(
        machine: &str,
        mut source: impl Read + Send + 'static,
        log: &Path,
    ) -> Result<Self> {
        let file = File::create(log).io("create", log)?;
        let shared = Arc::new(Shared::default());
        let filled = Arc::clone(&shared);
        let started = Instant::now();
        thread::spawn(move || {
            drain(&mut source, file, &filled, started);
            filled.lock().ended = true;
            filled.changed.notify_all();
        });
        Ok(Self {
            machine: machine.to_owned(),
            log: log.to_owned(),
            shared,
            cursor: 0,
        })
    }

    /// The next line, after those returned before, for which `matches` gives something.
    pub(crate) fn wait<T>(
        &mut self,
        awaited: &str,
        within: Duration,
        mut matches: impl FnMut(&ConsoleLine) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        let mut received = self.shared.lock();
        loop {
            while let Some(line) = received.lines.get(self.cursor) {
                self.cursor += 1;
                if let Some(found) = matches(line) {
                    return Ok(found);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let why = if received.ended {
                "the machine ended".to_owned()
            } else if left.is_zero() {
                format!("the deadline of {within:?} passed")
            } else {
                let waited = self.shared.changed.wait_timeout(received, left);
                received = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            };
            return Err(Error::Console {
                machine: self.machine.clone(),
                why,
                awaited: awaited.to_owned(),
                tail: tail(&received.lines),
                log: self.log.clone(),
            });
        }
    }

    /// Waits until the console is closed, which is when the machine has ended.
    pub(crate) fn wait_end(&mut self, within: Duration) -> Result<()> {
        match self.wait("the end of the machine", within, |_| None::<()>) {
            Err(Error::Console { .. }) if self.shared.lock().ended => Ok(()),
            other => other,
        }
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<ConsoleLine> {
        self.shared.lock().lines.clone()
    }

    /// The lines after the first `known`.
    pub(crate) fn lines_after(&self, known: usize) -> Vec<ConsoleLine> {
        let received = self.shared.lock();
        received.lines.get(known..).unwrap_or_default().to_vec()
    }

    /// The file with everything the console showed.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }
}

fn tail(lines: &[ConsoleLine]) -> String {
    let from = lines.len().saturating_sub(TAIL);
    let shown = lines.iter().skip(from);
    shown
        .map(|line| format!("  {:7.2}s {}", line.at.as_secs_f64(), line.text))
        .collect::<Vec<_>>()
        .join("\n")
}

fn drain(source: &mut impl Read, mut log: File, shared: &Shared, started: Instant) {
    let mut buffer = [0; 4096];
    let mut partial = Vec::new();
    loop {
        let bytes = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(why) if why.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        // The log is evidence for a person; a full disk must not stop the guest.
        let _kept_in_memory = log.write_all(bytes);
        let mut complete = Vec::new();
        for &byte in bytes {
            if byte == b'\n' || partial.len() >= LONGEST_LINE {
                complete.push(printable(&std::mem::take(&mut partial)));
            }
            if byte != b'\n' {
                partial.push(byte);
            }
        }
        if !complete.is_empty() {
            let at = started.elapsed();
            let lines = complete.into_iter().map(|text| ConsoleLine { at, text });
            shared.lock().lines.extend(lines);
            shared.changed.notify_all();
        }
    }
    if !partial.is_empty() {
        let line = ConsoleLine {
            at: started.elapsed(),
            text: printable(&partial),
        };
        shared.lock().lines.push(line);
    }
}

/// Skips what follows an ESC.
fn skip_escape(characters: &mut std::str::Chars<'_>) {
    let ends_with_more = match characters.next() {
        Some('[') => {
            characters.find(|c| ('\u{40}'..='\u{7e}').contains(c));
            false
        }
        Some(']') => characters.find(|c| matches!(c, '\u{7}' | '\u{1b}')) == Some('\u{1b}'),
        _ => false,
    };
    if ends_with_more {
        characters.next();
    }
}

/// Text without carriage returns and terminal escapes: `ESC [ … letter`, `ESC ] … BEL` (or
/// `… ESC \`), and single `ESC x`.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            skip_escape(&mut characters);
        } else if !character.is_control() || character == '\t' {
            clean.push(character);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::{Console, printable};
    use std::io::Cursor;
    use std::time::Duration;

    fn console(bytes: &'static [u8]) -> (tempfile::TempDir, Console) {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("serial.log");
        let console = Console::start("test", Cursor::new(bytes), &log).unwrap();
        (directory, console)
    }

    fn wait(console: &mut Console, part: &str) -> crate::Result<String> {
        console.wait(part, Duration::from_secs(5), |line| {
            line.text.contains(part).then(|| line.text.clone())
        })
    }

    #[test]
    fn lines_are_taken_in_order_and_once() {
        let (_directory, mut console) = console(b"one\r\n\x1b[1;31mtwo\x1b[0m\r\none again");
        assert_eq!(wait(&mut console, "one").unwrap(), "one");
        assert_eq!(wait(&mut console, "one").unwrap(), "one again");
        assert!(wait(&mut console, "two").is_err());
    }

    #[test]
    fn error_shows_the_tail_and_the_reason() {
        let (_directory, mut console) = console(b"panic: not today\n");
        let error = wait(&mut console, "login:").unwrap_err().to_string();
        assert!(error.contains("the machine ended"), "{error}");
        assert!(error.contains("panic: not today"), "{error}");
        assert!(error.contains("login:"), "{error}");
    }

    #[test]
    fn escapes_and_controls_vanish() {
        assert_eq!(printable(b"\x1b[?25l\x1b[2Ja\x07b\x1bc\tc\r"), "ab\tc");
        assert_eq!(printable(b"\x1b]104\x1b\\a\x1b]0;title\x07b"), "ab");
    }
}
