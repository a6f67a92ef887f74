//! A completion, to the connection it concerns, to the application.

use super::{Accepted, App, AppEvent, Asked, Command, Core, Panicked, Turn, net};
use crate::{
    conn::{CloseCause, ConnectError, Connection, Deadline, Due, Flags, Phase},
    driver::{Completion, Op},
    pool::{Arena, Key},
    protocol::{CloseCode, Opcode, Role, Rsv, handshake::Response},
};

impl<A: App> Core<A> {
    /// Deals with one completion.
    pub(super) fn dispatch(&mut self, completion: Completion<'_>, arena: &mut Arena) {
        match completion {
            Completion::Received { token, bytes } => self.received(token, bytes, arena),
            Completion::Accepted { socket, .. } if self.table.leaving => {
                self.accepted.push(Accepted::Discard(socket));
            }
            Completion::Accepted { listener, socket, peer } => {
                tracing::trace!(listener, ?peer, "accepted");
                self.table.counters.accepted.add(1);
                let now = self.table.now;
                // Making the application's data is its own affair, and may panic.
                let Ok(mut connection) = net(|| Connection::new(now)) else {
                    self.table.counters.panics.add(1);
                    return self.accepted.push(Accepted::Discard(socket));
                };
                if let Some(address) = peer {
                    connection.set_peer(address);
                }
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
                if self.phase_of(token) == Phase::Connecting && !self.is_client(token) {
                    tracing::error!(%error, "the driver cannot take an adopted connection");
                    self.table.counters.accept_failures.add(1);
                }
                let mut turn = Turn { table: &mut self.table, arena };
                match turn.is_unopened(token) {
                    true => turn.connect_failed(token, ConnectError::Io(error)),
                    false => turn.end(token, CloseCause::Lost(error.kind())),
                }
                turn.release(token, Op::Close);
            }
            Completion::Closed { token } => self.remove(token),
            Completion::Connected { token } => self.connected(token, arena),
            Completion::Readable { token } => self.readable(token),
            Completion::Filled { token, lease } => self.filled(token, lease, arena),
        }
        self.settle(arena);
    }

    /// Obeys another thread.
    pub(super) fn obey(&mut self, command: Command, arena: &mut Arena) {
        let mut turn = Turn { table: &mut self.table, arena };
        match command {
            Command::Send { key, message } => {
                turn.send_prepared(key, &message);
            }
            Command::Broadcast { message } => {
                turn.broadcast(&message);
            }
            Command::Close { key, code, reason } => turn.close(key, code, &reason),
            Command::Abort { key } => turn.abort(key, CloseCause::Aborted),
            Command::App(command) => {
                if net(|| self.app.on_command(&mut turn, command)).is_err() {
                    tracing::error!("a command panicked");
                    self.table.counters.panics.add(1);
                }
            }
            Command::Connect { route, proposal } => {
                let begun = net(A::Data::default).map(|data| turn.connect(route, proposal, data));
                match begun {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::error!(%error, "cannot begin to connect"),
                    Err(_) => self.table.counters.panics.add(1),
                }
            }
            Command::Adopt { socket, peer, read_ahead } => {
                let begun =
                    net(A::Data::default).map(|data| turn.adopt(socket, peer, &read_ahead, data));
                match begun {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::error!(%error, "cannot adopt a connection"),
                    Err(_) => self.table.counters.panics.add(1),
                }
            }
            Command::Decide { key, head, verdict, data } => {
                self.decided(key, &head, verdict, data, arena);
            }
        }
        self.settle(arena);
    }

    /// A deadline of the connection may have come.
    pub(super) fn deadline(&mut self, key: Key, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        let due = conn.due(self.table.now, &self.config.timeouts, key.index);
        let phase = conn.phase;
        let is_client = self.is_client(key);
        let mut turn = Turn { table: &mut self.table, arena };
        match due {
            Due::Later(_) => {}
            Due::Ping => {
                conn_of(&mut turn, key, |conn| conn.flags.insert(Flags::PINGED));
                turn.control(key, Opcode::Ping, &[]);
            }
            Due::Timer => {
                conn_of(&mut turn, key, Connection::take_timer);
                let outcome = net(|| self.app.on_event(&mut turn, key, AppEvent::Timer));
                self.survive(key, outcome, arena);
            }
            Due::Expired(deadline) => {
                turn.table.counters.timeouts.add(1);
                let cause = CloseCause::TimedOut(deadline);
                match deadline {
                    Deadline::Handshake if is_client => {
                        self.reply_ended(key, cause, arena);
                    }
                    Deadline::Handshake if phase == Phase::Connecting => turn.abort(key, cause),
                    Deadline::Handshake => {
                        let response = match phase {
                            Phase::Deciding => Response::text(504, "nobody decided in time\n"),
                            _ => Response::text(408, "the request did not arrive in time\n"),
                        };
                        let mut spill = self.table.take_spill(key);
                        let asked = Asked { head: spill.bytes(), ..Asked::default() };
                        self.respond(key, asked, &response, arena);
                        spill.clear(&mut self.table.pool);
                    }
                    Deadline::Message => {
                        let code = CloseCode::POLICY_VIOLATION;
                        turn.terminate(key, cause, code, "message took too long");
                    }
                    Deadline::Idle | Deadline::Pong => {
                        turn.terminate(key, cause, CloseCode::GOING_AWAY, "nothing heard");
                    }
                    Deadline::Send => {
                        turn.terminate(key, cause, CloseCode::GOING_AWAY, "nothing taken");
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

    /// The socket took output (a send that was acknowledged, or room for one that was not).
    fn sent(&mut self, key: Key, flag: Flags, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        conn.flags.remove(flag);
        if flag == Flags::BLOCKED {
            // Room in the socket means that the peer acknowledged: a slow reader is not a dead one.
            conn.heard_at = self.table.now;
        }
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
            let outcome = net(|| self.app.on_event(&mut turn, key, AppEvent::Drain));
            self.survive(key, outcome, arena);
        }
    }

    /// The peer will send no more.
    fn finished(&mut self, key: Key, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        conn.flags.insert(Flags::FINISHED);
        let (phase, paused) = (conn.phase, conn.flags.has(Flags::PAUSED));
        if phase == Phase::Opening && self.is_client(key) {
            let cause = CloseCause::Lost(std::io::ErrorKind::UnexpectedEof);
            return self.reply_ended(key, cause, arena);
        }
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
            Phase::Waiting | Phase::Connecting | Phase::Ending | Phase::Dead => {}
        }
    }

    /// The driver let go of the socket: the place is vacant.
    pub(super) fn remove(&mut self, key: Key) {
        let Some(mut connection) = self.table.connections.remove(key) else { return };
        if let Some(mut outbox) = connection.outbox.take() {
            outbox.release(&mut self.table.pool);
        }
        if let Some(inbound) = connection.inbound.take() {
            self.table.give_back_inbound(inbound);
        }
        // The application's data may panic as it is dropped; that is nobody else's concern.
        if net(|| drop(connection)).is_err() {
            self.table.counters.panics.add(1);
        }
    }

    /// The reactor begins.
    pub(super) fn start(&mut self, arena: &mut Arena) {
        let mut turn = Turn { table: &mut self.table, arena };
        let outcome = net(|| self.app.on_start(&mut turn));
        self.survive_alone(outcome, arena);
    }

    /// The instant that the application asked for has come.
    pub(super) fn wake(&mut self, arena: &mut Arena) {
        self.table.wake_at = None;
        let mut turn = Turn { table: &mut self.table, arena };
        let outcome = net(|| self.app.on_wake(&mut turn));
        self.survive_alone(outcome, arena);
    }

    /// A callback that is about no connection costs none.
    fn survive_alone(&mut self, outcome: Result<(), Panicked>, arena: &mut Arena) {
        if outcome.is_err() {
            self.table.counters.panics.add(1);
        }
        self.settle(arena);
    }

    /// A callback that panicked costs its own connection, and nobody else's.
    pub(super) fn survive(&mut self, key: Key, outcome: Result<(), Panicked>, arena: &mut Arena) {
        if outcome.is_err() {
            self.table.counters.panics.add(1);
            let mut turn = Turn { table: &mut self.table, arena };
            turn.terminate(key, CloseCause::Panicked, CloseCode::INTERNAL_ERROR, "internal error");
        }
    }

    /// Where in its life the connection is.
    #[inline]
    pub(super) fn phase_of(&self, key: Key) -> Phase {
        self.table.connections.get(key).map_or(Phase::Dead, |conn| conn.phase)
    }

    /// Which end of the connection we are, and which reserved bits may come to it.
    pub(super) fn receiver_of(&self, key: Key) -> (Role, Rsv) {
        let conn = self.table.connections.get(key);
        conn.map_or((Role::Server, Rsv::NONE), |conn| (conn.role(), conn.allowed_rsv()))
    }

    /// Whether the application holds the connection for open, or nearly so.
    pub(super) fn is_live(&self, key: Key) -> bool {
        self.phase_of(key).is_live()
    }

    /// Tells the application of connections that ended meanwhile: callbacks never run inside one
    /// another.
    #[inline]
    pub(super) fn settle(&mut self, arena: &mut Arena) {
        while let Some((key, cause)) = self.table.ended.pop() {
            self.table.counters.closed.add(1);
            let mut turn = Turn { table: &mut self.table, arena };
            if net(|| self.app.on_close(&mut turn, key, cause)).is_err() {
                self.table.counters.panics.add(1);
            }
        }
        while let Some((key, error)) = self.table.unopened.pop() {
            let mut turn = Turn { table: &mut self.table, arena };
            if net(|| self.app.on_connect_failed(&mut turn, key, error)).is_err() {
                self.table.counters.panics.add(1);
            }
        }
    }
}

fn conn_of<T>(turn: &mut Turn<'_, T>, key: Key, change: impl FnOnce(&mut Connection<T>)) {
    if let Some(conn) = turn.table.connections.get_mut(key) {
        change(conn);
    }
}
