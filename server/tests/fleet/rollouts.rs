//! Whole rollouts.

use serde_json::json;

use crate::harness::{Server, eventually};

fn until_phase(server: &Server, rollout: &str, phase: &str) {
    eventually(phase, || (server.phase(rollout) == phase).then_some(()));
}

#[test]
fn from_offer_to_finished() {
    let server = Server::start();
    server.release("2", "new image");
    let devices: Vec<_> = (0..4).map(|n| server.device(&format!("d{n}"))).collect();
    for device in &devices {
        device.runs("1");
    }
    let rollout = server.rollout(&["1", "100%"], &json!({}));
    let first = eventually("an offer", || {
        devices
            .iter()
            .find(|device| device.link("deploymentBase").is_some())
    });
    let action = first.take();
    let others = devices
        .iter()
        .filter(|device| device.link("deploymentBase").is_some());
    assert_eq!(others.count(), 1, "the first wave is one device");
    let history = first.ask(
        "GET",
        &format!("/deploymentBase/{action}?actionHistory=5"),
        None,
    );
    assert_eq!(history.json()["actionHistory"]["status"], "RUNNING");
    first.say(&action, "proceeding", "none").with(200);
    // It says what it runs: the word alone is not believed.
    first.say(&action, "closed", "success").with(200);
    assert_eq!(server.attempt(&rollout, id(first))["outcome"], "pending");
    first.runs("2");
    assert_eq!(server.attempt(&rollout, id(first))["outcome"], "succeeded");
    // Said again, because the answer was lost.
    first.say(&action, "closed", "success").with(200);
    first.say(&action, "proceeding", "none").with(410);
    assert_eq!(
        first
            .ask("GET", &format!("/installedBase/{action}"), None)
            .status,
        200
    );
    for device in devices.iter().filter(|device| device.base != first.base) {
        device.take();
        device.runs("2");
    }
    until_phase(&server, &rollout, "finished");
    let fleet = server.get("/api/v1/fleet");
    assert_eq!(fleet["versions"]["gateway/2"], 4);
    assert_eq!(fleet["drifting"], 0);
    assert_eq!(server.get("/api/v1/drift"), json!([]));
}

fn id(device: &crate::harness::Device) -> &str {
    device.base.rsplit('/').next().unwrap()
}

/// C069: success is reported before the restart, and the old version after it.
#[test]
fn a_device_that_goes_back_stops_the_rollout() {
    let server = Server::start();
    server.release("1", "old image");
    server.release("2", "new image");
    let devices: Vec<_> = (0..3).map(|n| server.device(&format!("d{n}"))).collect();
    for device in &devices {
        device.runs("1");
    }
    let more = json!({"on_broken_gate": "revert"});
    let rollout = server.rollout(&["2", "100%"], &more);
    let two: Vec<_> = eventually("two offers", || {
        let offered = devices
            .iter()
            .filter(|device| device.link("deploymentBase").is_some());
        let offered: Vec<_> = offered.collect();
        (offered.len() == 2).then_some(offered)
    });
    for device in &two {
        device.take();
        device.runs("2");
    }
    two[0].runs("1");
    until_phase(&server, &rollout, "reverting");
    // The other one is sent back: its offer names the release that it ran.
    let back = two[1].wait_for("deploymentBase");
    let offer = two[1].ask("GET", &back, None).with(200).json();
    assert_eq!(offer["deployment"]["chunks"][0]["version"], "1");
    two[1].runs("1");
    until_phase(&server, &rollout, "reverted");
    let drift = server.get("/api/v1/drift");
    assert_eq!(drift[0]["id"], id(two[0]));
    assert_eq!(drift[0]["why"], "went back");
    assert_eq!(drift.as_array().unwrap().len(), 1);
    assert!(
        devices
            .iter()
            .all(|device| device.link("deploymentBase").is_none())
    );
}

/// C070: every form of an answer to a cancellation ends or goes on; ids as text and as number.
#[test]
fn a_cancellation_has_a_way_out_in_every_form() {
    for (execution, finished, ends) in [
        ("closed", "success", true),
        ("closed", "none", true),
        ("canceled", "none", true),
        ("closed", "failure", false),
        ("rejected", "none", false),
        ("proceeding", "none", false),
    ] {
        let server = Server::start();
        server.release("2", "new image");
        let device = server.device("d1");
        let rollout = server.rollout(&["100%"], &json!({}));
        let action = device.take();
        let command = json!({"command": "stop"});
        let path = format!("/api/v1/rollouts/{rollout}/command");
        server.api("POST", &path, Some(&command)).with(204);
        let cancel = device.wait_for("cancelAction");
        let wanted = device.ask("GET", &cancel, None).with(200).json();
        assert_eq!(wanted["cancelAction"]["stopId"], action.as_str());
        let number: i64 = action.parse().unwrap();
        let body = json!({"id": number, "status":
            {"execution": execution, "result": {"finished": finished}}});
        let answer = device.ask(
            "POST",
            &format!("{cancel}/feedback"),
            Some(&body.to_string()),
        );
        assert_eq!(answer.status, 200, "{execution} {finished}");
        let outcome = server.attempt(&rollout, "d1")["outcome"].clone();
        assert_eq!(outcome == "cancelled", ends, "{execution} {finished}");
        if !ends {
            // It goes on, and ends as it ends.
            device.say(&action, "closed", "success").with(200);
            assert_eq!(server.attempt(&rollout, "d1")["outcome"], "succeeded");
        }
    }
}

/// One command brings a group back; its devices are offered what they ran.
#[test]
fn a_group_goes_back_by_one_command() {
    let server = Server::start();
    server.release("1", "old image");
    server.release("2", "new image");
    let devices: Vec<_> = (0..3).map(|n| server.device(&format!("d{n}"))).collect();
    for device in &devices {
        device.runs("1");
    }
    let rollout = server.rollout(&["100%"], &json!({}));
    for device in &devices {
        device.take();
        device.runs("2");
    }
    until_phase(&server, &rollout, "finished");
    let body = json!({"group": "id in (d0, d2)"});
    let back = server
        .api("POST", "/api/v1/rollback", Some(&body))
        .with(200)
        .json();
    assert_eq!(back["devices"], 2);
    for index in [0, 2] {
        devices[index].take();
        devices[index].runs("1");
    }
    assert!(devices[1].link("deploymentBase").is_none());
    until_phase(&server, &rollout, "reverted");
    server
        .api(
            "POST",
            "/api/v1/rollback",
            Some(&json!({"group": "id == d0"})),
        )
        .with(409);
}

#[test]
fn silence_stops_the_rollout() {
    let server = Server::start();
    server.release("2", "new image");
    let devices: Vec<_> = (0..2).map(|n| server.device(&format!("d{n}"))).collect();
    let rollout = server.rollout(&["1", "100%"], &json!({"deadline": 3}));
    let first = eventually("an offer", || {
        devices
            .iter()
            .find(|device| device.link("deploymentBase").is_some())
    });
    first.take();
    until_phase(&server, &rollout, "paused");
    assert_eq!(server.attempt(&rollout, id(first))["outcome"], "silent");
    let shown = server.get(&format!("/api/v1/rollouts/{rollout}"));
    assert_eq!(
        shown["rollout"]["why"],
        "silent: 1 of 1 devices reached, 5% allowed"
    );
    assert_eq!(shown["tally"]["offered"], 1);
}

#[test]
fn somebody_at_the_device_agrees_first() {
    let server = Server::start();
    server.release("2", "new image");
    let (yes, no) = (server.device("yes"), server.device("no"));
    server.rollout(&["100%"], &json!({"needs_confirmation": true}));
    let path = yes.wait_for("confirmationBase");
    let offer = yes.ask("GET", &path, None).with(200).json();
    assert_eq!(offer["confirmation"]["chunks"][0]["version"], "2");
    let feedback = format!("{}/feedback", path.split('?').next().unwrap());
    let body = r#"{"confirmation":"confirmed","code":200,"details":["ok"]}"#;
    yes.ask("POST", &feedback, Some(body)).with(200);
    yes.take();
    let path = no.wait_for("confirmationBase");
    let feedback = format!("{}/feedback", path.split('?').next().unwrap());
    no.ask("POST", &feedback, Some(r#"{"confirmation":"denied"}"#))
        .with(200);
    // Not offered again.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(no.link("confirmationBase").is_none());
    let base = no.ask("GET", "/confirmationBase", None).with(200).json();
    assert_eq!(base["autoConfirm"]["active"], false);
    no.ask("POST", "/confirmationBase/activateAutoConfirm", Some(""))
        .with(200);
    no.ask("POST", "/confirmationBase/activateAutoConfirm", Some("{}"))
        .with(409);
    no.ask("POST", "/confirmationBase/deactivateAutoConfirm", Some(""))
        .with(200);
}
