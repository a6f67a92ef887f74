//! What every driver does with the bytes of a send.

use super::Payload;
use crate::pool::{Arena, Lease};

impl Payload {
    /// The bytes to send.
    #[inline]
    pub(crate) fn bytes<'a>(&'a self, arena: &'a Arena) -> &'a [u8] {
        match self {
            Self::Corked(range) | Self::Common(range) => arena.slice(range.clone()),
            Self::Owned { lease, from } => &lease.bytes()[*from..],
            Self::Shared(bytes) => bytes,
        }
    }

    /// What is left after `len` bytes were sent, in a form that outlives the turn.
    ///
    /// Corked bytes are copied, into an allocation: it takes a slow peer to get here.
    pub(crate) fn rest(self, len: usize, arena: &Arena) -> Self {
        match self {
            Self::Corked(_) | Self::Common(_) => {
                let rest = self.bytes(arena)[len..].to_vec();
                Self::Owned { lease: Lease::detached(rest), from: 0 }
            }
            Self::Owned { lease, from } => Self::Owned { lease, from: from + len },
            Self::Shared(bytes) => Self::Shared(bytes.slice(len..)),
        }
    }

    /// The buffer to give back when all was sent, if there is one.
    pub(crate) fn into_lease(self) -> Option<Lease> {
        match self {
            Self::Owned { lease, .. } => Some(lease),
            Self::Corked(_) | Self::Common(_) | Self::Shared(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_rest_begins_where_sending_ended() {
        let mut arena = Arena::new(4096);
        arena.take(10).unwrap().copy_from_slice(b"..corked..");
        let corked = || Payload::Corked(2..8);
        let owned = || Payload::Owned { lease: Lease::detached(b"..owned".to_vec()), from: 2 };
        let shared = || Payload::Shared(Bytes::from_static(b"shared"));
        let check = |payload: Payload, len: usize, expected: &[u8]| {
            let rest = payload.rest(len, &arena);
            assert!(!matches!(rest, Payload::Corked(_)), "it has to outlive the arena");
            assert_eq!(rest.bytes(&arena), expected);
        };
        check(corked(), 0, b"corked");
        check(corked(), 4, b"ed");
        check(owned(), 0, b"owned");
        check(owned(), 3, b"ed");
        check(shared(), 0, b"shared");
        check(shared(), 5, b"d");
        assert_eq!(corked().bytes(&arena), b"corked");
        assert_eq!(owned().into_lease().unwrap().bytes(), b"..owned");
        assert!(corked().into_lease().is_none() && shared().into_lease().is_none());
    }
}
