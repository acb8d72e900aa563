//! What a device says of an action, and what is made of it.

use serde_json::{Map, Value, json};

use crate::error::DdiError;
use crate::lenient;

/// Most messages kept of one feedback.
pub const MAX_DETAILS: usize = 50;
/// Most characters kept of one message.
pub const MAX_DETAIL_CHARS: usize = 1024;
/// `status.code` with which a device says that its bootloader went back to the release before.
/// hawkBit has no word for it: there the action is a failure with this code among its messages.
pub const CODE_ROLLED_BACK: i64 = 1001;

/// How far a device is: steps done of steps in all, as it counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub done: u32,
    /// Steps in all.
    pub of: u32,
}

/// A device's word about an action, or about its cancellation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// The action, as some clients repeat it in the body. The address counts, not this.
    pub id: Option<String>,
    /// `status.execution` in lower case; empty when absent.
    pub execution: String,
    /// `status.result.finished` in lower case; empty when absent.
    pub finished: String,
    /// `status.result.progress`.
    pub progress: Option<Progress>,
    /// `status.code`.
    pub code: Option<i64>,
    /// `status.details`, cut to [`MAX_DETAILS`] messages of [`MAX_DETAIL_CHARS`] characters.
    pub details: Vec<String>,
}

/// What a feedback on `deploymentBase` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// The device is at it.
    Proceeding,
    /// The device fetches.
    Downloading,
    /// The device has fetched all.
    Downloaded,
    /// The device says that it is done. For a client that reports before it restarts this is a
    /// claim, not a proof.
    Succeeded,
    /// The device gave up.
    Failed,
    /// The device came back to what it ran before.
    RolledBack,
    /// The device stopped because it was told to, or by itself.
    Cancelled,
    /// The device does not want it now; it may yet.
    Rejected,
}

/// What a feedback on `cancelAction` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CancelMeaning {
    /// The device stopped: the action is over.
    Accepted,
    /// The device could not stop: the action goes on.
    Refused,
    /// The device has seen the wish; nothing is decided.
    Pending,
}

impl Feedback {
    /// Reads a feedback.
    ///
    /// # Errors
    /// The body is too long or no JSON object with an object `status`.
    pub fn parse(bytes: &[u8]) -> Result<Self, DdiError> {
        #[derive(serde::Deserialize)]
        struct Wire {
            #[serde(default)]
            id: Value,
            status: Status,
        }
        #[derive(serde::Deserialize)]
        struct Status {
            #[serde(default)]
            execution: Value,
            #[serde(default)]
            result: Value,
            #[serde(default)]
            code: Value,
            #[serde(default)]
            details: Value,
        }
        let wire: Wire = lenient::read("feedback", bytes)?;
        let status = wire.status;
        let word = |value: &Value| {
            let text = lenient::text(value).unwrap_or_default();
            lenient::cut(text.trim(), 64).to_ascii_lowercase()
        };
        let finished = match &status.result {
            Value::Object(result) => result.get("finished").map(word).unwrap_or_default(),
            other => word(other),
        };
        Ok(Self {
            id: lenient::text(&wire.id).map(|id| lenient::cut(&id, 128)),
            execution: word(&status.execution),
            finished,
            progress: progress(status.result.get("progress")),
            code: lenient::number(&status.code),
            details: details(&status.details),
        })
    }

    /// A word about an action, without progress.
    #[must_use]
    pub fn new(meaning: Meaning, details: Vec<String>) -> Self {
        let (execution, finished) = match meaning {
            Meaning::Proceeding => ("proceeding", "none"),
            Meaning::Downloading => ("download", "none"),
            Meaning::Downloaded => ("downloaded", "none"),
            Meaning::Succeeded => ("closed", "success"),
            Meaning::Failed | Meaning::RolledBack => ("closed", "failure"),
            Meaning::Cancelled => ("canceled", "none"),
            Meaning::Rejected => ("rejected", "none"),
        };
        Self {
            id: None,
            execution: execution.into(),
            finished: finished.into(),
            progress: None,
            code: (meaning == Meaning::RolledBack).then_some(CODE_ROLLED_BACK),
            details,
        }
    }

    /// As a client sends it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut result = Map::new();
        result.insert("finished".into(), self.finished.as_str().into());
        if let Some(progress) = self.progress {
            let steps = json!({ "cnt": progress.done, "of": progress.of });
            result.insert("progress".into(), steps);
        }
        let mut status = Map::new();
        status.insert("execution".into(), self.execution.as_str().into());
        status.insert("result".into(), result.into());
        status.insert("details".into(), self.details.clone().into());
        if let Some(code) = self.code {
            status.insert("code".into(), code.into());
        }
        let mut body = Map::new();
        if let Some(id) = &self.id {
            body.insert("id".into(), id.as_str().into());
        }
        body.insert("status".into(), status.into());
        Value::from(body).to_string()
    }

    /// What it means for the action. Words that nobody knows mean that the device is at it: an
    /// action is never ended by a misspelling.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        match self.execution.as_str() {
            "closed" if self.code == Some(CODE_ROLLED_BACK) => Meaning::RolledBack,
            "closed" if self.finished == "failure" => Meaning::Failed,
            "closed" => Meaning::Succeeded,
            "canceled" | "cancelled" => Meaning::Cancelled,
            "rejected" => Meaning::Rejected,
            "download" => Meaning::Downloading,
            "downloaded" => Meaning::Downloaded,
            _ => Meaning::Proceeding,
        }
    }

    /// What it means for the wish to cancel. hawkBit refuses `canceled` here, which is what
    /// most clients send first: it is taken for what it says.
    #[must_use]
    pub fn cancel_meaning(&self) -> CancelMeaning {
        match (self.execution.as_str(), self.finished.as_str()) {
            ("closed", "failure") | ("rejected", _) => CancelMeaning::Refused,
            ("closed" | "canceled" | "cancelled", _) => CancelMeaning::Accepted,
            _ => CancelMeaning::Pending,
        }
    }
}

fn progress(value: Option<&Value>) -> Option<Progress> {
    let count = |name| {
        let number = lenient::number(value?.get(name)?)?;
        u32::try_from(number).ok()
    };
    Some(Progress {
        done: count("cnt")?,
        of: count("of")?,
    })
}

fn details(value: &Value) -> Vec<String> {
    let all = match value {
        Value::Array(all) => all.as_slice(),
        Value::Null => &[],
        one => core::slice::from_ref(one),
    };
    all.iter()
        .filter_map(lenient::text)
        .filter(|text| !text.is_empty())
        .take(MAX_DETAILS)
        .map(|text| lenient::cut(&text, MAX_DETAIL_CHARS))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Feedback {
        Feedback::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn takes_what_the_clients_send() {
        let suricatta = parse(
            r#"{"id":7,"time":"20261124T234806","status":{"execution":"proceeding",
            "result":{"progress":{"cnt":0,"of":1},"finished":"none"},
            "details":["Installing Update Chunk Artifacts."]}}"#,
        );
        assert_eq!(suricatta.id.as_deref(), Some("7"));
        assert_eq!(suricatta.meaning(), Meaning::Proceeding);
        assert_eq!(suricatta.progress, Some(Progress { done: 0, of: 1 }));
        let rauc = parse(
            r#"{"id":"7","status":{"result":{"finished":"success"},"execution":"closed",
            "details":["Software bundle installed successfully."]}}"#,
        );
        assert_eq!(rauc.meaning(), Meaning::Succeeded);
        let crate_ = parse(
            r#"{"id":"7","status":{"execution":"closed","result":{"finished":"failure"},"details":[]}}"#,
        );
        assert_eq!(crate_.meaning(), Meaning::Failed);
        let bare = parse(r#"{"status":{"execution":"CLOSED"}}"#);
        assert_eq!(bare.meaning(), Meaning::Succeeded);
        let odd = parse(
            r#"{"status":{"execution":"closed","result":"failure","details":"one","code":"1001"}}"#,
        );
        assert_eq!(odd.meaning(), Meaning::RolledBack);
        assert_eq!(odd.details, ["one"]);
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for meaning in [
            Meaning::Proceeding,
            Meaning::Downloading,
            Meaning::Downloaded,
            Meaning::Succeeded,
            Meaning::Failed,
            Meaning::RolledBack,
            Meaning::Cancelled,
            Meaning::Rejected,
        ] {
            let said = Feedback {
                id: Some("7".into()),
                progress: Some(Progress { done: 1, of: 4 }),
                ..Feedback::new(meaning, vec!["one \"two\"".into()])
            };
            assert_eq!(parse(&said.to_json()), said);
            assert_eq!(said.meaning(), meaning);
        }
    }

    #[test]
    fn a_misspelling_ends_nothing() {
        for text in [r#"{"status":{}}"#, r#"{"status":{"execution":"clsoed"}}"#] {
            assert_eq!(parse(text).meaning(), Meaning::Proceeding);
            assert_eq!(parse(text).cancel_meaning(), CancelMeaning::Pending);
        }
    }

    #[test]
    fn every_form_of_a_cancellation_has_a_meaning() {
        let of = |execution: &str, finished: &str| {
            parse(&format!(
                r#"{{"status":{{"execution":"{execution}","result":{{"finished":"{finished}"}}}}}}"#
            ))
            .cancel_meaning()
        };
        assert_eq!(of("closed", "success"), CancelMeaning::Accepted);
        assert_eq!(of("closed", "none"), CancelMeaning::Accepted);
        assert_eq!(of("canceled", "none"), CancelMeaning::Accepted);
        assert_eq!(of("closed", "failure"), CancelMeaning::Refused);
        assert_eq!(of("rejected", "none"), CancelMeaning::Refused);
        assert_eq!(of("proceeding", "none"), CancelMeaning::Pending);
    }

    #[test]
    fn what_is_kept_is_cut() {
        let long = "x".repeat(5000);
        let many: Vec<&str> = core::iter::repeat_n(long.as_str(), 45).collect();
        let body = serde_json::json!({"status": {"execution": "proceeding", "details": many}});
        let kept = parse(&body.to_string());
        assert_eq!(kept.details.len(), 45);
        assert!(
            kept.details
                .iter()
                .all(|text| text.len() == MAX_DETAIL_CHARS)
        );
        let error = Feedback::parse(&vec![b' '; crate::MAX_BODY_BYTES + 1]).unwrap_err();
        assert!(matches!(error, DdiError::TooLong { .. }));
    }
}
