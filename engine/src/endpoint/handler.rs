//! What an application implements.

use std::{any::Any, time::Duration};

use super::{Answered, Conn, ConnId, Connections, Request, Upgrade};
use crate::{
    conn::{CloseCause, ConnectError},
    protocol::{
        CloseFrame, Message, Part,
        handshake::{Reply, RequestLine, Response},
    },
};

/// An application: one value of it a reactor, built on that reactor's thread.
///
/// Its callbacks run on the reactor's thread, one at a time, and never inside one another: so it
/// needs no locks and no `Sync`. They must not block: while one runs, no other connection of the
/// reactor is served. Every callback has a default.
///
/// A callback that panics loses its own connection (the peer is told 1011) and nobody else's.
///
/// # Examples
///
/// ```
/// use throng::{Conn, Handler, Message};
///
/// /// Counts each peer's messages.
/// struct Counting;
///
/// impl Handler for Counting {
///     type Data = u32;
///
///     fn on_message(&mut self, conn: &mut Conn<'_, u32>, _message: Message<'_>) {
///         *conn.data_mut() += 1;
///         let count = *conn.data();
///         conn.send(format!("that was number {count}").as_str());
///     }
/// }
/// ```
#[allow(unused_variables)]
pub trait Handler: 'static {
    /// What each connection carries: in the table's entry itself, which is 64 bytes with up to
    /// 8 bytes of data. Made by `Default` when the connection is accepted, so a connection that is
    /// never upgraded costs one of these too: keep it cheap, and box what is large.
    type Data: Default + 'static;

    /// A request's first line is read: the first of three looks at a request that has not been checked
    /// for anything but HTTP's grammar, each of which may answer it. An error is what the client is told;
    /// then nothing else is asked about the request.
    ///
    /// The three come in this order, as soon as the head is there, before a body is waited for; also for
    /// plain HTTP. No other callback comes in between, so what one finds, the next may read from `self`.
    /// They are lent what was received, and cost nothing as long as they are not implemented.
    ///
    /// Default: go on.
    #[inline]
    fn on_request_line(&mut self, line: &RequestLine<'_>) -> Result<(), Response> {
        Ok(())
    }

    /// The host that the client believes to speak to is known, with the port unless it is the usual one.
    /// Not called for a request of HTTP/1.0 that names none. See [`on_request_line`](Self::on_request_line).
    #[inline]
    fn on_host(&mut self, host: &str) -> Result<(), Response> {
        Ok(())
    }

    /// One header, name and value as sent: each of them, in order, those of the handshake too. Names
    /// may differ in case. See [`on_request_line`](Self::on_request_line).
    #[inline]
    fn on_header(&mut self, name: &str, value: &[u8]) -> Result<(), Response> {
        Ok(())
    }

    /// A client asks for a WebSocket. Its request is well formed and its origin allowed: the last word
    /// before the answer.
    ///
    /// Default: accept, with no subprotocol.
    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Self::Data> {
        Upgrade::accept()
    }

    /// A request has its answer, which is about to leave: the bytes of both, and the rule that was broken,
    /// if one was. For logs, metrics, and whoever looks for a mistake. Called for every request that is
    /// answered, once: WebSockets and plain HTTP, refused, deferred, malformed or late.
    #[inline]
    fn on_answered(&mut self, answered: &Answered<'_>) {}

    /// A connection that we asked for ([`Connections::connect`]) has its transport: TCP has been
    /// established, the request goes out next. Nothing can be sent yet.
    fn on_connected(&mut self, conn: &mut Conn<'_, Self::Data>) {}

    /// The server accepted what we asked for; `on_open` follows. This is the moment to read the
    /// subprotocol that it chose, and its other headers.
    fn on_reply(&mut self, conn: &mut Conn<'_, Self::Data>, reply: &Reply<'_>) {}

    /// A connection that we asked for did not open: its id, its data, and why. Called once for each
    /// [`Connections::connect`] that is not followed by `on_open`.
    fn on_connect_failed(
        &mut self,
        connections: &mut Connections<'_, Self::Data>,
        id: ConnId,
        data: Self::Data,
        error: ConnectError,
    ) {
    }

    /// The opening handshake is done, or was done elsewhere ([`Connections::adopt`]).
    fn on_open(&mut self, conn: &mut Conn<'_, Self::Data>) {}

    /// A message arrived: whole, unmasked, and valid UTF-8 if it is text. It is lent for the length
    /// of the call.
    fn on_message(&mut self, conn: &mut Conn<'_, Self::Data>, message: Message<'_>) {}

    /// A part of a message arrived, of a connection that [receives in parts](Conn::receive_in_parts):
    /// whatever has come of it, lent for the length of the call. Then there is no `on_message` for it.
    ///
    /// A connection that is closed in the middle of a message says so by `on_close` alone.
    fn on_part(&mut self, conn: &mut Conn<'_, Self::Data>, part: Part<'_>) {}

    /// A ping arrived. Says whether it is answered, as it has to be (RFC 6455 §5.5.2): with `true` the
    /// pong leaves, with the same payload, behind what was sent from here. Who says `false` may answer
    /// later, or in another way, with [`Conn::pong`].
    ///
    /// Default: it is.
    fn on_ping(&mut self, conn: &mut Conn<'_, Self::Data>, payload: &[u8]) -> bool {
        true
    }

    /// A pong arrived, asked for or not; but for the one that `on_rtt` is about.
    fn on_pong(&mut self, conn: &mut Conn<'_, Self::Data>, payload: &[u8]) {}

    /// The pong arrived that answers the ping of [`Conn::measure_rtt`], so long after it was sent.
    fn on_rtt(&mut self, conn: &mut Conn<'_, Self::Data>, rtt: Duration) {}

    /// All output has left, after a send had answered
    /// [`Sent::AboveHighWater`](crate::Sent::AboveHighWater).
    fn on_drain(&mut self, conn: &mut Conn<'_, Self::Data>) {}

    /// The time that [`Conn::set_timer`] asked for has come.
    fn on_timer(&mut self, conn: &mut Conn<'_, Self::Data>) {}

    /// The peer's Close frame arrived, with the code and the reason that it gives; `None` if it gives
    /// none. `on_close` follows at once.
    ///
    /// If the peer began the closing handshake the connection is still open ([`Conn::is_open`]): what is
    /// sent from here leaves before our Close, which answers with the peer's own code (RFC 6455 §5.5.1),
    /// or with the code and reason of a [`Conn::close`] from here. Otherwise it answers our own Close.
    fn on_close_frame(&mut self, conn: &mut Conn<'_, Self::Data>, frame: Option<CloseFrame<'_>>) {}

    /// The connection is no longer open. Called exactly once for each `on_open`; what is sent from
    /// here is dropped.
    fn on_close(&mut self, conn: &mut Conn<'_, Self::Data>, cause: CloseCause) {}

    /// The reactor begins its loop: called once, before anything else.
    fn on_start(&mut self, connections: &mut Connections<'_, Self::Data>) {}

    /// The instant that [`Connections::wake_at`] asked for has come.
    fn on_wake(&mut self, connections: &mut Connections<'_, Self::Data>) {}

    /// A plain HTTP request on the same port: health, metrics, a page.
    ///
    /// The whole request is there, its body included (at most
    /// [`Limits::body_len_max`](crate::protocol::Limits) bytes). The connection is closed after the
    /// response.
    ///
    /// Default: 426, this is a WebSocket server.
    fn on_http(&mut self, request: &Request<'_>) -> Response {
        Response::text(426, "this is a WebSocket server: connect with ws://\n")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
    }

    /// Another thread sent something to this reactor with [`Remote::command`](crate::Remote).
    ///
    /// Default: drop it.
    fn on_command(
        &mut self,
        connections: &mut Connections<'_, Self::Data>,
        command: Box<dyn Any + Send>,
    ) {
    }
}
