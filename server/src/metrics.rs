//! What is counted, in Prometheus' text form.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($field:ident, $name:literal, $help:literal;)+) => {
        /// Everything that is counted.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: Counter,)+
        }

        impl Metrics {
            /// All counters.
            pub fn write(&self, text: &mut String) {
                $(write_one(text, $name, "counter", $help, &[(String::new(), self.$field.get())]);)+
            }
        }
    };
}

counters! {
    polls, "switchback_polls_total", "Polls of devices that were answered.";
    feedback, "switchback_feedback_total", "Feedback of devices that was taken.";
    downloads, "switchback_downloads_total", "Files that devices began to fetch from this server.";
    downloads_deferred, "switchback_downloads_deferred_total", "Downloads that were told to come later.";
    outcomes, "switchback_outcomes_total", "Attempts that ended.";
    refused_tokens, "switchback_refused_tokens_total", "Requests with a wrong token or none.";
    refused_handshakes, "switchback_refused_handshakes_total", "TLS handshakes that came to nothing.";
    planner_turns, "switchback_planner_turns_total", "Looks of the planner.";
    webhooks, "switchback_webhook_deliveries_total", "Webhooks that were delivered.";
    webhook_failures, "switchback_webhook_failures_total", "Tries to deliver a webhook that failed.";
}

/// One metric, with a value for each set of labels.
pub fn write_one(text: &mut String, name: &str, kind: &str, help: &str, values: &[(String, u64)]) {
    // Writing to a text cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in values {
        let _ = if labels.is_empty() {
            writeln!(text, "{name} {value}")
        } else {
            writeln!(text, "{name}{{{labels}}} {value}")
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.polls.add(2);
        let mut text = String::new();
        metrics.write(&mut text);
        assert!(text.starts_with(
            "# HELP switchback_polls_total Polls of devices that were answered.\n\
             # TYPE switchback_polls_total counter\nswitchback_polls_total 2\n"
        ));
        write_one(&mut text, "x", "gauge", "Y.", &[("a=\"b\"".into(), 1)]);
        assert!(text.ends_with("x{a=\"b\"} 1\n"));
    }
}
