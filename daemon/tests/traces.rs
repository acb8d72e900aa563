//! A trace of one update, over a restart, as a collector takes it in: decoded by OpenTelemetry's own types.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use switchback_dbus_api as api;
use switchback_manifest::{Release, TrustedRelease};
use switchback_types::{SlotName, Timestamp};
use switchback_update_core::{
    Attempt, AttemptKind, BootObservation, Event, ImageIdentity, InstallFailure, Outcome, Phase,
    RollbackReason, SlotBoot,
};
use switchbackd::settings::{DeviceSettings, TraceSettings};
use switchbackd::traces::{Seen, Tracer};

const PATIENCE: Duration = Duration::from_secs(20);

/// Takes in what is posted to it; the first answers may be others than 200.
struct Collector {
    url: String,
    taken: Receiver<(String, Vec<u8>)>,
}

impl Collector {
    fn start(answers: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let (sender, taken) = channel();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut reader = BufReader::new(stream.unwrap());
                let mut head = String::new();
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let lower = line.to_ascii_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line == "\r\n" {
                        break;
                    }
                    head += &lower;
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let status = answers.get(number).copied().unwrap_or(200);
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\n{{}}");
                reader.get_mut().write_all(answer.as_bytes()).unwrap();
                sender.send((head, body)).unwrap();
            }
        });
        Self { url, taken }
    }

    fn settings(&self) -> TraceSettings {
        TraceSettings {
            endpoint: self.url.clone(),
            ca_file: "/nonexistent".into(),
        }
    }

    fn next(&self) -> ExportTraceServiceRequest {
        let (head, body) = self.taken.recv_timeout(PATIENCE).unwrap();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(
            head.contains("content-type: application/json\r\n"),
            "{head}"
        );
        serde_json::from_slice(&body).unwrap()
    }
}

fn device() -> DeviceSettings {
    DeviceSettings {
        product: "kiosk".parse().unwrap(),
        compatible: "board-1".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        require: Vec::new(),
    }
}

fn release() -> TrustedRelease {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/examples/release.json");
    TrustedRelease::for_tests(Release::parse(&std::fs::read(path).unwrap()).unwrap())
}

fn attempt(release: &TrustedRelease) -> Attempt {
    Attempt {
        action: "poll-1-2".parse().unwrap(),
        kind: AttemptKind::Update,
        image: ImageIdentity {
            version: release.version.clone(),
            sequence: release.sequence,
            security_epoch: release.security_epoch,
            sha256: release.image.sha256,
            size: release.image.size,
        },
        from: Some("1".parse().unwrap()),
        target: SlotName::B,
        tries: 3,
        started: Timestamp::EPOCH,
        flip_only: false,
        trace: release.trace_id(),
    }
}

/// Drives a tracer as the driver does.
struct Drive {
    tracer: Tracer,
    release: TrustedRelease,
    phase: Phase,
    booted: SlotName,
}

impl Drive {
    fn step(&mut self, event: &Event, after: Phase) {
        let seen = Seen {
            event,
            before: &self.phase,
            after: &after,
            booted: self.booted,
        };
        self.tracer.step(seen);
        self.phase = after;
    }

    fn look(&mut self, polling: bool, stage: Option<&str>) {
        let transfer = api::Transfer {
            version: self.release.version.to_string(),
            way: "delta".into(),
            received: 187,
            ..api::Transfer::default()
        };
        self.tracer.look(polling, stage, &transfer);
        // Spans are told apart by their times.
        std::thread::sleep(Duration::from_millis(2));
    }

    /// From the poll to the armed slot.
    fn install(&mut self) {
        let attempt = attempt(&self.release);
        let offered = Event::Offered {
            action: attempt.action.clone(),
            image: attempt.image.clone(),
            trace: attempt.trace,
        };
        self.look(false, None);
        self.look(true, None);
        self.step(
            &offered,
            Phase::Installing {
                attempt: attempt.clone(),
            },
        );
        self.look(false, Some("writing"));
        self.look(false, Some("verifying"));
        self.step(
            &Event::SlotVerified,
            Phase::Staged {
                attempt: attempt.clone(),
            },
        );
        self.step(&Event::Armed, on_trial(&attempt, None));
        self.look(false, None);
    }
}

fn on_trial(attempt: &Attempt, verdict: Option<RollbackReason>) -> Phase {
    Phase::OnTrial {
        attempt: attempt.clone(),
        armed_in: None,
        daemon_ran: false,
        given_back: 0,
        verdict,
    }
}

fn started() -> Event {
    Event::Started(BootObservation {
        primary: Some(SlotName::B),
        a: SlotBoot::Ready { left: 3 },
        b: SlotBoot::Ready { left: 2 },
    })
}

fn spans(request: &ExportTraceServiceRequest) -> &[Span] {
    &request.resource_spans[0].scope_spans[0].spans
}

fn text<'a>(span: &'a Span, key: &str) -> &'a str {
    let found = span.attributes.iter().find(|pair| pair.key == key);
    let value = found.unwrap_or_else(|| panic!("{key} in {span:?}"));
    match value.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_update_is_one_trace_from_the_poll_to_the_commit_over_a_restart() {
    // The first time the collector is too busy; the next start of the daemon sends again.
    let collector = Collector::start(&[503]);
    let state = tempfile::tempdir().unwrap();
    let tracer = || Tracer::start(&collector.settings(), &device(), state.path()).unwrap();
    let mut drive = Drive {
        tracer: tracer(),
        release: release(),
        phase: Phase::Idle,
        booted: SlotName::A,
    };
    drive.install();
    // The new slot comes up, with a daemon that remembers nothing but its files.
    drive.tracer = tracer();
    drive.booted = SlotName::B;
    let attempt = attempt(&drive.release);
    drive.step(&started(), on_trial(&attempt, None));
    drive.look(false, None);
    drive.step(&Event::HealthPassed, on_trial(&attempt, None));
    let committed = Phase::Reporting {
        attempt,
        outcome: Outcome::Committed,
    };
    drive.step(&Event::MarkedGood, committed);
    let refused = collector.next();
    drop(drive.tracer);
    let _again = tracer();
    let request = collector.next();
    assert_eq!(request, refused);

    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    assert!(
        resource
            .attributes
            .iter()
            .any(|pair| pair.key == "service.name")
    );
    let spans = spans(&request);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "update", "poll", "write", "verify", "arm", "restart", "trial", "commit"
        ]
    );
    let root = &spans[0];
    let trace = drive.release.trace_id().unwrap();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert!(
        spans
            .iter()
            .all(|span| hex(&span.trace_id) == trace.id().to_string())
    );
    assert_eq!(hex(&root.parent_span_id), trace.publish_span().to_string());
    assert_eq!(text(root, "switchback.outcome"), "committed");
    assert_eq!(text(root, "switchback.way"), "delta");
    let mut end = root.start_time_unix_nano;
    for span in &spans[1..] {
        assert_eq!(span.parent_span_id, root.span_id);
        assert_eq!(span.status.as_ref().unwrap().code, StatusCode::Ok as i32);
        // One begins where the other ends, but for the moments between poll and write.
        assert!(span.start_time_unix_nano >= end, "{names:?}: {span:?}");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        end = span.end_time_unix_nano;
    }
    assert_eq!(end, root.end_time_unix_nano);
    let write = spans.iter().find(|span| span.name == "write").unwrap();
    assert!(write.end_time_unix_nano - write.start_time_unix_nano >= 2_000_000);
}

#[test]
fn lost_trial_and_failed_install_end_in_errors_that_say_why() {
    let collector = Collector::start(&[]);
    let state = tempfile::tempdir().unwrap();
    let mut drive = Drive {
        tracer: Tracer::start(&collector.settings(), &device(), state.path()).unwrap(),
        release: release(),
        phase: Phase::Idle,
        booted: SlotName::A,
    };
    drive.install();
    drive.booted = SlotName::B;
    let attempt = attempt(&drive.release);
    drive.step(&started(), on_trial(&attempt, None));
    let reason = RollbackReason::Unhealthy {
        detail: "kiosk.service is failed".into(),
    };
    let lost = Event::HealthFailed {
        detail: "kiosk.service is failed".into(),
    };
    drive.step(&lost, on_trial(&attempt, Some(reason.clone())));
    drive.booted = SlotName::A;
    let rolled_back = Phase::Reporting {
        attempt: attempt.clone(),
        outcome: Outcome::RolledBack(reason),
    };
    drive.step(&started(), rolled_back);
    let request = collector.next();
    let lost = spans(&request);
    let trial = lost.iter().find(|span| span.name == "trial").unwrap();
    let status = trial.status.as_ref().unwrap();
    assert_eq!(status.code, StatusCode::Error as i32);
    assert_eq!(
        status.message,
        "health checks failed: kiosk.service is failed"
    );
    assert_eq!(lost.last().unwrap().name, "fall-back");
    assert_eq!(
        lost[0].status.as_ref().unwrap().code,
        StatusCode::Error as i32
    );

    // Nothing is armed.
    drive.phase = Phase::Idle;
    let offered = Event::Offered {
        action: attempt.action.clone(),
        image: attempt.image.clone(),
        trace: attempt.trace,
    };
    drive.step(
        &offered,
        Phase::Installing {
            attempt: attempt.clone(),
        },
    );
    let failure = InstallFailure::Network {
        detail: "the server is gone".into(),
    };
    let failed = Phase::Reporting {
        attempt,
        outcome: Outcome::Failed(failure.clone()),
    };
    drive.step(&Event::InstallFailed(failure), failed);
    let request = collector.next();
    let names: Vec<&str> = spans(&request)
        .iter()
        .map(|span| span.name.as_str())
        .collect();
    assert_eq!(names, ["update", "poll", "write"]);
    assert!(text(&spans(&request)[0], "switchback.outcome").contains("the server is gone"));
    // Nothing is left to send.
    std::thread::sleep(Duration::from_millis(200));
    let left = std::fs::read_dir(state.path().join("traces"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}
