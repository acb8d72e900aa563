//! What changes a rollout: devices, people, the planner. Each reads memory, writes the database
//! by compare-and-set, and only then changes memory.

use serde_json::json;
use switchback_rollout::{
    Action, Attempt, Attempts, Command, Definition, Phase, Report, Rollout, report,
};

use crate::app::{App, now, now_ms};
use crate::book::Held;
use crate::fleet::TaskKind;
use crate::store::{Statement, StoreError, Value};

/// How often a change is tried again when somebody else was faster.
const TRIES: usize = 8;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such thing.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// The rollout does not allow it.
    #[error(transparent)]
    Refused(#[from] switchback_rollout::Refused),
    /// The definition is wrong.
    #[error(transparent)]
    Definition(#[from] switchback_rollout::DefinitionError),
    /// It is not possible now.
    #[error("{0}")]
    Not(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a device says, without borrowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It asked for what is in the offer.
    Taken,
    /// It is at it.
    Proceeding,
    /// It says that it is done.
    Claims,
    /// It says that it runs what it runs.
    Runs,
    /// It gave up.
    Failed,
    /// It went back.
    RolledBack,
    /// It stopped.
    Cancelled,
    /// It could not stop.
    CancelRefused,
    /// Somebody agreed.
    Confirmed,
    /// Somebody did not.
    Denied,
}

impl Word {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Proceeding => "proceeding",
            Self::Claims => "says it is done",
            Self::Runs => "runs",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::Cancelled => "cancelled",
            Self::CancelRefused => "could not stop",
            Self::Confirmed => "confirmed",
            Self::Denied => "denied",
        }
    }

    fn report(self, runs: &str) -> Option<Report<'_>> {
        let known = (!runs.is_empty()).then_some(runs);
        Some(match self {
            Self::Taken | Self::Proceeding => Report::Taken,
            Self::Claims => Report::Claims { runs: known },
            Self::Runs => Report::Runs(known?),
            Self::Failed => Report::Failed,
            Self::RolledBack => Report::RolledBack,
            Self::Cancelled => Report::Cancelled,
            Self::CancelRefused => Report::CancelRefused,
            Self::Confirmed => Report::Confirmed,
            Self::Denied => Report::Denied,
        })
    }
}

/// Keeps an attempt that was changed, if it is still what it was.
fn update(rollout: &str, device: &str, attempt: &Attempt, held: Held) -> Statement {
    Statement::new(
        "UPDATE attempts SET doc = $1, generation = generation + 1, changed = $2 \
         WHERE rollout = $3 AND device = $4 AND generation = $5",
        vec![
            document(attempt),
            now_ms().into(),
            rollout.into(),
            device.into(),
            held.generation.into(),
        ],
    )
    .of_one_row()
}

fn document<T: serde::Serialize>(value: &T) -> Value {
    // These types hold nothing that JSON cannot say.
    Value::Text(serde_json::to_string(value).unwrap_or_default())
}

/// A device's words about an action.
#[must_use]
pub fn message(device: &str, action: i64, word: &str, text: &str) -> Statement {
    Statement::new(
        "INSERT INTO messages (device, action, at, word, text) \
         SELECT $1, $2, $3, $4, $5 WHERE \
         (SELECT count(*) FROM messages WHERE device = $1 AND action = $2) < 1000",
        vec![
            device.into(),
            action.into(),
            now().unix().into(),
            word.into(),
            text.into(),
        ],
    )
}

impl App {
    /// Takes in what a device says of an action.
    ///
    /// # Errors
    /// The device has no such action, it is over, or nothing could be kept.
    pub async fn say(
        &self,
        device: &str,
        action: i64,
        word: Word,
        text: &str,
    ) -> Result<(), ControlError> {
        for _ in 0..TRIES {
            let runs = self.fleet.with(device, |device| device.identity.clone());
            let runs = runs.unwrap_or_default();
            let (rollout, mut attempt, held, target) = {
                let book = self.book();
                let (live, _) = book
                    .of_action(device, action)
                    .ok_or(ControlError::Missing("action"))?;
                let (Some(attempt), Some(held)) =
                    (live.attempts.get(device), live.held.get(device))
                else {
                    return Err(ControlError::Missing("action"));
                };
                let target = live.rollout.definition.target.clone();
                (live.id.clone(), attempt.clone(), *held, target)
            };
            let Some(said) = word.report(&runs) else {
                return Ok(());
            };
            let (before, was_taken) = (attempt.outcome, attempt.taken_at.is_some());
            let changed = report(&mut attempt, &target.identity, said, now());
            let mut statements = Vec::new();
            if changed {
                statements.push(update(&rollout, device, &attempt, held));
            }
            if !text.is_empty() || (changed && word != Word::Taken) {
                statements.push(message(device, action, word.as_str(), text));
            }
            if statements.is_empty() {
                return Ok(());
            }
            match self.store.write(statements).await {
                Ok(()) if changed => {
                    let held = Held {
                        generation: held.generation + 1,
                        ..held
                    };
                    let ended = attempt.outcome;
                    let takes = !was_taken && attempt.taken_at.is_some();
                    self.remember(&rollout, device, attempt, held);
                    let tell = |kind| {
                        let release = &target.release;
                        let data = json!({
                            "rollout": &*rollout, "device": device, "action": action, "release": release,
                            "outcome": ended.as_str(), "trace_id": self.trace_id(release),
                        });
                        self.tell(kind, &data);
                    };
                    if takes {
                        tell("taken");
                    }
                    if ended != before {
                        self.metrics.outcomes.add(1);
                        tell("outcome");
                    }
                    self.wake.notify_one();
                    return Ok(());
                }
                Ok(()) => return Ok(()),
                Err(StoreError::Conflict) => self.reload(&rollout, device).await?,
                Err(why) => return Err(why.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// A device says what it runs: tells the newest rollout that it has a part in.
    ///
    /// # Errors
    /// Nothing could be kept.
    pub async fn runs(&self, device: &str) -> Result<(), ControlError> {
        self.catch_up(device).await?;
        let action = {
            let book = self.book();
            let newest = book.newest_of(device);
            newest
                .and_then(|live| live.held.get(device))
                .map(|held| held.action)
        };
        match action {
            Some(action) => self.say(device, action, Word::Runs, "").await,
            None => Ok(()),
        }
    }

    /// Puts into memory what was kept.
    fn remember(&self, rollout: &str, device: &str, attempt: Attempt, held: Held) {
        {
            let mut book = self.book_mut();
            let Some(live) = book.get_mut(rollout) else {
                return;
            };
            let known = live.held.get(device).map_or(0, |held| held.generation);
            if known >= held.generation {
                return;
            }
            live.attempts.insert(device.to_owned(), attempt);
            live.held.insert(device.to_owned(), held);
        }
        self.refresh_task(device);
    }

    /// Begins a rollout.
    ///
    /// # Errors
    /// The definition is wrong, or nothing could be kept.
    pub async fn begin(&self, definition: Definition, who: &str) -> Result<String, ControlError> {
        let chance =
            || crate::secret::random_hex::<8>().map_err(|why| ControlError::Not(why.to_string()));
        let (id, salt) = (chance()?, chance()?);
        let rollout = Rollout::new(definition, &salt, who, now())?;
        for _ in 0..TRIES {
            let number = self.store.action_numbers(1).await?;
            let name = &rollout.definition.name;
            let statements = vec![
                Statement::new(
                    "INSERT INTO rollouts (id, number, generation, doc, created_at, changed) \
                     VALUES ($1, $2, 1, $3, $4, $5)",
                    vec![
                        id.as_str().into(),
                        number.into(),
                        document(&rollout),
                        now().unix().into(),
                        now_ms().into(),
                    ],
                ),
                Self::audit(who, "rollout.create", format!("{id} {name}")),
            ];
            match self.store.write(statements).await {
                Ok(()) => {
                    let rows = self.store.rollouts_changed(0).await?;
                    for row in rows.iter().filter(|row| row.id == id) {
                        self.book_mut().put(row)?;
                    }
                    self.tell_phase(&id, &rollout);
                    self.wake.notify_one();
                    return Ok(id);
                }
                Err(StoreError::Conflict) => {}
                Err(why) => return Err(why.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Takes a person's command.
    ///
    /// # Errors
    /// There is no such rollout, it does not allow it, or nothing could be kept.
    pub async fn command(
        &self,
        id: &str,
        command: &Command,
        who: &str,
    ) -> Result<(), ControlError> {
        for _ in 0..TRIES {
            let (mut rollout, actions) = {
                let book = self.book();
                let live = book.get(id).ok_or(ControlError::Missing("rollout"))?;
                let mut rollout = live.rollout.clone();
                let actions = rollout.command(&live.attempts, command, who, now())?;
                (rollout, actions)
            };
            let word = serde_json::to_value(command).unwrap_or_default();
            let log = Self::audit(who, "rollout.command", format!("{id} {word}"));
            match self.act(id, &mut rollout, &actions, vec![log]).await {
                Ok(()) => {
                    self.wake.notify_one();
                    return Ok(());
                }
                Err(ControlError::Store(StoreError::Conflict)) => self.reload_rollout(id).await?,
                Err(why) => return Err(why),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Does actions: to the database, by compare-and-set on the rollout and on each attempt,
    /// then to memory.
    ///
    /// # Errors
    /// A conflict: the caller looks again; or nothing could be kept.
    pub async fn act(
        &self,
        id: &str,
        rollout: &mut Rollout,
        actions: &[Action],
        also: Vec<Statement>,
    ) -> Result<(), ControlError> {
        let new_numbers = actions
            .iter()
            .filter(|action| matches!(action, Action::Offer { .. } | Action::Revert { .. }))
            .count();
        let mut next = if new_numbers > 0 {
            let count = i64::try_from(new_numbers).unwrap_or(i64::MAX);
            self.store.action_numbers(count).await?
        } else {
            0
        };
        // A person's command has changed the rollout that is given already.
        let (before, generation, mut attempts, mut held) = {
            let book = self.book();
            let live = book.get(id).ok_or(ControlError::Missing("rollout"))?;
            let mut attempts = Attempts::new();
            let mut held = std::collections::BTreeMap::new();
            for device in actions.iter().filter_map(Action::device) {
                if let Some(attempt) = live.attempts.get(device) {
                    attempts.insert(device.to_owned(), attempt.clone());
                }
                let known = live.held.get(device).copied();
                let none = Held {
                    action: 0,
                    back: 0,
                    generation: 0,
                };
                held.insert(device.to_owned(), known.unwrap_or(none));
            }
            (live.rollout.phase.clone(), live.generation, attempts, held)
        };
        for action in actions {
            rollout.apply(&mut attempts, action, now());
            let Some(entry) = action.device().and_then(|device| held.get_mut(device)) else {
                continue;
            };
            match action {
                Action::Offer { .. } => entry.action = next,
                Action::Revert { .. } => entry.back = next,
                _ => continue,
            }
            next += 1;
        }
        let mut statements = vec![
            Statement::new(
                "UPDATE rollouts SET doc = $1, generation = generation + 1, changed = $2 \
                 WHERE id = $3 AND generation = $4",
                vec![
                    document(rollout),
                    now_ms().into(),
                    id.into(),
                    generation.into(),
                ],
            )
            .of_one_row(),
        ];
        for (device, attempt) in &attempts {
            if let Some(held) = held.get(device) {
                statements.push(keep(id, device, attempt, *held));
            }
        }
        statements.extend(also);
        self.store.write(statements).await?;
        {
            let mut book = self.book_mut();
            if let Some(live) = book.get_mut(id) {
                live.generation = generation + 1;
                live.rollout = rollout.clone();
            }
        }
        for (device, attempt) in attempts {
            if let Some(held) = held.get(&device) {
                let held = Held {
                    generation: held.generation + 1,
                    ..*held
                };
                self.remember(id, &device, attempt, held);
            }
        }
        if rollout.phase != before {
            self.tell_phase(id, rollout);
        } else if !actions.is_empty() {
            self.tell("progress", &json!({"rollout": id}));
        }
        Ok(())
    }

    /// Tells how a rollout stands now: its phase, and why where that has a reason.
    fn tell_phase(&self, id: &str, rollout: &Rollout) {
        let definition = &rollout.definition;
        let release = &definition.target.release;
        let why = match &rollout.phase {
            Phase::Paused { why } | Phase::Reverting { why } => Some(why),
            _ => None,
        };
        let data = json!({
            "rollout": id, "name": definition.name, "phase": rollout.phase.as_str(), "why": why,
            "release": release, "trace_id": self.trace_id(release),
        });
        self.tell("rollout", &data);
    }

    /// What a device is to do, if the action is what it is about.
    #[must_use]
    pub fn task_is(&self, device: &str, action: i64, kinds: &[TaskKind]) -> bool {
        let task = self
            .fleet
            .with(device, |device| device.task.as_deref().cloned());
        task.flatten()
            .is_some_and(|task| task.action == action && kinds.contains(&task.kind))
    }
}

/// Keeps an attempt that the planner or a person changed or made.
fn keep(rollout: &str, device: &str, attempt: &Attempt, held: Held) -> Statement {
    Statement::new(
        "INSERT INTO attempts (rollout, device, action, back, generation, doc, changed) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (rollout, device) DO UPDATE SET \
         action = $3, back = $4, generation = $5, doc = $6, changed = $7 \
         WHERE attempts.generation = $5 - 1",
        vec![
            rollout.into(),
            device.into(),
            held.action.into(),
            held.back.into(),
            (held.generation + 1).into(),
            document(attempt),
            now_ms().into(),
        ],
    )
    .of_one_row()
}
