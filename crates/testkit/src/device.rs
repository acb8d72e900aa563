//! One device's life: the loader, the kernel, the real daemon, until nothing is left to do.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use switchback_types::SlotName;
use switchback_update_core::{BootId, Phase, PhaseKind};
use switchbackd::boot::BootControl;
use switchbackd::cancel::Cancel;
use switchbackd::driver::{Command, Driver, JobEnd, JobId, Message, Parts};
use switchbackd::fetch::{FetchError, Source};
use switchbackd::health::{self, Pace, Reached};
use switchbackd::host::Host;
use switchbackd::journal::{Journal, RecordFiles};
use switchbackd::slot::{Layout, Located};
use switchbackd::trust::Trust;
use switchbackd::worker::{Job, Worker};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use crate::board::Bench;
use crate::bootloader::{self, Act, Loader};
use crate::repository::{Fault, PUBLISHED};
use crate::scenario::{Behaviour, Deed};
use crate::world::{STATE, World, slot_path};

/// More boots than any story needs.
const MOST_BOOTS: u32 = 60;
/// Polls that must change nothing before the device counts as settled.
const QUIET_POLLS: u32 = 3;
/// Polls during which a fault of the server lasts.
const FAULTY_POLLS: u32 = 3;

/// How a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Nothing is left to do.
    Settled,
    /// The device restarts.
    Restarts,
}

impl Bench {
    /// Boots again and again until the device has settled; gives the state it settled in.
    ///
    /// # Errors
    /// What must not be: a broken invariant, or a device that does not settle.
    pub fn live(&self, world: &World) -> Result<switchback_update_core::State, String> {
        loop {
            {
                let mut live = world.live();
                live.machine.truth.boots += 1;
                let boots = live.machine.truth.boots;
                if boots > MOST_BOOTS {
                    return Err(format!("liveness: not settled after {MOST_BOOTS} boots"));
                }
                live.switched_on = PUBLISHED + i64::from(boots) * 3600;
                live.power_on();
            }
            let (ended, state) = self.boot(world)?;
            if let Some(violation) = world.live().violation.take() {
                return Err(violation);
            }
            if let (Ended::Settled, Some(state)) = (ended, state) {
                return Ok(state);
            }
        }
    }

    /// The loader, then the kernel.
    fn boot(
        &self,
        world: &World,
    ) -> Result<(Ended, Option<switchback_update_core::State>), String> {
        let machine = world.live().machine.clone();
        let run = bootloader::run(
            self.scenario.loader,
            &self.copies(&machine),
            self.slot_states(&machine),
        );
        for act in &run.acts {
            if let Act::Save { copy, bytes } = act {
                let (path, offset) = self.place_of(&machine, *copy);
                world.write_environment(&path, offset, bytes);
                if self.scenario.loader == Loader::RaucUboot {
                    // U-Boot's writes go through the cache; those of GRUB on UEFI need not.
                    switchbackd::boot::EnvFiles::sync(world, &path)
                        .map_err(|error| error.to_string())?;
                }
            }
        }
        let Some(start) = run.start().cloned() else {
            return Ok((Ended::Restarts, None));
        };
        let bytes = machine.slot(start.slot).live();
        let Some(image) = self.repository.whole(&bytes) else {
            let slot = start.slot;
            return Err(format!("I4: slot {slot} is started and is not whole"));
        };
        let version = image.version;
        {
            let mut live = world.live();
            live.booted = Some(start.slot);
            live.os_release = format!("IMAGE_VERSION={version}\n");
        }
        if self.scenario.behaviour(version) == Behaviour::DiesEarly {
            return Ok((Ended::Restarts, None));
        }
        let boot = Boot {
            bench: self,
            world,
            slot: start.slot,
            version,
        };
        let mut daemon = boot.start_daemon(&start)?;
        let ended = boot.run(&mut daemon)?;
        Ok((ended, Some(daemon.driver.state().clone())))
    }
}

/// One boot with a daemon.
struct Boot<'a> {
    bench: &'a Bench,
    world: &'a World,
    slot: SlotName,
    version: u8,
}

struct Daemon {
    driver: Driver,
    worker: Worker,
    jobs: Receiver<Job>,
    messages: UnboundedReceiver<Message>,
    _ends: UnboundedReceiver<JobEnd>,
}

impl Boot<'_> {
    fn start_daemon(&self, start: &bootloader::Start) -> Result<Daemon, String> {
        let chain = |error: &dyn std::error::Error| switchbackd::report::chain(error);
        let settings = self.bench.settings()?;
        let files: Arc<dyn RecordFiles> = Arc::new(self.world.clone());
        let opened = Journal::open(&files, Path::new(STATE)).map_err(|error| chain(&error))?;
        let (trust, trust_warning) =
            Trust::open(&files, Path::new(STATE), self.bench.repository.root_file())
                .map_err(|error| chain(&error))?;
        if let Some(warning) = opened.warning.or(trust_warning) {
            return Err(format!("records: {warning}"));
        }
        let located = |slot: SlotName| Located {
            path: slot_path(slot),
            number: slot.to_string(),
        };
        let layout = Layout {
            a: located(SlotName::A),
            b: located(SlotName::B),
            booted: self.slot,
            contact: start.contact.clone(),
            environment_bad: start.environment_bad,
            devices: Arc::new(self.world.clone()),
        };
        let host: Arc<dyn Host> = Arc::new(self.world.clone());
        let boot = BootControl::over(&settings.boot, Box::new(self.world.clone()))
            .map_err(|error| chain(&error))?;
        let (queue, messages) = unbounded_channel();
        let (job_ends, ends) = unbounded_channel();
        let (sender, jobs) = channel();
        let (cancel, reached) = (Cancel::default(), Reached::default());
        let worker = Worker {
            source: Box::new(Server {
                bench: self.bench.clone(),
                world: self.world.clone(),
            }),
            trust,
            device: settings.device.clone(),
            layout: layout.clone(),
            reached: reached.clone(),
            cancel: cancel.clone(),
            reports: queue.clone(),
            host: Arc::clone(&host),
            not_running: HashSet::new(),
        };
        let boots = self.world.live().machine.truth.boots;
        let (mut driver, _view) = Driver::new(Parts {
            settings,
            layout,
            boot,
            journal: opened.journal,
            state: opened.state,
            boot_id: BootId::new(&format!("boot-{boots}")),
            host,
            worker: sender,
            cancel,
            reached,
            queue,
            job_ends,
        })
        .map_err(|error| chain(&error))?;
        driver.start().map_err(|error| chain(&error))?;
        Ok(Daemon {
            driver,
            worker,
            jobs,
            messages,
            _ends: ends,
        })
    }

    fn run(&self, daemon: &mut Daemon) -> Result<Ended, String> {
        let failed = |error: switchbackd::driver::DriverError| error.to_string();
        let mut quiet = 0;
        loop {
            if let Some(violation) = self.world.live().violation.take() {
                return Err(violation);
            }
            if let Ok(message) = daemon.messages.try_recv() {
                daemon.driver.message(message).map_err(failed)?;
                continue;
            }
            if self.world.live().restart {
                daemon.driver.shut_down().map_err(failed)?;
                self.world.live().flush();
                return Ok(Ended::Restarts);
            }
            if self.deed(daemon).map_err(failed)? {
                quiet = 0;
                continue;
            }
            if let Ok(job) = daemon.jobs.try_recv() {
                let poll = matches!(job, Job::Poll { .. });
                daemon.worker.work(job);
                let idle = matches!(daemon.driver.state().phase, Phase::Idle);
                quiet = if poll && idle { quiet + 1 } else { 0 };
                continue;
            }
            let health = self.world.live().health.first().map(|(due, _)| *due);
            match (health, daemon.driver.due()) {
                (Some(health), due) if due.is_none_or(|due| health <= due) => {
                    self.pass_time(health);
                    if self.bench.scenario.behaviour(self.version) == Behaviour::HangsLate {
                        return Ok(Ended::Restarts);
                    }
                    self.judge_health();
                    quiet = 0;
                }
                (_, Some(due)) => {
                    if quiet > QUIET_POLLS {
                        return Ok(Ended::Settled);
                    }
                    self.pass_time(due);
                    daemon.driver.tick().map_err(failed)?;
                }
                (_, None) => return Err("liveness: the daemon waits for nothing".into()),
            }
            if self.world.live().uptime > Duration::from_secs(3 * 24 * 3600) {
                return Err("liveness: not settled after three days".into());
            }
        }
    }

    fn pass_time(&self, to: Duration) {
        let mut live = self.world.live();
        live.uptime = live.uptime.max(to);
    }

    fn judge_health(&self) {
        let (_, run) = self.world.live().health.remove(0);
        let good = self.bench.scenario.behaviour(self.version) == Behaviour::Good;
        let mut pace = Passing(Duration::ZERO);
        let result = health::watch(&run.settings, &mut pace, &mut || match good {
            true => Ok(()),
            false => Err("the application does not answer".into()),
        });
        if result.is_ok() {
            let mut live = self.world.live();
            let [a, b] = &mut live.machine.truth.good;
            *match self.slot {
                SlotName::A => a,
                SlotName::B => b,
            } = Some(self.version);
        }
        (run.end)(result);
    }

    /// Does the next deed if its time has come.
    fn deed(&self, daemon: &mut Daemon) -> Result<bool, switchbackd::driver::DriverError> {
        let done = self.world.live().machine.truth.deeds;
        let Some((when, deed)) = self.bench.scenario.deeds.get(done) else {
            return Ok(false);
        };
        let phase = daemon.driver.state().phase.kind();
        let settled = when.phase != PhaseKind::Idle || self.is_good();
        if phase != when.phase || self.version != when.running || !settled {
            return Ok(false);
        }
        self.world.live().machine.truth.deeds += 1;
        let command = match deed {
            Deed::Publish => {
                self.world.live().machine.truth.published += 1;
                return Ok(true);
            }
            Deed::RollBack => Command::RollBack {
                job: JobId(1),
                reason: "a person".into(),
            },
            Deed::Cancel => Command::Cancel,
            Deed::Hold => Command::Hold {
                reason: "a person".into(),
            },
            Deed::Unhold => Command::Release,
        };
        let (reply, _answer) = oneshot::channel();
        daemon.driver.message(Message::Command { command, reply })?;
        Ok(true)
    }

    fn is_good(&self) -> bool {
        let [a, b] = self.world.live().machine.truth.good;
        let good = match self.slot {
            SlotName::A => a,
            SlotName::B => b,
        };
        good == Some(self.version)
    }
}

struct Passing(Duration);

impl Pace for Passing {
    fn elapsed(&mut self) -> Duration {
        self.0
    }

    fn pause(&mut self, time: Duration) {
        self.0 += time;
    }
}

/// The repository's server, as it is at the moment of each request.
#[derive(Debug)]
struct Server {
    bench: Bench,
    world: World,
}

impl Server {
    fn now(&self) -> crate::repository::Server {
        let (published, polls) = {
            let truth = &self.world.live().machine.truth;
            (truth.published, truth.polls)
        };
        let fault = match polls <= FAULTY_POLLS {
            true => self.bench.scenario.fault,
            false => Fault::None,
        };
        self.bench.repository.server(published, fault)
    }
}

impl Source for Server {
    fn file(&self, path: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        // A poll ends at its first request when nobody answers.
        let gone = self.now().is_gone();
        if gone || path.ends_with("timestamp.json") {
            self.world.live().machine.truth.polls += 1;
        }
        self.now().file(path, limit)
    }

    fn stream(&self, path: &str, offset: u64) -> Result<Box<dyn Read + Send>, FetchError> {
        self.now().stream(path, offset)
    }

    fn url(&self, path: &str) -> String {
        self.now().url(path)
    }
}
