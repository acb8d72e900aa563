//! Expiry, on the repository and in what the client holds.

use serde_json::json;

use crate::stage::{Stage, day};

rendered! {
    test_faketime,
    test_root_expired,
    test_timestamp_expired,
    test_snapshot_expired,
    test_targets_expired,
    test_expired_local_root,
    test_expired_local_timestamp,
}

/// Past by any clock.
const PAST: &str = "2020-01-01T00:00:00Z";

fn expires(stage: &mut Stage, role: &str, number: i64) {
    stage.repository.role(role)["expires"] = json!(day(number));
}

/// In the suite this is a test of its own means to set the clock.
fn test_faketime(stage: &mut Stage) {
    if !stage.gives_the_clock() {
        return;
    }
    stage.init();
    expires(stage, "root", 7);
    stage.repository.publish_root();
    stage.refreshes();
    stage.now = day(8);
    stage.fails_to_refresh("root version 2 expired");
}

/// A root is kept first, and only then asked for its expiry.
fn test_root_expired(stage: &mut Stage) {
    stage.init();
    stage.refreshes();
    stage.repository.publish_root();
    stage.refreshes();
    stage.repository.role("root")["expires"] = json!(PAST);
    stage.repository.publish_root();
    stage.repository.publish_all();
    stage.fails_to_refresh("root version 3 expired");
    stage.trusts(&[
        ("root", 3),
        ("snapshot", 1),
        ("targets", 1),
        ("timestamp", 1),
    ]);
}

fn test_timestamp_expired(stage: &mut Stage) {
    stage.init();
    stage.refreshes();
    stage.repository.role("timestamp")["expires"] = json!(PAST);
    stage.repository.publish_timestamp();
    stage.fails_to_refresh("timestamp version 2 expired");
    stage.trusts(&[
        ("root", 1),
        ("snapshot", 1),
        ("targets", 1),
        ("timestamp", 1),
    ]);
}

fn test_snapshot_expired(stage: &mut Stage) {
    stage.init();
    stage.refreshes();
    stage.repository.role("snapshot")["expires"] = json!(PAST);
    stage.repository.publish_snapshot();
    stage.repository.publish_timestamp();
    stage.fails_to_refresh("snapshot version 2 expired");
    stage.trusts(&[
        ("root", 1),
        ("snapshot", 1),
        ("targets", 1),
        ("timestamp", 2),
    ]);
}

fn test_targets_expired(stage: &mut Stage) {
    stage.init();
    stage.refreshes();
    stage.repository.role("targets")["expires"] = json!(PAST);
    stage.repository.publish_all();
    stage.fails_to_refresh("targets version 2 expired");
    stage.trusts(&[
        ("root", 1),
        ("snapshot", 2),
        ("targets", 1),
        ("timestamp", 2),
    ]);
}

/// An expired root still leads to the next one.
fn test_expired_local_root(stage: &mut Stage) {
    if !stage.gives_the_clock() {
        return;
    }
    stage.init();
    expires(stage, "root", 7);
    stage.repository.publish_root();
    stage.refreshes();
    expires(stage, "root", 21);
    stage.repository.publish_root();
    stage.now = day(18);
    stage.refreshes();
    assert_eq!(stage.version("root"), Some(3));
}

/// An expired timestamp still leads to the next one.
fn test_expired_local_timestamp(stage: &mut Stage) {
    if !stage.gives_the_clock() {
        return;
    }
    stage.init();
    expires(stage, "timestamp", 7);
    stage.repository.publish_timestamp();
    stage.refreshes();
    expires(stage, "timestamp", 21);
    stage.repository.publish_all();
    stage.now = day(18);
    stage.refreshes();
    stage.trusts(&[
        ("root", 1),
        ("snapshot", 2),
        ("targets", 2),
        ("timestamp", 3),
    ]);
}
