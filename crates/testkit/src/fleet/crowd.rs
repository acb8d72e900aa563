//! Many devices on a few threads: each thread has its own devices, its own queue of what is due, and one
//! connection of the daemon's own client that is kept.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use switchbackd::fetch::{Credentials, HttpApi};
use switchbackd::fleet::{Access, Client, Secret};
use switchbackd::settings::RepositorySettings;

use super::device::{Around, Device};
use super::network::Way;
use super::seen::{Figures, Histogram, Seen};
use super::{Clocks, Fate, Network, Pace, Whom, name};
use crate::storage::Chance;

/// A device waits so long for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A thread looks so often whether it is to end.
const LOOK: u64 = 50;

/// Who the devices are, and what befalls them.
#[derive(Debug, Clone)]
pub struct Options {
    /// Addresses of the server: more than one where there are replicas.
    pub bases: Vec<String>,
    /// The fleet's token.
    pub enroll: String,
    pub devices: u32,
    /// Threads that ask; at most one question of each is under way.
    pub threads: u32,
    /// How long an hour of a device takes here.
    pub hour: Duration,
    /// Within this time all devices ask for the first time.
    pub first_polls: Duration,
    pub fate: (Fate, Whom),
    pub network: Network,
    pub clocks: Clocks,
}

/// Devices that live.
#[derive(Debug)]
pub struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Done>>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    bases: RwLock<Vec<String>>,
    began: Instant,
    stop: AtomicBool,
    seen: Seen,
}

/// What a thread leaves.
struct Done {
    times: Histogram,
    late: Histogram,
    devices: Vec<Device>,
}

/// How the daemon's client reaches the server at `base`.
pub(super) fn connection(base: &str) -> RepositorySettings {
    RepositorySettings {
        url: base.to_owned(),
        ca_file: PathBuf::new(),
        root_file: PathBuf::new(),
        poll_interval: Duration::from_secs(60),
        stall_timeout: PATIENCE,
        max_rate: None,
        proxy: None,
        client: None,
    }
}

impl Crowd {
    /// Switches all devices on: those with a token of `tokens` are known to the server, the others are let in by
    /// the fleet's.
    ///
    /// # Errors
    /// The system has no threads or event queues left.
    pub fn start(options: Options, tokens: Vec<Option<Secret>>) -> io::Result<Self> {
        let count = options.threads.clamp(1, options.devices.max(1));
        let mut chance = Chance::new(17);
        let mut parts: Vec<Vec<Device>> = (0..count).map(|_| Vec::new()).collect();
        let mut tokens = tokens.into_iter();
        let first = usize::try_from(options.first_polls.as_millis()).unwrap_or(usize::MAX);
        for number in 0..options.devices {
            let device = Device::new(number, tokens.next().flatten(), chance.below(first) as u64);
            if let Some(part) = parts.get_mut((number % count) as usize) {
                part.push(device);
            }
        }
        let shared = Arc::new(Shared {
            bases: RwLock::new(options.bases.clone()),
            options,
            began: Instant::now(),
            stop: AtomicBool::new(false),
            seen: Seen::default(),
        });
        let mut threads = Vec::new();
        for (number, devices) in (1..).zip(parts) {
            let shared = Arc::clone(&shared);
            let base = shared.bases().first().cloned().unwrap_or_default();
            let api = HttpApi::new(&base, &connection(&base), &Credentials::none())
                .map_err(io::Error::other)?;
            let thread = std::thread::Builder::new()
                .name("devices".into())
                .stack_size(512 * 1024);
            threads.push(thread.spawn(move || live(&shared, &api, number, devices))?);
        }
        Ok(Self { shared, threads })
    }

    /// What was counted so far.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    /// Since the devices were switched on.
    #[must_use]
    pub fn passed(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// The server is somewhere else now.
    pub fn moved(&self, bases: Vec<String>) {
        let mut known = self
            .shared
            .bases
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *known = bases;
    }

    /// Switches all devices off; gives what was counted and each device's token.
    #[must_use]
    pub fn end(mut self) -> (Figures, Vec<Option<Secret>>) {
        let passed = self.passed().as_secs_f64();
        let (mut times, mut late) = (Histogram::default(), Histogram::default());
        let mut devices = Vec::new();
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            if let Ok(done) = thread.join() {
                times.add(&done.times);
                late.add(&done.late);
                devices.extend(done.devices);
            }
        }
        devices.sort_by_key(|device| device.number);
        let figures = Figures {
            seconds: passed,
            polls: self.shared.seen.polls.get(),
            p50_us: times.at(50),
            p99_us: times.at(99),
            late_p99_ms: late.at(99),
        };
        (
            figures,
            devices.into_iter().map(|device| device.token).collect(),
        )
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn bases(&self) -> Vec<String> {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        bases.clone()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn around<'a>(&'a self, chance: &'a RefCell<Chance>) -> Around<'a> {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Around {
            now: self.now(),
            wall: i64::try_from(wall.as_secs()).unwrap_or(i64::MAX),
            pace: Pace {
                hour: self.options.hour,
            },
            fate: self.options.fate,
            clocks: self.options.clocks,
            chance,
            seen: &self.seen,
        }
    }
}

/// One thread's devices, until they are switched off.
fn live(shared: &Shared, api: &HttpApi, seed: u64, mut devices: Vec<Device>) -> Done {
    let chance = RefCell::new(Chance::new(seed));
    let times = RefCell::new(Histogram::default());
    let mut late = Histogram::default();
    let mut queue: BinaryHeap<Reverse<(u64, usize)>> = devices
        .iter()
        .enumerate()
        .filter_map(|(place, device)| Some(Reverse((device.due()?, place))))
        .collect();
    while !shared.stop.load(Ordering::Relaxed) {
        let now = shared.now();
        let due = queue.peek().map_or(u64::MAX, |Reverse((due, _))| *due);
        if due > now {
            std::thread::sleep(Duration::from_millis((due - now).min(LOOK)));
            continue;
        }
        let Some(Reverse((due, place))) = queue.pop() else {
            continue;
        };
        let Some(device) = devices.get_mut(place) else {
            continue;
        };
        late.note(now - due);
        if let Some(turn) = device.act(&shared.around(&chance)) {
            let way = Way {
                api,
                network: shared.options.network,
                chance: &chance,
                times: &times,
                lost: Cell::new(false),
            };
            let access = access(shared, device);
            // Where there are several servers, a balancer leads each turn to the next.
            device.way = device.way.wrapping_add(1);
            let word = Client::new(&way, &access).turn(&turn);
            // Time has passed meanwhile.
            let around = shared.around(&chance);
            if way.lost.get() {
                shared.seen.told_again.one();
            }
            match word {
                Ok(word) => device.heard(&turn, word, &around),
                Err(why) => device.unheard(turn, &why, &around),
            }
        }
        if let Some(due) = device.due() {
            queue.push(Reverse((due, place)));
        }
    }
    Done {
        times: times.into_inner(),
        late,
        devices,
    }
}

fn access(shared: &Shared, device: &Device) -> Access {
    let bases = shared.bases.read().unwrap_or_else(PoisonError::into_inner);
    let which = device.way as usize % bases.len().max(1);
    let authorization = device.token.as_ref();
    Access {
        url: bases.get(which).cloned().unwrap_or_default(),
        tenant: "DEFAULT".into(),
        id: name(device.number),
        authorization: authorization.map(|Secret(token)| Secret(format!("TargetToken {token}"))),
        enroll: Some(Secret(shared.options.enroll.clone())),
        proposed: Some(Secret(format!(
            "the-own-token-of-device-{:08}",
            device.number
        ))),
    }
}
