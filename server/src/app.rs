//! What all requests share.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use switchback_types::Timestamp;
use tokio::sync::{Notify, Semaphore, broadcast};

use crate::access::Person;
use crate::book::Book;
use crate::fleet::{Device, Fleet};
use crate::metrics::Metrics;
use crate::proxy::Proxies;
use crate::releases::Release;
use crate::store::{Statement, Store, StoreError, Value};
use crate::tls::Tls;

/// How the server was told to behave.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where files are kept.
    pub data: PathBuf,
    /// The base of all addresses that devices are given; without it, what they came by.
    pub public_url: Option<String>,
    /// Where the signed repository is, as this machine reads it.
    pub repository: Option<PathBuf>,
    /// The root metadata that the repository is trusted by.
    pub repository_root: Option<PathBuf>,
    /// Where devices find the repository.
    pub content_url: Option<String>,
    /// Seconds between polls of a device that has nothing to do.
    pub poll_seconds: u32,
    /// Polls in one second that the server wants to see at most: with more devices they are told
    /// to come less often.
    pub polls_per_second: u32,
    /// Downloads from this server at the same time.
    pub downloads: usize,
    /// A person lets each new device in.
    pub approve_devices: bool,
    /// Seconds between two looks of the planner when nothing happens.
    pub turn_seconds: u64,
    /// Whose headers are believed.
    pub proxies: Arc<Proxies>,
}

/// Something that happened, for whoever watches.
#[derive(Debug, Clone)]
pub struct Event {
    /// Which kind.
    pub kind: &'static str,
    /// A JSON object.
    pub data: Arc<str>,
}

/// What all requests share.
#[derive(Debug)]
pub struct App {
    /// How to behave.
    pub settings: Settings,
    /// What is kept.
    pub store: Store,
    /// What is spoken, where it is HTTPS.
    pub tls: Option<Arc<Tls>>,
    /// All devices.
    pub fleet: Fleet,
    book: RwLock<Book>,
    releases: RwLock<BTreeMap<String, Arc<Release>>>,
    people: RwLock<Vec<Person>>,
    failures: Mutex<HashMap<IpAddr, (i64, u32)>>,
    /// What is counted.
    pub metrics: Metrics,
    events: broadcast::Sender<Event>,
    /// Wakes the planner.
    pub wake: Notify,
    /// Since when devices could be heard.
    pub listening_since: Timestamp,
    /// Whoever looks into the repository, one at a time.
    pub repository: Mutex<()>,
    /// Downloads that may begin.
    pub downloads: Arc<Semaphore>,
}

/// Wrong tokens from one address in one minute before it has to wait.
const MAX_FAILURES: u32 = 30;
/// Addresses that are remembered for that.
const MAX_ADDRESSES: usize = 10_000;

/// Now, in whole seconds.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_unix(now_ms() / 1000)
}

/// Now, in milliseconds since 1970.
#[must_use]
pub fn now_ms() -> i64 {
    let passed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)
}

impl App {
    /// Reads everything that is kept.
    ///
    /// # Errors
    /// The database does not answer or holds what cannot be read.
    pub async fn load(
        settings: Settings,
        store: Store,
        tls: Option<Arc<Tls>>,
    ) -> Result<Arc<Self>, StoreError> {
        let downloads = Arc::new(Semaphore::new(settings.downloads));
        let app = Self {
            settings,
            store,
            tls,
            fleet: Fleet::default(),
            book: RwLock::default(),
            releases: RwLock::default(),
            people: RwLock::default(),
            failures: Mutex::default(),
            metrics: Metrics::default(),
            events: broadcast::channel(1024).0,
            wake: Notify::new(),
            listening_since: now(),
            repository: Mutex::default(),
            downloads,
        };
        for row in app.store.devices().await? {
            app.fleet.put(&row.id, Device::from_row(&row));
        }
        for row in app.store.rollouts().await? {
            app.book_mut().put(&row)?;
        }
        let attempts = app.store.attempts().await?;
        {
            let mut book = app.book_mut();
            for row in &attempts {
                book.put_attempt(row)?;
            }
        }
        for row in &attempts {
            app.refresh_task(&row.device);
        }
        app.load_releases().await?;
        app.load_people().await?;
        Ok(Arc::new(app))
    }

    /// Reads the releases again.
    ///
    /// # Errors
    /// The database does not answer or holds what cannot be read.
    pub async fn load_releases(&self) -> Result<(), StoreError> {
        let mut all = BTreeMap::new();
        for row in self.store.releases().await? {
            let release: Release = serde_json::from_str(&row.doc).map_err(|_| StoreError::Row {
                what: format!("releases {}", row.name),
            })?;
            all.insert(row.name, Arc::new(release));
        }
        *self
            .releases
            .write()
            .unwrap_or_else(PoisonError::into_inner) = all;
        Ok(())
    }

    /// Reads again who has a token.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn load_people(&self) -> Result<(), StoreError> {
        let rows = self.store.people().await?;
        let people = rows.iter().filter_map(Person::from_row).collect();
        *self.people.write().unwrap_or_else(PoisonError::into_inner) = people;
        Ok(())
    }

    /// All rollouts, to look at.
    pub fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// All rollouts, to change.
    pub fn book_mut(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// All releases by name.
    pub fn releases(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Release>>> {
        self.releases.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The release with an identity.
    #[must_use]
    pub fn release_by_identity(&self, identity: &str) -> Option<Arc<Release>> {
        let releases = self.releases();
        releases
            .values()
            .find(|release| release.identity == identity)
            .cloned()
    }

    /// Everybody with a token.
    pub fn people(&self) -> RwLockReadGuard<'_, Vec<Person>> {
        self.people.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<IpAddr, (i64, u32)>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a wrong token of an address.
    pub fn note_failure(&self, from: IpAddr) {
        self.metrics.refused_tokens.add(1);
        let minute = now().unix() / 60;
        let mut failures = self.failures();
        if failures.len() >= MAX_ADDRESSES {
            failures.retain(|_, (at, _)| *at == minute);
        }
        if failures.len() < MAX_ADDRESSES || failures.contains_key(&from) {
            let entry = failures.entry(from).or_insert((minute, 0));
            if entry.0 != minute {
                *entry = (minute, 0);
            }
            entry.1 += 1;
        }
    }

    /// Whether an address gave too many wrong tokens in this minute.
    #[must_use]
    pub fn must_wait(&self, from: IpAddr) -> bool {
        let minute = now().unix() / 60;
        let entry = self.failures().get(&from).copied();
        entry.is_some_and(|(at, count)| at == minute && count >= MAX_FAILURES)
    }

    /// Works out anew what a device is to do.
    pub fn refresh_task(&self, device: &str) {
        let auto_confirm = self.fleet.with(device, |device| device.auto_confirm);
        let task = self.book().task(device, auto_confirm.unwrap_or(false));
        self.fleet
            .change(device, |known| known.task = task.map(Box::new));
    }

    /// Puts devices into memory, for measuring.
    pub fn fill(&self, devices: u32) {
        use crate::secret::TokenHash;
        for number in 0..devices {
            let id = format!("device-{number}");
            let row = crate::store::DeviceRow {
                state: "active".into(),
                token_hash: TokenHash::of(&id).to_text(),
                next_token_hash: String::new(),
                attributes: format!(
                    "{{\"hw\":\"rev{}\",\"site\":\"site-{}\",\"serial\":\"{number:08}\"}}",
                    number % 3,
                    number % 100
                ),
                labels: "{}".into(),
                identity: "1.0".into(),
                auto_confirm: String::new(),
                enrolled_at: 0,
                heard_at: now().unix(),
                id,
            };
            self.fleet.put(&row.id, Device::from_row(&row));
        }
    }

    /// Tells whoever watches, and the log.
    pub fn tell(&self, kind: &'static str, data: &serde_json::Value) {
        let text = |name: &str| data.get(name).and_then(serde_json::Value::as_str);
        // A large rollout makes progress all the time.
        if kind != "progress" {
            tracing::info!(
                DEVICE = text("device"),
                RELEASE = text("release"),
                ROLLOUT = text("rollout"),
                TRACE_ID = text("trace_id"),
                "{kind}: {data}"
            );
        }
        // Nobody watching is no fault.
        let _ = self.events.send(Event {
            kind,
            data: data.to_string().into(),
        });
    }

    /// The trace of a release; nothing where it has none.
    #[must_use]
    pub fn trace_id(&self, release: &str) -> Option<String> {
        self.releases().get(release)?.trace_id()
    }

    /// Everything that happens from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The row of the audit log that says who did what.
    #[must_use]
    pub fn audit(who: &str, what: &str, detail: String) -> Statement {
        let id = format!(
            "{:015}-{}",
            now_ms(),
            crate::secret::random_hex::<6>().unwrap_or_default()
        );
        Statement::new(
            "INSERT INTO audit (id, at, who, what, detail) VALUES ($1, $2, $3, $4, $5)",
            vec![
                id.into(),
                now().unix().into(),
                who.into(),
                what.into(),
                Value::Text(detail),
            ],
        )
    }

    /// Seconds until a device with nothing to do is to come again: more when the fleet is large.
    /// Each device draws its own part of a fifth, so that they do not come together.
    #[must_use]
    pub fn pause(&self, id: &str, now: i64) -> u32 {
        let settings = &self.settings;
        let devices = u32::try_from(self.fleet.count()).unwrap_or(u32::MAX);
        let least = settings
            .poll_seconds
            .max(devices / settings.polls_per_second.max(1));
        let seed = id.bytes().fold(now.unsigned_abs(), |seed, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let fifth = u64::from(least / 5).max(1);
        let part = u32::try_from((seed >> 20) % fifth).unwrap_or(0);
        (least - least / 10).saturating_add(part).max(1)
    }
}
