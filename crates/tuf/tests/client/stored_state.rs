//! The state on disk: damage is found, and a state rebuilt after it does not forget.

use switchback_tuf::{ErrorKind, Freshness, TrustedState, Versions};
use switchback_types::Timestamp;

use crate::device::{Device, time};
use crate::repository::Repository;
use crate::signer::Key;

fn with_delegation() -> (Repository, Device) {
    let mut repository = Repository::new();
    repository.delegate("targets", "a", &["*"], false);
    repository.publish_all();
    let mut device = Device::new(&repository);
    device.state.raise_floor(time("2026-05-01T00:00:00Z"));
    device.find(&repository, &["x"]).unwrap();
    (repository, device)
}

#[test]
fn everything_comes_back() {
    let (_, device) = with_delegation();
    let bytes = device.state.to_bytes();
    let read = TrustedState::from_bytes(&bytes).unwrap();
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!(read.floor(), time("2026-05-01T00:00:00Z"));
    assert_eq!(read.versions(), device.state.versions());
    assert_eq!(read.documents().count(), 5);
    assert!(read.documents().eq(device.state.documents()));
}

#[test]
fn every_truncation_and_every_flipped_byte_is_found() {
    let (_, device) = with_delegation();
    let bytes = device.state.to_bytes();
    for length in 0..bytes.len() {
        let error = TrustedState::from_bytes(&bytes[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State, "{length}");
    }
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        let error = TrustedState::from_bytes(&damaged).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State, "{position}");
    }
    for longer in [
        [bytes.clone(), vec![0]].concat(),
        [bytes.clone(), bytes].concat(),
    ] {
        assert_eq!(
            TrustedState::from_bytes(&longer).unwrap_err().kind(),
            ErrorKind::State
        );
    }
}

#[test]
fn what_another_version_of_this_program_wrote_is_no_state() {
    let (_, device) = with_delegation();
    let bytes = device.state.to_bytes();
    let content = &bytes[..bytes.len() - 32];
    let sealed = |content: &[u8]| {
        [
            content,
            ring::digest::digest(&ring::digest::SHA256, content).as_ref(),
        ]
        .concat()
    };
    assert_eq!(sealed(content), bytes);
    let mut next_format = content.to_vec();
    next_format[7] += 1;
    let longer = [content, &[0]].concat();
    let without_documents = [&content[..48], &[0; 4]].concat();
    for content in [
        next_format,
        longer,
        without_documents,
        content[..100].to_vec(),
    ] {
        let error = TrustedState::from_bytes(&sealed(&content)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
    }
}

#[test]
fn a_rebuilt_state_goes_below_no_version_reached_before() {
    let mut repository = Repository::new();
    let old = repository.files["timestamp.json"].clone();
    repository.publish_root();
    repository.publish_all();
    let device = Device::refreshed(&repository);
    let reached = device.state.versions();
    assert_eq!(
        reached,
        Versions {
            root: 2,
            timestamp: 2,
            snapshot: 2,
            targets: 2
        }
    );

    let rebuilt = || Device {
        state: TrustedState::rebuild(&repository.files["1.root.json"], reached, Timestamp::EPOCH)
            .unwrap(),
        ..Device::new(&repository)
    };
    let mut device = rebuilt();
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.trusted(), [2, 2, 2, 2]);

    let mut replayed = Repository::new();
    replayed.files = repository.files.clone();
    replayed.files.insert("timestamp.json".into(), old);
    rebuilt().refused(&replayed, ErrorKind::Rollback);

    for (role, says) in [
        (
            "snapshot",
            "timestamp.json: snapshot version 1 is older than the trusted 2",
        ),
        (
            "targets",
            "3.snapshot.json: targets version 1 is older than the trusted 2",
        ),
    ] {
        let mut older = Repository::new();
        older.publish_root();
        older.publish_all();
        older.role(role)["version"] = 0.into();
        if role == "targets" {
            older.publish("targets");
        }
        older.publish_snapshot();
        older.publish_timestamp();
        assert_eq!(rebuilt().refused(&older, ErrorKind::Rollback), says);
    }

    let mut without_root = Repository::new();
    without_root.files = repository.files.clone();
    without_root.files.remove("2.root.json");
    let message = rebuilt().refused(&without_root, ErrorKind::Rollback);
    assert_eq!(
        message,
        "2.root.json: root version 1 is older than the trusted 2"
    );
}

#[test]
fn a_rebuilt_state_is_lifted_only_by_a_root_newer_than_the_lost_one() {
    let mut repository = Repository::new();
    // Root 2 revokes a key; versions then reach 100 under it.
    repository.set_keys("timestamp", 1, vec![Key::ed25519(50)]);
    repository.publish_root();
    repository.role("timestamp")["version"] = 99.into();
    repository.publish_timestamp();
    let reached = Device::refreshed(&repository).state.versions();
    assert_eq!(
        reached,
        Versions {
            root: 2,
            timestamp: 100,
            snapshot: 1,
            targets: 1
        }
    );
    let root = repository.files["1.root.json"].clone();
    let rebuild = |repository: &Repository| Device {
        state: TrustedState::rebuild(&root, reached, Timestamp::EPOCH).unwrap(),
        ..Device::new(repository)
    };

    repository.role("timestamp")["version"] = 4.into();
    repository.publish_timestamp();
    rebuild(&repository).refused(&repository, ErrorKind::Rollback);

    repository.set_keys("timestamp", 1, vec![Key::ed25519(51)]);
    repository.publish_root();
    repository.publish_timestamp();
    let mut device = rebuild(&repository);
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.trusted(), [3, 6, 1, 1]);
}
