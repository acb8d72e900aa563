//! A device: the client, its state, and the list of what it asked for.

use switchback_tuf::{
    Answer, ErrorKind, Exchange, Freshness, Limits, Refresh, Role, TargetInfo, TrustedState,
    TufError, Want,
};
use switchback_types::Timestamp;

use crate::repository::Repository;

/// When the tests happen, unless they say otherwise.
pub const NOW: &str = "2026-06-01T00:00:00Z";

pub struct Device {
    pub state: TrustedState,
    pub limits: Limits,
    pub now: Option<Timestamp>,
    /// Names of the files asked for in the last run.
    pub requests: Vec<String>,
}

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl Device {
    /// A device with root version 1 built in.
    pub fn new(repository: &Repository) -> Self {
        let root = &repository.files["1.root.json"];
        Self {
            state: TrustedState::from_root(root, Timestamp::EPOCH).unwrap(),
            limits: Limits::default(),
            now: Some(time(NOW)),
            requests: Vec::new(),
        }
    }

    /// A device that has refreshed once.
    pub fn refreshed(repository: &Repository) -> Self {
        let mut device = Self::new(repository);
        assert_eq!(device.refresh(repository).unwrap(), Freshness::Fresh);
        device
    }

    pub fn refresh(&mut self, repository: &Repository) -> Result<Freshness, TufError> {
        self.requests.clear();
        let mut refresh = self.start();
        let driven = drive(&mut refresh, repository, &mut self.requests);
        // Power goes off at the end of every run: only what is stored goes on.
        self.store(refresh.state());
        driven?;
        Ok(refresh.finish()?.freshness().clone())
    }

    /// Refreshes and searches, in one session, for each path; gives the last result.
    pub fn find(
        &mut self,
        repository: &Repository,
        paths: &[&str],
    ) -> Result<Option<TargetInfo>, TufError> {
        self.requests.clear();
        let mut refresh = self.start();
        let driven = drive(&mut refresh, repository, &mut self.requests);
        self.store(refresh.state());
        driven?;
        let mut refreshed = refresh.finish()?;
        let mut found = None;
        for path in paths {
            let searched = (|| {
                let mut lookup = refreshed.lookup(path.parse().unwrap())?;
                drive(&mut lookup, repository, &mut self.requests)?;
                lookup.finish()
            })();
            self.store(refreshed.state());
            found = searched?;
        }
        Ok(found)
    }

    /// Refreshes, expecting a failure of this kind, and gives its message.
    pub fn refused(&mut self, repository: &Repository, kind: ErrorKind) -> String {
        let error = self.refresh(repository).expect_err("must be refused");
        assert_eq!(error.kind(), kind, "{error}");
        error.to_string()
    }

    /// The trusted versions of root, timestamp, snapshot and targets, 0 for none: read from the
    /// documents themselves.
    pub fn trusted(&self) -> [u64; 4] {
        let mut versions = [0; 4];
        for (role, bytes) in self.state.documents() {
            let position = match role {
                Role::Root => 0,
                Role::Timestamp => 1,
                Role::Snapshot => 2,
                Role::Targets => 3,
                Role::Delegated(_) => continue,
            };
            let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            versions[position] = document["signed"]["version"].as_u64().unwrap();
        }
        versions
    }

    fn start(&self) -> Refresh {
        Refresh::start(self.state.clone(), self.limits.clone(), self.now)
    }

    fn store(&mut self, state: &TrustedState) {
        self.state = TrustedState::from_bytes(&state.to_bytes()).unwrap();
    }
}

fn drive(
    exchange: &mut dyn Exchange,
    repository: &Repository,
    requests: &mut Vec<String>,
) -> Result<(), TufError> {
    while let Want::File(request) = exchange.poll() {
        assert_eq!(
            exchange.poll(),
            Want::File(request.clone()),
            "asking changes nothing"
        );
        requests.push(request.name.to_string());
        exchange.feed(match repository.files.get(request.name.as_str()) {
            Some(bytes) => Answer::File(bytes.clone()),
            None => Answer::Missing,
        })?;
    }
    Ok(())
}
