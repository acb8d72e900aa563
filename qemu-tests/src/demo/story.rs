//! The chapters.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::Images;
use super::telling::Teller;
use crate::bench::https;
use crate::board::{Board, Disk, DiskSpec};
use crate::error::{Error, Result};
use crate::factory::{DeviceSettings, Repository, provision};
use crate::https::HttpsServer;
use crate::machine::Machine;
use crate::product::Product;
use crate::report::Entry;

/// A boot under emulation, with room for a machine that does other things, too.
const BOOT: Duration = Duration::from_secs(180);
/// Downloading, writing, verifying, restarting, proving health.
const UPDATE: Duration = Duration::from_secs(300);
/// Three hangs, each as long as the watchdog, and the boots between them.
const FALLBACK: Duration = Duration::from_secs(420);
const SHELL: Duration = Duration::from_secs(60);

/// One line of the table.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    outcome: String,
    seconds: f64,
    bytes: u64,
    slot: String,
}

impl Row {
    pub(super) fn entry(&self, board: &str) -> Entry {
        let mut figures = Map::new();
        figures.insert("seconds".into(), json!(self.seconds));
        figures.insert("wire_bytes".into(), self.bytes.into());
        Entry {
            name: format!("{board}: {}", self.name),
            expected: self.outcome.clone(),
            observed: format!("{}, slot {}", self.outcome, self.slot),
            ok: true,
            figures,
        }
    }
}

/// What is left when the story is over.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) rows: Vec<Row>,
    pub(super) figures: Map<String, Value>,
    pub(super) disk: Disk,
}

impl Finished {
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "\n{:<44} {:>9} {:>12}  {:<5} {}\n",
            "step", "seconds", "wire bytes", "slot", "how it ended"
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "{:<44} {:>9.1} {:>12}  {:<5} {}",
                row.name, row.seconds, row.bytes, row.slot, row.outcome
            );
        }
        let _ = writeln!(text, "\nmeasured:");
        for (name, value) in &self.figures {
            let _ = writeln!(text, "  {name:<32} {value}");
        }
        text
    }
}

/// The device, its repository and what was told so far.
pub(super) struct Story {
    machine: Machine,
    teller: Teller,
    repository: Repository,
    server: HttpsServer,
    disk: Disk,
    rows: Vec<Row>,
    programs: Vec<(&'static str, u64)>,
}

impl Story {
    /// Makes keys, publishes version 1, serves, and switches the device on.
    pub(super) fn begin(
        board: &dyn Board,
        product: &Product,
        images: &Images,
        work: &Path,
        started: Instant,
    ) -> Result<Self> {
        let observer: PathBuf = work.join("observer.log");
        let mut teller = Teller::new(&observer, started)?;
        teller.say("making keys: root, targets, releases, channels, snapshot, timestamp");
        let repository = Repository::create(product, work)?;
        teller.say("publishing version 1 into the channel \"stable\"");
        repository.publish(images.version(1)?, "1")?;
        let server = HttpsServer::start(&repository.directory).map_err(https)?;
        teller.say(&format!(
            "serving the repository at {} with its own CA",
            server.url()
        ));
        let largest = images
            .versions
            .values()
            .map(|image| image.size)
            .max()
            .unwrap_or_default();
        let slot_size = largest.next_multiple_of(16 << 20);
        let spec = DiskSpec {
            slot_size,
            ..DiskSpec::new(images.version(1)?, work)
        };
        let disk = board.build_disk(&spec)?;
        provision(&disk, &server, &repository, &DeviceSettings::default())?;
        teller.say(&format!(
            "switching the device on: {}, version 1 in slot a",
            board.name()
        ));
        let machine = board
            .machine(&disk, "console", work)
            .args([
                "-chardev".into(),
                format!("file,id=observer,path={}", observer.display()),
            ])
            .args(["-serial", "chardev:observer"])
            .start()?;
        let programs = product.sizes()?;
        Ok(Self {
            machine,
            teller,
            repository,
            server,
            disk,
            rows: Vec::new(),
            programs,
        })
    }

    /// The chapters: all, or only those of good updates.
    pub(super) fn tell(mut self, images: &Images, short: bool) -> Result<Finished> {
        self.chapter("version 1 from the factory", "a", |story| {
            story.hear("version 1 runs already", BOOT)?;
            story.shell_ready()?;
            story.person("switchback status")?;
            story.person("systemctl show --property=StatusText --value switchbackd")?;
            story.stranger()?;
            // systemd waits for READY=1 after RELOADING=1, and fails without it.
            let answer = story.person("systemctl reload switchbackd && echo reloaded")?;
            if !answer.contains("reloaded") {
                let why = format!("systemctl reload: {answer}");
                return Err(Error::Server { why });
            }
            Ok("runs, is what the channel wants".into())
        })?;
        self.chapter("2: a good update", "b", |story| {
            story.publish(images, 2)?;
            story.hear("all five answers are yes", UPDATE)?;
            story.hear("version 2 for slot b downloading", UPDATE)?;
            let applying = Instant::now();
            story.hear("version 2 for slot b is written, synced, read back", UPDATE)?;
            let seconds = applying.elapsed().as_secs_f64();
            story
                .teller
                .figures
                .other
                .insert("apply_seconds".into(), json!(seconds.round()));
            story.hear("version 2 for slot b is on trial", UPDATE)?;
            story.hear("version 2 for slot b is healthy and committed", UPDATE)?;
            story.hear("version 2 runs already", UPDATE)?;
            Ok("committed".into())
        })?;
        self.flips()?;
        if !short {
            self.bad_versions(images)?;
        }
        self.shell_ready()?;
        self.person("switchback history")?;
        self.person("switchback explain")?;
        self.message_ids()?;
        self.measure()?;
        if !short {
            self.bundle(images)?;
        }
        self.machine.quit()?;
        Ok(Finished {
            rows: self.rows,
            figures: self.teller.figures.to_map(),
            disk: self.disk,
        })
    }

    /// Three that must not stay.
    fn bad_versions(&mut self, images: &Images) -> Result<()> {
        self.chapter("3: its application fails", "b", |story| {
            story.publish(images, 3)?;
            story.hear("lost its trial", UPDATE)?;
            story.hear("was rolled back: health checks failed", UPDATE)?;
            story.hear("version 3 failed here", UPDATE)?;
            Ok("back in version 2, 3 not tried again".into())
        })?;
        self.chapter("4: panics before our code", "b", |story| {
            story.publish(images, 4)?;
            story.hear("was rolled back: started 3 times, died", FALLBACK)?;
            story.hear("version 4 failed here", UPDATE)?;
            Ok("the boot count brought 2 back".into())
        })?;
        self.chapter("5: hangs before our code", "b", |story| {
            story.publish(images, 5)?;
            story.hear("was rolled back: started 3 times, died", FALLBACK)?;
            story.hear("version 5 failed here", UPDATE)?;
            Ok("the watchdog brought 2 back".into())
        })
    }

    /// One file instead of the repository, read as it comes.
    fn bundle(&mut self, images: &Images) -> Result<()> {
        self.chapter("6: a bundle, named by a person", "a", |story| {
            story
                .teller
                .say("publisher   | switchback-repo bundle --version 6 --from 2 …");
            let image = images.version(6)?;
            let name = story.repository.bundle(image, "6", "2")?;
            let address = format!("{}/{name}", story.server.guest_url());
            story.person(&format!("switchback install {address}"))?;
            story.hear("version 6 for slot a is on trial", UPDATE)?;
            story.hear("version 6 for slot a is healthy and committed", UPDATE)?;
            story.shell_ready()?;
            Ok("committed; what the channel names is older".into())
        })
    }

    /// The journal is asked by message id, as a monitoring system would.
    fn message_ids(&mut self) -> Result<()> {
        // "The five questions were answered" and "an image was committed", from `systemd/usr/lib/systemd/catalog`.
        // The second was offered before the restart; its trace is still known.
        for asked in [
            "journalctl -q -o cat MESSAGE_ID=6d02c9e5a7f84b1d937be4a0f81c6d3e",
            "journalctl -q -o cat --output-fields=TRACE_ID MESSAGE_ID=2c7f9e4ab8d04163b0f5e6a1973dc85e",
        ] {
            if self.person(asked)?.trim().is_empty() {
                let why = format!("the journal has nothing: {asked}");
                return Err(Error::Server { why });
            }
        }
        Ok(())
    }

    /// A person goes back and forth: by flips alone.
    fn flips(&mut self) -> Result<()> {
        self.chapter("a person: switchback rollback", "a", |story| {
            story.shell_ready()?;
            let before = story.content_bytes();
            story.person("switchback rollback --reason 'the demo'")?;
            story.hear("version 1 for slot a is on trial", UPDATE)?;
            story.hear("version 1 for slot a is healthy and committed", UPDATE)?;
            story.hear("not wanted: held since", UPDATE)?;
            story.no_content_since(before)?;
            Ok("version 1, by a flip alone; held there".into())
        })?;
        self.chapter("a person: switchback unhold", "b", |story| {
            story.shell_ready()?;
            let before = story.content_bytes();
            story.person("switchback unhold")?;
            story.hear("version 2 for slot b is on trial", UPDATE)?;
            story.hear("version 2 for slot b is healthy and committed", UPDATE)?;
            story.hear("version 2 runs already", UPDATE)?;
            story.no_content_since(before)?;
            Ok("version 2, by a flip alone".into())
        })
    }

    fn chapter(
        &mut self,
        name: &str,
        slot: &str,
        act: impl FnOnce(&mut Self) -> Result<String>,
    ) -> Result<()> {
        println!();
        self.teller.say(&format!("== {name}"));
        self.teller.forget();
        let started = Instant::now();
        let before = self.wire_bytes();
        let outcome = act(self)?;
        let found = self.booted_slot()?;
        if found != slot {
            let why = format!("{name}: slot {found} runs, expected {slot}");
            return Err(Error::Server { why });
        }
        self.rows.push(Row {
            name: name.to_owned(),
            outcome,
            seconds: started.elapsed().as_secs_f64(),
            bytes: self.wire_bytes() - before,
            slot: found,
        });
        Ok(())
    }

    fn hear(&mut self, part: &str, within: Duration) -> Result<String> {
        self.teller.until(&mut self.machine, part, within)
    }

    fn publish(&mut self, images: &Images, number: usize) -> Result<()> {
        self.teller.say(&format!(
            "publisher   | switchback-repo publish --version {number} …"
        ));
        let (image, version) = (images.version(number)?, number.to_string());
        match number {
            2 => self.repository.publish_with_delta(image, &version),
            _ => self.repository.publish_in_chunks(image, &version),
        }
    }

    /// After each boot the login shell says that it takes commands: waits for that of this boot.
    fn shell_ready(&self) -> Result<()> {
        self.since_the_start("SB: SHELL-READY").map(drop)
    }

    /// Waits for a line on the console after the bootloader's last start of a slot.
    fn since_the_start(&self, part: &str) -> Result<String> {
        let deadline = Instant::now() + BOOT;
        loop {
            let lines = self.machine.lines();
            let this_boot = lines.rsplit(|line| line.text.contains("SB: slot=")).next();
            let found = this_boot.and_then(|lines| lines.iter().find(|l| l.text.contains(part)));
            if let Some(line) = found {
                return Ok(line.text.clone());
            }
            if Instant::now() > deadline {
                let why = format!("the console did not say `{part}` in time");
                return Err(Error::Server { why });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A command typed on the device's console, and what it prints.
    fn person(&mut self, command: &str) -> Result<String> {
        self.teller.say(&format!("person      | # {command}"));
        let output = self.machine.shell(command, SHELL)?;
        for line in output.lines() {
            // What a progress bar drew over is not told again.
            let shown = line.rsplit('\r').next().unwrap_or(line);
            self.teller
                .say(&format!("            |   {}", shown.trim_end()));
        }
        Ok(output)
    }

    /// Somebody without rights may look and may not act.
    fn stranger(&mut self) -> Result<()> {
        let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups switchback";
        self.machine
            .shell(&format!("{nobody} status >/dev/null"), SHELL)?;
        let answer = self.person(&format!("{nobody} rollback 2>&1; echo exit code $?"))?;
        if answer.contains("not permitted") && answer.contains("exit code 4") {
            return Ok(());
        }
        Err(Error::Server {
            why: format!("nobody may roll back: {answer}"),
        })
    }

    /// The slot that runs, as the system itself says. The line of its start may be lost when the login
    /// takes the console over: it is asked.
    fn booted_slot(&mut self) -> Result<String> {
        self.shell_ready()?;
        let ask = "tr ' ' '\\n' </proc/cmdline | sed -n 's/^[a-z]*\\.slot=//p'";
        let slot = self.machine.shell(ask, SHELL)?;
        Ok(slot.trim().to_ascii_lowercase())
    }

    fn wire_bytes(&self) -> u64 {
        self.server.stats().values().map(|class| class.bytes).sum()
    }

    fn content_bytes(&self) -> u64 {
        self.server
            .stats()
            .get("content")
            .map_or(0, |class| class.bytes)
    }

    fn no_content_since(&self, before: u64) -> Result<()> {
        match self.content_bytes() - before {
            0 => Ok(()),
            bytes => Err(Error::Server {
                why: format!("{bytes} bytes of content were fetched"),
            }),
        }
    }

    /// What a plain copy of the running slot costs in the same guest, beside the daemon's own time.
    fn measure(&mut self) -> Result<()> {
        let copy = "cd /dev/disk/by-partlabel; s=$(cut -d. -f1 /proc/uptime); \
                    dd if=slot-b of=slot-a bs=1M iflag=direct oflag=direct conv=fsync 2>/dev/null; \
                    sha256sum slot-a >/dev/null; e=$(cut -d. -f1 /proc/uptime); echo $((e-s))";
        let seconds = self.machine.shell(copy, UPDATE)?;
        let figures = &mut self.teller.figures.other;
        figures.insert(
            "dd_and_sha256sum_seconds".into(),
            json!(seconds.trim().parse::<u64>().ok()),
        );
        for (name, size) in &self.programs {
            figures.insert(format!("{name}_bytes"), (*size).into());
        }
        Ok(())
    }
}
