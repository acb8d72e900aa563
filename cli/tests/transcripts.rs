//! Whole transcripts: the program as it is installed, on a real bus, with the daemon's own service and
//! a test in the place of the driver.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../daemon/tests/dbus/rig.rs"]
mod rig;

use std::fmt::Write as _;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use switchback_dbus_api as api;
use switchbackd::driver::{Command, JobEnd, JobId, Message, Refused, View};

use self::rig::{PATIENCE, Served, answer, served};

/// Runs it as it stands after a `$`, and writes down what it says.
struct Session {
    served: Served,
    transcript: String,
}

impl Session {
    async fn new(view: View) -> Self {
        let served = served().await;
        served.view.send_replace(Arc::new(view));
        // The service has seen it when it answers with it.
        let phase = served.view.borrow().phase.clone();
        while served.manager.phase().await.unwrap() != phase {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self {
            served,
            transcript: String::new(),
        }
    }

    fn start(&self, line: &str, user: Option<u32>) -> tokio::task::JoinHandle<(String, String)> {
        let program = env!("CARGO_BIN_EXE_switchback");
        let mut command = match user {
            Some(user) => {
                let mut command = Process::new("setpriv");
                command
                    .args([format!("--reuid={user}"), format!("--regid={user}")])
                    .args(["--clear-groups", program]);
                command
            }
            None => Process::new(program),
        };
        command
            .args(words(line))
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.served.bus.address)
            .stdin(Stdio::null());
        let line = line.to_owned();
        tokio::task::spawn_blocking(move || {
            let output = command.output().unwrap();
            let out = String::from_utf8(output.stdout).unwrap();
            let mut text = format!("$ switchback {line}\n{out}");
            text.push_str(&String::from_utf8(output.stderr).unwrap());
            let _ = writeln!(text, "(exit {})\n", output.status.code().unwrap());
            (text, out)
        })
    }

    /// A command that asks the driver nothing; its output alone.
    async fn run(&mut self, line: &str) -> String {
        let (text, out) = self.start(line, None).await.unwrap();
        self.transcript.push_str(&text);
        out
    }

    /// A command that gives the driver an order.
    async fn order(&mut self, line: &str, with: Result<(), Refused>) -> Command {
        let running = self.start(line, None);
        let command = answer(&mut self.served.commands, with).await;
        self.transcript.push_str(&running.await.unwrap().0);
        command
    }

    /// A command that waits for a job.
    async fn job(&mut self, line: &str, result: &'static str, code: &str, message: &str) {
        let running = self.start(line, None);
        let command = answer(&mut self.served.commands, Ok(())).await;
        let (Command::Check(job)
        | Command::Install { job, .. }
        | Command::RollBack { job, .. }
        | Command::Repair(job)) = command
        else {
            panic!("{command:?}")
        };
        self.end(job, result, code, message);
        self.transcript.push_str(&running.await.unwrap().0);
    }

    fn end(&self, job: JobId, result: &'static str, code: &str, message: &str) {
        let end = JobEnd {
            job,
            result,
            code: code.into(),
            message: message.into(),
        };
        self.served.ends.send(end).unwrap();
    }
}

/// As a shell takes a line apart, as far as is needed here.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(String::from)),
            _ => words.push(part.into()),
        }
    }
    words
}

fn slot(name: &str, version: &str, booted: bool) -> api::Slot {
    api::Slot {
        name: name.into(),
        device: format!("/dev/disk/by-partlabel/slot-{name}"),
        bootname: name.to_uppercase(),
        booted,
        primary: booted,
        boot_state: "ready".into(),
        tries_left: 3,
        good: true,
        content: "holds".into(),
        version: version.into(),
        sha256: version.repeat(64),
        size: 448 << 20,
        checked: String::new(),
    }
}

fn answers(stopped: usize) -> api::Decision {
    let reasons = [
        ("available", "version 3 is published, 2 runs"),
        ("wanted", "held since 2026-12-01T08:00:00Z: the fair"),
        ("risk", "the battery has 12 %, at least 30 % are wanted"),
        (
            "trusted",
            "signed by the release role, fresh, made for this device",
        ),
        ("verifiable", "every segment has a signed digest"),
    ];
    let answers = reasons
        .iter()
        .enumerate()
        .map(|(index, (question, reason))| {
            let (answer, reason) = match index.cmp(&stopped) {
                std::cmp::Ordering::Less => ("yes", *reason),
                std::cmp::Ordering::Equal => ("no", *reason),
                std::cmp::Ordering::Greater => ("not-asked", "nothing to ask about"),
            };
            let no = answer == "no";
            let only = |text: &str| if no { text.to_owned() } else { String::new() };
            api::Answer {
                question: (*question).into(),
                answer: answer.into(),
                code: if no {
                    "battery-low".into()
                } else {
                    (*question).into()
                },
                reason: reason.into(),
                way_out: only("charge it"),
                since: "2026-12-01T09:00:00Z".into(),
                again: only("2026-12-01T09:15:00Z"),
            }
        });
    api::Decision {
        at: "2026-12-01T09:00:00Z".into(),
        version: "3".into(),
        go: stopped >= reasons.len(),
        answers: answers.collect(),
    }
}

fn idle() -> View {
    View {
        phase: "idle".into(),
        running: "2".into(),
        slots: vec![slot("a", "2", true), slot("b", "1", false)],
        decision: answers(2),
        gates: vec![api::Gate {
            name: "battery".into(),
            question: "risk".into(),
            before: "update".into(),
            open: false,
            code: "battery-low".into(),
            reason: "the battery has 12 %, at least 30 % are wanted".into(),
            way_out: "charge it".into(),
            opens: String::new(),
        }],
        history: vec![api::HistoryEntry {
            action: "poll-1".into(),
            kind: "update".into(),
            from: "1".into(),
            version: "2".into(),
            slot: "a".into(),
            ended: "2026-11-30T03:10:00Z".into(),
            outcome: "committed".into(),
            detail: "committed".into(),
            ..api::HistoryEntry::default()
        }],
        ..View::default()
    }
}

#[tokio::test]
async fn looking() {
    let mut session = Session::new(idle()).await;
    for line in [
        "status",
        "explain",
        "history",
        "inspect release",
        "inhibit",
        "explain --json",
    ] {
        session.run(line).await;
    }
    insta::assert_snapshot!("looking", session.transcript);
}

/// Whether a value is what its schema says: type, fields, and none that it does not name.
fn check(schema: &Value, value: &Value, place: &str) {
    if let Some(constant) = schema.get("const") {
        assert_eq!(value, constant, "{place}");
        return;
    }
    let right = match schema["type"].as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        other => panic!("{place}: {other}"),
    };
    assert!(right, "{place}: {value}");
    for item in value.as_array().into_iter().flatten() {
        check(&schema["items"], item, place);
    }
    let Some(properties) = schema.get("properties") else {
        return;
    };
    for required in schema["required"].as_array().unwrap() {
        let name = required.as_str().unwrap();
        assert!(value.get(name).is_some(), "{place} has no {name}");
    }
    for (name, value) in value.as_object().unwrap() {
        let known = properties.get(name);
        let known = known.unwrap_or_else(|| panic!("{place}.{name} is not in the schema"));
        check(known, value, &format!("{place}.{name}"));
    }
}

#[tokio::test]
async fn every_json_is_as_its_schema_says() {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema/cli-v1.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(place).unwrap()).unwrap();
    let mut session = Session::new(idle()).await;
    for (line, name) in [
        ("status", "status"),
        ("explain", "explain"),
        ("slots", "slots"),
        ("health", "health"),
        ("history", "history"),
        ("inspect release", "inspect-release"),
        ("inhibit", "inhibit"),
    ] {
        let out = session.run(&format!("--json {line}")).await;
        let value: Value = serde_json::from_str(&out).unwrap();
        check(&schema["$defs"][name], &value, line);
    }
    let out = session.run("--json rollback --nonsense").await;
    assert_eq!(
        out, "",
        "what is wrong with the line itself is told as text"
    );
}

#[tokio::test]
async fn orders() {
    let mut session = Session::new(idle()).await;
    session.job("check", "done", "battery-low", "not now").await;
    session
        .job(
            "update",
            "failed",
            "battery-low",
            "not now: the battery has 12 %",
        )
        .await;
    let mut go = idle();
    go.decision = answers(5);
    session.served.view.send_replace(Arc::new(go));
    session
        .job(
            "update --override 'ticket 7'",
            "done",
            "armed",
            "version 3 is armed; the next boot is its trial",
        )
        .await;
    session
        .job(
            "rollback --reason worse",
            "done",
            "armed",
            "version 1 is armed; the next boot is its trial",
        )
        .await;
    session
        .job(
            "repair",
            "done",
            "whole",
            "slot b was read back and is whole: nothing to repair",
        )
        .await;
    let command = session
        .order(
            "hold --reason 'the fair' --until 2026-12-24T18:00:00Z",
            Ok(()),
        )
        .await;
    let Command::Hold { reason, until } = command else {
        panic!("{command:?}")
    };
    assert_eq!(reason, "the fair");
    assert_eq!(until.unwrap().to_string(), "2026-12-24T18:00:00Z");
    for line in [
        "unhold",
        "unpin",
        "cancel",
        "mark good",
        "mark bad",
        "restart",
    ] {
        session.order(line, Ok(())).await;
    }
    insta::assert_snapshot!("orders", session.transcript);
}

#[tokio::test]
async fn refusals_have_their_exit_codes_and_the_next_command_to_type() {
    let mut session = Session::new(idle()).await;
    let refused = |name, message: &str| {
        Err(Refused {
            name,
            message: message.into(),
        })
    };
    session
        .order(
            "rollback",
            refused(
                "NothingToRollBackTo",
                "slot b holds no complete image to go back to",
            ),
        )
        .await;
    session
        .order(
            "cancel",
            refused("NothingToDo", "nothing is under way to be cancelled"),
        )
        .await;
    for line in [
        "hold --until tomorrow",
        "updat",
        "inhibit --what sleep true",
        "install /nonexistent.bundle",
    ] {
        session.run(line).await;
    }
    let (text, _) = session.start("hold", Some(65_534)).await.unwrap();
    session.transcript.push_str(&text);
    let (text, _) = session.start("status", Some(65_534)).await.unwrap();
    assert!(
        text.contains("slot a: version 2 (booted)"),
        "everybody may look: {text}"
    );
    insta::assert_snapshot!("refusals", session.transcript);
}

#[tokio::test]
async fn without_a_daemon_it_says_what_to_look_at() {
    let bus = rig::PrivateBus::start();
    let output = Process::new(env!("CARGO_BIN_EXE_switchback"))
        .arg("status")
        .env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("systemctl status switchbackd"), "{text}");
}

#[tokio::test]
async fn program_that_is_not_to_be_interrupted_gives_its_exit_code() {
    let mut session = Session::new(idle()).await;
    let running = session.start("inhibit --why film sh -c 'exit 7'", None);
    let first = tokio::time::timeout(PATIENCE, session.served.commands.recv()).await;
    let Ok(Some(Message::Inhibit(inhibitor))) = first else {
        panic!("{first:?}")
    };
    assert_eq!(
        (inhibitor.who.as_str(), inhibitor.why.as_str()),
        ("sh", "film")
    );
    let (text, _) = running.await.unwrap();
    assert!(text.ends_with("(exit 7)\n\n"), "{text}");
    let then = tokio::time::timeout(PATIENCE, session.served.commands.recv()).await;
    assert!(matches!(then, Ok(Some(Message::Uninhibit(id))) if id == inhibitor.id));
}

#[tokio::test]
async fn watching() {
    use std::io::{BufRead as _, BufReader};
    let session = Session::new(idle()).await;
    let mut child = Process::new(env!("CARGO_BIN_EXE_switchback"))
        .arg("watch")
        .env("DBUS_SYSTEM_BUS_ADDRESS", &session.served.bus.address)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            let _ = sender.send(line);
        }
    });
    let view = |phase: &str, done: u64| {
        let mut view = idle();
        view.phase = phase.into();
        view.version = "3".into();
        view.progress.stage = if done > 0 {
            "writing".into()
        } else {
            String::new()
        };
        view.progress.version = "3".into();
        view.progress.done = done;
        view.progress.total = if done > 0 { 100 } else { 0 };
        Arc::new(view)
    };
    // Until it listens, nothing is heard: the same is told again.
    let first = loop {
        session.served.view.send_replace(view("idle", 0));
        tokio::time::sleep(Duration::from_millis(50)).await;
        session.served.view.send_replace(view("installing", 0));
        if let Ok(line) = tokio::time::timeout(Duration::from_millis(200), heard.recv()).await {
            break line.unwrap();
        }
    };
    assert!(first.contains("installing 3"), "{first}");
    while tokio::time::timeout(Duration::from_millis(200), heard.recv())
        .await
        .is_ok()
    {}
    session.served.view.send_replace(view("installing", 50));
    let line = tokio::time::timeout(PATIENCE, heard.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(line, "writing version 3: 50 %");
    let mut delayed = (*view("on-trial", 0)).clone();
    delayed.restart.pending = true;
    delayed.restart.waits_for = "applications".into();
    delayed.restart.again = "2026-12-01T00:05:00Z".into();
    session.served.view.send_replace(Arc::new(delayed));
    let mut rest = Vec::new();
    for _ in 0..2 {
        let line = tokio::time::timeout(PATIENCE, heard.recv()).await;
        rest.push(line.unwrap().unwrap());
    }
    rest.sort();
    assert_eq!(
        rest,
        [
            "installing → on-trial 3",
            "restarts into version 3, at the latest at 2026-12-01T00:05:00Z"
        ]
    );
    child.kill().unwrap();
    child.wait().unwrap();
}
