//! One device's life: the loader, the kernel, the real daemon, until nothing is left to do.

mod daemon;
mod server;

use std::time::Duration;

use switchback_update_core::State;

use self::daemon::Boot;
pub(crate) use self::daemon::Passing;
pub(crate) use self::server::FAULTY_POLLS;
use crate::board::Bench;
use crate::bootloader::{self, Act, Loader, Start};
use crate::invariants::{Law, Violation};
use crate::repository::PUBLISHED;
use crate::scenario::{Behaviour, Clock};
use crate::world::World;

/// More boots than any story needs.
const MOST_BOOTS: u32 = 60;
/// More restarts of the daemon than any story needs.
const MOST_DAEMON_RESTARTS: u32 = 40;
/// What systemd waits before it starts the daemon again.
const RESTART_PAUSE: Duration = Duration::from_secs(5);
/// Seconds of a day.
const DAY: i64 = 86_400;

/// How a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Nothing is left to do.
    Settled,
    /// The device restarts.
    Restarts,
    /// Only the daemon did; systemd starts it again.
    DaemonDied,
}

impl Bench {
    /// Boots again and again until the device has settled; gives the state it settled in.
    ///
    /// A session that has begun already goes on first: its daemon was killed, and is started
    /// again.
    ///
    /// # Errors
    /// What must not be: a broken invariant, or a device that does not settle.
    pub fn live(&self, world: &World) -> Result<State, Violation> {
        let start = world.live().session.start.clone();
        let mut ended = match start {
            Some(start) => {
                self.daemon_ends(world)?;
                self.serve(world, &start)?
            }
            None => (Ended::Restarts, None),
        };
        loop {
            if let Some(violation) = world.live().violation.take() {
                return Err(violation);
            }
            if let (Ended::Settled, Some(state)) = ended {
                return Ok(state);
            }
            self.power_on(world)?;
            ended = self.boot(world)?;
        }
    }

    fn power_on(&self, world: &World) -> Result<(), Violation> {
        let mut live = world.live();
        live.machine.truth.boots += 1;
        let boots = live.machine.truth.boots;
        if boots > MOST_BOOTS {
            return Err(Law::Settles.broken(format!("not settled after {MOST_BOOTS} boots")));
        }
        let boots = i64::from(boots);
        let now = match self.scenario.faults.clock {
            Clock::Right | Clock::Ahead => PUBLISHED + boots * 3600,
            Clock::Absent => 0,
            Clock::Back => PUBLISHED - boots * DAY,
        };
        live.power_on(now);
        Ok(())
    }

    /// The loader, then the kernel.
    fn boot(&self, world: &World) -> Result<(Ended, Option<State>), Violation> {
        let machine = world.live().machine.clone();
        let run = bootloader::run(
            self.scenario.loader,
            &self.copies(&machine),
            self.slot_states(&machine),
        );
        for act in &run.acts {
            if let Act::Save { copy, bytes } = act {
                let (path, offset) = self.place_of(*copy);
                world.write_environment(&path, offset, bytes);
                if matches!(self.scenario.loader, Loader::RaucUboot | Loader::Bootcount) {
                    // U-Boot's writes go through the cache; those of GRUB on UEFI need not.
                    world.sync_environment(&path);
                }
            }
        }
        let Some(start) = run.start().cloned() else {
            return Ok((Ended::Restarts, None));
        };
        let bytes = machine.slot(start.slot).live();
        let Some(image) = self.repository.whole(&bytes) else {
            let detail = format!("slot {} is started and is not whole", start.slot);
            return Err(Law::OnlyWholeSlotsStart.broken(detail));
        };
        let version = image.version;
        {
            let mut live = world.live();
            live.session.start = Some(start.clone());
            live.session.version = version;
        }
        if matches!(
            self.scenario.behaviour(version),
            Behaviour::DiesEarly | Behaviour::HangsEarly
        ) {
            return Ok((Ended::Restarts, None));
        }
        self.serve(world, &start)
    }

    /// The daemon, started again whenever it dies.
    fn serve(&self, world: &World, start: &Start) -> Result<(Ended, Option<State>), Violation> {
        loop {
            let boot = Boot {
                bench: self,
                world,
                slot: start.slot,
                version: world.live().session.version,
            };
            let (ended, state) = match boot.start_daemon(start)? {
                Some(mut daemon) => {
                    let ended = boot.run(&mut daemon)?;
                    (ended, Some(daemon.driver.state().clone()))
                }
                None => (Ended::DaemonDied, None),
            };
            if ended != Ended::DaemonDied {
                return Ok((ended, state));
            }
            if world.live().restart {
                return Ok((Ended::Restarts, state));
            }
            self.daemon_ends(world)?;
        }
    }

    fn daemon_ends(&self, world: &World) -> Result<(), Violation> {
        let mut live = world.live();
        live.end_daemon();
        live.session.uptime += RESTART_PAUSE;
        live.machine.truth.daemon_restarts += 1;
        if live.machine.truth.daemon_restarts > MOST_DAEMON_RESTARTS {
            let detail = format!("the daemon died {MOST_DAEMON_RESTARTS} times");
            return Err(Law::Settles.broken(detail));
        }
        Ok(())
    }
}
