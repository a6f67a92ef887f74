//! Random bytes of this core alone: masking keys, and the nonces of opening handshakes and of pings.

use std::io;

use chacha20::{
    ChaCha12Rng,
    rand_core::{Rng, SeedableRng},
};

use crate::protocol::MaskingKey;

/// A source that nobody outside can predict (RFC 6455 §5.3, §10.3): ChaCha12, seeded by the kernel. A key
/// costs a few nanoseconds, and no system call.
///
/// It is there once the first connection to a server is asked for, or the first round trip measured: a
/// server that does neither pays nothing.
#[derive(Default)]
pub(crate) struct MaskingKeys(Option<Box<ChaCha12Rng>>);

impl MaskingKeys {
    /// Sees to it that there are keys. Fails when the kernel has no randomness to give.
    pub(crate) fn seed(&mut self) -> io::Result<()> {
        if self.0.is_none() {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(io::Error::other)?;
            self.0 = Some(Box::new(ChaCha12Rng::from_seed(seed)));
        }
        Ok(())
    }

    /// A key for one frame.
    #[inline]
    pub(crate) fn next(&mut self) -> MaskingKey {
        MaskingKey::new(self.source().next_u32().to_ne_bytes())
    }

    /// What the answer to one opening handshake, or to one ping, is recognised by.
    pub(crate) fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        self.source().fill_bytes(&mut nonce);
        nonce
    }

    #[inline]
    fn source(&mut self) -> &mut ChaCha12Rng {
        self.0.as_mut().expect("seeded before the first that is asked for")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_differ_from_frame_to_frame_and_from_core_to_core() {
        let mut cores = [MaskingKeys::default(), MaskingKeys::default()];
        let mut seen = HashSet::new();
        for core in &mut cores {
            core.seed().unwrap();
            seen.extend((0..1000).map(|_| core.next()));
        }
        // Two of 2000 random keys are the same once in 2000 runs; ten are not.
        assert!(seen.len() > 1990, "{}", seen.len());
    }
}
