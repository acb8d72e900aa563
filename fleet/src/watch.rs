//! What happens, as it happens.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use serde_json::Value;

use crate::client::Client;
use crate::exit::{self, Failure};
use crate::rollouts::{self, is_over, phase, words};
use crate::table::plain;
use crate::{number, text};

/// Between two tries to hear the server again.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest line of the stream in bytes.
const MAX_LINE: u64 = 1 << 20;

/// One thing that happened.
struct Event {
    kind: String,
    data: Value,
}

/// Calls `seen` for each event until it says that it has seen enough. The stream is opened before
/// `ready` is called, so nothing is missed between the two; and again, when it breaks off.
fn follow<T>(
    client: &Client,
    mut ready: impl FnMut() -> Result<Option<T>, Failure>,
    mut seen: impl FnMut(&Event) -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let mut has_heard = false;
    loop {
        let stream = match client.events() {
            Ok(stream) => stream,
            Err(why) if has_heard && why.code == exit::UNREACHABLE => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(why) => return Err(why),
        };
        has_heard = true;
        if let Some(done) = ready()? {
            return Ok(done);
        }
        let mut stream = BufReader::new(stream);
        let mut kind = String::new();
        loop {
            let mut line = String::new();
            let read = std::io::Read::take(&mut stream, MAX_LINE).read_line(&mut line);
            if !matches!(read, Ok(1..)) {
                break;
            }
            let line = line.trim_end();
            if let Some(word) = line.strip_prefix("event:") {
                kind = word.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data:") {
                let event = Event {
                    kind: std::mem::take(&mut kind),
                    data: serde_json::from_str(data).unwrap_or(Value::Null),
                };
                if let Some(done) = seen(&event)? {
                    return Ok(done);
                }
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// All of it, until the program is ended.
pub(crate) fn everything(client: &Client, json: bool) -> Result<u8, Failure> {
    follow(
        client,
        || Ok(None),
        |event| {
            if json {
                let kind = &event.kind;
                println!("{}", serde_json::json!({"event": kind, "data": event.data}));
            } else {
                let fields = event.data.as_object();
                let fields = fields.into_iter().flatten().map(|(name, value)| {
                    let value = value
                        .as_str()
                        .map_or_else(|| value.to_string(), ToOwned::to_owned);
                    format!(" {name}={}", plain(&value))
                });
                println!("{}{}", plain(&event.kind), fields.collect::<String>());
            }
            Ok(None)
        },
    )
}

/// One rollout, a line for each change, until it is over or paused.
pub(crate) fn rollout(client: &Client, id: &str, json: bool) -> Result<u8, Failure> {
    let mut last = String::new();
    let mut look = || -> Result<Option<u8>, Failure> {
        let one = rollouts::one(client, id)?;
        let now = if json { one.to_string() } else { line(&one) };
        if now != last {
            println!("{now}");
            last = now;
        }
        Ok(match phase(&one) {
            "finished" => Some(exit::OK),
            "paused" => Some(exit::NOT_WELL),
            phase if is_over(phase) => Some(exit::NOT_WELL),
            _ => None,
        })
    };
    let look = std::cell::RefCell::new(&mut look);
    follow(
        client,
        || (look.borrow_mut())(),
        |event| {
            let of_another = text(&event.data, "rollout") != id && event.kind != "missed";
            if of_another {
                return Ok(None);
            }
            (look.borrow_mut())()
        },
    )
}

fn line(one: &Value) -> String {
    let none = Value::Null;
    let rollout = one.get("rollout").unwrap_or(&none);
    let tally = one.get("tally").unwrap_or(&none);
    let count = |word: &str| number(tally, word);
    let mut line = format!(
        "{}, wave {}: {} offered, {} reached, {} well, {} failed, {} went back, {} silent",
        words(phase(one)),
        number(rollout, "wave") + 1,
        count("offered"),
        count("reached"),
        count("succeeded"),
        count("failed"),
        count("rolled_back"),
        count("silent")
    );
    let why = text(rollout, "why");
    if !why.is_empty() {
        line.push_str(&format!("; {}", plain(why)));
    }
    line
}
