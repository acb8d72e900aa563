//! Gates before an update and before a restart: asked again until they open.

use std::sync::Arc;
use std::time::Duration;

use switchback_dbus_api as api;
use switchback_types::Timestamp;
use switchback_update_core::{
    Answer, Decision, Event, GATE_INTERVAL, Gate, GateState, Override, Phase, RepositoryAnswer,
    RestartCause, RestartWait, may_restart,
};

use super::inhibit::{InhibitorId, Inhibitors};
use super::{Driver, DriverError};
use crate::notice::{self, message_id};
use crate::settings::GateSettings;
use crate::worker::Job;

const INTERVAL: Duration = Duration::from_secs(GATE_INTERVAL as u64);

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Gates {
    /// As they were read last.
    read: Vec<Gate>,
    /// What the decision that waits for a gate is about.
    answer: Option<RepositoryAnswer>,
    pub(super) inhibitors: Inhibitors,
    /// A person's word for the next decision.
    pub(super) overridden: Option<Override>,
    /// Whether that word let the update that is under way begin: it stands for its restart, too.
    insisted: bool,
    /// When to look again, on the scale of [`crate::host::Host::uptime`].
    due: Option<Duration>,
    /// Whether the worker reads them.
    reading: bool,
    pub(super) restart: Option<PendingRestart>,
}

/// A restart into an armed slot that has not come yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingRestart {
    /// Since when it is due.
    pub(super) since: Timestamp,
    /// What it waits for.
    pub(super) waits: Waits,
}

/// What a restart waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waits {
    /// The gates are being read.
    Look,
    /// At least one gate is closed.
    Gate(RestartWait),
    /// Applications get ready; at the latest then, by the clock and by the uptime.
    Applications(Timestamp, Duration),
}

impl Gates {
    /// The repository answered, and the gates were read for it.
    pub(super) fn read(&mut self, answer: RepositoryAnswer, gates: Vec<Gate>) {
        self.read = gates;
        self.answer = Some(answer);
    }

    /// What was armed may have been called off.
    pub(super) fn phase_changed(&mut self, phase: &Phase) {
        if !matches!(phase, Phase::OnTrial { verdict: None, .. }) {
            self.restart = None;
        }
    }

    /// All gates: those of the machine, and applications that ask not to be interrupted.
    pub(super) fn all(&self, settings: &GateSettings, uptime: Duration) -> Vec<Gate> {
        let mut gates = self.read.clone();
        gates.extend(self.inhibitors.gates(settings, uptime));
        gates
    }
}

impl Driver {
    /// When the gates are to be looked at.
    pub(super) fn gates_due(&self) -> Option<Duration> {
        if let Some(PendingRestart {
            waits: Waits::Applications(_, latest),
            ..
        }) = &self.gates.restart
        {
            return Some(*latest);
        }
        self.gates
            .due
            .filter(|_| !self.gates.reading && !self.polling && !self.working)
    }

    pub(super) fn look_at_gates(&mut self) {
        let waits = self.gates.restart.as_ref().map(|restart| &restart.waits);
        if matches!(waits, Some(Waits::Applications(..))) {
            tracing::warn!("applications are not ready in time: restarting all the same");
            self.restart_now();
            return;
        }
        self.gates.due = None;
        self.gates.reading = true;
        let settings = Arc::clone(&self.parts.settings.gates);
        self.work(Job::Gates(settings));
    }

    /// A decision that waits for a gate, or for the end of a hold, is made again when that may be
    /// over.
    pub(super) fn watch_gates(&mut self, decision: &Decision) {
        let overridden: Vec<_> = [&decision.wanted, &decision.risk]
            .into_iter()
            .filter(|verdict| verdict.code == "overridden")
            .collect();
        for verdict in &overridden {
            notice::plain(message_id::OVERRIDDEN, &verdict.reason, true);
        }
        self.gates.insisted = decision.is_go() && !overridden.is_empty();
        let stopped = [&decision.wanted, &decision.risk]
            .into_iter()
            .find(|verdict| verdict.answer == Answer::No);
        let ends = self
            .state
            .hold
            .as_ref()
            .is_some_and(|hold| hold.until.is_some());
        let gated = decision.gates.iter().any(Gate::is_closed)
            || stopped.is_some_and(|verdict| verdict.code == "held" && ends);
        let again = stopped.and_then(|verdict| verdict.again);
        self.gates.due = match again.filter(|_| gated) {
            Some(again) => Some(self.uptime_of(again)),
            None => self.gates.due.filter(|_| self.gates.restart.is_some()),
        };
    }

    /// The worker read them.
    pub(super) fn gates_read(
        &mut self,
        now: Timestamp,
        gates: Vec<Gate>,
    ) -> Result<(), DriverError> {
        self.gates.reading = false;
        self.gates.read = gates;
        self.now = self.now.max(now);
        self.end_hold()?;
        if self.gates.restart.is_some() {
            self.weigh_restart();
        }
        let Some(answer) = self.gates.answer.clone() else {
            return Ok(());
        };
        let waits = self.decision.as_ref().is_some_and(|decision| {
            let verdicts = [&decision.wanted, &decision.risk];
            verdicts.iter().any(|verdict| verdict.answer == Answer::No)
        });
        if !waits || self.polling || self.working {
            return Ok(());
        }
        let decision = self.decide(answer);
        if decision.is_go() {
            // Whatever waited may have waited for long: what is offered is asked for anew.
            self.next_poll = self.parts.host.uptime();
            return Ok(());
        }
        self.tell(&decision);
        self.watch_gates(&decision);
        self.decision = Some(decision);
        Ok(())
    }

    /// A hold with an end is over.
    pub(super) fn end_hold(&mut self) -> Result<(), DriverError> {
        let now = self.facts().now;
        let over = self
            .state
            .hold
            .as_ref()
            .is_some_and(|hold| !hold.holds(now));
        if over {
            self.event(Event::HoldReleased)?;
        }
        Ok(())
    }

    /// An application let go.
    pub(super) fn uninhibit(&mut self, id: InhibitorId) {
        self.gates.inhibitors.let_go(id);
        let ready = self
            .gates
            .restart
            .as_ref()
            .is_some_and(|restart| matches!(restart.waits, Waits::Applications(..)))
            && self.gates.inhibitors.delaying().next().is_none();
        if ready {
            self.restart_now();
        } else if self.gates.due.is_some() {
            // It may have been the last one that stood in the way.
            self.gates.due = Some(self.parts.host.uptime());
        }
    }

    /// A slot is armed, a person wants it started, or a trial is lost.
    pub(super) fn restart_for(&mut self, cause: RestartCause) {
        let gated = cause == RestartCause::Armed && !self.gates.insisted;
        if cause == RestartCause::Back {
            self.restart_now();
            return;
        }
        if self.gates.restart.is_none() {
            self.gates.restart = Some(PendingRestart {
                since: self.facts().now,
                waits: Waits::Look,
            });
        }
        if gated {
            self.look_at_gates();
        } else {
            self.wait_for_applications();
        }
    }

    fn weigh_restart(&mut self) {
        let uptime = self.parts.host.uptime();
        let gates = self.gates.all(&self.parts.settings.gates, uptime);
        match may_restart(&gates, self.facts().now) {
            Ok(()) => self.wait_for_applications(),
            Err(wait) => {
                self.gates.due = Some(self.uptime_of(wait.again));
                let Some(restart) = &mut self.gates.restart else {
                    return;
                };
                let same =
                    matches!(&restart.waits, Waits::Gate(before) if before.detail == wait.detail);
                if !same {
                    let text = format!("the restart waits: {}; {}", wait.detail, wait.way_out);
                    notice::plain(message_id::RESTART_WAITS, &text, false);
                }
                restart.waits = Waits::Gate(wait);
            }
        }
    }

    /// Applications that asked for it are told, and given a moment.
    fn wait_for_applications(&mut self) {
        let names: Vec<String> = self
            .gates
            .inhibitors
            .delaying()
            .map(|inhibitor| inhibitor.who.clone())
            .collect();
        if names.is_empty() {
            self.restart_now();
            return;
        }
        let most = self.parts.settings.restart.delay_at_most;
        let seconds = most.as_secs();
        let text = format!(
            "the restart waits at most {seconds} s for {}",
            names.join(", ")
        );
        notice::plain(message_id::RESTART_WAITS, &text, false);
        let at = self
            .facts()
            .now
            .plus_seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
        let latest = self.parts.host.uptime() + most;
        if let Some(restart) = &mut self.gates.restart {
            restart.waits = Waits::Applications(at, latest);
        }
    }

    fn restart_now(&mut self) {
        self.gates.restart = None;
        self.gates.due = None;
        self.restart();
    }

    /// For the bus.
    pub(super) fn gates_view(&self) -> Vec<api::Gate> {
        let uptime = self.parts.host.uptime();
        let gates = self.gates.all(&self.parts.settings.gates, uptime);
        gates.iter().map(gate_view).collect()
    }

    /// For the bus.
    pub(super) fn restart_view(&self) -> api::PendingRestart {
        let Some(restart) = &self.gates.restart else {
            return api::PendingRestart::default();
        };
        let view = api::PendingRestart {
            pending: true,
            since: restart.since.to_string(),
            ..api::PendingRestart::default()
        };
        match &restart.waits {
            Waits::Look => view,
            Waits::Gate(wait) => api::PendingRestart {
                waits_for: "gates".into(),
                reason: wait.detail.clone(),
                way_out: wait.way_out.clone(),
                again: wait.again.to_string(),
                ..view
            },
            Waits::Applications(latest, _) => {
                let names = self.gates.inhibitors.delaying();
                let names: Vec<_> = names.map(|inhibitor| inhibitor.who.as_str()).collect();
                api::PendingRestart {
                    waits_for: "applications".into(),
                    reason: format!("{} get ready for it", names.join(", ")),
                    way_out: "it comes as soon as they let go".into(),
                    again: latest.to_string(),
                    ..view
                }
            }
        }
    }

    /// By the clock, a moment on the scale of the uptime.
    pub(super) fn wall_time(&self, uptime: Duration) -> Timestamp {
        let left = uptime.saturating_sub(self.parts.host.uptime());
        let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        self.facts().now.plus_seconds(seconds)
    }

    /// On the scale of the uptime, a moment by the clock. Not long after now: the clock may be set.
    fn uptime_of(&self, time: Timestamp) -> Duration {
        let seconds = time.unix().saturating_sub(self.facts().now.unix());
        let left = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let poll = self.parts.settings.repository.poll_interval.max(INTERVAL);
        self.parts.host.uptime() + left.min(poll)
    }
}

fn gate_view(gate: &Gate) -> api::Gate {
    let view = api::Gate {
        name: gate.name.clone(),
        question: gate.question.as_str().into(),
        before: gate.before.as_str().into(),
        open: !gate.is_closed(),
        ..api::Gate::default()
    };
    match &gate.state {
        GateState::Open { detail } => api::Gate {
            reason: detail.clone(),
            ..view
        },
        GateState::Closed {
            code,
            detail,
            way_out,
            opens,
        } => api::Gate {
            code: code.clone(),
            reason: detail.clone(),
            way_out: way_out.clone(),
            opens: opens.map(|at| at.to_string()).unwrap_or_default(),
            ..view
        },
    }
}
