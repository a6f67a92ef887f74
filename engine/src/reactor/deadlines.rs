//! One coarse stamp a connection, swept a slice a tick.

use crate::{conn::Tick, pool::Column};

/// When each connection of the table is to be looked at next: a column beside the table.
///
/// There is no timer node, no list and no allocation: a slice of the column is compared with the
/// clock each tick, eight stamps at a time. A million of them are 4 MB, read through once a second.
#[derive(Debug)]
pub(crate) struct Deadlines {
    stamps: Column<u32>,
    /// The chunk that the next sweep begins with.
    cursor: usize,
}

/// The whole column is swept once in this many ticks: once a second.
const TICKS_PER_SWEEP: usize = 4;

impl Default for Deadlines {
    fn default() -> Self {
        Self { stamps: Column::new(Tick::NEVER.0), cursor: 0 }
    }
}

impl Deadlines {
    /// Sets the stamp of the connection at `index`.
    #[inline]
    pub(crate) fn set(&mut self, index: u32, at: Tick) {
        *self.stamps.entry(index) = at.0;
    }

    /// Moves the stamp of the connection at `index` forward to `at`, if that is earlier.
    pub(crate) fn bring_forward(&mut self, index: u32, at: Tick) {
        let stamp = self.stamps.entry(index);
        *stamp = at.0.min(*stamp);
    }

    /// Appends to `due` the indices whose time has come of the slices of `tick_count` ticks, and
    /// clears their stamps.
    pub(crate) fn sweep(&mut self, now: Tick, tick_count: usize, due: &mut Vec<u32>) {
        let slice_count = tick_count.min(TICKS_PER_SWEEP);
        let chunks = self.stamps.chunks_mut();
        for _ in 0..(chunks.len() * slice_count).div_ceil(TICKS_PER_SWEEP) {
            let chunk = self.cursor % chunks.len();
            self.cursor = chunk + 1;
            // Most chunks have nothing due: find that out without a branch a stamp.
            if !chunks[chunk].iter().fold(false, |any, &stamp| any | (stamp <= now.0)) {
                continue;
            }
            for (offset, stamp) in chunks[chunk].iter_mut().enumerate() {
                if *stamp <= now.0 {
                    *stamp = Tick::NEVER.0;
                    due.push((chunk * Column::<u32>::CHUNK_LEN + offset) as u32);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep_all(deadlines: &mut Deadlines, now: u32) -> Vec<u32> {
        let mut due = Vec::new();
        deadlines.sweep(Tick(now), 1, &mut due);
        deadlines.sweep(Tick(now), 1000, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn each_stamp_comes_due_once() {
        let mut deadlines = Deadlines::default();
        (0..10_000).for_each(|index| deadlines.set(index, Tick(index % 100)));
        let due = sweep_all(&mut deadlines, 49);
        assert_eq!(due, (0..10_000).filter(|index| index % 100 < 50).collect::<Vec<_>>());
        assert!(sweep_all(&mut deadlines, 49).is_empty());
        assert_eq!(sweep_all(&mut deadlines, 99).len(), 5000);
    }

    #[test]
    fn a_deadline_only_moves_forward() {
        let mut deadlines = Deadlines::default();
        deadlines.set(7, Tick(10));
        deadlines.bring_forward(7, Tick(20));
        assert_eq!(sweep_all(&mut deadlines, 10), [7]);
        deadlines.set(7, Tick(10));
        deadlines.bring_forward(7, Tick(5));
        assert_eq!(sweep_all(&mut deadlines, 5), [7]);
    }
}
