//! Addresses of accepted peers, being asked for.
//!
//! A multishot accept tells no address: many connections share one request. So each accepted socket
//! is asked for its peer's, in the next batch, before the reactor hears of it.

use crate::pool::Region;

/// Look-ups in flight, each with a place for the kernel to write the address to.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    lookups: Vec<Option<Newcomer>>,
    vacant: Vec<usize>,
    addresses: Vec<Region>,
}

/// A socket that was accepted, and from which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Newcomer {
    pub(super) slot: u32,
    pub(super) listener: u32,
}

impl Lookups {
    /// Begins the look-up of a newcomer's address. Gives its number, and where [`ADDRESS_LEN_MAX`] bytes may be written until
    /// it ends.
    pub(super) fn begin(&mut self, newcomer: Newcomer) -> (usize, *mut u8) {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.lookups.push(None);
            self.lookups.len() - 1
        });
        self.lookups[index] = Some(newcomer);
        if index / REGION_COUNT == self.addresses.len() {
            self.addresses.push(Region::new(REGION_COUNT * ADDRESS_LEN_MAX));
        }
        let (region, start) = place(index);
        // In bounds by the way places are counted; no reference to the bytes exists until `end`.
        (index, self.addresses[region].as_ptr().wrapping_add(start))
    }

    /// Ends look-up number `index`. Gives what `begin` was given, and what was written.
    pub(super) fn end(&mut self, index: usize) -> Option<(Newcomer, &[u8])> {
        let newcomer = self.lookups.get_mut(index)?.take()?;
        self.vacant.push(index);
        let (region, start) = place(index);
        Some((newcomer, self.addresses[region].slice(start..start + ADDRESS_LEN_MAX)))
    }
}

/// Room for an address of either family.
pub(super) const ADDRESS_LEN_MAX: usize = 32;

/// Addresses in one region: a page full.
const REGION_COUNT: usize = 128;

/// The region, and the offset in it, of look-up number `index`.
fn place(index: usize) -> (usize, usize) {
    (index / REGION_COUNT, index % REGION_COUNT * ADDRESS_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_apart_and_used_again() {
        let mut lookups = Lookups::default();
        let newcomer = |slot| Newcomer { slot, listener: 0 };
        let begun: Vec<_> = (0..300).map(|slot| lookups.begin(newcomer(slot))).collect();
        for (slot, &(index, _)) in begun.iter().enumerate() {
            assert_eq!(lookups.end(index).unwrap().0, newcomer(slot as u32));
            assert!(lookups.end(index).is_none(), "it ended");
        }
        let mut places: Vec<_> = begun.iter().map(|(_, place)| *place as usize).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= ADDRESS_LEN_MAX));
        assert!(begun.contains(&lookups.begin(newcomer(7))));
    }
}
