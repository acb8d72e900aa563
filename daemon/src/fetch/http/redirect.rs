//! Where an answer points.

use hyper::Uri;

use super::connect::authority;

/// The address that `location` means in an answer of `from`.
pub(super) fn target(from: &Uri, location: &str) -> Option<String> {
    let location = location.trim();
    let location = location
        .split_once('#')
        .map_or(location, |(before, _)| before);
    let scheme = from.scheme_str()?;
    let url = if location.starts_with("https://") || location.starts_with("http://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", authority(from))
    } else if location.is_empty() || location.starts_with('?') || location.contains(':') {
        return None;
    } else {
        let (directory, _) = from.path().rsplit_once('/')?;
        format!("{scheme}://{}{directory}/{location}", authority(from))
    };
    url.parse::<Uri>().ok()?.host()?;
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_location_leads_somewhere() {
        let from: Uri = "https://a.example:8443/x/y?z".parse().unwrap();
        for (location, expected) in [
            ("https://b.example/q?r=1#s", Some("https://b.example/q?r=1")),
            ("//b.example/q", Some("https://b.example/q")),
            ("/q", Some("https://a.example:8443/q")),
            ("q/r", Some("https://a.example:8443/x/q/r")),
            ("", None),
            ("ftp://b.example/q", None),
            ("https://", None),
            ("/a b", None),
        ] {
            assert_eq!(target(&from, location).as_deref(), expected, "{location}");
        }
    }
}
