//! The one call upward: what a reactor tells whoever uses it.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::Turn;
use crate::{
    conn::{CloseCause, ConnectError},
    pool::Key,
    protocol::{
        CloseFrame, Message, Part,
        handshake::{AcceptKey, Acceptance, HandshakeError, Reply, Request, Response},
    },
};

/// What a server, or a client, makes of its connections' events.
///
/// Callbacks get the [`Turn`], through which they reach every connection of the reactor. They never
/// run inside one another: what a callback does to a connection takes effect after it returned. Each
/// may panic: the reactor runs them with a [`net`] below.
pub(crate) trait App {
    /// What each connection carries for the application.
    type Data: Default + 'static;

    /// A request's head has arrived whole, and is well formed; its body may still be on its way. An
    /// error answers it, as does a panic, with 500.
    fn on_head(&mut self, request: &Request<'_>) -> Result<(), Response>;

    /// A request has arrived whole, after `on_head`. With a panic it is refused with 500.
    fn on_request(
        &mut self,
        turn: &mut Turn<'_, Self::Data>,
        key: Key,
        request: &Request<'_>,
    ) -> Verdict;

    /// A request has its answer, which is about to leave.
    fn on_answered(
        &mut self,
        turn: &mut Turn<'_, Self::Data>,
        key: Key,
        asked: Asked<'_>,
        answer: Answer<'_>,
    );

    /// A connection that was asked for has its transport.
    fn on_connected(&mut self, turn: &mut Turn<'_, Self::Data>, key: Key);

    /// A server accepted; `on_open` follows.
    fn on_reply(&mut self, turn: &mut Turn<'_, Self::Data>, key: Key, reply: &Reply<'_>);

    /// A connection that was asked for will not open.
    fn on_connect_failed(&mut self, turn: &mut Turn<'_, Self::Data>, key: Key, error: ConnectError);

    /// The opening handshake is done.
    fn on_open(&mut self, turn: &mut Turn<'_, Self::Data>, key: Key);

    /// A message arrived on an open connection.
    fn on_message(&mut self, turn: &mut Turn<'_, Self::Data>, key: Key, message: Message<'_>);

    /// A part of a message arrived on an open connection that receives in parts.
    fn on_part(&mut self, turn: &mut Turn<'_, Self::Data>, key: Key, part: Part<'_>);

    /// A ping arrived on an open connection. Says whether it is answered.
    fn on_ping(&mut self, turn: &mut Turn<'_, Self::Data>, key: Key, payload: &[u8]) -> bool;

    /// Something else arrived on an open connection, or one that we are closing, or became of it.
    fn on_event(&mut self, turn: &mut Turn<'_, Self::Data>, key: Key, event: AppEvent<'_>);

    /// A connection that was open is no longer.
    fn on_close(&mut self, turn: &mut Turn<'_, Self::Data>, key: Key, cause: CloseCause);

    /// The reactor begins.
    fn on_start(&mut self, turn: &mut Turn<'_, Self::Data>);

    /// The instant that was asked for has come.
    fn on_wake(&mut self, turn: &mut Turn<'_, Self::Data>);

    /// Another thread sent this to the reactor.
    fn on_command(&mut self, turn: &mut Turn<'_, Self::Data>, command: Box<dyn Any + Send>);
}

/// What arrived on an open connection that is no message, or became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AppEvent<'a> {
    Pong(&'a [u8]),
    /// The pong that a round trip ends with, which took so long.
    Rtt(Duration),
    /// Either as the first of the closing handshake, or as the answer to ours.
    Close(Option<CloseFrame<'a>>),
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
    /// It breaks this rule, is told so, and the connection ends.
    Refuse(HandshakeError),
    /// It is decided later, from any thread.
    Defer(AcceptKey),
}

/// A request, as far as it is known when it is answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    /// What arrived of its head. Empty if nothing did, or if it was answered later.
    pub(crate) head: &'a [u8],
    /// The rule that it broke.
    pub(crate) error: Option<HandshakeError>,
    /// It is answered without a body: it was HEAD.
    pub(crate) head_only: bool,
}

/// The answer to a request, as it leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) bytes: &'a [u8],
}

/// Runs callbacks, one or many. A panic ends here.
///
/// The application may be left in a state that the panic interrupted. That is the bargain: one that
/// cannot live with it should catch its own panics. The reactor's own state is whole whenever a
/// callback runs.
#[inline]
pub(super) fn net<R>(callbacks: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(callbacks)).map_err(|_| Panicked)
}

/// A callback panicked; the panic was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Panicked;
