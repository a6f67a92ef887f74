//! A completion, to the connection it concerns, to the application.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Accepted, App, AppEvent, Command, Core, Panicked, Turn, Verdict};
use crate::{
    conn::{CloseCause, Connection, Deadline, Due, Flags, Phase, Refusal, whole_frame},
    driver::{Completion, Op},
    pool::{Arena, Key},
    protocol::{
        CloseCode, Incoming, Opcode, ProtocolError,
        handshake::{AcceptKey, Acceptance, HeadScanner, Request, Response, header_slots},
    },
};

impl<A: App> Core<A> {
    /// Deals with one completion.
    pub(super) fn dispatch(&mut self, completion: Completion<'_>, arena: &mut Arena) {
        match completion {
            Completion::Received { token, bytes } => self.received(token, bytes, arena),
            Completion::Accepted { socket, .. } if self.leaving => {
                self.accepted.push(Accepted::Discard(socket));
            }
            Completion::Accepted { listener, socket, peer } => {
                tracing::trace!(listener, ?peer, "accepted");
                let mut connection = Connection::new(self.table.now);
                if let Some(address) = peer {
                    connection.set_peer(address);
                }
                self.table.counters.accepted.add(1);
                match self.table.connections.insert(connection) {
                    Some(key) => {
                        self.table.ops.push((Op::Attach(socket), key));
                        self.schedule(key);
                    }
                    None => self.accepted.push(Accepted::Discard(socket)),
                }
            }
            Completion::AcceptFailed { listener, error } => {
                tracing::warn!(%error, listener, "accepting failed; trying again soon");
                self.table.counters.accept_failures.add(1);
                self.accepted.push(Accepted::Failed { listener });
            }
            Completion::Sent { token, lease } => {
                if let Some(lease) = lease {
                    self.table.pool.give_back(lease);
                }
                self.sent(token, Flags::SENDING, arena);
            }
            Completion::Unsent { token, rest } => {
                Turn { table: &mut self.table, arena }.put_back(token, rest);
            }
            Completion::Writable { token } => self.sent(token, Flags::BLOCKED, arena),
            Completion::Finished { token } => self.finished(token, arena),
            Completion::Failed { token, error } => {
                let mut turn = Turn { table: &mut self.table, arena };
                turn.end(token, CloseCause::Lost(error.kind()));
                turn.release(token, Op::Close);
            }
            Completion::Closed { token } => self.remove(token),
        }
        self.settle(arena);
    }

    /// Obeys another thread.
    pub(super) fn obey(&mut self, command: Command, arena: &mut Arena) {
        let mut turn = Turn { table: &mut self.table, arena };
        match command {
            Command::Send { key, frame } => {
                turn.send_shared(key, &frame);
            }
            Command::Broadcast { frame } => {
                turn.broadcast(&frame);
            }
            Command::Close { key, code, reason } => turn.close(key, code, &reason),
            Command::Abort { key } => turn.abort(key, CloseCause::Aborted),
            Command::App(command) => self.app.on_command(&mut turn, command),
            Command::Decide { key, verdict } => self.decided(key, verdict, arena),
            Command::Drain(_) => unreachable!("the reactor keeps it to itself"),
        }
        self.settle(arena);
    }

    /// Gives a connection the next share of the input that it has left over.
    pub(super) fn resume(&mut self, key: Key, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if !conn.phase.is_live() {
            return;
        }
        let Some(mut inbound) = conn.inbound.take() else { return };
        let mut spill = std::mem::take(&mut inbound.spill);
        conn.inbound = Some(inbound);
        let left_len = self.frames(key, spill.bytes_mut(), arena);
        spill.advance(spill.bytes().len() - left_len);

        if let Some(conn) = self.table.connections.get_mut(key).filter(|c| c.phase.is_live()) {
            if left_len > 0 {
                let inbound = conn.inbound.take().unwrap_or_else(|| self.table.lend_inbound());
                let conn = self.table.connections.get_mut(key).expect("looked up just above");
                conn.inbound = Some(inbound);
                conn.inbound.as_mut().expect("put there just above").spill = spill;
                self.table.unfinished.push(key);
                self.settle(arena);
                return;
            }
            if conn.flags.has(Flags::FINISHED) {
                let mut turn = Turn { table: &mut self.table, arena };
                turn.end(key, CloseCause::Lost(std::io::ErrorKind::UnexpectedEof));
            } else if conn.flags.has(Flags::PAUSED) {
                conn.flags.remove(Flags::PAUSED);
                self.table.ops.push((Op::Resume, key));
            }
        }
        spill.clear(&mut self.table.pool);
        self.settle(arena);
    }

    /// A deadline of the connection may have come.
    pub(super) fn deadline(&mut self, key: Key, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        let due = conn.due(self.table.now, &self.config.timeouts, key.index);
        let mut turn = Turn { table: &mut self.table, arena };
        match due {
            Due::Later(_) => {}
            Due::Ping => {
                conn_of(&mut turn, key, |conn| conn.flags.insert(Flags::PINGED));
                turn.control(key, Opcode::Ping, &[]);
            }
            Due::Timer => {
                conn_of(&mut turn, key, |conn| conn.extra_mut().timer_at = None);
                let outcome = self.app.on_event(&mut turn, key, AppEvent::Timer);
                self.survive(key, outcome, arena);
            }
            Due::Expired(deadline) => {
                turn.table.counters.timeouts.add(1);
                let cause = CloseCause::TimedOut(deadline);
                match deadline {
                    Deadline::Handshake => {
                        let response = Response::text(408, "the request did not arrive in time\n");
                        self.respond(key, &response, false, arena);
                    }
                    Deadline::Message => {
                        let code = CloseCode::POLICY_VIOLATION;
                        turn.terminate(key, cause, code, "message took too long");
                    }
                    Deadline::Idle => {
                        turn.terminate(key, cause, CloseCode::GOING_AWAY, "nothing heard");
                    }
                    Deadline::Lifetime => {
                        turn.terminate(key, cause, CloseCode::GOING_AWAY, "connection too old");
                    }
                    Deadline::Close => turn.abort(key, cause),
                }
            }
        }
        self.schedule(key);
        self.settle(arena);
    }

    /// Notes when to look at the connection next.
    pub(super) fn schedule(&mut self, key: Key) {
        let Some(conn) = self.table.connections.get(key) else { return };
        let at = match conn.due(self.table.now, &self.config.timeouts, key.index) {
            Due::Later(at) => at,
            _ => self.table.now,
        };
        self.table.deadlines.set(key.index, at);
    }

    /// Bytes arrived.
    #[inline]
    fn received(&mut self, key: Key, bytes: &mut [u8], arena: &mut Arena) {
        let now = self.table.now;
        self.table.counters.bytes_in.add(bytes.len() as u64);
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        conn.heard_at = now;
        match conn.phase {
            Phase::Open | Phase::CloseSent(_) if !conn.flags.has(Flags::PAUSED) => {
                conn.flags.remove(Flags::PINGED);
                let left_len = self.frames(key, bytes, arena);
                if left_len > 0 {
                    let left = bytes.len() - left_len;
                    self.put_off(key, &bytes[left..], arena);
                }
            }
            Phase::Opening => self.head(key, bytes, arena),
            // What arrived before a pause took effect waits with the rest.
            Phase::Open | Phase::CloseSent(_) | Phase::Deciding => self.spill(key, bytes, arena),
            Phase::Ending | Phase::Lingering | Phase::Dead => {}
        }
    }

    /// Handles the frames in `input`, up to the connection's share of the turn, and returns how many
    /// bytes are left of it.
    fn frames(&mut self, key: Key, input: &mut [u8], arena: &mut Arena) -> usize {
        let Some(conn) = self.table.connections.get_mut(key) else { return 0 };
        let mut inbound = conn.inbound.take();
        let mut input = input;
        let mut frames_left = self.config.turn_frames_max;
        let outcome = loop {
            if frames_left == 0 || input.is_empty() {
                break Ok(());
            }
            frames_left -= 1;
            let table = &mut self.table;
            let event = match &mut inbound {
                Some(inbound) => {
                    let limits = &self.config.limits;
                    match inbound.poll(&mut input, table.now, limits, &mut table.pool) {
                        Ok(Some(event)) => event,
                        Ok(None) => break Ok(()),
                        Err(refusal) => break Err(refusal),
                    }
                }
                None => match whole_frame(&mut input, table.role, &self.config.limits) {
                    Ok(Some(event)) => event,
                    Ok(None) => {
                        inbound = Some(table.lend_inbound());
                        continue;
                    }
                    Err(error) => break Err(Refusal::Protocol(error)),
                },
            };
            let mut turn = Turn { table, arena };
            let outcome = incoming(&mut self.app, &mut turn, key, event);
            if inbound.as_ref().is_some_and(|inbound| inbound.is_idle()) {
                self.table.give_back_inbound(inbound.take().expect("just seen"));
            }
            if outcome.is_err() {
                self.survive(key, outcome, arena);
            }
            let conn = self.table.connections.get(key);
            if !conn.is_some_and(|conn| conn.phase.is_live()) {
                break Ok(());
            }
        };
        if let Err(refusal) = outcome {
            self.refuse(key, refusal, arena);
        }
        let conn = self.table.connections.get_mut(key).filter(|conn| conn.phase.is_live());
        match (conn, inbound) {
            (Some(conn), Some(inbound)) => {
                let message_timeout = self.config.timeouts.message;
                conn.inbound = Some(inbound);
                if let Some(timeout) = message_timeout {
                    self.table.deadlines.bring_forward(key.index, self.table.now.after(timeout));
                }
                input.len()
            }
            (Some(_), None) => input.len(),
            (None, Some(inbound)) => {
                self.table.give_back_inbound(inbound);
                0
            }
            (None, None) => 0,
        }
    }

    /// The connection has had its share of the turn: the rest of its input waits for the next.
    fn put_off(&mut self, key: Key, left: &[u8], arena: &mut Arena) {
        self.spill(key, left, arena);
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.phase.is_live() {
            conn.flags.insert(Flags::PAUSED);
            self.table.ops.push((Op::Pause, key));
            self.table.unfinished.push(key);
        }
    }

    /// Keeps bytes that nobody can look at yet.
    fn spill(&mut self, key: Key, bytes: &[u8], arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        let mut inbound = match conn.inbound.take() {
            Some(inbound) => inbound,
            None => self.table.lend_inbound(),
        };
        let spilled = inbound.spill.push(bytes, &mut self.table.pool);
        match self.table.connections.get_mut(key) {
            Some(conn) => conn.inbound = Some(inbound),
            None => self.table.give_back_inbound(inbound),
        }
        if spilled.is_err() {
            self.refuse(key, Refusal::Exhausted, arena);
        }
    }

    /// Bytes of the request head arrived.
    fn head(&mut self, key: Key, bytes: &mut [u8], arena: &mut Arena) {
        let limit = self.config.limits.head_len_max;
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.inbound.is_none() {
            match HeadScanner::default().find_end(bytes, limit) {
                // The common case: the head lies whole in the received bytes.
                Ok(Some(end)) if self.request(key, bytes, end, arena) => return,
                Ok(_) => {}
                Err(error) => return self.respond(key, &error.response(), false, arena),
            }
        }
        self.spill(key, bytes, arena);
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        let Some(mut inbound) = conn.inbound.take() else { return };
        let end = inbound.scanner.find_end(inbound.spill.bytes(), limit);
        let mut spill = std::mem::take(&mut inbound.spill);
        conn.inbound = Some(inbound);
        let handled = match end {
            Ok(Some(end)) => self.request(key, spill.bytes_mut(), end, arena),
            Ok(None) => false,
            Err(error) => {
                self.respond(key, &error.response(), false, arena);
                true
            }
        };
        match self.table.connections.get_mut(key).and_then(|conn| conn.inbound.as_mut()) {
            Some(inbound) if !handled => inbound.spill = spill,
            _ => spill.clear(&mut self.table.pool),
        }
    }

    /// The request head has arrived, in `bytes[..end]`. Returns whether it was dealt with, or waits
    /// for a body that has not arrived.
    fn request(&mut self, key: Key, bytes: &mut [u8], end: usize, arena: &mut Arena) -> bool {
        let (head, after) = bytes.split_at_mut(end);
        let limits = &self.config.limits;
        let mut slots = header_slots::<HEADER_COUNT_MAX>();
        let slots = &mut slots[..limits.header_count_max.min(HEADER_COUNT_MAX)];
        let parsed = Request::parse(head, slots).and_then(|request| {
            let body_len = request.body_len(limits.body_len_max)?;
            Ok((request, body_len))
        });
        let (request, body_len) = match parsed {
            Ok((_, body_len)) if body_len > after.len() => return false,
            Ok(parsed) => parsed,
            Err(error) => {
                self.respond(key, &error.response(), false, arena);
                return true;
            }
        };
        let head_only = request.method() == "HEAD";
        let request = request.with_body(&after[..body_len]);
        let mut turn = Turn { table: &mut self.table, arena };
        let verdict = match self.app.on_request(&mut turn, key, &request) {
            Ok(verdict) => verdict,
            Err(Panicked) => {
                self.table.counters.panics.add(1);
                Verdict::Respond(Response::text(500, "the server failed\n"))
            }
        };
        match verdict {
            Verdict::Accept(accept_key, acceptance) => {
                if self.open(key, &accept_key, &acceptance, arena) {
                    let left_len = self.frames(key, after, arena);
                    if left_len > 0 {
                        let left = after.len() - left_len;
                        self.put_off(key, &after[left..], arena);
                    }
                }
            }
            Verdict::Respond(response) => self.respond(key, &response, head_only, arena),
            Verdict::Defer(accept_key) => {
                if let Some(conn) = self.table.connections.get_mut(key) {
                    conn.phase = Phase::Deciding;
                    conn.extra_mut().accept_key = Some(accept_key);
                    conn.flags.insert(Flags::PAUSED);
                    self.table.ops.push((Op::Pause, key));
                }
                if let Some(conn) = self.table.connections.get_mut(key)
                    && let Some(inbound) = conn.inbound.take()
                {
                    self.table.give_back_inbound(inbound);
                }
                if !after.is_empty() {
                    self.spill(key, after, arena);
                }
            }
        }
        true
    }

    /// A deferred upgrade was decided.
    fn decided(&mut self, key: Key, verdict: super::Decision, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.phase != Phase::Deciding {
            return;
        }
        match verdict {
            Ok(acceptance) => {
                let accept_key = conn.extra_mut().accept_key.take();
                let accept_key = accept_key.expect("kept when the upgrade was deferred");
                if self.open(key, &accept_key, &acceptance, arena) {
                    self.resume(key, arena);
                    let conn = self.table.connections.get_mut(key);
                    if let Some(conn) = conn.filter(|conn| {
                        conn.phase.is_live()
                            && conn.inbound.is_none()
                            && conn.flags.has(Flags::PAUSED)
                    }) {
                        conn.flags.remove(Flags::PAUSED);
                        self.table.ops.push((Op::Resume, key));
                    }
                }
            }
            Err(response) => self.respond(key, &response, false, arena),
        }
    }

    /// Completes the opening handshake (RFC 6455 §4.2.2). Returns whether the connection is open.
    fn open(
        &mut self,
        key: Key,
        accept_key: &AcceptKey,
        acceptance: &Acceptance,
        arena: &mut Arena,
    ) -> bool {
        let mut answer = Vec::with_capacity(256);
        if let Err(error) = acceptance.encode(accept_key, &mut answer) {
            tracing::error!(%error, "an upgrade was accepted with something that cannot be said");
            let response = Response::text(500, "the server failed\n");
            self.respond(key, &response, false, arena);
            return false;
        }
        let Some(conn) = self.table.connections.get_mut(key) else { return false };
        if conn.phase == Phase::Opening
            && let Some(inbound) = conn.inbound.take()
        {
            self.table.give_back_inbound(inbound);
        }
        let now = self.table.now;
        let Some(conn) = self.table.connections.get_mut(key) else { return false };
        conn.phase = Phase::Open;
        conn.opened_at = now;
        self.table.counters.opened.add(1);
        let mut turn = Turn { table: &mut self.table, arena };
        turn.send_raw(key, &answer);
        let outcome = self.app.on_open(&mut turn, key);
        self.survive(key, outcome, arena);
        self.schedule(key);
        self.table.connections.get(key).is_some_and(|conn| conn.phase.is_live())
    }

    /// Answers a request with plain HTTP; the connection ends when the answer has left.
    fn respond(&mut self, key: Key, response: &Response, head_only: bool, arena: &mut Arena) {
        let mut answer = Vec::with_capacity(256);
        let encoded = match head_only {
            true => response.encode_head_only(&mut answer),
            false => response.encode(&mut answer),
        };
        if let Err(error) = encoded {
            tracing::error!(%error, "a response cannot be said");
            answer.extend_from_slice(SERVER_FAILED);
        }
        self.table.counters.responded.add(1);
        let mut turn = Turn { table: &mut self.table, arena };
        turn.send_raw(key, &answer);
        turn.end(key, CloseCause::Local(CloseCode::NORMAL));
    }

    /// The socket took output (a send that was acknowledged, or room for one that was not).
    fn sent(&mut self, key: Key, flag: Flags, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        conn.flags.remove(flag);
        if conn.outbox.as_ref().is_some_and(|outbox| outbox.is_empty()) {
            conn.outbox = None;
        }
        let drained = conn.outbox.is_none() && conn.flags.has(Flags::HIGH_WATER);
        let open = conn.phase == Phase::Open;
        if drained {
            conn.flags.remove(Flags::HIGH_WATER);
        }
        self.table.mark_dirty(key);
        if drained && open {
            let mut turn = Turn { table: &mut self.table, arena };
            let outcome = self.app.on_event(&mut turn, key, AppEvent::Drain);
            self.survive(key, outcome, arena);
        }
    }

    /// The peer will send no more.
    fn finished(&mut self, key: Key, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        conn.flags.insert(Flags::FINISHED);
        let (phase, paused) = (conn.phase, conn.flags.has(Flags::PAUSED));
        let mut turn = Turn { table: &mut self.table, arena };
        match phase {
            Phase::Opening | Phase::Deciding | Phase::Lingering => turn.release(key, Op::Close),
            // Input waits for its share of a turn, and came before the end: `resume` gets to it.
            Phase::Open | Phase::CloseSent(_) if paused => {}
            // Without a closing handshake this is abnormal (§7.1.5), but a peer that stopped
            // sending may still read what is owed to it.
            Phase::Open | Phase::CloseSent(_) => {
                turn.end(key, CloseCause::Lost(std::io::ErrorKind::UnexpectedEof));
            }
            Phase::Ending | Phase::Dead => {}
        }
    }

    /// The driver let go of the socket: the place is vacant.
    fn remove(&mut self, key: Key) {
        let Some(mut connection) = self.table.connections.remove(key) else { return };
        if let Some(mut outbox) = connection.outbox.take() {
            outbox.release(&mut self.table.pool);
        }
        if let Some(inbound) = connection.inbound.take() {
            self.table.give_back_inbound(inbound);
        }
        // The application's data may panic as it is dropped; that is nobody else's concern.
        if catch_unwind(AssertUnwindSafe(|| drop(connection))).is_err() {
            self.table.counters.panics.add(1);
        }
    }

    /// Fails a connection whose input cannot be taken in.
    fn refuse(&mut self, key: Key, refusal: Refusal, arena: &mut Arena) {
        let mut turn = Turn { table: &mut self.table, arena };
        match refusal {
            Refusal::Protocol(error) => {
                turn.table.counters.protocol_errors.add(1);
                let cause = CloseCause::Failed(error);
                turn.terminate(key, cause, error.close_code(), reason(error));
            }
            Refusal::Exhausted => {
                let code = CloseCode::TRY_AGAIN_LATER;
                turn.terminate(key, CloseCause::OutOfMemory, code, "server out of memory");
            }
        }
    }

    /// A callback that panicked costs its own connection, and nobody else's.
    fn survive(&mut self, key: Key, outcome: Result<(), Panicked>, arena: &mut Arena) {
        if outcome.is_err() {
            self.table.counters.panics.add(1);
            let mut turn = Turn { table: &mut self.table, arena };
            turn.terminate(key, CloseCause::Panicked, CloseCode::INTERNAL_ERROR, "internal error");
        }
    }

    /// Tells the application of connections that ended meanwhile: callbacks never run inside one
    /// another.
    pub(super) fn settle(&mut self, arena: &mut Arena) {
        while let Some((key, cause)) = self.table.ended.pop() {
            self.table.counters.closed.add(1);
            let mut turn = Turn { table: &mut self.table, arena };
            if self.app.on_close(&mut turn, key, cause).is_err() {
                self.table.counters.panics.add(1);
            }
        }
    }
}

/// Hands one event to the application, and does what the protocol asks for by itself.
#[inline]
fn incoming<A: App>(
    app: &mut A,
    turn: &mut Turn<'_, A::Data>,
    key: Key,
    event: Incoming<'_>,
) -> Result<(), Panicked> {
    // After our Close only the peer's counts (§1.4).
    let open = turn.table.connections.get(key).is_some_and(|conn| conn.phase == Phase::Open);
    match event {
        Incoming::Close(frame) => turn.peer_closed(key, frame),
        _ if !open => {}
        Incoming::Text(text) => {
            turn.table.counters.messages_in.add(1);
            return app.on_event(turn, key, AppEvent::Text(text));
        }
        Incoming::Binary(bytes) => {
            turn.table.counters.messages_in.add(1);
            return app.on_event(turn, key, AppEvent::Binary(bytes));
        }
        Incoming::Ping(payload) => {
            turn.control(key, Opcode::Pong, payload);
            return app.on_event(turn, key, AppEvent::Ping(payload));
        }
        Incoming::Pong(payload) => return app.on_event(turn, key, AppEvent::Pong(payload)),
        Incoming::Extended { .. } => unreachable!("no extension was negotiated"),
    }
    Ok(())
}

fn conn_of<T>(turn: &mut Turn<'_, T>, key: Key, change: impl FnOnce(&mut Connection<T>)) {
    if let Some(conn) = turn.table.connections.get_mut(key) {
        change(conn);
    }
}

/// The answer to a request whose answer cannot be said.
const SERVER_FAILED: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The most headers that a request can be read with, whatever the limit is set to.
pub(crate) const HEADER_COUNT_MAX: usize = 256;

/// What a peer that broke the protocol is told.
fn reason(error: ProtocolError) -> &'static str {
    error.section()
}
