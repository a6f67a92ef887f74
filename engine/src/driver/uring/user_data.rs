//! What a completion says about the request it belongs to.

use crate::{driver::Token, pool::Key};

/// The 64 bits that travel with a request: `kind (10) | generation (28) | index (26)`.
///
/// Index and generation are a socket's token, or say which listener, send or look-up it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserData(u64);

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Nothing that anyone waits for: a cancellation, or the closing of a stray slot.
    Quiet,
    /// A one-shot poll for something to receive.
    Poll,
    /// A receive.
    Receive,
    /// A send of the batch with this number; the index is its place in the batch.
    SendEven,
    SendOdd,
    /// A one-shot poll for room to send.
    Writable,
    /// No more output.
    ShutdownWrite,
    /// No more of anything: how the polls of a socket that is to be closed are brought to an end.
    ShutdownBoth,
    /// A reset.
    Abort,
    /// A slot given up.
    Close,
    /// A multishot accept; the index is the listener's.
    Accept,
    /// A peer's address; the index is the look-up's.
    PeerName,
    /// A descriptor put into a slot; the index is the connection's that is being made.
    Install,
    /// A connection being made, by the same index.
    Connect,
    /// The multishot poll of the waker.
    Wake,
    /// A receive that goes on.
    ReceiveMultishot,
    /// A receive to where the reactor wants it.
    ReceiveInto,
}

impl UserData {
    /// A request of `kind` for the socket that `token` names.
    #[inline]
    pub(super) fn of_token(kind: Kind, token: Token) -> Self {
        let low = u64::from(token.generation) << Key::INDEX_BITS | u64::from(token.index);
        Self((kind as u64) << KIND_SHIFT | low)
    }

    /// A request of `kind` that belongs to number `index` of something else.
    #[inline]
    pub(super) fn of_index(kind: Kind, index: usize) -> Self {
        debug_assert!(index < 1 << KIND_SHIFT);
        Self((kind as u64) << KIND_SHIFT | index as u64)
    }

    /// What the kernel gave back.
    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What the kernel keeps for us.
    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// What was asked. `None` for bits that never came from us.
    #[inline]
    pub(super) fn kind(self) -> Option<Kind> {
        // Compiles to a comparison: the numbers are those of the enum.
        Some(match self.0 >> KIND_SHIFT {
            0 => Kind::Quiet,
            1 => Kind::Poll,
            2 => Kind::Receive,
            3 => Kind::SendEven,
            4 => Kind::SendOdd,
            5 => Kind::Writable,
            6 => Kind::ShutdownWrite,
            7 => Kind::ShutdownBoth,
            8 => Kind::Abort,
            9 => Kind::Close,
            10 => Kind::Accept,
            11 => Kind::PeerName,
            12 => Kind::Install,
            13 => Kind::Connect,
            14 => Kind::Wake,
            15 => Kind::ReceiveMultishot,
            16 => Kind::ReceiveInto,
            _ => return None,
        })
    }

    /// Whether that was asked.
    #[inline]
    pub(super) fn is(self, kind: Kind) -> bool {
        self.0 >> KIND_SHIFT == kind as u64
    }

    /// For which socket.
    #[inline]
    pub(super) fn token(self) -> Token {
        let index = self.0 & ((1 << Key::INDEX_BITS) - 1);
        let generation = self.0 >> Key::INDEX_BITS & ((1 << Key::GENERATION_BITS) - 1);
        Token { index: index as u32, generation: generation as u32 }
    }

    /// For which number.
    #[inline]
    pub(super) fn index(self) -> usize {
        (self.0 & ((1 << KIND_SHIFT) - 1)) as usize
    }
}

const KIND_SHIFT: u32 = Key::INDEX_BITS + Key::GENERATION_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_went() {
        let tokens = [(0, 0), (1, 0), (0, 1), ((1 << 26) - 1, (1 << 28) - 1), (77, 1 << 27)];
        let kinds: Vec<_> =
            (0..).map_while(|number| UserData(number << KIND_SHIFT).kind()).collect();
        assert_eq!(kinds.last(), Some(&Kind::ReceiveInto));
        for (number, kind) in kinds.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            for (index, generation) in tokens {
                let token = Token { index, generation };
                let back = UserData::from_bits(UserData::of_token(kind, token).bits());
                assert_eq!((back.kind(), back.token()), (Some(kind), token));
            }
            let back = UserData::from_bits(UserData::of_index(kind, 1_000_000_000).bits());
            assert_eq!((back.kind(), back.index()), (Some(kind), 1_000_000_000));
        }
        assert_eq!(UserData::from_bits(u64::MAX).kind(), None);
    }
}
