//! What the device believes of repositories that `switchback-repo` really made.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod publisher;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use switchback_types::Timestamp;
use switchbackd::fetch::{Bundle, FetchError, Files};
use switchbackd::trust::{Asked, Trust};

use publisher::{NOW, Publisher, device};

const DAY: i64 = 24 * 60 * 60;

/// A repository's directory in the place of a server.
struct Directory {
    root: PathBuf,
    requests: Mutex<Vec<String>>,
}

impl Directory {
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

impl Files for Directory {
    fn file(&self, path: &str, _limit: u64) -> Result<Vec<u8>, FetchError> {
        self.requests.lock().unwrap().push(path.into());
        std::fs::read(self.root.join(path)).map_err(|_| FetchError::Missing {
            url: path.into(),
            status: 404,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("directory:{path}")
    }
}

fn source(publisher: &Publisher) -> Directory {
    Directory {
        root: publisher.path("repo"),
        requests: Mutex::default(),
    }
}

fn ask(trust: &mut Trust, source: &Directory, at: i64) -> Asked {
    trust.ask(
        source,
        &device(),
        None,
        0,
        Timestamp::from_unix(at),
        &mut || {},
    )
}

fn ask_from(trust: &mut Trust, source: &Directory, running: u64) -> Asked {
    let now = Timestamp::from_unix(NOW + 10);
    trust.ask(source, &device(), None, running, now, &mut || {})
}

#[test]
fn releases_that_come_before_another_are_offered_first() {
    let publisher = Publisher::new();
    publisher.publish("2");
    publisher.publish_with("3", &["--requires", "2"]);
    publisher.publish("4");
    publisher.publish_with("5", &["--requires", "3"]);
    let (source, state) = (source(&publisher), tempfile::tempdir().unwrap());
    let mut trust = publisher.trust(state.path());
    for (running, first) in [
        (0, "2"),
        (1, "2"),
        (2, "3"),
        (3, "5"),
        (4, "5"),
        (5, "5"),
        (9, "5"),
    ] {
        let asked = ask_from(&mut trust, &source, running);
        assert_eq!(version(&asked), first, "{running}");
        let Asked::Offer { toward, .. } = &asked else {
            panic!("{asked:?}");
        };
        let expected = (first != "5").then_some("5");
        assert_eq!(
            toward.as_ref().map(switchback_types::Version::as_str),
            expected
        );
    }
    // All that was needed on the way is known, also what lies between the first step and the last.
    ask_from(&mut trust, &source, 1);
    source.requests();
    assert_eq!(version(&ask_from(&mut trust, &source, 1)), "2");
    assert_eq!(
        source.requests(),
        ["metadata/2.root.json", "metadata/timestamp.json"]
    );
    // What stands on the way is not collected with the old ones.
    publisher.run(&["gc", "--keep", "1"]);
    assert_eq!(version(&ask_from(&mut trust, &source, 1)), "2");
}

fn version(asked: &Asked) -> &str {
    match asked {
        Asked::Offer { release, .. } => release.version.as_str(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn idle_poll_asks_for_two_small_files() {
    let publisher = Publisher::new();
    let state = publisher.path("state");
    let mut trust = publisher.trust(&state);
    let source = source(&publisher);
    assert_eq!(version(&ask(&mut trust, &source, NOW)), "1");
    source.requests();
    assert_eq!(version(&ask(&mut trust, &source, NOW)), "1");
    assert_eq!(
        source.requests(),
        ["metadata/2.root.json", "metadata/timestamp.json"]
    );
    publisher.publish("2");
    assert_eq!(version(&ask(&mut trust, &source, NOW)), "2");
}

#[test]
fn repository_put_back_to_an_older_state_is_refused_also_after_a_restart() {
    let publisher = Publisher::new();
    let state = publisher.path("state");
    let source = source(&publisher);
    let timestamp = publisher.path("repo/metadata/timestamp.json");
    let old = std::fs::read(&timestamp).unwrap();
    publisher.publish("2");
    assert_eq!(
        version(&ask(&mut publisher.trust(&state), &source, NOW)),
        "2"
    );
    std::fs::write(&timestamp, old).unwrap();
    match ask(&mut publisher.trust(&state), &source, NOW) {
        Asked::Untrusted(detail) => assert!(detail.contains("timestamp.json"), "{detail}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn memory_that_is_damaged_lost_or_put_back_lowers_nothing() {
    type Harm = fn(&Path, &Path);
    let each = |state: &Path, change: &dyn Fn(&Path)| {
        let copies: Vec<_> = ["trust.0", "trust.1"]
            .iter()
            .map(|copy| state.join(copy))
            .filter(|copy| copy.exists())
            .collect();
        assert!(!copies.is_empty());
        copies.iter().for_each(|copy| change(copy));
    };
    let damage: Harm = |copy, _| std::fs::write(copy, "nothing").unwrap();
    let lose: Harm = |copy, _| std::fs::remove_file(copy).unwrap();
    let put_back: Harm = |copy, old| {
        let name = copy.file_name().unwrap();
        let old = std::fs::read(old.join(name)).unwrap_or_else(|_| {
            // This copy was not there then.
            std::fs::read(old.join("trust.0")).unwrap()
        });
        std::fs::write(copy, old).unwrap();
    };
    for harm in [damage, lose, put_back] {
        let publisher = Publisher::new();
        let source = source(&publisher);
        let (state, old) = (publisher.path("state"), publisher.path("old"));
        let timestamp = publisher.path("repo/metadata/timestamp.json");
        ask(&mut publisher.trust(&state), &source, NOW);
        std::fs::create_dir(&old).unwrap();
        for entry in std::fs::read_dir(&state).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, old.join(path.file_name().unwrap())).unwrap();
            }
        }
        let stale = std::fs::read(&timestamp).unwrap();
        publisher.publish("2");
        let offered = ask(&mut publisher.trust(&state), &source, NOW);
        assert_eq!(version(&offered), "2");
        each(&state, &|copy| harm(copy, &old));
        let (mut trust, warnings) = publisher.open_trust(&state);
        assert!(
            warnings
                .iter()
                .any(|warning| warning.contains("begins again from the built-in root")),
            "{warnings:?}"
        );
        // The repository as it was before is refused, also after a restart; as it is, taken.
        let fresh = std::fs::read(&timestamp).unwrap();
        std::fs::write(&timestamp, stale).unwrap();
        let asked = ask(&mut trust, &source, NOW);
        assert!(
            matches!(&asked, Asked::Untrusted(detail) if detail.contains("timestamp.json")),
            "{asked:?}"
        );
        drop(trust);
        let (mut trust, _) = publisher.open_trust(&state);
        assert!(matches!(ask(&mut trust, &source, NOW), Asked::Untrusted(_)));
        std::fs::write(&timestamp, fresh).unwrap();
        assert_eq!(version(&ask(&mut trust, &source, NOW)), "2");
        drop(trust);
        publisher.trust(&state);
    }
}

/// What the table "A bundle" of `docs/book/trust.md` says.
#[test]
fn freshness_of_a_bundle() {
    let publisher = Publisher::new();
    let bundle = |version: &str, name: &str| {
        let path = publisher.path(name);
        let words = ["bundle", "--version", version, "--output"];
        publisher.run_keyless(&[&words[..], &[path.to_str().unwrap()]].concat());
        path
    };
    let first = bundle("1", "first");
    publisher.publish("2");
    let second = bundle("2", "second");
    publisher.run(&["keys", "rotate", "timestamp", "2027"]);
    let rotated = bundle("2", "rotated");
    // What was seen before, when it is asked, and what is said.
    for (name, seen, file, at, says) in [
        ("fresh, on a new device", None, &first, NOW, "bundled 1"),
        ("the last day", None, &first, NOW + 13 * DAY, "bundled 1"),
        (
            "signatures have ended",
            None,
            &first,
            NOW + 15 * DAY,
            "stale",
        ),
        ("no clock, nothing seen", None, &first, 0, "bundled 1"),
        ("the same again", Some(&second), &second, NOW, "bundled 2"),
        (
            "newer than what was seen",
            Some(&first),
            &second,
            NOW,
            "bundled 2",
        ),
        (
            "older than what was seen",
            Some(&second),
            &first,
            NOW,
            "untrusted",
        ),
        ("older, and no clock", Some(&second), &first, 0, "untrusted"),
        (
            "with a newer root",
            Some(&second),
            &rotated,
            NOW,
            "bundled 2",
        ),
        (
            "from before a newer root",
            Some(&rotated),
            &second,
            NOW,
            "untrusted",
        ),
    ] {
        let state = tempfile::tempdir().unwrap();
        let mut trust = publisher.trust(state.path());
        let mut ask = |file: &Path, at: i64| {
            let reader = Box::new(std::fs::File::open(file).unwrap());
            let bundle = Bundle::open("bundle", reader).unwrap();
            let (product, version) = bundle.release().unwrap();
            trust.bundled(&bundle, &product, &version, Timestamp::from_unix(at))
        };
        if let Some(seen) = seen {
            assert!(matches!(ask(seen, NOW), Asked::Bundled(_)));
        }
        let said = match ask(file, at) {
            Asked::Bundled(release) => format!("bundled {}", release.version),
            Asked::Stale(_) => "stale".into(),
            Asked::Untrusted(_) => "untrusted".into(),
            other => format!("{other:?}"),
        };
        assert_eq!(said, says, "{name}");
    }
}

#[test]
fn expired_metadata_is_stale_until_it_is_signed_afresh() {
    let publisher = Publisher::new();
    let state = publisher.path("state");
    let source = source(&publisher);
    let mut trust = publisher.trust(&state);
    let later = NOW + 60 * DAY;
    assert!(matches!(ask(&mut trust, &source, later), Asked::Stale(_)));
    *publisher.now.borrow_mut() = later;
    publisher.run(&["refresh"]);
    assert_eq!(version(&ask(&mut trust, &source, later)), "1");
}

#[test]
fn clock_that_says_1970_does_not_stop_updates() {
    let publisher = Publisher::new();
    let state = publisher.path("state");
    let source = source(&publisher);
    assert_eq!(version(&ask(&mut publisher.trust(&state), &source, 0)), "1");
}

#[test]
fn documents_that_were_swapped_are_named() {
    let publisher = Publisher::new();
    let state = publisher.path("state");
    let source = source(&publisher);
    let releases = publisher.path("repo/targets/releases/kiosk/1");
    let document = std::fs::read_dir(&releases)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&document).unwrap();
    if let Some(byte) = bytes.last_mut() {
        *byte = b' ';
    }
    std::fs::write(&document, bytes).unwrap();
    match ask(&mut publisher.trust(&state), &source, NOW) {
        Asked::Untrusted(detail) => assert!(detail.contains("release.json"), "{detail}"),
        other => panic!("{other:?}"),
    }
}
