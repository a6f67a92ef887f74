//! The one call upward: what a reactor tells whoever uses it.

use std::any::Any;

use super::Turn;
use crate::{
    conn::CloseCause,
    pool::Key,
    protocol::handshake::{AcceptKey, Acceptance, Request, Response},
};

/// What a server, or a client, makes of its connections' events.
///
/// Callbacks get the [`Turn`], through which they reach every connection of the reactor. They never
/// run inside one another: what a callback does to a connection takes effect after it returned.
pub(crate) trait App {
    /// What each connection carries for the application.
    type Data: Default;

    /// A request head has arrived whole. With a panic the request is refused with 500.
    fn on_request(
        &mut self,
        turn: &mut Turn<'_, Self::Data>,
        key: Key,
        request: &Request<'_>,
    ) -> Result<Verdict, Panicked>;

    /// The opening handshake is done.
    fn on_open(&mut self, turn: &mut Turn<'_, Self::Data>, key: Key) -> Result<(), Panicked>;

    /// Something arrived on an open connection.
    fn on_event(
        &mut self,
        turn: &mut Turn<'_, Self::Data>,
        key: Key,
        event: AppEvent<'_>,
    ) -> Result<(), Panicked>;

    /// A connection that was open is no longer.
    fn on_close(
        &mut self,
        turn: &mut Turn<'_, Self::Data>,
        key: Key,
        cause: CloseCause,
    ) -> Result<(), Panicked>;

    /// Another thread sent this to the reactor.
    fn on_command(
        &mut self,
        turn: &mut Turn<'_, Self::Data>,
        command: Box<dyn Any + Send>,
    ) -> Result<(), Panicked>;
}

/// What arrived on an open connection, or became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AppEvent<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// All output has left after the high-water mark had been passed.
    Drain,
    /// The timer that the application set.
    Timer,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is answered with 101, and the connection opens.
    Accept(AcceptKey, Acceptance),
    /// It is answered like any HTTP request, and the connection ends.
    Respond(Response),
    /// It is decided later, from any thread.
    Defer(AcceptKey),
}

/// A callback panicked; the panic was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;
