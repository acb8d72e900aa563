//! Versions going backwards, and the one way in which they may.

use serde_json::json;
use switchback_tuf::{ErrorKind, Freshness};

use crate::device::Device;
use crate::repository::Repository;
use crate::signer::Key;

/// A repository and a device, both at version 2 of everything but root.
fn at_version_2() -> (Repository, Device) {
    let mut repository = Repository::new();
    repository.publish_all();
    let device = Device::refreshed(&repository);
    assert_eq!(device.trusted(), [1, 2, 2, 2]);
    (repository, device)
}

fn set_version(repository: &mut Repository, role: &str, version: u64) {
    repository.role(role)["version"] = json!(version);
}

#[test]
fn timestamp_rollback_is_refused() {
    let (mut repository, mut device) = at_version_2();
    set_version(&mut repository, "timestamp", 0);
    repository.publish_timestamp();
    let message = device.refused(&repository, ErrorKind::Rollback);
    assert_eq!(
        message,
        "timestamp.json: timestamp version 1 is older than the trusted 2"
    );
    assert_eq!(device.requests, ["2.root.json", "timestamp.json"]);
    assert_eq!(device.trusted(), [1, 2, 2, 2]);
}

#[test]
fn snapshot_rollback_is_refused_before_the_timestamp_is_kept() {
    for with_hashes in [false, true] {
        let (mut repository, mut device) = at_version_2();
        repository.with_hashes = with_hashes;
        set_version(&mut repository, "snapshot", 0);
        repository.publish_snapshot();
        repository.publish_timestamp();
        let message = device.refused(&repository, ErrorKind::Rollback);
        assert_eq!(
            message,
            "timestamp.json: snapshot version 1 is older than the trusted 2"
        );
        assert_eq!(device.requests, ["2.root.json", "timestamp.json"]);
        assert_eq!(device.trusted(), [1, 2, 2, 2]);
    }
}

#[test]
fn targets_rollback_is_refused_before_the_snapshot_is_kept() {
    for with_hashes in [false, true] {
        let (mut repository, mut device) = at_version_2();
        repository.with_hashes = with_hashes;
        set_version(&mut repository, "targets", 0);
        repository.publish("targets");
        repository.publish_snapshot();
        repository.publish_timestamp();
        let message = device.refused(&repository, ErrorKind::Rollback);
        assert_eq!(
            message,
            "3.snapshot.json: targets version 1 is older than the trusted 2"
        );
        assert_eq!(device.trusted(), [1, 3, 2, 2]);
    }
}

#[test]
fn delegated_rollback_is_refused() {
    let mut repository = Repository::new();
    repository.delegate("targets", "a", &["*"], false);
    repository.publish_all();
    repository.publish_all();
    let mut device = Device::refreshed(&repository);
    set_version(&mut repository, "a", 0);
    repository.publish("a");
    repository.publish_snapshot();
    repository.publish_timestamp();
    let message = device.refused(&repository, ErrorKind::Rollback);
    assert!(
        message.ends_with("a version 1 is older than the trusted 2"),
        "{message}"
    );
}

#[test]
fn a_snapshot_that_drops_a_role_is_refused() {
    let mut repository = Repository::new();
    repository.delegate("targets", "a", &["*"], false);
    repository.publish_all();
    let mut device = Device::refreshed(&repository);
    repository.role("snapshot")["meta"]
        .as_object_mut()
        .unwrap()
        .remove("a.json");
    repository.publish("snapshot");
    repository.publish_timestamp();
    device.refused(&repository, ErrorKind::Rollback);
    assert_eq!(device.trusted(), [1, 3, 2, 2]);
}

#[test]
fn mix_and_match_is_refused() {
    // The old targets are served under the new name: the snapshot says which belong together.
    let (mut repository, mut device) = at_version_2();
    let old = repository.files["2.targets.json"].clone();
    repository.publish_all();
    repository.files.insert("3.targets.json".into(), old);
    let message = device.refused(&repository, ErrorKind::Invalid);
    assert_eq!(message, "3.targets.json: holds version 2, expected 3");
    assert_eq!(device.trusted(), [1, 3, 3, 2]);
}

#[test]
fn a_version_other_than_in_the_name_is_refused() {
    for (role, trusted) in [
        ("root", [1, 1, 1, 1]),
        ("snapshot", [1, 2, 1, 1]),
        ("targets", [1, 2, 2, 1]),
    ] {
        let mut repository = Repository::new();
        let mut device = Device::refreshed(&repository);
        if role == "root" {
            repository.publish_root();
        } else {
            repository.publish_all();
        }
        set_version(&mut repository, role, 3);
        let bytes = repository.sign(role);
        repository.files.insert(format!("2.{role}.json"), bytes);
        let message = device.refused(&repository, ErrorKind::Invalid);
        assert_eq!(
            message,
            format!("2.{role}.json: holds version 3, expected 2")
        );
        assert_eq!(device.trusted(), trusted);
    }
}

#[test]
fn a_rotated_timestamp_key_recovers_from_fast_forward() {
    let mut repository = Repository::new();
    set_version(&mut repository, "timestamp", 99);
    repository.publish_timestamp();
    let mut device = Device::refreshed(&repository);
    assert_eq!(device.trusted(), [1, 100, 1, 1]);

    set_version(&mut repository, "timestamp", 0);
    repository.set_keys("timestamp", 1, vec![Key::ed25519(50)]);
    repository.publish_root();
    repository.publish_timestamp();
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.trusted(), [2, 1, 1, 1]);
}

#[test]
fn rotated_snapshot_and_timestamp_keys_recover_from_fast_forward() {
    let mut repository = Repository::new();
    set_version(&mut repository, "snapshot", 99);
    repository.publish_snapshot();
    repository.publish_timestamp();
    let mut device = Device::refreshed(&repository);
    assert_eq!(device.trusted(), [1, 2, 100, 1]);

    set_version(&mut repository, "snapshot", 0);
    repository.set_keys("snapshot", 1, vec![Key::ed25519(50)]);
    repository.set_keys("timestamp", 1, vec![Key::ed25519(51)]);
    repository.publish_root();
    repository.publish_snapshot();
    repository.publish_timestamp();
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.trusted(), [2, 3, 1, 1]);
}

#[test]
fn a_rotated_snapshot_key_recovers_fast_forwarded_targets_and_drops_roles() {
    let mut repository = Repository::new();
    repository.delegate("targets", "a", &["*"], false);
    set_version(&mut repository, "targets", 99);
    repository.publish_all();
    let mut device = Device::new(&repository);
    device.find(&repository, &["x"]).unwrap();
    assert_eq!(device.trusted(), [1, 2, 2, 100]);
    assert_eq!(device.state.documents().count(), 5);

    repository.signed.remove("a");
    repository
        .role("targets")
        .as_object_mut()
        .unwrap()
        .remove("delegations");
    repository.role("snapshot")["meta"] = json!({});
    set_version(&mut repository, "targets", 0);
    repository.set_keys("snapshot", 1, vec![Key::ed25519(50)]);
    repository.publish_root();
    repository.publish_all();
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.trusted(), [2, 3, 3, 1]);
    assert_eq!(device.state.versions().targets, 1);
    // The cached role went with its entry in the snapshot.
    assert_eq!(device.state.documents().count(), 4);
}

#[test]
fn a_key_that_is_only_added_does_not_lift_versions() {
    let (mut repository, mut device) = at_version_2();
    repository.set_keys("timestamp", 1, vec![Key::ed25519(4), Key::ed25519(50)]);
    repository.publish_root();
    set_version(&mut repository, "timestamp", 0);
    repository.publish_timestamp();
    device.refused(&repository, ErrorKind::Rollback);
    assert_eq!(device.trusted(), [2, 2, 2, 2]);
}

#[test]
fn one_revoked_key_of_two_lifts_versions() {
    // Either key alone could have driven the version up.
    let mut repository = Repository::new();
    repository.set_keys("timestamp", 1, vec![Key::ed25519(4), Key::ed25519(50)]);
    repository.publish_root();
    set_version(&mut repository, "timestamp", 99);
    repository.publish_timestamp();
    let mut device = Device::refreshed(&repository);
    assert_eq!(device.trusted(), [2, 100, 1, 1]);
    repository.set_keys("timestamp", 1, vec![Key::ed25519(50)]);
    repository.publish_root();
    set_version(&mut repository, "timestamp", 1);
    repository.publish_timestamp();
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.trusted(), [3, 2, 1, 1]);
}

#[test]
fn a_raised_threshold_does_not_lift_versions() {
    // The trusted timestamp no longer has enough signatures, but its version still binds.
    let keys = || vec![Key::ed25519(4), Key::ed25519(50)];
    let mut repository = Repository::new();
    repository.set_keys("timestamp", 1, keys());
    repository
        .signers
        .insert("timestamp".into(), vec![Key::ed25519(4)]);
    repository.publish_root();
    repository.publish_timestamp();
    let mut device = Device::refreshed(&repository);
    assert_eq!(device.trusted(), [2, 2, 1, 1]);

    repository.set_keys("timestamp", 2, keys());
    repository.publish_root();
    set_version(&mut repository, "timestamp", 0);
    repository.publish_timestamp();
    device.refused(&repository, ErrorKind::Rollback);

    // The same version with enough signatures takes the place of the one with too few.
    repository.publish_timestamp();
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.trusted(), [3, 2, 1, 1]);
    let (_, kept) = device.state.documents().nth(1).unwrap();
    assert_eq!(kept, repository.files["timestamp.json"]);
}

#[test]
fn a_snapshot_that_was_named_but_never_seen_binds_too() {
    let (mut repository, mut device) = at_version_2();
    repository.publish_all();
    repository.files.remove("3.snapshot.json");
    device.refused(&repository, ErrorKind::Missing);
    assert_eq!(device.trusted(), [1, 3, 2, 2]);
    repository.role("snapshot")["version"] = json!(2);
    repository.publish_timestamp();
    let message = device.refused(&repository, ErrorKind::Rollback);
    assert_eq!(
        message,
        "timestamp.json: snapshot version 2 is older than the trusted 3"
    );
}
