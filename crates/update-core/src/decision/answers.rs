//! The five answers, each from its own function.

use alloc::format;

use switchback_types::ByteCount;

use super::{Answer, Candidate, Decision, DecisionInputs, RepositoryAnswer, Verdict};
use crate::Question;
use crate::gate;
use crate::slot::ImageIdentity;

/// Answers the five questions.
#[must_use]
pub fn decide(inputs: &DecisionInputs<'_>) -> Decision {
    answer(inputs).dated(inputs.before, inputs.next_poll)
}

fn answer(inputs: &DecisionInputs<'_>) -> Decision {
    let mut decision = Decision {
        at: inputs.now,
        version: None,
        available: Verdict::not_asked(),
        wanted: Verdict::not_asked(),
        risk: Verdict::not_asked(),
        trusted: Verdict::not_asked(),
        verifiable: Verdict::not_asked(),
        gates: inputs.gates.clone(),
    };
    let candidate = match &inputs.repository {
        RepositoryAnswer::Release(candidate) => candidate,
        RepositoryAnswer::Nothing { detail } => {
            decision.available = Verdict::no(
                "nothing-offered",
                detail.as_str(),
                "publish a release into this device's channel",
            );
            return decision;
        }
        RepositoryAnswer::Unreachable { detail } => {
            decision.available = Verdict::no(
                "unreachable",
                detail.as_str(),
                "the device goes on asking by itself; check the network and the address",
            );
            return decision;
        }
        RepositoryAnswer::Untrusted { detail } => {
            decision.trusted = Verdict::no(
                "untrusted",
                detail.as_str(),
                "nothing was installed; publish the repository again with its own keys",
            );
            return decision;
        }
        RepositoryAnswer::Stale { detail } => {
            decision.trusted = Verdict::no(
                "stale",
                detail.as_str(),
                "the device goes on asking; sign fresh metadata (`switchback-repo refresh`)",
            );
            return decision;
        }
    };
    let image = &candidate.image;
    decision.version = Some(image.version.clone());
    decision.available = available(inputs, candidate);
    if decision.available.answer != Answer::Yes {
        return decision;
    }
    decision.wanted = wanted(inputs, candidate);
    if decision.wanted.answer != Answer::Yes {
        return decision;
    }
    decision.risk = risk(inputs);
    if decision.risk.answer != Answer::Yes {
        return decision;
    }
    decision.trusted = trusted(inputs, candidate);
    if decision.trusted.answer != Answer::Yes {
        return decision;
    }
    decision.verifiable = verifiable(inputs, image);
    decision
}

fn available(inputs: &DecisionInputs<'_>, candidate: &Candidate) -> Verdict {
    let image = &candidate.image;
    let running = inputs.state.slot(inputs.booted).image();
    let same = running.is_some_and(|running| running.sha256 == image.sha256);
    if same || candidate.runs_already {
        return Verdict::no(
            "up-to-date",
            format!("version {} runs already", image.version),
            "publish a newer release into this device's channel",
        );
    }
    let named = candidate.toward.as_ref().unwrap_or(&image.version);
    let mut text = format!("version {named} is published");
    if let Some(running) = running {
        text = format!("{text}, {} runs", running.version);
    }
    if candidate.toward.is_some() {
        text = format!("{text}; version {} comes before it", image.version);
    }
    Verdict::yes("available", text)
}

/// A person who insists takes what `liftable` says upon himself.
fn unless_overridden(inputs: &DecisionInputs<'_>, liftable: Option<Verdict>) -> Option<Verdict> {
    let verdict = liftable?;
    Some(match &inputs.overridden {
        Some(word) => {
            let text = format!("overridden ({}): {}", word.reason, verdict.reason);
            Verdict::yes("overridden", text)
        }
        None => verdict,
    })
}

/// What a person said comes first, so that it is what is shown; but an override of it overrides
/// nothing else: what failed here, and what the publisher halted or never meant to be gone back to,
/// have ways out of their own.
fn wanted(inputs: &DecisionInputs<'_>, candidate: &Candidate) -> Verdict {
    let word = unless_overridden(inputs, held_or_pinned(inputs, &candidate.image));
    if let Some(word) = word.as_ref().filter(|word| word.answer == Answer::No) {
        return word.clone();
    }
    let after = || unless_overridden(inputs, consent_or_gates(inputs, &candidate.image));
    unwanted(inputs, candidate)
        .or(word)
        .or_else(after)
        .unwrap_or_else(|| {
            Verdict::yes(
                "wanted",
                "the channel names it, nobody holds the device, it has not failed here",
            )
        })
}

/// What no person at the device overrides.
fn unwanted(inputs: &DecisionInputs<'_>, candidate: &Candidate) -> Option<Verdict> {
    let image = &candidate.image;
    if candidate.halted {
        return Some(Verdict::no(
            "halted",
            "the channel is halted by its publisher",
            "the publisher resumes it (`switchback-repo channel set --resume`)",
        ));
    }
    if let Some(failed) = inputs.state.failure_of(&image.sha256) {
        return Some(Verdict::no(
            "known-bad",
            format!(
                "version {} failed here on {}: {}",
                image.version, failed.at, failed.reason
            ),
            "publish a corrected release, or `switchback update --retry` to try it once more",
        ));
    }
    let running = inputs
        .state
        .slot(inputs.booted)
        .image()
        .map_or(0, |running| running.sequence);
    (image.sequence < running && !candidate.allow_downgrade).then(|| {
        let text = format!(
            "release number {} is older than the running {running}, and the channel does not \
             allow going back",
            image.sequence
        );
        let way_out = "publish with `--allow-downgrade`, or `switchback rollback` on the device";
        Verdict::no("older", text, way_out)
    })
}

fn consent_or_gates(inputs: &DecisionInputs<'_>, image: &ImageIdentity) -> Option<Verdict> {
    if inputs.consent_required && inputs.state.approved != Some(image.sha256) {
        return Some(Verdict::no(
            "consent",
            format!("version {} waits for a person's consent", image.version),
            "`switchback approve` gives it",
        ));
    }
    let closed = gate::closed_before_update(&inputs.gates, Question::Wanted)?;
    Some(not_through(inputs, closed))
}

/// What a person said about all updates of this device.
fn held_or_pinned(inputs: &DecisionInputs<'_>, image: &ImageIdentity) -> Option<Verdict> {
    let state = inputs.state;
    if let Some(hold) = state.hold.as_ref().filter(|hold| hold.holds(inputs.now)) {
        let until = hold.until.map(|until| format!(" until {until}"));
        let text = format!(
            "held since {}{}: {}",
            hold.since,
            until.unwrap_or_default(),
            hold.reason
        );
        let verdict = Verdict::no("held", text, "`switchback unhold` lets updates go on");
        return Some(verdict.asked_again(hold.until));
    }
    let pin = state.pin.as_ref()?;
    (pin.version != image.version).then(|| {
        let text = format!(
            "pinned to version {} since {}: {}",
            pin.version, pin.since, pin.reason
        );
        Verdict::no(
            "pinned",
            text,
            "`switchback unpin` lets other versions come",
        )
    })
}

fn not_through(inputs: &DecisionInputs<'_>, closed: gate::Closed) -> Verdict {
    let again = gate::asked_again(inputs.now, closed.opens);
    Verdict::no(&closed.code, closed.detail, closed.way_out).asked_again(Some(again))
}

fn risk(inputs: &DecisionInputs<'_>) -> Verdict {
    if let Some(attempt) = inputs.state.phase.attempt() {
        return Verdict::no(
            "busy",
            format!(
                "version {} is {}",
                attempt.image.version,
                inputs.state.phase.kind()
            ),
            "wait for it to end",
        );
    }
    if let Some(verdict) = unless_overridden(inputs, risky(inputs)) {
        return verdict;
    }
    let asked = inputs.gates.iter().filter(|gate| gate.before_update());
    Verdict::yes(
        "acceptable",
        match asked.count() {
            0 => "the running system is healthy, nothing else is under way".into(),
            count => format!(
                "the running system is healthy, nothing else is under way, {count} gates are open"
            ),
        },
    )
}

fn risky(inputs: &DecisionInputs<'_>) -> Option<Verdict> {
    if let Some(pause) = inputs
        .pause
        .as_ref()
        .filter(|pause| inputs.now < pause.until)
    {
        let verdict = Verdict::no(
            "waiting",
            format!(
                "the last attempt failed ({}); the next is made after {}",
                pause.detail, pause.until
            ),
            "`switchback update` tries at once",
        );
        return Some(verdict.asked_again(Some(pause.until)));
    }
    if let Err(detail) = &inputs.health {
        return Some(Verdict::no(
            "not-healthy",
            detail.as_str(),
            "an update starts only from a healthy system, so that there is one to come back to",
        ));
    }
    let closed = gate::closed_before_update(&inputs.gates, Question::Risk)?;
    Some(not_through(inputs, closed))
}

fn trusted(inputs: &DecisionInputs<'_>, candidate: &Candidate) -> Verdict {
    let image = &candidate.image;
    if let Err(lists) = &candidate.compatible {
        return Verdict::no(
            "wrong-product",
            lists.as_str(),
            "publish an image made for this device, or correct `device.compatible`",
        );
    }
    if image.security_epoch < inputs.state.floor {
        return Verdict::no(
            "below-floor",
            format!(
                "security epoch {} is below this device's floor {}",
                image.security_epoch, inputs.state.floor
            ),
            "publish it with a higher security epoch; the floor never goes down",
        );
    }
    if let Some(paper) = candidate.lacks {
        return Verdict::no(
            "papers-missing",
            format!(
                "version {} carries no {paper}, which this device requires",
                image.version
            ),
            format!("publish it with `--{paper}`, or correct `device.require`"),
        );
    }
    let running = inputs.state.slot(inputs.booted).image();
    if let Some(requires) = &candidate.requires
        && running.is_none_or(|running| running.sequence < requires.sequence)
    {
        return Verdict::no(
            "too-early",
            format!(
                "version {} may follow only on version {} or a later one",
                image.version, requires.version
            ),
            format!(
                "install version {} first; a channel leads there by itself",
                requires.version
            ),
        );
    }
    Verdict::yes(
        "trusted",
        "signed by the release role, fresh, made for this device",
    )
}

fn verifiable(inputs: &DecisionInputs<'_>, image: &ImageIdentity) -> Verdict {
    let slot = inputs.booted.other();
    match &inputs.slot_size {
        Err(detail) => {
            return Verdict::no(
                "slot-unusable",
                detail.as_str(),
                "correct the slot's device in the configuration (`switchback config check`)",
            );
        }
        Ok(size) if *size < image.size => {
            return Verdict::no(
                "slot-too-small",
                format!(
                    "the image has {} bytes ({}), slot {slot} has {size} ({})",
                    image.size,
                    ByteCount(image.size),
                    ByteCount(*size)
                ),
                "publish a smaller image, or repartition the device",
            );
        }
        Ok(_) => {}
    }
    if let Err(detail) = &inputs.boot_environment {
        return Verdict::no(
            "boot-environment",
            detail.as_str(),
            "put the boot environment right as said; nothing was written",
        );
    }
    Verdict::yes(
        "verifiable",
        format!(
            "every segment has a signed digest, slot {slot} fits, the boot environment is ours"
        ),
    )
}
