//! What a frame is for (RFC 6455 §5.2).

/// The four bits that say what a frame carries (RFC 6455 §5.2, §11.8).
///
/// ```
/// use throng::protocol::Opcode;
///
/// assert_eq!(Opcode::from_bits(0x9), Some(Opcode::Ping));
/// assert_eq!(Opcode::from_bits(0x3), None, "reserved");
/// assert!(Opcode::Ping.is_control());
/// ```
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A further fragment of the message that is in progress.
    Continuation = 0x0,
    /// Text in UTF-8, or the first fragment of it.
    Text = 0x1,
    /// Arbitrary bytes, or the first fragment of them.
    Binary = 0x2,
    /// The closing handshake (§5.5.1).
    Close = 0x8,
    /// Are you there? (§5.5.2)
    Ping = 0x9,
    /// I am. (§5.5.3)
    Pong = 0xA,
}

impl Opcode {
    /// The opcode that these four bits name, or `None` for the reserved ones: 3–7 and 11–15, and
    /// whatever does not fit in four bits.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Close, ping or pong: at most 125 bytes, never fragmented, welcome between the fragments of a
    /// message (§5.5).
    #[inline]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    /// Text, binary, or the continuation of either (§5.6).
    #[inline]
    pub const fn is_data(self) -> bool {
        !self.is_control()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_opcodes_of_which_ten_are_reserved() {
        for bits in 0..=0xFF {
            match Opcode::from_bits(bits) {
                Some(opcode) => {
                    assert_eq!(opcode as u8, bits);
                    assert_eq!(opcode.is_control(), (0x8..=0xF).contains(&bits));
                    assert_eq!(opcode.is_data(), !opcode.is_control());
                }
                None => assert!(!matches!(bits, 0..=2 | 8..=10), "{bits}"),
            }
        }
    }
}
