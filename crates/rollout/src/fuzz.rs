//! Bodies of the fuzz targets. Each takes arbitrary bytes and fails only when a promise of this
//! crate is broken.

use std::collections::BTreeMap;

use crate::{Filter, MAX_FILTER_BYTES};

/// What parses is written and read back unchanged, means the same, and an error points into the
/// text.
pub fn filter(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    match text.parse::<Filter>() {
        Ok(filter) => {
            let written = filter.to_string();
            let labels = BTreeMap::from([("site".to_owned(), "lab".to_owned())]);
            if written.len() <= MAX_FILTER_BYTES {
                let again: Filter = written.parse().expect("what was written can be read");
                assert_eq!(again, filter);
                assert_eq!(again.matches(&labels), filter.matches(&labels));
            }
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.at)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// Pieces of the language in any order: reaches deeper than random bytes do.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = proptest::sample::select(vec![
            "all", "and", "or", "not", "has", "in", "==", "!=", "~", "(", ")", ",", "site", "lab",
            "\"a b\"", "'x'", "\\", "l*", "\u{e9}",
        ]);
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.join(" "))
    }

    proptest! {
        #[test]
        fn no_text_breaks_a_promise(text in ".{0,200}", pieces in pieces()) {
            super::filter(text.as_bytes());
            super::filter(pieces.as_bytes());
        }
    }
}
