//! Metrics in the eyes of Prometheus, and that the documents in `docs/observability` name none that is not there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use switchback_dbus_api as api;
use switchbackd::driver::View;
use switchbackd::health::{CheckState, Standing};
use switchbackd::metrics::{TABLE, render, serve, table};
use switchbackd::settings::MetricsSettings;
use tokio::sync::watch;

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observability")
}

/// A device that has something to say about everything.
fn view() -> View {
    let slot = |name: &str, booted| api::Slot {
        name: name.into(),
        booted,
        primary: booted,
        good: booted,
        boot_state: "ready".into(),
        tries_left: 3,
        content: "holds".into(),
        checked: "2026-11-28T01:00:00Z".into(),
        ..api::Slot::default()
    };
    let entry = |version: &str, outcome: &str, ended: &str| api::HistoryEntry {
        version: version.into(),
        outcome: outcome.into(),
        started: "2026-11-28T02:00:00Z".into(),
        ended: ended.into(),
        ..api::HistoryEntry::default()
    };
    View {
        phase: "installing".into(),
        version: "3".into(),
        running: "2".into(),
        progress: api::Progress {
            stage: "writing".into(),
            done: 1,
            total: 4,
            ..api::Progress::default()
        },
        transfer: api::Transfer {
            version: "3".into(),
            way: "delta".into(),
            received: 4711,
            ..api::Transfer::default()
        },
        offer: api::Offer {
            version: "3".into(),
            ..api::Offer::default()
        },
        slots: vec![slot("a", true), slot("b", false)],
        decision: api::Decision {
            at: "2026-11-29T05:00:00Z".into(),
            answers: vec![api::Answer {
                question: "wanted".into(),
                answer: "no".into(),
                code: "held".into(),
                ..api::Answer::default()
            }],
            ..api::Decision::default()
        },
        health: vec![CheckState {
            // Whatever a person writes into a name.
            name: "the \"kiosk\"\\ answers\nsoon".into(),
            kind: "http",
            required: true,
            standing: Standing::Failing,
            since: switchback_types::Timestamp::from_unix(1_700_000_000),
            detail: String::new(),
        }],
        failed: vec![api::Failed::default()],
        history: vec![
            entry("1", "committed", "2026-11-28T02:05:00Z"),
            entry("2", "rolled-back", "2026-11-28T02:07:00Z"),
        ],
        ..View::default()
    }
}

/// Runs promtool; gives what it prints.
fn promtool(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(documents())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (apt-get install prometheus)");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}\n{input}");
    said
}

#[test]
fn prometheus_reads_them_and_finds_nothing_to_complain_about() {
    for view in [view(), View::default()] {
        assert_eq!(promtool(&["check", "metrics"], &render(&view)), "");
    }
}

#[test]
fn a_full_device_shows_every_metric_and_says_what_is_so() {
    let text = render(&view());
    for metric in TABLE {
        assert!(
            text.contains(&format!("# TYPE {} gauge\n", metric.name)),
            "{}",
            metric.name
        );
    }
    for line in [
        "switchback_running_info{version=\"2\",slot=\"a\"} 1",
        "switchback_phase{phase=\"installing\"} 1",
        "switchback_phase{phase=\"idle\"} 0",
        "switchback_answer{question=\"wanted\",answer=\"no\",code=\"held\"} 1",
        "switchback_decision_timestamp_seconds 1795928400",
        "switchback_progress_ratio{stage=\"writing\"} 0.25",
        "switchback_transfer_received_bytes{way=\"delta\"} 4711",
        "switchback_health_check{name=\"the \\\"kiosk\\\"\\\\ answers\\nsoon\",kind=\"http\",required=\"true\"} 0",
        "switchback_history_updates{outcome=\"committed\"} 1",
        "switchback_last_update_info{version=\"2\",outcome=\"rolled-back\"} 1",
        "switchback_last_update_duration_seconds 420",
        "switchback_slot_booted{slot=\"b\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn the_table_in_the_documents_is_the_one_of_the_code() {
    let path = documents().join("metrics.md");
    let head = "# Metrics of switchbackd\n\nMade by `cargo xtask generate`; a test compares. All are gauges. They are at `/metrics` of the Unix\n\
                socket that `metrics.socket` names, and of the address that `metrics.listen` names, if it does:\n\n    \
                curl --unix-socket /run/switchback/metrics.sock http://localhost/metrics\n\n";
    let wanted = format!("{head}{}", table());
    if std::env::var_os("SWITCHBACK_GENERATE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "`cargo xtask generate` writes it anew");
}

#[test]
fn dashboard_and_rules_name_metrics_and_labels_that_there_are() {
    let known: BTreeSet<&str> = TABLE.iter().map(|metric| metric.name).collect();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let mut in_rules = 0;
    for file in ["grafana.json", "alerts.yml", "alerts-test.yml"] {
        let text = std::fs::read_to_string(documents().join(file)).unwrap();
        let mut named = 0;
        for name in text
            .split(word)
            .filter(|word| word.starts_with("switchback_"))
        {
            assert!(known.contains(name), "{file}: there is no {name}");
            named += 1;
        }
        assert!(named > 5, "{file}: {named}");
        in_rules += named;
        // Selectors such as {outcome="failed"} right behind a name.
        for metric in TABLE {
            let start = format!("{}{{", metric.name);
            for (at, _) in text.match_indices(&start) {
                let selector = text[at + start.len()..].split('}').next().unwrap();
                for part in selector.split(',') {
                    let label = part.split(['=', '!', '~']).next().unwrap().trim();
                    let is_known = label == "instance" || metric.labels.contains(&label);
                    assert!(is_known, "{file}: {} has no label {label:?}", metric.name);
                }
            }
        }
    }
    assert!(in_rules > 30);
    let dashboard = std::fs::read_to_string(documents().join("grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let ids: BTreeSet<u64> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), dashboard["panels"].as_array().unwrap().len());
}

#[test]
fn alert_rules_are_sound_and_fire_when_they_should() {
    let said = promtool(&["check", "rules", "alerts.yml"], "");
    assert!(said.contains("9 rules found"), "{said}");
    promtool(&["test", "rules", "alerts-test.yml"], "");
}

/// One question over a Unix socket.
fn ask(socket: &Path, question: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(question.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_scrape_gets_what_is_now_whatever_others_do_on_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("metrics.sock");
    // Left by a daemon that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let (sender, views) = watch::channel(Arc::new(View::default()));
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    tokio::spawn(serve(
        MetricsSettings {
            socket: Some(socket.clone()),
            listen: Some(port),
        },
        views,
    ));
    while UnixStream::connect(&socket).is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Two that say nothing, and one that says nonsense.
    let silent = [
        UnixStream::connect(&socket).unwrap(),
        UnixStream::connect(&socket).unwrap(),
    ];
    let asked = tokio::task::spawn_blocking(move || {
        let get = |path: &str| ask(&socket, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let nonsense = ask(&socket, "\0\x01\x02 nonsense\r\n\r\n");
        assert!(nonsense.starts_with("HTTP/1.1 400 "), "{nonsense}");
        assert!(get("/metrics").contains("switchback_phase{phase=\"installing\"} 0"));
        sender.send_replace(Arc::new(view()));
        let now = get("/metrics");
        assert!(
            now.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4"),
            "{now}"
        );
        assert!(now.contains("switchback_phase{phase=\"installing\"} 1"));
        assert!(get("/").starts_with("HTTP/1.1 404 "));
        let posted = ask(
            &socket,
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        );
        assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
        let mut over_tcp = std::net::TcpStream::connect(port).unwrap();
        over_tcp
            .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        over_tcp.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("switchback_build_info"), "{answer}");
    });
    tokio::time::timeout(Duration::from_secs(60), asked)
        .await
        .unwrap()
        .unwrap();
    drop(silent);
}
