//! Bodies of the fuzz targets. Each takes arbitrary bytes and fails only when a promise of this
//! crate is broken.

use std::collections::BTreeMap;

use crate::{
    AutoConfirmRequest, ConfigData, ConfirmationFeedback, DeploymentBase, Feedback, MAX_ATTRIBUTES,
    MAX_DETAIL_CHARS, MAX_DETAILS, MAX_KEY_CHARS, MAX_SLEEP_SECONDS, MAX_VALUE_CHARS,
    MIN_SLEEP_SECONDS, Poll, from_cbor, read_sleep, to_cbor, write_sleep,
};

/// What is kept stays within the limits, and has a meaning; the same in CBOR.
pub fn feedback(data: &[u8]) {
    feedback_in_json(data);
    if let Ok(json) = from_cbor(data) {
        let again = to_cbor(&json).expect("what was read can be written");
        from_cbor(&again).expect("what was written can be read");
        feedback_in_json(&json);
    }
}

fn feedback_in_json(data: &[u8]) {
    if let Ok(feedback) = Feedback::parse(data) {
        assert!(feedback.details.len() <= MAX_DETAILS);
        let short = |text: &String| text.chars().count() <= MAX_DETAIL_CHARS;
        assert!(feedback.details.iter().all(short));
        let again = Feedback::parse(feedback.to_json().as_bytes());
        assert_eq!(again.expect("what was written can be read"), feedback);
        let _ = (feedback.meaning(), feedback.cancel_meaning());
    }
    if let Ok(answer) = ConfirmationFeedback::parse(data) {
        assert!(answer.details.len() <= MAX_DETAILS);
    }
    let _ = AutoConfirmRequest::parse(data);
}

/// Attributes stay within the limits however often they are applied; to replace twice is to
/// replace once.
pub fn config_data(data: &[u8]) {
    if let Ok(config) = ConfigData::parse(data) {
        let mut attributes = BTreeMap::new();
        config
            .apply(&mut attributes)
            .expect("none were there before");
        let once = attributes.clone();
        config.apply(&mut attributes).expect("none came to them");
        assert_eq!(attributes, once);
        assert!(attributes.len() <= MAX_ATTRIBUTES);
        for (name, value) in attributes {
            assert!(name.chars().count() <= MAX_KEY_CHARS);
            assert!(value.chars().count() <= MAX_VALUE_CHARS);
        }
    }
}

/// What a server sends is read, written, and read as the same; no pause is too short.
pub fn reply(data: &[u8]) {
    if let Ok(poll) = serde_json::from_slice::<Poll>(data) {
        let text = serde_json::to_vec(&poll).expect("what was read can be written");
        let again: Poll = serde_json::from_slice(&text).expect("what was written can be read");
        assert_eq!(again, poll);
        let links = &poll.links;
        for link in [&links.deployment_base, &links.cancel_action]
            .into_iter()
            .flatten()
        {
            if let Some((action, query)) = link.action("deploymentBase") {
                assert!(!action.contains(['/', '.', '%', ' ']));
                assert!(
                    !query
                        .unwrap_or_default()
                        .contains(['\r', '\n', ' ', '/', '#'])
                );
            }
        }
        if let Some(seconds) = read_sleep(&poll.config.polling.sleep) {
            assert!((MIN_SLEEP_SECONDS..=MAX_SLEEP_SECONDS).contains(&seconds));
            assert_eq!(read_sleep(&write_sleep(seconds)), Some(seconds));
        }
    }
    if let Ok(base) = serde_json::from_slice::<DeploymentBase>(data) {
        let text = serde_json::to_vec(&base).expect("what was read can be written");
        let again: DeploymentBase =
            serde_json::from_slice(&text).expect("what was written can be read");
        assert_eq!(again, base);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_break_no_promise(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            super::feedback(&bytes);
            super::config_data(&bytes);
            super::reply(&bytes);
        }
    }
}
