//! Why a connection ended, as a number and a few words (RFC 6455 §7.4).

use std::fmt;

/// The number that says why a connection ended: the RFC's "status code" (RFC 6455 §7.4).
///
/// Any number can be held; [`CloseCode::is_sendable`] tells which may appear in a Close frame. Codes are
/// ordered by their numbers, so a range of one's own is a range.
///
/// ```
/// use throng::protocol::CloseCode;
///
/// const GAME_OVER: CloseCode = CloseCode::new(4000);
/// assert!(GAME_OVER.is_private() && GAME_OVER.is_sendable());
/// assert!((CloseCode::new(4000)..CloseCode::new(4100)).contains(&GAME_OVER));
/// assert!(CloseCode::NO_STATUS.is_local() && !CloseCode::NO_STATUS.is_sendable());
/// assert_eq!(CloseCode::PROTOCOL_ERROR.to_string(), "1002 (protocol error)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint is leaving: a server going down, a browser opening another page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The peer sent a kind of data that this endpoint does not take, such as binary.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// The Close frame carried no code. Reported to the application, never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// The connection was lost without a Close frame. Reported to the application, never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// A message was not what its type promised, as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A message broke this endpoint's rules; for when no other code fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A message was longer than this endpoint takes.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// A client's: the server did not agree to an extension it cannot do without.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// Something unforeseen at this endpoint.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The service restarts; come back after a random 5 to 30 seconds. From IANA's registry.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The service is overloaded; go elsewhere, or come back later. From IANA's registry.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// A gateway got an invalid answer from behind it. From IANA's registry.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// The TLS handshake failed. Reported to the application, never sent.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// The code of this number, whatever it is.
    #[inline]
    pub const fn new(value: u16) -> Self {
        Self(value)
    }

    /// Its number.
    #[inline]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Whether it may appear in a Close frame: 1000–1003, 1007–1014 and 3000–4999.
    ///
    /// Out are the numbers that only report something locally (1005, 1006, 1015), those without a
    /// meaning so far (1004, 1016–2999), and those outside the protocol (below 1000, from 5000 on).
    #[inline]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    /// Whether it only reports something locally, and never appears in a Close frame: 1005, 1006 and
    /// 1015 (§7.4.1).
    #[inline]
    pub const fn is_local(self) -> bool {
        matches!(self.0, 1005 | 1006 | 1015)
    }

    /// Whether the protocol, or IANA's registry, gives it a meaning: 1000–1003 and 1005–1015.
    #[inline]
    pub const fn is_defined(self) -> bool {
        matches!(self.0, 1000..=1003 | 1005..=1015)
    }

    /// Reserved for the protocol, its revisions and its extensions: 1000–2999 (§7.4.2).
    #[inline]
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, 1000..=2999)
    }

    /// For libraries and frameworks, which register it with IANA: 3000–3999 (§7.4.2).
    #[inline]
    pub const fn is_library(self) -> bool {
        matches!(self.0, 3000..=3999)
    }

    /// For two ends that agreed on its meaning: 4000–4999 (§7.4.2).
    #[inline]
    pub const fn is_private(self) -> bool {
        matches!(self.0, 4000..=4999)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::NORMAL => "normal",
            Self::GOING_AWAY => "going away",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::UNSUPPORTED_DATA => "unsupported data",
            Self::NO_STATUS => "no status",
            Self::ABNORMAL => "abnormal",
            Self::INVALID_PAYLOAD => "invalid payload",
            Self::POLICY_VIOLATION => "policy violation",
            Self::MESSAGE_TOO_BIG => "message too big",
            Self::MANDATORY_EXTENSION => "mandatory extension",
            Self::INTERNAL_ERROR => "internal error",
            Self::SERVICE_RESTART => "service restart",
            Self::TRY_AGAIN_LATER => "try again later",
            Self::BAD_GATEWAY => "bad gateway",
            Self::TLS_HANDSHAKE => "TLS handshake",
            _ if self.is_reserved() => "reserved",
            _ if self.is_library() => "library",
            _ if self.is_private() => "private",
            _ => "outside the protocol",
        }
    }
}

impl From<u16> for CloseCode {
    fn from(value: u16) -> Self {
        Self(value)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.name())
    }
}

/// Longest reason that fits in a Close frame, in bytes of UTF-8: 125 less the two of the code
/// (RFC 6455 §5.5, §5.5.1).
pub const REASON_LEN_MAX: usize = 123;

/// As much of `reason` as fits in a Close frame, cut between two characters.
///
/// ```
/// use throng::protocol::{REASON_LEN_MAX, truncate_reason};
///
/// assert_eq!(truncate_reason("bye"), "bye");
/// let long = "é".repeat(100); // 200 bytes, and 123 would be half a character
/// assert_eq!(truncate_reason(&long).len(), REASON_LEN_MAX - 1);
/// ```
pub fn truncate_reason(reason: &str) -> &str {
    let mut len = reason.len().min(REASON_LEN_MAX);
    while !reason.is_char_boundary(len) {
        len -= 1;
    }
    &reason[..len]
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use super::*;

    #[test]
    fn every_number_has_its_place() {
        // (numbers, sendable, reserved, library, private)
        let rows: [(RangeInclusive<u16>, bool, bool, bool, bool); 10] = [
            (0..=999, false, false, false, false),
            (1000..=1003, true, true, false, false),
            (1004..=1006, false, true, false, false),
            (1007..=1014, true, true, false, false),
            (1015..=1015, false, true, false, false),
            (1016..=2999, false, true, false, false),
            (3000..=3999, true, false, true, false),
            (4000..=4999, true, false, false, true),
            (5000..=5000, false, false, false, false),
            (5001..=u16::MAX, false, false, false, false),
        ];
        for (numbers, sendable, reserved, library, private) in rows {
            for code in numbers.map(CloseCode::new) {
                assert_eq!(code.is_sendable(), sendable, "{code}");
                assert_eq!(code.is_reserved(), reserved, "{code}");
                assert_eq!(code.is_library(), library, "{code}");
                assert_eq!(code.is_private(), private, "{code}");
                // What has a meaning is sent, or is of use here alone.
                let has_meaning = reserved && (sendable || code.is_local());
                assert_eq!(code.is_defined(), has_meaning, "{code}");
            }
        }
    }

    #[test]
    fn it_reads_well_in_a_log() {
        let rows = [
            (1000, "1000 (normal)"),
            (1002, "1002 (protocol error)"),
            (1004, "1004 (reserved)"),
            (1015, "1015 (TLS handshake)"),
            (3000, "3000 (library)"),
            (4999, "4999 (private)"),
            (5000, "5000 (outside the protocol)"),
        ];
        for (value, text) in rows {
            assert_eq!(CloseCode::new(value).to_string(), text);
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        // (reason, how much is left)
        let rows = [
            (String::new(), 0),
            ("a".repeat(123), 123),
            ("a".repeat(124), 123),
            ("é".repeat(62), 122),
            ("€".repeat(41), 123),
            (format!("aa{}", "😀".repeat(31)), 122),
        ];
        for (reason, len) in rows {
            assert_eq!(truncate_reason(&reason), &reason[..len]);
        }
    }
}
