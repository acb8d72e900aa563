//! A process that fetches and was taken over.

use std::fs;
use std::io::Write as _;

use switchback_update_core::InstallFailure;
use switchbackd::cancel::Cancel;
use switchbackd::fetcher::Fetcher as _;

use super::{SIZE, Story, Units};

/// Says what it likes, whatever it is asked.
fn lying(said: Vec<u8>) -> Units {
    Units::with(move |mut connection| {
        let said = said.clone();
        std::thread::spawn(move || {
            let _gone_already = connection.write_all(&said);
            let _ = std::io::copy(&mut connection, &mut std::io::sink());
        });
        None
    })
}

fn message(head: &str, body: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| (bytes.len() as u32).to_le_bytes();
    [
        &length(head.as_bytes())[..],
        &length(body),
        head.as_bytes(),
        body,
    ]
    .concat()
}

const DONE: &str =
    r#"{"reply":{"is":"installed","fetched":{"way":"full","segments":1,"of":1,"bytes":1}}}"#;

#[test]
fn a_process_that_lies_arms_nothing_and_writes_nowhere_else() {
    let story = Story::new();
    let release = story.offer(&story.remote(&Units::new()));
    let call = |call: &str| format!(r#"{{"call":{{"call":{call}}}}}"#);
    let open = message(&call("\"open\""), b"");
    let write = |offset: u64| message(&call(&format!("\"write\",\"offset\":{offset}")), &[7; 4096]);
    let prove = message(&call("\"prove\""), b"");
    let sign = message(&call("\"sign\",\"scheme\":2055"), b"anything");
    let done = message(DONE, b"");
    let after_the_end = [
        open.clone(),
        write(SIZE as u64),
        write(u64::MAX - 10),
        done.clone(),
    ];
    for said in [
        vec![done.clone()],
        vec![write(0), done.clone()],
        vec![open.clone(), write(0), prove.clone(), done.clone()],
        after_the_end.to_vec(),
        vec![sign, done.clone()],
    ] {
        let units = lying(said.concat());
        let mut remote = story.remote(&units);
        let (outcome, _) = story.install(&mut remote, &release, false, &Cancel::default());
        let failure = outcome.unwrap_err();
        let proved_nothing =
            matches!(&failure, InstallFailure::Slot { detail } if detail.contains("nobody proved"));
        let broken = matches!(&failure, InstallFailure::Network { .. });
        assert!(proved_nothing || broken, "{failure:?}");
        assert_eq!(fs::metadata(story.slot("b")).unwrap().len(), SIZE as u64);
        assert_eq!(fs::read(story.slot("a")).unwrap(), story.images[0]);
    }
    // What was proven and then written to is proven no more.
    fs::write(story.slot("b"), &story.images[1]).unwrap();
    let said = [open, prove, write(0), done].concat();
    let (outcome, _) = story.install(
        &mut story.remote(&lying(said)),
        &release,
        false,
        &Cancel::default(),
    );
    assert!(outcome.is_err(), "{outcome:?}");
}

#[test]
fn a_process_that_speaks_nonsense_is_left() {
    let story = Story::new();
    let long = message(r#"{"reply":{"is":"file","tag":null}}"#, &[0; 100]);
    let without_end = [0xff; 8].to_vec();
    let nested = message(&"[".repeat(60_000), b"");
    let text = r#"{"reply":{"is":"failed","error":{"is":"transport","url":"u\n\u001b[31m","detail":"DETAIL"}}}"#;
    let text = message(&text.replace("DETAIL", &"x".repeat(50_000)), b"");
    let unasked = message(r#"{"reply":{"is":"unchanged"}}"#, b"");
    for (said, part) in [
        (long, "nothing of it was used"),
        (without_end, "more than any message"),
        (nested, "expected value"),
        (text, "xxx"),
        (unasked, "something else"),
        (message(DONE, b""), "something else"),
    ] {
        let units = lying(said);
        let remote = story.remote(&units);
        let error = remote.repository().file("x", 10).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(error.len() < 3000 && !error.contains('\u{1b}') && !error.contains('\n'));
    }
}
