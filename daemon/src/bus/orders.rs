//! What every order of a client has in common: who gives it, what may be wished, the job that it
//! becomes.

use switchback_types::Version;
use zbus::message::Header;
use zbus::{Connection, OwnedObjectPath};

use super::authority::Action;
use super::errors::MethodError;
use super::job::Job;
use super::job_path;
use super::manager::Manager;
use super::options::{Options, Taken, shorten};
use crate::driver::{Command, JobId, Wish};

impl Manager {
    pub(super) async fn may(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        action: Action,
    ) -> Result<u32, MethodError> {
        let authority = &self.shared.authority;
        authority.check(connection, header, action).await
    }

    /// Who may, and has nothing else to say, tells the driver.
    pub(super) async fn tell(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        action: Action,
        command: Command,
    ) -> Result<(), MethodError> {
        let uid = self.may(connection, header, action).await?;
        tracing::debug!(UID = uid, "{command:?}");
        self.shared.tell(command).await
    }

    /// What a person wishes of an install. Overriding is a right of its own.
    pub(super) async fn wish(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        action: Action,
        options: Options,
    ) -> Result<Wish, MethodError> {
        let mut options = Taken(options);
        let wish = Wish {
            retry: options.boolean("retry")?,
            overriding: options.text("override")?,
        };
        options.finish()?;
        let uid = self.may(connection, header, action).await?;
        let Some(reason) = &wish.overriding else {
            return Ok(wish);
        };
        if reason.trim().is_empty() {
            let text = "option \"override\" is the reason, in words".to_owned();
            return Err(MethodError::InvalidArgs(text));
        }
        self.may(connection, header, Action::Override).await?;
        Ok(Wish {
            overriding: Some(format!("{reason}, user {uid}")),
            ..wish
        })
    }

    /// Runs a command as a job: its object exists before the driver hears of it, and goes again
    /// when the driver refuses.
    pub(super) async fn job(
        &self,
        connection: &Connection,
        kind: &'static str,
        action: Action,
        command: impl FnOnce(JobId) -> Command,
    ) -> Result<OwnedObjectPath, MethodError> {
        let job = self.shared.new_job();
        let path = job_path(job);
        let server = connection.object_server();
        let object = Job::new(self.shared.clone(), job, kind, action);
        server.at(path.as_str(), object).await?;
        if let Err(error) = self.shared.tell(command(job)).await {
            server.remove::<Job, _>(path.as_str()).await?;
            return Err(error);
        }
        OwnedObjectPath::try_from(path).map_err(|error| MethodError::Failed(error.to_string()))
    }
}

/// A version, or nothing where it is empty.
pub(super) fn named(version: &str) -> Result<Option<Version>, MethodError> {
    if version.is_empty() {
        return Ok(None);
    }
    let parsed = version.parse();
    parsed
        .map(Some)
        .map_err(|error| MethodError::InvalidArgs(format!("{:?}: {error}", shorten(version))))
}
