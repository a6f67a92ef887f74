//! What the turn decided, said to the driver.

use super::{
    Accepted, App, Reactor,
    output::{Entry, Output, Outputs},
};
use crate::{
    conn::{Connection, Flags, Phase, Piece},
    driver::{Driver, Op, Payload},
    pool::Key,
};

impl<D: Driver, A: App, C> Reactor<D, A, C> {
    /// Submits one send, or the next step of its ending, for each connection on the dirty list.
    #[inline]
    pub(super) fn flush(&mut self) {
        if !self.core.accepted.is_empty() || !self.core.table.ops.is_empty() {
            self.flush_ops();
        }
        while let Some(Entry { key, output }) = self.core.table.outputs.pop() {
            let table = &mut self.core.table;
            let Some(conn) = table.connections.get_mut(key) else { continue };
            conn.dirty = 0;
            match output {
                // The common case: an answer, which leaves in silence.
                Output::Corked(stretch)
                    if conn.phase == Phase::Open && !conn.output_waits() && !stretch.is_empty() =>
                {
                    let payload = Payload::Corked(stretch.range());
                    self.driver.submit(Op::Send { payload, acknowledge: false }, key);
                }
                // A broadcast, which does so too.
                Output::Common(stretch) if conn.phase == Phase::Open && !conn.output_waits() => {
                    let payload = Payload::Common(stretch.range());
                    self.driver.submit(Op::Send { payload, acknowledge: false }, key);
                }
                output => self.flush_else(key, output),
            }
        }
        self.core.table.outputs.finish();
    }

    /// Submits what is not just an answer.
    #[inline(never)]
    fn flush_else(&mut self, key: Key, output: Output) {
        let table = &mut self.core.table;
        let Some(conn) = table.connections.get_mut(key) else { return };
        if let Some(op) = next_op(conn, output, &table.outputs) {
            self.driver.submit(op, key);
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

/// What to ask of the driver next for a connection that has something to say.
fn next_op<T>(conn: &mut Connection<T>, output: Output, outputs: &Outputs) -> Option<Op> {
    if conn.phase == Phase::Dead || conn.output_waits() {
        return None;
    }
    let (payload, queued) = match output {
        Output::Corked(stretch) if !stretch.is_empty() => (Payload::Corked(stretch.range()), false),
        Output::Common(stretch) => (Payload::Common(stretch.range()), false),
        Output::Shared(index) => (Payload::Shared(outputs.frame(index).clone()), false),
        Output::Corked(_) | Output::Nothing => {
            match conn.outbox.as_mut().and_then(|outbox| outbox.pop()) {
                Some(Piece::Owned { lease, from }) => (Payload::Owned { lease, from }, true),
                Some(Piece::Shared(frame)) => (Payload::Shared(frame), true),
                Some(Piece::Promised(_)) => unreachable!("it comes before anything is sent"),
                None => return farewell(conn),
            }
        }
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
