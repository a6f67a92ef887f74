//! How often which latency was seen.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A histogram of latencies to two significant figures, from a nanosecond to a minute; a longer one
/// counts as that.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let nanos_max = LATENCY_MAX.as_nanos() as u64;
        Self(Histogram::new_with_bounds(1, nanos_max, 2).expect("the bounds are in order"))
    }
}

impl Latencies {
    #[inline]
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_nanos() as u64);
    }

    /// The latency that `part` of all stay below, or one that is at most 1 % longer; zero if there is
    /// none.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(part))
    }
}

const LATENCY_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), Duration::ZERO);
        (1..=1000).for_each(|n| latencies.record(Duration::from_micros(n)));
        let check = |part: f64, micros: f64| {
            let found = latencies.quantile(part).as_secs_f64() * 1e6;
            assert!((micros..micros * 1.01).contains(&found), "{part}: {found}");
        };
        check(0.0, 1.0);
        check(0.5, 500.0);
        check(0.99, 990.0);
        check(1.0, 1000.0);
    }
}
