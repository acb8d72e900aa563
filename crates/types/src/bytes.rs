//! Counts of bytes, for people.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A number of bytes; displayed with a binary unit and one decimal (`12.3 MiB`).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut unit = "KiB";
        let mut divisor = 1_u64;
        for candidate in UNITS {
            let next = divisor.saturating_mul(1024);
            if self.0 / next == 0 {
                break;
            }
            divisor = next;
            unit = candidate;
        }
        let tenths = u128::from(self.0) * 10 / u128::from(divisor);
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn picks_the_largest_unit_that_fits() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(ByteCount(count).to_string(), text);
        }
    }
}
