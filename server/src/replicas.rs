//! What another replica changed and this one does not know yet: read when it is needed, before the next look
//! at everything ([`crate::planner::follow`]).

use crate::app::App;
use crate::fleet::Device;
use crate::store::{AttemptRow, StoreError};

impl App {
    /// Reads what is kept of a device's attempts, where another replica may have made one that this one
    /// has not heard of yet: what the device says of it must not be lost.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn catch_up(&self, device: &str) -> Result<(), StoreError> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let rows = self.store.attempts_of(device).await?;
        let is_new = |row: &AttemptRow| self.book().get(&row.rollout).is_none();
        if rows.iter().any(is_new) {
            self.load_releases().await?;
            for row in self.store.rollouts().await? {
                self.book_mut().put(&row)?;
            }
        }
        for row in &rows {
            self.take_attempt(row)?;
        }
        Ok(())
    }

    /// The same, if a device names an action that is not known here.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn catch_up_with(&self, device: &str, action: i64) -> Result<(), StoreError> {
        let is_known = self.book().of_action(device, action).is_some();
        if is_known {
            Ok(())
        } else {
            self.catch_up(device).await
        }
    }

    /// Reads a device that is not known here: another replica may have let it in just now, and it is no stranger
    /// that guesses.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn catch_up_with_device(&self, device: &str) -> Result<(), StoreError> {
        if !self.store.is_shared() || self.fleet.with(device, |_| ()).is_some() {
            return Ok(());
        }
        for row in self.store.device(device).await? {
            self.fleet.put(&row.id, Device::from_row(&row));
        }
        Ok(())
    }

    /// Reads a device's part in a rollout again.
    pub(crate) async fn reload(&self, rollout: &str, device: &str) -> Result<(), StoreError> {
        for row in self.store.attempt(rollout, device).await? {
            self.take_attempt(&row)?;
        }
        Ok(())
    }

    /// Puts what is kept of an attempt into memory.
    ///
    /// # Errors
    /// The row cannot be read.
    pub fn take_attempt(&self, row: &AttemptRow) -> Result<(), StoreError> {
        if self.book_mut().put_attempt(row)? {
            self.refresh_task(&row.device);
        }
        Ok(())
    }

    /// Reads a rollout again, with all that came of it.
    pub(crate) async fn reload_rollout(&self, id: &str) -> Result<(), StoreError> {
        for row in self.store.rollouts().await? {
            if row.id == id {
                self.book_mut().put(&row)?;
            }
        }
        for row in self.store.attempts().await? {
            if row.rollout == id {
                self.take_attempt(&row)?;
            }
        }
        Ok(())
    }
}
