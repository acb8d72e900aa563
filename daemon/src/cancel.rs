//! A message to the thread that works: stop at the next safe point.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::slot::SlotError;

/// Shared between the driver, which asks, and the worker, which stops between two segments.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ask the work to stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Forget a request, before new work begins.
    pub fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails when somebody asked.
    ///
    /// # Errors
    /// [`SlotError::Cancelled`].
    pub fn check(&self) -> Result<(), SlotError> {
        if self.is_requested() {
            Err(SlotError::Cancelled)
        } else {
            Ok(())
        }
    }
}
