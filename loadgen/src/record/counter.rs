//! What is counted.

use std::{
    collections::BTreeMap,
    ops::{AddAssign, Index, IndexMut},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counter {
    /// Connections begun.
    Attempted,
    /// Connections whose opening handshake succeeded.
    Connected,
    /// Connections that ended before they were open.
    Failed,
    /// Open connections that ended, whoever ended them.
    Closed,
    /// Messages sent.
    Sent,
    /// Messages received.
    Received,
    /// Bytes of payload sent.
    SentBytes,
    /// Bytes of payload received.
    ReceivedBytes,
    /// Messages that should have arrived and did not.
    Lost,
    /// Messages that arrived a second time.
    Duplicated,
    /// Messages that arrived after one that was sent later.
    Reordered,
    /// Messages whose checksum or shape was wrong.
    Corrupted,
    /// Errors of any kind; [`super::Tally::errors`] has them by kind.
    Errors,
    /// Messages sent later than they should have been, by more than the tolerance.
    Late,
    /// Messages that were due and never sent, because the connection's queue was full.
    Unsent,
}

impl Counter {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// All, in the order reports show them.
    pub(crate) const ALL: [Self; 15] = [
        Self::Attempted,
        Self::Connected,
        Self::Failed,
        Self::Closed,
        Self::Sent,
        Self::Received,
        Self::SentBytes,
        Self::ReceivedBytes,
        Self::Lost,
        Self::Duplicated,
        Self::Reordered,
        Self::Corrupted,
        Self::Errors,
        Self::Late,
        Self::Unsent,
    ];

    /// What happens to no message in a good run.
    pub(crate) const FAULTS: [Self; 6] =
        [Self::Lost, Self::Duplicated, Self::Reordered, Self::Corrupted, Self::Late, Self::Unsent];

    /// Whether it counts what happened to connections, and not to messages on them.
    pub(crate) fn is_of_connections(self) -> bool {
        use Counter::{Attempted, Closed, Connected, Errors, Failed};
        matches!(self, Attempted | Connected | Failed | Closed | Errors)
    }

    /// The name in files and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Attempted => "attempted",
            Self::Connected => "connected",
            Self::Failed => "failed",
            Self::Closed => "closed",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::SentBytes => "sent_bytes",
            Self::ReceivedBytes => "received_bytes",
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Corrupted => "corrupted",
            Self::Errors => "errors",
            Self::Late => "late",
            Self::Unsent => "unsent",
        }
    }
}

/// One number for each [`Counter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters([u64; Counter::COUNT]);

impl Counters {
    /// What was counted since `before`. A counter that went down (a message thought lost came after
    /// all) says zero.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut difference = *self;
        for counter in Counter::ALL {
            difference[counter] = self[counter].saturating_sub(before[counter]);
        }
        difference
    }
}

impl Index<Counter> for Counters {
    type Output = u64;

    #[inline]
    fn index(&self, counter: Counter) -> &u64 {
        &self.0[counter as usize]
    }
}

impl IndexMut<Counter> for Counters {
    #[inline]
    fn index_mut(&mut self, counter: Counter) -> &mut u64 {
        &mut self.0[counter as usize]
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        for counter in Counter::ALL {
            self[counter] = self[counter].saturating_add(other[counter]);
        }
    }
}

/// As a map from name to number.
impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Counter::ALL.map(|counter| (counter.name(), self[counter])))
    }
}

/// Names that are missing are zero; others are ignored, so that old and new files can be read.
impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let by_name = BTreeMap::<String, u64>::deserialize(deserializer)?;
        let mut counters = Self::default();
        for counter in Counter::ALL {
            counters[counter] = by_name.get(counter.name()).copied().unwrap_or(0);
        }
        Ok(counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn add_subtract_and_survive_json() {
        let mut before = Counters::default();
        before[Counter::Sent] = 3;
        before[Counter::Lost] = 2;
        let mut after = before;
        after[Counter::Sent] += 4;
        after[Counter::Lost] -= 1;
        let since = after.since(&before);
        assert_eq!((since[Counter::Sent], since[Counter::Lost]), (4, 0));
        let mut sum = before;
        sum += since;
        assert_eq!(sum[Counter::Sent], 7);
        after[Counter::Lost] = u64::MAX;
        sum += after;
        assert_eq!(sum[Counter::Lost], u64::MAX, "no overflow");
        let json = serde_json::to_string(&sum).unwrap();
        assert!(json.contains("\"sent\":14"), "{json}");
        assert_eq!(serde_json::from_str::<Counters>(&json).unwrap(), sum);
        let old = serde_json::from_str::<Counters>(r#"{"sent": 1, "gone": 2}"#).unwrap();
        assert_eq!((old[Counter::Sent], old[Counter::Received]), (1, 0));
    }

    #[test]
    fn the_place_in_the_list_is_the_number() {
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, index);
        }
    }
}
