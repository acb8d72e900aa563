//! Those who mean no good, and those who do not know better.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Server, request};

#[test]
fn a_device_cannot_speak_for_another() {
    let server = Server::start();
    server.release("2", "image");
    let (victim, liar) = (server.device("victim"), server.device("liar"));
    let rollout = server.rollout(&["100%"], &json!({"group": "id == victim"}));
    let action = victim.take();
    let body = r#"{"status":{"execution":"closed","result":{"finished":"failure"}}}"#;
    let url = format!("{}/deploymentBase/{action}/feedback", victim.base);
    request(
        "POST",
        &url,
        &format!("TargetToken {}", liar.token),
        Some(body),
    )
    .with(401);
    // Nor under its own name about another's action.
    let own = format!("/deploymentBase/{action}/feedback");
    liar.ask("POST", &own, Some(body)).with(404);
    liar.ask("GET", &format!("/deploymentBase/{action}"), None)
        .with(404);
    assert_eq!(server.attempt(&rollout, "victim")["outcome"], "pending");
    // An unknown device and a wrong token look the same.
    let url = |id: &str| format!("{}/DEFAULT/controller/v1/{id}", server.base);
    let unknown = request(
        "GET",
        &url("nobody"),
        &format!("TargetToken {}", liar.token),
        None,
    );
    let wrong = request(
        "GET",
        &url("victim"),
        &format!("TargetToken {}", liar.token),
        None,
    );
    assert_eq!((unknown.status, &unknown.body), (wrong.status, &wrong.body));
    // A person's token is no device's, and the other way.
    request(
        "GET",
        &url("victim"),
        &format!("TargetToken {}", server.admin),
        None,
    )
    .with(401);
    server
        .api_as(&victim.token, "GET", "/api/v1/devices", None)
        .with(401);
}

#[test]
fn who_guesses_has_to_wait() {
    let server = Server::start();
    let url = format!("{}/DEFAULT/controller/v1/d1", server.base);
    let mut answers = (0..40).map(|n| request("GET", &url, &format!("TargetToken {n}"), None));
    let waits = answers
        .find(|answer| answer.status == 429)
        .expect("it has to wait");
    assert_eq!(waits.headers["retry-after"], "60");
    server.api("GET", "/api/v1/devices", None).with(429);
}

#[test]
fn bodies_of_all_kinds_are_refused_without_harm() {
    let server = Server::start();
    server.release("2", "image");
    let device = server.device("d1");
    server.rollout(&["100%"], &json!({}));
    let action = device.take();
    let feedback = format!("/deploymentBase/{action}/feedback");
    let deep = "[".repeat(100_000);
    for body in ["", "{", "null", "[]", "{\"status\":1}", "\u{0}", &deep] {
        device.ask("POST", &feedback, Some(body)).with(400);
    }
    for body in ["", "[1]", "{\"data\":3}"] {
        device.ask("PUT", "/configData", Some(body)).with(400);
    }
    let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(300_000));
    device.ask("POST", &feedback, Some(&huge)).with(413);
    device.ask("PUT", "/configData", Some(&huge)).with(413);
    let many: String = (0..101).map(|n| format!("\"k{n}\":1,")).collect();
    let many = format!("{{\"data\":{{{}}}}}", many.trim_end_matches(','));
    device.ask("PUT", "/configData", Some(&many)).with(400);
    for path in [
        "/deploymentBase/x",
        "/deploymentBase/99999999999999999999",
        "/deploymentBase/-1",
        "/deploymentBase/0",
        "/cancelAction/1",
        "/installedBase/77",
    ] {
        device.ask("GET", path, None).with(404);
    }
    // After all that it still works, and SWUpdate's log in one piece is taken.
    let log = json!({"id": 7, "time": "20261124T234806", "status": {"execution": "proceeding",
        "result": {"finished": "none"}, "details": ["\"broken ' quoting ".repeat(5000)]}});
    device
        .ask("POST", &feedback, Some(&log.to_string()))
        .with(200);
    device.say(&action, "closed", "success").with(200);
}

/// Clients that send byte by byte are cut off, and hold up nobody meanwhile.
#[test]
fn slow_clients_hold_up_nobody() {
    let server = Server::start();
    let device = server.device("d1");
    let host = server.base.strip_prefix("http://").unwrap();
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(host).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nX-").unwrap();
            stream
        })
        .collect();
    let started = Instant::now();
    device.ask("GET", "", None).with(200);
    assert!(started.elapsed() < Duration::from_secs(2));
    let stream = &mut slow[0];
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let mut rest = Vec::new();
    // It ends: with an answer that says so, or with none.
    stream.read_to_end(&mut rest).unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(14),
        "{:?}",
        started.elapsed()
    );
}
