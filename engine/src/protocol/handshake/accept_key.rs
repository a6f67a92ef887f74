//! `Sec-WebSocket-Accept`, the server's proof that it understood the request (RFC 6455 §4.2.2).

use std::{fmt, ops::Deref};

use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use sha1::{Digest as _, Sha1};

/// The value of `Sec-WebSocket-Accept`: 28 ASCII characters, on the stack.
///
/// It proves to the client that the answer comes from a WebSocket server and answers this very
/// request; it proves nothing to the server (RFC 6455 §1.3, §4.2.2).
///
/// ```
/// use throng::protocol::handshake::AcceptKey;
///
/// assert_eq!(&*AcceptKey::new("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AcceptKey([u8; ACCEPT_LEN]);

impl AcceptKey {
    /// The answer to `key`, the text of a `Sec-WebSocket-Key` header. A server checks that it is
    /// well-formed ([`Request::check_upgrade`] does); a client asks about a key of its own making.
    ///
    /// Costs two blocks of SHA-1, about 0.15 µs; allocates nothing.
    ///
    /// [`Request::check_upgrade`]: super::Request::check_upgrade
    pub fn new(key: &str) -> Self {
        Self::of_bytes(key.as_bytes())
    }

    pub(super) fn of_bytes(key: &[u8]) -> Self {
        let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
        let mut accept = [0; ACCEPT_LEN];
        BASE64.encode_slice(digest, &mut accept).expect("20 bytes are 28 characters");
        Self(accept)
    }

    /// The characters as bytes, for writing.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `Sec-WebSocket-Key`: 16 random bytes, as a client sends them (RFC 6455 §4.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestKey([u8; KEY_LEN]);

impl RequestKey {
    /// The key that says `nonce`, which has to be random and new for each connection.
    pub fn of_nonce(nonce: [u8; NONCE_LEN]) -> Self {
        let mut key = [0; KEY_LEN];
        BASE64.encode_slice(nonce, &mut key).expect("16 bytes are 24 characters");
        Self(key)
    }

    /// Its characters as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for RequestKey {
    type Target = str;

    fn deref(&self) -> &str {
        str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestKey").field(&&**self).finish()
    }
}

impl Deref for AcceptKey {
    type Target = str;

    fn deref(&self) -> &str {
        str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

impl fmt::Display for AcceptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for AcceptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AcceptKey").field(&&**self).finish()
    }
}

/// Whether `key` is 16 bytes in base64 (RFC 6455 §4.2.1).
pub(super) fn is_well_formed(key: &[u8]) -> bool {
    let mut nonce = [0; NONCE_LEN_ESTIMATE];
    key.len() == KEY_LEN && BASE64.decode_slice(key, &mut nonce) == Ok(NONCE_LEN)
}

/// Appended to the key before it is hashed: no server that knows no WebSocket would (§1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const NONCE_LEN: usize = 16;
const KEY_LEN: usize = 24;
const ACCEPT_LEN: usize = 28;

/// What base64 asks room for before it has seen the padding.
const NONCE_LEN_ESTIMATE: usize = KEY_LEN / 4 * 3;

/// Padding must be there. The four bits that 16 bytes leave over may be anything: §4.2.1 asks for
/// "16 bytes when decoded", and clients exist that pick 22 characters at random.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_the_rfc() {
        assert_eq!(&*AcceptKey::new("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(&*AcceptKey::new("x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
    }

    #[test]
    fn keys() {
        for (key, expected) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("AAAAAAAAAAAAAAAAAAAAAA==", true),
            ("AAAAAAAAAAAAAAAAAAAAAB==", true), // the bits left over
            ("+/+/+/+/+/+/+/+/+/+/+w==", true),
            ("", false),
            ("dGhlIHNhbXBsZSBub25jZQ", false),       // no padding
            ("dGhlIHNhbXBsZSBub25jZSE=", false),     // 17 bytes
            ("dGhlIHNhbXBsZSBub25j", false),         // 15 bytes
            ("dGhlIHNhbXBsZSBub25jZSEh", false),     // 18 bytes
            ("-_-_-_-_-_-_-_-_-_-_-w==", false),     // the alphabet for URLs
            ("dGhlIHNhbXBsZSBub25jZQ==AAAA", false), // more behind the padding
            ("dGhl IHNhbXBsZSBub25jZ==", false),
            ("========================", false),
        ] {
            assert_eq!(is_well_formed(key.as_bytes()), expected, "{key:?}");
        }
    }
}
