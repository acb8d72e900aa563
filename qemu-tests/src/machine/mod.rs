//! A running QEMU: its console, its control connection, its power.

mod builder;
mod console;
mod process;
mod qmp;

use std::io::Write as _;
use std::path::Path;
use std::process::ChildStdin;
use std::time::{Duration, Instant};

pub use builder::{ACCELERATOR_VARIABLE, DiskBackend, DriveBus, MachineBuilder};
pub use console::ConsoleLine;
pub use qmp::QemuEvent;

use crate::error::{Error, IoContext as _, Result};
use console::Console;
use process::Guard;
use qmp::Qmp;

/// A machine that is switched on. Dropping it pulls the plug.
#[derive(Debug)]
pub struct Machine {
    name: String,
    guard: Guard,
    console: Console,
    keyboard: ChildStdin,
    qmp: Qmp,
    started: Instant,
    /// Shell commands typed so far; numbers their markers.
    commands: u32,
    _sockets: tempfile::TempDir,
}

impl Machine {
    /// The machine's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// QEMU's process id.
    #[must_use]
    pub fn pid(&mut self) -> u32 {
        self.guard.child().id()
    }

    /// Since the machine was switched on.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Processor time that QEMU has used so far: unlike wall time, it hardly depends on what else
    /// the host is doing.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu_time(&mut self) -> Result<Duration> {
        /// Linux counts in hundredths of a second on every architecture that Rust supports.
        const TICK: Duration = Duration::from_millis(10);
        let path = format!("/proc/{}/stat", self.pid());
        let stat = std::fs::read_to_string(&path).io("read", &path)?;
        // proc(5): fields 14 and 15, counted from behind the name, which may hold blanks.
        let fields = stat
            .rsplit_once(") ")
            .map_or("", |(_, fields)| fields)
            .split(' ');
        let ticks = fields
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u32>().ok())
            .sum();
        Ok(TICK.saturating_mul(ticks))
    }

    /// The next console line that contains `part`, after those returned before.
    ///
    /// # Errors
    /// The deadline passed or the machine ended; the error shows the last lines.
    pub fn wait_line(&mut self, part: &str, within: Duration) -> Result<String> {
        self.wait_for(part, within, |line| {
            line.contains(part).then(|| line.to_owned())
        })
    }

    /// The next console line for which `matches` gives something; `awaited` names it in errors.
    ///
    /// # Errors
    /// As [`Machine::wait_line`].
    pub fn wait_for<T>(
        &mut self,
        awaited: &str,
        within: Duration,
        mut matches: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        self.console
            .wait(awaited, within, |line| matches(&line.text))
    }

    /// Types a line on the console.
    ///
    /// # Errors
    /// The machine has ended.
    pub fn send_line(&mut self, line: &str) -> Result<()> {
        let typed = format!("{line}\n");
        self.keyboard
            .write_all(typed.as_bytes())
            .io("type into the console of", &self.name)
    }

    /// Waits for the guest's shell on the console; once per boot, before [`Machine::shell`].
    ///
    /// # Errors
    /// As [`Machine::wait_line`].
    pub fn wait_shell(&mut self, within: Duration) -> Result<()> {
        self.wait_line("SB: SHELL-READY", within).map(drop)
    }

    /// Runs a command in the shell that waits on the console; what it printed.
    ///
    /// # Errors
    /// The command failed in the guest, or did not end within the deadline.
    pub fn shell(&mut self, command: &str, within: Duration) -> Result<String> {
        self.commands += 1;
        let number = self.commands;
        // The terminal echoes what is typed: the quotes keep the echo from being the marker.
        self.send_line(&format!(
            "echo SB-\"BEGIN\"-{number}; {command}; echo SB-\"END\"-{number} $?"
        ))?;
        self.wait_line(&format!("SB-BEGIN-{number}"), within)?;
        let end = format!("SB-END-{number} ");
        let mut output = Vec::new();
        let code = self.wait_for(command, within, |line| {
            // The last line of the output may lack its line end.
            if let Some((rest, code)) = line.split_once(&end) {
                output.extend((!rest.is_empty()).then(|| rest.to_owned()));
                return code.trim().parse::<i32>().ok();
            }
            output.push(line.to_owned());
            None
        })?;
        let output = output.join("\n");
        if code == 0 {
            return Ok(output);
        }
        Err(Error::GuestCommand {
            machine: self.name.clone(),
            command: command.to_owned(),
            code,
            output,
        })
    }

    /// All console lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<ConsoleLine> {
        self.console.lines()
    }

    /// The console lines after the first `known`: for those who look again and again.
    #[must_use]
    pub fn lines_after(&self, known: usize) -> Vec<ConsoleLine> {
        self.console.lines_after(known)
    }

    /// The file with everything the console showed.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.console.log()
    }

    /// Presses the reset button: like a watchdog, it leaves the disk's cache alone.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn reset(&mut self) -> Result<()> {
        self.qmp.command("system_reset").map(drop)
    }

    /// Ends QEMU in order, with the disk's cache written: no power cut.
    ///
    /// # Errors
    /// QEMU does not answer or does not end.
    pub fn quit(mut self) -> Result<()> {
        self.qmp.command("quit")?;
        self.wait_end(Duration::from_secs(20))
    }

    /// Waits until QEMU ends by itself, e.g. at a guest's restart with
    /// [`MachineBuilder::no_reboot`].
    ///
    /// # Errors
    /// The deadline passed.
    pub fn wait_end(&mut self, within: Duration) -> Result<()> {
        self.console.wait_end(within)?;
        self.guard
            .child()
            .wait()
            .io("wait for", &self.name)
            .map(drop)
    }

    /// Pulls the plug: QEMU is killed at once. What the disk keeps is its backend's decision.
    ///
    /// # Errors
    /// The process cannot be killed.
    pub fn power_cut(mut self) -> Result<()> {
        self.guard.kill().io("kill", &self.name).map(drop)
    }

    /// The next event of that name from QEMU, e.g. `WATCHDOG` or `RESET`.
    ///
    /// # Errors
    /// The deadline passed.
    pub fn wait_event(&mut self, name: &str, within: Duration) -> Result<QemuEvent> {
        self.qmp.wait_event(name, within)
    }

    /// All events from QEMU so far.
    #[must_use]
    pub fn events(&self) -> Vec<QemuEvent> {
        self.qmp.events()
    }
}
