//! Connections that another HTTP server has upgraded: open from the beginning.

use std::{net::SocketAddr, os::fd::OwnedFd};

use super::{App, Core, Turn, net};
use crate::{
    conn::{AdoptError, Connection, Phase},
    driver::Op,
    pool::{Arena, Key},
};

impl<T> Turn<'_, T> {
    /// Takes in a connected socket. It is open when the driver has it; `read_ahead` waits until then.
    pub(crate) fn adopt(
        &mut self,
        socket: OwnedFd,
        peer: Option<SocketAddr>,
        read_ahead: &[u8],
        data: T,
    ) -> Result<Key, AdoptError> {
        let table = &mut *self.table;
        if table.leaving {
            return Err(AdoptError::Leaving);
        }
        let mut connection = Connection::adopted(table.now, data);
        if let Some(peer) = peer {
            connection.set_peer(peer);
        }
        let key = table.connections.insert(connection).ok_or(AdoptError::TableFull)?;
        if !read_ahead.is_empty() && table.spill(key, read_ahead).is_err() {
            table.release_inbound(key);
            table.connections.remove(key);
            return Err(AdoptError::OutOfMemory);
        }
        table.counters.accepted.add(1);
        table.ops.push((Op::Adopt(socket), key));
        table.deadlines.set(key.index, table.now);
        Ok(key)
    }
}

impl<A: App> Core<A> {
    /// The driver has the socket: the connection is open, and what was read ahead arrives.
    pub(super) fn adopted(&mut self, key: Key, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        conn.phase = Phase::Open;
        conn.heard_at = self.table.now;
        conn.opened_at = self.table.now;
        self.table.counters.opened.add(1);
        let mut turn = Turn { table: &mut self.table, arena };
        let outcome = net(|| self.app.on_open(&mut turn, key));
        self.survive(key, outcome, arena);
        self.schedule(key);
        let mut read_ahead = self.table.take_spill(key);
        if self.is_live(key) {
            self.begin(key, read_ahead.bytes_mut(), arena);
        }
        read_ahead.clear(&mut self.table.pool);
    }
}
