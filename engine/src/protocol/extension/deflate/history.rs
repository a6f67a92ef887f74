//! What was said before, as far back as a window reaches.

use super::{
    budget::{Budget, Promise},
    params::WindowBits,
};

/// What a connection carries when something is taken over: a history for each direction that does.
#[derive(Debug)]
pub struct Context {
    /// Of the messages we sent.
    pub sent: Option<History>,
    /// Of the messages we received.
    pub received: Option<History>,
}

/// The end of all compressed messages of one direction, one after another: what the next may refer
/// to (RFC 7692 §7.1.1).
///
/// Empty, it has no memory of its own; it takes what it needs, at most one window.
#[derive(Debug)]
pub struct History {
    bytes: Vec<u8>,
    window_bits: WindowBits,
    promise: Promise,
}

impl History {
    /// An empty one, if `budget` has room for its window.
    pub(super) fn of_received(window_bits: WindowBits, budget: &Budget) -> Option<Self> {
        let promise = budget.promise(window_bits.window_len())?;
        Some(Self { bytes: Vec::new(), window_bits, promise })
    }

    /// As [`of_received`](Self::of_received), but for none of 8 bits: zlib knows no window so small.
    pub(super) fn of_sent(window_bits: WindowBits, budget: &Budget) -> Option<Self> {
        (window_bits > WindowBits::MIN).then(|| Self::of_received(window_bits, budget)).flatten()
    }

    /// The bytes, oldest first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How far back it reaches.
    pub fn window_bits(&self) -> WindowBits {
        self.window_bits
    }

    /// Bytes of memory held.
    pub fn memory_len(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds a message, and forgets what is now out of reach.
    pub(super) fn push(&mut self, message: &[u8]) {
        let window_len = self.window_bits.window_len();
        let recent = &message[message.len().saturating_sub(window_len)..];
        let kept_len = self.bytes.len().min(window_len - recent.len());
        self.bytes.drain(..self.bytes.len() - kept_len);
        let len = kept_len + recent.len();
        if len > self.bytes.capacity() {
            // Twice as much at least, as a vector does, but never more than was promised.
            let capacity = (2 * self.bytes.capacity()).clamp(len, window_len);
            self.bytes.reserve_exact(capacity - kept_len);
        }
        self.bytes.extend_from_slice(recent);
    }

    /// The window turned out smaller than was hoped for. Before the first message.
    pub(super) fn shrunk(mut self, window_bits: WindowBits) -> Self {
        self.promise.shrink(window_bits.window_len());
        self.window_bits = window_bits;
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_end_of_all_that_was_said(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..900), 0..12),
        ) {
            let budget = Budget::new(512);
            let mut history = History::of_sent(WindowBits::new(9).unwrap(), &budget).unwrap();
            let mut said = Vec::new();
            for message in messages {
                history.push(&message);
                said.extend_from_slice(&message);
                prop_assert_eq!(history.bytes(), &said[said.len().saturating_sub(512)..]);
                prop_assert!(history.memory_len() <= 512);
            }
        }
    }

    #[test]
    fn nothing_is_promised_twice_and_all_is_given_back() {
        let budget = Budget::new(3 * 512 + 100);
        let bits = WindowBits::new(9).unwrap();
        let mut histories: Vec<_> = (0..3).map(|_| History::of_sent(bits, &budget)).collect();
        assert!(histories.iter().all(Option::is_some));
        assert!(History::of_sent(bits, &budget).is_none());
        assert_eq!(budget.left(), 100);
        histories.pop();
        assert_eq!(budget.left(), 612);
        assert_eq!(histories[0].as_ref().unwrap().memory_len(), 0, "nothing was said yet");
        drop(histories);
        assert_eq!(budget.left(), 3 * 512 + 100);
        assert!(History::of_sent(WindowBits::MIN, &budget).is_none());
        assert_eq!(budget.left(), 3 * 512 + 100);
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Context>() <= 96);
    }
}
