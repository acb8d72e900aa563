//! Expired metadata, clocks that are wrong, and devices without one.

use serde_json::json;
use switchback_tuf::{ErrorKind, Freshness, Role};

use crate::device::{Device, time};
use crate::repository::{FAR, Repository};

const PAST: &str = "2026-01-01T00:00:00Z";

fn expired_role(freshness: &Freshness) -> Option<&Role> {
    match freshness {
        Freshness::Fresh => None,
        Freshness::Stale(staleness) => Some(&staleness.role),
    }
}

#[test]
fn an_expired_role_makes_the_repository_stale_and_only_root_is_kept() {
    for (role, expected, trusted) in [
        ("root", Role::Root, [2, 1, 1, 1]),
        ("timestamp", Role::Timestamp, [2, 1, 1, 1]),
        ("snapshot", Role::Snapshot, [2, 2, 1, 1]),
        ("targets", Role::Targets, [2, 2, 2, 1]),
    ] {
        let mut repository = Repository::new();
        let mut device = Device::refreshed(&repository);
        repository.role(role)["expires"] = json!(PAST);
        repository.publish_root();
        repository.publish_all();
        let freshness = device.refresh(&repository).unwrap();
        assert_eq!(expired_role(&freshness), Some(&expected));
        assert_eq!(device.trusted(), trusted, "{role}");
        let error = device.find(&repository, &["x"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stale, "nothing can be looked up");

        // Polling goes on: fresh metadata is taken at once.
        repository.role(role)["expires"] = json!(FAR);
        repository.publish_root();
        repository.publish_all();
        assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
        assert_eq!(device.trusted(), [3, 3, 3, 3]);
    }
}

#[test]
fn staleness_says_what_when_and_which_root_is_missing() {
    let mut repository = Repository::unpublished();
    repository.role("root")["expires"] = json!(PAST);
    repository.publish_root();
    repository.publish_all();
    let mut device = Device::new(&repository);
    let Freshness::Stale(staleness) = device.refresh(&repository).unwrap() else {
        panic!("must be stale");
    };
    assert_eq!(
        staleness.to_string(),
        "root version 1 expired at 2026-01-01T00:00:00Z (this device's time is \
         2026-06-01T00:00:00Z) and the repository offers no 2.root.json; publish newer metadata, \
         or check the clock"
    );
    assert_eq!(device.requests, ["2.root.json"]);
}

#[test]
fn an_expired_delegated_role_is_stale_at_lookup() {
    let mut repository = Repository::new();
    repository.delegate("targets", "a", &["*"], false);
    repository.add_artifact("a", "x", b"x");
    repository.role("a")["expires"] = json!("2026-06-02T00:00:00Z");
    repository.publish_all();
    let mut device = Device::new(&repository);
    assert!(device.find(&repository, &["x"]).unwrap().is_some());
    // The cached copy is held against the clock again, and so is a fetched one.
    device.now = Some(time("2026-06-02T00:00:00Z"));
    for mut device in [
        device,
        Device {
            now: Some(time("2026-06-03T00:00:00Z")),
            ..Device::new(&repository)
        },
    ] {
        let error = device.find(&repository, &["x"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Stale);
        assert!(error.to_string().contains("a version 1 expired"), "{error}");
    }
}

#[test]
fn expired_stored_metadata_is_only_a_version_floor() {
    // C019, C021: switched off past every expiry, with fresh metadata waiting.
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    for role in ["root", "timestamp", "snapshot", "targets"] {
        repository.role(role)["expires"] = json!("2035-01-01T00:00:00Z");
    }
    device.now = Some(time("2032-01-01T00:00:00Z"));
    repository.publish_root();
    repository.publish_all();
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);

    repository.role("timestamp")["version"] = json!(0);
    repository.publish_timestamp();
    device.now = Some(time("2036-01-01T00:00:00Z"));
    repository.role("root")["expires"] = json!("2040-01-01T00:00:00Z");
    repository.publish_root();
    device.refused(&repository, ErrorKind::Rollback);
}

#[test]
fn an_expired_intermediate_root_is_walked_through() {
    let mut repository = Repository::unpublished();
    repository.role("root")["expires"] = json!(PAST);
    repository.publish_root();
    repository.publish_root();
    repository.role("root")["expires"] = json!(FAR);
    repository.publish_root();
    repository.publish_all();
    assert_eq!(
        Device::new(&repository).refresh(&repository).unwrap(),
        Freshness::Fresh
    );
}

#[test]
fn clocks_that_step_never_stop_polling_and_leave_no_trace() {
    // C020: back by a second, by days, far into the future, and right again.
    let repository = Repository::new();
    let mut device = Device::new(&repository);
    device.state.raise_floor(time("2026-05-01T00:00:00Z"));
    for (clock, fresh) in [
        (Some("2026-06-01T00:00:00Z"), true),
        (Some("2026-05-31T23:59:59Z"), true),
        (Some("2026-05-28T00:00:00Z"), true),
        (Some("2038-01-19T03:14:07Z"), false),
        (Some("2038-01-19T03:14:08Z"), false),
        (Some("2106-02-07T06:28:16Z"), false),
        (Some("2026-06-01T00:00:00Z"), true),
        (Some("1970-01-02T00:00:00Z"), true),
        (None, true),
    ] {
        device.now = clock.map(time);
        let freshness = device.refresh(&repository).unwrap();
        assert_eq!(freshness == Freshness::Fresh, fresh, "{clock:?}");
        assert_eq!(device.state.floor(), time("2026-05-01T00:00:00Z"));
    }
}

#[test]
fn a_clock_below_the_floor_counts_as_the_floor() {
    let repository = Repository::new();
    let mut device = Device::new(&repository);
    device.state.raise_floor(time("2031-01-01T00:00:00Z"));
    for clock in [
        None,
        Some("1970-01-01T00:00:00Z"),
        Some("2026-06-01T00:00:00Z"),
    ] {
        device.now = clock.map(time);
        let freshness = device.refresh(&repository).unwrap();
        assert_eq!(expired_role(&freshness), Some(&Role::Root), "{clock:?}");
    }
    device.state.raise_floor(time("2026-06-01T00:00:00Z"));
    assert_eq!(
        device.state.floor(),
        time("2031-01-01T00:00:00Z"),
        "a floor only rises"
    );
}

#[test]
fn metadata_expires_at_the_second_it_says() {
    let repository = Repository::new();
    let mut device = Device::new(&repository);
    device.now = Some(time("2029-12-31T23:59:59Z"));
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    device.now = Some(time(FAR));
    assert_ne!(device.refresh(&repository).unwrap(), Freshness::Fresh);
}
