//! `fleet --devices`: model devices (the real update-core, the daemon's own DDI client) and the real
//! server, over loopback, with failures.

mod play;
mod server;
mod story;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use qemu_tests::report::{Entry, Report};
use serde_json::json;
use switchback_testkit::fleet::{Crowd, FIRST, NEXT, Person, Secret};
use switchback_testkit::postgres::Postgres;

use self::play::{Run, Stage, options, play};
use self::server::{Manner, Server, begin_log, peak_of};
use self::story::{Befalls, GOOD, STORIES, Story};
use crate::fleet_server;

/// Devices, unless told.
const DEVICES: u32 = 10_000;
/// Polls in one second that the fleet is paced for: what two cores carry on both sides and more.
const RATE: u32 = 2_500;
/// Seconds of an hour, at least; longer where a poll takes longer.
const HOUR: u32 = 10;
/// Threads that ask.
const THREADS: u32 = 64;
/// Devices may take so long to come for the first time.
const GATHERING: Duration = Duration::from_secs(900);

/// How all stories are played.
struct Setting {
    devices: u32,
    hour: u32,
    threads: u32,
    enroll: String,
}

impl Setting {
    /// Seconds between polls, as the server paces them.
    fn poll_seconds(&self) -> u32 {
        (self.devices / RATE).max(1)
    }

    fn manner(&self, database: Option<String>) -> Manner {
        Manner {
            poll: self.poll_seconds(),
            rate: RATE,
            database,
        }
    }
}

/// A fleet that is known to a server which does not run: each story begins with a copy.
struct Template {
    data: tempfile::TempDir,
    admin: String,
    tokens: Vec<Option<Secret>>,
}

/// Reads the words and plays.
pub(super) fn run_from(words: &[&str]) -> anyhow::Result<()> {
    let (mut devices, mut part, mut hour) = (DEVICES, "", None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .copied()
                .with_context(|| format!("{word} takes a value"))
        };
        match *word {
            "--devices" => devices = value()?.parse().context("--devices takes a number")?,
            "--story" => part = value()?,
            "--hour" => hour = Some(value()?.parse().context("--hour takes seconds")?),
            other => anyhow::bail!("fleet: unknown argument {other}"),
        }
    }
    let stories: Vec<&Story> = STORIES
        .iter()
        .filter(|story| story.name.contains(part))
        .collect();
    anyhow::ensure!(!stories.is_empty(), "no story's name contains {part:?}");
    fleet_server::build()?;
    let mut setting = Setting {
        devices,
        hour: 0,
        threads: THREADS,
        enroll: String::new(),
    };
    // The server takes no deadline (two hours) below three polls.
    let least = setting.poll_seconds() * 3 / 2 + 1;
    setting.hour = hour.unwrap_or(HOUR).max(least);
    tell_all(&setting, &stories)
}

fn tell_all(setting: &Setting, stories: &[&Story]) -> anyhow::Result<()> {
    println!(
        "{} model devices that poll every {} s; an hour is {} s; {} threads",
        setting.devices,
        setting.poll_seconds(),
        setting.hour,
        setting.threads
    );
    println!("the servers' log: {}", begin_log()?.display());
    let template = enrolled(setting)?;
    let mut report = Report::new("fleet-devices");
    println!(
        "\n{:<40} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7} {:>7} {:>7}  ended",
        "story",
        "exposed",
        "by time",
        "at once",
        "seconds",
        "polls/s",
        "p99 ms",
        "errors",
        "RSS MiB"
    );
    for story in stories {
        let began = Instant::now();
        let run = on_stage(setting, &template, story);
        let run = run.with_context(|| format!("the story {:?}", story.name))?;
        let errors = ["turns_broken", "turns_put_off", "turns_refused"]
            .iter()
            .filter_map(|name| run.counts.get(*name)?.as_u64())
            .sum::<u64>();
        let polls = f64::from(run.figures.polls) / run.figures.seconds;
        println!(
            "{:<40} {:>8} {:>8} {:>8} {:>8.1} {:>8.0} {:>7.1} {:>7} {:>7}  {}",
            story.name,
            run.exposed,
            run.by_time,
            run.at_once,
            run.seconds,
            polls,
            milliseconds(run.figures.p99_us),
            errors,
            run.server_rss,
            run.ended
        );
        for note in run.notes.iter().chain(&run.wrong) {
            println!("{:<40} {note}", "");
        }
        report.add(entry(setting, story, &run, polls, began.elapsed()))?;
    }
    println!(
        "\nexposed: began to install it. Beside it, by the same time: the same waves opened by soak time alone, and an\n\
         offer to everybody (as they poll). seconds: until the pause, or until the last device marked it good.\n\
         Devices and threads here took at most {} MiB. {}",
        peak_of("self"),
        report.path().display()
    );
    anyhow::ensure!(report.is_ok(), "not as it must be: see above");
    Ok(())
}

fn milliseconds(us: u64) -> f64 {
    u32::try_from(us).map_or(f64::INFINITY, |us| f64::from(us) / 1000.0)
}

fn entry(setting: &Setting, story: &Story, run: &Run, polls: f64, took: Duration) -> Entry {
    let mut figures = run.counts.clone();
    for (name, value) in [
        ("devices", json!(setting.devices)),
        ("hour_seconds", json!(setting.hour)),
        ("poll_seconds", json!(setting.poll_seconds())),
        ("exposed", json!(run.exposed)),
        ("exposed_by_time_alone", json!(run.by_time)),
        ("exposed_all_at_once", json!(run.at_once)),
        ("seconds", json!(run.seconds)),
        ("polls_per_second", json!(polls)),
        ("poll_p50_us", json!(run.figures.p50_us)),
        ("poll_p99_us", json!(run.figures.p99_us)),
        ("late_p99_ms", json!(run.figures.late_p99_ms)),
        ("server_peak_rss_mib", json!(run.server_rss)),
        ("seconds_of_the_story", json!(took.as_secs_f64())),
        ("notes", json!(run.notes)),
    ] {
        figures.insert(name.into(), value);
    }
    let most = story
        .most
        .of(&story::plan(story.waves, setting.hour), setting.devices);
    let end = if story.finishes {
        "all run it"
    } else {
        "paused"
    };
    Entry {
        name: story.name.into(),
        expected: format!(
            "at most {most} exposed, {end}; both sides count the same, nobody begins twice"
        ),
        observed: format!(
            "{} exposed, {} {}",
            run.exposed,
            run.ended,
            run.wrong.join("; ")
        )
        .trim_end()
        .to_owned(),
        ok: run.wrong.is_empty(),
        figures,
    }
}

/// Lets all devices in, each by itself with the fleet's token.
fn enrolled(setting: &Setting) -> anyhow::Result<Template> {
    let data = tempfile::tempdir()?;
    let server = Server::start(data.path(), &setting.manner(None), true)?;
    let admin = server
        .token
        .clone()
        .context("a first start prints a token")?;
    let began = Instant::now();
    let stage = stage(setting, vec![server], None, &admin, &GOOD, None)?;
    stage.gather(setting.devices, GATHERING)?;
    println!(
        "{} devices let in, described and answered in {:.1} s",
        setting.devices,
        began.elapsed().as_secs_f64()
    );
    let Stage { crowd, .. } = stage;
    let (_, tokens) = crowd.end();
    Ok(Template {
        data,
        admin,
        tokens,
    })
}

/// Devices, and a person who has named the releases. Without `tokens` nobody knows the servers yet.
fn stage(
    setting: &Setting,
    servers: Vec<Server>,
    postgres: Option<Postgres>,
    admin: &str,
    story: &Story,
    tokens: Option<Vec<Option<Secret>>>,
) -> anyhow::Result<Stage> {
    let base = servers.first().context("a server")?.base();
    let person = Person::new(&base, admin)?;
    let mut setting = Setting {
        enroll: setting.enroll.clone(),
        ..*setting
    };
    if tokens.is_none() {
        person.register(FIRST)?;
        person.register(NEXT)?;
        let factory = json!({"name": "factory", "role": "enroll"});
        let given = person.post("/api/v1/people", &factory)?;
        let token = given.get("token").and_then(|token| token.as_str());
        setting.enroll = token.context("a token to let devices in")?.to_owned();
    }
    let bases = servers.iter().map(Server::base).collect();
    let crowd = Crowd::start(options(&setting, story, bases), tokens.unwrap_or_default())?;
    Ok(Stage {
        servers,
        postgres,
        person,
        crowd,
    })
}

fn on_stage(setting: &Setting, template: &Template, story: &Story) -> anyhow::Result<Run> {
    let place = tempfile::tempdir()?;
    let stage = match story.befalls {
        Befalls::Failover => {
            let postgres =
                Postgres::start().context("PostgreSQL is not installed (cargo xtask tools)")?;
            let manner = setting.manner(Some(postgres.url()));
            let first = Server::start(&place.path().join("first"), &manner, true)?;
            let admin = first
                .token
                .clone()
                .context("a first start prints a token")?;
            let second = Server::start(&place.path().join("second"), &manner, false)?;
            stage(
                setting,
                vec![first, second],
                Some(postgres),
                &admin,
                story,
                None,
            )?
        }
        Befalls::Nothing | Befalls::Kills => {
            copy(template.data.path(), place.path())?;
            let server = Server::start(place.path(), &setting.manner(None), false)?;
            let tokens = template.tokens.clone();
            stage(
                setting,
                vec![server],
                None,
                &template.admin,
                story,
                Some(tokens),
            )?
        }
    };
    stage.gather(setting.devices, GATHERING)?;
    play(setting, story, stage)
}

/// The files of a data directory that nobody serves.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name() != "lock" {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
