//! A fleet of real guests and the fleet server's own program: a good release, then a bad one.

mod server;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::board::{Board, Disk, DiskSpec};
use crate::cache::Cache;
use crate::demo::BoardKind;
use crate::error::{Error, IoContext as _, Result};
use crate::factory::{DeviceSettings, Repository, provision, put_on_data};
use crate::https::HttpsServer;
use crate::image::Image;
use crate::machine::Machine;
use crate::product::{DATA, Guest, PRODUCT, Product, workspace};
use crate::report::{Entry, Report};
use crate::rootfs::{Ingredients, RootfsSpec, TinyRootfs, Variant};

use self::server::FleetServer;

/// Room for the larger of two images.
const SLOT: u64 = 64 << 20;
/// Longest step of one device; machines share the processors.
const STEP: Duration = Duration::from_secs(240);

/// What all of it is about.
struct Fleet {
    repository: Repository,
    content: HttpsServer,
    server: FleetServer,
    machines: Vec<Machine>,
}

/// Boots `count` guests against the server, and rolls out a good release and a bad one.
///
/// # Errors
/// The rig cannot be set up, or what must be is not.
pub fn run(count: usize, report: &mut Report, tell: &mut dyn FnMut(&str)) -> Result<()> {
    tell("building the product, the server and the guests");
    let cache = Cache::open()?;
    let product = Product::build()?;
    let ingredients = Ingredients::prepare(&cache)?;
    let guest = TinyRootfs::new(&ingredients)?;
    let work = workspace().join("target/qemu/fleet");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).io("make", &work)?;
    let kind = BoardKind::Grub;
    let overlay = product.stage(Guest::Tiny, kind.contract(), &work)?;
    let image = |version: &str, variant| {
        let spec = RootfsSpec::new(version).variant(variant);
        guest.image(&spec.overlay(&overlay))
    };
    let one = image("1", Variant::Good)?;
    let board = kind.quick(&cache)?;

    let repository = Repository::create(&product, &work)?;
    repository.publish(&one, "1")?;
    let content = HttpsServer::start(&repository.directory).map_err(crate::bench::https)?;
    let server = FleetServer::start(&repository, &content.guest_url(), &work)?;
    let mut fleet = Fleet {
        repository,
        content,
        server,
        machines: Vec::new(),
    };
    tell(&format!("switching on {count} devices"));
    fleet.switch_on(&*board, &one, count, &work)?;

    let seconds = Instant::now();
    let good = image("2", Variant::Good)?;
    let line = fleet.roll_out(&good, "2", tell)?;
    let all = fleet.running("2")?;
    entry(
        report,
        "a good release",
        &format!("{count} of {count} devices run it"),
        (
            format!("{all} of {count} devices run it: {line}"),
            all == count,
        ),
        seconds,
    )?;

    let seconds = Instant::now();
    let bad = image("3", Variant::UnhealthyApp)?;
    let line = fleet.roll_out(&bad, "3", tell)?;
    let touched = fleet.tried("3");
    let back = fleet.running("2")?;
    entry(
        report,
        "a release that is not healthy",
        &format!("paused; 1 of {count} devices tried it, and all run the one before"),
        (
            format!("{line}; {touched} of {count} devices tried it, {back} run the one before"),
            line.starts_with("paused") && touched == 1 && back == count,
        ),
        seconds,
    )
}

fn entry(
    report: &mut Report,
    name: &str,
    expected: &str,
    (observed, ok): (String, bool),
    since: Instant,
) -> Result<()> {
    let mut figures = Map::new();
    figures.insert("seconds".into(), since.elapsed().as_secs().into());
    report.add(Entry {
        name: format!("fleet of guests: {name}"),
        expected: expected.into(),
        observed,
        ok,
        figures,
    })
}

impl Fleet {
    fn switch_on(
        &mut self,
        board: &dyn Board,
        image: &Image,
        count: usize,
        work: &Path,
    ) -> Result<()> {
        let fleet = json!({"name": "factory", "role": "enroll"});
        let given = self.server.api("POST", "/api/v1/people", Some(&fleet))?;
        let token = text(&given, "token").to_owned();
        for number in 1..=count {
            let name = format!("device-{number}");
            let place = work.join(&name);
            std::fs::create_dir_all(&place).io("make", &place)?;
            let spec = DiskSpec {
                slot_size: SLOT,
                ..DiskSpec::new(image, &place)
            };
            let disk = board.build_disk(&spec)?;
            self.provision(&disk, &name, &token)?;
            let machine = board.machine(&disk, &name, &place).start()?;
            self.machines.push(machine);
        }
        let release = self.register("1")?;
        let known = |answer: &Value| {
            let devices = answer.get("devices")?.as_array()?;
            let run = |device: &&Value| text(device, "release") == release;
            (devices.iter().filter(run).count() == count).then_some(())
        };
        self.server
            .until("all devices there", "/api/v1/devices", STEP, known)
    }

    fn provision(&self, disk: &Disk, name: &str, token: &str) -> Result<()> {
        provision(
            disk,
            &self.content,
            &self.repository,
            &DeviceSettings::default(),
        )?;
        let text = format!(
            "[repository]\nca-file = \"{DATA}/both.pem\"\n[fleet]\nurl = \"{}\"\nid = \"{name}\"\n\
             enroll-token-file = \"{DATA}/enroll-token\"\n[fleet.attributes]\nsite = \"lab\"\n",
            self.server.guest_url()
        );
        let both = format!("{}{}", self.content.ca_pem(), self.server.ca_pem);
        put_on_data(
            disk,
            &[],
            &[
                ("config.d/60-fleet.toml", text.as_bytes()),
                ("both.pem", both.as_bytes()),
                ("enroll-token", token.as_bytes()),
            ],
        )
    }

    /// Names a signed release to the server; gives its name there.
    fn register(&self, version: &str) -> Result<String> {
        let named = json!({"product": PRODUCT, "version": version});
        self.server
            .api("POST", "/api/v1/releases/signed", Some(&named))?;
        Ok(format!("{PRODUCT}/{version}"))
    }

    /// Publishes a version and rolls it out to one device, then to all; says how that ended.
    fn roll_out(
        &mut self,
        image: &Image,
        version: &str,
        tell: &mut dyn FnMut(&str),
    ) -> Result<String> {
        tell(&format!("rolling out version {version}"));
        self.repository.publish_with_delta(image, version)?;
        let release = self.register(version)?;
        let wanted = json!({
            "name": format!("version {version}"),
            "release": release,
            "plan": {"waves": [{"reach": 1, "soak": 5}, {"reach": "100%", "soak": 1}]},
        });
        let begun = self.server.api("POST", "/api/v1/rollouts", Some(&wanted))?;
        let path = format!("/api/v1/rollouts/{}", text(&begun, "id"));
        let ended = |answer: &Value| {
            let rollout = answer.get("rollout")?;
            let (phase, why) = (text(rollout, "phase"), text(rollout, "why"));
            let over = ["paused", "finished", "stopped", "reverted"].contains(&phase);
            over.then(|| format!("{phase} {why}").trim_end().to_owned())
        };
        self.server.until("an end", &path, STEP * 3, ended)
    }

    /// How many devices say that they run a version, after a while in which none may change.
    fn running(&self, version: &str) -> Result<usize> {
        std::thread::sleep(Duration::from_secs(8));
        let answer = self.server.api("GET", "/api/v1/devices", None)?;
        let devices = answer.get("devices").and_then(Value::as_array).cloned();
        let devices = devices.unwrap_or_default();
        let release = format!("{PRODUCT}/{version}");
        let run = |device: &&Value| text(device, "release") == release;
        Ok(devices.iter().filter(run).count())
    }

    /// How many devices ever started a version, by what their consoles say.
    fn tried(&self, version: &str) -> usize {
        let says = format!("version {version} for slot");
        let tried = |machine: &&Machine| {
            machine
                .lines()
                .iter()
                .any(|line| line.text.contains(&says) && line.text.contains("downloading"))
        };
        self.machines.iter().filter(tried).count()
    }
}

/// A text in an answer; empty where there is none.
fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// As [`run`], with each end told and an error if one is not as it must be.
///
/// # Errors
/// As those of [`run`]; or an end is another one.
pub fn run_and_judge(count: usize, report: &mut Report, tell: &mut dyn FnMut(&str)) -> Result<()> {
    let before = report.entries().len();
    run(count, report, tell)?;
    let lines = report.entries().get(before..).unwrap_or_default();
    for line in lines {
        let word = if line.ok { "ok  " } else { "FAIL" };
        tell(&format!("{word} {}: {}", line.name, line.observed));
    }
    match lines.iter().find(|line| !line.ok) {
        None => Ok(()),
        Some(line) => Err(Error::Server {
            why: format!("{}: expected: {}", line.name, line.expected),
        }),
    }
}
