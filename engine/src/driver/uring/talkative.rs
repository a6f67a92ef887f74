//! Which sockets talk so often that a receive is left waiting for them.
//!
//! A multishot receive brings one message after the other and is asked for once. It costs the kernel
//! 608 bytes more than a poll for as long as it waits, so there is a bound to how many there are: a
//! socket needs a seat for it. The seat's number is the low end of the socket's, and many sockets have
//! the same one in mind:
//!
//! ```text
//!                       its next words
//!   Empty ─ a word ─▶ Sought ──────────▶ Taken ─ a rival's word ─▶ Taken, silent since
//!     ▲                 ▲ │ a rival's word │ ▲                       │ │
//!     │                 └─┘ (theirs now)   │ └────── its word ───────┘ │
//!     └────────────────────────────────────┴──── a rival's word ───────┘
//!                        it leaves
//! ```
//!
//! Whoever talks more than the rivals sits, whoever falls silent makes room when somebody wants it.
//! There is no list to keep, and nothing to sweep.

use crate::driver::Token;

/// The seats.
#[derive(Debug)]
pub(super) struct Talkative {
    seats: Box<[Seat]>,
    /// So many words, with none of a rival in between, take a seat.
    words_needed: u8,
}

/// What a word of a socket without a multishot receive leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on as before.
    Poll,
    /// It has a seat now.
    Promote,
    /// It goes on as before, and another that was silent has lost its seat.
    Demote(Token),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Empty,
    /// It was the last to speak, so often.
    Sought {
        token: Token,
        words: u8,
    },
    /// It has a multishot receive.
    Taken {
        token: Token,
        /// Since a rival spoke.
        is_silent: bool,
    },
}

impl Talkative {
    /// No seat is taken yet.
    pub(super) fn new(words_needed: u8) -> Self {
        Self { seats: vec![Seat::Empty; SEAT_COUNT].into(), words_needed }
    }

    /// Nobody takes a seat from now on.
    pub(super) fn close(&mut self) {
        self.words_needed = NEVER;
    }

    /// A socket without a multishot receive has something to say.
    #[inline]
    pub(super) fn hear(&mut self, token: Token) -> Verdict {
        let seat = &mut self.seats[place(token)];
        let words = match *seat {
            Seat::Taken { token: holder, is_silent: true } => {
                *seat = Seat::Empty;
                return Verdict::Demote(holder);
            }
            Seat::Taken { token, .. } => {
                *seat = Seat::Taken { token, is_silent: true };
                return Verdict::Poll;
            }
            Seat::Sought { token: last, words } if last == token => words.saturating_add(1),
            Seat::Sought { .. } | Seat::Empty => 1,
        };
        if words < self.words_needed || self.words_needed == NEVER {
            *seat = Seat::Sought { token, words };
            return Verdict::Poll;
        }
        *seat = Seat::Taken { token, is_silent: false };
        Verdict::Promote
    }

    /// A socket's multishot receive brought something, and goes on.
    #[inline]
    pub(super) fn hear_more(&mut self, token: Token) {
        if let Seat::Taken { token: holder, is_silent } = &mut self.seats[place(token)]
            && *holder == token
        {
            *is_silent = false;
        }
    }

    /// A socket is not to have a seat, nor to be about to. Says whether it had one.
    #[inline]
    pub(super) fn leave(&mut self, token: Token) -> bool {
        let seat = &mut self.seats[place(token)];
        match *seat {
            Seat::Sought { token: last, .. } if last == token => {
                *seat = Seat::Empty;
                false
            }
            Seat::Taken { token: holder, .. } if holder == token => {
                *seat = Seat::Empty;
                true
            }
            _ => false,
        }
    }
}

/// With so many words in a row a socket has shown that it is talkative, and what a promotion or a
/// demotion costs is spread over some messages.
pub(super) const WORDS_NEEDED: u8 = 8;

/// More words than are counted.
pub(super) const NEVER: u8 = u8::MAX;

/// The most multishot receives of a ring: 2.5 MB more to the kernel than polls would cost.
const SEAT_COUNT: usize = 4096;

/// The seat that a socket would take.
#[inline]
fn place(token: Token) -> usize {
    token.index as usize % SEAT_COUNT
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEIGHBOUR: Token = Token { index: 1, generation: 0 };
    const ONE: Token = Token { index: 7, generation: 3 };
    const RIVAL: Token = Token { index: 7 + SEAT_COUNT as u32, generation: 3 };
    const SUCCESSOR: Token = Token { index: 7, generation: 4 };

    #[test]
    fn who_talks_takes_a_seat() {
        let mut talkative = Talkative::new(3);
        for _ in 0..2 {
            assert_eq!(talkative.hear(ONE), Verdict::Poll);
            assert_eq!(talkative.hear(NEIGHBOUR), Verdict::Poll);
        }
        assert!(!talkative.leave(NEIGHBOUR), "it was only about to");
        assert_eq!(talkative.hear(NEIGHBOUR), Verdict::Poll);
        assert_eq!(talkative.hear(ONE), Verdict::Promote);
        assert!(talkative.leave(ONE) && !talkative.leave(ONE));
    }

    #[test]
    fn who_talks_as_much_as_a_rival_takes_none() {
        let mut talkative = Talkative::new(2);
        for _ in 0..10 {
            for token in [ONE, RIVAL, SUCCESSOR] {
                assert_eq!(talkative.hear(token), Verdict::Poll);
            }
        }
    }

    #[test]
    fn who_falls_silent_makes_room() {
        let mut talkative = Talkative::new(1);
        assert_eq!(talkative.hear(ONE), Verdict::Promote);
        for _ in 0..10 {
            assert_eq!(talkative.hear(RIVAL), Verdict::Poll);
            talkative.hear_more(ONE);
            talkative.hear_more(SUCCESSOR);
        }
        assert_eq!(talkative.hear(RIVAL), Verdict::Poll);
        assert_eq!(talkative.hear(RIVAL), Verdict::Demote(ONE));
        assert!(!talkative.leave(ONE), "lost");
        assert_eq!(talkative.hear(RIVAL), Verdict::Promote);
    }

    #[test]
    fn who_sits_when_no_more_do_stays() {
        let mut talkative = Talkative::new(1);
        assert_eq!(talkative.hear(NEIGHBOUR), Verdict::Promote);
        talkative.close();
        for _ in 0..1000 {
            assert_eq!(talkative.hear(ONE), Verdict::Poll);
        }
        assert!(talkative.leave(NEIGHBOUR) && !talkative.leave(ONE));
    }
}
