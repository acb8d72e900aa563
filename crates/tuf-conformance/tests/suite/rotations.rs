//! New keys for a role: who must have signed what.

use crate::repository::Repository;
use crate::signer::Key;
use crate::stage::Stage;

rendered! {
    test_root_rotation in ROOTS,
    test_non_root_rotations in OTHERS,
}

/// A version of a role: its keys by number, how many of them are needed, and who signs it.
type Step = (&'static [u8], u64, &'static [u8]);
/// Whether the last one is accepted.
type Accepted = bool;

const FIVE: &[u8] = &[0, 1, 2, 3, 4];
/// Five of which one is another.
const ONE_NEW: &[u8] = &[0, 1, 3, 4, 5];
const FIVE_NEW: &[u8] = &[5, 6, 7, 8, 9];
const THREE: &[u8] = &[1, 2, 3];

const ROOTS: &[(&str, &[Step], Accepted)] = &[
    (
        "1-of-1-key-rotation",
        &[(&[1], 1, &[1]), (&[2], 1, &[2, 1]), (&[2], 1, &[2])],
        true,
    ),
    (
        "1-of-1-key-rotation-unused-signatures",
        &[
            (&[1], 1, &[3, 1, 4]),
            (&[2], 1, &[3, 2, 1, 4]),
            (&[2], 1, &[3, 2, 4]),
        ],
        true,
    ),
    (
        "3-of-5-sign-with-different-keycombos",
        &[
            (FIVE, 3, &[0, 2, 4]),
            (FIVE, 3, &[0, 4, 1]),
            (FIVE, 3, &[0, 1, 3]),
            (FIVE, 3, &[0, 1, 3]),
        ],
        true,
    ),
    (
        "3-of-5-one-key-rotated",
        &[(FIVE, 3, &[0, 2, 4]), (ONE_NEW, 3, &[0, 4, 1])],
        true,
    ),
    (
        "3-of-5-one-key-rotated-with-intermediate-step",
        &[
            (FIVE, 3, &[0, 2, 4]),
            (ONE_NEW, 3, &[0, 2, 4, 5]),
            (ONE_NEW, 3, &[0, 4, 5]),
        ],
        true,
    ),
    (
        "3-of-5-all-keys-rotated-with-intermediate-step",
        &[
            (FIVE, 3, &[0, 2, 4]),
            (FIVE_NEW, 3, &[0, 2, 4, 5, 6, 7]),
            (FIVE_NEW, 3, &[5, 6, 7]),
        ],
        true,
    ),
    (
        "1-of-3-threshold-increase-to-2-of-3",
        &[(THREE, 1, &[1]), (THREE, 2, &[1, 2])],
        true,
    ),
    (
        "2-of-3-threshold-decrease-to-1-of-3",
        &[(THREE, 2, &[1, 2]), (THREE, 1, &[1, 2]), (THREE, 1, &[1])],
        true,
    ),
    (
        "1-of-2-threshold-increase-to-2-of-2",
        &[(&[1], 1, &[1]), (&[1, 2], 2, &[1, 2])],
        true,
    ),
    (
        "1-of-1-key-rotation-fail-not-signed-with-old-key",
        &[(&[1], 1, &[1]), (&[2], 1, &[2, 3, 4])],
        false,
    ),
    (
        "1-of-1-key-rotation-fail-not-signed-with-new-key",
        &[(&[1], 1, &[1]), (&[2], 1, &[1, 3, 4])],
        false,
    ),
    (
        "3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys",
        &[(FIVE, 3, &[0, 2, 4]), (ONE_NEW, 3, &[0, 2, 4])],
        false,
    ),
    (
        "3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys",
        &[(FIVE, 3, &[0, 2, 4]), (ONE_NEW, 3, &[0, 4, 5])],
        false,
    ),
    (
        "1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached",
        &[(THREE, 1, &[1]), (THREE, 2, &[2])],
        false,
    ),
    (
        // The slip is the suite's.
        "2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-eached",
        &[(THREE, 2, &[1, 2]), (THREE, 1, &[1])],
        false,
    ),
];

fn test_root_rotation(stage: &mut Stage, &(_, steps, accepted): &(&str, &[Step], Accepted)) {
    let mut stage = stage.anew_unpublished();
    for step in steps {
        set(&mut stage.repository, "root", step);
        stage.repository.publish_root();
    }
    stage.repository.publish_all();
    stage.init();
    let trusted = if accepted {
        stage.refreshes();
        steps.len()
    } else {
        stage.fails_to_refresh("valid signatures of role root");
        steps.len() - 1
    };
    let published = &stage.repository.files[&format!("{trusted}.root.json")];
    assert_eq!(stage.held("root").as_ref(), Some(published));
}

const OTHERS: &[(&str, Step, Accepted)] = &[
    ("1-of-1-key-rotation", (&[2], 1, &[2]), true),
    (
        "1-of-1-key-rotation-unused-signatures",
        (&[1], 1, &[3, 1, 4]),
        true,
    ),
    (
        "1-of-1-key-rotation-fail-not-signed-with-new-key",
        (&[2], 1, &[1, 3, 4]),
        false,
    ),
    (
        "3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys",
        (ONE_NEW, 3, &[0, 2, 4]),
        false,
    ),
    (
        "2-of-5-one-key-signature-mising-threshold-not-reached",
        (ONE_NEW, 3, &[0, 4]),
        false,
    ),
    ("3-of-5-sign-first-combo", (FIVE, 3, &[0, 2, 4]), true),
    ("3-of-5-sign-second-combo", (FIVE, 3, &[0, 4, 1]), true),
    ("3-of-5-sign-third-combo", (FIVE, 3, &[0, 1, 3]), true),
    ("3-of-5-sign-fourth-combo", (FIVE, 3, &[1, 2, 3]), true),
    ("3-of-5-sign-fifth-combo", (FIVE, 3, &[2, 3, 4]), true),
];

/// The same new keys for one role after another: from the first refusal on, all is refused.
fn test_non_root_rotations(stage: &mut Stage, (_, step, accepted): &(&str, Step, Accepted)) {
    stage.init();
    for role in ["timestamp", "snapshot", "targets"] {
        set(&mut stage.repository, role, step);
        stage.repository.publish_root();
        stage.repository.publish_all();
        if *accepted {
            stage.refreshes();
            assert_eq!(stage.held(role).unwrap(), stage.newest(role), "{role}");
        } else {
            stage.fails_to_refresh("valid signatures of role timestamp");
            assert_eq!(stage.version(role), None, "{role}");
        }
    }
}

fn set(repository: &mut Repository, role: &str, (keys, threshold, signers): &Step) {
    let key = |number: &u8| Key::ed25519(50 + number);
    repository.set_keys(role, *threshold, keys.iter().map(key).collect());
    let signers = signers.iter().map(key).collect();
    repository.signers.insert(role.into(), signers);
}
