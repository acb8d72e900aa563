//! The refresh of the top-level metadata (specification 5.3 to 5.6) as a state machine.

use switchback_types::Timestamp;

use crate::checks::{check_rollback, check_version, is_current, signed_bound, take};
use crate::delegation::Authority;
use crate::document::{Document, Draft};
use crate::error::TufError;
use crate::exchange::{Answer, Exchange, FileRequest, Want};
use crate::freshness::{Freshness, Staleness};
use crate::limits::Limits;
use crate::name::{MetadataName, Role};
use crate::refreshed::Refreshed;
use crate::schema::{FileMeta, Root, Snapshot, Targets, TimestampRole};
use crate::state::{TrustedState, Versions};

/// Brings root, timestamp, snapshot and targets up to date.
///
/// Asks, in this order, for `N.root.json` until one is missing, `timestamp.json`, and, only when
/// what is trusted already is not what the timestamp names, the snapshot and the targets.
#[derive(Debug)]
pub struct Refresh {
    state: TrustedState,
    limits: Limits,
    /// Fixed when the refresh starts (5.1), never below the floor.
    now: Timestamp,
    rotations: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Root,
    Timestamp,
    Snapshot,
    Targets,
    Done(Freshness),
    Failed,
}

impl Refresh {
    /// Starts a refresh. `now` is the clock, if the device has one: a clock below the state's
    /// floor counts as the floor, and no clock value is ever remembered.
    #[must_use]
    pub fn start(state: TrustedState, limits: Limits, now: Option<Timestamp>) -> Self {
        let now = now.map_or(state.floor(), |now| now.max(state.floor()));
        Self {
            state,
            limits,
            now,
            rotations: 0,
            stage: Stage::Root,
        }
    }

    /// The state as verified so far; worth storing at any time.
    #[must_use]
    pub const fn state(&self) -> &TrustedState {
        &self.state
    }

    /// The state as verified so far, also after an error: store it, so that what was learned
    /// (a new root above all) is not lost.
    #[must_use]
    pub fn into_state(self) -> TrustedState {
        self.state
    }

    /// The result, once nothing more is wanted.
    ///
    /// # Errors
    ///
    /// [`TufError::OutOfTurn`] when files are still wanted, or when feeding one failed.
    pub fn finish(self) -> Result<Refreshed, TufError> {
        match self.stage {
            Stage::Done(freshness) => Ok(Refreshed {
                state: self.state,
                limits: self.limits,
                now: self.now,
                freshness,
            }),
            Stage::Failed => Err(TufError::OutOfTurn("the refresh failed; start another one")),
            Stage::Root | Stage::Timestamp | Stage::Snapshot | Stage::Targets => Err(
                TufError::OutOfTurn("the refresh still wants a file; poll and feed it"),
            ),
        }
    }

    fn request(&self) -> Option<FileRequest> {
        let state = &self.state;
        let (name, max_length) = match self.stage {
            // 5.3.3: N is the trusted version plus one; root is always versioned.
            Stage::Root => (self.next_root(), self.limits.root_length),
            // 5.4.1: the timestamp never is.
            Stage::Timestamp => (
                MetadataName::latest(&Role::Timestamp),
                self.limits.timestamp_length,
            ),
            // 5.5.1
            Stage::Snapshot => {
                let meta = state.timestamp.as_ref()?.body.snapshot();
                let name = state.file_name(&Role::Snapshot, meta.version());
                (name, signed_bound(meta, self.limits.snapshot_length))
            }
            // 5.6.1
            Stage::Targets => {
                let meta = state.snapshot.as_ref()?.body.role(&Role::Targets)?;
                let name = state.file_name(&Role::Targets, meta.version());
                (name, signed_bound(meta, self.limits.targets_length))
            }
            Stage::Done(_) | Stage::Failed => return None,
        };
        Some(FileRequest {
            name,
            max_length,
            may_be_missing: matches!(self.stage, Stage::Root),
        })
    }

    fn next_root(&self) -> MetadataName {
        MetadataName::versioned(&Role::Root, self.state.root.version.saturating_add(1))
    }

    fn take_root(&mut self, request: &FileRequest, answer: Answer) -> Result<Stage, TufError> {
        let Some(bytes) = request.accept(answer)? else {
            return self.last_root();
        };
        if self.rotations >= self.limits.root_rotations {
            return Err(TufError::TooManyRoots {
                limit: self.limits.root_rotations,
                version: self.state.root.version,
            });
        }
        self.rotations += 1;
        let file = request.name.as_str();
        let draft = Draft::read(file, bytes)?;
        // 5.3.4: a threshold of the trusted root's keys, and a threshold of its own.
        draft.authenticate(&self.state.root.body.root())?;
        let itself = draft.claims::<Root>()?.root();
        let root: Document<Root> = draft.vouched_by(&itself)?;
        // 5.3.5: exactly the next version.
        let expected = self.state.root.version.saturating_add(1);
        check_version(file, expected, root.version)?;
        // 5.3.6: its expiry does not matter yet. 5.3.11 is done at every step, not after the
        // last one, so that a state stored in between does not keep what this root revoked.
        let revokes =
            |of: fn(&Root) -> Authority| of(&self.state.root.body).lost_a_key_in(&of(&root.body));
        if revokes(Root::timestamp) || revokes(Root::snapshot) {
            self.forget_versions(root.version);
        }
        // 5.3.7, 5.3.8: trusted from here on. 5.3.9: look for the next one.
        self.state.root = root;
        Ok(Stage::Root)
    }

    /// 5.3.11, recovery from a fast-forward attack: versions that a revoked key may have driven
    /// up do not bind its successor. Versions remembered from a lost state were reached under
    /// the root of that time, so only a root newer than that one can lift them.
    fn forget_versions(&mut self, new_root: u64) {
        self.state.timestamp = None;
        self.state.snapshot = None;
        if new_root > self.state.lowest.root {
            self.state.lowest = Versions {
                root: self.state.lowest.root,
                ..Versions::default()
            };
        }
    }

    fn last_root(&self) -> Result<Stage, TufError> {
        let root = &self.state.root;
        check_rollback(
            self.next_root().as_str(),
            &Role::Root,
            self.state.lowest.root,
            root.version,
        )?;
        // 5.3.10
        Ok(match Staleness::of(&Role::Root, root, self.now) {
            Some(staleness) => Stage::Done(Freshness::Stale(staleness)),
            None => Stage::Timestamp,
        })
    }

    fn take_timestamp(&mut self, request: &FileRequest, answer: Answer) -> Result<Stage, TufError> {
        let bytes = request.require(answer)?;
        let file = request.name.as_str();
        let authority = self.state.root.body.timestamp();
        // 5.4.2
        let offered: Document<TimestampRole> = Draft::read(file, bytes)?.vouched_by(&authority)?;
        let versions = self.state.versions();
        // 5.4.3.1
        check_rollback(file, &Role::Timestamp, versions.timestamp, offered.version)?;
        // 5.4.3.2, and no older than the trusted snapshot itself.
        let trusted = self.state.timestamp.as_ref();
        let known = trusted.map_or(0, |trusted| trusted.body.snapshot().version());
        let snapshot = offered.body.snapshot().version();
        check_rollback(
            file,
            &Role::Snapshot,
            versions.snapshot.max(known),
            snapshot,
        )?;
        // 5.4.3.1: of two with the same version the trusted one stays, unless the root's keys
        // have changed so that nobody vouches for it any more.
        let keep = trusted.filter(|trusted| {
            trusted.version == offered.version && trusted.is_still_signed_by(file, &authority)
        });
        // 5.4.4: an expired one is not stored, so that it does not replace a better one.
        if let Some(staleness) = Staleness::of(&Role::Timestamp, keep.unwrap_or(&offered), self.now)
        {
            return Ok(Stage::Done(Freshness::Stale(staleness)));
        }
        // 5.4.5
        if keep.is_none() {
            self.state.timestamp = Some(offered);
        }
        Ok(self.after_timestamp())
    }

    /// Skips the download of a snapshot that is trusted already.
    fn after_timestamp(&mut self) -> Stage {
        let state = &self.state;
        let (Some(timestamp), Some(snapshot)) = (&state.timestamp, &state.snapshot) else {
            return Stage::Snapshot;
        };
        let authority = state.root.body.snapshot();
        if !is_current(snapshot, timestamp.body.snapshot(), &authority) {
            return Stage::Snapshot;
        }
        match Staleness::of(&Role::Snapshot, snapshot, self.now) {
            Some(staleness) => Stage::Done(Freshness::Stale(staleness)),
            None => self.after_snapshot(),
        }
    }

    fn take_snapshot(&mut self, request: &FileRequest, answer: Answer) -> Result<Stage, TufError> {
        let bytes = request.require(answer)?;
        let file = request.name.as_str();
        let timestamp = self.state.timestamp.as_ref();
        let meta = timestamp
            .map(|timestamp| timestamp.body.snapshot())
            .ok_or(LOST)?;
        let authority = self.state.root.body.snapshot();
        let offered = take::<Snapshot>(file, bytes, meta, &authority)?;
        self.check_snapshot_rollback(file, &offered)?;
        // 5.5.6
        if let Some(staleness) = Staleness::of(&Role::Snapshot, &offered, self.now) {
            return Ok(Stage::Done(Freshness::Stale(staleness)));
        }
        // 5.5.7
        self.state.snapshot = Some(offered);
        self.state.prune_delegated();
        Ok(self.after_snapshot())
    }

    /// 5.5.5: no targets role that the trusted snapshot lists goes back or goes away.
    fn check_snapshot_rollback(
        &self,
        file: &str,
        offered: &Document<Snapshot>,
    ) -> Result<(), TufError> {
        if let Some(trusted) = &self.state.snapshot {
            for (name, meta) in &trusted.body.meta {
                let role = role_of(name);
                let offered = offered
                    .body
                    .meta
                    .get(name)
                    .ok_or_else(|| TufError::RoleRemoved {
                        file: file.into(),
                        role: role.clone(),
                    })?;
                check_rollback(file, &role, meta.version(), offered.version())?;
            }
        }
        // Without a snapshot there is only what was remembered of a lost state. The stored
        // targets do not count: 5.3.11 may just have lifted their version.
        let targets = offered
            .body
            .role(&Role::Targets)
            .map_or(0, FileMeta::version);
        check_rollback(file, &Role::Targets, self.state.lowest.targets, targets)
    }

    /// Skips the download of targets that are trusted already.
    fn after_snapshot(&self) -> Stage {
        let state = &self.state;
        let meta = state
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.body.role(&Role::Targets));
        let (Some(meta), Some(targets)) = (meta, &state.targets) else {
            return Stage::Targets;
        };
        if is_current(targets, meta, &state.root.body.targets()) {
            return self.completed(targets);
        }
        Stage::Targets
    }

    fn take_targets(&mut self, request: &FileRequest, answer: Answer) -> Result<Stage, TufError> {
        let bytes = request.require(answer)?;
        let snapshot = self.state.snapshot.as_ref().ok_or(LOST)?;
        let meta = snapshot.body.role(&Role::Targets).ok_or(LOST)?;
        let authority = self.state.root.body.targets();
        let offered = take::<Targets>(request.name.as_str(), bytes, meta, &authority)?;
        let stage = self.completed(&offered);
        // 5.6.6
        if matches!(stage, Stage::Done(Freshness::Fresh)) {
            self.state.targets = Some(offered);
        }
        Ok(stage)
    }

    /// 5.6.5
    fn completed(&self, targets: &Document<Targets>) -> Stage {
        Stage::Done(match Staleness::of(&Role::Targets, targets, self.now) {
            Some(staleness) => Freshness::Stale(staleness),
            None => Freshness::Fresh,
        })
    }
}

impl Exchange for Refresh {
    fn poll(&self) -> Want {
        self.request().map_or(Want::Done, Want::File)
    }

    fn feed(&mut self, answer: Answer) -> Result<(), TufError> {
        let Some(request) = self.request() else {
            return Err(TufError::OutOfTurn(
                "the refresh wants nothing; take its result",
            ));
        };
        self.stage = match core::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Root => self.take_root(&request, answer)?,
            Stage::Timestamp => self.take_timestamp(&request, answer)?,
            Stage::Snapshot => self.take_snapshot(&request, answer)?,
            Stage::Targets => self.take_targets(&request, answer)?,
            resting @ (Stage::Done(_) | Stage::Failed) => resting,
        };
        Ok(())
    }
}

/// The stages are entered only when the document that names the next file is there.
const LOST: TufError = TufError::OutOfTurn("the document that names this file is not there");

/// The role that an entry of the snapshot's `meta` speaks about, for messages.
fn role_of(meta_key: &str) -> Role {
    match meta_key.strip_suffix(".json").unwrap_or(meta_key) {
        "root" => Role::Root,
        "targets" => Role::Targets,
        name => Role::Delegated(name.into()),
    }
}
