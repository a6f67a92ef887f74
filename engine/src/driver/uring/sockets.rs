//! What the driver remembers of each socket: four bytes, found by the token's index.

use crate::{driver::Token, pool::Column};

/// The state of every attached socket.
#[derive(Debug)]
pub(super) struct Sockets {
    states: Column<SocketState>,
}

/// One socket: its slot (20 bits), the low end of its token's generation (4) and flags (8).
///
/// ```text
///   attach ─▶ polling ◀─▶ receiving + polling ─▶ … ─▶ closing ─▶ (nothing outstanding) ─▶ closed
///                │ ▲
///    talkative   ▼ │  in need of a seat for others, paused, …
///             receiving
/// ```
///
/// A slot is given up only when no request is outstanding, so a completion of an earlier tenant
/// cannot arrive; that it would be noticed (by generation and flag) is a second lock on the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketState(u32);

/// A set of [`SocketState`]'s flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags(u32);

impl Default for Sockets {
    fn default() -> Self {
        Self { states: Column::new(SocketState::VACANT) }
    }
}

impl Sockets {
    /// Puts a socket in the place that `token` names.
    pub(super) fn insert(&mut self, token: Token, slot: u32) {
        let place = self.states.entry(token.index);
        debug_assert_eq!(*place, SocketState::VACANT, "{token:?} is attached twice");
        *place = SocketState::new(slot, token.generation);
    }

    /// Keeps the place that `token` names for a socket that is still to come.
    pub(super) fn reserve(&mut self, token: Token) {
        self.insert(token, SocketState::NO_SLOT);
    }

    /// The socket that `token` names, unless it is gone.
    #[inline]
    pub(super) fn find(&mut self, token: Token) -> Option<&mut SocketState> {
        let state = self.states.get_mut(token.index)?;
        state.is_tenant(token.generation).then_some(state)
    }

    /// The socket that `token` names, if `flag` is set: one comparison for both.
    #[inline]
    pub(super) fn find_with(&mut self, token: Token, flag: Flags) -> Option<&mut SocketState> {
        let state = self.states.get_mut(token.index)?;
        let generation = (token.generation & GENERATION_MASK) << GENERATION_SHIFT;
        let mask = GENERATION_MASK << GENERATION_SHIFT | flag.0;
        (state.0 & mask == generation | flag.0).then_some(state)
    }

    /// Forgets the socket that `token` names.
    pub(super) fn remove(&mut self, token: Token) {
        if let Some(state) = self.find(token) {
            *state = SocketState::VACANT;
        }
    }
}

impl SocketState {
    /// No slot, and no flag either.
    const VACANT: Self = Self(SLOT_MASK);
    /// Where the socket will be is not known yet.
    const NO_SLOT: u32 = SLOT_MASK - 1;

    fn new(slot: u32, generation: u32) -> Self {
        debug_assert!(slot <= Self::NO_SLOT);
        Self(slot | (generation & GENERATION_MASK) << GENERATION_SHIFT)
    }

    /// The direct slot that holds the socket.
    #[inline]
    pub(super) fn slot(self) -> u32 {
        self.0 & SLOT_MASK
    }

    /// Whether it is in a slot.
    pub(super) fn has_slot(self) -> bool {
        self.slot() != Self::NO_SLOT
    }

    /// The slot that it came to be in.
    pub(super) fn set_slot(&mut self, slot: u32) {
        self.0 = self.0 & !SLOT_MASK | slot;
    }

    /// Whether any of `flags` is set.
    #[inline]
    pub(super) fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flags: Flags) {
        self.0 |= flags.0;
    }

    #[inline]
    pub(super) fn clear(&mut self, flags: Flags) {
        self.0 &= !flags.0;
    }

    #[inline]
    fn is_tenant(self, generation: u32) -> bool {
        let same = (self.0 >> GENERATION_SHIFT) & GENERATION_MASK == generation & GENERATION_MASK;
        same && self.slot() != SLOT_MASK
    }
}

impl Flags {
    /// A poll for something to receive is armed.
    pub(super) const POLLING: Self = Self(1 << 24);
    /// A receive is in flight, waits for a buffer, or goes on and on.
    pub(super) const RECEIVING: Self = Self(1 << 25);
    /// A poll for room to send is armed, or the connection is being made: which waits for the same.
    pub(super) const BLOCKED: Self = Self(1 << 26);
    /// A shutdown is in flight (a thread of the kernel's does it, some time).
    pub(super) const SHUTTING: Self = Self(1 << 27);
    /// The reactor wants to hear nothing for now.
    pub(super) const PAUSED: Self = Self(1 << 28);
    /// The peer has said all it had to say, and so did we.
    pub(super) const FINISHED: Self = Self(1 << 29);
    /// The connection is lost, and we said so.
    pub(super) const FAILED: Self = Self(1 << 30);
    /// The reactor is done with it: when nothing is outstanding, the slot is given up.
    pub(super) const CLOSING: Self = Self(1 << 31);

    /// Requests that keep a slot from being given up. Sends are not among them: they are over when
    /// the kernel has taken them, and their completions come before that of the slot's closing.
    pub(super) const OUTSTANDING: Self =
        Self::POLLING.union(Self::RECEIVING).union(Self::BLOCKED).union(Self::SHUTTING);
    /// Nothing is received any more.
    pub(super) const ENDED: Self = Self::FINISHED.union(Self::FAILED).union(Self::CLOSING);

    /// Both sets together.
    pub(super) const fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// A ring holds fewer slots than this.
pub(super) const SLOT_COUNT_MAX: u32 = SocketState::NO_SLOT;

const SLOT_MASK: u32 = (1 << GENERATION_SHIFT) - 1;
const GENERATION_SHIFT: u32 = 20;
const GENERATION_MASK: u32 = 0xf;

#[cfg(test)]
mod tests {
    use super::*;

    fn token(index: u32, generation: u32) -> Token {
        Token { index, generation }
    }

    #[test]
    fn a_socket_costs_four_bytes() {
        assert_eq!(size_of::<SocketState>(), 4);
    }

    #[test]
    fn an_old_token_misses() {
        let mut sockets = Sockets::default();
        assert!(sockets.find(token(5, 0)).is_none());
        sockets.insert(token(5, 1), 17);
        assert_eq!(sockets.find(token(5, 1)).unwrap().slot(), 17);
        assert!(sockets.find(token(5, 0)).is_none(), "the tenant before");
        assert!(sockets.find(token(4, 1)).is_none(), "a vacant place");
        assert!(sockets.find(token(5000, 1)).is_none(), "beyond the table");
        sockets.remove(token(5, 0));
        let state = sockets.find(token(5, 1)).expect("an old token removes nothing");
        state.set(Flags::PAUSED);
        assert!(sockets.find_with(token(5, 1), Flags::PAUSED).is_some());
        assert!(sockets.find_with(token(5, 1), Flags::CLOSING).is_none(), "another flag");
        assert!(sockets.find_with(token(5, 0), Flags::PAUSED).is_none(), "another tenant");
        sockets.remove(token(5, 1));
        assert!(sockets.find(token(5, 1)).is_none());
    }

    #[test]
    fn flags_leave_the_slot_alone() {
        let mut state = SocketState::new(SocketState::NO_SLOT, 0xffff_ffff);
        assert!(!state.has_slot());
        state.set_slot(SLOT_COUNT_MAX - 1);
        assert!(state.has_slot());
        state.set(Flags::OUTSTANDING.union(Flags::CLOSING));
        assert!(state.has(Flags::POLLING) && state.has(Flags::ENDED));
        state.clear(Flags::OUTSTANDING);
        assert!(!state.has(Flags::OUTSTANDING) && state.has(Flags::CLOSING));
        assert!(state.slot() == SLOT_COUNT_MAX - 1 && state.is_tenant(15));
    }
}
