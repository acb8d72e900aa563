//! Older versions than those already seen, and the one honest way back: new keys.

use serde_json::json;

use crate::signer::Key;
use crate::stage::Stage;

rendered! {
    test_new_timestamp_version_rollback,
    test_snapshot_rollback in WITH_HASHES,
    test_targets_role_removal,
    test_targets_fast_forward_recovery,
    test_new_snapshot_fast_forward_recovery,
    test_new_timestamp_fast_forward_recovery,
    test_targets_rollback in WITH_HASHES,
}

const WITH_HASHES: &[(&str, bool)] = &[("basic", false), ("with hashes", true)];

/// The next version of this role will be `version`.
fn next_is(stage: &mut Stage, role: &str, version: u64) {
    stage.repository.role(role)["version"] = json!(version - 1);
}

fn test_new_timestamp_version_rollback(stage: &mut Stage) {
    stage.init();
    stage.repository.publish_timestamp();
    stage.refreshes();
    assert_eq!(stage.version("timestamp"), Some(2));
    next_is(stage, "timestamp", 1);
    stage.repository.publish_timestamp();
    stage.fails_to_refresh("timestamp version 1 is older than the trusted 2");
    stage.asked_for(&["2.root.json", "timestamp.json"]);
    assert_eq!(stage.version("timestamp"), Some(2));
}

/// Seen from the timestamp already, which is not kept then.
fn test_snapshot_rollback(stage: &mut Stage, &(_, with_hashes): &(&str, bool)) {
    stage.init();
    stage.repository.with_hashes = with_hashes;
    stage.repository.publish_snapshot();
    stage.repository.publish_timestamp();
    stage.refreshes();
    next_is(stage, "snapshot", 1);
    stage.repository.publish_snapshot();
    stage.repository.publish_timestamp();
    stage.fails_to_refresh("snapshot version 1 is older than the trusted 2");
    stage.asked_for(&["2.root.json", "timestamp.json"]);
    stage.trusts(&[
        ("root", 1),
        ("snapshot", 2),
        ("targets", 1),
        ("timestamp", 2),
    ]);
}

fn test_targets_rollback(stage: &mut Stage, &(_, with_hashes): &(&str, bool)) {
    stage.init();
    stage.repository.with_hashes = with_hashes;
    stage.repository.publish_all();
    stage.refreshes();
    next_is(stage, "targets", 1);
    stage.repository.publish_all();
    stage.fails_to_refresh("targets version 1 is older than the trusted 2");
    assert_eq!(stage.version("snapshot"), Some(2));
    assert_eq!(stage.version("targets"), Some(2));
}

fn test_targets_role_removal(stage: &mut Stage) {
    stage.init();
    delegate(stage);
    stage.repository.publish_all();
    stage.refreshes();
    forget_the_delegated(stage);
    stage.repository.publish("snapshot");
    stage.repository.publish_timestamp();
    stage.fails_to_refresh("delegated");
    assert_eq!(stage.version("snapshot"), Some(2));
}

fn delegate(stage: &mut Stage) {
    let paths = ["delegated/*"];
    stage
        .repository
        .delegate("targets", "delegated", &paths, false);
}

fn forget_the_delegated(stage: &mut Stage) {
    let meta = &mut stage.repository.role("snapshot")["meta"];
    meta.as_object_mut()
        .unwrap()
        .remove("delegated.json")
        .unwrap();
}

/// The snapshot's new key clears what the old one said about targets.
fn test_targets_fast_forward_recovery(stage: &mut Stage) {
    stage.init();
    delegate(stage);
    next_is(stage, "targets", 100);
    stage.repository.publish_all();
    stage.refreshes();
    assert_eq!(stage.version("targets"), Some(100));
    rotate(stage, "snapshot", 50);
    next_is(stage, "targets", 1);
    stage.repository.publish_root();
    stage.repository.publish("targets");
    forget_the_delegated(stage);
    stage.repository.role("snapshot")["meta"]["targets.json"]["version"] = json!(1);
    stage.repository.publish("snapshot");
    stage.repository.publish_timestamp();
    stage.refreshes();
    assert_eq!(stage.version("targets"), Some(1));
}

fn test_new_snapshot_fast_forward_recovery(stage: &mut Stage) {
    stage.init();
    next_is(stage, "snapshot", 100);
    stage.repository.publish_snapshot();
    stage.repository.publish_timestamp();
    stage.refreshes();
    assert_eq!(stage.version("snapshot"), Some(100));
    rotate(stage, "snapshot", 50);
    rotate(stage, "timestamp", 51);
    next_is(stage, "snapshot", 1);
    stage.repository.publish_root();
    stage.repository.publish_all();
    stage.refreshes();
    assert_eq!(stage.version("snapshot"), Some(1));
}

fn test_new_timestamp_fast_forward_recovery(stage: &mut Stage) {
    stage.init();
    next_is(stage, "timestamp", 100);
    stage.repository.publish_timestamp();
    stage.refreshes();
    assert_eq!(stage.version("timestamp"), Some(100));
    rotate(stage, "timestamp", 50);
    next_is(stage, "timestamp", 1);
    stage.repository.publish_root();
    stage.repository.publish_timestamp();
    stage.refreshes();
    assert_eq!(stage.version("timestamp"), Some(1));
}

fn rotate(stage: &mut Stage, role: &str, seed: u8) {
    stage.repository.set_keys(role, 1, vec![Key::ed25519(seed)]);
}
