//! New keys for a role, with the names of the public conformance suite: who must have signed what.

/// A version of a role: its keys by number, how many of them are needed, and who signs it.
pub type Step = (&'static [u8], u64, &'static [u8]);
/// Whether the last one is accepted.
pub type Accepted = bool;

const FIVE: &[u8] = &[0, 1, 2, 3, 4];
/// Five of which one is another.
const ONE_NEW: &[u8] = &[0, 1, 3, 4, 5];
const FIVE_NEW: &[u8] = &[5, 6, 7, 8, 9];
const THREE: &[u8] = &[1, 2, 3];

pub const ROOTS: &[(&str, &[Step], Accepted)] = &[
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

pub const OTHERS: &[(&str, Step, Accepted)] = &[
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
