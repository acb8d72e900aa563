//! What PID 1 of the tiny guest does all day: one loop over signals, requests and the watchdog.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, mkfifo};

use crate::reboot::{REBOOT, REQUESTS};
use crate::tiny::DATA;

const DAEMON: &str = "/usr/bin/switchbackd";
const SHELL: &str = "/bin/busybox";
const WATCHDOG: &str = "/dev/watchdog0";

/// Well within the 15 s that the watchdog allows.
const FEED_EVERY: Duration = Duration::from_secs(3);

/// A daemon that cannot start must not fill the console.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How long the daemon may take to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// PID 1 at work.
#[derive(Debug)]
pub(crate) struct Supervisor {
    signals: SignalFd,
    requests: File,
    watchdog: Option<File>,
    daemon: Option<Pid>,
    shell: Option<Pid>,
    restart_at: Option<Instant>,
}

impl Supervisor {
    /// Takes over the watchdog, opens the request FIFO, starts the daemon and a console shell.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.add(Signal::SIGTERM);
        mask.thread_block().context("cannot block signals")?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK)
            .context("cannot make a signalfd")?;
        mkfifo(REQUESTS, Mode::from_bits_truncate(0o600)).context("cannot make the FIFO")?;
        // Read and write: with a writer of our own the FIFO never reports end of file.
        let requests = OpenOptions::new()
            .read(true)
            .write(true)
            .open(REQUESTS)
            .context(REQUESTS)?;
        let watchdog = Path::new(WATCHDOG)
            .exists()
            .then(|| OpenOptions::new().write(true).open(WATCHDOG))
            .transpose()
            .context("cannot take over the watchdog")?;
        let mut started = Self {
            signals,
            requests,
            watchdog,
            daemon: None,
            shell: None,
            restart_at: None,
        };
        started.start_daemon();
        started.start_shell();
        Ok(started)
    }

    /// Runs until someone asks for a restart.
    pub(crate) fn supervise(mut self) -> anyhow::Result<()> {
        loop {
            self.feed_watchdog()?;
            self.wait(self.pause())?;
            if self.take_signals()? || self.take_requests()? {
                return self.restart_machine();
            }
            if self.restart_at.is_some_and(|at| at <= Instant::now()) {
                self.restart_at = None;
                self.start_daemon();
            }
        }
    }

    fn pause(&self) -> Duration {
        let until_restart = self
            .restart_at
            .map(|at| at.saturating_duration_since(Instant::now()));
        until_restart.map_or(FEED_EVERY, |until| until.min(FEED_EVERY))
    }

    fn feed_watchdog(&mut self) -> anyhow::Result<()> {
        match &mut self.watchdog {
            Some(device) => device.write_all(b"1").context("cannot feed the watchdog"),
            None => Ok(()),
        }
    }

    fn wait(&self, longest: Duration) -> anyhow::Result<()> {
        let mut sources = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.requests.as_fd(), PollFlags::POLLIN),
        ];
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::ZERO);
        match poll(&mut sources, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(why) => Err(why).context("cannot wait for signals"),
        }
    }

    /// Reaps children; true when SIGTERM asks for a restart.
    fn take_signals(&mut self) -> anyhow::Result<bool> {
        let mut terminate = false;
        while let Some(signal) = self.signals.read_signal().context("cannot read signals")? {
            terminate |= Signal::try_from(signal.ssi_signo.cast_signed()) == Ok(Signal::SIGTERM);
        }
        self.reap()?;
        Ok(terminate)
    }

    fn reap(&mut self) -> anyhow::Result<()> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => self.child_ended(status),
                Err(why) => return Err(why).context("cannot wait for children"),
            }
        }
    }

    fn child_ended(&mut self, status: WaitStatus) {
        if status.pid().is_some() && status.pid() == self.daemon {
            self.daemon = None;
            match status {
                WaitStatus::Exited(_, code) => println!("SB: DAEMON-EXIT {code}"),
                WaitStatus::Signaled(_, signal, _) => println!("SB: DAEMON-EXIT {signal}"),
                _ => {}
            }
            self.restart_at = Some(Instant::now() + RESTART_PAUSE);
        } else if status.pid().is_some() && status.pid() == self.shell {
            self.start_shell();
        }
    }

    fn take_requests(&mut self) -> anyhow::Result<bool> {
        let mut sources = [PollFd::new(self.requests.as_fd(), PollFlags::POLLIN)];
        if poll(&mut sources, PollTimeout::ZERO).context("cannot look at the FIFO")? == 0 {
            return Ok(false);
        }
        let mut bytes = [0; 64];
        let length = self
            .requests
            .read(&mut bytes)
            .context("cannot read the FIFO")?;
        let request = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
        Ok(request.lines().any(|line| line == REBOOT))
    }

    fn start_daemon(&mut self) {
        if Path::new(DAEMON).exists() {
            self.daemon = spawn(&[DAEMON]);
        }
    }

    fn start_shell(&mut self) {
        if Path::new(SHELL).exists() {
            self.shell = spawn(&[SHELL, "sh"]);
            println!("SB: SHELL-READY");
        }
    }

    /// Stops the daemon, unmounts the data and restarts; returns only when that failed.
    fn restart_machine(mut self) -> anyhow::Result<()> {
        println!("SB: TINY-REBOOT");
        if let Some(daemon) = self.daemon {
            let _gone_already = kill(daemon, Signal::SIGTERM);
        }
        let started = Instant::now();
        while self.daemon.is_some() && started.elapsed() < STOP_DEADLINE {
            self.wait(Duration::from_millis(100))?;
            self.take_signals()?;
        }
        nix::unistd::sync();
        for mounted in [DATA, "/efi"] {
            // Lazily: a shell's working directory must not keep the file system from its flush.
            match umount2(mounted, MntFlags::MNT_DETACH) {
                // EINVAL: this board has no such partition.
                Ok(()) | Err(Errno::EINVAL) => {}
                Err(why) => println!("SB: UNMOUNT {mounted}: {why}"),
            }
        }
        nix::unistd::sync();
        let Err(why) = reboot(RebootMode::RB_AUTOBOOT);
        Err(why).context("cannot restart the machine")
    }
}

/// Starts a program through [`crate::run`]; its exit is seen by [`Supervisor::reap`].
fn spawn(words: &[&str]) -> Option<Pid> {
    let child = Command::new("/proc/self/exe")
        .args(words)
        .stdin(Stdio::inherit())
        .spawn();
    match child {
        Ok(child) => i32::try_from(child.id()).ok().map(Pid::from_raw),
        Err(why) => {
            println!("SB: SPAWN {words:?}: {why}");
            None
        }
    }
}
