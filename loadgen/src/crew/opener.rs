//! Which connection is to be opened when.
//!
//! Each worker has a share of the connections. New ones are opened evenly over the ramp, or as fast as
//! handshakes come to an end; those that are lost come back when their back-off is over.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{clock::Nanos, pacing::Pacer};

/// Decides when to begin which opening handshake. It does nothing itself.
#[derive(Debug)]
pub(crate) struct Opener {
    /// Connections that were never tried, and how they are paced.
    fresh: std::iter::StepBy<std::ops::Range<u32>>,
    next_fresh: Option<u32>,
    ramp: Option<Pacer>,
    /// Those that are to be tried again, the soonest on top.
    again: BinaryHeap<Reverse<(Nanos, u32, u32)>>,
    /// Handshakes under way, and how many there may be.
    under_way: usize,
    under_way_max: usize,
    start: Nanos,
    is_stopped: bool,
}

/// An opening handshake that is to begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Which connection: a number among all of the run.
    pub(crate) index: u32,
    /// How often it failed or was lost since it was last open.
    pub(crate) failures: u32,
    /// When it was meant to begin.
    pub(crate) intended: Nanos,
}

impl Opener {
    /// Every `step`th connection from `first` below `count`, from `start` on, at the ramp's pace if
    /// there is one, with at most `under_way_max` handshakes at a time.
    pub(crate) fn new(
        first: u32,
        count: u32,
        step: usize,
        start: Nanos,
        ramp: Option<Pacer>,
        under_way_max: usize,
    ) -> Self {
        let mut fresh = (first..count).step_by(step);
        let next_fresh = fresh.next();
        let again = BinaryHeap::new();
        let under_way_max = under_way_max.max(1);
        let (under_way, is_stopped) = (0, false);
        Self { fresh, next_fresh, ramp, again, under_way, under_way_max, start, is_stopped }
    }

    /// The next handshake to begin, if there is one by `now`; it counts as under way.
    pub(crate) fn due(&mut self, now: Nanos) -> Option<Attempt> {
        if self.under_way == self.under_way_max || now < self.start {
            return None;
        }
        let attempt = self.due_again(now).or_else(|| self.due_fresh(now))?;
        self.under_way += 1;
        Some(attempt)
    }

    /// A handshake is over, one way or the other.
    pub(crate) fn settled(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Connection `index` is to be opened again at `at`.
    pub(crate) fn again(&mut self, index: u32, failures: u32, at: Nanos) {
        if !self.is_stopped {
            self.again.push(Reverse((at, index, failures)));
        }
    }

    /// Opens no more, not even those that are lost later.
    pub(crate) fn stop(&mut self) {
        self.is_stopped = true;
        self.next_fresh = None;
        self.again.clear();
    }

    /// When `due` should be asked again; `None` if only the end of a handshake can change anything.
    pub(crate) fn next(&self) -> Option<Nanos> {
        if self.under_way == self.under_way_max {
            return None;
        }
        let again = self.again.peek().map(|Reverse((at, ..))| *at);
        let fresh = self.next_fresh.and_then(|_| match &self.ramp {
            Some(ramp) => ramp.next(),
            None => Some(self.start),
        });
        again.into_iter().chain(fresh).min().map(|at| at.max(self.start))
    }

    /// Whether nothing is under way and nothing is left to be opened.
    pub(crate) fn is_done(&self) -> bool {
        self.under_way == 0 && self.next_fresh.is_none() && self.again.is_empty()
    }

    fn due_again(&mut self, now: Nanos) -> Option<Attempt> {
        let Reverse((intended, index, failures)) = *self.again.peek()?;
        if intended > now {
            return None;
        }
        self.again.pop();
        Some(Attempt { index, failures, intended })
    }

    fn due_fresh(&mut self, now: Nanos) -> Option<Attempt> {
        let index = self.next_fresh?;
        let intended = match &mut self.ramp {
            Some(ramp) => ramp.due(now)?,
            None => now,
        };
        self.next_fresh = self.fresh.next();
        Some(Attempt { index, failures: 0, intended })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SECOND, pacing::Arrivals};

    fn due(opener: &mut Opener, now: Nanos) -> Vec<u32> {
        std::iter::from_fn(|| opener.due(now)).map(|attempt| attempt.index).collect()
    }

    #[test]
    fn shares_cover_everything_once() {
        let mut all: Vec<u32> =
            (0..3).flat_map(|first| due(&mut Opener::new(first, 10, 3, 0, None, 100), 0)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn only_so_many_are_under_way() {
        let mut opener = Opener::new(0, 5, 1, 0, None, 2);
        assert_eq!(due(&mut opener, 1), [0, 1]);
        assert_eq!(opener.next(), None);
        opener.settled();
        assert_eq!(opener.next(), Some(0));
        assert_eq!(due(&mut opener, 1), [2]);
        for index in [3, 4] {
            opener.settled();
            assert_eq!(due(&mut opener, 1), [index]);
        }
        assert!(!opener.is_done());
        opener.settled();
        opener.settled();
        assert!(opener.is_done());
    }

    #[test]
    fn a_ramp_spreads_them() {
        let ramp = Pacer::new(Arrivals::Constant, 10.0, SECOND, 1);
        let mut opener = Opener::new(0, 20, 1, SECOND, Some(ramp), 100);
        assert!(due(&mut opener, SECOND - 1).is_empty());
        assert_eq!(due(&mut opener, 2 * SECOND).len(), 10);
        let next = opener.next().unwrap();
        assert!((2 * SECOND..2 * SECOND + SECOND / 10).contains(&next));
        assert_eq!(due(&mut opener, 9 * SECOND).len(), 10);
    }

    #[test]
    fn lost_ones_come_back_in_their_time() {
        let mut opener = Opener::new(0, 1, 1, 0, None, 10);
        assert_eq!(due(&mut opener, 0), [0]);
        opener.settled();
        opener.again(0, 3, 50);
        opener.again(7, 1, 40);
        assert_eq!(opener.next(), Some(40));
        assert_eq!(opener.due(39), None);
        assert_eq!(opener.due(60), Some(Attempt { index: 7, failures: 1, intended: 40 }));
        assert_eq!(opener.due(60), Some(Attempt { index: 0, failures: 3, intended: 50 }));
        opener.again(0, 0, 60);
        opener.stop();
        opener.again(0, 0, 70);
        assert_eq!((opener.due(99), opener.next()), (None, None));
    }
}
