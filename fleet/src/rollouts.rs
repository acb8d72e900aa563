//! Rollouts.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::args::{Create, OnBrokenGate, Rollout, seconds};
use crate::client::Client;
use crate::exit::{Failure, USAGE};
use crate::table::{Table, count, plain};
use crate::{all, number, part, show, text, watch};

/// Longest description of a rollout in bytes, as the server takes it.
const MAX_BYTES: u64 = 256 * 1024;

pub(crate) fn run(client: &Client, verb: Rollout, json: bool) -> Result<u8, Failure> {
    match verb {
        Rollout::List => show(&client.get("/api/v1/rollouts")?, json, |answer| {
            let rollouts: Vec<&Value> = all(answer).collect();
            let table = table(&rollouts);
            if table.is_empty() {
                return "No rollout: `switchback-fleet rollout create NAME PRODUCT/VERSION` begins \
                        one.\n"
                    .into();
            }
            table.text()
        }),
        Rollout::Show { id } => show(&one(client, &id)?, json, page),
        Rollout::Create(create) => begin(client, &create, json),
        Rollout::Watch { id } => watch::rollout(client, &id, json),
        Rollout::Approve { id } => command(client, &id, &json!({"command": "approve"}), json),
        Rollout::Deny { id } => command(client, &id, &json!({"command": "deny"}), json),
        Rollout::Pause { id } => command(client, &id, &json!({"command": "pause"}), json),
        Rollout::Resume { id } => command(client, &id, &json!({"command": "resume"}), json),
        Rollout::NextWave { id } => command(client, &id, &json!({"command": "next-wave"}), json),
        Rollout::Stop { id } => command(client, &id, &json!({"command": "stop"}), json),
        Rollout::Retry { id, device } => {
            let order = json!({"command": "retry", "device": device});
            command(client, &id, &order, json)
        }
        Rollout::Revert { id, group } => {
            let order = json!({"command": "revert", "group": group});
            command(client, &id, &order, json)
        }
    }
}

pub(crate) fn one(client: &Client, id: &str) -> Result<Value, Failure> {
    client.get(&format!("/api/v1/rollouts/{}", part(id)))
}

fn command(client: &Client, id: &str, order: &Value, json: bool) -> Result<u8, Failure> {
    let path = format!("/api/v1/rollouts/{}/command", part(id));
    client.tell("POST", &path, order)?;
    show(&one(client, id)?, json, |one| {
        format!("{id} is {}\n", words(phase(one)))
    })
}

pub(crate) fn rollback(client: &Client, group: &str, json: bool) -> Result<u8, Failure> {
    let answer = client.tell("POST", "/api/v1/rollback", &json!({"group": group}))?;
    show(&answer, json, |answer| {
        let none = Value::Null;
        let ids = all(answer.get("rollouts").unwrap_or(&none)).filter_map(Value::as_str);
        let ids: Vec<&str> = ids.collect();
        let who = count(number(answer, "devices"), "device goes", "devices go");
        let of = ids.join(", ");
        format!("{who} back, of {of}: `switchback-fleet rollout watch ID` shows how\n")
    })
}

fn begin(client: &Client, create: &Create, json: bool) -> Result<u8, Failure> {
    let body = match &create.from {
        Some(file) => from_file(file)?,
        None => from_flags(create)?,
    };
    let answer = client.tell("POST", "/api/v1/rollouts", &body)?;
    let id = text(&answer, "id").to_owned();
    if !create.watch {
        return show(&answer, json, |_| {
            format!("{id} has begun: `switchback-fleet rollout watch {id}` shows how it goes\n")
        });
    }
    watch::rollout(client, &id, json)
}

fn from_file(file: &Path) -> Result<Value, Failure> {
    let wrong = |why: String| Failure::new(USAGE, format!("{}: {why}", file.display()));
    let mut body = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAX_BYTES).read_to_string(&mut body)
    } else {
        let open = std::fs::File::open(file).map_err(|why| wrong(why.to_string()))?;
        open.take(MAX_BYTES).read_to_string(&mut body)
    };
    read.map_err(|why| wrong(why.to_string()))?;
    serde_json::from_str(&body).map_err(|why| wrong(why.to_string()))
}

/// What is not said is not sent: the server knows what is safe.
fn from_flags(create: &Create) -> Result<Value, Failure> {
    let mut body = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(key.into(), value);
        }
    };
    put("name", create.name.as_ref().map(|name| json!(name)));
    put("release", create.release.as_ref().map(|name| json!(name)));
    put("group", create.group.as_ref().map(|group| json!(group)));
    if !create.waves.is_empty() {
        let waves: Result<Vec<Value>, Failure> =
            create.waves.iter().map(|text| wave(text)).collect();
        let mut plan = json!({"waves": waves?});
        for (key, limit) in [
            ("in_flight", create.in_flight),
            ("per_hour", create.per_hour),
        ] {
            if let (Some(limit), Some(plan)) = (limit, plan.as_object_mut()) {
                plan.insert(key.into(), json!(limit));
            }
        }
        put("plan", Some(plan));
    }
    if !create.gates.is_empty() {
        let gates: Result<Map<String, Value>, Failure> = create.gates.iter().map(gate).collect();
        put("gates", Some(Value::Object(gates?)));
    }
    put(
        "on_broken_gate",
        create.on_broken_gate.map(|what| match what {
            OnBrokenGate::Pause => json!("pause"),
            OnBrokenGate::Revert => json!("revert"),
        }),
    );
    put("deadline", create.deadline.map(|seconds| json!(seconds)));
    put("retries", create.retries.map(|count| json!(count)));
    put("not_before", create.not_before.as_ref().map(|at| json!(at)));
    for (key, flag) in [
        ("manual", create.manual),
        ("needs_approval", create.needs_approval),
        ("needs_confirmation", create.needs_confirmation),
        ("emergency", create.emergency),
    ] {
        put(key, flag.then_some(Value::Bool(true)));
    }
    Ok(Value::Object(body))
}

/// `10%:4h`.
fn wave(text: &str) -> Result<Value, Failure> {
    let (reach, soak) = text.split_once(':').unwrap_or((text, "0s"));
    let soak = seconds(soak).map_err(|why| Failure::new(USAGE, format!("--wave {text}: {why}")))?;
    Ok(json!({"reach": reach, "soak": soak}))
}

/// `failed=5%` or `silent=3`.
fn gate((name, limit): &(String, String)) -> Result<(String, Value), Failure> {
    let key = name.replace('-', "_");
    let value = match (key.as_str(), limit.ends_with('%'), limit.parse::<u32>()) {
        ("succeeded", ..) => json!(limit),
        (_, true, _) => json!({"share": limit}),
        (_, false, Ok(count)) => json!({"count": count}),
        _ => {
            return Err(Failure::new(
                USAGE,
                format!("--gate {name}={limit}: a share such as 5%, or a number of devices"),
            ));
        }
    };
    Ok((key, value))
}

pub(crate) fn phase(one: &Value) -> &str {
    one.get("rollout")
        .map_or("", |rollout| text(rollout, "phase"))
}

/// Whether nothing happens any more by itself.
pub(crate) fn is_over(phase: &str) -> bool {
    matches!(phase, "denied" | "reverted" | "finished" | "stopped")
}

pub(crate) fn words(phase: &str) -> String {
    phase.replace('-', " ")
}

fn definition<'a>(one: &'a Value, nothing: &'a Value) -> &'a Value {
    one.get("rollout")
        .and_then(|rollout| rollout.get("definition"))
        .unwrap_or(nothing)
}

pub(crate) fn table(rollouts: &[&Value]) -> Table {
    let none = Value::Null;
    let mut table = Table::new(&["ROLLOUT", "NAME", "RELEASE", "IS", "REACHED", "WELL", "BAD"]);
    for one in rollouts {
        let definition = definition(one, &none);
        let tally = one.get("tally").unwrap_or(&none);
        let bad = ["failed", "rolled_back", "silent"].map(|word| number(tally, word));
        table.add([
            text(one, "id").to_owned(),
            text(definition, "name").to_owned(),
            release(definition).to_owned(),
            words(phase(one)),
            number(tally, "reached").to_string(),
            number(tally, "succeeded").to_string(),
            bad.iter().sum::<i64>().to_string(),
        ]);
    }
    table
}

fn release(definition: &Value) -> &str {
    definition
        .get("target")
        .map_or("", |target| text(target, "release"))
}

pub(crate) fn page(one: &Value) -> String {
    let none = Value::Null;
    let definition = definition(one, &none);
    let rollout = one.get("rollout").unwrap_or(&none);
    let group = match definition.get("group").and_then(Value::as_str) {
        None | Some("" | "all") => "everybody",
        Some(group) => group,
    };
    let mut page = String::new();
    let _ = writeln!(
        page,
        "{} ({}): {} for {}",
        plain(text(definition, "name")),
        text(one, "id"),
        plain(release(definition)),
        plain(group)
    );
    let why = text(rollout, "why");
    let _ = match why {
        "" => writeln!(page, "is {}", words(phase(one))),
        why => writeln!(page, "is {}: {}", words(phase(one)), plain(why)),
    };
    if let Some(waiting) = one.get("waiting").and_then(Value::as_str) {
        let _ = writeln!(page, "waits for: {}", plain(waiting));
    }
    let planned = definition.get("plan").and_then(|plan| plan.get("waves"));
    let now_in = number(rollout, "wave");
    let mut table = Table::new(&[
        "WAVE",
        "TO",
        "OFFERED",
        "REACHED",
        "AT IT",
        "WELL",
        "FAILED",
        "WENT BACK",
        "SILENT",
    ]);
    let tallies = all(one.get("waves").unwrap_or(&none));
    for ((wave, tally), index) in all(planned.unwrap_or(&none)).zip(tallies).zip(0_i64..) {
        let here = phase(one) == "running" && index == now_in;
        let of = |word: &str| number(tally, word).to_string();
        table.add([
            format!("{}{}", index + 1, if here { " ←" } else { "" }),
            text(wave, "reach").to_owned(),
            of("offered"),
            of("reached"),
            of("pending"),
            of("succeeded"),
            of("failed"),
            of("rolled_back"),
            of("silent"),
        ]);
    }
    page.push_str(&table.text());
    if let Some(hint) = hint(phase(one), text(one, "id")) {
        let _ = writeln!(page, "{hint}");
    }
    page
}

/// What a person can do about it.
fn hint(phase: &str, id: &str) -> Option<String> {
    let typed = |verb: &str| format!("`switchback-fleet rollout {verb} {id}`");
    match phase {
        "waiting-for-approval" => Some(format!(
            "Somebody else: {} or {}",
            typed("approve"),
            typed("deny")
        )),
        "paused" => Some(format!(
            "{} goes on, {} brings its devices back",
            typed("resume"),
            typed("revert")
        )),
        _ => None,
    }
}
