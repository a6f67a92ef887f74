//! Latencies, counted in buckets of which each is 3 % wider than the one before.

use std::time::Duration;

/// How often which latency was seen.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    /// By [`bucket`].
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], total: 0 }
    }
}

impl Latencies {
    #[inline]
    pub(crate) fn record(&mut self, latency: Duration) {
        self.counts[bucket(latency.as_nanos() as u64)] += 1;
        self.total += 1;
    }

    /// The latency that `part` of all stay below, up to the width of a bucket; zero if there is none.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let rank = (self.total as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return Duration::from_nanos(upper_bound(bucket));
            }
        }
        Duration::ZERO
    }
}

/// Values below 32 have a bucket each; each octave above is cut into 32.
#[inline]
fn bucket(nanoseconds: u64) -> usize {
    if nanoseconds < 1 << PRECISION {
        return nanoseconds as usize;
    }
    let shift = nanoseconds.ilog2() - PRECISION;
    ((shift as usize) << PRECISION) + (nanoseconds >> shift) as usize
}

/// The largest value of a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let octave = bucket >> PRECISION;
    if octave == 0 {
        return bucket as u64;
    }
    let shift = octave as u32 - 1;
    let mantissa = (bucket - (octave << PRECISION) + (1 << PRECISION)) as u64;
    ((mantissa << shift) | ((1 << shift) - 1)).max(mantissa << shift)
}

const PRECISION: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other() {
        let check = |nanoseconds: u64| {
            let found = bucket(nanoseconds);
            let bound = upper_bound(found);
            assert!(nanoseconds <= bound, "{nanoseconds} is in a bucket up to {bound}");
            assert!(bound - nanoseconds <= nanoseconds / 32, "{nanoseconds}: {bound}");
            if bound < u64::MAX {
                assert_eq!(bucket(bound + 1), found + 1);
            }
        };
        (0..5000).for_each(check);
        (12..64).for_each(|shift| {
            check(1 << shift);
            check((1 << shift) - 1);
            check((1 << shift) + 12345 % (1 << shift));
        });
        check(u64::MAX);
    }

    #[test]
    fn quantiles() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), Duration::ZERO);
        (1..=1000).for_each(|n| latencies.record(Duration::from_micros(n)));
        let check = |part: f64, micros: f64| {
            let found = latencies.quantile(part).as_secs_f64() * 1e6;
            assert!((micros..micros * 1.04).contains(&found), "{part}: {found}");
        };
        check(0.0, 1.0);
        check(0.5, 500.0);
        check(0.99, 990.0);
        check(1.0, 1000.0);
    }
}
