//! One boot of the device: the real driver and worker, one message after another.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use switchback_types::SlotName;
use switchback_update_core::{BootId, Phase, PhaseKind, SlotContent};
use switchbackd::boot::BootControl;
use switchbackd::cancel::Cancel;
use switchbackd::driver::{Command, Driver, DriverError, JobEnd, JobId, Message, Parts};
use switchbackd::fetcher::Inside;
use switchbackd::health::{self, Pace, Reached};
use switchbackd::journal::{Journal, RecordError};
use switchbackd::report;
use switchbackd::slot::{Layout, Located};
use switchbackd::trust::Trust;
use switchbackd::worker::{Job, Worker};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use super::Ended;
use super::server::Server;
use crate::board::Bench;
use crate::bootloader::Start;
use crate::invariants::{Law, Violation};
use crate::machine::{of, of_mut};
use crate::planted::Ports;
use crate::repository::IMAGE;
use crate::scenario::{Behaviour, Deed};
use crate::world::{STATE, World, slot_path};

/// Polls that must change nothing before the device counts as settled.
const QUIET_POLLS: u32 = 3;
/// One boot with a daemon.
pub(super) struct Boot<'a> {
    pub(super) bench: &'a Bench,
    pub(super) world: &'a World,
    pub(super) slot: SlotName,
    pub(super) version: u8,
}

pub(super) struct Daemon {
    pub(super) driver: Driver,
    worker: Worker,
    jobs: Receiver<Job>,
    messages: UnboundedReceiver<Message>,
    _ends: UnboundedReceiver<JobEnd>,
}

impl Boot<'_> {
    /// An error that ends the daemon: with a disk that fails it may; otherwise it must not.
    fn died<T>(&self, error: &dyn std::error::Error) -> Result<Option<T>, Violation> {
        match self.bench.scenario.faults.records {
            Some(_) => Ok(None),
            None => Err(Law::DaemonLives.broken(report::chain(error))),
        }
    }

    pub(super) fn start_daemon(&self, start: &Start) -> Result<Option<Daemon>, Violation> {
        let settings = self
            .bench
            .settings()
            .map_err(|error| Law::DaemonLives.broken(error))?;
        let ports = Ports::new(self.bench, self.world);
        let state_directory = Path::new(STATE);
        let opened = match Journal::open(&ports.files, state_directory) {
            Ok(opened) => opened,
            Err(error) => return self.died(&error),
        };
        // Somebody starts a second one by hand: it must not get as far as acting.
        let second = Journal::open(&ports.files, state_directory);
        if !matches!(second, Err(RecordError::Locked { .. })) {
            let detail = "a second daemon opened the journal beside the first".to_owned();
            return Err(Law::OneDaemonActs.broken(detail));
        }
        let root = self.bench.repository.root_file();
        let (trust, trust_warnings) = match Trust::open(&ports.files, state_directory, root) {
            Ok(opened) => opened,
            Err(error) => return self.died(&error),
        };
        if let Some(warning) = opened.warning.into_iter().chain(trust_warnings).next() {
            return Err(Law::RecordsStayWhole.broken(warning));
        }
        let located = |slot: SlotName| Located {
            path: slot_path(slot),
            number: slot.to_string(),
        };
        let layout = Layout {
            a: located(SlotName::A),
            b: located(SlotName::B),
            booted: ports.booted(self.slot, &opened.state),
            contact: start.contact.clone(),
            environment_bad: start.environment_bad,
            devices: ports.devices,
        };
        let boot = match BootControl::over(&settings.boot, ports.environment) {
            Ok(boot) => boot,
            Err(error) => return self.died(&error),
        };
        let (queue, messages) = unbounded_channel();
        let (job_ends, ends) = unbounded_channel();
        let (sender, jobs) = channel();
        let (cancel, reached) = (Cancel::default(), Reached::default());
        let worker = Worker {
            fetcher: Box::new(Inside::new(Box::new(Server::new(
                self.bench.clone(),
                self.world.clone(),
            )))),
            trust,
            device: settings.device.clone(),
            layout: layout.clone(),
            reached: reached.clone(),
            cancel: cancel.clone(),
            reports: queue.clone(),
            host: Arc::clone(&ports.host),
            not_running: HashSet::new(),
        };
        let boots = self.world.live().machine.truth.boots;
        let driver = Driver::new(Parts {
            decide: ports.decide,
            settings,
            layout,
            boot,
            journal: opened.journal,
            state: opened.state,
            boot_id: BootId::new(&format!("boot-{boots}")),
            host: ports.host,
            worker: sender,
            fleet: None,
            cancel,
            reached,
            queue,
            job_ends,
        });
        let mut driver = match driver {
            Ok((driver, _view)) => driver,
            Err(error) => return self.died(&error),
        };
        if let Err(error) = driver.start() {
            return self.died(&error);
        }
        Ok(Some(Daemon {
            driver,
            worker,
            jobs,
            messages,
            _ends: ends,
        }))
    }

    /// Until the device settles, restarts, or the daemon dies.
    pub(super) fn run(&self, daemon: &mut Daemon) -> Result<Ended, Violation> {
        let mut quiet = 0;
        loop {
            match self.turn(daemon, &mut quiet) {
                Ok(None) => {}
                Ok(Some(ended)) => return Ok(ended),
                Err(Stop::Broken(violation)) => return Err(violation),
                Err(Stop::Died(error)) => {
                    return self
                        .died(&error)
                        .map(|ended| ended.unwrap_or(Ended::DaemonDied));
                }
            }
        }
    }

    fn turn(&self, daemon: &mut Daemon, quiet: &mut u32) -> Result<Option<Ended>, Stop> {
        if let Some(violation) = self.world.live().violation.take() {
            return Err(violation.into());
        }
        if let Some(attempt) = daemon.driver.state().phase.attempt() {
            let action = attempt.action.to_string();
            self.world.live().machine.truth.begun.insert(action);
        }
        if let Ok(message) = daemon.messages.try_recv() {
            daemon.driver.message(message)?;
            return Ok(None);
        }
        if self.world.live().restart {
            daemon.driver.shut_down()?;
            self.world.live().flush();
            return Ok(Some(Ended::Restarts));
        }
        match self.bench.scenario.behaviour(self.version) {
            Behaviour::HangsAtStart => return Ok(Some(Ended::Restarts)),
            Behaviour::RestartsAtStart => {
                self.world.live().restart = true;
                return Ok(None);
            }
            _ => {}
        }
        if self.deed(daemon)? {
            *quiet = 0;
            return Ok(None);
        }
        if let Ok(job) = daemon.jobs.try_recv() {
            let (poll, check) = (
                matches!(job, Job::Poll { .. }),
                matches!(job, Job::Check { .. }),
            );
            daemon.worker.work(job);
            *quiet = match self.rests(daemon) {
                true if poll => *quiet + 1,
                true if check => *quiet,
                _ => 0,
            };
            return Ok(None);
        }
        let health = self.world.live().health.first().map(|(due, _)| *due);
        match (health, daemon.driver.due()) {
            (Some(health), due) if due.is_none_or(|due| health <= due) => {
                self.pass_time(health);
                if self.bench.scenario.behaviour(self.version) == Behaviour::HangsLate {
                    return Ok(Some(Ended::Restarts));
                }
                self.judge_health();
                *quiet = 0;
            }
            (_, Some(due)) => {
                if *quiet > QUIET_POLLS {
                    return Ok(Some(Ended::Settled));
                }
                self.pass_time(due);
                daemon.driver.tick()?;
            }
            (_, None) => {
                let detail = "the daemon waits for nothing".to_owned();
                return Err(Law::Settles.broken(detail).into());
            }
        }
        if self.world.live().session.uptime > Duration::from_secs(3 * 24 * 3600) {
            let detail = "not settled after three days".to_owned();
            return Err(Law::Settles.broken(detail).into());
        }
        Ok(None)
    }

    /// Whether the daemon waits for the next release, or for a person who will not come again.
    fn rests(&self, daemon: &Daemon) -> bool {
        match &daemon.driver.state().phase {
            Phase::Idle => true,
            Phase::OnTrial { attempt, .. } => {
                !self.bench.scenario.automatic && attempt.target != self.slot
            }
            Phase::Installing { .. } | Phase::Staged { .. } | Phase::Reporting { .. } => false,
        }
    }

    fn pass_time(&self, to: Duration) {
        let mut live = self.world.live();
        live.session.uptime = live.session.uptime.max(to);
    }

    fn judge_health(&self) {
        let (_, run) = self.world.live().health.remove(0);
        let good = self.bench.scenario.behaviour(self.version) == Behaviour::Good;
        let mut pace = Passing::default();
        let result = health::watch(&run.settings, &mut pace, &mut || match good {
            true => Ok(()),
            false => Err("the application does not answer".into()),
        });
        if good {
            let mut live = self.world.live();
            *of_mut(&mut live.machine.truth.good, self.slot) = Some(self.version);
        }
        (run.reports.end)(result);
    }

    /// Does the next deed if its time has come.
    fn deed(&self, daemon: &mut Daemon) -> Result<bool, DriverError> {
        let done = self.world.live().machine.truth.deeds;
        let Some((when, deed)) = self.bench.scenario.deeds.get(done) else {
            return Ok(false);
        };
        let phase = daemon.driver.state().phase.kind();
        let settled = when.phase != PhaseKind::Idle || self.is_good();
        if phase != when.phase || self.version != when.running || !settled {
            return Ok(false);
        }
        // What rots is found before a person asks for it to be mended.
        let other = daemon.driver.state().slot(self.slot.other());
        let damaged = matches!(other.content, SlotContent::Damaged { .. });
        if *deed == Deed::Repair && !damaged {
            return Ok(false);
        }
        self.world.live().machine.truth.deeds += 1;
        let command = match deed {
            Deed::Publish(stage) => {
                self.world.live().machine.truth.published = *stage;
                return Ok(true);
            }
            Deed::Rot => {
                self.rot();
                return Ok(true);
            }
            Deed::Reboot => {
                self.world.live().restart = true;
                return Ok(true);
            }
            Deed::RollBack => Command::RollBack {
                job: JobId(1),
                reason: "a person".into(),
            },
            Deed::Repair => Command::Repair(JobId(1)),
            Deed::Restart => Command::Restart,
            Deed::Cancel => Command::Cancel,
            Deed::Hold => Command::Hold {
                reason: "a person".into(),
                until: None,
            },
            Deed::Unhold => Command::Release,
        };
        let (reply, _answer) = oneshot::channel();
        daemon.driver.message(Message::Command { command, reply })?;
        Ok(true)
    }

    /// A bit flips in the middle of the inactive slot, and stays so.
    fn rot(&self) {
        let slot = self.slot.other();
        let at = IMAGE / 2;
        self.world.step(
            || format!("a bit flips in slot {slot}"),
            |machine| {
                let disk = machine.slot_mut(slot);
                let flipped: Vec<u8> = disk.read(at, 1).iter().map(|byte| byte ^ 1).collect();
                disk.write(at, &flipped);
                disk.sync();
                *of_mut(&mut machine.truth.rotten, slot) = true;
            },
        );
    }

    fn is_good(&self) -> bool {
        of(self.world.live().machine.truth.good, self.slot) == Some(self.version)
    }
}

/// Why a turn was the last one.
enum Stop {
    Broken(Violation),
    Died(DriverError),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

impl From<DriverError> for Stop {
    fn from(error: DriverError) -> Self {
        Self::Died(error)
    }
}

/// Time that passes at once.
#[derive(Debug, Default)]
pub(crate) struct Passing(Duration);

impl Pace for Passing {
    fn elapsed(&mut self) -> Duration {
        self.0
    }

    fn pause(&mut self, time: Duration) {
        self.0 += time;
    }
}
