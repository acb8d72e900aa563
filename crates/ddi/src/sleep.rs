//! Time between polls, as DDI writes it: `HH:mm:ss`.

/// Shortest time between polls in seconds that a client of ours keeps to.
pub const MIN_SLEEP_SECONDS: u32 = 1;
/// Longest time between polls in seconds that the form can say.
pub const MAX_SLEEP_SECONDS: u32 = 23 * 3600 + 59 * 60 + 59;

/// `seconds` as `HH:mm:ss`, brought into the range that the form can say.
#[must_use]
pub fn write_sleep(seconds: u32) -> String {
    let seconds = seconds.clamp(MIN_SLEEP_SECONDS, MAX_SLEEP_SECONDS);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}")
}

/// Seconds of `HH:mm:ss`, within [`MIN_SLEEP_SECONDS`] and [`MAX_SLEEP_SECONDS`]; `None` when
/// the text is none: the caller keeps its own interval, and never polls without a pause.
#[must_use]
pub fn read_sleep(text: &str) -> Option<u32> {
    let mut parts = text.trim().splitn(3, ':');
    let mut part = || {
        let digits = parts.next()?;
        let plain = (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if plain {
            digits.parse::<u32>().ok()
        } else {
            None
        }
    };
    let (hours, minutes, seconds) = (part()?, part()?, part()?);
    let all = hours * 3600 + minutes * 60 + seconds;
    Some(all.clamp(MIN_SLEEP_SECONDS, MAX_SLEEP_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_odd() {
        for seconds in [1, 59, 60, 300, 3661, MAX_SLEEP_SECONDS] {
            assert_eq!(read_sleep(&write_sleep(seconds)), Some(seconds));
        }
        assert_eq!(write_sleep(300), "00:05:00");
        assert_eq!(write_sleep(u32::MAX), "23:59:59");
        assert_eq!(read_sleep("00:00:00"), Some(1));
        for bad in ["", "aa:bb:cc", "5", "00:05", "999999999:0:0", "-1:0:0"] {
            assert_eq!(read_sleep(bad), None, "{bad}");
        }
    }
}
