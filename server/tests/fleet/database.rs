//! What was acknowledged is there: killed, and killed again; SQLite and PostgreSQL.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use switchback_testkit::postgres::Postgres;

use crate::harness::{Device, Server, eventually};

/// Devices report under load while the server is killed; nothing that was answered is lost.
fn killed_under_load(server: &mut Server) {
    server.release("2", "image");
    let names: Vec<String> = (0..12).map(|n| format!("d{n}")).collect();
    let mut devices: Vec<Device> = names.iter().map(|name| server.device(name)).collect();
    let rollout = server.rollout(&["100%"], &json!({}));
    let mut acknowledged: Vec<(String, String, usize)> = Vec::new();
    for round in 0..3 {
        let stop = AtomicBool::new(false);
        let heard = Mutex::new(Vec::new());
        let four = &devices[round * 4..round * 4 + 4];
        let taken: Vec<String> = four.iter().map(Device::take).collect();
        std::thread::scope(|scope| {
            for (device, action) in four.iter().zip(&taken) {
                let (stop, heard) = (&stop, &heard);
                scope.spawn(move || {
                    for count in 0..10_000 {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let said = std::panic::catch_unwind(|| {
                            let body = json!({"status": {"execution": "proceeding",
                                "details": [format!("round {round} message {count}")]}});
                            let path = format!("/deploymentBase/{action}/feedback");
                            device.ask("POST", &path, Some(&body.to_string())).status
                        });
                        match said {
                            Ok(200) => {
                                let id = device.base.rsplit('/').next().unwrap().to_owned();
                                let text = format!("round {round} message {count}");
                                heard.lock().unwrap().push((id, text, count));
                            }
                            // The server is gone.
                            _ => break,
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(400));
            server.kill_and_start_again();
            stop.store(true, Ordering::Relaxed);
        });
        acknowledged.extend(heard.into_inner().unwrap());
        for (device, name) in devices.iter_mut().zip(&names) {
            device.base = format!("{}/DEFAULT/controller/v1/{name}", server.base);
        }
    }
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    for name in &names {
        let shown = server.get(&format!("/api/v1/devices/{name}"));
        let said: Vec<&str> = shown["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|said| said["text"].as_str().unwrap())
            .collect();
        // A page shows the last 200.
        let mine: Vec<_> = acknowledged.iter().filter(|(id, ..)| id == name).collect();
        for (_, text, _) in mine.iter().rev().take(150) {
            assert!(
                said.contains(&text.as_str()),
                "{name}: {text} of {}",
                mine.len()
            );
        }
        assert_ne!(
            server.attempt(&rollout, name)["taken_at"],
            json!(null),
            "{name}"
        );
    }
}

#[test]
fn sqlite_killed_under_load() {
    killed_under_load(&mut Server::start());
}

fn postgres() -> Option<Postgres> {
    let there = Postgres::start();
    assert!(
        there.is_some() || std::env::var_os("SWITCHBACK_WITHOUT_POSTGRES").is_some(),
        "postgresql is not installed (cargo xtask tools); SWITCHBACK_WITHOUT_POSTGRES=1 goes without"
    );
    there
}

#[test]
fn postgresql_killed_under_load() {
    let Some(postgres) = postgres() else { return };
    killed_under_load(&mut Server::with(&["--database", &postgres.url()]));
}

/// Two over one database.
fn replicas(postgres: &Postgres) -> (Server, Server) {
    let first = Server::with(&["--database", &postgres.url()]);
    // The second finds the first one's token in the database and prints none.
    let second = tempfile::tempdir().unwrap();
    std::fs::write(second.path().join("seen"), "").unwrap();
    let second = Server::replica(&first, second, &["--database", &postgres.url()]);
    (first, second)
}

/// Two replicas over one database: what one takes, the other knows; when the one that plans is
/// killed, the other plans. The database goes away and comes back meanwhile.
#[test]
fn replicas_take_over_and_outlive_their_database() {
    let Some(postgres) = postgres() else { return };
    let (first, second) = replicas(&postgres);
    first.release("2", "image");
    let mut device = first.device("d1");
    let there = format!("{}/DEFAULT/controller/v1/d1", second.base);
    let here = std::mem::replace(&mut device.base, there);
    eventually("the second knows the device", || {
        (device.ask("GET", "", None).status == 200).then_some(())
    });
    // Polls are answered from memory; what must be kept is refused, with a time to come again.
    postgres.kill();
    device.ask("GET", "", None).with(200);
    let refused = device.ask("PUT", "/configData", Some(r#"{"data":{"version":"1"}}"#));
    assert_eq!(
        (refused.status, refused.headers.contains_key("retry-after")),
        (503, true)
    );
    postgres.up();
    eventually("the database is back", || {
        let body = Some(r#"{"data":{"version":"1"}}"#);
        (device.ask("PUT", "/configData", body).status == 200).then_some(())
    });
    let rollout = first.rollout(&["100%"], &json!({}));
    // Whoever planned is gone; the offer is made all the same.
    drop(first);
    assert!(here != device.base);
    let action = device.take();
    device.say(&action, "closed", "failure").with(200);
    eventually("paused", || {
        (second.phase(&rollout) == "paused").then_some(())
    });
}

/// A balancer leads each question of a device to another replica: what one offered the other knows, also before it has
/// looked what is new, and what it is told counts.
#[test]
fn a_device_goes_from_one_replica_to_the_other() {
    let Some(postgres) = postgres() else { return };
    let (first, second) = replicas(&postgres);
    // One whose answer was lost asks again, elsewhere.
    let fleet = first.person("line-3", "enroll");
    eventually("the second knows the fleet's token", || {
        (second.api_as(&fleet, "GET", "/api/v1/fleet", None).status == 403).then_some(())
    });
    let new = json!({"id": "new", "token": "0123456789abcdef0123456789abcdef"});
    for server in [&first, &second] {
        let given = server.api_as(&fleet, "POST", "/api/v1/enroll", Some(&new));
        assert_eq!(given.with(200).json()["token"], new["token"]);
    }
    first.release("2", "image");
    let names: Vec<String> = (0..5).map(|n| format!("d{n}")).collect();
    let devices: Vec<(Device, Device)> = names
        .iter()
        .map(|name| {
            let here = first.device(name);
            let base = format!("{}/DEFAULT/controller/v1/{name}", second.base);
            let there = Device {
                base,
                ..here.clone()
            };
            (here, there)
        })
        .collect();
    for (here, there) in &devices {
        there.ask("GET", "", None).with(200);
        here.runs("1");
    }
    // One after another, so that each is offered to when the second has not looked for a while.
    for (name, (here, there)) in names.iter().zip(&devices) {
        let rollout = first.rollout(&["100%"], &json!({"group": format!("id == {name}")}));
        let path = here.wait_for("deploymentBase");
        let offer = there.ask("GET", &path, None).with(200).json();
        let action = offer["id"].as_str().unwrap();
        there.say(action, "proceeding", "none").with(200);
        there.runs("2");
        eventually("it counts", || {
            (first.attempt(&rollout, name)["outcome"] == "succeeded").then_some(())
        });
    }
    // Who does not plan does not ask for it at every word of a device.
    let turns = [&first, &second].map(|server| {
        let metrics = server.api("GET", "/metrics", None).with(200).body;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("switchback_planner_turns_total "));
        line.unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(
        turns.iter().filter(|turns| **turns > 0).count(),
        1,
        "{turns:?}"
    );
}
