//! Where a message is put together that is copied to the output at once.

use std::cell::Cell;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Capacity that a thread keeps for the next message.
const KEPT_LEN_MAX: usize = 64 * 1024;

/// Lends an empty buffer, which is the same one for message after message of a reactor. (Whoever asks
/// for it while it is lent gets a new one.)
pub(super) fn with_scratch<R>(put_together: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = SCRATCH.take();
    let result = put_together(&mut buffer);
    buffer.clear();
    buffer.shrink_to(KEPT_LEN_MAX);
    SCRATCH.set(buffer);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_empty_and_the_same_each_time() {
        let first = with_scratch(|buffer| {
            buffer.extend_from_slice(b"a message");
            buffer.as_ptr()
        });
        let second = with_scratch(|buffer| {
            assert!(buffer.is_empty());
            buffer.extend_from_slice(b"another");
            buffer.as_ptr()
        });
        assert_eq!(first, second);
    }

    #[test]
    fn it_may_be_asked_for_while_it_is_lent() {
        with_scratch(|outer| {
            outer.push(1);
            with_scratch(|inner| inner.push(2));
            assert_eq!(*outer, [1]);
        });
    }

    #[test]
    fn a_long_message_leaves_little_behind() {
        with_scratch(|buffer| buffer.resize(10 * KEPT_LEN_MAX, 0));
        with_scratch(|buffer| assert!(buffer.capacity() <= KEPT_LEN_MAX));
    }
}
