//! Every case of the public conformance suite for TUF clients that runs a client (version 2.4.0), in our
//! own words, over HTTP; each through the library and, unless it needs a clock of its own, through the
//! binary too. Functions and variants carry the suite's names, so that a case can be found:
//! `test_snapshot_rollback[with hashes]` is the variant `with hashes` of that function.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    reason = "tests"
)]

/// Makes each function a test, for each variant of its table, and lists their names.
macro_rules! rendered {
    ($($case:ident $(in $variants:ident)?),+ $(,)?) => {
        pub fn names() -> Vec<String> {
            [$(rendered!(@names $case $($variants)?)),+].concat()
        }

        mod tests {
            use crate::stage::{Stage, Through};

            $(#[test]
            fn $case() {
                for through in [Through::Library, Through::Binary] {
                    rendered!(@run through, $case $($variants)?);
                }
            })+
        }
    };
    (@names $case:ident) => {
        vec![stringify!($case).to_owned()]
    };
    (@names $case:ident $variants:ident) => {{
        let name = |variant: &str| format!("{}[{variant}]", stringify!($case));
        $variants.iter().map(|variant| name(variant.0)).collect::<Vec<_>>()
    }};
    (@run $through:ident, $case:ident) => {
        println!("through the {:?}", $through);
        super::$case(&mut Stage::new($through));
    };
    (@run $through:ident, $case:ident $variants:ident) => {
        for variant in super::$variants {
            println!("[{}] through the {:?}", variant.0, $through);
            super::$case(&mut Stage::new($through), variant);
        }
    };
}

mod binary;
mod delegations;
mod downloads;
mod expiry;
#[path = "../../../tuf/tests/client/key_changes.rs"]
mod key_changes;
mod keys;
mod metadata;
mod names;
mod refresh;
#[allow(dead_code, reason = "shared with the tests of the client itself")]
#[path = "../../../tuf/tests/client/repository.rs"]
mod repository;
mod rollback;
mod rotations;
mod server;
#[allow(dead_code, reason = "shared with the tests of the client itself")]
#[path = "../../../tuf/tests/client/signer.rs"]
mod signer;
mod stage;
mod static_repositories;

/// Each function of the suite in this file, with each of its variants.
fn expected() -> Vec<String> {
    let mut names = Vec::new();
    for (case, variants) in names::CASES {
        if variants.is_empty() {
            names.push((*case).into());
        }
        for variant in *variants {
            names.push(format!("{case}[{variant}]"));
        }
    }
    names
}

#[test]
fn every_case_is_rendered() {
    let mut rendered = [
        delegations::names(),
        downloads::names(),
        expiry::names(),
        keys::names(),
        metadata::names(),
        refresh::names(),
        rollback::names(),
        rotations::names(),
        static_repositories::names(),
    ]
    .concat();
    let mut expected = expected();
    assert_eq!(expected.len(), 110);
    rendered.sort();
    expected.sort();
    assert_eq!(rendered, expected);
}
