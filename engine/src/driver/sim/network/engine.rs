//! What the engine does to the sockets of the pretend network.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::{ArrivedEnd, End, Event, Id, Life, Listener, Outcome, World};
use crate::{
    driver::Payload,
    pool::{Arena, Lease},
};

impl World {
    /// Takes what fits of `payload`, or less.
    pub(in crate::driver::sim) fn engine_sends(
        &mut self,
        id: Id,
        payload: Payload,
        acknowledge: bool,
        arena: &Arena,
    ) {
        let connection = &mut self.connections[id];
        if connection.peer_end == Some(End::Reset) || connection.has_failed() {
            if let Payload::Owned { .. } = payload {
                connection.blocked = true;
                self.tell_fate(id, Outcome::Unsent(payload));
            }
            self.end_arrives(id, ArrivedEnd::Failed(Errno::PIPE));
            return;
        }
        let bytes = payload.bytes(arena);
        let room = connection.window.saturating_sub(connection.occupied);
        let mut len = bytes.len().min(room);
        if self.dice.chance(self.faults.short_send) {
            len = self.dice.up_to(len);
        }
        let is_short = len < bytes.len();
        if len > 0 {
            connection.occupied += len;
            let leaves = Event::Leaves(id, bytes[..len].to_vec());
            let at = self.departure(id);
            self.schedule(at, leaves);
            self.perhaps_break(id);
        }
        if is_short {
            self.connections[id].blocked = true;
            self.tell_fate(id, Outcome::Unsent(payload.rest(len, arena)));
            self.consider_writable(id);
        } else if acknowledge {
            self.tell_fate(id, Outcome::Sent(payload.into_lease()));
        }
    }

    /// Moves what arrived to the end of `lease`, at most `len` bytes, or fewer.
    pub(in crate::driver::sim) fn engine_receives(&mut self, id: Id, mut lease: Lease, len: usize) {
        let is_short = self.dice.chance(self.faults.short_receive);
        let connection = &mut self.connections[id];
        let mut len = len.min(connection.unreceived.len());
        if is_short {
            len = self.dice.up_to(len);
        }
        let connection = &mut self.connections[id];
        lease.bytes_mut().extend(connection.unreceived.drain(..len));
        connection.outcomes.push_back(Outcome::Filled(lease));
        self.make_ready(id);
    }

    pub(in crate::driver::sim) fn engine_shuts_down(&mut self, id: Id) {
        if !std::mem::replace(&mut self.connections[id].shut_down, true) {
            let at = self.departure(id);
            self.schedule(at, Event::EndLeaves(id));
        }
    }

    /// Turns away who has not been accepted, and who comes from now on.
    pub(in crate::driver::sim) fn close_listener(&mut self, listener: usize) {
        let closed = Listener { is_closed: true, ..Listener::default() };
        let open = std::mem::replace(self.listener(listener), closed);
        open.queue.into_iter().for_each(|id| self.refuse(id));
    }

    /// Closes the socket of an attached connection; `Closed` follows after a while.
    pub(in crate::driver::sim) fn engine_closes(&mut self, id: Id, reset: bool) {
        self.engine_lets_go(id, reset);
        let at = self.now + self.dice.time_up_to(self.faults.delay_max / 4);
        self.schedule(at, Event::Closes(id));
    }

    /// Closes the socket of a connection that was never attached.
    pub(in crate::driver::sim) fn engine_discards(&mut self, id: Id) {
        self.engine_lets_go(id, false);
        self.connections[id].life = Life::Gone;
    }

    fn engine_lets_go(&mut self, id: Id, reset: bool) {
        // As Linux does: bytes that nobody will receive turn the end of the stream into a reset.
        if reset || !self.connections[id].unreceived.is_empty() {
            let at = self.departure(id);
            self.schedule(at, Event::ResetLeaves(id));
        } else if !self.connections[id].has_failed() {
            self.engine_shuts_down(id);
        }
        let connection = &mut self.connections[id];
        connection.unreceived = VecDeque::new();
        connection.outcomes.retain(Outcome::holds_buffer);
        self.socket_count -= 1;
    }

    fn tell_fate(&mut self, id: Id, outcome: Outcome) {
        self.connections[id].outcomes.push_back(outcome);
        if !std::mem::replace(&mut self.connections[id].is_urgent, true) {
            self.urgent.push(id);
        }
        self.make_ready(id);
    }

    /// Room for more, or a refusal out of mere caprice, makes a blocked socket writable in a while.
    pub(super) fn consider_writable(&mut self, id: Id) {
        let connection = &mut self.connections[id];
        let has_room = connection.occupied < connection.window;
        if connection.blocked && has_room && !connection.writable_is_due {
            connection.writable_is_due = true;
            let at = self.now + self.dice.time_up_to(self.faults.delay_max);
            self.schedule(at, Event::MayWrite(id));
        }
    }

    pub(super) fn may_write(&mut self, id: Id) {
        let connection = &mut self.connections[id];
        connection.writable_is_due = false;
        let has_room = connection.occupied < connection.window;
        let is_alive = connection.life == Life::Attached && !connection.has_failed();
        if connection.blocked && has_room && is_alive {
            connection.blocked = false;
            connection.outcomes.push_back(Outcome::Writable);
            self.make_ready(id);
        }
    }
}
