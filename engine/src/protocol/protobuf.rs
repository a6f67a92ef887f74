//! Messages in Protocol Buffers, behind the feature `protobuf`.

use super::{decode_error::DecodeError, message::Message, prepared::Prepared};

impl Message<'_> {
    /// The value that the message is the Protocol Buffers encoding of.
    ///
    /// Bounded by [`Limits::message_len_max`](crate::Limits), and by 100 levels of messages. Fields that
    /// are missing have their defaults, unknown ones are passed over: any bytes may happen to be some
    /// message, and an empty one is every type's default.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotBinary`], and [`DecodeError::Invalid`] with the `prost::DecodeError`, which names
    /// the field.
    pub fn protobuf<T: prost::Message + Default>(self) -> Result<T, DecodeError> {
        T::decode(self.binary()?).map_err(|error| DecodeError::invalid("protobuf", error))
    }
}

impl Prepared {
    /// The binary message that is this value in Protocol Buffers.
    pub fn protobuf(value: &impl prost::Message) -> Self {
        Self::from(&value.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::CloseCode;

    #[derive(Clone, PartialEq, prost::Message)]
    struct Point {
        #[prost(sint32, tag = "1")]
        x: i32,
        #[prost(string, tag = "2")]
        name: String,
    }

    #[test]
    fn what_was_said_is_read() {
        let point = Point { x: -2, name: "here".to_owned() };
        let said = Prepared::protobuf(&point);
        assert_eq!(said.message(), Message::Binary(b"\x08\x03\x12\x04here"));
        assert_eq!(said.message().protobuf::<Point>().unwrap(), point);
        assert_eq!(Message::Binary(b"").protobuf::<Point>().unwrap(), Point::default());
    }

    #[test]
    fn what_is_wrong_has_a_code_and_a_name() {
        // (message, code, words of its text)
        let rows = [
            (Message::Text(""), CloseCode::UNSUPPORTED_DATA, "a text message, where binary"),
            (Message::Binary(b"\x08"), CloseCode::INVALID_PAYLOAD, "invalid protobuf: "),
            (
                Message::Binary(b"\x0A\x01x"),
                CloseCode::INVALID_PAYLOAD,
                "Point.x: invalid wire type",
            ),
            (Message::Binary(b"\x12\x01\xFF"), CloseCode::INVALID_PAYLOAD, "Point.name: "),
        ];
        for (message, code, words) in rows {
            let error = message.protobuf::<Point>().unwrap_err();
            assert_eq!(error.close_code(), code, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
