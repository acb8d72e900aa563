//! One story, from the begin of a rollout to its end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use switchback_testkit::fleet::{Crowd, Fate, Figures, Network, Options, Person, Seen, Whom, text};
use switchback_testkit::postgres::Postgres;

use super::Setting;
use super::server::Server;
use super::story::{Befalls, Story, Waves, plan};
use crate::fleet::by_time;

/// Looks at the rollout.
const LOOK: Duration = Duration::from_millis(400);
/// Monitoring outside of the rollout tells somebody when so many processors are busy for so many of the
/// device's seconds.
const BUSY_DEVICES: u32 = 20;
const BUSY_SECONDS: u32 = 600;
/// Devices reached, in hundredths of all, when the server is killed.
const KILLS: [u32; 3] = [5, 30, 60];
const POSTGRES_KILLED_AT: u32 = 30;
const REPLICA_KILLED_AT: u32 = 60;
/// Seconds that a server without its database wants to be left alone.
const RETRY_AFTER: u32 = 30;

/// How it went.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) exposed: u32,
    pub(super) by_time: usize,
    pub(super) at_once: u32,
    /// From the rollout's begin until it was paused, or until the last device marked the release good.
    pub(super) seconds: f64,
    pub(super) ended: String,
    pub(super) figures: Figures,
    pub(super) server_rss: u64,
    /// What is wrong, in words.
    pub(super) wrong: Vec<String>,
    /// What else is worth saying.
    pub(super) notes: Vec<String>,
    pub(super) counts: serde_json::Map<String, Value>,
}

/// What a story plays on.
pub(super) struct Stage {
    pub(super) servers: Vec<Server>,
    pub(super) postgres: Option<Postgres>,
    pub(super) person: Person,
    pub(super) crowd: Crowd,
}

pub(super) fn options(setting: &Setting, story: &Story, bases: Vec<String>) -> Options {
    Options {
        bases,
        enroll: setting.enroll.clone(),
        devices: setting.devices,
        threads: setting.threads,
        hour: Duration::from_secs(setting.hour.into()),
        first_polls: Duration::from_secs(setting.poll_seconds().into()),
        fate: story.fate,
        network: story.network,
        clocks: story.clocks,
    }
}

impl Stage {
    /// Waits until every device was there once.
    pub(super) fn gather(&self, devices: u32, within: Duration) -> anyhow::Result<f64> {
        let began = Instant::now();
        while self.crowd.seen().described.get() < devices {
            let there = self.crowd.seen().described.get();
            ensure!(
                began.elapsed() < within,
                "only {there} of {devices} devices came"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(began.elapsed().as_secs_f64())
    }

    fn shown(&self, rollout: &str) -> anyhow::Result<Value> {
        let path = format!("/api/v1/rollouts/{rollout}");
        let mut last = None;
        // The server may be away for a while.
        for _ in 0..100 {
            match self.person.get(&path) {
                Ok(shown) => return Ok(shown),
                Err(why) => last = Some(why),
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        Err(last.context("it was asked")?.into())
    }

    fn command(&self, rollout: &str, word: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/rollouts/{rollout}/command");
        Ok(self
            .person
            .post(&path, &json!({"command": word}))
            .map(drop)?)
    }
}

/// Two hours; longer where something takes its time however short an hour is: the server's own word to come
/// again, and lost questions, of which a device has 24 polls to get through in truth.
fn deadline(setting: &Setting, story: &Story) -> u32 {
    let mut least = 2 * setting.hour;
    if story.befalls == Befalls::Failover {
        least = least.max(RETRY_AFTER * 2);
    }
    if story.network == Network::Flaky {
        least = least.max(24 * setting.poll_seconds());
    }
    least
}

fn number(value: &Value, place: &str) -> u32 {
    let found = value.pointer(place).and_then(Value::as_u64);
    found
        .and_then(|found| u32::try_from(found).ok())
        .unwrap_or(0)
}

/// Plays a story whose devices are all there.
pub(super) fn play(setting: &Setting, story: &Story, mut stage: Stage) -> anyhow::Result<Run> {
    let devices = setting.devices;
    let hour = setting.hour;
    let plan = plan(story.waves, hour);
    let rollout = stage.person.roll_out(&json!({
        "plan": plan,
        "deadline": deadline(setting, story),
        "seen_within": (24 * hour).max(120),
    }))?;
    let began = Instant::now();
    let began_of_crowd = stage.crowd.passed();
    let longest =
        Duration::from_secs(u64::from(hour) * 20 + u64::from(setting.poll_seconds()) * 20 + 180);
    let mut befalls = Befalling::default();
    let mut busy_since = None;
    let mut notes = Vec::new();
    let (phase, why, seconds) = loop {
        std::thread::sleep(LOOK);
        let seen = stage.crowd.seen();
        let all_there = story.waves == Waves::One && seen.committed.get() >= devices;
        befalls.look(story, &mut stage, devices, &mut notes)?;
        let seen = stage.crowd.seen();
        if seen.busy.get() >= BUSY_DEVICES && busy_since.is_none() {
            busy_since = Some(Instant::now());
        }
        let patience = Duration::from_secs(hour.into()) * BUSY_SECONDS / 3600;
        if busy_since.is_some_and(|since| since.elapsed() >= patience) {
            let shown = stage.shown(&rollout)?;
            notes.push(format!(
                "no gate saw it: {} of {} reached had succeeded when monitoring's pause came",
                number(&shown, "/tally/succeeded"),
                number(&shown, "/tally/reached"),
            ));
            stage.command(&rollout, "pause")?;
            busy_since = None;
        }
        let shown = stage.shown(&rollout)?;
        let said = |place: &str| text(&shown, place).to_owned();
        let (phase, why) = (said("/rollout/phase"), said("/rollout/why"));
        let seconds = began.elapsed().as_secs_f64();
        if ["paused", "finished", "stopped", "reverted"].contains(&phase.as_str()) || all_there {
            break (phase, why, seconds);
        }
        if began.elapsed() > longest {
            let text = shown.pointer("/waiting").cloned().unwrap_or_default();
            bail!(
                "{}: no end after {seconds:.0} s: {} waits for {text}, {}",
                story.name,
                phase,
                shown.pointer("/tally").cloned().unwrap_or_default()
            );
        }
    };
    let mut wrong = Vec::new();
    let counts = settle(setting, story, &stage, &rollout, &mut wrong)?;
    let exposed = stage.crowd.seen().took.get();
    let seconds = if phase == "paused" {
        seconds
    } else {
        let last = &stage.crowd.seen().committed_last;
        let last = last.load(std::sync::atomic::Ordering::Relaxed);
        let began = u64::try_from(began_of_crowd.as_millis())?;
        Duration::from_millis(last.saturating_sub(began)).as_secs_f64()
    };
    let good_end = match (story.finishes, story.waves) {
        (true, Waves::One) => true,
        (true, Waves::Default) => phase == "finished",
        (false, _) => phase == "paused",
    };
    if !good_end {
        wrong.push(format!("it is {phase}"));
    }
    if story.fate.0 == Fate::BusyProcessor {
        go_back(&stage, &rollout, setting, &mut notes, &mut wrong)?;
    }
    let share = (seconds / f64::from(setting.poll_seconds())).min(1.0);
    let (figures, _) = stage.crowd.end();
    Ok(Run {
        exposed,
        by_time: by_time(&plan, seconds, devices as usize),
        at_once: share_of(share, devices),
        seconds,
        ended: format!("{phase} {why}").trim_end().to_owned(),
        figures,
        server_rss: stage.servers.iter().map(Server::peak).max().unwrap_or(0),
        wrong,
        notes,
        counts,
    })
}

fn share_of(share: f64, devices: u32) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of 0 to 1 of a u32"
    )]
    let part = (f64::from(devices) * share).round() as u32;
    part
}

/// Lets the last word of everybody arrive, then holds the devices' own count against the server's; gives all counts.
fn settle(
    setting: &Setting,
    story: &Story,
    stage: &Stage,
    rollout: &str,
    wrong: &mut Vec<String>,
) -> anyhow::Result<serde_json::Map<String, Value>> {
    let mut quiet = u64::from(setting.poll_seconds()) * 3 / 2 + u64::from(setting.hour) / 4 + 2;
    if story.befalls == Befalls::Failover {
        quiet = quiet.max(RETRY_AFTER.into());
    }
    let quiet = Duration::from_secs(quiet);
    let seen = stage.crowd.seen();
    let mut shown = stage.shown(rollout)?;
    let ends = Instant::now() + quiet * 4;
    let still = Instant::now() + quiet;
    // Nobody may begin any more after an end: so it is looked at for a while, whatever is reached at once.
    while Instant::now() < ends && (Instant::now() < still || number(&shown, "/tally/pending") > 0)
    {
        std::thread::sleep(LOOK);
        shown = stage.shown(rollout)?;
    }
    let tally = |name: &str| number(&shown, &format!("/tally/{name}"));
    let mut same = |what: &str, ours: u32, theirs: u32| {
        if ours != theirs {
            wrong.push(format!(
                "{what}: {ours} by the devices, {theirs} by the server"
            ));
        }
    };
    same("began it", seen.took.get(), tally("reached"));
    same("began it twice", seen.twice.get(), 0);
    same("without a slot to start", seen.stuck.get(), 0);
    if story.finishes {
        same("run it", seen.committed.get(), tally("succeeded"));
        same("are there", setting.devices, tally("succeeded"));
    }
    if story.network == Network::Good {
        same("refused turns", seen.refused.get(), 0);
    }
    if story.fate == (Fate::DiesAtBoot, Whom::All) {
        same(
            "starts of the bad release",
            seen.starts.get(),
            3 * tally("reached"),
        );
        same("went back", seen.went_back.get(), tally("rolled_back"));
    }
    let most = story
        .most
        .of(&plan(story.waves, setting.hour), setting.devices);
    if seen.took.get() > most {
        wrong.push(format!(
            "{} exposed, at most {most} may be",
            seen.took.get()
        ));
    }
    Ok(counts(seen, &shown))
}

fn counts(seen: &Seen, shown: &Value) -> serde_json::Map<String, Value> {
    let mut counts = serde_json::Map::new();
    for (name, count) in [
        ("starts_of_it", &seen.starts),
        ("committed", &seen.committed),
        ("went_back", &seen.went_back),
        ("began_twice", &seen.twice),
        ("never_heard_of_again", &seen.bricked),
        ("reports_told", &seen.told),
        ("turns_with_a_lost_answer", &seen.told_again),
        ("turns_broken", &seen.broken),
        ("turns_put_off", &seen.put_off),
        ("turns_refused", &seen.refused),
    ] {
        counts.insert(name.into(), count.get().into());
    }
    counts.insert(
        "tally".into(),
        shown.pointer("/tally").cloned().unwrap_or_default(),
    );
    counts
}

/// A person sends back who has it.
fn go_back(
    stage: &Stage,
    rollout: &str,
    setting: &Setting,
    notes: &mut Vec<String>,
    wrong: &mut Vec<String>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    stage.command(rollout, "revert")?;
    let seen = stage.crowd.seen();
    let within =
        Duration::from_secs(u64::from(setting.poll_seconds()) * 6 + u64::from(setting.hour));
    while seen.reverted.get() < seen.took.get() && began.elapsed() < within {
        std::thread::sleep(LOOK);
    }
    let (back, took) = (seen.reverted.get(), seen.took.get());
    notes.push(format!(
        "a revert brought {back} of {took} back in {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    if back != took {
        wrong.push(format!("{back} of {took} came back"));
    }
    Ok(())
}

/// What befell the server already.
#[derive(Debug, Default)]
struct Befalling {
    kills: usize,
    postgres: bool,
    replica: bool,
}

impl Befalling {
    fn look(
        &mut self,
        story: &Story,
        stage: &mut Stage,
        devices: u32,
        notes: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let reached = stage.crowd.seen().took.get();
        let at = |hundredths: u32| {
            u64::from(reached) * 100 >= u64::from(devices) * u64::from(hundredths)
        };
        match story.befalls {
            Befalls::Nothing => {}
            Befalls::Kills => {
                if KILLS
                    .get(self.kills)
                    .is_some_and(|hundredths| at(*hundredths))
                {
                    self.kills += 1;
                    let server = stage.servers.first_mut().context("a server")?;
                    let began = Instant::now();
                    server.kill()?;
                    server.again()?;
                    notes.push(format!(
                        "killed at {reached}, back after {:.1} s",
                        began.elapsed().as_secs_f64()
                    ));
                }
            }
            Befalls::Failover => {
                if !self.postgres && at(POSTGRES_KILLED_AT) {
                    self.postgres = true;
                    let postgres = stage.postgres.as_ref().context("PostgreSQL")?;
                    let began = Instant::now();
                    postgres.kill();
                    std::thread::sleep(Duration::from_secs(3));
                    postgres.up();
                    notes.push(format!(
                        "PostgreSQL killed at {reached}, back after {:.1} s",
                        began.elapsed().as_secs_f64()
                    ));
                }
                if !self.replica && at(REPLICA_KILLED_AT) {
                    self.replica = true;
                    // The one that began to plan.
                    stage.servers.first_mut().context("a server")?.kill()?;
                    let left = stage.servers.last().context("a server")?;
                    stage.person = Person::new(&left.base(), &stage.person.token)?;
                    notes.push(format!("the first replica killed for good at {reached}"));
                }
            }
        }
        Ok(())
    }
}
