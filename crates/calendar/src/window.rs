//! Windows of time: a calendar of starts, and how long each stays open.

use core::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::calendar::Calendar;

/// Windows of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    start: Calendar,
    duration: SignedDuration,
}

/// Windows so short or so long mean something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a window is open for 1 second to 366 days")]
pub struct DurationOutOfRange;

/// How a window stands at some instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It is open.
    Open {
        /// When it closes; nothing if the openings run into each other for longer than is looked ahead.
        closes: Option<Timestamp>,
    },
    /// It is closed.
    Closed {
        /// When it opens next; nothing if it never does.
        opens: Option<Timestamp>,
    },
}

/// So many openings that run into each other are looked at.
const LOOK_AHEAD: usize = 1000;
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Window {
    /// Opens at each time that `start` names, for `duration` of real time: a change of the clock in
    /// between does not make it longer or shorter.
    ///
    /// # Errors
    /// The duration is below 1 second or above 366 days.
    pub fn new(start: Calendar, duration: Duration) -> Result<Self, DurationOutOfRange> {
        if duration < Duration::from_secs(1) || duration > LONGEST {
            return Err(DurationOutOfRange);
        }
        let duration = SignedDuration::try_from(duration).map_err(|_| DurationOutOfRange)?;
        Ok(Self { start, duration })
    }

    /// The times at which it opens.
    #[must_use]
    pub const fn start(&self) -> &Calendar {
        &self.start
    }

    /// How long it stays open.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration.unsigned_abs()
    }

    /// Whether it is open.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.opened(now).is_some()
    }

    /// When it opens the next time after `now`, whether it is open now or not; nothing if it never does.
    #[must_use]
    pub fn opens_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.start.next_after(now)
    }

    /// When it closes, if it is open. Openings that run into each other are one. Nothing also if that
    /// goes on for longer than a thousand openings.
    #[must_use]
    pub fn closes_at(&self, now: Timestamp) -> Option<Timestamp> {
        let mut start = self.opened(now)?;
        for _ in 0..LOOK_AHEAD {
            let end = start.checked_add(self.duration).ok()?;
            match self.start.next_after(start) {
                Some(next) if next <= end => start = next,
                _ => return Some(end),
            }
        }
        None
    }

    /// All of it in one value.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Opening {
        if self.is_open(now) {
            let closes = self.closes_at(now);
            Opening::Open { closes }
        } else {
            let opens = self.opens_after(now);
            Opening::Closed { opens }
        }
    }

    /// The first opening that still lasts.
    fn opened(&self, now: Timestamp) -> Option<Timestamp> {
        let before = now.checked_sub(self.duration).ok()?;
        let start = self.start.next_after(before)?;
        (start <= now).then_some(start)
    }
}
