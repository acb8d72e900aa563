//! Other programs, with the time and the memory that they took.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// Errors carry at most so much of what a program wrote.
const TAIL: usize = 2048;
/// GNU time: elapsed seconds, and the largest resident set of the program or a child, in KiB; seconds of the
/// processors for the program and for the kernel on its behalf.
const FORMAT: &str = "%e %M %U %S";
/// What it says is cut to hundredths of a second.
const CLOCK: f64 = 0.01;

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Elapsed seconds.
    pub(crate) seconds: f64,
    /// Most resident memory of one process, in bytes.
    pub(crate) peak: u64,
    /// Seconds of all processors: where others use them too, this says more than the clock. It leaves out
    /// waiting for the disk.
    pub(crate) cpu: f64,
}

/// A program was stopped because it ran too long.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OutOfTime {
    /// So long it was let run.
    pub(crate) limit: Duration,
    /// What it was to do.
    pub(crate) doing: &'static str,
}

impl fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} did not end in {:?}", self.doing, self.limit)
    }
}

impl std::error::Error for OutOfTime {}

/// A program with its arguments, not yet run.
#[derive(Debug)]
pub(crate) struct Task {
    words: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    limit: Option<OutOfTime>,
}

impl Task {
    /// A program found in `PATH` or in the administrators' directories.
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Self {
            words: vec![program.into()],
            environment: Vec::new(),
            limit: None,
        }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, word: impl Into<OsString>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Adds several arguments.
    pub(crate) fn args<S: Into<OsString>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Adds an argument made of a word and a path: `--store=PATH`.
    pub(crate) fn joined(self, word: &str, path: &Path) -> Self {
        let mut whole = OsString::from(word);
        whole.push(path);
        self.arg(whole)
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Stops it after this time; `doing` names it for people.
    pub(crate) fn within(mut self, limit: Duration, doing: &'static str) -> Self {
        self.limit = Some(OutOfTime { limit, doing });
        self
    }

    /// The command line, for people.
    pub(crate) fn line(&self) -> String {
        let words: Vec<_> = self
            .words
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        words.join(" ")
    }

    /// Runs it to the end: what it took and what it printed.
    ///
    /// # Errors
    /// [`OutOfTime`] when it was stopped; else it failed.
    pub(crate) fn done(&self) -> anyhow::Result<(Usage, String)> {
        let report = tempfile::NamedTempFile::new().context("a file for what `time` says")?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("/usr/bin/time");
        command.args(["-f", FORMAT, "-o"]).arg(report.path());
        if let Some(OutOfTime { limit, .. }) = self.limit {
            let seconds = format!("{}s", limit.as_secs_f64());
            command.args(["timeout", "--signal=KILL", &seconds]);
        }
        let output = command
            .args(&self.words)
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .env("LC_ALL", "C.UTF-8")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .context("/usr/bin/time cannot be started; is the package `time` installed?")?;
        let text = std::fs::read_to_string(report.path())
            .with_context(|| report.path().display().to_string())?;
        let usage =
            usage_in(&text).with_context(|| format!("`{}`: `time` said: {text}", self.line()))?;
        if output.status.success() {
            let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
            return Ok((usage, stdout));
        }
        if let Some(late) = &self.limit
            && usage.seconds + CLOCK >= late.limit.as_secs_f64()
        {
            return Err(late.clone().into());
        }
        let from = output.stderr.len().saturating_sub(TAIL);
        let tail = output.stderr.get(from..).unwrap_or_default();
        bail!(
            "`{}` ended with {}:\n{}",
            self.line(),
            output.status,
            String::from_utf8_lossy(tail).trim_end()
        );
    }
}

/// The last line of what GNU time wrote; a line about the exit may stand before it.
fn usage_in(text: &str) -> Option<Usage> {
    let mut words = text.lines().last()?.split_whitespace();
    let seconds = words.next()?.parse().ok()?;
    let kilobytes: u64 = words.next()?.parse().ok()?;
    let user: f64 = words.next()?.parse().ok()?;
    let kernel: f64 = words.next()?.parse().ok()?;
    Some(Usage {
        seconds,
        peak: kilobytes.checked_mul(1024)?,
        cpu: user + kernel,
    })
}

#[cfg(test)]
mod tests {
    use super::{Duration, OutOfTime, Task, Usage, usage_in};

    #[test]
    fn reads_the_last_line_of_time() {
        let usage = Usage {
            seconds: 1.25,
            peak: 2048,
            cpu: 1.0,
        };
        assert_eq!(usage_in("1.25 2 0.75 0.25\n"), Some(usage));
        assert_eq!(
            usage_in("Command exited with non-zero status 3\n1.25 2 0.75 0.25\n"),
            Some(usage)
        );
        assert_eq!(usage_in("1.25 2 0.75\n"), None);
        assert_eq!(usage_in("nonsense\n"), None);
        assert_eq!(usage_in(""), None);
    }

    #[test]
    fn failure_names_the_command_and_shows_its_words() {
        let failure = Task::new("sh")
            .args(["-c", "echo no good >&2; exit 3"])
            .done();
        let text = failure.unwrap_err().to_string();
        assert!(text.contains("sh -c"), "{text}");
        assert!(text.contains("no good"), "{text}");
    }

    #[test]
    fn stops_what_runs_too_long() {
        let limit = Duration::from_millis(200);
        let ended = Task::new("sleep").arg("60").within(limit, "sleep").done();
        let late = ended.unwrap_err().downcast::<OutOfTime>().unwrap();
        let expected = OutOfTime {
            limit,
            doing: "sleep",
        };
        assert_eq!(late, expected);
    }
}
