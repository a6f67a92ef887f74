//! Connections to servers: asked for, made, and opened (RFC 6455 §4.1).

use std::sync::Arc;

use super::{App, Core, HEADER_COUNT_MAX, Turn, net};
use crate::{
    conn::{
        Agreed, CloseCause, ConnectError, Connection, DeflateOffer, FailedResponse, Flags, Phase,
    },
    driver::{Op, Route, Target},
    pool::{Arena, Key},
    protocol::handshake::{
        AcceptKey, HeadScanner, Proposal, Reply, ReplyError, RequestKey, header_slots,
    },
};

/// Connections begun in one turn: a crowd on its way out does not keep those outside waiting, and
/// takes few descriptors at a time.
const CONNECTS_PER_TURN: usize = 64;

impl<T> Turn<'_, T> {
    /// Asks for a connection. It is begun when its turn comes.
    pub(crate) fn connect(
        &mut self,
        route: Arc<Route>,
        proposal: Arc<Proposal>,
        data: T,
    ) -> Result<Key, ConnectError> {
        let table = &mut *self.table;
        if table.leaving {
            return Err(ConnectError::Leaving);
        }
        proposal.check().map_err(ConnectError::Request)?;
        table.masking_keys.seed().map_err(ConnectError::Io)?;
        let mut connection = Connection::to_server(table.now, proposal, data);
        if let Target::Tcp(address) = route.target {
            connection.set_peer(address);
        }
        let key = table.connections.insert(connection).ok_or(ConnectError::TableFull)?;
        table.counters.connects.add(1);
        table.waiting.push_back((key, route));
        table.deadlines.set(key.index, table.now);
        Ok(key)
    }

    /// Whether it is a connection to a server that the application waits for.
    pub(super) fn is_unopened(&self, key: Key) -> bool {
        let extra = self.table.connections.get(key).and_then(|conn| conn.extra.as_ref());
        extra.is_some_and(|extra| extra.proposal.is_some())
    }

    /// The connection will not open. The application is told once, and the socket is done with.
    pub(super) fn connect_failed(&mut self, key: Key, error: ConnectError) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.take_proposal().is_some() {
            self.table.counters.connect_failures.add(1);
            self.table.unopened.push((key, error));
        }
        self.release(key, Op::Close);
    }
}

impl<A: App> Core<A> {
    /// Begins the connections whose turn has come.
    pub(super) fn begin_connecting(&mut self) {
        for _ in 0..CONNECTS_PER_TURN {
            let Some((key, route)) = self.table.waiting.pop_front() else { break };
            match self.table.connections.get_mut(key) {
                Some(conn) if conn.phase == Phase::Waiting => {
                    conn.phase = Phase::Connecting;
                    self.table.ops.push((Op::Connect(route), key));
                }
                // It ended before it began, and the driver never heard of it.
                _ => self.remove(key),
            }
        }
    }

    /// The transport is there: says what we want of the server.
    pub(super) fn connected(&mut self, key: Key, arena: &mut Arena) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.phase != Phase::Connecting {
            return;
        }
        if !conn.flags.has(Flags::CLIENT) {
            return self.adopted(key, arena);
        }
        conn.phase = Phase::Opening;
        conn.heard_at = self.table.now;
        let mut turn = Turn { table: &mut self.table, arena };
        let outcome = net(|| self.app.on_connected(&mut turn, key));
        self.survive(key, outcome, arena);
        let request_key = RequestKey::of_nonce(self.table.masking_keys.nonce());
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        let extra = conn.extra_mut();
        let Some(proposal) = &extra.proposal else { return };
        let offer = self.table.deflating.as_ref().map(|deflating| deflating.offer());
        let mut request = Vec::with_capacity(512);
        proposal
            .encode_with(
                offer.as_ref().map(DeflateOffer::text).as_ref(),
                &request_key,
                &mut request,
            )
            .expect("checked when it was asked for");
        extra.offer = offer.map(Box::new);
        extra.accept_key = Some(AcceptKey::new(&request_key));
        Turn { table: &mut self.table, arena }.send_raw(key, &request);
    }

    /// The head of the server's answer has arrived, in `bytes[..end]`. Returns whether it was dealt
    /// with, or waits for a body that has not arrived; after the `last` byte nothing is waited for.
    pub(super) fn reply(
        &mut self,
        key: Key,
        bytes: &mut [u8],
        end: usize,
        last: bool,
        arena: &mut Arena,
    ) -> bool {
        let (head, after) = bytes.split_at_mut(end);
        let mut slots = header_slots::<HEADER_COUNT_MAX>();
        let header_count_max = self.config.limits.header_count_max.min(HEADER_COUNT_MAX);
        let reply = match Reply::parse(head, &mut slots[..header_count_max]) {
            Ok(reply) => reply,
            Err(error) => {
                self.reply_failed(key, error, arena);
                return true;
            }
        };
        if reply.status() != 101 {
            let body_len_max = FailedResponse::BODY_LEN_MAX;
            let body_len = reply.body_len().unwrap_or(body_len_max).min(body_len_max);
            if after.len() < body_len && !last {
                if let Some(inbound) = self.table.inbound_mut(key) {
                    inbound.expect_request(end + body_len);
                }
                return false;
            }
            let body = &after[..body_len.min(after.len())];
            let refused = ConnectError::Refused(Box::new(FailedResponse::new(&reply, body)));
            Turn { table: &mut self.table, arena }.connect_failed(key, refused);
            return true;
        }
        let extra = self.table.connections.get_mut(key).and_then(|conn| conn.extra.as_deref());
        let Some((Some(proposal), Some(expected))) =
            extra.map(|extra| (&extra.proposal, &extra.accept_key))
        else {
            return true;
        };
        let checked = reply.check_upgrade_but_extensions(proposal, expected);
        match checked.and_then(|()| self.agreed(key, &reply)) {
            Ok(agreed) => self.opened(key, &reply, agreed, after, arena),
            Err(error) => self.reply_failed(key, error, arena),
        }
        true
    }

    /// The server's answer is none.
    pub(super) fn reply_failed(
        &mut self,
        key: Key,
        error: impl Into<ReplyError>,
        arena: &mut Arena,
    ) {
        let error = ConnectError::Failed(error.into());
        Turn { table: &mut self.table, arena }.connect_failed(key, error);
    }

    /// No more of the server's answer comes, or none in time: what there is of a refusal is told, or
    /// else `cause`.
    pub(super) fn reply_ended(&mut self, key: Key, cause: CloseCause, arena: &mut Arena) {
        let mut spill = self.table.take_spill(key);
        let limit = self.config.limits.head_len_max;
        let mut scanner = HeadScanner::for_reply();
        let head_end = scanner.find_end(spill.bytes(), limit).ok().flatten();
        if let Some(end) = head_end {
            self.reply(key, spill.bytes_mut(), end, true, arena);
        }
        spill.clear(&mut self.table.pool);
        // Unless that said all.
        Turn { table: &mut self.table, arena }.connect_failed(key, cause.into());
    }

    /// The opening handshake is done; `after` is what came behind it.
    fn opened(
        &mut self,
        key: Key,
        reply: &Reply<'_>,
        agreed: Option<Agreed>,
        after: &mut [u8],
        arena: &mut Arena,
    ) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        conn.take_proposal();
        conn.phase = Phase::Open;
        if let Some(agreed) = agreed {
            conn.begin_to_deflate(agreed);
        }
        conn.opened_at = self.table.now;
        self.table.counters.opened.add(1);
        let mut turn = Turn { table: &mut self.table, arena };
        let outcome = net(|| self.app.on_reply(&mut turn, key, reply));
        self.survive(key, outcome, arena);
        let mut turn = Turn { table: &mut self.table, arena };
        let outcome = net(|| self.app.on_open(&mut turn, key));
        self.survive(key, outcome, arena);
        self.schedule(key);
        if self.is_live(key) {
            self.begin(key, after, arena);
        }
    }

    /// Whether it is a connection to a server.
    pub(super) fn is_client(&self, key: Key) -> bool {
        self.table.connections.get(key).is_some_and(|conn| conn.flags.has(Flags::CLIENT))
    }
}
