//! A message, as applications see it (RFC 6455 §5.6).

use super::{decode_error::DecodeError, opcode::Opcode};

/// A whole message: text that is valid UTF-8, or bytes (RFC 6455 §5.6).
///
/// Borrowed, in both directions: received ones lie in the reactor's buffers, and sent ones are
/// copied to the connection's output; but one of 32 KiB or more that is sent on as it was received
/// changes hands with its buffer, if it has one of its own, and is copied nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Anything else.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Its bytes, whichever kind it is.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Its text, for an application that takes nothing else.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotText`], which is 1003 on the wire (RFC 6455 §7.4.1).
    pub fn text(self) -> Result<&'a str, DecodeError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Binary(_) => Err(DecodeError::NotText),
        }
    }

    /// Its bytes, for an application that takes no text.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotBinary`], which is 1003 on the wire (RFC 6455 §7.4.1).
    pub fn binary(self) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Text(_) => Err(DecodeError::NotBinary),
            Self::Binary(bytes) => Ok(bytes),
        }
    }

    /// Its length in bytes.
    pub fn len(self) -> usize {
        self.as_bytes().len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The opcode of its frame.
    #[inline]
    pub fn opcode(self) -> Opcode {
        match self {
            Self::Text(_) => Opcode::Text,
            Self::Binary(_) => Opcode::Binary,
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Binary(bytes)
    }
}
