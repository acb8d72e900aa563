//! When a server wants to be asked again.

use std::time::{Duration, SystemTime};

/// A server that asks for a longer pause is asked again after this one all the same.
const MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause that `Retry-After` asks for, in seconds or as a date. A date is compared with the one that the
/// answer itself has: this device's clock may be wrong.
pub(super) fn parse(value: &str, date: Option<&str>) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit: the longest pause.
        return Some(
            value
                .parse()
                .map_or(MOST, |seconds| MOST.min(Duration::from_secs(seconds))),
        );
    }
    let then = httpdate::parse_http_date(value).ok()?;
    let sent = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok());
    let now = sent.unwrap_or_else(SystemTime::now);
    Some(then.duration_since(now).unwrap_or_default().min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_comes_in_seconds_or_as_a_date() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (value, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("999999", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30)),
            ("Sun Nov  6 08:50:07 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:00 GMT", Some(86_400)),
            ("", None),
            ("-5", None),
            ("soon", None),
        ] {
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(parse(value, date), expected, "{value}");
        }
        // Long past by any clock.
        let past = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(parse(past, None), Some(Duration::ZERO));
    }
}
