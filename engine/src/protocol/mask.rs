//! Masking, so that a client's bytes cannot pass for another protocol's (RFC 6455 §5.3).

use crate::simd;

/// The four bytes that a client masks a payload with (RFC 6455 §5.3).
///
/// Masking protects proxies from clients, not payloads from readers: each frame takes a fresh key that
/// nobody can predict. Nothing in [`protocol`](super) draws random numbers, so the key comes in.
///
/// Masking is XOR: applied twice, it is undone. It can stop and resume at any byte, by a phase:
///
/// ```
/// use throng::protocol::MaskingKey;
///
/// let key = MaskingKey::new([0x37, 0xfa, 0x21, 0x3d]);
/// let mut payload = *b"Hello";
/// key.apply(&mut payload, 0);
/// assert_eq!(payload, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
///
/// key.apply(&mut payload[..3], 0);
/// key.apply(&mut payload[3..], 3);
/// assert_eq!(payload, *b"Hello");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskingKey([u8; 4]);

impl MaskingKey {
    /// A key of these bytes, in the order in which they travel.
    #[inline]
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// Its bytes, in the order in which they travel.
    #[inline]
    pub const fn bytes(self) -> [u8; 4] {
        self.0
    }

    /// Masks or unmasks `bytes` in place; `phase` says how many bytes of the payload came before.
    #[inline]
    pub fn apply(self, bytes: &mut [u8], phase: usize) {
        simd::mask_in_place(bytes, self.rotated(phase).0);
    }

    /// Copies `source` to `target` and masks or unmasks it on the way: one pass where a copy is made
    /// anyway.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    #[inline]
    pub fn copy(self, target: &mut [u8], source: &[u8], phase: usize) {
        simd::mask_copy(target, source, self.rotated(phase).0);
    }

    /// Appends `source` to `out` and masks or unmasks it on the way. Allocates only if `out` has no room
    /// for it.
    #[inline]
    pub fn append(self, out: &mut Vec<u8>, source: &[u8]) {
        simd::mask_append(out, source, self.0);
    }

    /// The key to go on with after `phase` bytes of the payload.
    #[inline]
    pub fn rotated(self, phase: usize) -> Self {
        Self(simd::rotate(self.0, phase))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn mask_twice(key: [u8; 4], phase: usize, payload: Vec<u8>) {
            let mut bytes = payload.clone();
            MaskingKey::new(key).apply(&mut bytes, phase);
            let mut copied = vec![0; payload.len()];
            MaskingKey::new(key).copy(&mut copied, &payload, phase);
            prop_assert_eq!(&copied, &bytes);
            for (index, (byte, masked)) in payload.iter().zip(&bytes).enumerate() {
                prop_assert_eq!(byte ^ key[(index + phase % 4) % 4], *masked);
            }
            MaskingKey::new(key).apply(&mut bytes, phase);
            prop_assert_eq!(bytes, payload);
        }

        #[test]
        fn resume_anywhere(key: [u8; 4], payload: Vec<u8>, cut: prop::sample::Index) {
            let key = MaskingKey::new(key);
            let (mut whole, mut pieces) = (payload.clone(), payload);
            let cut = cut.index(pieces.len() + 1);
            key.apply(&mut whole, 0);
            key.apply(&mut pieces[..cut], 0);
            key.rotated(cut).apply(&mut pieces[cut..], 0);
            prop_assert_eq!(whole, pieces);
        }
    }
}
