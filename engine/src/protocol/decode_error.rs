//! Why a message is not what the application expected (RFC 6455 §7.4.1).

use std::error::Error;

use super::close::CloseCode;

/// Why a message is not what the application expected: the wrong type of message, or the right one with
/// a content that cannot be read.
///
/// The peer's fault, of which [`Conn::fail_with`](crate::Conn::fail_with) tells it: the error knows its
/// close code, and its text is the reason.
///
/// ```
/// use throng::{CloseCode, DecodeError, Message};
///
/// let error = Message::Binary(b"\x01\x02").text().unwrap_err();
/// assert_eq!(error.close_code(), CloseCode::UNSUPPORTED_DATA);
/// assert_eq!(error.to_string(), "a binary message, where text was expected");
///
/// // For a format of one's own:
/// let error = "x7".parse::<u32>().map_err(|error| DecodeError::invalid("number", error)).unwrap_err();
/// assert_eq!(error.close_code(), CloseCode::INVALID_PAYLOAD);
/// assert_eq!(error.to_string(), "invalid number: invalid digit found in string");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Bytes, and text was expected.
    #[error("a binary message, where text was expected")]
    NotText,
    /// Text, and bytes were expected.
    #[error("a text message, where binary was expected")]
    NotBinary,
    /// The content is not of the format, or not of the shape, that was expected.
    #[error("invalid {format}: {error}")]
    Invalid {
        /// What was expected, in a word or two.
        format: &'static str,
        /// What is wrong with it.
        error: Box<dyn Error + Send + Sync>,
    },
}

impl DecodeError {
    /// The content is not of the format that was expected.
    pub fn invalid(format: &'static str, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Invalid { format, error: error.into() }
    }

    /// The code that tells the peer: [`CloseCode::UNSUPPORTED_DATA`] (1003) for the wrong type of
    /// message, [`CloseCode::INVALID_PAYLOAD`] (1007) for a content that cannot be read.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::NotText | Self::NotBinary => CloseCode::UNSUPPORTED_DATA,
            Self::Invalid { .. } => CloseCode::INVALID_PAYLOAD,
        }
    }
}
