//! A message in parts, as it travels.

use super::{message::Message, opcode::Opcode};

/// A stretch of a message: what arrived of it, or what is to be sent.
///
/// Parts end wherever the stream was cut: they are not the frames of the sender, and a character of a
/// text may begin in one and end in the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Whether the message is text: UTF-8, if all of its parts are put together.
    pub is_text: bool,
    /// The bytes. Perhaps none, in the first part and in the last.
    pub bytes: &'a [u8],
    /// Whether the message begins with it.
    pub is_first: bool,
    /// Whether the message ends with it. The only part of a message is both.
    pub is_last: bool,
}

impl<'a> From<Message<'a>> for Part<'a> {
    /// The only part of its message.
    fn from(message: Message<'a>) -> Self {
        let (is_text, bytes) = (message.opcode() == Opcode::Text, message.as_bytes());
        Self { is_text, bytes, is_first: true, is_last: true }
    }
}

impl Part<'_> {
    /// The opcode of the message's first frame.
    pub(crate) fn opcode(&self) -> Opcode {
        if self.is_text { Opcode::Text } else { Opcode::Binary }
    }
}
