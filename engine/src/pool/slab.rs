//! A table whose entries never move and whose old keys miss.

use std::fmt;

/// Finds an entry: the index of its place, and the generation of its tenant.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Entries at stable addresses, in chunks: growing by a million copies none of them.
///
/// A place that is vacated gets a new generation, so that a [`Key`] of its last tenant finds nothing.
/// Generations are [`Key::GENERATION_BITS`] wide; a place that has used them up is retired.
pub(crate) struct Slab<T> {
    chunks: Vec<Box<[Place<T>; CHUNK_LEN]>>,
    vacant_head: u32,
    len: usize,
}

/// A place in the table, on cache lines of its own. The generation of a vacant one is that of its
/// next tenant.
#[derive(Debug)]
#[repr(align(64))]
struct Place<T> {
    generation: u32,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Vacant { next: u32 },
    Occupied(T),
}

impl Key {
    /// How many bits of a generation are in use: a place has 2²⁸ tenants, one after another.
    pub(crate) const GENERATION_BITS: u32 = 28;
    /// How many bits of an index are in use.
    pub(crate) const INDEX_BITS: u32 = 26;
    /// The most entries a slab holds.
    pub(crate) const INDEX_COUNT_MAX: usize = 1 << Self::INDEX_BITS;
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

impl<T> Slab<T> {
    /// Bytes that an entry takes, its generation included.
    #[cfg(test)]
    pub(crate) const ENTRY_LEN: usize = size_of::<Place<T>>();

    /// An empty slab: it allocates its first chunk with the first entry.
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), vacant_head: END, len: 0 }
    }

    /// Puts `value` in a vacant place. `None` when all [`Key::INDEX_COUNT_MAX`] are taken.
    pub(crate) fn insert(&mut self, value: T) -> Option<Key> {
        if self.vacant_head == END {
            self.grow()?;
        }
        let index = self.vacant_head;
        let place = self.place_mut(index)?;
        let State::Vacant { next } = std::mem::replace(&mut place.state, State::Occupied(value))
        else {
            unreachable!("the vacant list holds only vacant places")
        };
        let generation = place.generation;
        self.vacant_head = next;
        self.len += 1;
        Some(Key { index, generation })
    }

    /// Takes out the entry that `key` names.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let next = self.vacant_head;
        self.get(key)?;
        let place = self.place_mut(key.index)?;
        let State::Occupied(value) = std::mem::replace(&mut place.state, State::Vacant { next })
        else {
            unreachable!("`get` found it occupied")
        };
        place.generation += 1;
        // A place whose generations are used up stays vacant, so that no key ever finds another
        // tenant than its own: 64 bytes after each 2²⁸ tenants.
        if place.generation >> Key::GENERATION_BITS == 0 {
            self.vacant_head = key.index;
        }
        self.len -= 1;
        Some(value)
    }

    /// The entry that `key` names, unless it is gone.
    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let place = &self.chunks.get(chunk_of(key.index))?[offset_of(key.index)];
        match &place.state {
            State::Occupied(value) if place.generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The entry that `key` names, unless it is gone.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.place_mut(key.index)?;
        match &mut place.state {
            State::Occupied(value) if place.generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The key of whoever lives at `index`.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        let place = &self.chunks.get(chunk_of(index))?[offset_of(index)];
        matches!(place.state, State::Occupied(_))
            .then_some(Key { index, generation: place.generation })
    }

    /// Whoever lives at `index`, and the key.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<(Key, &mut T)> {
        let Place { generation, state } = self.place_mut(index)?;
        let State::Occupied(value) = state else { return None };
        Some((Key { index, generation: *generation }, value))
    }

    /// The keys of all entries, by index.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        (0..self.capacity() as u32).filter_map(|index| self.key_at(index))
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many places there are.
    pub(crate) fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK_LEN
    }

    #[inline]
    fn place_mut(&mut self, index: u32) -> Option<&mut Place<T>> {
        Some(&mut self.chunks.get_mut(chunk_of(index))?[offset_of(index)])
    }

    /// Adds a chunk of vacant places, the lowest first in line.
    fn grow(&mut self) -> Option<()> {
        let first = self.capacity();
        if first >= Key::INDEX_COUNT_MAX {
            return None;
        }
        let last = first + CHUNK_LEN - 1;
        let place = |index| Place {
            generation: 0,
            state: State::Vacant { next: if index == last { END } else { index as u32 + 1 } },
        };
        let chunk: Box<[_]> = (first..=last).map(place).collect();
        self.chunks.push(chunk.try_into().unwrap_or_else(|_| unreachable!("as long as a chunk")));
        self.vacant_head = first as u32;
        Some(())
    }
}

/// The end of the vacant list.
const END: u32 = u32::MAX;

const CHUNK_SHIFT: u32 = 9;
const CHUNK_LEN: usize = 1 << CHUNK_SHIFT;

#[inline]
fn chunk_of(index: u32) -> usize {
    (index >> CHUNK_SHIFT) as usize
}

#[inline]
fn offset_of(index: u32) -> usize {
    index as usize % CHUNK_LEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_misses() {
        let mut slab = Slab::new();
        let first = slab.insert("first").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").unwrap();
        assert_eq!(first.index, second.index, "the place is used again");
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&"second")));
        assert_eq!((slab.remove(first), slab.len()), (None, 1));
    }

    #[test]
    fn places_are_filled_from_the_lowest_and_never_move() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..3000_u32).map(|n| slab.insert(n).unwrap()).collect();
        assert!(keys.iter().enumerate().all(|(n, key)| key.index as usize == n));
        let address: *const u32 = slab.get(keys[0]).unwrap();
        for n in 0..100_000 {
            slab.insert(n).unwrap();
        }
        assert_eq!(address, std::ptr::from_ref(slab.get(keys[0]).unwrap()));
        assert_eq!(slab.keys().count(), slab.len());
    }

    #[test]
    fn a_place_retires_rather_than_repeat_itself() {
        let mut slab = Slab::new();
        let key = slab.insert(()).unwrap();
        slab.remove(key);
        let last = (1 << Key::GENERATION_BITS) - 1;
        slab.place_mut(key.index).unwrap().generation = last;
        let key = slab.insert(()).unwrap();
        assert_eq!(key.generation, last);
        slab.remove(key);
        assert_ne!(slab.insert(()).unwrap().index, key.index);
        assert_eq!((slab.get(key), slab.len()), (None, 1));
    }
}
