//! What the parser accepts and what it says about the rest.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly outside of its #[test] function, too"
)]

use serde_json::{Value, json};
use switchback_manifest::{Channel, MAX_DOCUMENT_BYTES, ManifestError, Release};

const RELEASE: &str = include_str!("../../../docs/schema/examples/release.json");
const CHANNEL: &str = include_str!("../../../docs/schema/examples/channel.json");

/// The example with the value at `pointer` replaced, or removed if `value` is null.
fn changed(example: &str, pointer: &str, value: Value) -> Vec<u8> {
    let mut document: Value = serde_json::from_str(example).unwrap();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = document
        .pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap();
    if value.is_null() {
        parent.remove(name).unwrap();
    } else {
        parent.insert(name.into(), value);
    }
    serde_json::to_vec(&document).unwrap()
}

/// The whole chain of an error, as a person reads it.
fn chain(error: &ManifestError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[test]
fn writes_the_example_documents_byte_for_byte() {
    assert_eq!(
        Release::parse(RELEASE.as_bytes())
            .unwrap()
            .to_json()
            .unwrap(),
        RELEASE
    );
    assert_eq!(
        Channel::parse(CHANNEL.as_bytes())
            .unwrap()
            .to_json()
            .unwrap(),
        CHANNEL
    );
}

#[test]
fn knows_where_a_document_and_its_blobs_lie() {
    let release = Release::parse(RELEASE.as_bytes()).unwrap();
    assert_eq!(
        release.path().as_str(),
        "releases/gateway/2026.11.3/release.json"
    );
    assert_eq!(
        release.image.segments.path(),
        "content/91/91ab23cd45ef67890123456789abcdef0123456789abcdef0123456789abcdef"
    );
    let channel = Channel::parse(CHANNEL.as_bytes()).unwrap();
    assert_eq!(channel.path().as_str(), "channels/gateway/stable.json");
}

#[test]
fn refuses_releases_out_of_range_and_says_why() {
    let many: Vec<String> = (0..17).map(|n| format!("board-{n}")).collect();
    let cases: &[(&str, Value, &str)] = &[
        (
            "/schema",
            json!(2),
            "has schema 2, this program reads schema 1",
        ),
        (
            "/schema",
            json!(0),
            "has schema 0, this program reads schema 1",
        ),
        ("/schema", json!("1"), "cannot be read: invalid type"),
        ("/surprise", json!(true), "unknown field `surprise`"),
        ("/image/surprise", json!(true), "unknown field `surprise`"),
        (
            "/full/blob/surprise",
            json!(true),
            "unknown field `surprise`",
        ),
        (
            "/product",
            json!(".."),
            "has an empty, \".\" or \"..\" component",
        ),
        ("/version", json!("1/2"), "version \"1/2\" contains '/'"),
        (
            "/compatible",
            json!([]),
            "compatible = 0 names: between 1 and 16",
        ),
        (
            "/compatible",
            json!(many),
            "compatible = 17 names: between 1 and 16",
        ),
        (
            "/compatible",
            json!(["a", "b", "a"]),
            "compatible = a: each name may stand once",
        ),
        ("/sequence", json!(0), "sequence = 0"),
        (
            "/sequence",
            json!(1_u64 << 53),
            "sequence = 9007199254740992",
        ),
        ("/sequence", json!(-1), "invalid value"),
        ("/security_epoch", json!(1_u64 << 32), "invalid value"),
        ("/created", json!("yesterday"), "not a time like"),
        ("/image/format", json!("tar"), "unknown variant `tar`"),
        ("/image/size", json!(0), "image.size = 0"),
        (
            "/image/size",
            json!((1_u64 << 40) + 1),
            "image.size = 1099511627777",
        ),
        (
            "/image/size",
            json!(150 << 20),
            "image.segments.length = 4832: 4800 follows",
        ),
        ("/image/sha256", json!("abc"), "not a SHA-256 digest"),
        (
            "/image/segment_size",
            json!(0),
            "image.segment_size = 0: a power of two",
        ),
        (
            "/image/segment_size",
            json!(32_768),
            "image.segment_size = 32768: a power of two",
        ),
        (
            "/image/segment_size",
            json!(1_000_000),
            "image.segment_size = 1000000: a power of two",
        ),
        (
            "/image/segment_size",
            json!(8 << 20),
            "image.segment_size = 8388608: a power of two",
        ),
        (
            "/image/segments/length",
            json!(4831),
            "image.segments.length = 4831: 4832 follows",
        ),
        (
            "/full/frames/length",
            json!(600),
            "full.frames.length = 600: 604 follows",
        ),
        ("/full/blob/length", json!(150), "full.blob.length = 150"),
        (
            "/full/blob/length",
            json!(u64::MAX),
            "full.blob.length = 18446744073709551615",
        ),
        (
            "/notes",
            json!("x".repeat(4097)),
            "notes = 4097 bytes: at most 4096",
        ),
    ];
    for (pointer, value, expected) in cases {
        let error = Release::parse(&changed(RELEASE, pointer, value.clone())).unwrap_err();
        let text = chain(&error);
        assert!(
            text.contains(expected),
            "{pointer} = {value}: {text:?} lacks {expected:?}"
        );
    }
}

#[test]
fn refuses_deltas_that_contradict_each_other_and_says_why() {
    let delta = |from: &str, format: &str, length: u64| {
        json!({ "from": from, "from_size": 4096, "format": format,
                "blob": { "sha256": "ab".repeat(32), "length": length } })
    };
    let (one, other) = ("01".repeat(32), "02".repeat(32));
    let own = "3b1c2f0e4b7a5d6c9e8f7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d";
    let many: Vec<Value> = (0..65)
        .map(|n| delta(&format!("{n:02x}").repeat(32), "sbd1", 1))
        .collect();
    let mut strange = delta(&one, "sbd1", 1);
    strange["surprise"] = json!(1);
    let cases = [
        (json!(many), "deltas = 65 deltas: at most 64"),
        (json!([delta(own, "sbd1", 1)]), "than the release's own"),
        (json!([delta(&one, "sbd1", 0)]), "deltas.blob.length = 0"),
        (
            json!([delta(&one, "sbd1", (1 << 40) + 1)]),
            "deltas.blob.length = 1099511627777",
        ),
        (
            json!([delta(&one, "sbd1", 1), delta(&one, "sbd1", 2)]),
            "one delta from it in format sbd1",
        ),
        (json!([delta(&one, "", 1)]), "not a delta format"),
        (json!([delta(&one, "SBD1", 1)]), "not a delta format"),
        (
            json!([delta(&one, &"x".repeat(17), 1)]),
            "not a delta format",
        ),
        (json!([delta("01", "sbd1", 1)]), "not a SHA-256 digest"),
        (json!([strange]), "unknown field `surprise`"),
        (json!({}), "invalid type"),
    ];
    for (deltas, expected) in cases {
        let error = Release::parse(&changed(RELEASE, "/deltas", deltas.clone())).unwrap_err();
        let text = chain(&error);
        assert!(
            text.contains(expected),
            "{deltas}: {text:?} lacks {expected:?}"
        );
    }
    let fits = json!([
        delta(&one, "sbd1", 1),
        delta(&one, "sbd2", 1),
        delta(&other, "sbd1", 1 << 40)
    ]);
    assert!(Release::parse(&changed(RELEASE, "/deltas", fits)).is_ok());
}

#[test]
fn finds_the_delta_from_an_image_and_passes_over_formats_it_does_not_know() {
    let mut release = Release::parse(RELEASE.as_bytes()).unwrap();
    let from = release.deltas[0].from;
    assert_eq!(release.delta_from(&from), release.deltas.first());
    assert_eq!(release.delta_from(&release.image.sha256), None);
    assert_eq!(release.blobs().count(), 8);

    release.deltas[0].format = "sbd9".parse().unwrap();
    let text = release.to_json().unwrap();
    let release = Release::parse(text.as_bytes()).unwrap();
    assert_eq!(release.delta_from(&from), None);
}

#[test]
fn a_release_without_deltas_or_chunks_is_written_as_before_there_were_any() {
    let mut release = Release::parse(RELEASE.as_bytes()).unwrap();
    release.deltas.clear();
    release.chunks = None;
    let text = release.to_json().unwrap();
    assert!(!text.contains("deltas") && !text.contains("chunks"));
}

#[test]
fn refuses_chunks_of_a_length_that_cannot_be_and_says_why() {
    for (pointer, value, expected) in [
        ("/chunks/index/length", json!(0), "chunks.index.length = 0"),
        (
            "/chunks/index/length",
            json!((1 << 20) + 1),
            "between 1 and 1048576 bytes are allowed",
        ),
        ("/chunks/data/length", json!(0), "chunks.data.length = 0"),
        (
            "/chunks/data/length",
            json!(1_u64 << 50),
            "chunks.data.length",
        ),
        ("/chunks/data", json!(null), "missing field `data`"),
    ] {
        let error = Release::parse(&changed(RELEASE, pointer, value)).unwrap_err();
        let text = chain(&error);
        assert!(
            text.contains(expected),
            "{pointer}: {text:?} lacks {expected:?}"
        );
    }
}

#[test]
fn refuses_more_segments_than_a_device_can_hold_digests_for() {
    let mut document: Value = serde_json::from_str(RELEASE).unwrap();
    document["image"]["size"] = json!(1_u64 << 40);
    document["image"]["segment_size"] = json!(65_536);
    document["image"]["segments"]["length"] = json!(32_u64 << 24);
    let error = Release::parse(&serde_json::to_vec(&document).unwrap()).unwrap_err();
    assert!(
        error.to_string().contains("makes 16777216 segments"),
        "{error}"
    );
}

#[test]
fn requires_every_field_but_the_optional_ones() {
    for (example, optional) in [
        (
            RELEASE,
            &[
                "chunks",
                "deltas",
                "notes",
                "provenance",
                "requires",
                "sbom",
            ][..],
        ),
        (CHANNEL, &["expires"][..]),
    ] {
        let document: Value = serde_json::from_str(example).unwrap();
        for name in document.as_object().unwrap().keys() {
            let bytes = changed(example, &format!("/{name}"), Value::Null);
            let accepted = match example {
                RELEASE => Release::parse(&bytes).is_ok(),
                _ => Channel::parse(&bytes).is_ok(),
            };
            assert_eq!(accepted, optional.contains(&name.as_str()), "{name}");
        }
    }
    assert!(Release::parse(&changed(RELEASE, "/image/kernel_id", Value::Null)).is_ok());
}

#[test]
fn refuses_channels_that_leave_their_product() {
    let cases: &[(&str, Value, &str)] = &[
        (
            "/schema",
            json!(7),
            "has schema 7, this program reads schema 1",
        ),
        ("/surprise", json!(1), "unknown field `surprise`"),
        (
            "/product",
            json!("other"),
            "releases/other/2026.11.3/release.json follows",
        ),
        (
            "/release/version",
            json!("1"),
            "releases/gateway/1/release.json follows",
        ),
        ("/release/path", json!("releases/gateway/../x"), "component"),
        ("/release/sequence", json!(0), "release.sequence = 0"),
        (
            "/channel",
            json!("a/b"),
            "channel name \"a/b\" contains '/'",
        ),
        ("/halted", json!("no"), "invalid type"),
    ];
    for (pointer, value, expected) in cases {
        let error = Channel::parse(&changed(CHANNEL, pointer, value.clone())).unwrap_err();
        let text = chain(&error);
        assert!(
            text.contains(expected),
            "{pointer} = {value}: {text:?} lacks {expected:?}"
        );
    }
}

#[test]
fn refuses_what_no_json_reader_agrees_on() {
    let twice = RELEASE.replacen("\"sequence\": 42", "\"sequence\": 41, \"sequence\": 42", 1);
    let error = Release::parse(twice.as_bytes()).unwrap_err();
    assert!(
        chain(&error).contains("duplicate field `sequence`"),
        "{error:?}"
    );
    assert!(Release::parse(format!("{RELEASE}{{}}").as_bytes()).is_err());
    assert!(Release::parse(b"").is_err());
    assert!(Release::parse(&[0xff; 64]).is_err());
}

#[test]
fn refuses_endless_documents_before_reading_them() {
    let padded = format!("{RELEASE}{}", " ".repeat(MAX_DOCUMENT_BYTES));
    let error = Release::parse(padded.as_bytes()).unwrap_err();
    assert!(matches!(
        error,
        ManifestError::TooLong {
            limit: MAX_DOCUMENT_BYTES,
            ..
        }
    ));
}

#[test]
fn writes_no_document_that_it_would_not_read() {
    let mut release = Release::parse(RELEASE.as_bytes()).unwrap();
    release.schema = 2;
    assert!(matches!(
        release.to_json(),
        Err(ManifestError::UnknownSchema { found: 2, .. })
    ));
    release.schema = 1;
    release.sequence = 0;
    assert!(release.to_json().is_err());
}

#[test]
fn a_pointer_confirms_only_the_release_it_names() {
    let release = Release::parse(RELEASE.as_bytes()).unwrap();
    let pointer = Channel::parse(CHANNEL.as_bytes()).unwrap().release;
    pointer.confirm(&release).unwrap();

    let mut other = release.clone();
    other.sequence += 1;
    let error = pointer.confirm(&other).unwrap_err().to_string();
    assert!(
        error.contains("names sequence 42") && error.contains("has 43"),
        "{error}"
    );

    let mut other = release.clone();
    other.image.sha256 = release.full.blob.sha256;
    assert!(
        pointer
            .confirm(&other)
            .unwrap_err()
            .to_string()
            .contains("names image 3b1c")
    );

    let mut other = release;
    other.version = "2026.11.4".parse().unwrap();
    assert!(
        pointer
            .confirm(&other)
            .unwrap_err()
            .to_string()
            .contains("names path")
    );
}

#[test]
fn an_error_does_not_repeat_its_source() {
    let error = Release::parse(b"{").unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(!error.to_string().contains(&source));
}
