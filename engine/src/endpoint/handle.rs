//! What a callback holds.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Connect, MessageWriter, Remote, Upgraded};
use crate::{
    conn::{AdoptError, CloseCause, ConnectError, Flags, Phase, Sent, Timeouts},
    pool::Key,
    protocol::{CloseCode, DecodeError, Message, Opcode, Part, Prepared, Role},
    reactor::{Compress, Turn},
};

/// Names a connection for ever: once it is gone, its id finds nothing.
///
/// Eight bytes, `Copy` and `Send`: the reactor (10 bits), the place in its table (26 bits), and the
/// generation of that place (28 bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(u64);

impl ConnId {
    /// The most reactors that ids can tell apart.
    pub(crate) const REACTOR_COUNT_MAX: usize = 1 << (64 - Key::INDEX_BITS - Key::GENERATION_BITS);

    pub(crate) fn new(reactor: usize, key: Key) -> Self {
        let high = (reactor as u64) << (Key::INDEX_BITS + Key::GENERATION_BITS);
        Self(high | u64::from(key.generation) << Key::INDEX_BITS | u64::from(key.index))
    }

    pub(crate) fn key(self) -> Key {
        let index = self.0 & ((1 << Key::INDEX_BITS) - 1);
        let generation = self.0 >> Key::INDEX_BITS & ((1 << Key::GENERATION_BITS) - 1);
        Key { index: index as u32, generation: generation as u32 }
    }

    /// The number of the reactor that it lives on.
    pub fn reactor(self) -> usize {
        (self.0 >> (Key::INDEX_BITS + Key::GENERATION_BITS)) as usize
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { index, generation } = self.key();
        write!(f, "{}:{index}.{generation}", self.reactor())
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A connection, for the length of a callback.
///
/// What is sent leaves when the callbacks of the turn have run: however many messages that are, they
/// leave in one system call at the most.
pub struct Conn<'a, T> {
    connections: Connections<'a, T>,
    key: Key,
}

impl<'a, T> Conn<'a, T> {
    pub(crate) fn new(connections: Connections<'a, T>, key: Key) -> Self {
        Self { connections, key }
    }

    /// Its id, to be kept and used from anywhere.
    pub fn id(&self) -> ConnId {
        ConnId::new(self.connections.remote.reactor(), self.key)
    }

    /// What it carries for the application.
    pub fn data(&self) -> &T {
        let connections = &self.connections.turn.table.connections;
        &connections.get(self.key).expect("a connection outlives its callbacks").data
    }

    /// What it carries for the application, to be changed.
    pub fn data_mut(&mut self) -> &mut T {
        let connections = &mut self.connections.turn.table.connections;
        &mut connections.get_mut(self.key).expect("a connection outlives its callbacks").data
    }

    /// Sends a message. It is copied, framed and queued; no system call is made.
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Sent {
        let message = message.into();
        self.connections.turn.send(self.key, message.opcode(), message.as_bytes())
    }

    /// Sends a message as it is, where others are compressed: one that is compressed already, or secret
    /// beside what an attacker chooses (RFC 7692 §8).
    pub fn send_uncompressed<'m>(&mut self, message: impl Into<Message<'m>>) -> Sent {
        let message = message.into();
        let (opcode, payload) = (message.opcode(), message.as_bytes());
        self.connections.turn.send_behind(self.key, opcode, payload, Compress::Never)
    }

    /// Sends a message that was made ready for many. A long one is copied nowhere.
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Sent {
        self.connections.turn.send_prepared(self.key, prepared)
    }

    /// Sends a part of a message, in a frame of its own (RFC 6455 §5.4): to pass on what arrives, or to
    /// send what is too long to be had at once. [`message_writer`](Self::message_writer) is easier to use.
    ///
    /// Parts are not compressed. Messages that are sent before the last part wait until it has been
    /// sent, in the send queue; pings, pongs and Close do not. A first part amid another message, and
    /// one that continues nothing, is [`Sent::Dropped`]. Once a message has begun, a full send queue
    /// closes the connection (1013) whatever the overflow policy: a message cannot miss a part.
    pub fn send_part(&mut self, part: Part<'_>) -> Sent {
        self.connections.turn.send_part(self.key, part)
    }

    /// Sends a message in fragments of at most `len_max` bytes (RFC 6455 §5.4), between which pongs
    /// and Close may pass. A shorter one is sent as ever.
    pub fn send_fragmented<'m>(&mut self, message: impl Into<Message<'m>>, len_max: usize) -> Sent {
        let message = message.into();
        if message.len() <= len_max {
            return self.send(message);
        }
        let whole = Part::from(message);
        let mut chunks = whole.bytes.chunks(len_max.max(1)).peekable();
        let (mut sent, mut is_first) = (Sent::Queued, true);
        while let Some(bytes) = chunks.next() {
            let is_last = chunks.peek().is_none();
            sent = self.send_part(Part { bytes, is_first, is_last, ..whole });
            if matches!(sent, Sent::Dropped | Sent::Closed) {
                break;
            }
            is_first = false;
        }
        sent
    }

    /// Sends a message whose bytes lie in several places, one behind the other, as one frame.
    pub fn send_gathered(&mut self, is_text: bool, slices: &[&[u8]]) -> Sent {
        self.connections.turn.send_gathered(self.key, is_text, slices)
    }

    /// Writes a message in parts, by [`std::io::Write`]: text if `is_text`, else binary. What is
    /// written has to be UTF-8 then.
    pub fn message_writer(&mut self, is_text: bool) -> MessageWriter<'_, 'a, T> {
        MessageWriter::new(self, is_text)
    }

    /// Whether a message was begun by [`send_part`](Self::send_part) or
    /// [`message_writer`](Self::message_writer) and is not finished.
    pub fn is_sending_parts(&self) -> bool {
        self.connections.turn.is_in_parts(self.key)
    }

    /// Hands messages on as they arrive, by [`on_part`](crate::Handler::on_part), or whole again: from
    /// the next message on.
    ///
    /// In parts nothing is gathered, so that neither [`Limits::message_len_max`](crate::Limits) nor
    /// [`Timeouts::message`](crate::Timeouts) hold; to make the peer wait, pause. What was compressed
    /// is the exception: it is inflated as a whole, within the limits, and comes as one part.
    pub fn receive_in_parts(&mut self, in_parts: bool) {
        self.connections.turn.receive_in_parts(self.key, in_parts);
    }

    /// Sends a message that is text, or not, as the opcode says.
    #[cfg(any(feature = "json", feature = "protobuf"))]
    pub(super) fn send_payload(&mut self, opcode: Opcode, payload: &[u8]) -> Sent {
        self.connections.turn.send(self.key, opcode, payload)
    }

    /// Whether messages to and from the peer may be compressed (RFC 7692).
    pub fn is_deflated(&self) -> bool {
        let connections = &self.connections.turn.table.connections;
        connections.get(self.key).is_some_and(|conn| conn.flags.has(Flags::DEFLATE))
    }

    /// Sends a ping of at most 125 bytes; what is longer is cut off there (RFC 6455 §5.5).
    pub fn ping(&mut self, payload: &[u8]) -> Sent {
        let payload = &payload[..payload.len().min(125)];
        self.connections.turn.control(self.key, Opcode::Ping, payload)
    }

    /// Sends a ping that its pong is recognised by: [`on_rtt`](crate::Handler::on_rtt) follows, with the
    /// time in between. The payload is 16 bytes that nobody can guess, so a peer that answers has seen the
    /// ping. One at a time is waited for: this replaces one that has not been answered.
    ///
    /// From the turn of the reactor in which it was sent to the one in which the pong was found: other
    /// callbacks of the first are part of it, and so is the time in which it waited behind data that
    /// the socket would not take. Until it is answered it takes up a box of 32 bytes, beside the one of at
    /// most 96 that holds what few connections have.
    ///
    /// [`Sent::Dropped`], and nothing follows, if the send queue is full, or the kernel has no randomness
    /// to give.
    pub fn measure_rtt(&mut self) -> Sent {
        self.connections.turn.measure_rtt(self.key)
    }

    /// Sends a pong of at most 125 bytes; what is longer is cut off there. Pings are answered without
    /// it, unless [`on_ping`](crate::Handler::on_ping) says no; one that nobody asked for is a sign of
    /// life (RFC 6455 §5.5.3). It goes before data that waits for the socket, in the place of a pong that
    /// waits.
    pub fn pong(&mut self, payload: &[u8]) -> Sent {
        let payload = &payload[..payload.len().min(125)];
        self.connections.turn.control(self.key, Opcode::Pong, payload)
    }

    /// Begins the closing handshake (RFC 6455 §7.1.2): what is queued is sent first, then Close with
    /// this code and the first 123 bytes of `reason`; then the peer has
    /// [`Timeouts::close`](crate::Timeouts) to answer. No message is delivered any more.
    ///
    /// A code that may not be sent (1005, 1006, 1015, or below 1000) is replaced by 1000.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        let code = if code.is_sendable() { code } else { CloseCode::NORMAL };
        self.connections.turn.close(self.key, code, reason);
    }

    /// Fails the connection (RFC 6455 §7.1.7): what waits for the socket is dropped, Close is sent
    /// with this code and reason, and its answer is not waited for. For a peer that broke a rule of
    /// the application's own. The code is treated as [`close`](Self::close) treats it.
    pub fn fail(&mut self, code: CloseCode, reason: &str) {
        let code = if code.is_sendable() { code } else { CloseCode::NORMAL };
        self.connections.turn.terminate(self.key, CloseCause::Local(code), code, reason);
    }

    /// [Fails](Self::fail) the connection over a message that is not what was expected: with 1003 or 1007
    /// (RFC 6455 §7.4.1), and the first 123 bytes of the error's text as the reason.
    pub fn fail_with(&mut self, error: &DecodeError) {
        self.fail(error.close_code(), &error.to_string());
    }

    /// Drops the connection at once: no closing handshake, what is queued is lost.
    pub fn abort(&mut self) {
        self.connections.turn.abort(self.key, CloseCause::Aborted);
    }

    /// Hands on no more messages, pings or pongs of this connection until
    /// [`resume_reading`](Self::resume_reading): not even those that have arrived with the current one.
    /// The peer's sending stops when the kernel's buffers are full; at most 64 KiB wait here.
    ///
    /// A peer that is not listened to is not expected to be heard: the deadlines of silence, of pings and
    /// of half-received messages rest. That it is gone may show only afterwards. Sending goes on, and
    /// closing resumes.
    pub fn pause_reading(&mut self) {
        self.connections.turn.hold(self.key);
    }

    /// Goes on after [`pause_reading`](Self::pause_reading), soon after this callback, with what has
    /// arrived meanwhile.
    pub fn resume_reading(&mut self) {
        self.connections.turn.go_on(self.key);
    }

    /// Whether reading is paused by [`pause_reading`](Self::pause_reading).
    pub fn is_reading_paused(&self) -> bool {
        let connections = &self.connections.turn.table.connections;
        connections.get(self.key).is_some_and(|conn| conn.flags.has(Flags::HELD))
    }

    /// Takes no message from the peer any more: one that begins, or goes on, fails the connection with
    /// 1008 and [`CloseCause::Refused`], as soon as its first header is there, and before anything of it is
    /// handed on. Pings are answered, and pongs and Close frames heard, as ever. There is no way back.
    ///
    /// For connections that only send, such as a feed of prices: a peer that has nothing to say cannot
    /// make us put its messages together. (To let it talk and not listen takes nothing but an `on_message`
    /// that does nothing.) It costs a bit of the entry; and what such a connection is sent, unless by
    /// broadcast, takes the way that output takes which has to wait, or is masked: a few look-ups more.
    pub fn refuse_messages(&mut self) {
        self.connections.turn.refuse_messages(self.key);
    }

    /// Which end of the connection we are: a reactor may have both.
    pub fn role(&self) -> Role {
        let connections = &self.connections.turn.table.connections;
        connections.get(self.key).map_or(Role::Server, |conn| conn.role())
    }

    /// Whether messages can be sent.
    pub fn is_open(&self) -> bool {
        let connections = &self.connections.turn.table.connections;
        connections.get(self.key).is_some_and(|conn| conn.phase == Phase::Open)
    }

    /// Bytes that wait because the socket would not take them.
    pub fn queued_len(&self) -> usize {
        let connections = &self.connections.turn.table.connections;
        connections.get(self.key).map_or(0, |conn| conn.queued_len())
    }

    /// Where the peer is. `None` for a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        let connections = &self.connections.turn.table.connections;
        connections.get(self.key).and_then(|conn| conn.peer_address())
    }

    /// How long things may take on this connection: its own limits, or those of the whole server.
    pub fn timeouts(&self) -> &Timeouts {
        self.connections.turn.table.timeouts(self.key)
    }

    /// Gives the connection time limits of its own, from any callback, as often as need be. They count
    /// from where they always do: what is overdue by them ends with the next look, within a second.
    ///
    /// ```
    /// # use throng::{Conn, Timeouts};
    /// # use std::time::Duration;
    /// /// A guest who has paid may be silent for longer.
    /// fn paid(conn: &mut Conn<'_, ()>) {
    ///     let idle = Some(Duration::from_secs(3600));
    ///     conn.set_timeouts(Timeouts { idle, ..conn.timeouts().clone() });
    /// }
    /// ```
    ///
    /// The limits take up about 150 bytes, which connections share that are given clones of one `Arc`, and
    /// the connection a box of at most 96 for what few connections have. Nothing is checked: a `ping`
    /// that is not shorter than `idle` is never sent.
    pub fn set_timeouts(&mut self, timeouts: impl Into<Arc<Timeouts>>) {
        self.connections.turn.table.set_timeouts(self.key, timeouts.into());
    }

    /// Asks for `on_timer` after `delay`, once, to within about a second. A connection has one timer:
    /// this replaces the one that was set; `None` unsets it.
    pub fn set_timer(&mut self, delay: impl Into<Option<Duration>>) {
        let table = &mut *self.connections.turn.table;
        let Some(conn) = table.connections.get_mut(self.key) else { return };
        let timer_at = delay.into().map(|delay| table.now.after(delay));
        conn.extra_mut().timer_at = timer_at;
        if let Some(at) = timer_at {
            table.deadlines.bring_forward(self.key.index, at);
        }
    }

    /// All connections of this reactor.
    pub fn connections(&mut self) -> Connections<'_, T> {
        self.connections.reborrow()
    }

    /// The handle through which other threads, and other reactors, are reached.
    pub fn remote(&self) -> &Remote {
        self.connections.remote
    }
}

/// The connections of one reactor, for the length of a callback.
pub struct Connections<'a, T> {
    turn: Turn<'a, T>,
    remote: &'a Remote,
}

impl<'a, T> Connections<'a, T> {
    pub(crate) fn new(turn: Turn<'a, T>, remote: &'a Remote) -> Self {
        Self { turn, remote }
    }

    /// Takes what a connection carries, which will not open.
    pub(super) fn take_data(&mut self, key: Key) -> T
    where
        T: Default,
    {
        let conn = self.turn.table.connections.get_mut(key);
        conn.map(|conn| std::mem::take(&mut conn.data)).unwrap_or_default()
    }

    fn reborrow(&mut self) -> Connections<'_, T> {
        let turn = Turn { table: &mut *self.turn.table, arena: &mut *self.turn.arena };
        Connections { turn, remote: self.remote }
    }

    /// The connection with this id, if it lives on this reactor and is open.
    pub fn conn(&mut self, id: ConnId) -> Option<Conn<'_, T>> {
        let here = id.reactor() == self.remote.reactor();
        let conn = self.turn.table.connections.get(id.key()).filter(|_| here)?;
        conn.phase.is_live().then(|| Conn::new(self.reborrow(), id.key()))
    }

    /// Sends a message to all open connections of this reactor, and says to how many. It is framed
    /// once and shared. [`Remote::broadcast`] reaches the other reactors too.
    pub fn broadcast(&mut self, message: impl Into<Prepared>) -> usize {
        self.turn.broadcast(&message.into())
    }

    /// Begins to connect, and says which id the connection has, or will have when it is open. `data`
    /// is what it carries. What comes of it is told by
    /// [`on_connected`](crate::Handler::on_connected), [`on_open`](crate::Handler::on_open) or
    /// [`on_connect_failed`](crate::Handler::on_connect_failed).
    ///
    /// Any number may be asked for at once: a reactor begins 64 a turn. No system call is made here.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Request`], [`ConnectError::TableFull`], [`ConnectError::Leaving`], and
    /// [`ConnectError::Io`] if the kernel has no randomness to give. `data` is dropped, and
    /// `on_connect_failed` is not called.
    pub fn connect(&mut self, connect: &Connect, data: T) -> Result<ConnId, ConnectError> {
        let Connect { route, proposal } = connect.clone();
        let key = self.turn.connect(route, proposal, data)?;
        Ok(ConnId::new(self.remote.reactor(), key))
    }

    /// Takes in a connection that another HTTP server has upgraded, and says which id it has. `data` is
    /// what it carries. [`on_open`](crate::Handler::on_open) follows, and then what was read ahead; if the
    /// driver has no descriptor or slot left for it, that is logged as an error, and nothing follows.
    ///
    /// Where reactors have [descriptor tables of their own](crate::ServerBuilder::private_descriptors),
    /// the socket has to be of this thread's table.
    ///
    /// # Errors
    ///
    /// [`AdoptError`]; then the socket is closed, and `data` dropped.
    pub fn adopt(&mut self, upgraded: Upgraded, data: T) -> Result<ConnId, AdoptError> {
        let Upgraded { socket, peer_addr, read_ahead } = upgraded;
        let key = self.turn.adopt(socket, peer_addr, &read_ahead, data)?;
        Ok(ConnId::new(self.remote.reactor(), key))
    }

    /// Drops a connection without a closing handshake, also one that is not open yet.
    pub fn abort(&mut self, id: ConnId) {
        if id.reactor() == self.remote.reactor() {
            self.turn.abort(id.key(), CloseCause::Aborted);
        }
    }

    /// Asks for [`on_wake`](crate::Handler::on_wake) at this instant, once: to within about 0.1 ms, later rather than
    /// sooner. A reactor has one alarm: this replaces the one that was set; `None` unsets it.
    pub fn wake_at(&mut self, at: impl Into<Option<Instant>>) {
        self.turn.table.wake_at = at.into();
    }

    /// How many connections there are, in whatever phase of their lives.
    pub fn count(&self) -> usize {
        self.turn.table.connections.len()
    }

    /// The ids of all open connections. Collected, so that each can be changed on the way.
    pub fn ids(&self) -> Vec<ConnId> {
        let connections = &self.turn.table.connections;
        let open = |key: &Key| connections.get(*key).is_some_and(|conn| conn.phase.is_live());
        connections.keys().filter(open).map(|key| ConnId::new(self.remote.reactor(), key)).collect()
    }

    /// The handle through which other threads, and other reactors, are reached.
    pub fn remote(&self) -> &Remote {
        self.remote
    }
}
