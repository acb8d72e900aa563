//! Running host programs: the command line and stderr are in every error.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result};

/// Errors carry at most this much of a program's stderr.
const STDERR_TAIL: usize = 4096;

/// A host program with its arguments, not yet run.
#[derive(Debug)]
pub(crate) struct Run(Command);

impl Run {
    /// A program found in `PATH`, with administrators' directories added: `sgdisk` and `mke2fs`
    /// live there and are useful without root.
    pub(crate) fn new(program: &str) -> Self {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null());
        Self(command)
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.0.arg(argument);
        self
    }

    /// Adds several arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs in `directory`.
    pub(crate) fn current_dir(mut self, directory: &Path) -> Self {
        self.0.current_dir(directory);
        self
    }

    /// Runs to the end and returns stdout.
    ///
    /// # Errors
    /// The program cannot be started or does not succeed.
    pub(crate) fn stdout(mut self) -> Result<Vec<u8>> {
        let output = self.0.output().map_err(|source| Error::Start {
            program: self.0.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(self.failure(&output))
        }
    }

    /// Runs to the end and returns stdout as text.
    ///
    /// # Errors
    /// As [`Run::stdout`].
    pub(crate) fn text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.stdout()?).into_owned())
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// As [`Run::stdout`].
    pub(crate) fn check(self) -> Result<()> {
        self.stdout().map(drop)
    }

    fn failure(&self, output: &Output) -> Error {
        let words = std::iter::once(self.0.get_program()).chain(self.0.get_args());
        let line = words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let from = output.stderr.len().saturating_sub(STDERR_TAIL);
        let tail = output.stderr.get(from..).unwrap_or_default();
        let stderr = String::from_utf8_lossy(tail).into_owned();
        Error::Command {
            line,
            status: output.status.to_string(),
            stderr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Run;

    #[test]
    fn failure_shows_command_line_and_stderr() {
        let failure = Run::new("sh")
            .args(["-c", "echo no good >&2; exit 3"])
            .check();
        let text = failure.unwrap_err().to_string();
        assert!(text.contains("sh -c"), "{text}");
        assert!(text.contains("no good"), "{text}");
        assert!(text.contains('3'), "{text}");
    }
}
