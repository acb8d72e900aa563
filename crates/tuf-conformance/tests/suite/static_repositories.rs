//! Repositories that other programs wrote. The suite has the files of two real ones, tuf-on-ci's and
//! Sigstore's, which do not belong here: these are the nearest that can be had without them. What is
//! peculiar about the two is in them, and signed by python-tuf, by our publisher and by the tests.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::repository::Repository;
use crate::signer::Key;
use crate::stage::Stage;

rendered! {
    test_static_repository in REPOSITORIES,
}

type Play = fn(&mut Stage);

const REPOSITORIES: &[(&str, Play)] = &[
    ("tuf-on-ci-0.11", delegated_and_in_a_directory),
    ("sigstore-root-signing", from_a_late_root_of_five),
];

fn test_static_repository(stage: &mut Stage, &(_, play): &(&str, Play)) {
    play(stage);
}

/// An artifact with a directory, which a delegated role describes (of python-tuf's with an ECDSA key);
/// fields that no specification knows; the clock is that of their time.
fn delegated_and_in_a_directory(stage: &mut Stage) {
    if !stage.gives_the_clock() {
        return;
    }
    const PATH: &str = "releases/gw/1.0/release.json";
    let ours = fs::read(fixture("switchback-repo").join("release.json")).unwrap();
    let python = b"foreign artifact\n".to_vec();
    for (name, now, role, version, content) in [
        ("python-tuf", "2026-06-01T00:00:00Z", "release", 1, python),
        (
            "switchback-repo",
            "2026-11-26T00:00:00Z",
            "releases",
            2,
            ours,
        ),
    ] {
        let mut stage = stage.anew_unpublished();
        stage.now = now.parse().unwrap();
        serve(&mut stage.repository, &fixture(name));
        stage.contents.insert(PATH.into(), content.clone());
        stage.init();
        stage.refreshes();
        stage.downloads(PATH);
        stage.holds_artifacts(&[&content]);
        assert_eq!(stage.version(role), Some(version), "{name}");
    }
}

fn fixture(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tuf/tests");
    tests.join(name)
}

fn serve(repository: &mut Repository, directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        // Artifacts are served under the digests that are listed there.
        if let Ok(mut document) = serde_json::from_slice::<Value>(&bytes) {
            repository
                .signed
                .insert(name.into(), document["signed"].take());
        }
        repository.files.insert(name.into(), bytes);
    }
}

/// The twelfth root is built in; three of five keys sign it and targets, all ECDSA and of the old key
/// type; `spec_version` has two numbers only; targets describe the artifact themselves, beside a
/// delegation that has nothing to do with it.
fn from_a_late_root_of_five(stage: &mut Stage) {
    let mut stage = stage.anew_unpublished();
    let repository = &mut stage.repository;
    repository.delegate("targets", "registry", &["registry/*"], true);
    for role in ["root", "targets"] {
        let key = |number: u8| Key::ecdsa(&format!("{role} {number}"), "ecdsa-sha2-nistp256");
        repository.set_keys(role, 3, (0..5).map(key).collect());
        repository.signers.get_mut(role).unwrap().truncate(3);
    }
    for role in ["snapshot", "timestamp"] {
        repository.set_keys(role, 1, vec![Key::ecdsa(role, "ecdsa")]);
    }
    for signed in repository.signed.values_mut() {
        signed["spec_version"] = json!("1.0");
        signed["x-tuf-on-ci-expiry-period"] = json!(197);
        signed["version"] = json!(11);
    }
    repository.role("root")["keys"]["root 0"]["x-tuf-on-ci-keyowner"] = json!("@somebody");
    stage.add_artifact("targets", "trusted_root.json", b"{}");
    let listed = &mut stage.repository.role("targets")["targets"]["trusted_root.json"];
    listed["custom"] = json!({"sigstore": {"status": "Active", "usage": "Unknown"}});
    stage.repository.publish_root();
    stage.repository.publish_all();
    let root = stage.newest("root").to_owned();
    stage.init_with(&root).unwrap();
    stage.refreshes();
    stage.asked_for(&[
        "13.root.json",
        "timestamp.json",
        "12.snapshot.json",
        "12.targets.json",
    ]);
    stage.downloads("trusted_root.json");
    stage.holds_artifacts(&[b"{}"]);
}
