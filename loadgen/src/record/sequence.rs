//! Which messages of a stream arrived: losses, duplicates, reorders.

/// The numbers of a stream as its receiver sees them, each one larger than the one before.
///
/// 24 bytes. It remembers which of the last 64 numbers arrived; what comes later than that counts
/// as a duplicate, since it can no longer be told from one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// The number that should come next; `None` before the first message.
    next: Option<u64>,
    /// Bit `n` stands for `next - 1 - n`: whether it arrived.
    arrived: u64,
}

/// What the arrival of one message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The number that should come next.
    InOrder,
    /// So many numbers were jumped over. They are lost, unless they come after all.
    Gap(u64),
    /// A number that had been jumped over: it was not lost, only late.
    Reordered,
    /// A number that had arrived already, or one from before the window.
    Duplicate,
}

impl Sequence {
    /// A stream whose first number is `first`. [`Sequence::default`] takes whatever comes first, for
    /// receivers that join a stream in its middle.
    pub(crate) fn starting_at(first: u64) -> Self {
        Self { next: Some(first), arrived: u64::MAX }
    }

    /// A message with `number` arrived.
    #[inline]
    pub(crate) fn see(&mut self, number: u64) -> Seen {
        let next = *self.next.get_or_insert_with(|| {
            // Nothing before the first number is missing.
            self.arrived = u64::MAX;
            number
        });
        if number < next {
            return self.see_old(next - 1 - number);
        }
        let jumped = number - next;
        self.next = Some(number.wrapping_add(1));
        self.arrived = match jumped {
            0..63 => self.arrived << (jumped + 1) | 1,
            _ => 1,
        };
        if jumped == 0 { Seen::InOrder } else { Seen::Gap(jumped) }
    }

    fn see_old(&mut self, age: u64) -> Seen {
        let is_known = age < 64 && self.arrived & (1 << age) == 0;
        if !is_known {
            return Seen::Duplicate;
        }
        self.arrived |= 1 << age;
        Seen::Reordered
    }

    /// How many of the numbers below `end` never had a chance to leave a gap, because nothing came
    /// after them: what is lost at the end of a stream that sent all up to `end`. Zero for a stream
    /// of which nothing arrived and whose first number is not known.
    pub(crate) fn missing_before(&self, end: u64) -> u64 {
        self.next.map_or(0, |next| end.saturating_sub(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mut sequence: Sequence, rows: &[(u64, Seen)]) {
        for (number, seen) in rows {
            assert_eq!(sequence.see(*number), *seen, "{number} in {rows:?}");
        }
    }

    #[test]
    fn what_arrives_says_what_is_missing() {
        use Seen::*;
        check(Sequence::starting_at(0), &[(0, InOrder), (1, InOrder), (1, Duplicate)]);
        check(
            Sequence::starting_at(0),
            &[(2, Gap(2)), (0, Reordered), (0, Duplicate), (3, InOrder)],
        );
        check(Sequence::default(), &[(7, InOrder), (8, InOrder), (6, Duplicate), (10, Gap(1))]);
        check(Sequence::starting_at(0), &[(62, Gap(62)), (0, Reordered), (61, Reordered)]);
        check(Sequence::starting_at(0), &[(63, Gap(63)), (0, Reordered), (63, Duplicate)]);
        check(Sequence::starting_at(0), &[(64, Gap(64)), (0, Duplicate), (1, Reordered)]);
        check(Sequence::starting_at(0), &[(1000, Gap(1000)), (1, Duplicate), (999, Reordered)]);
        check(Sequence::starting_at(0), &[(u64::MAX, Gap(u64::MAX))]);
    }

    #[test]
    fn the_end_of_a_stream_can_be_missing() {
        let mut sequence = Sequence::starting_at(0);
        assert_eq!(sequence.missing_before(5), 5);
        sequence.see(3);
        assert_eq!((sequence.missing_before(5), sequence.missing_before(4)), (1, 0));
        assert_eq!(Sequence::default().missing_before(5), 0);
    }

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Sequence>(), 24);
    }
}
