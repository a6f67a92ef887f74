//! How long a wait may take in all, however many system calls it is made of.

use std::{
    io,
    time::{Duration, Instant},
};

/// A moment up to which we wait, or for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until(Option<Instant>);

impl Until {
    /// For ever.
    pub(super) const FOREVER: Self = Self(None);

    /// This long from now; without a limit, for ever.
    pub(super) fn after(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    /// The earlier of two moments.
    pub(super) fn or(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(two)) => Self(Some(one.min(two))),
            (one, two) => Self(one.or(two)),
        }
    }

    /// The time that is left: more than none of it, or `None` if it has no end.
    ///
    /// # Errors
    ///
    /// `TimedOut` once it is over.
    pub(super) fn left(self) -> io::Result<Option<Duration>> {
        let Some(end) = self.0 else { return Ok(None) };
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Whether a call ended because the time that it had was over. (A socket says `WouldBlock`.)
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}
