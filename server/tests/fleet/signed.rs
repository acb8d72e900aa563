//! Releases of a repository that `switchback-repo` really makes, and of mirrors that lie.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use serde_json::json;
use switchback_repo::cli::Cli;
use switchback_types::{Timestamp, TraceId};

use crate::harness::Server;

/// A day, in seconds.
const DAY: i64 = 86_400;

fn now() -> i64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(passed.as_secs()).unwrap()
}

/// A publisher with its keys, and the repository that the server is given.
struct Publisher {
    directory: tempfile::TempDir,
    now: i64,
}

impl Publisher {
    fn new(now: i64) -> Self {
        let this = Self {
            directory: tempfile::tempdir().unwrap(),
            now,
        };
        this.run(&["init", "--product", "kiosk"]);
        this.publish("1");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, words: &[&str]) -> String {
        let (repo, keys) = (self.path("repo"), self.path("keys"));
        let (repo, keys) = (repo.to_str().unwrap(), keys.to_str().unwrap());
        let place = ["--repo", repo, "--keys", keys];
        let words = ["switchback-repo", "--quiet"].iter().chain(words);
        let cli = Cli::parse_from(words.chain(&place));
        let now = Timestamp::from_unix(self.now);
        let mut said = Vec::new();
        switchback_repo::run(&cli, now, &mut said).unwrap();
        String::from_utf8(said).unwrap()
    }

    fn publish(&self, version: &str) -> String {
        let image = self.path("image");
        fs::write(&image, format!("image of version {version}")).unwrap();
        let image = image.to_str().unwrap();
        let words = ["publish", "--image", image, "--version", version];
        let more = ["--compatible", "board", "--format", "raw"];
        self.run(&[&words[..], &more, &["--channel", "stable"]].concat())
    }

    fn server(&self) -> Server {
        self.server_with_root(&self.path("repo/metadata/1.root.json"))
    }

    fn server_with_root(&self, root: &Path) -> Server {
        let repo = self.path("repo");
        Server::with(&[
            "--repository",
            repo.to_str().unwrap(),
            "--repository-root",
            root.to_str().unwrap(),
            "--content-url",
            "https://cdn.example/fleet/",
        ])
    }

    /// The repository as it is, elsewhere.
    fn copy(&self, name: &str) {
        copy(&self.path("repo"), &self.path(name));
    }

    /// Puts such a copy in the place of the repository.
    fn bring_back(&self, name: &str) {
        fs::remove_dir_all(self.path("repo")).unwrap();
        copy(&self.path(name), &self.path("repo"));
    }

    /// The release document of a version.
    fn document(&self, version: &str) -> PathBuf {
        let folder = self.path(&format!("repo/targets/releases/kiosk/{version}"));
        let mut files = fs::read_dir(folder).unwrap();
        files.next().unwrap().unwrap().path()
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(done.unwrap().success());
}

fn name(server: &Server, version: &str) -> (u16, serde_json::Value) {
    let body = json!({"product": "kiosk", "version": version});
    let answer = server.api("POST", "/api/v1/releases/signed", Some(&body));
    (answer.status, answer.json())
}

fn refused(server: &Server, version: &str, status: u16) -> String {
    let (found, body) = name(server, version);
    assert_eq!(found, status, "{body}");
    body["error"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_signed_can_be_rolled_out() {
    let publisher = Publisher::new(now());
    let server = publisher.server();
    let (status, release) = name(&server, "1");
    assert_eq!(status, 200, "{release}");
    let image = sha(b"image of version 1");
    assert_eq!(release["identity"], json!(image));
    assert_eq!(
        (&release["signed"], &release["sequence"]),
        (&json!(true), &json!(1))
    );
    let file = &release["files"][0];
    let document = fs::read(publisher.document("1")).unwrap();
    assert_eq!(file["sha256"], json!(sha(&document)));
    let url = file["url"].as_str().unwrap();
    assert!(
        url.starts_with("https://cdn.example/fleet/targets/releases/kiosk/1/")
            && url.ends_with(".release.json"),
        "{url}"
    );
    // A device is offered the document where it lies, and nothing of the server's own.
    let device = server.device("d1");
    let body = json!({"name": "first", "release": "kiosk/1"});
    server
        .api("POST", "/api/v1/rollouts", Some(&body))
        .with(200);
    let action = device.take();
    let path = format!("/deploymentBase/{action}");
    let offer = device.ask("GET", &path, None).with(200).body;
    assert!(offer.contains(url), "{offer}");
    // The publisher's name for all that happens to the release leads to it in the log.
    let trace = TraceId::of(&image.parse().unwrap(), &sha(&document).parse().unwrap());
    let field = format!("\"trace_id\":\"{}\"", trace.id());
    let told = publisher.publish("1");
    assert!(
        told.contains(&format!("trace      {}", trace.id())),
        "{told}"
    );
    let log = server.log();
    for line in ["release: ", "rollout: ", "taken: "] {
        let said = |text: &str| text.contains(line) && text.contains(&field);
        assert!(log.lines().any(said), "{line}{field}: {log}");
    }
    // The same again is the same; what nobody signed has no name.
    assert_eq!(name(&server, "1").1, release);
    let why = refused(&server, "2", 400);
    assert_eq!(why, "nobody signed releases/kiosk/2/release.json");
    publisher.publish("2");
    assert_eq!(name(&server, "2").0, 200);
    for bad in ["../1", "", "a b"] {
        refused(&server, bad, 400);
    }
}

fn sha(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

#[test]
fn what_has_expired_is_no_news() {
    let publisher = Publisher::new(now() - 800 * DAY);
    let why = refused(&publisher.server(), "1", 409);
    assert!(
        why.contains("expired at") && why.contains("publish newer metadata"),
        "{why}"
    );
}

#[test]
fn another_root_trusts_nothing_of_it() {
    let (publisher, other) = (Publisher::new(now()), Publisher::new(now()));
    let server = publisher.server_with_root(&other.path("repo/metadata/1.root.json"));
    let why = refused(&server, "1", 409);
    assert!(
        why.starts_with("the repository is not trusted: ") && why.contains("0 valid signatures"),
        "{why}"
    );
    let none = publisher.server_with_root(&publisher.path("none.json"));
    let why = refused(&none, "1", 409);
    assert!(why.contains("none.json cannot be read"), "{why}");
    let garbage = publisher.path("garbage.json");
    fs::write(&garbage, "{}").unwrap();
    let why = refused(&publisher.server_with_root(&garbage), "1", 409);
    assert!(why.starts_with("the repository is not trusted: "), "{why}");
}

#[test]
fn a_mirror_that_lies_is_found_out() {
    let publisher = Publisher::new(now());
    publisher.copy("old");
    publisher.publish("2");
    publisher.copy("good");
    let mut server = publisher.server();
    let why = |server: &Server, version: &str, parts: &[&str]| {
        let why = refused(server, version, 409);
        for part in parts {
            assert!(why.contains(part), "{part}: {why}");
        }
        publisher.bring_back("good");
    };
    // One document under the other's name.
    let (one, two) = (publisher.document("1"), publisher.document("2"));
    fs::copy(&one, &two).unwrap();
    why(
        &server,
        "2",
        &["releases/kiosk/2/release.json", "is signed"],
    );
    // The end of it is gone, or all of it.
    let whole = fs::read(&two).unwrap();
    fs::write(&two, &whole[..whole.len() - 1]).unwrap();
    why(
        &server,
        "2",
        &["releases/kiosk/2/release.json: has", "are signed"],
    );
    fs::remove_file(&two).unwrap();
    why(
        &server,
        "2",
        &["releases/kiosk/2/release.json is signed, and not"],
    );
    // Something more behind it, so much that it is not read at all.
    fs::write(&two, vec![b' '; 2 << 20]).unwrap();
    why(&server, "2", &["has more than 1048576 bytes"]);
    // Metadata: cut, another file in its place, changed after it was signed.
    let timestamp = publisher.path("repo/metadata/timestamp.json");
    let text = fs::read_to_string(&timestamp).unwrap();
    fs::write(&timestamp, &text[..text.len() / 2]).unwrap();
    why(
        &server,
        "2",
        &["timestamp.json: not a signed JSON document"],
    );
    fs::copy(publisher.path("repo/metadata/1.root.json"), &timestamp).unwrap();
    why(&server, "2", &["timestamp.json: 0 valid signatures"]);
    fs::write(
        &timestamp,
        text.replace("\"expires\":\"20", "\"expires\":\"21"),
    )
    .unwrap();
    why(&server, "2", &["timestamp.json: 0 valid signatures"]);
    // After all that, the truth; and then what was true before, also for a server that was
    // started anew.
    assert_eq!(name(&server, "2").0, 200);
    for again in [false, true] {
        if again {
            server.kill_and_start_again();
        }
        publisher.bring_back("old");
        why(
            &server,
            "1",
            &[
                "timestamp.json: timestamp version",
                "is older than the trusted",
            ],
        );
    }
    assert_eq!(name(&server, "1").0, 200);
    // A damaged memory is not taken for an empty one.
    let mut files = fs::read_dir(server.data.path()).unwrap();
    let seen = files
        .find_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_str()?.to_owned();
            name.starts_with("seen-").then_some(path)
        })
        .unwrap();
    fs::write(&seen, "damaged").unwrap();
    why(
        &server,
        "1",
        &["what was seen of the repository cannot be read"],
    );
}
