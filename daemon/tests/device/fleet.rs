//! A fleet server says when an update is this device's turn.

use std::time::Duration;

use serde_json::Value;
use switchback_types::Digest;
use switchback_update_core::{InstallFailure, Outcome, PhaseKind, SlotContent};
use switchbackd::driver::Command;
use switchbackd::fleet::{About, Report, Stop, Trouble, Turn, Wanted, Word};

use crate::repository::{noise, publish};
use crate::rig::Device;

const FLEET: &str = "[fleet]\nurl = \"https://fleet.example\"\npoll-interval = \"1h\"\n\
    [fleet.attributes]\nsite = \"lab\"\n";
const MINUTE: Duration = Duration::from_secs(60);

fn wanted(version: &str) -> Word {
    Word {
        wanted: Some(Wanted {
            action: "17".into(),
            release: Ok(("kiosk".parse().unwrap(), version.parse().unwrap())),
            confirm: false,
            later: None,
        }),
        ..Word::default()
    }
}

/// Lets the device hear what the server says, and answer.
fn hear(device: &mut Device, word: Word) -> Vec<Report> {
    let turns = turns(device, word).into_iter();
    turns.flat_map(|turn| turn.reports).collect()
}

fn turns(device: &mut Device, word: Word) -> Vec<Turn> {
    device.fleet.heard.clear();
    device.fleet.word = Ok(word);
    device.pass(Duration::from_secs(3 * 3600));
    std::mem::take(&mut device.fleet.heard)
}

fn said(report: &Report) -> (String, String) {
    let body: Value = serde_json::from_str(&report.body).unwrap();
    let status = &body["status"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let words = format!(
        "{} {}",
        text(&status["execution"]),
        text(&status["result"]["finished"])
    );
    (words, status["details"].to_string())
}

#[test]
fn follows_the_server_and_not_its_channel() {
    let mut device = Device::with(FLEET);
    publish(device.directory.path(), "3", &noise(3), &["--deltas", "0"]);
    device.pass(Duration::from_secs(6 * 3600));
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::Idle);
    let turns = &device.fleet.heard;
    let first = turns[0].attributes.clone().unwrap();
    assert!(turns[0].attributes_new);
    assert_eq!(first["site"], "lab");
    assert_eq!(first["switchback.version"], "2");
    assert_eq!(first["switchback.image_sha256"].len(), 64);
    assert!(
        turns[1..].iter().all(|turn| !turn.attributes_new),
        "what was said once is not said again"
    );

    let reports = hear(&mut device, wanted("3"));
    assert!(reports.is_empty(), "{reports:?}");
    let phase = &device.driver.state().phase;
    assert_eq!(phase.kind(), PhaseKind::OnTrial);
    let attempt = phase.attempt().unwrap();
    assert_eq!(attempt.action.as_str(), "fleet-17");
    assert!(attempt.trace.is_some(), "the release's name in all logs");
    let restarts = device
        .host
        .restarts
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(restarts, 1);
}

/// As it is known of an image from the factory: what it calls itself, and its bytes.
fn from_factory(version: &'static str) -> Device {
    Device::starting(FLEET, |state| {
        if let SlotContent::Holds { image } = &mut state.a.content {
            image.version = version.parse().unwrap();
            image.sequence = 0;
            image.sha256 = Digest::from_bytes([7; 32]);
        }
    })
}

#[test]
fn an_image_from_the_factory_is_found_among_the_releases() {
    let running = |device: &Device| {
        let last = device.fleet.heard.last().unwrap().attributes.clone();
        last.unwrap()["switchback.image_sha256"].clone()
    };
    let mut known = Device::with(FLEET);
    known.pass(Duration::from_secs(3 * 3600));
    let mut device = from_factory("2");
    device.pass(Duration::from_secs(3 * 3600));
    assert_eq!(running(&device), running(&known));
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::Idle);

    // One that only calls itself so is left alone.
    let mut other = from_factory("1");
    other.pass(Duration::from_secs(3 * 3600));
    assert_ne!(running(&other), running(&known));
    assert_eq!(other.driver.state().phase.kind(), PhaseKind::Idle);
    assert!(other.driver.state().history.is_empty());
}

#[test]
fn sleeps_as_long_as_the_server_says_and_longer_when_it_is_gone() {
    let mut device = Device::with(FLEET);
    device.fleet.word = Ok(Word {
        sleep: Some(600),
        ..Word::default()
    });
    device.pass(Duration::from_secs(3600));
    device.fleet.heard.clear();
    device.pass_in_steps(Duration::from_secs(6000), MINUTE);
    let turns = device.fleet.heard.len();
    assert!((9..=11).contains(&turns), "{turns}");
    device.fleet.word = Err(Trouble {
        detail: "the server answered with status 503".into(),
        retry_after: Some(Duration::from_secs(7200)),
    });
    device.pass_in_steps(Duration::from_secs(900), MINUTE);
    device.fleet.heard.clear();
    device.pass_in_steps(Duration::from_secs(6000), MINUTE);
    assert_eq!(device.fleet.heard.len(), 0, "it asked for that");
}

#[test]
fn what_keeps_an_update_is_told_once() {
    let mut device = Device::with(FLEET);
    device
        .command(Command::Hold {
            reason: "service visit".into(),
            until: None,
        })
        .unwrap();
    let reports = hear(&mut device, wanted("1"));
    let [report] = reports.as_slice() else {
        panic!("{reports:?}")
    };
    let (words, details) = said(report);
    assert_eq!(
        (report.action.as_str(), words.as_str()),
        ("17", "proceeding none")
    );
    assert!(details.contains("service visit"), "{details}");
    assert!(hear(&mut device, wanted("1")).is_empty());
    device.command(Command::Release).unwrap();
    device.pass(Duration::from_secs(3600));
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::OnTrial);
}

/// The server's page of devices that do not run what they should shows them.
#[test]
fn the_five_answers_are_attributes_while_an_update_is_kept() {
    let mut device = Device::with(FLEET);
    let answered = |turn: &Turn, question: &str| {
        let attributes = turn.attributes.as_ref().unwrap();
        attributes
            .get(&format!("switchback.answer.{question}"))
            .cloned()
    };
    let first = turns(&mut device, Word::default());
    assert!(first.iter().all(|turn| answered(turn, "wanted").is_none()));
    device
        .command(Command::Hold {
            reason: "service visit".into(),
            until: None,
        })
        .unwrap();
    let mut held = turns(&mut device, wanted("1"));
    held.extend(turns(&mut device, wanted("1")));
    let last = held.last().unwrap();
    assert_eq!(answered(last, "available").as_deref(), Some("yes"));
    let why = answered(last, "wanted").unwrap();
    assert!(
        why.starts_with("no: ") && why.contains("service visit"),
        "{why}"
    );
    assert_eq!(answered(last, "risk").as_deref(), Some("not asked"));
    let told = held.iter().filter(|turn| turn.attributes_new).count();
    assert_eq!(told, 1, "what was said once is not said again");

    device.command(Command::Release).unwrap();
    let released = turns(&mut device, Word::default());
    assert!(answered(released.last().unwrap(), "wanted").is_none());
}

#[test]
fn what_runs_already_and_what_can_never_run_end_the_action() {
    let mut device = Device::with(FLEET);
    let reports = hear(&mut device, wanted("2"));
    assert_eq!(said(&reports[0]).0, "closed success");
    assert_eq!(reports.len(), 1);

    let mut other = wanted("2");
    other.wanted.as_mut().unwrap().release = Ok(("oven".parse().unwrap(), "2".parse().unwrap()));
    let reports = hear(&mut device, other);
    let (words, details) = said(&reports[0]);
    assert_eq!(words, "closed failure");
    assert!(details.contains("this device is a kiosk"), "{details}");
    assert_eq!(reports.len(), 1);

    // Nobody signed it: it may come yet.
    let reports = hear(&mut device, wanted("9"));
    let (words, details) = said(&reports[0]);
    assert_eq!(words, "proceeding none");
    assert!(details.contains("no role vouches for"), "{details}");
}

#[test]
fn stops_what_the_server_does_not_want_any_more() {
    let mut device = Device::with(&format!("{FLEET}[restart]\nautomatic = false\n"));
    hear(&mut device, wanted("1"));
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::OnTrial);
    let stop = Word {
        stop: Some(Stop {
            cancellation: "18".into(),
            action: "17".into(),
        }),
        ..Word::default()
    };
    let reports = hear(&mut device, stop.clone());
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::Idle);
    let cancelled = Outcome::Failed(InstallFailure::Cancelled);
    assert_eq!(device.driver.state().history[0].outcome, cancelled);
    let about = |kind| reports.iter().find(|report| report.about == kind).unwrap();
    assert_eq!(about(About::Cancellation).action, "18");
    assert_eq!(said(about(About::Cancellation)).0, "closed success");
    assert_eq!(said(about(About::Deployment)).0, "canceled none");
    assert!(device.driver.state().failed.is_empty(), "it was not judged");
}

#[test]
fn agreement_is_a_persons_and_is_told() {
    let mut device = Device::with(FLEET);
    let mut ask = wanted("1");
    ask.wanted.as_mut().unwrap().confirm = true;
    assert!(hear(&mut device, ask.clone()).is_empty());
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::Idle);
    device.command(Command::Approve { version: None }).unwrap();
    let reports = hear(&mut device, ask);
    assert_eq!(reports[0].about, About::Confirmation);
    assert!(reports[0].body.contains("confirmed"));
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::Idle);
    hear(&mut device, wanted("1"));
    assert_eq!(device.driver.state().phase.kind(), PhaseKind::OnTrial);
}

#[test]
fn how_it_ended_is_kept_for_a_server_that_is_away() {
    let mut device = Device::with(&format!("{FLEET}[restart]\nautomatic = false\n"));
    hear(&mut device, wanted("1"));
    device.fleet.word = Err(Trouble {
        detail: "no route to host".into(),
        retry_after: None,
    });
    device.command(Command::Cancel).unwrap();
    device.pass(Duration::from_secs(24 * 3600));
    assert_eq!(
        device.driver.state().phase.kind(),
        PhaseKind::Idle,
        "nothing waits for the server"
    );
    let reports = hear(&mut device, Word::default());
    assert_eq!(said(&reports[0]).0, "canceled none");
    assert!(hear(&mut device, Word::default()).is_empty());
}

#[test]
fn a_server_that_lies_installs_nothing_that_is_unsigned_or_below_the_floor() {
    let mut device = Device::starting(FLEET, |state| state.floor = 1);
    let reports = hear(&mut device, wanted("1"));
    let (words, details) = said(&reports[0]);
    assert_eq!(words, "closed failure");
    assert!(details.contains("below this device's floor"), "{details}");

    // Nobody signed these, or they are for others; and words that make no sense.
    for version in ["9", "2.0", "latest"] {
        hear(&mut device, wanted(version));
    }
    let mut odd = wanted("1");
    odd.wanted.as_mut().unwrap().release = Err("is no version".into());
    odd.stop = Some(Stop {
        cancellation: "1".into(),
        action: "99".into(),
    });
    odd.sleep = Some(u32::MAX);
    odd.token = None;
    hear(&mut device, odd);
    let state = device.driver.state();
    assert_eq!(state.phase.kind(), PhaseKind::Idle);
    assert!(state.history.is_empty());
    let restarts = &device.host.restarts;
    assert_eq!(restarts.load(std::sync::atomic::Ordering::Relaxed), 0);
}
