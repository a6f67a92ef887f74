//! Received bytes, to frames, to callbacks: up to the connection's share of a turn.

use super::{App, AppEvent, Asked, Core, Panicked, Table, Turn, handover::Handover, net};
use crate::{
    conn::{CloseCause, Connection, Flags, Inbound, Phase, Polled, Refusal, whole_frame},
    driver::{Op, RECEIVE_INTO_LEN_MAX},
    pool::{Arena, Exhausted, Key, Lease},
    protocol::{CloseCode, Incoming, Message, Opcode, Role, handshake::Response, plain_message},
};

impl<A: App> Core<A> {
    /// Bytes arrived.
    #[inline(always)] // into the turn: most completions are of this kind, and most of them end here
    pub(super) fn received(&mut self, key: Key, bytes: &mut [u8], arena: &mut Arena) {
        self.table.counters.bytes_in.add(bytes.len() as u64);
        let mut left = Left { len: bytes.len(), share: self.config.turn_frames_max };
        if self.table.hear(key, arena) {
            left = self.messages(key, None, bytes, left.share, arena);
            if left.len == 0 {
                return;
            }
        }
        let from = bytes.len() - left.len;
        self.received_else(key, &mut bytes[from..], left.share, arena);
    }

    /// Bytes arrived that are not, or not only, plain messages to an open connection.
    #[inline(never)]
    fn received_else(&mut self, key: Key, bytes: &mut [u8], share: usize, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        match conn.phase {
            Phase::Opening => self.head(key, bytes, arena),
            // What arrived before a pause took effect waits with the rest.
            Phase::Deciding => self.spill(key, bytes, arena),
            Phase::Open | Phase::CloseSent(_) if conn.flags.has(Flags::PAUSED) => {
                self.spill(key, bytes, arena);
            }
            Phase::Open | Phase::CloseSent(_) => {
                let inbound = conn.inbound.take();
                let left_len = self.frames(key, inbound, None, bytes, share, arena);
                if left_len > 0 {
                    self.put_off(key, &bytes[bytes.len() - left_len..], arena);
                }
            }
            Phase::Waiting | Phase::Connecting | Phase::Ending | Phase::Lingering | Phase::Dead => {
            }
        }
    }

    /// Handles the first frames of a connection that has just opened.
    pub(super) fn begin(&mut self, key: Key, input: &mut [u8], arena: &mut Arena) {
        // Where its request was gathered is empty by now, and `on_open` may have closed it.
        self.table.release_inbound(key);
        let left_len = self.frames(key, None, None, input, self.config.turn_frames_max, arena);
        if left_len > 0 {
            self.put_off(key, &input[input.len() - left_len..], arena);
        }
    }

    /// The connection has had its share of the turn: the rest of its input waits for the next, and
    /// receiving with it.
    fn put_off(&mut self, key: Key, left: &[u8], arena: &mut Arena) {
        self.spill(key, left, arena);
        if self.is_heard(key) {
            self.pause(key);
            self.table.unfinished.push_back(key);
        }
    }

    /// Handles the next share of the input that waits.
    pub(super) fn resume(&mut self, key: Key, arena: &mut Arena) {
        if !self.is_heard(key) {
            return; // until it goes on, if ever
        }
        let mut spill = self.table.take_spill(key);
        let inbound = self.table.take_inbound(key);
        let share = self.config.turn_frames_max;
        let left_len = self.frames(key, inbound, None, spill.bytes_mut(), share, arena);
        if left_len > 0 {
            spill.advance(spill.bytes().len() - left_len);
            self.table.put_back_spill(key, spill);
            if self.is_heard(key) {
                self.table.unfinished.push_back(key);
            }
        } else {
            spill.clear(&mut self.table.pool);
            self.caught_up(key, arena);
        }
        self.settle(arena);
    }

    /// All input that waited has been handled.
    fn caught_up(&mut self, key: Key, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if !conn.phase.is_live() || conn.flags.has(Flags::HELD) {
            return;
        }
        if conn.flags.has(Flags::FINISHED) {
            let cause = CloseCause::Lost(std::io::ErrorKind::UnexpectedEof);
            Turn { table: &mut self.table, arena }.end(key, cause);
        } else if conn.flags.has(Flags::PAUSED) {
            conn.flags.remove(Flags::PAUSED);
            self.table.ops.push((Op::Resume, key));
        }
    }

    /// A connection that receives by request has something to receive: the middle of a long message
    /// goes straight to where the message grows.
    pub(super) fn readable(&mut self, key: Key) {
        let Table { connections, pool, ops, .. } = &mut self.table;
        let conn = connections.get_mut(key).filter(|conn| conn.phase.is_live());
        let inbound = conn.and_then(|conn| conn.inbound.as_mut());
        let op = match inbound.filter(|half| half.remaining_len() > 0) {
            Some(half) => match half.lend_message(RECEIVE_INTO_LEN_MAX, pool) {
                Ok((lease, len)) => Op::ReceiveInto { lease, len },
                Err(Exhausted) => Op::Receive, // and what it brings is refused
            },
            None => Op::Receive,
        };
        ops.push((op, key));
    }

    /// More of a long message has arrived where it grows.
    pub(super) fn filled(&mut self, key: Key, lease: Lease, arena: &mut Arena) {
        // As long as the connection is live it waits for the rest of the message.
        let inbound = if self.is_live(key) { self.table.take_inbound(key) } else { None };
        let Some(mut inbound) = inbound else { return self.table.pool.give_back(lease) };
        let filled_len = inbound.filled_len(&lease);
        if filled_len > 0 {
            self.table.counters.bytes_in.add(filled_len as u64);
            self.table.hear(key, arena);
        }
        if self.is_paused(key) {
            let filled = inbound.take_filled(lease);
            self.table.put_back_inbound(key, inbound);
            return self.spill(key, &filled, arena);
        }
        let share = self.config.turn_frames_max;
        self.frames(key, Some(inbound), Some(lease), &mut [], share, arena);
    }

    /// Handles the frames in `input`, as many as are left of the connection's `share` of the turn, and
    /// returns how many bytes are left of them. `inbound` is what it has half received, and `filled` its
    /// message, if it was lent out and comes before `input`.
    fn frames(
        &mut self,
        key: Key,
        mut inbound: Option<Box<Inbound>>,
        mut filled: Option<Lease>,
        mut input: &mut [u8],
        mut share: usize,
        arena: &mut Arena,
    ) -> usize {
        let (role, allowed) = self.receiver_of(key);
        let mut phase = self.phase_of(key);
        let was_asked = filled.is_some();
        while share > 0
            && (filled.is_some() || !input.is_empty())
            && let Some(in_parts) = self.is_heard_in_parts(key)
        {
            let (table, limits) = (&mut self.table, &self.config.limits);
            let has_own_buffer = inbound.is_some();
            let event = match &mut inbound {
                None => match whole_frame(&mut input, role, allowed, limits) {
                    Ok(Some(event)) => Ok(Polled::Incoming(event)),
                    Ok(None) => {
                        inbound = Some(table.lend_inbound(role, allowed));
                        continue;
                    }
                    Err(error) => Err(Refusal::Protocol(error)),
                },
                Some(half) => {
                    let event = match filled.take() {
                        Some(lease) => {
                            half.poll_filled(lease).map(|event| event.map(Polled::Incoming))
                        }
                        None => half.poll(&mut input, in_parts, table.now, limits, &mut table.pool),
                    };
                    match event {
                        Ok(Some(event)) => Ok(event),
                        Ok(None) => break,
                        Err(refusal) => Err(refusal),
                    }
                }
            };
            let event = match event {
                Ok(
                    Polled::Part(_)
                    | Polled::Incoming(Incoming::Message(_) | Incoming::Extended { .. }),
                ) if self.refuses(key) => Err(Refusal::Unwanted),
                event => event,
            };
            match event {
                Ok(Polled::Part(part)) => {
                    share -= 1;
                    if phase == Phase::Open {
                        self.part(key, part, arena);
                    }
                }
                Ok(Polled::Incoming(Incoming::Message(message)))
                    if in_parts && phase == Phase::Open =>
                {
                    share -= 1;
                    self.part(key, message.into(), arena);
                }
                Ok(Polled::Incoming(Incoming::Message(message))) if phase == Phase::Open => {
                    // A client's are told one by one: only what is masked is plain.
                    let part = if role == Role::Server { share } else { 1 };
                    if has_own_buffer {
                        self.table.handover = Handover::offer(message.as_bytes());
                    }
                    let left = self.messages(key, Some(message), input, part, arena);
                    let from = input.len() - left.len;
                    (input, share) = (&mut input[from..], share - part + left.share);
                    if let Some(half) = &mut inbound {
                        self.table.hand_over(half);
                    }
                }
                Ok(Polled::Incoming(Incoming::Extended { opcode, payload, .. }))
                    if phase == Phase::Open =>
                {
                    let left = self.inflated(key, (opcode, payload), input, 1, arena);
                    let from = input.len() - left.len;
                    (input, share) = (&mut input[from..], share - 1 + left.share);
                }
                Ok(Polled::Incoming(event)) => {
                    share -= 1;
                    self.event(key, phase, event, arena);
                }
                Err(refusal) => self.refuse(key, refusal, arena),
            }
            if inbound.as_ref().is_some_and(|half| half.is_idle()) {
                self.table.give_back_inbound(inbound.take().expect("just seen"));
            }
            phase = self.phase_of(key);
        }
        if let Some(inbound) = inbound {
            if inbound.is_mid_message() && self.refuses(key) {
                self.refuse(key, Refusal::Unwanted, arena);
                phase = self.phase_of(key);
            }
            if phase.is_live() && !was_asked && inbound.remaining_len() >= ASK_LEN_MIN {
                self.table.ops.push((Op::Ask, key));
            }
            self.table.put_back_inbound(key, inbound);
            if phase.is_live()
                && let Some(timeout) = self.table.timeouts(key).message
            {
                self.table.deadlines.bring_forward(key.index, self.table.now.after(timeout));
            }
        }
        if phase.is_live() { input.len() } else { 0 }
    }

    /// Hands on a message, and then the plain ones at the front of `input`, of which most input
    /// consists, and says what is left. The connection is open, and has nothing half received.
    ///
    /// One net for all of them, and one place from which the callback is called: so it, and the
    /// answer that it sends, become part of the loop.
    #[inline(never)]
    pub(super) fn messages(
        &mut self,
        key: Key,
        first: Option<Message<'_>>,
        mut input: &mut [u8],
        mut share: usize,
        arena: &mut Arena,
    ) -> Left {
        let Self { app, table, config, .. } = self;
        let len_max = config.limits.message_len_max;
        let outcome = net(|| {
            let mut turn = Turn { table, arena };
            let mut next = first;
            while share > 0 {
                if next.is_none() {
                    next = plain_message(&mut input, len_max)?;
                }
                let Some(message) = next.take() else { break };
                share -= 1;
                turn.table.counters.messages_in.add(1);
                app.on_message(&mut turn, key, message);
                if input.is_empty() || !turn.is_heard(key) {
                    break;
                }
            }
            Ok(Left { len: input.len(), share })
        });
        match outcome {
            Ok(Ok(left)) => return left,
            Ok(Err(error)) => self.refuse(key, Refusal::Protocol(error), arena),
            Err(Panicked) => self.survive(key, Err(Panicked), arena),
        }
        Left { len: 0, share: 0 }
    }

    /// Hands on what is no message, and does what the protocol asks for by itself.
    fn event(&mut self, key: Key, phase: Phase, event: Incoming<'_>, arena: &mut Arena) {
        let mut turn = Turn { table: &mut self.table, arena };
        let event = match event {
            Incoming::Close(frame) => {
                let outcome = net(|| self.app.on_event(&mut turn, key, AppEvent::Close(frame)));
                self.survive(key, outcome, arena);
                let code = frame.map(|frame| frame.code);
                return Turn { table: &mut self.table, arena }.peer_closed(key, phase, code);
            }
            // After our Close only the peer's counts (§1.4).
            _ if phase != Phase::Open => return,
            Incoming::Ping(payload) => {
                let answers = net(|| self.app.on_ping(&mut turn, key, payload));
                if let Ok(true) = answers {
                    turn.control(key, Opcode::Pong, payload);
                }
                return self.survive(key, answers.map(drop), arena);
            }
            Incoming::Pong(payload) => {
                let Table { connections, elapsed, .. } = &mut *turn.table;
                let conn = connections.get_mut(key);
                match conn.and_then(|conn| conn.take_rtt(payload, *elapsed)) {
                    Some(rtt) => AppEvent::Rtt(rtt),
                    None => AppEvent::Pong(payload),
                }
            }
            Incoming::Message(_) | Incoming::Extended { .. } => {
                unreachable!("messages go another way")
            }
        };
        let outcome = net(|| self.app.on_event(&mut turn, key, event));
        self.survive(key, outcome, arena);
    }

    /// Keeps bytes that nobody can look at yet.
    pub(super) fn spill(&mut self, key: Key, bytes: &[u8], arena: &mut Arena) {
        if self.table.spill(key, bytes).is_err() {
            self.refuse(key, Refusal::Exhausted, arena);
        }
    }

    /// Stops receiving: the peer is made to wait.
    pub(super) fn pause(&mut self, key: Key) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        conn.flags.insert(Flags::PAUSED);
        self.table.ops.push((Op::Pause, key));
    }

    /// If frames are handled: whether their messages are handed on in parts.
    fn is_heard_in_parts(&self, key: Key) -> Option<bool> {
        let conn = self.table.connections.get(key)?;
        let is_heard = conn.phase.is_live() && !conn.flags.has(Flags::HELD);
        is_heard.then(|| conn.flags.has(Flags::BY_PARTS))
    }

    /// Whether frames are handled: it is live, and the application takes them.
    fn is_heard(&self, key: Key) -> bool {
        self.is_heard_in_parts(key).is_some()
    }

    /// Whether a message fails the connection.
    fn refuses(&self, key: Key) -> bool {
        let refuses =
            |conn: &Connection<_>| conn.phase == Phase::Open && conn.flags.has(Flags::REFUSING);
        self.table.connections.get(key).is_some_and(refuses)
    }

    fn is_paused(&self, key: Key) -> bool {
        self.table.connections.get(key).is_some_and(|conn| conn.flags.has(Flags::PAUSED))
    }

    /// Fails a connection whose input cannot be taken in.
    pub(super) fn refuse(&mut self, key: Key, refusal: Refusal, arena: &mut Arena) {
        if !self.is_live(key) {
            if self.is_client(key) {
                let mut turn = Turn { table: &mut self.table, arena };
                return turn.connect_failed(key, CloseCause::OutOfMemory.into());
            }
            // Only memory can have run out: what is no frame yet breaks no rule of theirs.
            let response = Response::text(503, "no memory left for this request\n");
            return self.respond(key, Asked::default(), &response, arena);
        }
        let mut turn = Turn { table: &mut self.table, arena };
        match refusal {
            Refusal::Protocol(error) => {
                turn.table.counters.protocol_errors.add(1);
                let cause = CloseCause::Failed(error);
                turn.terminate(key, cause, error.close_code(), error.section());
            }
            Refusal::Unwanted => {
                let code = CloseCode::POLICY_VIOLATION;
                turn.terminate(key, CloseCause::Refused, code, "no messages are taken");
            }
            Refusal::Exhausted => {
                let code = CloseCode::TRY_AGAIN_LATER;
                turn.terminate(key, CloseCause::OutOfMemory, code, "out of memory");
            }
        }
    }
}

/// Payloads of which at least so much is still to come are received straight into their message.
const ASK_LEN_MIN: usize = 64 * 1024;

/// What is left when messages have been handed on: so many bytes of the input, and so many frames of
/// the connection's share of the turn.
pub(super) struct Left {
    pub(super) len: usize,
    pub(super) share: usize,
}
