//! The numbers in the eyes of Prometheus, and alerts that name none that is not there.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::Server;

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observability")
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
    let mut to = child.stdin.take().unwrap();
    to.write_all(input.as_bytes()).unwrap();
    drop(to);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}\n{input}");
    said
}

#[test]
fn alerts_name_numbers_that_there_are_and_fire_when_they_should() {
    let server = Server::start();
    server.release("2", "new image");
    let device = server.device("d1");
    device.runs("1");
    let rollout = server.rollout(&["100%"], &json!({}));
    let action = device.take();
    let path = format!("/api/v1/rollouts/{rollout}/command");
    let pause = json!({"command": "pause"});
    server.api("POST", &path, Some(&pause)).with(204);
    device.say(&action, "closed", "failure").with(200);
    let metrics = server.api("GET", "/metrics", None).with(200).body;
    let paused = "switchback_rollouts{phase=\"paused\"} 1";
    assert!(metrics.lines().any(|line| line == paused), "{metrics}");
    assert_eq!(promtool(&["check", "metrics"], &metrics), "");
    let log = server.log();
    let said = "rollout: {\"name\":\"spring\",\"phase\":\"paused\",\"release\":\"gateway/2\"";
    assert!(
        log.contains(said) && log.contains("\"why\":\"admin paused it\""),
        "{log}"
    );

    let rules = std::fs::read_to_string(documents().join("fleet-alerts.yml")).unwrap();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let named = rules
        .split(word)
        .filter(|word| word.starts_with("switchback_"));
    let mut count = 0;
    // Only where TLS is: `tls.rs` looks at it.
    for name in named.filter(|name| !name.starts_with("switchback_certificate_")) {
        let is_there = |line: &str| line.split(['{', ' ']).next() == Some(name);
        assert!(metrics.lines().any(is_there), "{name}: {metrics}");
        count += 1;
    }
    assert!(count >= 6, "{count}");
    let said = promtool(&["check", "rules", "fleet-alerts.yml"], "");
    assert!(said.contains("5 rules found"), "{said}");
    promtool(&["test", "rules", "fleet-alerts-test.yml"], "");
}
