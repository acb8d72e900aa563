//! `switchback-fleet`: asks the fleet server over its API, and tells it what to do. It holds no
//! logic of its own; what it prints of devices is what devices said.
#![forbid(unsafe_code)]

mod args;
mod client;
mod devices;
mod exit;
mod people;
mod releases;
mod rollouts;
mod status;
mod table;
mod time;
mod token;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

use crate::args::{Arguments, Verb};
use crate::client::Client;
use crate::exit::Failure;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; the rest is exit code 2.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    let json = arguments.json;
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.code)
        }
    }
}

fn run(arguments: Arguments) -> Result<u8, Failure> {
    let client = Client::new(&arguments.to)?;
    let json = arguments.json;
    match arguments.verb {
        Verb::Status => status::fleet(&client, json),
        Verb::Drift { which } => status::drift(&client, &which, json),
        Verb::Device(verb) => devices::run(&client, verb, json),
        Verb::Release(verb) => releases::run(&client, verb, json),
        Verb::Rollout(verb) => rollouts::run(&client, verb, json),
        Verb::Rollback { group } => rollouts::rollback(&client, &group, json),
        Verb::Token(verb) => people::token(&client, verb, json),
        Verb::Webhook(verb) => people::webhook(&client, verb, json),
        Verb::Audit { before, limit } => people::audit(&client, before, limit, json),
        Verb::Watch => watch::everything(&client, json),
        Verb::Whoami => people::whoami(&client, json),
    }
}

/// Prints the server's answer as it is, or what `text` makes of it.
fn show(answer: &Value, json: bool, text: impl FnOnce(&Value) -> String) -> Result<u8, Failure> {
    if json {
        println!("{answer:#}");
    } else {
        print!("{}", text(answer));
    }
    Ok(exit::OK)
}

/// A text of a document; empty, when it is not there.
fn text<'a>(document: &'a Value, key: &str) -> &'a str {
    document
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A number of a document; 0, when it is not there.
fn number(document: &Value, key: &str) -> i64 {
    document.get(key).and_then(Value::as_i64).unwrap_or(0)
}

/// The documents of a list.
fn all(document: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    document.as_array().into_iter().flatten()
}

/// A part of an address, whatever is in it.
fn part(text: &str) -> String {
    let mut part = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                part.push(char::from(byte));
            }
            other => part.push_str(&format!("%{other:02X}")),
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn a_part_of_an_address_stays_one() {
        assert_eq!(part("d-1_x.y~"), "d-1_x.y~");
        assert_eq!(part("../a b?é"), "..%2Fa%20b%3F%C3%A9");
    }
}
