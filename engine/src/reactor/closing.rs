//! How connections end (RFC 6455 §7): politely, for a reason, or at once.

use super::Turn;
use crate::{
    conn::{CloseCause, Flags, Phase},
    driver::Op,
    pool::Key,
    protocol::{CloseCode, CloseFrame, ClosePayload, Opcode, masked_frame_header},
};

impl<T> Turn<'_, T> {
    /// Begins the closing handshake: what waits is sent first (RFC 6455 §7.1.2).
    pub(crate) fn close(&mut self, key: Key, code: CloseCode, reason: &str) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.phase != Phase::Open {
            return;
        }
        conn.phase = Phase::close_sent(code);
        self.table.outputs.forget_speaker();
        conn.opened_at = self.table.now;
        self.go_on(key); // to hear the answer
        self.table.review_deadline(key);
        self.farewell(key, &CloseFrame::encode_payload(Some(code), reason));
    }

    /// Completes the closing handshake, now that the peer's Close has arrived with this code. It began
    /// it, unless it found us in the phase of having done so; meanwhile the application may have answered.
    pub(super) fn peer_closed(&mut self, key: Key, found: Phase, code: Option<CloseCode>) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        let cause = match found {
            Phase::CloseSent(ours) => CloseCause::Local(CloseCode::new(u16::from_be_bytes(ours))),
            _ => CloseCause::Peer(code),
        };
        conn.flags.insert(Flags::CLEAN);
        if conn.phase == Phase::Open {
            self.farewell(key, &CloseFrame::encode_payload(code, "")); // its own code (§5.5.1)
        }
        self.end(key, cause);
    }

    /// The RFC's "fail the connection" (§7.1.7), and every other end that the peer is told of but
    /// not asked about: what waits is dropped, Close is sent, and its answer is not waited for.
    pub(crate) fn terminate(&mut self, key: Key, cause: CloseCause, code: CloseCode, reason: &str) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.phase == Phase::Open {
            if conn.output_waits()
                && let Some(outbox) = &mut conn.outbox
            {
                outbox.truncate(&mut self.table.pool);
            }
            self.farewell(key, &CloseFrame::encode_payload(Some(code), reason));
        }
        self.end(key, cause);
    }

    /// Drops the connection: no closing handshake, what waits is lost.
    pub(crate) fn abort(&mut self, key: Key, cause: CloseCause) {
        self.end(key, cause);
        self.release(key, Op::Abort);
    }

    /// The socket is done with: asks the driver to end it.
    pub(super) fn release(&mut self, key: Key, op: Op) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.phase == Phase::Dead {
            return;
        }
        let was_begun = conn.phase != Phase::Waiting;
        conn.phase = Phase::Dead;
        self.table.outputs.forget_speaker();
        if let Some(mut outbox) = conn.outbox.take() {
            outbox.release(&mut self.table.pool);
        }
        self.table.release_inbound(key);
        if was_begun {
            self.table.ops.push((op, key));
        }
    }

    /// From now on only output that is queued counts.
    pub(super) fn end(&mut self, key: Key, cause: CloseCause) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        match conn.phase {
            Phase::Open | Phase::CloseSent(_) => self.table.ended.push((key, cause)),
            Phase::Waiting | Phase::Connecting | Phase::Opening
                if conn.flags.has(Flags::CLIENT) =>
            {
                return self.connect_failed(key, cause.into());
            }
            Phase::Waiting | Phase::Connecting | Phase::Opening | Phase::Deciding => {}
            Phase::Ending | Phase::Lingering | Phase::Dead => return,
        }
        conn.phase = Phase::Ending;
        conn.opened_at = self.table.now;
        self.table.outputs.forget_speaker();
        conn.flags.remove(Flags::HELD);
        if conn.flags.has(Flags::PAUSED) {
            // What still arrives is read and thrown away, so that the peer can get to its end.
            conn.flags.remove(Flags::PAUSED);
            self.table.ops.push((Op::Resume, key));
        }
        self.table.mark_dirty(key);
        self.table.review_deadline(key);
    }

    /// Queues the last frame of a connection, behind all others: nothing may follow a Close (§5.5.1).
    fn farewell(&mut self, key: Key, payload: &ClosePayload) {
        let mask = self.mask_for(key);
        let header = masked_frame_header(Opcode::Close, payload.len(), mask);
        if self.enqueue(key, &header, payload, mask).is_err() {
            self.abort(key, CloseCause::OutOfMemory);
        }
    }
}
