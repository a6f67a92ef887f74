//! Chance, to be had again by its seed.

use std::time::Duration;

/// SplitMix64: small, quick, and good enough to decide when things go wrong.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Any number.
    pub(crate) fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // The bias is 2⁻³² for any `end` that fits memory.
        (self.roll() % end as u64) as usize
    }

    /// A number in `0..=last`.
    pub(crate) fn up_to(&mut self, last: usize) -> usize {
        self.below(last + 1)
    }

    /// True with `probability`: never at 0.0, always at 1.0.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        ((self.roll() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// A time in `0..=longest`, to the microsecond.
    pub(crate) fn time_up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.up_to(longest.as_micros() as usize) as u64)
    }

    /// One of `choices`, of which there is at least one.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence() {
        let rolls = |seed| (0..4).map(|_| seed).collect::<Vec<u64>>();
        assert_eq!(rolls(3), rolls(3));
        let (mut one, mut same, mut other) = (Dice::new(1), Dice::new(1), Dice::new(2));
        let mut differences = 0;
        for _ in 0..100 {
            let roll = one.roll();
            assert_eq!(roll, same.roll());
            differences += usize::from(roll != other.roll());
        }
        assert!(differences > 90);
    }

    #[test]
    fn chances_are_kept() {
        let mut dice = Dice::new(7);
        let mut count = |probability| (0..10_000).filter(|_| dice.chance(probability)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert!((2_000..3_000).contains(&count(0.25)));
        let mut seen = [false; 5];
        (0..1000).for_each(|_| seen[dice.up_to(4)] = true);
        assert_eq!(seen, [true; 5]);
        let longest = Duration::from_micros(3);
        assert!((0..100).all(|_| dice.time_up_to(longest) <= longest));
    }
}
