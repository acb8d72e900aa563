//! What a device costs that asks again and again.

use std::sync::Arc;

use super::mirror::{Answers, DAY, Mirror, Story, ask, files, honest, offered, said};
use super::publisher::NOW;
use super::server::{Piece, answer};

/// With versions, as nearly every server has them, and without content where it is known.
fn versioned(good: Arc<Answers>, always: bool) -> Arc<Answers> {
    Arc::new(move |question| {
        let known = question.header("if-none-match");
        if always && known.is_some() {
            return answer("304 Not Modified", "", b"");
        }
        let pieces = good(question);
        let Some(Piece::Bytes(bytes)) = pieces.first() else {
            return pieces;
        };
        if !bytes.starts_with(b"HTTP/1.1 200") {
            return pieces;
        }
        let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let content = &bytes[head..];
        let sum: u64 = content.iter().fold(7, |sum, byte| {
            sum.wrapping_mul(1_000_003) ^ u64::from(*byte)
        });
        let tag = format!("\"{sum:x}\"");
        if known == Some(tag.as_str()) {
            return answer("304 Not Modified", &format!("ETag: {tag}\r\n"), b"");
        }
        answer("200 OK", &format!("ETag: {tag}\r\n"), content)
    })
}

#[test]
fn an_idle_check_is_one_question_without_content() {
    let story = Story::new();
    let mirror = Mirror::new(story.days[1].clone());
    mirror.does(versioned(honest(story.days[1].clone()), false));
    let state = tempfile::tempdir().unwrap();
    let mut trust = story.publisher.trust(state.path());
    let source = mirror.source();
    assert_eq!(offered(&ask(&mut trust, &source, NOW)), Some("2"));
    for poll in 1..4 {
        let before = mirror.server.asked().len();
        let asked = ask(&mut trust, &source, NOW + poll);
        assert_eq!(offered(&asked), Some("2"));
        let asked = mirror.server.asked().split_off(before);
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].header("if-none-match").is_some());
    }
    // What is new comes with the answer to the same question.
    mirror.does(versioned(honest(story.days[2].clone()), false));
    let before = mirror.server.asked().len();
    assert_eq!(offered(&ask(&mut trust, &source, NOW + 5)), Some("3"));
    let asked = mirror.server.asked().split_off(before);
    let timestamps = asked
        .iter()
        .filter(|question| question.path.ends_with("timestamp.json"));
    assert_eq!(timestamps.count(), 1, "{asked:?}");
    // A new root is looked for whenever the timestamp is another one.
    assert!(
        asked
            .iter()
            .any(|question| question.path.ends_with("/2.root.json"))
    );
}

#[test]
fn a_server_that_never_has_anything_new_is_believed_until_signatures_end() {
    let story = Story::new();
    let mirror = Mirror::new(story.days[1].clone());
    mirror.does(versioned(honest(story.days[1].clone()), true));
    let state = tempfile::tempdir().unwrap();
    let mut trust = story.publisher.trust(state.path());
    let source = mirror.source();
    for day in [0, 1, 13] {
        let asked = ask(&mut trust, &source, NOW + day * DAY);
        assert_eq!(offered(&asked), Some("2"));
    }
    let asked = ask(&mut trust, &source, NOW + 15 * DAY);
    assert_eq!(said(&asked).0, "stale");
    // From then on everything is asked for again.
    *story.publisher.now.borrow_mut() = NOW + 15 * DAY;
    story.publisher.run(&["refresh"]);
    let third = honest(files(&story.publisher.path("repo")));
    mirror.does(versioned(third, true));
    let asked = ask(&mut trust, &source, NOW + 15 * DAY);
    assert_eq!(offered(&asked), Some("3"));
}
