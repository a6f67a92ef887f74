//! What is said on the connections.

use throng::{CloseCause, Conn, Connections, Message};

use super::{Core, Member};
use crate::clock::Nanos;

/// A connection of a workload.
pub(crate) type LoadConn<'a, W> = Conn<'a, Member<<W as Workload>::Data>>;
/// All connections of one of its workers.
pub(crate) type LoadConnections<'a, W> = Connections<'a, Member<<W as Workload>::Data>>;

/// What is said on the connections of one worker. Each callback has a default that does nothing.
#[allow(unused_variables)]
pub(crate) trait Workload: Sized + 'static {
    /// What it keeps for each connection.
    type Data: Default + 'static;

    /// Whether the connection with this number is measured. Of one that is not nothing is recorded, and it
    /// does not come back: what becomes of it is the workload's business.
    fn measures(&self, index: u32) -> bool {
        true
    }

    /// The load begins at `at`, with so many events a second on all workers, if it has a rate.
    fn on_load(
        &mut self,
        core: &mut Core,
        connections: &mut LoadConnections<'_, Self>,
        at: Nanos,
        rate: Option<f64>,
    ) {
    }

    /// The load ends.
    fn on_rest(&mut self, core: &mut Core, connections: &mut LoadConnections<'_, Self>) {}

    /// A connection is open.
    fn on_open(&mut self, core: &mut Core, conn: &mut LoadConn<'_, Self>) {}

    /// A message has arrived.
    fn on_message(
        &mut self,
        core: &mut Core,
        conn: &mut LoadConn<'_, Self>,
        message: Message<'_>,
        now: Nanos,
    ) {
    }

    /// A connection that was open is over.
    fn on_close(&mut self, core: &mut Core, conn: &mut LoadConn<'_, Self>, cause: CloseCause) {}

    /// Something may be due: what [`next`](Self::next) said, or a regular look.
    fn on_turn(
        &mut self,
        core: &mut Core,
        connections: &mut LoadConnections<'_, Self>,
        now: Nanos,
    ) {
    }

    /// When something is due; `None` if only a message, or an order, changes anything.
    fn next(&self) -> Option<Nanos> {
        None
    }

    /// How many messages are due by `now` and not sent.
    fn overdue_count(&self, now: Nanos) -> u64 {
        0
    }

    /// How many messages are on their way.
    fn outstanding(&self) -> u64 {
        0
    }

    /// What was measured is wanted: count what never came.
    fn on_hand_over(&mut self, core: &mut Core, connections: &mut LoadConnections<'_, Self>) {}
}
