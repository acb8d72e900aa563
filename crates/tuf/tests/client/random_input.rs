//! Whatever a server sends: an answer, never a panic; trust never goes backwards.

use proptest::prelude::*;
use switchback_tuf::{Answer, Exchange, Limits, Refresh, TrustedState, Want};
use switchback_types::Timestamp;

use crate::device::{Device, time};
use crate::repository::Repository;

/// A repository one version ahead of its device, with a delegated role.
fn ahead() -> (Repository, Device) {
    let mut repository = Repository::new();
    repository.delegate("targets", "a", &["*"], false);
    repository.publish_all();
    let device = Device::refreshed(&repository);
    repository.publish_root();
    repository.publish_all();
    (repository, device)
}

#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        // A damage before this one may have left nothing.
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, mask) => {
                let position = at.index(bytes.len());
                bytes[position] ^= mask;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Insert(at, inserted) => {
                let position = at.index(bytes.len());
                bytes.splice(position..position, inserted.iter().copied());
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        3 => (at(), 1..=u8::MAX).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (at(), "[\\[\\]{},:\"0-9e.-]{1,4}")
            .prop_map(|(at, text)| Damage::Insert(at, text.into_bytes())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused(answers in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..200), 1..4)) {
        let repository = Repository::new();
        let device = Device::new(&repository);
        let mut refresh = Refresh::start(device.state, Limits::default(), None);
        for answer in answers {
            let _ = refresh.feed(Answer::File(answer));
        }
        prop_assert_eq!(refresh.poll(), Want::Done);
        prop_assert!(refresh.finish().is_err());
    }

    #[test]
    fn damaged_metadata_never_takes_trust_backwards(
        file in prop::sample::select(vec!["2.root.json", "timestamp.json", "3.snapshot.json",
            "3.targets.json", "2.a.json"]),
        damage in prop::collection::vec(damage(), 1..3),
        clock in prop::option::of(0..2_000_000_000_i64),
    ) {
        let (mut repository, mut device) = ahead();
        let before = device.trusted();
        let whole = repository.files.clone();
        for damage in &damage {
            damage.apply(repository.files.get_mut(file).unwrap());
        }
        device.now = clock.map(Timestamp::from_unix);
        let _ = device.find(&repository, &["x"]);
        let after = device.trusted();
        prop_assert!(before.iter().zip(&after).all(|(before, after)| after >= before));
        // Whatever happened, a good server makes it good again.
        repository.files = whole;
        device.now = Some(time("2026-06-01T00:00:00Z"));
        prop_assert!(device.find(&repository, &["x"]).is_ok());
    }

    #[test]
    fn random_bytes_are_no_state(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(TrustedState::from_bytes(&bytes).is_err());
    }
}
