//! Devices.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::args::Device;
use crate::client::Client;
use crate::exit::Failure;
use crate::table::{Table, count, plain, plain_lines, short};
use crate::time::{ago, at, now};
use crate::{all, number, part, show, text};

pub(crate) fn run(client: &Client, verb: Device, json: bool) -> Result<u8, Failure> {
    let path = |id: &str, rest: &str| format!("/api/v1/devices/{}{rest}", part(id));
    match verb {
        Device::List { which, after } => {
            let answer = client.get(&format!(
                "/api/v1/devices?filter={}&limit={}&after={}",
                part(&which.filter),
                which.limit,
                part(&after)
            ))?;
            show(&answer, json, list)
        }
        Device::Show { id } => show(&client.get(&path(&id, ""))?, json, page),
        Device::Add { id, labels } => {
            let labels: BTreeMap<String, String> = labels.into_iter().collect();
            let body = json!({"id": id, "labels": labels});
            let answer = client.tell("POST", "/api/v1/devices", &body)?;
            show(&answer, json, |answer| {
                format!(
                    "{id} is let in. Its token, shown once:\n{}\n",
                    text(answer, "token")
                )
            })
        }
        Device::Token { id } => {
            let answer = client.order("POST", &path(&id, "/token"))?;
            show(&answer, json, |answer| {
                format!(
                    "The old token of {id} holds no more. The new one, shown once:\n{}\n",
                    text(answer, "token")
                )
            })
        }
        Device::Approve { id } => {
            let answer = client.order("POST", &path(&id, "/approve"))?;
            show(&answer, json, |_| format!("{id} is let in.\n"))
        }
        Device::Revoke { id } => {
            let answer = client.order("POST", &path(&id, "/revoke"))?;
            show(&answer, json, |_| {
                format!(
                    "{id} is kept out: `switchback-fleet device approve {id}` lets it in again.\n"
                )
            })
        }
        Device::Label { id, labels } => {
            let labels: BTreeMap<String, String> = labels.into_iter().collect();
            let answer = client.tell("PUT", &path(&id, "/labels"), &json!(labels))?;
            show(&answer, json, |_| {
                let of = i64::try_from(labels.len()).unwrap_or(i64::MAX);
                format!("{id} has {}\n", count(of, "label", "labels"))
            })
        }
        Device::Forget { id } => {
            let answer = client.order("DELETE", &path(&id, ""))?;
            show(&answer, json, |_| format!("{id} is forgotten.\n"))
        }
    }
}

fn list(answer: &Value) -> String {
    let now = now();
    let none = Value::Null;
    let devices = answer.get("devices").unwrap_or(&none);
    let mut table = Table::new(&["DEVICE", "STATE", "RUNS", "HEARD OF"]);
    let mut last = "";
    for one in all(devices) {
        last = text(one, "id");
        table.add([
            last.to_owned(),
            text(one, "state").to_owned(),
            runs(one),
            ago(number(one, "heard_at"), now),
        ]);
    }
    let shown = all(devices).count();
    let total = usize::try_from(number(answer, "total")).unwrap_or(shown);
    if table.is_empty() {
        return "No device.\n".into();
    }
    let mut page = table.text();
    if shown < total {
        let _ = writeln!(
            page,
            "{shown} of {total}: `switchback-fleet device list --after {}` shows the next",
            plain(last)
        );
    }
    page
}

/// The release, where the server knows it; else what the device says.
fn runs(device: &Value) -> String {
    match text(device, "release") {
        "" => short(text(device, "identity")),
        release => release.to_owned(),
    }
}

fn page(one: &Value) -> String {
    let now = now();
    let mut page = String::new();
    let _ = writeln!(
        page,
        "{}: {}, runs {}, heard of {}",
        plain(text(one, "id")),
        text(one, "state"),
        plain(&runs(one)),
        ago(number(one, "heard_at"), now)
    );
    if let Some(drift) = one.get("drift").filter(|drift| !drift.is_null()) {
        let _ = writeln!(
            page,
            "should run {} since {}: {}",
            plain(&short(text(drift, "wanted"))),
            at(number(drift, "since")),
            plain(text(drift, "why"))
        );
    }
    let labels = one.get("labels").and_then(Value::as_object);
    for (name, value) in labels.into_iter().flatten() {
        let value = plain(value.as_str().unwrap_or_default());
        let _ = writeln!(page, "  {} = {value}", plain(name));
    }
    let none = Value::Null;
    let mut table = Table::new(&["ROLLOUT", "NAME", "RELEASE", "WAVE", "TRY", "HOW IT ENDED"]);
    for part in all(one.get("rollouts").unwrap_or(&none)) {
        let attempt = part.get("attempt").unwrap_or(&none);
        table.add([
            text(part, "rollout").to_owned(),
            text(part, "name").to_owned(),
            text(part, "release").to_owned(),
            (number(attempt, "wave") + 1).to_string(),
            number(attempt, "number").to_string(),
            text(attempt, "outcome").to_owned(),
        ]);
    }
    if !table.is_empty() {
        let _ = write!(page, "\n{}", table.text());
    }
    for (index, said) in all(one.get("messages").unwrap_or(&none)).rev().enumerate() {
        if index == 0 {
            page.push('\n');
        }
        let mut lines = plain_lines(text(said, "text"));
        let first = lines.next().unwrap_or_default();
        let word = plain(text(said, "word"));
        let _ = writeln!(page, "{}  {word}: {first}", at(number(said, "at")));
        for line in lines {
            let _ = writeln!(page, "    {line}");
        }
    }
    page
}
