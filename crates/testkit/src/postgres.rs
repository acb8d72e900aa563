//! A PostgreSQL for tests of the fleet server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "it serves tests, which fail by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A PostgreSQL of its own, in a directory that goes away.
#[derive(Debug)]
pub struct Postgres {
    directory: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
}

impl Postgres {
    /// None, where it is not installed: `cargo xtask tools` does that.
    #[must_use]
    pub fn start() -> Option<Self> {
        let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .map(|entry| entry.unwrap().path().join("bin"))
            .collect();
        versions.sort();
        let bin = versions.pop()?;
        let directory = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let this = Self {
            directory,
            bin,
            port,
        };
        // It refuses to run as root.
        this.own();
        this.run(
            "initdb",
            &["-D", "data", "-U", "fleet", "-A", "trust", "--no-sync"],
        );
        this.up();
        Some(this)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn own(&self) {
        let done = Command::new("chown")
            .arg("postgres")
            .arg(self.path())
            .status()
            .unwrap();
        assert!(done.success());
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let done = Command::new("setpriv")
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg(self.bin.join(program))
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success(), "{program} {arguments:?}");
    }

    /// Starts it again.
    pub fn up(&self) {
        let options = format!("-p {} -k {} -h 127.0.0.1", self.port, self.path().display());
        self.run(
            "pg_ctl",
            &["-D", "data", "-w", "-l", "log", "-o", &options, "start"],
        );
    }

    /// As a failing machine would.
    pub fn kill(&self) {
        self.run("pg_ctl", &["-D", "data", "-w", "-m", "immediate", "stop"]);
    }

    /// Its address, for the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://fleet@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kill();
        } else {
            let _ = Command::new("setpriv")
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
                .arg(self.bin.join("pg_ctl"))
                .args(["-D", "data", "-m", "immediate", "stop"])
                .current_dir(self.path())
                .status();
        }
    }
}
