//! What connections have to say at the end of the turn.
//!
//! A connection's answers lie side by side in the arena (they are *corked*), so that they leave in one
//! send. Most answers of a turn come from one connection after another: the *speaker*, who was heard or
//! corked last, corks on without anything being looked up.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    conn::{Connection, Flags, Phase},
    pool::{Arena, Key},
};

/// The connections that have something to say, each with its output of this turn.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    entries: Vec<Entry>,
    /// Frames that entries share, and that are too long for the arena.
    frames: Vec<Bytes>,
    /// The speaker's entry. A speaker is a server's end, open, listened to, and has no outbox: what ends
    /// that forgets it. (A client masks what it sends, for which there is the general way.)
    speaker: Option<u32>,
}

/// A connection with something to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) output: Output,
}

/// Output of this turn. A connection that has an outbox has none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    Nothing,
    /// Frames side by side in the arena. Empty, if the connection was heard and has not answered.
    Corked(Stretch),
    /// One frame in the arena, which others send as well.
    Common(Stretch),
    /// One frame of [`Outputs::share`], which others send as well.
    Shared(u32),
}

/// A stretch of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    start: u32,
    end: u32,
}

impl Outputs {
    /// Whether nobody has anything to say.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the connection has to say, for which an entry is made if need be.
    #[inline]
    pub(super) fn of<T>(&mut self, conn: &mut Connection<T>, key: Key) -> &mut Output {
        if conn.dirty == 0 {
            self.entries.push(Entry { key, output: Output::Nothing });
            conn.dirty = self.entries.len() as u32;
        }
        &mut self.entries[conn.dirty as usize - 1].output
    }

    /// Expects an answer of a connection that was heard: it is open, and has no outbox.
    #[inline]
    pub(super) fn expect<T>(&mut self, conn: &mut Connection<T>, key: Key, arena: &Arena) {
        if conn.dirty == 0 {
            self.speaker = Some(self.entries.len() as u32);
            self.entries.push(Entry { key, output: Output::Corked(Stretch::empty(arena)) });
            conn.dirty = self.entries.len() as u32;
        }
    }

    /// Room for `len` bytes behind what the speaker has corked.
    #[inline]
    pub(super) fn speak<'a>(&mut self, arena: &'a mut Arena, len: usize) -> Option<&'a mut [u8]> {
        match &mut self.entries.get_mut(self.speaker? as usize)?.output {
            Output::Corked(stretch) => stretch.extend(arena, len),
            _ => None,
        }
    }

    /// Room for `len` bytes behind what another has corked, who speaks from now on. `None` unless it is
    /// open, listened to, nothing of it waits, and it is a server's end.
    pub(super) fn begin_to_speak<'a, T>(
        &mut self,
        conn: &mut Connection<T>,
        key: Key,
        arena: &'a mut Arena,
        len: usize,
    ) -> Option<&'a mut [u8]> {
        if conn.phase != Phase::Open || conn.outbox.is_some() || conn.flags.has(Flags::NOT_SPEAKING)
        {
            return None;
        }
        let room = self.of(conn, key).cork(arena, len)?;
        self.speaker = Some(conn.dirty - 1);
        Some(room)
    }

    /// Whether the connection is the speaker, and so open.
    #[inline]
    pub(super) fn is_speaker(&self, key: Key) -> bool {
        let entry = self.speaker.and_then(|speaker| self.entries.get(speaker as usize));
        entry.is_some_and(|entry| entry.key == key)
    }

    /// Nobody speaks: a connection has left the state that a speaker is in.
    #[inline]
    pub(super) fn forget_speaker(&mut self) {
        self.speaker = None;
    }

    /// Makes a frame ready to be the output of many: a copy in the arena, for which no references
    /// need to be counted, unless it is long or the arena is full.
    pub(super) fn share(&mut self, frame: &Bytes, arena: &mut Arena) -> Output {
        let start = arena.filled();
        if frame.len() <= COMMON_LEN_MAX
            && let Some(room) = arena.take(frame.len())
        {
            room.copy_from_slice(frame);
            return Output::Common(Stretch::new(start..start + frame.len()));
        }
        self.frames.push(frame.clone());
        Output::Shared(self.frames.len() as u32 - 1)
    }

    /// The frame behind [`Output::Shared`].
    pub(super) fn frame(&self, index: u32) -> &Bytes {
        &self.frames[index as usize]
    }

    /// Takes out somebody who has something to say.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.entries.pop()
    }

    /// Ends the turn: all entries were taken out.
    #[inline]
    pub(super) fn finish(&mut self) {
        self.speaker = None;
        if self.entries.capacity() > COUNT_KEPT_MAX || !self.frames.is_empty() {
            self.tidy();
        }
    }

    #[cold]
    fn tidy(&mut self) {
        self.frames.clear();
        self.entries.shrink_to(COUNT_KEPT_MAX);
    }
}

impl Output {
    /// Room for `len` more bytes behind what has been corked, to be written by the caller. `None`:
    /// something else has been corked since, or the arena is full.
    #[inline]
    pub(super) fn cork<'a>(&mut self, arena: &'a mut Arena, len: usize) -> Option<&'a mut [u8]> {
        if self.is_nothing() {
            *self = Self::Corked(Stretch::empty(arena));
        }
        match self {
            Self::Corked(stretch) => stretch.extend(arena, len),
            _ => None,
        }
    }

    /// Whether there is nothing to send.
    #[inline]
    pub(super) fn is_nothing(self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Corked(stretch) => stretch.is_empty(),
            Self::Common(_) | Self::Shared(_) => false,
        }
    }
}

impl Stretch {
    fn new(range: Range<usize>) -> Self {
        let offset = |at: usize| u32::try_from(at).expect("an arena of less than 4 GiB");
        Self { start: offset(range.start), end: offset(range.end) }
    }

    /// Nothing, at the end of what is filled.
    #[inline]
    fn empty(arena: &Arena) -> Self {
        let filled = arena.filled() as u32;
        Self { start: filled, end: filled }
    }

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    #[inline]
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Takes `len` bytes of the arena, if they are right behind.
    #[inline]
    fn extend<'a>(&mut self, arena: &'a mut Arena, len: usize) -> Option<&'a mut [u8]> {
        if arena.filled() != self.end as usize {
            return None;
        }
        let room = arena.take(len)?;
        self.end += len as u32;
        Some(room)
    }
}

/// Longest frame that is copied to the arena for many to send. Whoever cannot take it at once needs a
/// copy of its own, which is why a long one stays where it is.
pub(super) const COMMON_LEN_MAX: usize = 4096;

/// Entries that are kept for reuse, 40 KiB: a broadcast to a million leaves nothing behind.
const COUNT_KEPT_MAX: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::Tick;

    fn open(index: u32) -> (Connection<()>, Key) {
        let mut conn = Connection::new(Tick::default());
        conn.phase = Phase::Open;
        (conn, Key { index, generation: 0 })
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 20);
    }

    #[test]
    fn who_speaks_goes_on_until_another_does() {
        let (mut outputs, mut arena) = (Outputs::default(), Arena::new(4096));
        let ((mut a, a_key), (mut b, b_key)) = (open(0), open(1));
        assert!(outputs.speak(&mut arena, 5).is_none(), "nobody was heard");
        outputs.expect(&mut a, a_key, &arena);
        assert!(outputs.is_speaker(a_key) && !outputs.is_speaker(b_key));
        assert!(outputs.speak(&mut arena, 5).is_some());
        assert!(outputs.begin_to_speak(&mut b, b_key, &mut arena, 7).is_some());
        assert!(outputs.is_speaker(b_key) && !outputs.is_speaker(a_key));
        assert!(outputs.speak(&mut arena, 7).is_some());
        assert!(outputs.begin_to_speak(&mut a, a_key, &mut arena, 5).is_none(), "not side by side");
        let said = |outputs: &mut Outputs| match outputs.pop().unwrap() {
            Entry { key, output: Output::Corked(stretch) } => (key, stretch.range()),
            other => panic!("{other:?}"),
        };
        assert_eq!(said(&mut outputs), (b_key, 5..19));
        assert_eq!(said(&mut outputs), (a_key, 0..5));
        outputs.finish();
        assert!(!outputs.is_speaker(b_key) && outputs.is_empty());
    }

    #[test]
    fn who_was_expected_to_answer_may_do_so_late() {
        let (mut outputs, mut arena) = (Outputs::default(), Arena::new(4096));
        let ((mut a, a_key), (mut b, b_key)) = (open(0), open(1));
        outputs.expect(&mut a, a_key, &arena);
        outputs.expect(&mut b, b_key, &arena);
        outputs.speak(&mut arena, 10).unwrap();
        assert!(outputs.begin_to_speak(&mut a, a_key, &mut arena, 3).is_some());
        assert!(!outputs.of(&mut a, a_key).is_nothing());
    }

    #[test]
    fn who_is_closing_or_has_to_wait_does_not_speak() {
        let (mut outputs, mut arena) = (Outputs::default(), Arena::new(4096));
        let (mut conn, key) = open(0);
        conn.outbox = Some(Box::default());
        assert!(outputs.begin_to_speak(&mut conn, key, &mut arena, 1).is_none());
        conn.outbox = None;
        conn.phase = Phase::Ending;
        assert!(outputs.begin_to_speak(&mut conn, key, &mut arena, 1).is_none());
    }

    #[test]
    fn short_frames_are_shared_in_the_arena_and_long_ones_where_they_are() {
        let (mut outputs, mut arena) = (Outputs::default(), Arena::new(COMMON_LEN_MAX + 100));
        let long = Bytes::from(vec![1; COMMON_LEN_MAX + 1]);
        let Output::Shared(index) = outputs.share(&long, &mut arena) else { panic!("too long") };
        assert_eq!((outputs.frame(index), arena.filled()), (&long, 0));
        let short = Bytes::from(vec![2; COMMON_LEN_MAX]);
        let Output::Common(stretch) = outputs.share(&short, &mut arena) else { panic!("short") };
        assert_eq!(arena.slice(stretch.range()), short);
        let Output::Shared(index) = outputs.share(&short, &mut arena) else { panic!("no room") };
        assert_eq!(outputs.frame(index), &short);
        outputs.finish();
    }
}
