//! The server's own program: started, killed, measured.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::fleet_server::{self, Killed, memory_mib};
use crate::process::target;

/// How it is to serve.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// Seconds between polls of a device.
    pub(super) poll: u32,
    /// Polls in one second that devices are paced for.
    pub(super) rate: u32,
    /// PostgreSQL, in the place of SQLite.
    pub(super) database: Option<String>,
}

/// The program, killed when dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Killed,
    data: PathBuf,
    manner: Manner,
    port: u16,
    /// The first person's token, if it made one.
    pub(super) token: Option<String>,
    /// Most memory of those that were killed, in MiB.
    rss: u64,
}

impl Server {
    /// Starts it over a data directory; `fresh`: it holds nothing yet.
    pub(super) fn start(data: &Path, manner: &Manner, fresh: bool) -> anyhow::Result<Self> {
        let (child, port, token) = spawn(data, manner, 0, fresh)?;
        Ok(Self {
            child,
            data: data.to_owned(),
            manner: manner.clone(),
            port,
            token,
            rss: 0,
        })
    }

    pub(super) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.rss = self.rss.max(self.peak());
        self.child.0.kill()?;
        self.child.0.wait()?;
        Ok(())
    }

    /// Starts it again where it was.
    pub(super) fn again(&mut self) -> anyhow::Result<()> {
        let (child, port, _) = spawn(&self.data, &self.manner, self.port, false)?;
        self.child = child;
        self.port = port;
        Ok(())
    }

    /// Most memory that it ever had, in MiB.
    pub(super) fn peak(&self) -> u64 {
        peak_of(&self.child.0.id().to_string()).max(self.rss)
    }
}

/// Most memory that a process ever had, in MiB; 0 when it is gone.
pub(super) fn peak_of(process: &str) -> u64 {
    memory_mib(process, "VmHWM:").unwrap_or(0)
}

/// Where all servers of all stories log.
fn log_path() -> PathBuf {
    target().join("reports/fleet-devices.log")
}

/// Begins that log anew, and says where it is.
pub(super) fn begin_log() -> anyhow::Result<PathBuf> {
    let path = log_path();
    std::fs::create_dir_all(path.parent().context("a directory")?)?;
    File::create(&path)?;
    Ok(path)
}

fn spawn(
    data: &Path,
    manner: &Manner,
    port: u16,
    fresh: bool,
) -> anyhow::Result<(Killed, u16, Option<String>)> {
    let mut command = Command::new(fleet_server::program());
    command
        .args(["serve", "--turn-seconds", "1"])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--poll-seconds", &manner.poll.to_string()])
        .args(["--polls-per-second", &manner.rate.to_string()])
        .arg("--data")
        .arg(data);
    if let Some(url) = &manner.database {
        command.args(["--database", url]);
    }
    // It says of every device what it does.
    let log = File::options().append(true).open(log_path())?;
    let child = command.stdout(Stdio::piped()).stderr(log).spawn();
    let mut child = Killed(child.context("switchback-server starts")?);
    let (port, mut lines) = child.serves()?;
    let token = match fresh {
        true => {
            let line = lines.next().context("the server ended")??;
            line.rsplit(' ').next().map(ToOwned::to_owned)
        }
        false => None,
    };
    std::thread::spawn(move || lines.for_each(drop));
    Ok((child, port, token))
}
