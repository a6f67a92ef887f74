//! When messages, connections and other events are meant to happen.
//!
//! An open loop decides the time of each event beforehand and keeps to it however slow the server
//! is: a [`Pacer`] hands out these *intended* times, and latency counts from them. A generator that
//! waits for an answer before it goes on would leave out exactly the moments in which the server was
//! slow (coordinated omission).

use crate::clock::{Nanos, SECOND};

/// How the intended times are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arrivals {
    /// One every 1/rate seconds.
    #[default]
    Constant,
    /// Independent of each other, as those of many users are: gaps are exponential.
    Poisson,
}

/// Hands out intended times at a rate.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    arrivals: Arrivals,
    /// Nanoseconds between two events, on average.
    gap: f64,
    start: Nanos,
    /// The next event, in nanoseconds since `start`: a double is exact to the nanosecond for months.
    next: f64,
    random: fastrand::Rng,
}

impl Pacer {
    /// Events from `start` on, `rate` a second. A rate that is not positive has no events at all.
    ///
    /// The first of constant arrivals is at `start` plus a random part of a gap, so that several
    /// pacers, each with a part of the whole rate, do not fire together.
    pub(crate) fn new(arrivals: Arrivals, rate: f64, start: Nanos, seed: u64) -> Self {
        let gap = if rate > 0.0 { SECOND as f64 / rate } else { f64::INFINITY };
        let mut random = fastrand::Rng::with_seed(seed);
        let next = match arrivals {
            Arrivals::Constant => gap * random.f64(),
            Arrivals::Poisson => gap * exponential(&mut random),
        };
        Self { arrivals, gap, start, next, random }
    }

    /// The next event if its time has come, and on to the one after it.
    pub(crate) fn due(&mut self, now: Nanos) -> Option<Nanos> {
        let intended = self.next()?;
        if intended > now {
            return None;
        }
        self.next += match self.arrivals {
            Arrivals::Constant => self.gap,
            Arrivals::Poisson => self.gap * exponential(&mut self.random),
        };
        Some(intended)
    }

    /// How many events are due by `now`, on average if they are random.
    pub(crate) fn overdue_count(&self, now: Nanos) -> u64 {
        let late = (now as f64 - self.start as f64 - self.next) / self.gap;
        if late >= 0.0 { late as u64 + 1 } else { 0 }
    }

    /// When the next event is meant to happen; `None` if never.
    pub(crate) fn next(&self) -> Option<Nanos> {
        self.next.is_finite().then(|| self.start.saturating_add(self.next as u64))
    }
}

/// A draw from the exponential distribution of mean 1.
pub(crate) fn exponential(random: &mut fastrand::Rng) -> f64 {
    // `f64` is in 0..1, so the logarithm's argument is in (0, 1].
    -(1.0 - random.f64()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All events up to `end`.
    fn events(pacer: &mut Pacer, end: Nanos) -> Vec<Nanos> {
        std::iter::from_fn(|| pacer.due(end)).collect()
    }

    #[test]
    fn constant_arrivals_keep_their_distance_and_do_not_drift() {
        let start = 5 * SECOND;
        let mut pacer = Pacer::new(Arrivals::Constant, 3000.0, start, 1);
        let events = events(&mut pacer, start + 100 * SECOND);
        assert_eq!(events.len(), 300_000);
        let first = events[0];
        assert!((start..start + SECOND / 3000 + 1).contains(&first));
        for (index, event) in (0_u64..).zip(&events) {
            assert!((first + index * SECOND / 3000).abs_diff(*event) <= 2, "event {index}");
        }
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_exponential_gaps() {
        let mut pacer = Pacer::new(Arrivals::Poisson, 1000.0, 0, 7);
        let events = events(&mut pacer, 100 * SECOND);
        let gaps: Vec<f64> =
            events.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.98..1.02).contains(&mean), "mean {mean} ms");
        assert!((0.95..1.05).contains(&variance.sqrt()), "deviation {} ms", variance.sqrt());
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let run = |seed| events(&mut Pacer::new(arrivals, 100.0, 0, seed), SECOND);
            assert_eq!(run(3), run(3));
            assert_ne!(run(3), run(4));
        }
    }

    #[test]
    fn nothing_is_due_before_its_time_and_late_events_are_not_lost() {
        let mut pacer = Pacer::new(Arrivals::Constant, 10.0, SECOND, 0);
        let next = pacer.next().unwrap();
        assert_eq!(pacer.due(next - 1), None);
        assert_eq!(pacer.due(next), Some(next));
        // The generator slept for three seconds: thirty events are owed, with their intended times.
        assert_eq!(pacer.overdue_count(next + SECOND / 20), 0);
        assert_eq!(pacer.overdue_count(next + 3 * SECOND + SECOND / 20), 30);
        let owed = events(&mut pacer, next + 3 * SECOND);
        assert_eq!((owed.len(), owed[0]), (30, next + SECOND / 10));
    }

    #[test]
    fn no_rate_no_events() {
        for rate in [0.0, -1.0, f64::NAN] {
            let mut pacer = Pacer::new(Arrivals::Poisson, rate, 0, 0);
            assert_eq!((pacer.next(), pacer.due(Nanos::MAX)), (None, None));
        }
    }
}
