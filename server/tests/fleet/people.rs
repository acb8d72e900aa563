//! People, their roles, and what they see.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use serde_json::json;

use crate::harness::{Server, eventually};

#[test]
fn roles_allow_what_they_say() {
    let server = Server::start();
    server.release("2", "image");
    let tokens: Vec<(&str, String)> = ["enroll", "viewer", "publisher", "operator", "admin"]
        .into_iter()
        .map(|role| (role, server.person(&format!("a-{role}"), role)))
        .collect();
    let rollout = json!({"name": "x", "release": "gateway/2"});
    let person = json!({"name": "new", "role": "viewer"});
    for (method, path, body, least) in [
        ("GET", "/api/v1/devices", None, "viewer"),
        ("GET", "/api/v1/audit", None, "viewer"),
        ("POST", "/api/v1/rollouts", Some(&rollout), "publisher"),
        (
            "POST",
            "/api/v1/devices",
            Some(&json!({"id": "d"})),
            "operator",
        ),
        ("POST", "/api/v1/people", Some(&person), "admin"),
        ("GET", "/api/v1/webhooks", None, "admin"),
    ] {
        let mut allowed = false;
        for (role, token) in &tokens {
            allowed |= *role == least;
            let status = server.api_as(token, method, path, body).status;
            assert_eq!(
                status != 403,
                allowed,
                "{method} {path} as {role}: {status}"
            );
        }
        assert_eq!(server.api_as("", method, path, body).status, 401);
        assert_eq!(
            server
                .api_as("0".repeat(64).as_str(), method, path, body)
                .status,
            401
        );
    }
}

#[test]
fn somebody_else_agrees_and_the_log_says_who() {
    let server = Server::start();
    server.release("2", "image");
    let device = server.device("d1");
    let (ann, bob) = (
        server.person("ann", "operator"),
        server.person("bob", "operator"),
    );
    let body = json!({"name": "x", "release": "gateway/2", "needs_approval": true});
    let begun = server
        .api_as(&ann, "POST", "/api/v1/rollouts", Some(&body))
        .with(200)
        .json();
    let path = format!("/api/v1/rollouts/{}/command", begun["id"].as_str().unwrap());
    let approve = json!({"command": "approve"});
    let refused = server
        .api_as(&ann, "POST", &path, Some(&approve))
        .with(409)
        .json();
    assert_eq!(
        refused["error"],
        "ann wanted the rollout: somebody else must agree"
    );
    assert!(device.link("deploymentBase").is_none());
    server.api_as(&bob, "POST", &path, Some(&approve)).with(204);
    device.take();
    let audit = server.get("/api/v1/audit");
    let lines: Vec<(&str, &str)> = audit
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (
                line["who"].as_str().unwrap(),
                line["what"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(lines[0], ("bob", "rollout.command"));
    assert_eq!(lines[1], ("ann", "rollout.create"));
    assert!(lines.contains(&("first start", "people.create")));
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        server.api(method, "/api/v1/audit", None).with(405);
    }
}

#[test]
fn faults_are_named() {
    let server = Server::start();
    server.release("2", "image");
    let error = |body: serde_json::Value| {
        let answer = server
            .api("POST", "/api/v1/rollouts", Some(&body))
            .with(400)
            .json();
        answer["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        error(json!({"name": "x", "release": "gateway/3"})),
        "no release \"gateway/3\""
    );
    assert_eq!(
        error(json!({"name": "x", "release": "gateway/2", "group": "site = = lab"})),
        "filter, character 8: a value is expected, not \"=\""
    );
    let whole = json!({"waves": [{"reach": "100%", "soak": 0}]});
    let emergency = json!({"name": "x", "release": "gateway/2", "emergency": true, "plan": whole});
    assert!(error(emergency).starts_with("plan.waves: also in an emergency"));
    assert!(
        error(json!({"name": "x", "release": "gateway/2", "deadline": 1})).contains("deadline")
    );
    assert!(error(json!({"name": "x", "wavs": 1})).contains("unknown field `wavs`"));
    server.api("GET", "/api/v1/rollouts/none", None).with(404);
    // Nobody names what nobody signed: this server was given no repository at all.
    let signed = json!({"product": "gateway", "version": "9"});
    let answer = server
        .api("POST", "/api/v1/releases/signed", Some(&signed))
        .with(400);
    assert!(answer.body.contains("no repository"), "{answer:?}");
}

#[test]
fn the_description_is_the_committed_one() {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi/fleet-v1.json");
    let text = switchback_server::openapi().unwrap();
    if std::env::var_os("SWITCHBACK_GENERATE").is_some() {
        std::fs::write(committed, &text).unwrap();
    }
    let found = std::fs::read_to_string(committed).unwrap_or_default();
    assert!(
        found == text,
        "docs/openapi/fleet-v1.json: write it anew with SWITCHBACK_GENERATE=1"
    );
    let server = Server::start();
    let served = server
        .api_as("", "GET", "/api/v1/openapi.json", None)
        .with(200);
    assert_eq!(served.body, text);
}

/// The dashboard is a few files of the program itself, which may load nothing from elsewhere.
#[test]
fn the_dashboard_is_served_and_closed_to_others() {
    let server = Server::start();
    for (path, kind, part) in [
        ("/", "text/html; charset=utf-8", "<main id=\"main\""),
        (
            "/style.css",
            "text/css; charset=utf-8",
            "prefers-color-scheme: dark",
        ),
        ("/app.js", "text/javascript; charset=utf-8", "/api/v1/drift"),
    ] {
        let file = server.api_as("", "GET", path, None).with(200);
        assert_eq!(file.headers["content-type"], kind);
        assert!(file.body.contains(part), "{path}");
        assert!(
            !file.body.contains("innerHTML") && !file.body.contains("//cdn"),
            "{path}"
        );
        let policy = file.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'; frame-ancestors 'none'"));
    }
}

#[test]
fn events_come_as_they_happen_and_numbers_for_prometheus() {
    let server = Server::start();
    let host = server.base.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let head = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\r\n",
        server.admin
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
    server.device("d1").poll();
    let event = lines.find(|line| line.starts_with("event:")).unwrap();
    assert_eq!(event, "event: device");
    assert_eq!(
        lines.next().unwrap(),
        r#"data: {"device":"d1","state":"active"}"#
    );
    let metrics = server.api("GET", "/metrics", None).with(200).body;
    for line in [
        "switchback_polls_total 1",
        "switchback_devices 1",
        "switchback_devices_drifting 0",
        "# TYPE switchback_rollout_devices gauge",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}\n{metrics}"
        );
    }
}

/// A webhook is signed, and comes again until it is taken.
#[test]
fn webhooks_are_signed_and_tried_again() {
    let server = Server::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let hook = server
        .api("POST", "/api/v1/webhooks", Some(&json!({"url": url})))
        .with(200)
        .json();
    let secret = hook["secret"].as_str().unwrap();
    server.device("d1");
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = Vec::new();
    let mut body = Vec::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let field = |name: &str| {
        head.iter().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let length: u64 = field("content-length").unwrap().parse().unwrap();
    reader.take(length).read_to_end(&mut body).unwrap();
    stream
        .write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    let body = String::from_utf8(body).unwrap();
    let signature = field("switchback-signature").unwrap();
    let seconds = signature.split([',', '=']).nth(1).unwrap().parse().unwrap();
    assert_eq!(
        signature,
        switchback_server::webhook_signature(secret, seconds, &body)
    );
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["data"], json!({"device": "d1", "state": "active"}));
    // It was not taken: it is counted, and comes again.
    eventually("a failure that is counted", || {
        let metrics = server.api("GET", "/metrics", None).with(200).body;
        metrics
            .lines()
            .any(|line| line == "switchback_webhook_failures_total 1")
            .then_some(())
    });
    let shown = server.api("GET", "/api/v1/webhooks", None).with(200).body;
    assert!(!shown.contains(secret), "shown once");
}
