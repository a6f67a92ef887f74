//! Sending JSON, behind the feature `json`.

use serde::Serialize;

use super::{Conn, scratch::with_scratch};
use crate::{conn::Sent, protocol::Opcode};

impl<T> Conn<'_, T> {
    /// Sends a value as JSON, in a text message. It is written to a buffer that the reactor keeps, and
    /// from there on is a message like others.
    ///
    /// # Errors
    ///
    /// Those of the value's `Serialize`; a derived one has none, but for maps whose keys are no strings.
    /// Then nothing is sent.
    pub fn send_json(
        &mut self,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Sent, serde_json::Error> {
        with_scratch(|json| {
            serde_json::to_writer(&mut *json, value)?;
            Ok(self.send_payload(Opcode::Text, json))
        })
    }
}
