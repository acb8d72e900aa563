//! A disk without space: what is refused is said so, what was answered stays, and it goes on.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Server, eventually, request};

/// A small file system of its own, gone with this.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    /// None, where that is not allowed.
    fn mount(at: &'a Path) -> Option<Self> {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "none"])
            .arg(at)
            .output()
            .ok()?;
        done.status.success().then_some(Self(at))
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.0.join("ballast"))
            .unwrap();
        for size in [65_536, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(place.path()) else {
        eprintln!("NOT TESTED: a full disk needs root, for a small file system of its own");
        return;
    };
    let data = place.path().join("data");
    let mut server = Server::at(&data, &[]);
    server.release("2", "image");
    let device = server.device("d1");
    server.rollout(&["100%"], &json!({}));
    let action = device.take();
    let say = |number: usize| {
        let text = format!("word {number} {}", "x".repeat(8000));
        let body = json!({"status": {"execution": "proceeding", "details": [text]}}).to_string();
        let path = format!("/deploymentBase/{action}/feedback");
        device.ask("POST", &path, Some(&body))
    };
    let mut acknowledged = Vec::new();
    for number in 0..20 {
        say(number).with(200);
        acknowledged.push(number);
    }
    for round in 0..2 {
        small.fill();
        // Pages that are free already still take some.
        let first = 1000 * (round + 1);
        let refused = (first..first + 900).find_map(|number| {
            let answer = say(number);
            if answer.status == 200 {
                acknowledged.push(number);
                return None;
            }
            Some(answer)
        });
        let refused = refused.expect("a full disk takes no more").with(503);
        assert!(refused.headers.contains_key("retry-after"));
        // Polls go on, and people are told what it is.
        device.ask("GET", "", None).with(200);
        let labels: BTreeMap<String, String> = (0..60)
            .map(|number| (number.to_string(), "y".repeat(1000)))
            .collect();
        // What fits into pages that are there already still goes through: each is another one.
        let mut number = 0;
        let told = eventually("a refusal", || {
            number += 1;
            let device = json!({"id": format!("more-{round}-{number}"), "labels": labels});
            let answer = server.api("POST", "/api/v1/devices", Some(&device));
            (answer.status == 507).then_some(answer)
        });
        assert_eq!(
            told.json()["error"],
            "the database has no space left on its disk"
        );
        let url = format!("{}/api/v1/files/big.swu", server.base);
        let auth = format!("Bearer {}", server.admin);
        let big = "z".repeat(1 << 20);
        let told = request("PUT", &url, &auth, Some(&big)).with(507);
        assert!(told.body.contains("the file cannot be kept"), "{told:?}");
        assert!(told.headers.contains_key("retry-after"));
        let parts = std::fs::read_dir(data.join("artifacts")).unwrap();
        assert_eq!(parts.count(), 1, "nothing is left of the upload");
        // With room again it goes on by itself.
        small.make_room();
        let number = first + 950;
        eventually("room", || (say(number).status == 200).then_some(()));
        acknowledged.push(number);
    }
    server.kill_and_start_again();
    // A device's page shows its last 200.
    let said = server.get("/api/v1/devices/d1")["messages"].clone();
    let said: Vec<&str> = said
        .as_array()
        .unwrap()
        .iter()
        .map(|said| said["text"].as_str().unwrap())
        .collect();
    let total = acknowledged.len();
    assert!(total < 190, "{total}");
    for number in acknowledged {
        let word = format!("word {number} ");
        assert!(
            said.iter().any(|text| text.starts_with(&word)),
            "{word}: {} shown, {total} acknowledged",
            said.len()
        );
    }
}
