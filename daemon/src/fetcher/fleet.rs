//! The fleet server, behind a process of its own: an install and the word of the server do not wait for each other.

use std::path::{Path, PathBuf};

use super::remote::Process;
use crate::fetch::FetchError;
use crate::fleet::{Access, Asking, Secret, Turn, Word, is_token};
use crate::identity::{Identity, place};
use crate::settings::{FleetSettings, RepositorySettings, TokenFile};

/// Speaks to the fleet server through the process without rights.
pub struct RemoteFleet {
    socket: PathBuf,
    repository: RepositorySettings,
    identity: Option<Identity>,
    settings: FleetSettings,
    id: String,
    /// The token that the device was given for that of its fleet.
    token: Option<String>,
    /// The one that it would have.
    proposed: Option<String>,
    process: Option<(Access, Process)>,
}

impl std::fmt::Debug for RemoteFleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteFleet")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl RemoteFleet {
    /// Asks at `socket`; nobody is asked yet. `kept` is what the device keeps, for what the settings
    /// leave open: its name, its token, and the token that it would have.
    #[must_use]
    pub fn new(
        socket: &Path,
        repository: RepositorySettings,
        identity: Option<Identity>,
        settings: FleetSettings,
        kept: (String, Option<String>, Option<String>),
    ) -> Self {
        let (id, token, proposed) = kept;
        Self {
            socket: socket.into(),
            repository,
            identity,
            id: settings.id.clone().unwrap_or(id),
            settings,
            token,
            proposed,
            process: None,
        }
    }

    /// As whom, by the files as they are now: a token may be another one than it was.
    fn access(&self) -> Result<Access, FetchError> {
        let authorization = match &self.settings.token {
            Some(TokenFile::Device(path)) => Some(format!("TargetToken {}", self.read(path)?)),
            Some(TokenFile::Gateway(path)) => Some(format!("GatewayToken {}", self.read(path)?)),
            None => self
                .token
                .as_ref()
                .map(|token| format!("TargetToken {token}")),
        };
        let enroll = match (&authorization, &self.settings.enroll_token_file) {
            (None, Some(path)) => Some(self.read(path)?),
            _ => None,
        };
        Ok(Access {
            url: self.settings.url.clone(),
            tenant: self.settings.tenant.clone(),
            id: self.id.clone(),
            proposed: self
                .proposed
                .clone()
                .filter(|_| enroll.is_some())
                .map(Secret),
            authorization: authorization.map(Secret),
            enroll: enroll.map(Secret),
        })
    }

    fn read(&self, path: &Path) -> Result<String, FetchError> {
        let fail = |detail: String| FetchError::Transport {
            url: self.settings.url.clone(),
            detail: format!("the token in {}: {detail}", path.display()),
        };
        let place = place(path).map_err(fail)?;
        let text = std::fs::read_to_string(place).map_err(|error| fail(error.to_string()))?;
        let token = text.trim();
        if !is_token(token) {
            return Err(fail("is none: one line without blanks is wanted".into()));
        }
        Ok(token.to_owned())
    }
}

impl Asking for RemoteFleet {
    fn turn(&mut self, turn: &Turn) -> Result<Word, FetchError> {
        let access = self.access()?;
        let process = match self.process.take() {
            Some((known, process)) if known == access => process,
            _ => Process::new(
                &self.socket,
                self.repository.clone(),
                self.identity.clone(),
                Some(access.clone()),
            ),
        };
        let word = process.turn(turn)?;
        match &word.token {
            // From now on as the device itself.
            Some(Secret(token)) => self.token = Some(token.clone()),
            None => self.process = Some((access, process)),
        }
        Ok(word)
    }

    fn rest(&mut self) {
        if let Some((_, process)) = &self.process {
            process.close();
        }
    }
}
