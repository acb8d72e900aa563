//! Parts of a file, as HTTP asks for them.

/// Most ranges of one request.
pub const MAX_RANGES: usize = 512;

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// The whole file: no header, or one that means nothing, which HTTP says is to be ignored.
    Whole,
    /// These parts, first and last byte, in the order in which they lie.
    Parts(Vec<(u64, u64)>),
    /// Nothing of it lies in the file, or parts lie over each other.
    Unsatisfiable,
}

impl Ranges {
    /// Reads a header for a file of `size` bytes.
    #[must_use]
    pub fn parse(header: Option<&str>, size: u64) -> Self {
        let Some(list) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else {
            return Self::Whole;
        };
        let mut parts = Vec::new();
        for (count, range) in list.split(',').enumerate() {
            let Some((first, last)) = range.trim().split_once('-') else {
                return Self::Whole;
            };
            if count >= MAX_RANGES {
                return Self::Unsatisfiable;
            }
            let number = |text: &str| {
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
            };
            let part = match (number(first), number(last)) {
                (Some(first), Some(last)) if last < first => return Self::Whole,
                (Some(first), Some(last)) => (first, last),
                (Some(first), None) if last.is_empty() => (first, u64::MAX),
                (None, Some(tail)) if first.is_empty() => {
                    if tail == 0 {
                        continue;
                    }
                    (size.saturating_sub(tail), u64::MAX)
                }
                _ => return Self::Whole,
            };
            if part.0 < size {
                parts.push((part.0, part.1.min(size - 1)));
            }
        }
        parts.sort_unstable();
        let overlaps = parts
            .iter()
            .zip(parts.iter().skip(1))
            .any(|(before, after)| after.0 <= before.1);
        if parts.is_empty() || overlaps {
            return Self::Unsatisfiable;
        }
        Self::Parts(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_http_says() {
        let parse = |text: &str| Ranges::parse(Some(text), 100);
        assert_eq!(Ranges::parse(None, 100), Ranges::Whole);
        for whole in ["bytes=5-2", "items=1-2", "bytes=a-b", "bytes=1", "bytes=-x"] {
            assert_eq!(parse(whole), Ranges::Whole, "{whole}");
        }
        assert_eq!(parse("bytes=0-9"), Ranges::Parts(vec![(0, 9)]));
        assert_eq!(parse("bytes=90-"), Ranges::Parts(vec![(90, 99)]));
        assert_eq!(parse("bytes=-10"), Ranges::Parts(vec![(90, 99)]));
        assert_eq!(parse("bytes=-1000"), Ranges::Parts(vec![(0, 99)]));
        assert_eq!(
            parse("bytes=50-60, 0-9,200-300"),
            Ranges::Parts(vec![(0, 9), (50, 60)])
        );
        for none in [
            "bytes=100-",
            "bytes=-0",
            "bytes=0-9,5-20",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(parse(none), Ranges::Unsatisfiable, "{none}");
        }
        let many = format!("bytes={}", vec!["0-0"; MAX_RANGES + 1].join(","));
        assert_eq!(parse(&many), Ranges::Unsatisfiable);
        assert_eq!(Ranges::parse(Some("bytes=0-0"), 0), Ranges::Unsatisfiable);
    }
}
