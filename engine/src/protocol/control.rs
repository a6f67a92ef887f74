//! What a Close frame says (RFC 6455 §5.5.1).

use std::ops::Deref;

use super::{
    close::{CloseCode, truncate_reason},
    error::ProtocolError,
    header::FrameHeader,
    utf8,
};

/// What the peer says when it closes: a code, and a reason meant for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// Why, as a number.
    pub code: CloseCode,
    /// Why, in words; perhaps none.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// Reads the payload of a Close frame; an empty one says nothing, which is `None`.
    ///
    /// A single byte, a code that may not be sent, and a reason that is not UTF-8 are errors.
    pub fn parse(payload: &'a [u8]) -> Result<Option<Self>, ProtocolError> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [_] => return Err(ProtocolError::ClosePayloadTooShort),
            [first, second, reason @ ..] => {
                (CloseCode::new(u16::from_be_bytes([*first, *second])), reason)
            }
        };
        if !code.is_sendable() {
            return Err(ProtocolError::InvalidCloseCode(code.value()));
        }
        let reason = utf8::validate(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
        Ok(Some(Self { code, reason }))
    }
}

impl CloseFrame<'_> {
    /// The payload of a Close frame, on the stack. Of `reason`, as much as fits
    /// ([`truncate_reason`]).
    ///
    /// Without a code the payload is empty, as there is no place for a reason then. So it is for a
    /// code that may not be sent, such as [`CloseCode::NO_STATUS`]: a Close frame made here is always
    /// one that a peer accepts.
    ///
    /// ```
    /// use throng::protocol::{CloseCode, CloseFrame};
    ///
    /// let payload = CloseFrame::encode_payload(Some(CloseCode::GOING_AWAY), "bye");
    /// assert_eq!(*payload, *b"\x03\xE9bye");
    /// assert!(CloseFrame::encode_payload(Some(CloseCode::NO_STATUS), "").is_empty());
    /// ```
    pub fn encode_payload(code: Option<CloseCode>, reason: &str) -> ClosePayload {
        let mut payload = ClosePayload { bytes: [0; FrameHeader::CONTROL_LEN_MAX], len: 0 };
        if let Some(code) = code.filter(|code| code.is_sendable()) {
            let reason = truncate_reason(reason);
            let len = 2 + reason.len();
            payload.bytes[..2].copy_from_slice(&code.value().to_be_bytes());
            payload.bytes[2..len].copy_from_slice(reason.as_bytes());
            payload.len = len as u8;
        }
        payload
    }
}

/// The payload of a Close frame: at most 125 bytes, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct ClosePayload {
    bytes: [u8; FrameHeader::CONTROL_LEN_MAX],
    len: u8,
}

impl Deref for ClosePayload {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::close::REASON_LEN_MAX;

    #[test]
    fn parse_reads_what_may_be_sent() {
        let close = |code, reason| Ok(Some(CloseFrame { code: CloseCode::new(code), reason }));
        let rows: [(&[u8], Result<_, _>); 11] = [
            (b"", Ok(None)),
            (b"\x03", Err(ProtocolError::ClosePayloadTooShort)),
            (b"\x03\xE8", close(1000, "")),
            (b"\x03\xE8bye", close(1000, "bye")),
            (b"\x03\xF3caf\xC3\xA9", close(1011, "café")),
            (b"\x13\x87", close(4999, "")),
            (b"\x00\x00", Err(ProtocolError::InvalidCloseCode(0))),
            (b"\x03\xED", Err(ProtocolError::InvalidCloseCode(1005))),
            (b"\x13\x88", Err(ProtocolError::InvalidCloseCode(5000))),
            (b"\x03\xE8\xC3", Err(ProtocolError::InvalidCloseReason)),
            (b"\x03\xED\xC3", Err(ProtocolError::InvalidCloseCode(1005))),
        ];
        for (payload, expected) in rows {
            assert_eq!(CloseFrame::parse(payload), expected, "{payload:02X?}");
        }
    }

    #[test]
    fn what_we_encode_can_be_parsed() {
        let long = "€".repeat(50);
        for code in (0..=u16::MAX).map(CloseCode::new) {
            for reason in ["", "bye", &long] {
                let payload = CloseFrame::encode_payload(Some(code), reason);
                let expected = code.is_sendable().then(|| CloseFrame {
                    code,
                    reason: &reason[..reason.len().min(REASON_LEN_MAX)],
                });
                assert_eq!(CloseFrame::parse(&payload), Ok(expected));
            }
        }
        assert!(CloseFrame::encode_payload(None, "no place for it").is_empty());
    }
}
