//! Leaving politely: stop accepting, close, wait, drop whoever is left.

use super::{App, Clock, Drain, Reactor, Turn};
use crate::{
    conn::{CloseCause, Deadline, Tick},
    driver::Driver,
    pool::Key,
};

/// A drain that has begun.
#[derive(Debug)]
pub(super) struct Draining {
    drain: Drain,
    began_at: Tick,
    /// Who has not been told yet.
    waiting: Vec<Key>,
    /// How many there were in the beginning.
    count: usize,
    /// How many the deadline dropped.
    dropped: usize,
    expired: bool,
}

impl Draining {
    /// How many connections had to be dropped.
    pub(super) fn dropped(&self) -> usize {
        self.dropped
    }
}

impl<D: Driver, A: App, C: Clock> Reactor<D, A, C> {
    /// Stops accepting and begins to close connections.
    pub(super) fn begin_drain(&mut self, drain: Drain) {
        if self.draining.is_some() {
            return;
        }
        (0..self.listeners.count).for_each(|listener| self.driver.close_listener(listener));
        self.core.table.leaving = true;
        let began_at = self.core.table.now;
        let mut waiting: Vec<Key> = self.core.table.connections.keys().collect();
        shuffle(&mut waiting);
        let count = waiting.len();
        let dropped = 0;
        self.draining = Some(Draining { drain, began_at, waiting, count, dropped, expired: false });
        self.drain_some(began_at);
    }

    /// Closes the share of the connections whose time has come.
    pub(super) fn drain_some(&mut self, now: Tick) {
        let Some(draining) = &mut self.draining else { return };
        let passed = now.since(draining.began_at);
        let spread = draining.drain.spread;
        let told_count = if passed >= spread {
            draining.count
        } else {
            let share = passed.as_secs_f64() / spread.as_secs_f64();
            (draining.count as f64 * share) as usize
        };
        let left_count = draining.count - told_count.min(draining.count);
        let mut turn = Turn { table: &mut self.core.table, arena: self.driver.arena() };
        while draining.waiting.len() > left_count {
            let key = draining.waiting.pop().expect("longer than something");
            match turn.table.connections.get(key).map(|conn| conn.phase) {
                Some(phase) if phase.is_opening() => turn.abort(key, CloseCause::Aborted),
                Some(_) => turn.close(key, draining.drain.code, "going away"),
                None => {}
            }
        }
        if passed >= draining.drain.deadline && !draining.expired {
            draining.expired = true;
            let keys: Vec<Key> = turn.table.connections.keys().collect();
            for key in keys {
                let conn = turn.table.connections.get(key);
                draining.dropped += usize::from(conn.is_some_and(|conn| conn.phase.is_live()));
                turn.abort(key, CloseCause::TimedOut(Deadline::Close));
            }
        }
        let arena = self.driver.arena();
        self.core.settle(arena);
    }

    /// Whether a drain has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.draining.is_some() && self.core.table.connections.len() == 0
    }
}

/// A random order without a source of randomness: neighbours in the table, which often connected
/// together, are told at different times.
fn shuffle(keys: &mut [Key]) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for last in (1..keys.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        keys.swap(last, (state >> 33) as usize % (last + 1));
    }
}
