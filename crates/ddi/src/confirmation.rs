//! Somebody at the device agrees to an update before it is made.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::deployment::{ActionHistory, Deployment};
use crate::error::DdiError;
use crate::feedback::{MAX_DETAIL_CHARS, MAX_DETAILS};
use crate::lenient;
use crate::poll::Link;

/// The body of `confirmationBase`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmationBase {
    /// Whether the device agrees to everything.
    pub auto_confirm: AutoConfirm,
    /// What can be done: `activateAutoConfirm` or `deactivateAutoConfirm`, and
    /// `confirmationBase` when something waits.
    #[serde(rename = "_links", default)]
    pub links: std::collections::BTreeMap<String, Link>,
}

/// Whether a device agrees to everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoConfirm {
    /// Whether it does.
    pub active: bool,
    /// Who said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// When, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<i64>,
}

/// The body of `confirmationBase/{action}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmationOffer {
    /// The action.
    pub id: String,
    /// What would be installed.
    pub confirmation: Deployment,
    /// What was said of it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_history: Option<ActionHistory>,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// Yes.
    Confirmed,
    /// No. Also what an unknown word means: agreement is never made up.
    Denied,
}

/// The body of `confirmationBase/{action}/feedback`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmationFeedback {
    /// The answer.
    pub confirmation: Confirmation,
    /// Messages, cut as those of a feedback.
    pub details: Vec<String>,
}

impl ConfirmationFeedback {
    /// Reads an answer.
    ///
    /// # Errors
    /// The body is too long or no JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, DdiError> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            confirmation: Value,
            #[serde(default)]
            details: Vec<Value>,
        }
        let wire: Wire = lenient::read("confirmation", bytes)?;
        let word = lenient::text(&wire.confirmation).unwrap_or_default();
        Ok(Self {
            confirmation: if word.trim().eq_ignore_ascii_case("confirmed") {
                Confirmation::Confirmed
            } else {
                Confirmation::Denied
            },
            details: wire
                .details
                .iter()
                .filter_map(lenient::text)
                .take(MAX_DETAILS)
                .map(|text| lenient::cut(&text, MAX_DETAIL_CHARS))
                .collect(),
        })
    }
}

/// The body of `confirmationBase/activateAutoConfirm`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AutoConfirmRequest {
    /// Who says so.
    pub initiator: Option<String>,
    /// Why.
    pub remark: Option<String>,
}

impl AutoConfirmRequest {
    /// Reads the request; an empty body is one.
    ///
    /// # Errors
    /// The body is too long or no JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, DdiError> {
        #[derive(Deserialize)]
        struct Wire {
            #[serde(default)]
            initiator: Value,
            #[serde(default)]
            remark: Value,
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        let wire: Wire = lenient::read("activateAutoConfirm", bytes)?;
        let short = |value: &Value| lenient::text(value).map(|text| lenient::cut(&text, 256));
        Ok(Self {
            initiator: short(&wire.initiator),
            remark: short(&wire.remark),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_never_made_up() {
        let of = |text: &str| ConfirmationFeedback::parse(text.as_bytes()).unwrap();
        let yes = of(r#"{"confirmation":"confirmed","code":200,"details":["OK"]}"#);
        assert_eq!(yes.confirmation, Confirmation::Confirmed);
        assert_eq!(yes.details, ["OK"]);
        for text in [
            r#"{"confirmation":"denied"}"#,
            "{}",
            r#"{"confirmation":"yes?"}"#,
        ] {
            assert_eq!(of(text).confirmation, Confirmation::Denied);
        }
    }

    #[test]
    fn an_empty_body_activates() {
        let empty = AutoConfirmRequest::parse(b" ").unwrap();
        assert_eq!(empty, AutoConfirmRequest::default());
        let full = br#"{"initiator":"user-7","remark":"site policy"}"#;
        let full = AutoConfirmRequest::parse(full).unwrap();
        assert_eq!(full.initiator.as_deref(), Some("user-7"));
    }
}
