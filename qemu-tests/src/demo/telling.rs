//! Two streams of what is seen, and how they are told.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::figures::Figures;
use crate::error::{Error, IoContext as _, Result};
use crate::machine::Machine;

/// Between two looks at the streams.
const PAUSE: Duration = Duration::from_millis(100);
const BAR: usize = 30;

/// The file behind the second serial port, read as it grows.
#[derive(Debug)]
struct Tail {
    file: File,
    path: PathBuf,
    partial: Vec<u8>,
}

impl Tail {
    fn open(path: &Path) -> Result<Self> {
        let file = File::create_new(path).io("create", path)?;
        drop(file);
        let file = File::open(path).io("open", path)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            partial: Vec::new(),
        })
    }

    fn lines(&mut self) -> Result<Vec<String>> {
        self.file
            .read_to_end(&mut self.partial)
            .io("read", &self.path)?;
        let mut lines = Vec::new();
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        Ok(lines)
    }
}

/// Tells what the device shows.
#[derive(Debug)]
pub(super) struct Teller {
    tail: Tail,
    /// Console lines told so far.
    told: usize,
    started: Instant,
    bar_shown: bool,
    /// Memory seen.
    pub(super) figures: Figures,
    /// Journal lines since the chapter began.
    heard: Vec<String>,
}

impl Teller {
    pub(super) fn new(observer: &Path, started: Instant) -> Result<Self> {
        Ok(Self {
            tail: Tail::open(observer)?,
            told: 0,
            started,
            bar_shown: false,
            figures: Figures::default(),
            heard: Vec::new(),
        })
    }

    /// A line of our own.
    pub(super) fn say(&mut self, text: &str) {
        self.clear_bar();
        println!("[{:6.1} s] {text}", self.started.elapsed().as_secs_f64());
    }

    fn clear_bar(&mut self) {
        if std::mem::take(&mut self.bar_shown) {
            print!("\r\x1b[K");
        }
    }

    /// Forgets what was heard: a chapter begins.
    pub(super) fn forget(&mut self) {
        self.heard.clear();
    }

    /// Tells everything until the daemon's journal has a line with `part`, and gives that line.
    pub(super) fn until(
        &mut self,
        machine: &mut Machine,
        part: &str,
        within: Duration,
    ) -> Result<String> {
        let deadline = Instant::now() + within;
        loop {
            self.console(machine);
            self.observer()?;
            if let Some(line) = self.heard.iter().find(|line| line.contains(part)) {
                return Ok(line.clone());
            }
            if Instant::now() > deadline {
                self.clear_bar();
                let tail: Vec<String> = machine
                    .lines()
                    .iter()
                    .rev()
                    .take(20)
                    .map(|line| line.text.clone())
                    .collect();
                let tail: Vec<&str> = tail.iter().rev().map(String::as_str).collect();
                return Err(Error::Console {
                    machine: machine.name().to_owned(),
                    why: format!("the deadline of {within:?} passed"),
                    awaited: part.to_owned(),
                    tail: tail.join("\n"),
                    log: machine.log().to_owned(),
                });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The bootloader's and the kernel's console.
    fn console(&mut self, machine: &Machine) {
        let lines = machine.lines();
        for line in lines.iter().skip(self.told) {
            let text = line.text.trim();
            if let Some(rest) = text.strip_prefix("SB: slot=") {
                let verb = if rest.contains("order=") {
                    "starts slot"
                } else {
                    "slot"
                };
                self.say(&format!("bootloader  | {verb} {rest}"));
            } else if let Some(rest) = text.strip_prefix("SB: SYSTEMD-UP ") {
                self.say(&format!("console     | the system is up: {rest}"));
            } else if text.contains("Kernel panic") {
                let from = text.find("Kernel panic").unwrap_or_default();
                self.say(&format!(
                    "console     | {}",
                    text.get(from..).unwrap_or(text)
                ));
            } else if text.starts_with("SB: FAULT hang") {
                self.say("console     | the system hangs; only the watchdog can end this");
            }
        }
        self.told = lines.len();
    }

    /// The second serial port.
    fn observer(&mut self) -> Result<()> {
        for line in self.tail.lines()? {
            if let Some(text) = line
                .strip_prefix("J ")
                .filter(|text| !is_from_systemd(text))
            {
                // The observer repeats the journal of this boot when it starts; so does a reader.
                self.say(&format!("switchbackd | {text}"));
                self.heard.push(text.to_owned());
            } else if let Some(text) = line.strip_prefix("W ") {
                self.progress(text);
            } else if let Some(text) = line.strip_prefix("M ") {
                self.figures.memory(text);
            }
        }
        Ok(())
    }

    fn progress(&mut self, text: &str) {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let word = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        if word("event") != "progress" || !std::io::stdout().is_terminal() {
            return;
        }
        let (Some(done), Some(total)) = (number("done"), number("total")) else {
            return;
        };
        let full = usize::try_from(done.saturating_mul(30) / total.max(1))
            .unwrap_or(BAR)
            .min(BAR);
        let bar = "=".repeat(full) + &" ".repeat(BAR - full);
        let (done, total) = (done >> 20, total >> 20);
        print!(
            "\r             {:<11} [{bar}] {done} of {total} MiB",
            word("stage")
        );
        let _ = std::io::stdout().flush();
        self.bar_shown = true;
    }
}

/// The service manager's own lines about the unit.
fn is_from_systemd(text: &str) -> bool {
    ["Starting ", "Started ", "Stopping ", "Stopped "]
        .iter()
        .any(|word| text.starts_with(word))
}
