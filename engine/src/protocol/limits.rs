//! How much a peer may ask of us (RFC 6455 §10.4).

/// Bounds on what a peer may send.
///
/// The defaults are safe for a server on the open Internet. Set the ones you mean and leave the rest:
///
/// ```
/// use throng::protocol::Limits;
///
/// let limits = Limits { message_len_max: 64 * 1024, ..Limits::default() };
/// assert_eq!(limits.continuation_count_max, 65_536);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message, in bytes of reassembled payload. Default: 1 MiB.
    ///
    /// A longer one fails the connection with 1009 as soon as a header announces it, before anything
    /// is buffered (RFC 6455 §7.4.1, §10.4). A compressed message keeps within it twice: as it
    /// travels, and once inflated.
    pub message_len_max: usize,

    /// Most continuation frames that may follow a message's first. Default: 65,536.
    ///
    /// Such a frame may be empty, so that without this bound a message of no bytes could go on for
    /// ever (RFC 6455 §5.4, §10.4). More fail the connection with 1009.
    pub continuation_count_max: u32,

    /// Longest head of an opening handshake, in bytes: request line and headers, or status line and
    /// headers, with the empty line that ends them. Default: 8 KiB (RFC 6455 §4, RFC 9112 §3).
    pub head_len_max: usize,

    /// Most headers in an opening handshake. Default: 64 (RFC 6455 §4, RFC 9110 §5.4).
    pub header_count_max: usize,

    /// Longest body of a plain HTTP request, one that asks for no WebSocket, in bytes. Default:
    /// 64 KiB (RFC 9112 §6).
    pub body_len_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_len_max: 1024 * 1024,
            continuation_count_max: 65_536,
            head_len_max: 8 * 1024,
            header_count_max: 64,
            body_len_max: 64 * 1024,
        }
    }
}
