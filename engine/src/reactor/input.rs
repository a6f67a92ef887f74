//! Received bytes, to frames, to callbacks: up to the connection's share of a turn.

use super::{App, AppEvent, Core, Panicked, Turn};
use crate::{
    conn::{CloseCause, Flags, Inbound, Phase, Refusal, whole_frame},
    driver::Op,
    pool::{Arena, Key},
    protocol::{CloseCode, Incoming, Opcode, handshake::Response},
};

impl<A: App> Core<A> {
    /// Bytes arrived.
    #[inline]
    pub(super) fn received(&mut self, key: Key, bytes: &mut [u8], arena: &mut Arena) {
        self.table.counters.bytes_in.add(bytes.len() as u64);
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        conn.heard_at = self.table.now;
        conn.flags.remove(Flags::PINGED);
        match conn.phase {
            Phase::Opening => self.head(key, bytes, arena),
            // What arrived before a pause took effect waits with the rest.
            Phase::Deciding => self.spill(key, bytes, arena),
            Phase::Open | Phase::CloseSent(_) if conn.flags.has(Flags::PAUSED) => {
                self.spill(key, bytes, arena);
            }
            phase @ (Phase::Open | Phase::CloseSent(_)) => {
                let inbound = conn.inbound.take();
                let left_len = self.frames(key, phase, inbound, bytes, arena);
                if left_len > 0 {
                    self.put_off(key, &bytes[bytes.len() - left_len..], arena);
                }
            }
            Phase::Ending | Phase::Lingering | Phase::Dead => {}
        }
    }

    /// Handles the first frames of a connection that has just opened.
    pub(super) fn begin(&mut self, key: Key, input: &mut [u8], arena: &mut Arena) {
        // Where its request was gathered is empty by now, and `on_open` may have closed it.
        self.table.release_inbound(key);
        let phase = self.phase_of(key);
        let left_len = self.frames(key, phase, None, input, arena);
        if left_len > 0 {
            self.put_off(key, &input[input.len() - left_len..], arena);
        }
    }

    /// The connection has had its share of the turn: the rest of its input waits for the next, and
    /// receiving with it.
    fn put_off(&mut self, key: Key, left: &[u8], arena: &mut Arena) {
        self.spill(key, left, arena);
        if self.is_live(key) {
            self.pause(key);
            self.table.unfinished.push_back(key);
        }
    }

    /// Handles the next share of the input that waits.
    pub(super) fn resume(&mut self, key: Key, arena: &mut Arena) {
        let phase = self.phase_of(key);
        if !phase.is_live() {
            return;
        }
        let mut spill = self.table.take_spill(key);
        let inbound = self.table.take_inbound(key);
        let left_len = self.frames(key, phase, inbound, spill.bytes_mut(), arena);
        if left_len > 0 {
            spill.advance(spill.bytes().len() - left_len);
            self.table.put_back_spill(key, spill);
            self.table.unfinished.push_back(key);
        } else {
            spill.clear(&mut self.table.pool);
            self.caught_up(key, arena);
        }
        self.settle(arena);
    }

    /// All input that waited has been handled.
    fn caught_up(&mut self, key: Key, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if !conn.phase.is_live() {
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

    /// Handles the frames in `input`, up to the connection's share of the turn, and returns how many
    /// bytes are left of it. `inbound` is what it has half received.
    fn frames(
        &mut self,
        key: Key,
        mut phase: Phase,
        mut inbound: Option<Box<Inbound>>,
        mut input: &mut [u8],
        arena: &mut Arena,
    ) -> usize {
        let mut frames_left = self.config.turn_frames_max;
        while frames_left > 0 && !input.is_empty() && phase.is_live() {
            let (table, limits) = (&mut self.table, &self.config.limits);
            let event = match &mut inbound {
                None => match whole_frame(&mut input, table.role, limits) {
                    Ok(Some(event)) => Ok(event),
                    Ok(None) => {
                        inbound = Some(table.lend_inbound());
                        continue;
                    }
                    Err(error) => Err(Refusal::Protocol(error)),
                },
                Some(inbound) => {
                    match inbound.poll(&mut input, table.now, limits, &mut table.pool) {
                        Ok(Some(event)) => Ok(event),
                        Ok(None) => break,
                        Err(refusal) => Err(refusal),
                    }
                }
            };
            frames_left -= 1;
            match event {
                Ok(event) => {
                    let mut turn = Turn { table, arena };
                    if incoming(&mut self.app, &mut turn, key, phase, event).is_err() {
                        self.survive(key, Err(Panicked), arena);
                    }
                }
                Err(refusal) => self.refuse(key, refusal, arena),
            }
            if inbound.as_ref().is_some_and(|inbound| inbound.is_idle()) {
                self.table.give_back_inbound(inbound.take().expect("just seen"));
            }
            phase = self.phase_of(key);
        }
        if let Some(inbound) = inbound {
            self.table.put_back_inbound(key, inbound);
            if phase.is_live()
                && let Some(timeout) = self.config.timeouts.message
            {
                self.table.deadlines.bring_forward(key.index, self.table.now.after(timeout));
            }
        }
        if phase.is_live() { input.len() } else { 0 }
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

    /// Fails a connection whose input cannot be taken in.
    fn refuse(&mut self, key: Key, refusal: Refusal, arena: &mut Arena) {
        if !self.is_live(key) {
            // Only memory can have run out: what is no frame yet breaks no rule of theirs.
            let response = Response::text(503, "no memory left for this request\n");
            return self.respond(key, &response, false, arena);
        }
        let mut turn = Turn { table: &mut self.table, arena };
        match refusal {
            Refusal::Protocol(error) => {
                turn.table.counters.protocol_errors.add(1);
                let cause = CloseCause::Failed(error);
                turn.terminate(key, cause, error.close_code(), error.section());
            }
            Refusal::Exhausted => {
                let code = CloseCode::TRY_AGAIN_LATER;
                turn.terminate(key, CloseCause::OutOfMemory, code, "server out of memory");
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
    phase: Phase,
    event: Incoming<'_>,
) -> Result<(), Panicked> {
    match event {
        Incoming::Close(frame) => turn.peer_closed(key, frame),
        // After our Close only the peer's counts (§1.4).
        _ if phase != Phase::Open => {}
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
