//! Everything a measurement adds up to.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Counter, Counters, Latencies, Timing};

/// How many kinds of error are told apart; the others are [`OTHER`].
const ERROR_KINDS_MAX: usize = 64;
const OTHER: &str = "other";

/// Who ended a connection that was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// The server's close frame came first.
    Server,
    /// Ours did.
    Client,
    /// No close frame: a reset, an end without one, a time-out.
    Lost,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Lost => "lost",
        })
    }
}

/// Counters, tables and latencies of one recorder, or of all together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// One number for each [`Counter`].
    pub(crate) counters: Counters,
    /// Open connections that ended: how many by close code (1005 for none, 1006 for a lost
    /// connection) and by who ended them.
    #[serde(with = "ends")]
    pub(crate) closes: BTreeMap<(u16, Side), u64>,
    /// Errors by kind, which is a short fixed text such as `connect: connection refused`.
    pub(crate) errors: BTreeMap<String, u64>,
    /// By [`Timing`]; a histogram is made when its first latency comes.
    #[serde(with = "by_name")]
    latencies: [Option<Box<Latencies>>; Timing::COUNT],
}

impl Tally {
    /// Counts a latency. The first of its timing allocates the histogram.
    #[inline]
    pub(crate) fn record(&mut self, timing: Timing, latency: Duration) {
        self.latencies[timing as usize]
            .get_or_insert_with(|| Box::new(Latencies::fine()))
            .record(latency);
    }

    /// Counts an error; beyond 64 kinds it is filed under `other`.
    pub(crate) fn error(&mut self, kind: &str) {
        self.counters[Counter::Errors] += 1;
        self.file_errors(kind, 1);
    }

    /// Counts the end of an open connection.
    pub(crate) fn closed(&mut self, code: u16, by: Side) {
        self.counters[Counter::Closed] += 1;
        *self.closes.entry((code, by)).or_default() += 1;
    }

    /// The latencies of a timing, if there was one.
    pub(crate) fn latencies(&self, timing: Timing) -> Option<&Latencies> {
        self.latencies[timing as usize].as_deref().filter(|latencies| latencies.count() > 0)
    }

    /// All timings that were seen, in the order of [`Timing::ALL`].
    pub(crate) fn timings(&self) -> impl Iterator<Item = (Timing, &Latencies)> {
        Timing::ALL.into_iter().filter_map(|timing| Some((timing, self.latencies(timing)?)))
    }

    /// Forgets what messages did, but not how connections were opened and ended, and no error.
    pub(crate) fn forget_messages(&mut self) {
        for counter in Counter::ALL.into_iter().filter(|counter| !counter.is_of_connections()) {
            self.counters[counter] = 0;
        }
        for timing in Timing::ALL.into_iter().filter(|timing| !timing.is_of_openings()) {
            self.latencies[timing as usize] = None;
        }
    }

    /// Adds what another recorder counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.counters += other.counters;
        for (end, count) in &other.closes {
            *self.closes.entry(*end).or_default() += count;
        }
        for (kind, count) in &other.errors {
            self.file_errors(kind, *count);
        }
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            match (mine, theirs) {
                (Some(mine), Some(theirs)) => mine.merge(theirs),
                (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
                (_, None) => {}
            }
        }
    }

    fn file_errors(&mut self, kind: &str, count: u64) {
        let is_known = self.errors.contains_key(kind) || self.errors.len() < ERROR_KINDS_MAX;
        *self.errors.entry(if is_known { kind } else { OTHER }.to_owned()).or_default() += count;
    }
}

/// The table of closes in JSON: a list of rows.
mod ends {
    use super::{BTreeMap, Deserialize, Serialize, Side};
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Row {
        code: u16,
        by: Side,
        count: u64,
    }

    pub(super) fn serialize<S: Serializer>(
        ends: &BTreeMap<(u16, Side), u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ends.iter().map(|(&(code, by), &count)| Row { code, by, count }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<(u16, Side), u64>, D::Error> {
        let rows = Vec::<Row>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|row| ((row.code, row.by), row.count)).collect())
    }
}

/// Latencies in JSON: an object with those that there are.
mod by_name {
    use super::{BTreeMap, Deserialize, Latencies, Timing};
    use serde::{Deserializer, Serializer};

    type All = [Option<Box<Latencies>>; Timing::COUNT];

    pub(super) fn serialize<S: Serializer>(all: &All, serializer: S) -> Result<S::Ok, S::Error> {
        let named = Timing::ALL.into_iter().zip(all);
        serializer.collect_map(named.filter_map(|(timing, seen)| Some((timing, seen.as_ref()?))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<All, D::Error> {
        let mut by_name = BTreeMap::<Timing, Box<Latencies>>::deserialize(deserializer)?;
        Ok(Timing::ALL.map(|timing| by_name.remove(&timing)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_adds() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        one.record(Timing::RoundTrip, Duration::from_millis(1));
        two.record(Timing::RoundTrip, Duration::from_millis(3));
        two.record(Timing::Connect, Duration::from_millis(5));
        one.closed(1000, Side::Client);
        two.closed(1000, Side::Client);
        two.closed(1006, Side::Lost);
        two.error("connect: refused");
        one.merge(&two);
        assert_eq!(one.counters[Counter::Closed], 3);
        assert_eq!(one.counters[Counter::Errors], 1);
        let closes: Vec<_> = one.closes.into_iter().collect();
        assert_eq!(closes, [((1000, Side::Client), 2), ((1006, Side::Lost), 1)]);
    }

    #[test]
    fn forgetting_messages_keeps_connections() {
        let mut tally = Tally::default();
        tally.record(Timing::Connect, Duration::from_millis(1));
        tally.record(Timing::RoundTrip, Duration::from_millis(1));
        tally.counters[Counter::Connected] = 1;
        tally.counters[Counter::Sent] = 1;
        tally.error("refused");
        tally.forget_messages();
        let timings: Vec<_> = tally.timings().map(|(timing, _)| timing).collect();
        assert_eq!(timings, [Timing::Connect]);
        let counters = tally.counters;
        assert_eq!((counters[Counter::Connected], counters[Counter::Sent]), (1, 0));
        assert_eq!((counters[Counter::Errors], tally.errors.len()), (1, 1));
    }

    #[test]
    fn kinds_of_error_are_bounded() {
        let mut tally = Tally::default();
        (0..100).for_each(|n| tally.error(&format!("kind {n}")));
        tally.error("kind 0");
        assert_eq!(tally.errors.len(), ERROR_KINDS_MAX + 1);
        assert_eq!((tally.errors["kind 0"], tally.errors[OTHER]), (2, 36));
        assert_eq!(tally.counters[Counter::Errors], 101);
    }
}
