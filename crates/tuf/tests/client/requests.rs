//! What is asked for, in which order, and what is kept.

use switchback_tuf::{Answer, ErrorKind, Exchange, Freshness, Limits, Refresh, Role, Want};
use switchback_types::Timestamp;

use crate::device::Device;
use crate::repository::Repository;

#[test]
fn a_first_refresh_asks_for_exactly_four_files() {
    let repository = Repository::new();
    let mut device = Device::new(&repository);
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    let expected = [
        "2.root.json",
        "timestamp.json",
        "1.snapshot.json",
        "1.targets.json",
    ];
    assert_eq!(device.requests, expected);
    assert_eq!(device.trusted(), [1, 1, 1, 1]);
}

#[test]
fn a_refresh_without_news_asks_for_two() {
    let mut repository = Repository::new();
    repository.with_hashes = true;
    repository.publish_all();
    let mut device = Device::refreshed(&repository);
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.requests, ["2.root.json", "timestamp.json"]);
}

#[test]
fn without_consistent_snapshots_only_root_is_versioned() {
    let mut repository = Repository::unpublished();
    repository.role("root")["consistent_snapshot"] = false.into();
    repository.delegate("targets", "a", &["*"], false);
    repository.add_artifact("a", "x.bin", b"x");
    repository.publish_root();
    repository.publish_all();
    let mut device = Device::new(&repository);
    let target = device.find(&repository, &["x.bin"]).unwrap().unwrap();
    assert_eq!(
        device.requests,
        [
            "2.root.json",
            "timestamp.json",
            "snapshot.json",
            "targets.json",
            "a.json"
        ]
    );
    assert_eq!(target.url_path().unwrap(), "x.bin");
}

#[test]
fn limits_are_passed_on_and_lowered_by_signed_lengths() {
    let mut repository = Repository::unpublished();
    repository.with_hashes = true;
    repository.publish_root();
    repository.publish_all();
    let device = Device::new(&repository);
    let mut refresh = Refresh::start(device.state, Limits::default(), None);
    let mut asked = Vec::new();
    while let Want::File(request) = refresh.poll() {
        asked.push((
            request.name.to_string(),
            request.max_length,
            request.may_be_missing,
        ));
        let file = repository.files.get(request.name.as_str());
        refresh
            .feed(file.map_or(Answer::Missing, |file| Answer::File(file.clone())))
            .unwrap();
    }
    let signed = |name: &str| u64::try_from(repository.files[name].len()).unwrap();
    assert_eq!(
        asked,
        [
            ("2.root.json".into(), 512 * 1024, true),
            ("timestamp.json".into(), 16 * 1024, false),
            ("1.snapshot.json".into(), signed("1.snapshot.json"), false),
            ("1.targets.json".into(), signed("1.targets.json"), false),
        ]
    );
}

#[test]
fn a_signed_length_beyond_the_limit_does_not_raise_it() {
    let mut repository = Repository::new();
    repository.with_hashes = true;
    repository.publish_all();
    let mut device = Device::new(&repository);
    device.limits.snapshot_length = 100;
    let message = device.refused(&repository, ErrorKind::Limit);
    assert!(message.starts_with("2.snapshot.json: "), "{message}");
    assert!(message.ends_with("at most 100 are accepted"), "{message}");
}

#[test]
fn a_file_of_the_same_version_with_another_signed_hash_is_fetched_again() {
    let mut repository = Repository::new();
    repository.with_hashes = true;
    repository.publish_all();
    let mut device = Device::refreshed(&repository);
    repository.add_artifact("targets", "late.bin", b"late");
    repository.role("targets")["version"] = 1.into();
    repository.publish("targets");
    repository.publish_snapshot();
    repository.publish_timestamp();
    assert!(device.find(&repository, &["late.bin"]).unwrap().is_some());
    let expected = [
        "2.root.json",
        "timestamp.json",
        "3.snapshot.json",
        "2.targets.json",
    ];
    assert_eq!(device.requests, expected);
}

#[test]
fn files_are_kept_byte_for_byte() {
    let mut repository = Repository::new();
    repository
        .files
        .get_mut("timestamp.json")
        .unwrap()
        .push(b' ');
    let device = Device::refreshed(&repository);
    let (_, kept) = device
        .state
        .documents()
        .find(|(role, _)| *role == Role::Timestamp)
        .unwrap();
    assert_eq!(kept, repository.files["timestamp.json"]);
}

#[test]
fn a_timestamp_of_the_same_version_changes_nothing() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    let first = repository.files["timestamp.json"].clone();
    // Another content, although validly signed.
    repository.role("timestamp")["note"] = "other".into();
    let bytes = repository.sign("timestamp");
    repository.serve("timestamp", 1, bytes);
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.requests, ["2.root.json", "timestamp.json"]);
    let (_, kept) = device
        .state
        .documents()
        .find(|(role, _)| *role == Role::Timestamp)
        .unwrap();
    assert_eq!(kept, first);
}

#[test]
fn a_missing_file_stops_there_and_keeps_what_came_before() {
    for (missing, last, trusted) in [
        ("timestamp.json", "timestamp.json", [1, 1, 1, 1]),
        ("2.snapshot.json", "2.snapshot.json", [1, 2, 1, 1]),
        ("2.targets.json", "2.targets.json", [1, 2, 2, 1]),
    ] {
        let mut repository = Repository::new();
        let mut device = Device::refreshed(&repository);
        repository.publish_all();
        repository.files.remove(missing);
        let message = device.refused(&repository, ErrorKind::Missing);
        assert!(message.starts_with(missing), "{message}");
        assert_eq!(device.requests.last().unwrap(), last);
        assert_eq!(device.trusted(), trusted);
    }
}

#[test]
fn a_repository_that_was_completed_is_trusted_at_the_next_poll() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    repository.publish_all();
    let late = repository.files.remove("2.snapshot.json").unwrap();
    device.refused(&repository, ErrorKind::Missing);
    repository.files.insert("2.snapshot.json".into(), late);
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.trusted(), [1, 2, 2, 2]);
}

#[test]
fn a_machine_used_out_of_turn_says_so() {
    let repository = Repository::new();
    let device = Device::new(&repository);
    let unfinished = Refresh::start(device.state.clone(), Limits::default(), None);
    assert_eq!(unfinished.finish().unwrap_err().kind(), ErrorKind::Usage);

    let mut failed = Refresh::start(device.state, Limits::default(), Some(Timestamp::EPOCH));
    failed
        .feed(Answer::File(b"not metadata".to_vec()))
        .unwrap_err();
    assert_eq!(failed.poll(), Want::Done);
    assert_eq!(
        failed.feed(Answer::Missing).unwrap_err().kind(),
        ErrorKind::Usage
    );
    assert_eq!(failed.finish().unwrap_err().kind(), ErrorKind::Usage);
}
