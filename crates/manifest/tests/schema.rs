//! The committed JSON schemas name the same fields as the parser.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly outside of its #[test] function, too"
)]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use switchback_manifest::{Channel, Release};

fn read(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/schema")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// Every object of `document` has exactly the properties of its schema, which is closed.
fn compare(root: &Value, schema: &Value, document: &Value, place: &str) {
    let schema = resolve(root, schema);
    for (index, item) in document.as_array().into_iter().flatten().enumerate() {
        compare(root, &schema["items"], item, &format!("{place}/{index}"));
    }
    let Some(fields) = document.as_object() else {
        return;
    };
    assert_eq!(schema["additionalProperties"], false, "{place} is open");
    let properties = schema["properties"].as_object().unwrap();
    let documented: BTreeSet<_> = properties.keys().collect();
    assert_eq!(documented, fields.keys().collect(), "{place}");
    for required in schema["required"].as_array().unwrap() {
        assert!(
            properties.contains_key(required.as_str().unwrap()),
            "{place}: {required}"
        );
    }
    for (name, value) in fields {
        compare(root, &properties[name], value, &format!("{place}/{name}"));
    }
}

#[test]
fn examples_have_every_field_of_their_schema_and_parse() {
    Release::parse(&read("examples/release.json")).unwrap();
    Channel::parse(&read("examples/channel.json")).unwrap();
    for kind in ["release", "channel"] {
        let schema: Value = serde_json::from_slice(&read(&format!("{kind}-v1.json"))).unwrap();
        let example = read(&format!("examples/{kind}.json"));
        compare(
            &schema,
            &schema,
            &serde_json::from_slice(&example).unwrap(),
            kind,
        );
    }
}

#[test]
fn what_the_schema_requires_the_parser_requires_too() {
    for kind in ["release", "channel"] {
        let schema: Value = serde_json::from_slice(&read(&format!("{kind}-v1.json"))).unwrap();
        let example: Value =
            serde_json::from_slice(&read(&format!("examples/{kind}.json"))).unwrap();
        let required: BTreeSet<_> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for name in example.as_object().unwrap().keys() {
            let mut without = example.clone();
            without.as_object_mut().unwrap().remove(name);
            let bytes = serde_json::to_vec(&without).unwrap();
            let refused = match kind {
                "release" => Release::parse(&bytes).is_err(),
                _ => Channel::parse(&bytes).is_err(),
            };
            assert_eq!(refused, required.contains(name.as_str()), "{kind}/{name}");
        }
    }
}
