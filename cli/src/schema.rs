//! `docs/schema/cli-v1.json`: what each command prints with `--json`, from the types that it prints.

use serde_json::{Map, Value, json};
use switchback_dbus_api::{
    Check, Decision, Failed, Gate, HistoryEntry, Hold, Inhibitor, Offer, PendingRestart, Pin,
    Progress, Slot, ToJson, Transfer,
};

/// An object with these fields, the schema's number first.
fn object(description: &str, fields: &[(&str, Value)]) -> Value {
    let mut properties = Map::new();
    properties.insert("schema".into(), json!({ "const": 1 }));
    for (name, value) in fields {
        properties.insert((*name).to_owned(), value.clone());
    }
    let required: Vec<&String> = properties.keys().collect();
    json!({
        "type": "object",
        "description": description,
        "required": required,
        "properties": properties,
    })
}

/// The fields of a type, beside others.
fn with<T: ToJson>(description: &str, more: &[(&str, Value)]) -> Value {
    let schema = T::schema();
    let own = schema["properties"].as_object().unwrap();
    let own = own
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()));
    let fields: Vec<_> = own.chain(more.iter().cloned()).collect();
    object(description, &fields)
}

fn document() -> Value {
    let text = || json!({ "type": "string" });
    let number = || json!({ "type": "integer" });
    let list = |kind: Value| json!({ "type": "array", "items": kind });
    let status = object(
        "`switchback status`",
        &[
            ("phase", text()),
            ("progress", Progress::schema()),
            ("transfer", Transfer::schema()),
            ("slots", Vec::<Slot>::schema()),
            ("decision", Decision::schema()),
            ("hold", Hold::schema()),
            ("pin", Pin::schema()),
            ("pending-restart", PendingRestart::schema()),
            ("inhibitors", Vec::<Inhibitor>::schema()),
            ("failed", Vec::<Failed>::schema()),
            ("last-error", text()),
        ],
    );
    let explain = with::<Decision>(
        "`switchback explain`, and `switchback check` at its end",
        &[
            ("gates", Vec::<Gate>::schema()),
            ("pending-restart", PendingRestart::schema()),
        ],
    );
    let inspect = object(
        "`switchback inspect boot-environment`",
        &[
            (
                "variables",
                json!({ "type": "object", "additionalProperties": text() }),
            ),
            ("problems", list(text())),
        ],
    );
    let error = object(
        "any command that fails; on standard output, too",
        &[("error", text()), ("exit-code", number())],
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What switchback prints with --json, by command",
        "description": "Within this version fields are added, never taken away.",
        "$defs": {
            "status": status,
            "explain": explain,
            "slots": object("`switchback slots`", &[("slots", Vec::<Slot>::schema())]),
            "health": object("`switchback health`", &[("health", Vec::<Check>::schema())]),
            "history": object("`switchback history`", &[("history", Vec::<HistoryEntry>::schema())]),
            "inhibit": object("`switchback inhibit` without a command", &[("inhibitors", Vec::<Inhibitor>::schema())]),
            "inspect-release": with::<Offer>("`switchback inspect release`", &[]),
            "inspect-boot-environment": inspect,
            "watch-progress": with::<Progress>("a line of `switchback watch`", &[("event", json!({ "const": "progress" }))]),
            "done": object("a command that gives an order, when it is done", &[("message", text())]),
            "error": error,
        },
    })
}

#[test]
fn committed_schema_is_that_of_the_types() {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema/cli-v1.json");
    let text = format!("{:#}\n", document());
    if std::env::var_os("SWITCHBACK_GENERATE").is_some() {
        std::fs::write(place, &text).unwrap();
    }
    let committed = std::fs::read_to_string(place).unwrap_or_default();
    assert!(
        committed == text,
        "docs/schema/cli-v1.json is out of date: write it anew with SWITCHBACK_GENERATE=1"
    );
}
