//! The chain of roots: every one signed by a threshold of the one before and of itself.

use switchback_tuf::{ErrorKind, Freshness};

use crate::device::Device;
use crate::key_changes::{OTHERS, ROOTS};
use crate::repository::{Repository, envelope};
use crate::signer::Key;

fn keys(seeds: &[u8]) -> Vec<Key> {
    seeds.iter().map(|seed| Key::ed25519(60 + seed)).collect()
}

#[test]
fn roots_are_trusted_by_both_thresholds_only() {
    for (name, steps, trusted) in ROOTS {
        let mut repository = Repository::unpublished();
        for (listed, threshold, signers) in *steps {
            repository.set_keys("root", *threshold, keys(listed));
            repository.signers.insert("root".into(), keys(signers));
            repository.publish_root();
        }
        repository.publish_all();
        let mut device = Device::new(&repository);
        let last = u64::try_from(steps.len()).unwrap();
        if *trusted {
            assert_eq!(
                device.refresh(&repository).unwrap(),
                Freshness::Fresh,
                "{name}"
            );
            assert_eq!(device.trusted()[0], last, "{name}");
        } else {
            device.refused(&repository, ErrorKind::Untrusted);
            assert_eq!(device.trusted(), [last - 1, 0, 0, 0], "{name}");
        }
    }
}

#[test]
fn the_other_roles_follow_their_keys_and_thresholds() {
    for role in ["timestamp", "snapshot", "targets"] {
        for (name, (listed, threshold, signers), trusted) in OTHERS {
            let mut repository = Repository::new();
            let mut device = Device::refreshed(&repository);
            repository.set_keys(role, *threshold, keys(listed));
            repository.signers.insert(role.into(), keys(signers));
            repository.publish_root();
            repository.publish_all();
            if *trusted {
                assert_eq!(
                    device.refresh(&repository).unwrap(),
                    Freshness::Fresh,
                    "{role}: {name}"
                );
                assert_eq!(device.trusted(), [2, 2, 2, 2]);
            } else {
                device.refused(&repository, ErrorKind::Untrusted);
            }
        }
    }
}

#[test]
fn a_gap_in_the_chain_ends_it() {
    // Version 2 is gone: version 3 is never asked for, and what it alone vouches for is refused.
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    repository.set_keys("timestamp", 1, vec![Key::ed25519(50)]);
    repository.publish_root();
    repository.publish_root();
    repository.publish_all();
    repository.files.remove("2.root.json");
    device.refused(&repository, ErrorKind::Untrusted);
    assert_eq!(device.requests, ["2.root.json", "timestamp.json"]);
    assert_eq!(device.trusted(), [1, 1, 1, 1]);
}

#[test]
fn an_older_root_under_the_next_name_is_refused() {
    let mut repository = Repository::new();
    let mut device = Device::refreshed(&repository);
    let old = repository.files["1.root.json"].clone();
    repository.files.insert("2.root.json".into(), old);
    let message = device.refused(&repository, ErrorKind::Invalid);
    assert_eq!(message, "2.root.json: holds version 1, expected 2");
}

#[test]
fn roots_are_followed_up_to_the_limit_and_further_next_time() {
    let mut repository = Repository::new();
    let mut device = Device::new(&repository);
    for _ in 0..7 {
        repository.publish_root();
    }
    device.limits.root_rotations = 3;
    device.refused(&repository, ErrorKind::Limit);
    assert_eq!(device.trusted(), [4, 0, 0, 0]);
    device.refused(&repository, ErrorKind::Limit);
    assert_eq!(device.trusted(), [7, 0, 0, 0]);
    assert_eq!(device.refresh(&repository).unwrap(), Freshness::Fresh);
    assert_eq!(device.trusted(), [8, 1, 1, 1]);
}

#[test]
fn the_built_in_root_must_vouch_for_itself() {
    let repository = Repository::new();
    let stranger = Key::ed25519(99).listed_as("ed1");
    let mut other = repository.signed["root"].clone();
    let unsigned = envelope(&other, &[]);
    let missigned = envelope(&other, &[&stranger]);
    other.as_object_mut().unwrap().remove("version");
    let unversioned = envelope(&other, &[&Key::ed25519(1)]);
    for root in [unsigned, missigned, unversioned, b"{}".to_vec(), Vec::new()] {
        let floor = switchback_types::Timestamp::EPOCH;
        assert!(switchback_tuf::TrustedState::from_root(&root, floor).is_err());
    }
}
