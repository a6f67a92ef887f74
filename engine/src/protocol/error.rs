//! Which rule the peer broke, and how we answer (RFC 6455 §7.1.7).

use super::close::CloseCode;

/// A rule of RFC 6455, or of an extension, that the peer broke: one variant a rule.
///
/// The answer to each is to fail the connection (§7.1.7): send a Close frame with
/// [`ProtocolError::close_code`] and read no more. `Copy` and 4 bytes, so that it costs nothing to
/// carry along; [`ProtocolError::section`] finds the rule's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set that no negotiated extension gives a meaning to here.
    #[error("a reserved bit is set that no extension asked for")]
    ReservedBits,
    /// An opcode that means nothing so far: 3–7 or 11–15.
    #[error("opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// A client sent a frame without masking it.
    #[error("a client's frame is not masked")]
    UnmaskedFrame,
    /// A server sent a masked frame.
    #[error("a server's frame is masked")]
    MaskedFrame,
    /// A control frame without its final bit.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    ControlTooLong,
    /// A payload length in more bytes than it needs.
    #[error("a payload length is not written in as few bytes as it could be")]
    LengthNotMinimal,
    /// A payload length of 2⁶³ or more.
    #[error("a payload length has its highest bit set")]
    LengthTooLarge,
    /// A continuation frame, and nothing to continue.
    #[error("a continuation frame without a message to continue")]
    UnexpectedContinuation,
    /// A text or binary frame in the middle of another message.
    #[error("a new message in the middle of a fragmented one")]
    ExpectedContinuation,
    /// A message longer than [`Limits::message_len_max`](super::Limits::message_len_max).
    #[error("a message is longer than the limit")]
    MessageTooBig,
    /// A message in more pieces than
    /// [`Limits::continuation_count_max`](super::Limits::continuation_count_max).
    #[error("a message has more fragments than the limit")]
    TooManyFragments,
    /// A text message that is not UTF-8.
    #[error("a text message is not valid UTF-8")]
    InvalidUtf8,
    /// A compressed message that DEFLATE did not produce, or that lacks its end.
    #[error("a compressed message cannot be inflated")]
    InvalidDeflate,
    /// A Close frame whose payload is one byte: too short for a code.
    #[error("a close payload of one byte")]
    ClosePayloadTooShort,
    /// A Close frame with a code that may not be sent.
    #[error("{} may not appear in a close frame", CloseCode::new(*.0))]
    InvalidCloseCode(u16),
    /// A Close frame whose reason is not UTF-8.
    #[error("a close reason is not valid UTF-8")]
    InvalidCloseReason,
}

impl ProtocolError {
    /// The code to fail the connection with (RFC 6455 §7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::MessageTooBig | Self::TooManyFragments => CloseCode::MESSAGE_TOO_BIG,
            Self::InvalidUtf8 | Self::InvalidCloseReason | Self::InvalidDeflate => {
                CloseCode::INVALID_PAYLOAD
            }
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// Where RFC 6455 states the rule, as in `"§5.1"`; if another does, it is named.
    pub const fn section(self) -> &'static str {
        match self {
            Self::UnmaskedFrame | Self::MaskedFrame => "§5.1",
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::LengthNotMinimal
            | Self::LengthTooLarge => "§5.2",
            Self::UnexpectedContinuation | Self::ExpectedContinuation => "§5.4",
            Self::FragmentedControl | Self::ControlTooLong => "§5.5",
            Self::ClosePayloadTooShort | Self::InvalidCloseReason => "§5.5.1",
            Self::InvalidCloseCode(_) => "§7.4",
            Self::InvalidUtf8 => "§8.1",
            Self::MessageTooBig | Self::TooManyFragments => "§10.4",
            Self::InvalidDeflate => "RFC 7692 §7.2.2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small() {
        assert!(size_of::<ProtocolError>() <= 8);
        assert!(size_of::<Result<(), ProtocolError>>() <= 8);
    }

    #[test]
    fn it_reads_well_in_a_log() {
        let rows = [
            (ProtocolError::ReservedOpcode(11), "opcode 11 is reserved"),
            (
                ProtocolError::InvalidCloseCode(1005),
                "1005 (no status) may not appear in a close frame",
            ),
        ];
        for (error, text) in rows {
            assert_eq!(error.to_string(), text);
        }
    }
}
