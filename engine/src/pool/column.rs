//! Something small about each place of the connection table, beside it.

/// A value for each index, in chunks of 1024: growing by a million copies none of them, and reading
/// all of them in order is what the processor does best.
#[derive(Debug)]
pub(crate) struct Column<T> {
    chunks: Vec<Box<[T; CHUNK_LEN]>>,
    vacant: T,
}

const CHUNK_LEN: usize = 1024;

impl<T: Copy> Column<T> {
    /// How many values one chunk holds.
    pub(crate) const CHUNK_LEN: usize = CHUNK_LEN;

    /// An empty column: places that were never set hold `vacant`.
    pub(crate) fn new(vacant: T) -> Self {
        Self { chunks: Vec::new(), vacant }
    }

    /// The value at `index`, for which room is made.
    pub(crate) fn entry(&mut self, index: u32) -> &mut T {
        let index = index as usize;
        while self.chunks.len() <= index / CHUNK_LEN {
            self.chunks.push(Box::new([self.vacant; CHUNK_LEN]));
        }
        &mut self.chunks[index / CHUNK_LEN][index % CHUNK_LEN]
    }

    /// The value at `index`, if there is room for one.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let index = index as usize;
        Some(&mut self.chunks.get_mut(index / CHUNK_LEN)?[index % CHUNK_LEN])
    }

    /// All values, chunk by chunk.
    pub(crate) fn chunks_mut(&mut self) -> &mut [Box<[T; CHUNK_LEN]>] {
        &mut self.chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_hold_what_they_were_given() {
        let mut column = Column::new(7);
        assert_eq!(column.get_mut(0), None);
        *column.entry(10_000) = 1;
        assert_eq!(column.get_mut(10_000), Some(&mut 1));
        assert_eq!(column.get_mut(9_999), Some(&mut 7));
        assert_eq!(column.get_mut(20_000), None);
        assert_eq!(column.chunks_mut().iter().flat_map(|chunk| chunk.iter()).max(), Some(&7));
    }
}
