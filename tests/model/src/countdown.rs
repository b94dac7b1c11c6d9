//! Events that are made to fail.

use crate::run::Failure;

/// Which events of a kind fail, and how.
#[derive(Clone, Copy, Debug)]
pub struct Countdown<H = ()> {
    /// The number of events before the one that fails, and how it does.
    after: Option<(u64, H)>,
    /// And all after it.
    for_good: bool,
    /// Events made to fail.
    pub failed: u64,
}

impl<H> Default for Countdown<H> {
    fn default() -> Countdown<H> {
        Countdown {
            after: None,
            for_good: false,
            failed: 0,
        }
    }
}

impl<H: Copy> Countdown<H> {
    /// One event is to fail so.
    pub fn once(&mut self, after: u64, how: H) {
        (self.after, self.for_good) = (Some((after, how)), false);
    }

    /// Events are to fail as `failure` says.
    pub fn begin(&mut self, failure: Failure, how: H) {
        match failure.for_good {
            true => self.all(failure.at, how),
            false => self.once(failure.at, how),
        }
    }

    /// All events but so many are to fail.
    pub fn all(&mut self, after: u64, how: H) {
        (self.after, self.for_good) = (Some((after, how)), true);
    }

    /// Nothing fails any more.
    pub fn heal(&mut self) {
        self.after = None;
    }

    /// Returns true if an event is to fail.
    pub fn is_set(&self) -> bool {
        self.after.is_some()
    }

    /// Counts an event: how it fails, if it does.
    pub fn event(&mut self) -> Option<H> {
        let (left, how) = self.after.as_mut()?;
        if let Some(fewer) = left.checked_sub(1) {
            *left = fewer;
            return None;
        }
        let how = *how;
        if !self.for_good {
            self.after = None;
        }
        self.failed += 1;
        Some(how)
    }
}
