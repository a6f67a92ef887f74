//! The table of attached sockets: four bytes each.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use crate::pool::Column;

/// Owns the descriptors of all attached sockets, and remembers a few bits about each.
///
/// Places have the indices of the reactor's own table.
pub(super) struct Sockets {
    places: Column<Place>,
}

/// A socket's descriptor (23 bits) and flags (9 bits).
///
/// A place without a descriptor is vacant, or, with [`Place::QUEUED`], waits to become so.
#[derive(Clone, Copy)]
pub(super) struct Place(u32);

impl Sockets {
    /// The largest descriptor that a place can hold; above it is the mark of a vacant one.
    pub(super) const DESCRIPTOR_MAX: u32 = VACANT - 1;

    /// Hands over `socket` to the place at `index`.
    pub(super) fn occupy(&mut self, index: u32, socket: OwnedFd) {
        let place = self.places.entry(index);
        debug_assert!(place.socket().is_none(), "two sockets for the place at {index}");
        let descriptor = socket.into_raw_fd().cast_unsigned();
        assert!(descriptor <= Self::DESCRIPTOR_MAX, "accepting bounds descriptors");
        *place = Place(descriptor);
    }

    /// The place at `index`, unless none was ever occupied there.
    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Place> {
        self.places.get_mut(index)
    }
}

impl Default for Sockets {
    fn default() -> Self {
        Self { places: Column::new(Place(VACANT)) }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for place in self.places.chunks_mut().iter_mut().flat_map(|chunk| chunk.iter_mut()) {
            drop(place.vacate());
        }
    }
}

impl Place {
    /// There may be bytes to read.
    pub(super) const READABLE: u16 = 1;
    /// The end of the stream, or an error, is behind those bytes: a short read is not the last.
    pub(super) const HANGING_UP: u16 = 1 << 1;
    /// Its token is in the queue of sockets to read.
    pub(super) const QUEUED: u16 = 1 << 2;
    /// Not to be read.
    pub(super) const PAUSED: u16 = 1 << 3;
    /// It refused output, and `Writable` is owed.
    pub(super) const BLOCKED: u16 = 1 << 4;
    /// epoll watches it for output, too.
    pub(super) const WATCHED_FOR_OUTPUT: u16 = 1 << 5;
    /// `Finished` was said.
    pub(super) const FINISHED: u16 = 1 << 6;
    /// `Failed` was said, or is about to be.
    pub(super) const FAILED: u16 = 1 << 7;
    /// It is received from by request.
    pub(super) const ASKING: u16 = 1 << 8;

    /// Nothing is read from it (any more).
    const DEAF: u16 = Self::PAUSED | Self::FINISHED | Self::FAILED;

    /// The socket that lives here.
    #[inline]
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        let descriptor = self.0 & VACANT;
        // SAFETY: a place other than vacant owns the descriptor it holds: it came out of an
        // `OwnedFd` in `occupy` and goes back into one in `vacate`, which needs `&mut self` and
        // thus the end of this borrow. It is no -1, as it has 23 bits.
        (descriptor != VACANT).then(|| unsafe { BorrowedFd::borrow_raw(descriptor.cast_signed()) })
    }

    /// Whether a socket lives here of which nothing is special: it is read when it has something.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.readable().is_some() && !self.has(Self::BLOCKED)
    }

    /// The socket, if it is to be read unasked.
    #[inline]
    pub(super) fn readable(&self) -> Option<BorrowedFd<'_>> {
        if self.has(Self::DEAF | Self::ASKING) { None } else { self.socket() }
    }

    /// Whether a socket lives here that is to be read, unasked or not.
    pub(super) fn is_heard(&self) -> bool {
        !self.has(Self::DEAF) && self.socket().is_some()
    }

    /// The socket, if it is to be sent to.
    #[inline]
    pub(super) fn sendable(&self) -> Option<BorrowedFd<'_>> {
        if self.has(Self::BLOCKED | Self::FAILED) { None } else { self.socket() }
    }

    /// Takes the socket out. Of the flags, only [`Place::QUEUED`] stays.
    pub(super) fn vacate(&mut self) -> Option<OwnedFd> {
        let descriptor = self.socket()?.as_raw_fd();
        let queued = if self.has(Self::QUEUED) { Self::QUEUED } else { 0 };
        self.0 = VACANT | u32::from(queued) << FLAGS_SHIFT;
        // SAFETY: the place owned the descriptor (see `socket`) and has just forgotten it.
        Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }

    /// Whether any of `flags` is set.
    #[inline]
    pub(super) fn has(self, flags: u16) -> bool {
        self.0 & u32::from(flags) << FLAGS_SHIFT != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flags: u16) {
        self.0 |= u32::from(flags) << FLAGS_SHIFT;
    }

    #[inline]
    pub(super) fn clear(&mut self, flags: u16) {
        self.0 &= !(u32::from(flags) << FLAGS_SHIFT);
    }
}

/// What the descriptor bits of a vacant place say.
const VACANT: u32 = (1 << FLAGS_SHIFT) - 1;

const FLAGS_SHIFT: u32 = 23;

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn a_socket_costs_four_bytes() {
        assert_eq!(size_of::<Place>(), 4);
    }

    #[test]
    fn flags_leave_the_descriptor_alone() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        let descriptor = socket.as_raw_fd();
        let mut sockets = Sockets::default();
        assert!(sockets.get_mut(70_000).is_none());
        sockets.occupy(70_000, socket.into());
        let place = sockets.get_mut(70_000).unwrap();
        for flag in (0..9).map(|bit| 1 << bit) {
            assert!(!place.has(flag));
            place.set(flag);
            assert!(place.has(flag));
            assert_eq!(place.socket().unwrap().as_raw_fd(), descriptor);
        }
        (0..9).for_each(|bit| place.clear(1 << bit));
        assert!(!place.has(0x1ff));
        assert_eq!(place.vacate().unwrap().as_raw_fd(), descriptor);
        assert!(place.socket().is_none() && place.vacate().is_none());
    }

    #[test]
    fn a_vacated_place_remembers_its_queue() {
        let mut sockets = Sockets::default();
        sockets.occupy(3, UnixStream::pair().unwrap().0.into());
        let place = sockets.get_mut(3).unwrap();
        place.set(Place::QUEUED | Place::PAUSED);
        drop(place.vacate());
        assert!(place.has(Place::QUEUED) && !place.has(Place::PAUSED));
    }

    #[test]
    fn what_is_left_is_closed() {
        let (socket, mut peer) = UnixStream::pair().unwrap();
        let mut sockets = Sockets::default();
        sockets.occupy(0, socket.into());
        drop(sockets);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
}
