//! The opening handshake: a request head, to the application, to its answer (RFC 6455 §4.2). What a
//! client does with the answer is in [`connecting`](super::connecting).

use std::{any::Any, mem};

use super::{Answer, App, Asked, Core, Decision, Panicked, Turn, Verdict, net};
use crate::{
    conn::{Agreed, CloseCause, Phase, head_scanner},
    pool::{Arena, Key},
    protocol::{
        CloseCode,
        handshake::{AcceptKey, Acceptance, HandshakeError, Request, Response, header_slots},
    },
};

/// The answer to a request whose answer cannot be said.
const SERVER_FAILED: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The most headers that a request can be read with, whatever the limit is set to.
pub(crate) const HEADER_COUNT_MAX: usize = 256;

impl<A: App> Core<A> {
    /// Bytes of the head of a request or an answer, or of the body behind it, arrived.
    pub(super) fn head(&mut self, key: Key, bytes: &mut [u8], arena: &mut Arena) {
        let limit = self.config.limits.head_len_max;
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.inbound.is_none() {
            match head_scanner(conn.role()).find_end(bytes, limit) {
                // The common case: the head lies whole in the received bytes.
                Ok(Some(end)) if self.head_complete(key, bytes, end, true, arena) => return,
                Ok(_) => {}
                Err(error) => return self.head_invalid(key, bytes, error, arena),
            }
        }
        self.spill(key, bytes, arena);
        let conn = self.table.connections.get_mut(key).filter(|conn| conn.phase == Phase::Opening);
        let Some(conn) = conn else { return };
        let Some(inbound) = conn.inbound.as_mut() else { return };
        // One whose body was waited for has been looked at.
        let is_new = !inbound.expects_request();
        match inbound.find_head_end(limit) {
            Ok(Some(end)) => {
                let mut spill = self.table.take_spill(key);
                if self.head_complete(key, spill.bytes_mut(), end, is_new, arena) {
                    spill.clear(&mut self.table.pool);
                } else {
                    self.table.put_back_spill(key, spill);
                }
            }
            Ok(None) => {}
            Err(error) => {
                let mut spill = self.table.take_spill(key);
                self.head_invalid(key, spill.bytes(), error, arena);
                spill.clear(&mut self.table.pool);
            }
        }
    }

    /// As [`request`](Self::request) or [`reply`](Self::reply), whichever it is.
    fn head_complete(
        &mut self,
        key: Key,
        bytes: &mut [u8],
        end: usize,
        is_new: bool,
        arena: &mut Arena,
    ) -> bool {
        match self.is_client(key) {
            true => self.reply(key, bytes, end, false, arena),
            false => self.request(key, bytes, end, is_new, arena),
        }
    }

    /// What arrives becomes no head.
    fn head_invalid(&mut self, key: Key, bytes: &[u8], error: HandshakeError, arena: &mut Arena) {
        match self.is_client(key) {
            true => self.reply_failed(key, error, arena),
            false => self.refuse_request(key, bytes, error, arena),
        }
    }

    /// Refuses a request that breaks a rule.
    #[cold]
    fn refuse_request(&mut self, key: Key, head: &[u8], error: HandshakeError, arena: &mut Arena) {
        let asked = Asked { head, error: Some(error), head_only: false };
        self.respond(key, asked, &error.response(), arena);
    }

    /// The request head has arrived, in `bytes[..end]`. Returns whether it was dealt with, or waits
    /// for a body that has not arrived.
    fn request(
        &mut self,
        key: Key,
        bytes: &mut [u8],
        end: usize,
        is_new: bool,
        arena: &mut Arena,
    ) -> bool {
        let (head, after) = bytes.split_at_mut(end);
        let limits = &self.config.limits;
        let mut slots = header_slots::<HEADER_COUNT_MAX>();
        let slots = &mut slots[..limits.header_count_max.min(HEADER_COUNT_MAX)];
        let parsed = Request::parse(head, slots).and_then(|request| {
            let body_len = request.body_len(limits.body_len_max)?;
            Ok((request, body_len))
        });
        let (request, body_len) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                self.refuse_request(key, head, error, arena);
                return true;
            }
        };
        let head_only = request.method() == "HEAD";
        let asked = Asked { head, error: None, head_only };
        if is_new {
            let looked = net(|| self.app.on_head(&request));
            if let Err(response) = looked.unwrap_or_else(|panicked| Err(self.failed(panicked))) {
                self.respond(key, asked, &response, arena);
                return true;
            }
        }
        if body_len > after.len() {
            if let Some(inbound) = self.table.inbound_mut(key) {
                inbound.expect_request(end + body_len);
            }
            return false;
        }
        let request = request.with_body(&after[..body_len]);
        let mut turn = Turn { table: &mut self.table, arena };
        let verdict = match net(|| self.app.on_request(&mut turn, key, &request)) {
            Ok(verdict) => verdict,
            Err(panicked) => Verdict::Respond(self.failed(panicked)),
        };
        match verdict {
            Verdict::Accept(accept_key, acceptance) => {
                if self.open(key, asked, &accept_key, &acceptance, arena) {
                    self.begin(key, after, arena);
                }
            }
            Verdict::Respond(response) => self.respond(key, asked, &response, arena),
            Verdict::Refuse(error) => self.refuse_request(key, head, error, arena),
            Verdict::Defer(accept_key) => {
                self.table.release_inbound(key);
                if let Some(conn) = self.table.connections.get_mut(key) {
                    conn.phase = Phase::Deciding;
                    conn.extra_mut().accept_key = Some(accept_key);
                    self.pause(key);
                }
                if !after.is_empty() {
                    self.spill(key, after, arena);
                }
            }
        }
        true
    }

    /// A deferred upgrade was decided.
    pub(super) fn decided(
        &mut self,
        key: Key,
        head: &[u8],
        verdict: Decision,
        data: Option<Box<dyn Any + Send>>,
        arena: &mut Arena,
    ) {
        let Some(conn) = self.table.connections.get_mut(key) else { return };
        if conn.phase != Phase::Deciding {
            return;
        }
        let accept_key = conn.take_accept_key().expect("kept when the upgrade was deferred");
        let replaced = data.and_then(|data| data.downcast().ok()).map(|data| {
            let data: A::Data = *data;
            mem::replace(&mut conn.data, data)
        });
        // It may panic as it is dropped.
        if net(|| drop(replaced)).is_err() {
            self.table.counters.panics.add(1);
        }
        let asked = Asked { head, ..Asked::default() };
        match verdict {
            Ok(acceptance) => {
                if self.open(key, asked, &accept_key, &acceptance, arena) {
                    self.resume(key, arena);
                }
            }
            Err(response) => self.respond(key, asked, &response, arena),
        }
    }

    /// Completes the opening handshake (RFC 6455 §4.2.2). Returns whether the connection is open.
    fn open(
        &mut self,
        key: Key,
        asked: Asked<'_>,
        accept_key: &AcceptKey,
        acceptance: &Acceptance,
        arena: &mut Arena,
    ) -> bool {
        if self.table.deflating.is_some()
            && let Some((acceptance, agreed)) = self.agree(asked.head, acceptance)
        {
            return self.open_on(key, asked, accept_key, &acceptance, Some(agreed), arena);
        }
        self.open_on(key, asked, accept_key, acceptance, None, arena)
    }

    /// The same, on these terms of compression.
    fn open_on(
        &mut self,
        key: Key,
        asked: Asked<'_>,
        accept_key: &AcceptKey,
        acceptance: &Acceptance,
        agreed: Option<Agreed>,
        arena: &mut Arena,
    ) -> bool {
        let mut answer = Vec::with_capacity(256);
        if let Err(error) = acceptance.encode(accept_key, &mut answer) {
            tracing::error!(%error, "an upgrade was accepted with something that cannot be said");
            self.respond(key, asked, &server_failed(), arena);
            return false;
        }
        let Some(conn) = self.table.connections.get_mut(key) else { return false };
        conn.phase = Phase::Open;
        conn.opened_at = self.table.now;
        if let Some(agreed) = agreed {
            conn.begin_to_deflate(agreed);
        }
        self.table.counters.opened.add(1);
        let mut turn = Turn { table: &mut self.table, arena };
        turn.send_raw(key, &answer);
        self.answered(key, asked, Answer { status: 101, bytes: &answer }, arena);
        let mut turn = Turn { table: &mut self.table, arena };
        let outcome = net(|| self.app.on_open(&mut turn, key));
        self.survive(key, outcome, arena);
        self.schedule(key);
        self.is_live(key)
    }

    /// Answers a request with plain HTTP; the connection ends when the answer has left.
    pub(super) fn respond(
        &mut self,
        key: Key,
        asked: Asked<'_>,
        response: &Response,
        arena: &mut Arena,
    ) {
        let (mut answer, mut status) = (Vec::with_capacity(256), response.status());
        let encoded = match asked.head_only {
            true => response.encode_head_only(&mut answer),
            false => response.encode(&mut answer),
        };
        if let Err(error) = encoded {
            tracing::error!(%error, "a response cannot be said");
            answer.extend_from_slice(SERVER_FAILED);
            status = 500;
        }
        self.table.counters.responded.add(1);
        let mut turn = Turn { table: &mut self.table, arena };
        turn.send_raw(key, &answer);
        self.answered(key, asked, Answer { status, bytes: &answer }, arena);
        let mut turn = Turn { table: &mut self.table, arena };
        turn.end(key, CloseCause::Local(CloseCode::NORMAL));
    }

    /// Shows the application an answer that is about to leave.
    fn answered(&mut self, key: Key, asked: Asked<'_>, answer: Answer<'_>, arena: &mut Arena) {
        let mut turn = Turn { table: &mut self.table, arena };
        if net(|| self.app.on_answered(&mut turn, key, asked, answer)).is_err() {
            self.table.counters.panics.add(1);
        }
    }

    /// The answer to a request that made a callback panic.
    #[cold]
    fn failed(&mut self, Panicked: Panicked) -> Response {
        self.table.counters.panics.add(1);
        server_failed()
    }
}

/// The answer to a request whose answer is our fault.
fn server_failed() -> Response {
    Response::text(500, "the server failed\n")
}
