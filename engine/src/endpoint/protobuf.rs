//! Sending Protocol Buffers, behind the feature `protobuf`.

use super::{Conn, scratch::with_scratch};
use crate::{conn::Sent, protocol::Opcode};

impl<T> Conn<'_, T> {
    /// Sends a value in Protocol Buffers, in a binary message. It is written to a buffer that the reactor
    /// keeps, and from there on is a message like others.
    pub fn send_protobuf(&mut self, value: &impl prost::Message) -> Sent {
        with_scratch(|encoded| {
            value.encode(encoded).expect("a `Vec` has room for everything");
            self.send_payload(Opcode::Binary, encoded)
        })
    }
}
