//! Exit codes, and errors with the next command to type.

use serde_json::json;

/// Done.
pub(crate) const OK: u8 = 0;
/// It did not work.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// The server cannot be reached, or cannot keep it now.
pub(crate) const UNREACHABLE: u8 = 3;
/// The server does not permit it.
pub(crate) const NOT_PERMITTED: u8 = 4;
/// The server refused, in the state that things are in.
pub(crate) const REFUSED: u8 = 5;
/// There is no such thing.
pub(crate) const MISSING: u8 = 6;
/// The rollout that was watched did not finish well.
pub(crate) const NOT_WELL: u8 = 7;

/// Why a command failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            let text = json!({ "schema": 1, "error": self.message, "exit-code": self.code });
            println!("{text:#}");
        } else {
            eprintln!("switchback-fleet: {}", self.message);
        }
    }

    /// Of an answer of the server that is no success.
    pub(crate) fn of_answer(status: u16, error: &str, retry_after: Option<&str>) -> Self {
        let again = retry_after.map_or_else(String::new, |s| format!("; try again in {s} s"));
        match status {
            401 => Self::new(
                NOT_PERMITTED,
                "the token is not known there, or has ended: an admin gives one out with \
                 `switchback-fleet token give NAME ROLE`",
            ),
            403 => Self::new(NOT_PERMITTED, error),
            404 => Self::new(MISSING, missing(error)),
            400 | 413 | 415 | 422 => Self::new(USAGE, wrong(error)),
            409 => Self::new(REFUSED, error),
            429 => Self::new(UNREACHABLE, format!("{error}{again}")),
            503 | 507 => Self::new(UNREACHABLE, format!("{error}{again}")),
            _ => Self::new(FAILED, format!("the server says {status}: {error}")),
        }
    }
}

fn missing(error: &str) -> String {
    let look = match error {
        "there is no such device" => "device list",
        "there is no such rollout" => "rollout list",
        "there is no such name" => "token list",
        "there is no such webhook" => "webhook list",
        _ => return error.to_owned(),
    };
    format!("{error}: `switchback-fleet {look}` shows them")
}

fn wrong(error: &str) -> String {
    if error.starts_with("no release ") {
        return format!("{error}: `switchback-fleet release list` shows them");
    }
    if error.starts_with("nobody signed ") {
        return format!(
            "{error}: is it published (`switchback-repo publish`), and is the server's repository \
             up to date?"
        );
    }
    error.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_exit_code_and_a_way_out() {
        for (status, error, code, part) in [
            (401, "", NOT_PERMITTED, "token give NAME ROLE"),
            (
                403,
                "ann is viewer; this takes operator",
                NOT_PERMITTED,
                "ann",
            ),
            (404, "there is no such rollout", MISSING, "rollout list"),
            (400, "no release \"x/1\"", USAGE, "release list"),
            (409, "that is not possible", REFUSED, "not possible"),
            (503, "no database", UNREACHABLE, "try again in 30 s"),
            (507, "no space", UNREACHABLE, "no space"),
            (500, "?", FAILED, "the server says 500"),
        ] {
            let failure = Failure::of_answer(status, error, Some("30"));
            assert_eq!(failure.code, code, "{status}");
            assert!(failure.message.contains(part), "{}", failure.message);
        }
    }
}
