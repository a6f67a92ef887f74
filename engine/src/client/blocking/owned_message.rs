//! A message to keep.

use crate::protocol::Message;

/// A whole message that belongs to whoever has it: what [`Message`] lends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OwnedMessage {
    /// Text.
    Text(String),
    /// Anything else.
    Binary(Vec<u8>),
}

impl OwnedMessage {
    /// The message, lent: to send it, for example.
    pub fn lend(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl From<Message<'_>> for OwnedMessage {
    /// Copies it.
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_owned()),
        }
    }
}

impl<'a> From<&'a OwnedMessage> for Message<'a> {
    fn from(message: &'a OwnedMessage) -> Self {
        message.lend()
    }
}
