//! The fleet at a glance.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::args::Which;
use crate::client::Client;
use crate::exit::Failure;
use crate::table::{self, Table, plain, short};
use crate::time::{ago, now};
use crate::{all, number, part, rollouts, show, text};

/// Most lines of a part of the overview.
const FEW: usize = 10;

pub(crate) fn fleet(client: &Client, json: bool) -> Result<u8, Failure> {
    let answer = json!({
        "fleet": client.get("/api/v1/fleet")?,
        "drift": client.get(&format!("/api/v1/drift?limit={FEW}"))?,
        "rollouts": client.get("/api/v1/rollouts")?,
    });
    show(&answer, json, |answer| {
        let nothing = Value::Null;
        let of = |name: &str| answer.get(name).unwrap_or(&nothing);
        let fleet = of("fleet");
        let count = |name: &str| number(fleet, name);
        let mut page = String::new();
        let _ = writeln!(
            page,
            "{}, {} heard of lately, {} drifting, {} waiting to be let in",
            table::count(count("devices"), "device", "devices"),
            count("heard"),
            count("drifting"),
            count("pending")
        );
        let drifting = drift_table(of("drift"));
        if !drifting.is_empty() {
            let _ = write!(page, "\nDrift, the longest first:\n{}", drifting.text());
        }
        let shown = i64::try_from(all(of("drift")).count()).unwrap_or(i64::MAX);
        if count("drifting") > shown {
            page.push_str("…: `switchback-fleet drift` shows more\n");
        }
        let open: Vec<&Value> = all(of("rollouts"))
            .filter(|one| !rollouts::is_over(rollouts::phase(one)))
            .collect();
        if !open.is_empty() {
            let _ = write!(page, "\nRollouts:\n{}", rollouts::table(&open).text());
        }
        let versions = fleet.get("versions").and_then(Value::as_object);
        let mut versions: Vec<(&str, i64)> = versions
            .into_iter()
            .flatten()
            .map(|(name, count)| (name.as_str(), count.as_i64().unwrap_or(0)))
            .collect();
        versions.sort_by_key(|(name, count)| (-count, *name));
        if !versions.is_empty() {
            let mut table = Table::new(&["DEVICES", "RUN"]);
            for (name, count) in versions.iter().take(FEW) {
                table.add([count.to_string(), short(name)]);
            }
            let _ = write!(page, "\n{}", table.text());
        }
        page
    })
}

pub(crate) fn drift(client: &Client, which: &Which, json: bool) -> Result<u8, Failure> {
    let (filter, limit) = (part(&which.filter), which.limit);
    let answer = client.get(&format!("/api/v1/drift?filter={filter}&limit={limit}"))?;
    show(&answer, json, |answer| {
        let table = drift_table(answer);
        if table.is_empty() {
            return "All devices run what they should.\n".into();
        }
        table.text()
    })
}

fn drift_table(devices: &Value) -> Table {
    let now = now();
    let mut table = Table::new(&["DEVICE", "RUNS", "SHOULD RUN", "SINCE", "WHY"]);
    for one in all(devices) {
        let answers = one.get("answers").and_then(Value::as_object);
        let answers = answers.into_iter().flatten().map(|(question, answer)| {
            format!("; {question}: {}", plain(answer.as_str().unwrap_or("?")))
        });
        table.add([
            text(one, "id").to_owned(),
            short(text(one, "runs")),
            short(text(one, "wanted")),
            ago(number(one, "since"), now),
            format!("{}{}", text(one, "why"), answers.collect::<String>()),
        ]);
    }
    table
}
