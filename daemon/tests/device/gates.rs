//! Gates, holds, pins, consent and inhibitors, from the decision to the restart.

use std::sync::atomic::Ordering;
use std::time::Duration;

use switchback_types::Timestamp;
use switchback_update_core::{Before, Gate, GateState, Question};
use switchbackd::driver::{
    Command, InhibitMode, Inhibitor, InhibitorId, JobId, Message, Refused, Wish,
};

use super::repository::{noise, publish};
use super::rig::{Device, NOW, SEGMENT, SEGMENTS};

const STEP: Duration = Duration::from_secs(10);

fn closed(question: Question, before: Before, opens: Option<i64>) -> Gate {
    Gate {
        name: "door".into(),
        question,
        before,
        state: GateState::Closed {
            code: "shut".into(),
            detail: "the door is shut".into(),
            way_out: "open it".into(),
            opens: opens.map(|seconds| Timestamp::from_unix(NOW + seconds)),
        },
    }
}

/// Version 3 is published; nobody has asked yet.
fn device(gates: Vec<Gate>) -> Device {
    let device = Device::new();
    publish(device.directory.path(), "3", &noise(3), &["--deltas", "0"]);
    *device.host.gates.lock().unwrap() = gates;
    device
}

fn update(device: &mut Device, wish: Wish) -> (&'static str, String, String) {
    let command = Command::Install {
        job: JobId(7),
        wish,
    };
    device.command(command).unwrap();
    let end = device.ends.try_recv().unwrap();
    (end.result, end.code, end.message)
}

fn restarts(device: &Device) -> u32 {
    device.host.restarts.load(Ordering::Relaxed)
}

fn answer(device: &Device, index: usize) -> (String, String) {
    let answer = &device.driver.view().decision.answers[index];
    (answer.answer.clone(), answer.code.clone())
}

const WANTED: usize = 1;
const RISK: usize = 2;

#[test]
fn closed_gate_is_asked_again_until_it_opens_and_then_the_update_comes_by_itself() {
    let mut device = device(vec![closed(Question::Risk, Before::Update, None)]);
    let (result, code, message) = update(&mut device, Wish::default());
    assert_eq!((result, code.as_str()), ("failed", "shut"), "{message}");
    assert_eq!(answer(&device, RISK), ("no".into(), "shut".into()));
    let first = device.driver.view();
    assert!(!first.gates[0].open);
    device.pass_in_steps(Duration::from_secs(120), STEP);
    let later = device.driver.view();
    assert_eq!(later.phase, "idle");
    assert_eq!(
        later.decision.answers[RISK].since, first.decision.answers[RISK].since,
        "it is the same answer still"
    );
    assert!(later.decision.at > first.decision.at, "and was asked again");
    device.host.gates.lock().unwrap().clear();
    device.pass_in_steps(Duration::from_secs(60), STEP);
    assert_eq!(device.driver.view().phase, "on-trial");
    assert_eq!(restarts(&device), 1);
}

#[test]
fn gate_that_says_when_it_opens_is_asked_then_and_not_every_moment() {
    let mut device = device(vec![closed(Question::Wanted, Before::Both, Some(600))]);
    assert_eq!(update(&mut device, Wish::default()).1, "shut");
    let due = device.driver.due().unwrap();
    assert_eq!(due, Duration::from_secs(600), "nothing is due before");
    device.host.gates.lock().unwrap().clear();
    device.pass_in_steps(Duration::from_secs(610), STEP);
    assert_eq!(restarts(&device), 1);
}

#[test]
fn restart_waits_for_its_gate_and_a_person_does_not() {
    let mut device = device(vec![closed(Question::Wanted, Before::Restart, None)]);
    let (result, code, _) = update(&mut device, Wish::default());
    assert_eq!((result, code.as_str()), ("done", "armed"));
    device.pass_in_steps(Duration::from_secs(300), STEP);
    let view = device.driver.view();
    assert_eq!((view.phase.as_str(), restarts(&device)), ("on-trial", 0));
    assert_eq!(view.restart.waits_for, "gates");
    assert_eq!(view.restart.reason, "the door is shut");
    assert!(
        view.status()
            .contains("the restart waits: the door is shut")
    );
    device.command(Command::Restart).unwrap();
    assert_eq!(restarts(&device), 1);
    assert!(!device.driver.view().restart.pending);
}

#[test]
fn called_off_while_the_restart_waits_nothing_restarts() {
    let mut device = device(vec![closed(Question::Wanted, Before::Restart, None)]);
    update(&mut device, Wish::default());
    assert!(device.driver.view().restart.pending);
    let hold = Command::Hold {
        reason: "not now".into(),
        until: None,
    };
    device.command(hold).unwrap();
    device.command(Command::Cancel).unwrap();
    let view = device.driver.view();
    assert!(!view.restart.pending, "{:?}", view.restart);
    device.host.gates.lock().unwrap().clear();
    device.pass_in_steps(Duration::from_secs(300), STEP);
    assert_eq!(restarts(&device), 0);
}

#[test]
fn override_begins_and_restarts_all_the_same_with_its_reason() {
    let mut device = device(vec![closed(Question::Risk, Before::Both, None)]);
    let wish = Wish {
        overriding: Some("ticket 7".into()),
        ..Wish::default()
    };
    let (result, code, _) = update(&mut device, wish);
    assert_eq!((result, code.as_str()), ("done", "armed"));
    assert_eq!(restarts(&device), 1);
    assert_eq!(answer(&device, RISK), ("yes".into(), "overridden".into()));
    let reason = &device.driver.view().decision.answers[RISK].reason;
    assert!(
        reason.contains("ticket 7") && reason.contains("the door is shut"),
        "{reason}"
    );
}

#[test]
fn hold_with_an_end_ends_by_itself() {
    let mut device = device(Vec::new());
    let until = Some(Timestamp::from_unix(NOW + 100));
    let reason = "the fair".to_owned();
    device.command(Command::Hold { reason, until }).unwrap();
    assert_eq!(update(&mut device, Wish::default()).1, "held");
    device.pass_in_steps(Duration::from_secs(90), STEP);
    assert!(device.driver.view().hold.held);
    device.pass_in_steps(Duration::from_secs(20), STEP);
    assert!(!device.driver.view().hold.held);
    assert_eq!(restarts(&device), 1, "what waited comes");
    let past = Command::Hold {
        reason: "late".into(),
        until: Some(Timestamp::from_unix(NOW)),
    };
    assert!(device.command(past).is_err());
}

#[test]
fn pin_keeps_other_versions_away() {
    let mut device = device(Vec::new());
    let pin = |version: Option<&str>| Command::Pin {
        version: version.map(|version| version.parse().unwrap()),
        reason: "certified".into(),
    };
    device.command(pin(None)).unwrap();
    assert_eq!(device.driver.view().pin.version, "2", "what runs");
    assert_eq!(update(&mut device, Wish::default()).1, "pinned");
    assert_eq!(answer(&device, WANTED), ("no".into(), "pinned".into()));
    device.command(pin(Some("3"))).unwrap();
    device.pass_in_steps(Duration::from_secs(20), STEP);
    assert_eq!(device.driver.view().phase, "on-trial");
    device.command(Command::Unpin).unwrap();
    assert_eq!(device.driver.view().pin.version, "");
}

#[test]
fn consent_is_asked_for_and_given_to_what_is_offered() {
    let mut device = Device::with("[update]\nconsent = true\n");
    publish(device.directory.path(), "3", &noise(3), &["--deltas", "0"]);
    let approve = |version: Option<&str>| Command::Approve {
        version: version.map(|version| version.parse().unwrap()),
    };
    assert_eq!(update(&mut device, Wish::default()).1, "consent");
    let Refused { message, .. } = device.command(approve(Some("4"))).unwrap_err();
    assert_eq!(message, "version 3 is offered, not 4");
    device.command(approve(Some("3"))).unwrap();
    device.pass_in_steps(Duration::from_secs(20), STEP);
    assert_eq!(restarts(&device), 1);
}

#[test]
fn windows_and_programs_are_settings_that_say_what_is_wrong_with_them() {
    let refused = |more: &str| {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "[device]\nproduct = \"kiosk\"\ncompatible = \"board\"\n[repository]\n\
             url = \"https://updates.example\"\n{more}"
        );
        let file = directory.path().join("10-board.toml");
        std::fs::write(file, text).unwrap();
        let loaded = switchbackd::settings::load(&[directory.path().to_owned()]);
        loaded.unwrap_err().to_string()
    };
    for (more, part) in [
        (
            "[[update.window]]\nstart = \"Sat 25:00\"\nlength = \"3h\"\n",
            "25",
        ),
        (
            "[[update.window]]\nstart = \"Sat 02:00\"\nlength = \"long\"\n",
            "90s",
        ),
        ("[update]\noutside-window = \"reboot\"\n", "download"),
        ("[gates]\nbattery-at-least = 101\n", "0 to 100"),
        ("[gates]\nload-at-most = -1.0\n", "0.8"),
        ("[gates]\nfree-space-at-least = \"64 apples\"\n", "64M"),
        (
            "[[gates.command]]\nname = \"idle\"\ncommand = []\n",
            "program",
        ),
        (
            "[[gates.command]]\nname = \"idle\"\ncommand = [\"true\"]\nbefore = \"x\"\n",
            "restart",
        ),
    ] {
        let said = refused(more);
        assert!(said.contains(part), "{more}: {said}");
        assert!(said.contains("10-board.toml:"), "{more}: {said}");
    }
}

#[test]
fn configuration_that_is_read_anew_counts_at_once() {
    let mut device = device(Vec::new());
    let reload = |device: &mut Device, more: &str| {
        let reloaded = device.reloaded(more);
        let message = Message::Reload(Box::new(reloaded));
        device.driver.message(message).unwrap();
        device.settle();
    };
    reload(&mut device, "[update]\nconsent = true\n");
    assert_eq!(update(&mut device, Wish::default()).1, "consent");
    // Other hardware than this one is found by the next start only.
    reload(
        &mut device,
        "[slots]\na = \"/dev/x\"\n[restart]\nautomatic = false\n",
    );
    assert_eq!(update(&mut device, Wish::default()).1, "armed");
    let view = device.driver.view();
    assert_eq!(view.slots[0].device, "/dev/a");
    assert_eq!(restarts(&device), 0, "a person restarts it now");
    reload(&mut device, "[device]\nchannel = \"beta\"\n");
    let check = Command::Check(JobId(8));
    device.command(check).unwrap();
    let end = device.ends.try_recv().unwrap();
    assert!(end.message.contains("beta"), "{}", end.message);
}

/// A network that comes late must not keep the device from its updates until somebody restarts it.
#[test]
fn system_that_becomes_healthy_late_takes_its_updates() {
    let mut device = device(Vec::new());
    device.host.unwell.store(true, Ordering::Relaxed);
    device.driver.start().unwrap();
    device.settle();
    assert_eq!(update(&mut device, Wish::default()).1, "not-healthy");
    assert_eq!(
        device.driver.view().last_error,
        "after 300 s: the application does not answer"
    );
    device.pass_in_steps(Duration::from_secs(3600), STEP);
    assert_eq!(device.driver.view().phase, "idle");
    device.host.unwell.store(false, Ordering::Relaxed);
    device.pass_in_steps(Duration::from_secs(70), STEP);
    assert_eq!(device.driver.view().last_error, "");
    assert_eq!(restarts(&device), 1);
}

fn inhibitor(id: u32, before: Before, mode: InhibitMode) -> Message {
    Message::Inhibit(Inhibitor {
        id: InhibitorId(id),
        who: "player".into(),
        why: "a film".into(),
        before,
        mode,
        uid: 1000,
    })
}

#[test]
fn application_that_must_not_be_interrupted_is_not_for_as_long_as_it_may() {
    let mut device = device(Vec::new());
    let block = inhibitor(1, Before::Both, InhibitMode::Block);
    device.driver.message(block).unwrap();
    let (_, code, message) = update(&mut device, Wish::default());
    assert_eq!(code, "inhibited");
    assert!(
        message.contains("player asks not to be interrupted: a film"),
        "{message}"
    );
    device.pass_in_steps(Duration::from_secs(3600), STEP);
    assert_eq!(device.driver.view().phase, "idle");
    device
        .driver
        .message(Message::Uninhibit(InhibitorId(1)))
        .unwrap();
    device.pass_in_steps(STEP, STEP);
    assert_eq!(
        restarts(&device),
        1,
        "it comes at once when the last one lets go"
    );

    let mut device = self::device(Vec::new());
    let block = inhibitor(1, Before::Both, InhibitMode::Block);
    device.driver.message(block).unwrap();
    device.pass(Duration::from_secs(23 * 3600));
    assert_eq!(restarts(&device), 0);
    device.pass(Duration::from_secs(2 * 3600));
    assert_eq!(restarts(&device), 1, "a day is the limit");
}

#[test]
fn application_that_delays_the_restart_is_told_and_given_a_moment() {
    let mut device = device(Vec::new());
    for id in [1, 2] {
        let delay = inhibitor(id, Before::Restart, InhibitMode::Delay);
        device.driver.message(delay).unwrap();
    }
    update(&mut device, Wish::default());
    let view = device.driver.view();
    assert_eq!(
        (view.restart.waits_for.as_str(), restarts(&device)),
        ("applications", 0)
    );
    device
        .driver
        .message(Message::Uninhibit(InhibitorId(1)))
        .unwrap();
    assert_eq!(restarts(&device), 0, "one is not ready");
    device
        .driver
        .message(Message::Uninhibit(InhibitorId(2)))
        .unwrap();
    assert_eq!(restarts(&device), 1);

    let mut device = self::device(Vec::new());
    let delay = inhibitor(1, Before::Restart, InhibitMode::Delay);
    device.driver.message(delay).unwrap();
    update(&mut device, Wish::default());
    device.pass_in_steps(Duration::from_secs(290), STEP);
    assert_eq!(restarts(&device), 0);
    device.pass_in_steps(Duration::from_secs(20), STEP);
    assert_eq!(restarts(&device), 1, "five minutes are the limit");
}

#[test]
fn job_is_called_off_by_its_name() {
    let mut device = device(vec![closed(Question::Wanted, Before::Restart, None)]);
    let gone = device.command(Command::CancelJob(JobId(3))).unwrap_err();
    assert_eq!(gone.name, "NothingToDo");
    assert_eq!(update(&mut device, Wish::default()).1, "armed");
    assert_eq!(device.slots.b.0.lock().unwrap().len(), SEGMENT * SEGMENTS);
    // It ended when the slot was armed.
    assert!(device.command(Command::CancelJob(JobId(7))).is_err());
}
