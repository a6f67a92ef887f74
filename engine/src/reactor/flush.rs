//! What the turn decided, said to the driver.

use super::{
    Accepted, App, Reactor,
    table::{Dirty, NOBODY, Output},
};
use crate::{
    conn::{Connection, Flags, Phase, Piece},
    driver::{Driver, Op, Payload},
};

impl<D: Driver, A: App, C> Reactor<D, A, C> {
    /// Submits one send, or the next step of its ending, for each connection on the dirty list.
    pub(super) fn flush(&mut self) {
        if !self.core.accepted.is_empty() || !self.core.table.ops.is_empty() {
            self.flush_ops();
        }
        let table = &mut self.core.table;
        table.speaker = NOBODY;
        while let Some(Dirty { key, output }) = table.dirty.pop() {
            let Some(conn) = table.connections.get_mut(key) else { continue };
            conn.dirty = 0;
            if let Some(op) = next_op(conn, output) {
                self.driver.submit(op, key);
            }
        }
        if table.dirty.capacity() > DIRTY_KEPT_MAX {
            table.dirty.shrink_to(DIRTY_KEPT_MAX);
        }
    }

    /// What is not a send: rare, compared with those.
    fn flush_ops(&mut self) {
        let table = &mut self.core.table;
        for accepted in self.core.accepted.drain(..) {
            match accepted {
                Accepted::Discard(socket) => self.driver.discard(socket),
                Accepted::Failed { listener } => {
                    let until = table.now.after(super::ACCEPT_PAUSE);
                    self.listeners.paused.push((listener, until));
                }
            }
        }
        for (op, key) in table.ops.drain(..) {
            self.driver.submit(op, key);
        }
    }
}

/// Entries of the dirty list that are kept for reuse: a broadcast to a million leaves nothing behind.
const DIRTY_KEPT_MAX: usize = 16 * 1024;

/// What to ask of the driver next for a connection that has something to say.
fn next_op<T>(conn: &mut Connection<T>, output: Output) -> Option<Op> {
    if conn.phase == Phase::Dead || conn.output_waits() {
        return None;
    }
    let (payload, queued) = match output {
        Output::Corked(range) => (Payload::Corked(range), false),
        Output::Shared(frame) => (Payload::Shared(frame), false),
        Output::Nothing => match conn.outbox.as_mut().and_then(|outbox| outbox.pop()) {
            Some(Piece::Owned { lease, from }) => (Payload::Owned { lease, from }, true),
            Some(Piece::Shared(frame)) => (Payload::Shared(frame), true),
            None => return farewell(conn),
        },
    };
    // Silence means that all of it left. We ask to be told where something waits for that: the next
    // piece of the queue, or the end of the connection.
    let acknowledge = queued || conn.phase == Phase::Ending;
    if acknowledge {
        conn.flags.insert(Flags::SENDING);
    }
    Some(Op::Send { payload, acknowledge })
}

/// All output has left: takes the next step of a connection that ends.
fn farewell<T>(conn: &mut Connection<T>) -> Option<Op> {
    if conn.phase != Phase::Ending {
        return None;
    }
    if conn.flags.has(Flags::CLEAN) || conn.flags.has(Flags::FINISHED) {
        conn.phase = Phase::Dead;
        return Some(Op::Close);
    }
    conn.phase = Phase::Lingering;
    Some(Op::Shutdown)
}
