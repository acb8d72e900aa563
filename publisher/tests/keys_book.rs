//! The steps of `docs/book/keys.md`, played as they stand there, before the eyes of a device.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly outside of its #[test] function, too"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use switchback_tuf::{Answer, Exchange, Freshness, Limits, Refresh, TrustedState, Want};
use switchback_types::Timestamp;
use tempfile::TempDir;

const BOOK: &str = include_str!("../../docs/book/keys.md");

fn shell(directory: &Path, script: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_switchback-repo"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    Command::new("sh")
        .args(["-e", "-c", script])
        .current_dir(directory)
        .env("PATH", path)
        .output()
        .unwrap()
}

fn must(directory: &Path, script: &str) -> String {
    let output = shell(directory, script);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{text}");
    String::from_utf8(output.stdout).unwrap()
}

/// A repository with a release in a channel, and a copy of all keys, as a thief may have it.
fn begin() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for (name, byte) in [("one.img", 1), ("two.img", 2), ("three.img", 3)] {
        fs::write(place.path().join(name), vec![byte; 100_000]).unwrap();
    }
    must(
        place.path(),
        "switchback-repo -q init --repo repo --keys keys --product gw
         switchback-repo -q publish --repo repo --keys keys --image one.img --version 1 --compatible board --channel stable
         cp -a keys stolen",
    );
    place
}

/// A device that has been there since the first root.
struct Device {
    state: TrustedState,
}

impl Device {
    fn new(place: &Path) -> Self {
        let root = fs::read(place.join("keys/root.json")).unwrap();
        Self {
            state: TrustedState::from_root(&root, Timestamp::EPOCH).unwrap(),
        }
    }

    /// Reads the repository: everything verifies and is fresh. Gives the release that the channel names.
    fn poll(&mut self, place: &Path) -> String {
        let drive = |exchange: &mut dyn Exchange| {
            while let Want::File(request) = exchange.poll() {
                let file = place.join("repo/metadata").join(request.name.as_str());
                let answer = fs::read(file).map_or(Answer::Missing, Answer::File);
                exchange.feed(answer).unwrap();
            }
        };
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = Timestamp::from_unix(since.as_secs().try_into().unwrap());
        let mut refresh = Refresh::start(self.state.clone(), Limits::default(), Some(now));
        drive(&mut refresh);
        let mut refreshed = refresh.finish().unwrap();
        assert!(matches!(refreshed.freshness(), Freshness::Fresh));
        let path = "channels/gw/stable.json".parse().unwrap();
        let mut lookup = refreshed.lookup(path).unwrap();
        drive(&mut lookup);
        let found = lookup.finish().unwrap().unwrap();
        let file = place.join("repo/targets").join(found.url_path().unwrap());
        let channel = found.verify(fs::read(file).unwrap()).unwrap();
        self.state = refreshed.into_state();
        let channel: serde_json::Value = serde_json::from_slice(channel.bytes()).unwrap();
        channel["release"]["version"].as_str().unwrap().to_owned()
    }
}

/// The sections that have steps, with these.
fn sections() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut found = Vec::new();
    for section in BOOK.split("\n## ").skip(1) {
        let (title, text) = section.split_once('\n').unwrap();
        if let Some((_, steps)) = text.split_once("```sh\n") {
            let steps = steps.split_once("```").unwrap().0;
            found.push((title, steps.lines().collect()));
        }
    }
    found
}

#[test]
fn every_step_of_the_book_leaves_a_repository_that_devices_read() {
    let sections = sections();
    assert_eq!(sections.len(), 8);
    for (title, steps) in sections {
        let place = begin();
        let mut device = Device::new(place.path());
        assert_eq!(device.poll(place.path()), "1", "{title}");
        // Variables last from one step to the next.
        let mut known = String::new();
        for step in steps {
            if step.contains("=$(") {
                known = format!("{step}\n");
            }
            must(place.path(), &format!("{known}{step}"));
            device.poll(place.path());
            // One that was away since the first root.
            Device::new(place.path()).poll(place.path());
        }
        let publish = "publish --repo repo --image three.img --version 3 --compatible board \
                       --security-epoch 1 --channel stable";
        must(
            place.path(),
            &format!("switchback-repo -q {publish} --keys keys"),
        );
        assert_eq!(device.poll(place.path()), "3", "{title}");
        let report = must(place.path(), "switchback-repo inspect --repo repo");
        assert!(!report.contains("problem"), "{title}\n{report}");
        if !title.contains("stolen") && !title.contains("broken into") {
            continue;
        }
        // The thief's keys publish nothing, or not without the others that were not stolen.
        let thief = format!("switchback-repo -q {publish} --keys stolen").replace("3", "4");
        let refused = shell(place.path(), &thief.replace("4.img", "three.img"));
        if title.contains("root") || title.contains("targets") {
            continue;
        }
        assert_eq!(refused.status.code(), Some(5), "{title}: {refused:?}");
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(text.contains("0 would sign"), "{title}: {text}");
        assert_eq!(device.poll(place.path()), "3", "{title}");
    }
}

/// What `keys list` prints of a role: the ids.
fn ids(place: &Path, role: &str) -> Vec<String> {
    let text = must(
        place,
        "switchback-repo keys list --repo repo --keys keys --json",
    );
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let roles = value["roles"].as_array().unwrap();
    let found = roles.iter().find(|found| found["role"] == role).unwrap();
    let keys = found["keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn offline_root_keys_change_the_others_without_being_here() {
    let place = begin();
    let place = place.path();
    let mut device = Device::new(place);
    must(place, "mkdir offline && mv keys/root.pem offline/");
    // The new key is listed by a root that was signed elsewhere.
    let old = ids(place, "timestamp").remove(0);
    must(
        place,
        "switchback-repo keys new --keys keys timestamp new
         switchback-repo keys add --repo repo --keys keys --set-aside stick timestamp keys/timestamp.new.pub",
    );
    let early = shell(
        place,
        "switchback-repo take-in --repo repo --keys keys stick/2.root.json",
    );
    assert_eq!(early.status.code(), Some(5));
    let text = String::from_utf8_lossy(&early.stderr);
    assert!(text.contains("keys of the published root"), "{text}");
    device.poll(place);
    must(
        place,
        "switchback-repo sign --keys offline stick/2.root.json
         switchback-repo take-in --repo repo --keys keys stick/2.root.json",
    );
    device.poll(place);
    assert_eq!(ids(place, "timestamp").len(), 2);
    // And the old one is taken away by another.
    must(
        place,
        &format!(
            "switchback-repo keys revoke --repo repo --keys keys --set-aside stick timestamp {}
             switchback-repo sign --keys offline stick/3.root.json
             switchback-repo take-in --repo repo --keys keys stick/3.root.json",
            &old[..8]
        ),
    );
    device.poll(place);
    assert!(!ids(place, "timestamp").contains(&old));
    // The same file is no next version any more.
    let again = shell(
        place,
        "switchback-repo take-in --repo repo --keys keys stick/3.root.json",
    );
    let text = String::from_utf8_lossy(&again.stderr);
    assert!(text.contains("version 4 is the next"), "{text}");
}

#[test]
fn keys_that_do_not_fit_are_refused_and_nothing_changes() {
    let place = begin();
    let place = place.path();
    let mut device = Device::new(place);
    let before = must(place, "find repo -type f | sort | xargs sha256sum");
    let id = ids(place, "releases").remove(0);
    for (command, part) in [
        (
            "keys add --repo repo --keys keys channels keys/releases.pem".to_owned(),
            "is a key of releases already",
        ),
        (
            format!("keys revoke --repo repo --keys keys releases {id}"),
            "add another key first",
        ),
        (
            "keys revoke --repo repo --keys keys releases 01234567".into(),
            "does not name one of its keys",
        ),
        (
            "keys revoke --repo repo --keys keys releases 0".into(),
            "does not name one of its keys",
        ),
        (
            "keys threshold --repo repo --keys keys root 2".into(),
            "it has 1 keys",
        ),
        (
            "keys threshold --repo repo --keys keys root 0".into(),
            "it has 1 keys",
        ),
        (
            "keys add --repo repo --keys keys root one.img".into(),
            "holds no key in PEM form",
        ),
        (
            "sign --keys keys repo/metadata/timestamp.json".into(),
            "only root and targets are signed elsewhere",
        ),
        ("sign --keys keys one.img".into(), "is not signed metadata"),
        (
            "refresh --repo repo --keys keys --role timestamp --set-aside stick".into(),
            "only root and targets",
        ),
    ] {
        let refused = shell(place, &format!("switchback-repo {command}"));
        let text = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(5), "{command}: {text}");
        assert!(text.contains(part), "{command}: {text}");
    }
    assert_eq!(
        before,
        must(place, "find repo -type f | sort | xargs sha256sum")
    );
    assert_eq!(device.poll(place), "1");
}

#[test]
fn keys_of_other_kinds_sign_too() {
    let place = begin();
    let place = place.path();
    let mut device = Device::new(place);
    must(
        place,
        "umask 077
         openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out keys/releases.ec.pem
         openssl pkey -in keys/releases.ec.pem -pubout -out ec.pub
         openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out keys/channels.rsa.pem 2>/dev/null
         openssl pkey -in keys/channels.rsa.pem -pubout -out rsa.pub
         switchback-repo keys add --repo repo --keys keys releases ec.pub
         switchback-repo keys add --repo repo --keys keys channels rsa.pub
         switchback-repo keys threshold --repo repo --keys keys releases 2
         switchback-repo keys threshold --repo repo --keys keys channels 2
         switchback-repo -q publish --repo repo --keys keys --image two.img --version 2 --compatible board --channel stable",
    );
    // Both must sign, so that each kind is looked at by the device.
    assert_eq!(device.poll(place), "2");
    let text = must(place, "switchback-repo keys list --repo repo --keys keys");
    assert!(text.contains("ecdsa") && text.contains("rsa"), "{text}");
    assert!(
        !text.contains("not here") && !text.contains("not listed"),
        "{text}"
    );
}

/// The token of the book, and a public key that was read from it.
fn token(place: &Path) {
    fs::create_dir_all(place.join("token")).unwrap();
    fs::write(
        place.join("softhsm2.conf"),
        format!("directories.tokendir = {}\n", place.join("token").display()),
    )
    .unwrap();
    must(
        place,
        "export SOFTHSM2_CONF=$PWD/softhsm2.conf
         module=/usr/lib/softhsm/libsofthsm2.so
         softhsm2-util --init-token --free --label releases --so-pin 4321 --pin 1234
         pkcs11-tool --module $module --login --pin 1234 --keypairgen --key-type EC:prime256v1 --id 01
         pkcs11-tool --module $module --read-object --type pubkey --id 01 --output-file token.der
         openssl pkey -pubin -inform DER -in token.der -out keys/releases.hsm.pub",
    );
    let (_, file) = BOOK.split_once("```toml\n").unwrap();
    let file = file.split_once("```").unwrap().0;
    fs::write(place.join("keys/releases.hsm.toml"), file).unwrap();
}

#[test]
fn a_key_in_a_token_signs_releases() {
    let place = begin();
    let place = place.path();
    let mut device = Device::new(place);
    token(place);
    let publish =
        "switchback-repo -q publish --repo repo --keys keys --compatible board --channel stable";
    must(
        place,
        &format!(
            "export SOFTHSM2_CONF=$PWD/softhsm2.conf
             switchback-repo keys add --repo repo --keys keys releases keys/releases.hsm.pub
             switchback-repo keys revoke --repo repo --keys keys releases {}
             rm keys/releases.pem
             {publish} --image two.img --version 2",
            ids(place, "releases").remove(0)
        ),
    );
    assert_eq!(device.poll(place), "2");
    // Without the token nothing is signed, and nothing changes.
    let refused = shell(
        place,
        &format!("SOFTHSM2_CONF=/dev/null {publish} --image three.img --version 3"),
    );
    let text = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(5), "{text}");
    assert!(text.contains("`sh` did not sign"), "{text}");
    assert_eq!(device.poll(place), "2");
}

#[test]
fn a_program_that_signs_otherwise_is_found_out() {
    let place = begin();
    let place = place.path();
    let file = place.join("keys/releases.other.toml");
    must(
        place,
        "openssl genpkey -algorithm ED25519 -out other.pem
         openssl pkey -in other.pem -pubout -out keys/releases.other.pub
         switchback-repo keys add --repo repo --keys keys releases keys/releases.other.pub",
    );
    let public = "public = \"releases.other.pub\"";
    for (text, part) in [
        (format!("command = [\"true\"]\n{public}"), "it gave nothing"),
        (format!("command = [\"false\"]\n{public}"), "exit status: 1"),
        (
            format!("command = [\"head\", \"-c\", \"9999\", \"/dev/zero\"]\n{public}"),
            "far more than a signature",
        ),
        (
            format!("command = [\"head\", \"-c\", \"64\", \"/dev/zero\"]\n{public}"),
            "no signature by the key in keys/releases.other.pub",
        ),
        (
            format!("command = [\"/no/such\"]\n{public}"),
            "No such file",
        ),
        ("command = []\npublic = \"x\"".into(), "`command` is empty"),
        ("command = [\"true\"]".into(), "missing field `public`"),
        ("what = 1".into(), "unknown field `what`"),
    ] {
        fs::write(&file, &text).unwrap();
        let refused = shell(
            place,
            "switchback-repo -q publish --repo repo --keys keys --image two.img --version 2 \
             --compatible board",
        );
        let said = String::from_utf8_lossy(&refused.stderr);
        let expected = if part == "No such file" { 1 } else { 5 };
        assert!(
            [5, expected].contains(&refused.status.code().unwrap()),
            "{text}: {said}"
        );
        assert!(said.contains(part), "{text}: {said}");
    }
}
