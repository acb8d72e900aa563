//! Times, as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

use switchback_types::Timestamp;

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let passed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(passed.as_secs()).unwrap_or(i64::MAX)
}

/// How long ago, as seen at `now`.
pub(crate) fn ago(at: i64, now: i64) -> String {
    if at == 0 {
        return "never".into();
    }
    let passed = now.saturating_sub(at).max(0);
    for (size, word) in [(86_400, "d"), (3600, "h"), (60, "min")] {
        if passed >= size {
            return format!("{} {word} ago", passed / size);
        }
    }
    format!("{passed} s ago")
}

/// A time such as `2026-12-24T18:00:00Z`.
pub(crate) fn at(seconds: i64) -> String {
    Timestamp::from_unix(seconds).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_people() {
        assert_eq!(at(1_796_083_200), "2026-12-01T00:00:00Z");
        assert_eq!(ago(0, 9), "never");
        assert_eq!(ago(5, 9), "4 s ago");
        assert_eq!(ago(5, 86_410), "1 d ago");
        assert_eq!(ago(9, 5), "0 s ago");
    }
}
