//! Running a program with a time limit, its output kept for the message.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);
/// As much of the output as a message can use.
const MAX_OUTPUT: u64 = 2048;

/// Why a program did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// No program was named.
    #[error("no program is named")]
    Empty,
    /// It could not be started.
    #[error("{program}: cannot be started")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("{program}: {status}{output}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it printed, after a blank.
        output: String,
    },
    /// It did not end in time and was killed.
    #[error("{program}: did not end within {} s", limit.as_secs())]
    Timeout {
        /// The program.
        program: String,
        /// The limit.
        limit: Duration,
    },
}

/// Runs a program to its end.
///
/// # Errors
/// It could not be started, failed, or took longer than `limit`.
pub(crate) fn run(command: &[String], limit: Duration) -> Result<String, CommandError> {
    let (program, arguments) = command.split_first().ok_or(CommandError::Empty)?;
    let failed = |source| CommandError::Start {
        program: program.clone(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    // A reader of its own, so that a full pipe does not stop the program.
    let output = child.stdout.take().map(|stdout| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let mut stdout = stdout;
            let _ = (&mut stdout).take(MAX_OUTPUT).read_to_end(&mut text);
            let _ = std::io::copy(&mut stdout, &mut std::io::sink());
            String::from_utf8_lossy(&text).trim().to_owned()
        })
    });
    let status = wait(&mut child, limit).map_err(failed)?;
    let Some(status) = status else {
        // A grandchild may still hold the pipe: its reader is left to end by itself.
        return Err(CommandError::Timeout {
            program: program.clone(),
            limit,
        });
    };
    let output = output
        .and_then(|reader| reader.join().ok())
        .unwrap_or_default();
    if status.success() {
        return Ok(output);
    }
    let output = if output.is_empty() {
        output
    } else {
        format!(" ({output})")
    };
    Err(CommandError::Failed {
        program: program.clone(),
        status,
        output,
    })
}

fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<std::process::ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<String, CommandError> {
        run(&["sh".into(), "-c".into(), script.into()], limit)
    }

    #[test]
    fn tells_success_failure_and_silence_apart() {
        let long = Duration::from_secs(30);
        assert_eq!(shell("echo fine", long).unwrap(), "fine");
        let error = shell("echo broken; exit 3", long).unwrap_err().to_string();
        assert!(error.contains("exit status: 3 (broken)"), "{error}");
        let slow = shell("exec sleep 60", Duration::from_millis(10)).unwrap_err();
        assert!(matches!(slow, CommandError::Timeout { .. }));
        let absent = run(&["/nonexistent".into()], long).unwrap_err();
        assert!(matches!(absent, CommandError::Start { .. }));
    }
}
