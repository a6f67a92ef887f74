//! How long a lost connection waits before it comes back.

use std::time::Duration;

/// Exponential back-off with full jitter: a random part of a limit that doubles with each failure.
///
/// A crowd that was cut off at one moment comes back spread out, and thinner the longer the server
/// cannot serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The limit before the first attempt.
    pub(crate) first: Duration,
    /// The limit that is never exceeded.
    pub(crate) max: Duration,
}

impl Backoff {
    /// How long to wait before attempt number `attempt`, counted from zero since the last success.
    pub(crate) fn delay(self, attempt: u32, random: &mut fastrand::Rng) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
        doubled.min(self.max).mul_f64(random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_doubles_up_to_the_maximum() {
        let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1) };
        let mut random = fastrand::Rng::with_seed(1);
        for (attempt, limit) in [(0, 100), (1, 200), (3, 800), (4, 1000), (31, 1000), (99, 1000)] {
            let longest =
                (0..1000).map(|_| backoff.delay(attempt, &mut random)).max().unwrap_or_default();
            let limit = Duration::from_millis(limit);
            assert!(longest <= limit && longest > limit.mul_f64(0.95), "{attempt}: {longest:?}");
        }
    }
}
