//! The refresh itself: what is asked for, what is kept, and what stops it.

use serde_json::{Value, json};

use crate::signer::Key;
use crate::stage::Stage;

rendered! {
    test_basic_refresh_requests,
    test_basic_refresh_trusted_data,
    test_implicit_refresh,
    test_invalid_initial_root,
    test_unsigned_initial_root,
    test_unsigned_metadata in UNSIGNED,
    test_url_and_metadata_version_mismatch in MISMATCHES,
    test_timestamp_content_changes,
    test_snapshot_404,
    test_targets_404,
    test_timestamp_404,
    test_incorrect_metadata_type,
}

/// What a client with root 1 asks for, of a repository with nothing but first versions.
const FIRST: &[&str] = &[
    "2.root.json",
    "timestamp.json",
    "1.snapshot.json",
    "1.targets.json",
];
const TOP_LEVEL: &[&str] = &["root", "timestamp", "snapshot", "targets"];

/// Roles with their versions.
type Versions = &'static [(&'static str, u64)];

fn test_basic_refresh_requests(stage: &mut Stage) {
    stage.init();
    stage.asked_for(&[]);
    stage.refreshes();
    stage.asked_for(FIRST);
}

fn test_basic_refresh_trusted_data(stage: &mut Stage) {
    stage.init();
    stage.refreshes();
    holds_the_newest(stage);
}

fn test_implicit_refresh(stage: &mut Stage) {
    stage.init();
    stage.fails_to_download(&["nowhere"], "nobody speaks about it");
    stage.asked_for(FIRST);
    holds_the_newest(stage);
}

fn holds_the_newest(stage: &Stage) {
    for role in TOP_LEVEL {
        assert_eq!(stage.held(role).unwrap(), stage.newest(role), "{role}");
    }
    assert_eq!(stage.trusted().len(), TOP_LEVEL.len());
}

fn test_invalid_initial_root(stage: &mut Stage) {
    never_begins_with(stage, |root| {
        let signed = root["signed"].as_object_mut().unwrap();
        signed.remove("version").unwrap();
    });
}

fn test_unsigned_initial_root(stage: &mut Stage) {
    let other = hex::encode(Key::ed25519(1).sign(b"something else"));
    never_begins_with(stage, |root| root["signatures"][0]["sig"] = json!(other));
}

/// The client may say so at once, or when it is first used.
fn never_begins_with(stage: &mut Stage, edit: impl FnOnce(&mut Value)) {
    let mut root: Value = serde_json::from_slice(stage.newest("root")).unwrap();
    edit(&mut root);
    drop(stage.init_with(&serde_json::to_vec(&root).unwrap()));
    stage.fails_to_refresh("trusted.state");
    stage.asked_for(&[]);
}

/// The role without a signature, and what is trusted in the end: each role is kept before the next one
/// is asked for.
const UNSIGNED: &[(&str, Versions)] = &[
    ("root", &[("root", 1)]),
    ("timestamp", &[("root", 2)]),
    ("snapshot", &[("root", 2), ("timestamp", 2)]),
    ("targets", &[("root", 2), ("snapshot", 2), ("timestamp", 2)]),
];

fn test_unsigned_metadata(stage: &mut Stage, &(role, trusted): &(&str, Versions)) {
    stage.repository.signers.get_mut(role).unwrap().clear();
    stage.repository.publish_root();
    stage.repository.publish_all();
    stage.init();
    stage.fails_to_refresh(&format!("0 valid signatures of role {role}"));
    stage.trusts(trusted);
}

/// The role whose second file says that it is the third, and what is trusted in the end.
const MISMATCHES: &[(&str, Versions)] = &[
    ("root", &[("root", 1)]),
    ("snapshot", &[("root", 2), ("timestamp", 2)]),
    ("targets", &[("root", 2), ("snapshot", 2), ("timestamp", 2)]),
];

/// In the suite the role above names version 3 too, so that nothing is found, as in `test_targets_404`;
/// here the file is found, and does not say what its name says.
fn test_url_and_metadata_version_mismatch(stage: &mut Stage, &(role, trusted): &(&str, Versions)) {
    let repository = &mut stage.repository;
    repository.publish_root();
    repository.publish_all();
    repository.role(role)["version"] = json!(3);
    let bytes = repository.sign(role);
    repository.serve(role, 2, bytes);
    stage.init();
    stage.fails_to_refresh("holds version 3, expected 2");
    stage.trusts(trusted);
}

/// A timestamp that is not new is not looked into, whatever it says.
fn test_timestamp_content_changes(stage: &mut Stage) {
    stage.init();
    stage.refreshes();
    let first = stage.newest("timestamp").to_owned();
    let timestamp = stage.repository.role("timestamp");
    timestamp["meta"]["snapshot.json"]["version"] = json!(100);
    timestamp["version"] = json!(0);
    stage.repository.publish("timestamp");
    assert_ne!(stage.newest("timestamp"), first);
    stage.refreshes();
    stage.asked_for(&["2.root.json", "timestamp.json"]);
    assert_eq!(stage.held("timestamp").unwrap(), first);
}

fn test_snapshot_404(stage: &mut Stage) {
    stage.init();
    stage.refreshes();
    stage.repository.role("timestamp")["meta"]["snapshot.json"]["version"] = json!(2);
    stage.repository.publish("timestamp");
    stage.fails_to_refresh("2.snapshot.json: not in the repository");
    stage.asked_for(&["2.root.json", "timestamp.json", "2.snapshot.json"]);
    stage.trusts(&[
        ("root", 1),
        ("snapshot", 1),
        ("targets", 1),
        ("timestamp", 2),
    ]);
}

fn test_targets_404(stage: &mut Stage) {
    stage.init();
    stage.refreshes();
    stage.repository.role("snapshot")["meta"]["targets.json"]["version"] = json!(2);
    stage.repository.publish("snapshot");
    stage.repository.publish_timestamp();
    stage.fails_to_refresh("2.targets.json: not in the repository");
    stage.asked_for(&[
        "2.root.json",
        "timestamp.json",
        "2.snapshot.json",
        "2.targets.json",
    ]);
    stage.trusts(&[
        ("root", 1),
        ("snapshot", 2),
        ("targets", 1),
        ("timestamp", 2),
    ]);
}

fn test_timestamp_404(stage: &mut Stage) {
    stage.init();
    stage.refreshes();
    stage.repository.files.remove("timestamp.json").unwrap();
    stage.fails_to_refresh("timestamp.json: not in the repository");
    stage.asked_for(&["2.root.json", "timestamp.json"]);
}

/// All but the type of this timestamp is right: its key, its signature, what it says.
fn test_incorrect_metadata_type(stage: &mut Stage) {
    stage.init();
    let repository = &mut stage.repository;
    repository.set_keys("snapshot", 1, vec![Key::ed25519(3), Key::ed25519(4)]);
    repository.publish_root();
    let snapshot = repository.role("snapshot");
    snapshot["meta"] = json!({"snapshot.json": {"version": 1}});
    snapshot["version"] = json!(2);
    let bytes = repository.sign("snapshot");
    repository.serve("timestamp", 2, bytes);
    stage.fails_to_refresh("type \"snapshot\"");
    stage.trusts(&[("root", 2)]);
}
