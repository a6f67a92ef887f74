//! Messages in JSON (RFC 8259), behind the feature `json`.

use serde::{Deserialize, Serialize};

use super::{decode_error::DecodeError, message::Message, prepared::Prepared};

impl<'a> Message<'a> {
    /// The value that the message is the JSON of. Strings that have no escapes may be borrowed from it.
    ///
    /// Bounded by [`Limits::message_len_max`](crate::Limits), and by 128 levels of arrays and objects.
    ///
    /// # Errors
    ///
    /// [`DecodeError::NotText`], and [`DecodeError::Invalid`] with the `serde_json::Error`, which names
    /// the line and the column.
    ///
    /// ```
    /// use throng::Message;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Greeting<'a> {
    ///     name: &'a str,
    /// }
    ///
    /// let greeting: Greeting<'_> = Message::Text(r#"{"name":"Ada"}"#).json()?;
    /// assert_eq!(greeting.name, "Ada");
    /// # Ok::<(), throng::DecodeError>(())
    /// ```
    pub fn json<T: Deserialize<'a>>(self) -> Result<T, DecodeError> {
        serde_json::from_str(self.text()?).map_err(|error| DecodeError::invalid("JSON", error))
    }
}

impl Prepared {
    /// The text message that is this value in JSON.
    ///
    /// # Errors
    ///
    /// Those of the value's `Serialize`; a derived one has none, but for maps whose keys are no strings.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(|text| Self::from(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CloseCode, truncate_reason};

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Point {
        x: i32,
        y: i32,
    }

    #[test]
    fn what_was_said_is_read() {
        let said = Prepared::json(&Point { x: 1, y: -2 }).unwrap();
        assert_eq!(said.message(), Message::Text(r#"{"x":1,"y":-2}"#));
        assert_eq!(said.message().json::<Point>().unwrap(), Point { x: 1, y: -2 });
    }

    #[test]
    fn what_is_wrong_has_a_code_and_a_name() {
        // (message, code, what its text begins with)
        let rows = [
            (Message::Binary(b"{}"), CloseCode::UNSUPPORTED_DATA, "a binary message, where text"),
            (Message::Text(""), CloseCode::INVALID_PAYLOAD, "invalid JSON: EOF while parsing"),
            (Message::Text("{"), CloseCode::INVALID_PAYLOAD, "invalid JSON: EOF while parsing"),
            (
                Message::Text(r#"{"x":1}"#),
                CloseCode::INVALID_PAYLOAD,
                "invalid JSON: missing field `y` at line 1 column 7",
            ),
            (
                Message::Text(r#"{"x":1,"y":2}{}"#),
                CloseCode::INVALID_PAYLOAD,
                "invalid JSON: trailing characters",
            ),
            (
                Message::Text(r#"{"x":1,"y":"2"}"#),
                CloseCode::INVALID_PAYLOAD,
                "invalid JSON: invalid type: string \"2\", expected i32",
            ),
        ];
        for (message, code, text) in rows {
            let error = message.json::<Point>().unwrap_err();
            assert_eq!(error.close_code(), code, "{error}");
            assert!(truncate_reason(&error.to_string()).starts_with(text), "{error}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_an_error() {
        let deep = "[".repeat(1_000_000);
        let error = Message::Text(&deep).json::<serde_json::Value>().unwrap_err();
        assert!(error.to_string().starts_with("invalid JSON: recursion limit exceeded"), "{error}");
    }

    #[test]
    fn what_cannot_be_said_in_json_is_an_error() {
        let pairs = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(Prepared::json(&pairs).is_err());
    }
}
