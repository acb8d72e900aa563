//! The search for one artifact through the delegations (specification 5.6.7).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use switchback_types::TargetPath;

use crate::checks::{is_current, signed_bound, take};
use crate::delegation::Authority;
use crate::document::Document;
use crate::error::TufError;
use crate::exchange::{Answer, Exchange, FileRequest, Want};
use crate::freshness::Staleness;
use crate::name::Role;
use crate::refreshed::Refreshed;
use crate::schema::{FileMeta, Targets};
use crate::target::TargetInfo;

/// Searches depth first, in the order in which each role lists its delegations, for the first
/// role that both may speak about the artifact and does.
///
/// Asks for the delegated metadata that it comes across and that is not cached already.
#[derive(Debug)]
pub struct Lookup<'a> {
    refreshed: &'a mut Refreshed,
    path: TargetPath,
    /// Delegations still to be followed; the next one is last.
    pending: Vec<Authority>,
    /// Each role is visited once, through the first delegation that leads to it: cycles end.
    visited: BTreeSet<Role>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Wanting(Authority, FileRequest),
    Done(Option<TargetInfo>),
    Failed,
}

impl<'a> Lookup<'a> {
    pub(crate) fn start(refreshed: &'a mut Refreshed, path: TargetPath) -> Result<Self, TufError> {
        let mut lookup = Self {
            refreshed,
            path,
            pending: Vec::new(),
            visited: BTreeSet::new(),
            stage: Stage::Failed,
        };
        lookup.stage = match lookup.visit(&Role::Targets) {
            Some(found) => Stage::Done(Some(found)),
            None => lookup.advance()?,
        };
        Ok(lookup)
    }

    /// The result, once nothing more is wanted: the artifact, or `None` when no role that may
    /// speak about the path does.
    ///
    /// # Errors
    ///
    /// [`TufError::OutOfTurn`] when files are still wanted, or when feeding one failed.
    pub fn finish(self) -> Result<Option<TargetInfo>, TufError> {
        match self.stage {
            Stage::Done(found) => Ok(found),
            Stage::Failed => Err(TufError::OutOfTurn("the lookup failed; start another one")),
            Stage::Wanting(..) => Err(TufError::OutOfTurn(
                "the lookup still wants a file; poll and feed it",
            )),
        }
    }

    /// Goes on until a file is wanted or the search is over.
    fn advance(&mut self) -> Result<Stage, TufError> {
        while let Some(authority) = self.pending.pop() {
            if self.visited.contains(&authority.role) {
                continue;
            }
            if self.visited.len() >= self.refreshed.limits.delegations {
                return Err(TufError::TooManyDelegations {
                    path: self.path.as_str().into(),
                    limit: self.refreshed.limits.delegations,
                });
            }
            self.visited.insert(authority.role.clone());
            let meta = self.listed(&authority.role)?;
            let cached = self.refreshed.state.delegated.get(authority.role.as_str());
            // Verified again for this delegator: another one, with other keys, may have led to
            // it when it was cached.
            let Some(cached) = cached.filter(|cached| is_current(cached, meta, &authority)) else {
                let request = self.request(&authority.role, meta);
                return Ok(Stage::Wanting(authority, request));
            };
            self.check_fresh(&authority.role, cached)?;
            if let Some(found) = self.visit(&authority.role) {
                return Ok(Stage::Done(Some(found)));
            }
        }
        Ok(Stage::Done(None))
    }

    /// What the snapshot says about a role that is delegated to.
    fn listed(&self, role: &Role) -> Result<&FileMeta, TufError> {
        let snapshot = self.refreshed.state.snapshot.as_ref();
        snapshot
            .and_then(|snapshot| snapshot.body.role(role))
            .ok_or_else(|| TufError::NotListed {
                snapshot: snapshot.map_or(0, |snapshot| snapshot.version),
                role: role.clone(),
            })
    }

    fn request(&self, role: &Role, meta: &FileMeta) -> FileRequest {
        FileRequest {
            name: self.refreshed.state.file_name(role, meta.version()),
            max_length: signed_bound(meta, self.refreshed.limits.targets_length),
            may_be_missing: false,
        }
    }

    /// 5.6.5, for delegated roles too.
    fn check_fresh(&self, role: &Role, document: &Document<Targets>) -> Result<(), TufError> {
        Staleness::of(role, document, self.refreshed.now)
            .map_or(Ok(()), |staleness| Err(TufError::Stale(staleness)))
    }

    /// 5.6.7.1, 5.6.7.2: what this role says about the artifact, or else whom it delegates to.
    fn visit(&mut self, role: &Role) -> Option<TargetInfo> {
        let state = &self.refreshed.state;
        let document = match role {
            Role::Delegated(name) => state.delegated.get(name)?,
            _ => state.targets.as_ref()?,
        };
        let targets = &document.body;
        if let Some(meta) = targets.targets.get(self.path.as_str()) {
            let consistent = state.root.body.consistent_snapshot;
            return Some(TargetInfo::new(
                self.path.clone(),
                role.clone(),
                meta,
                consistent,
            ));
        }
        let delegations = targets.delegations.as_ref()?;
        let mut followed = Vec::new();
        for delegated in delegations
            .roles
            .iter()
            .filter(|role| role.covers(&self.path))
        {
            followed.push(delegations.authority(delegated));
            if delegated.terminating {
                // Nobody else is asked: neither this role's later delegations nor those that
                // other roles left pending.
                self.pending.clear();
                break;
            }
        }
        self.pending.extend(followed.into_iter().rev());
        None
    }

    fn take_role(
        &mut self,
        authority: &Authority,
        request: &FileRequest,
        answer: Answer,
    ) -> Result<Stage, TufError> {
        let bytes = request.require(answer)?;
        let meta = self.listed(&authority.role)?;
        let document = take::<Targets>(request.name.as_str(), bytes, meta, authority)?;
        self.check_fresh(&authority.role, &document)?;
        let name = authority.role.as_str().into();
        self.refreshed.state.delegated.insert(name, document);
        match self.visit(&authority.role) {
            Some(found) => Ok(Stage::Done(Some(found))),
            None => self.advance(),
        }
    }
}

impl Exchange for Lookup<'_> {
    fn poll(&self) -> Want {
        match &self.stage {
            Stage::Wanting(_, request) => Want::File(request.clone()),
            Stage::Done(_) | Stage::Failed => Want::Done,
        }
    }

    fn feed(&mut self, answer: Answer) -> Result<(), TufError> {
        match core::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Wanting(authority, request) => {
                self.stage = self.take_role(&authority, &request, answer)?;
                Ok(())
            }
            resting @ (Stage::Done(_) | Stage::Failed) => {
                self.stage = resting;
                Err(TufError::OutOfTurn(
                    "the lookup wants nothing; take its result",
                ))
            }
        }
    }
}
