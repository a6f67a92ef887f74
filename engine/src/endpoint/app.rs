//! A handler, as the reactor sees it.

use std::{any::Any, sync::Arc};

use super::{
    Answered, Conn, ConnId, Connections, Handler, Remote, Request,
    request::{Decision, not_offered},
};
use crate::{
    conn::{CloseCause, ConnectError},
    pool::Key,
    protocol::{
        Message, Part,
        handshake::{self, OriginPolicy, Reply, Response},
    },
    reactor::{Answer, App, AppEvent, Asked, Turn, Verdict},
};

/// One reactor's handler, with what its callbacks need.
pub(crate) struct Application<H> {
    handler: H,
    remote: Remote,
    origin: Arc<OriginPolicy>,
}

impl<H: Handler> Application<H> {
    pub(crate) fn new(handler: H, remote: Remote, origin: Arc<OriginPolicy>) -> Self {
        Self { handler, remote, origin }
    }

    /// Runs a callback on a connection.
    #[inline]
    fn call<R>(
        &mut self,
        turn: &mut Turn<'_, H::Data>,
        key: Key,
        callback: impl FnOnce(&mut H, &mut Conn<'_, H::Data>) -> R,
    ) -> R {
        let turn = Turn { table: &mut *turn.table, arena: &mut *turn.arena };
        let mut conn = Conn::new(Connections::new(turn, &self.remote), key);
        callback(&mut self.handler, &mut conn)
    }
}

impl<H: Handler> App for Application<H> {
    type Data = H::Data;

    #[inline]
    fn on_head(&mut self, request: &handshake::Request<'_>) -> Result<(), Response> {
        self.handler.on_request_line(&request.line())?;
        if let Some(host) = request.host() {
            self.handler.on_host(host)?;
        }
        request.headers().try_for_each(|(name, value)| self.handler.on_header(name, value))
    }

    fn on_request(
        &mut self,
        turn: &mut Turn<'_, H::Data>,
        key: Key,
        request: &handshake::Request<'_>,
    ) -> Verdict {
        let peer_addr = turn.table.connections.get(key).and_then(|conn| conn.peer_address());
        let id = ConnId::new(self.remote.reactor(), key);
        let asked = Request::new(request, peer_addr, id, &self.remote);
        if !request.is_upgrade() {
            return Verdict::Respond(self.handler.on_http(&asked));
        }
        let accept_key = match request.check_upgrade() {
            Ok(accept_key) => accept_key,
            Err(error) => return Verdict::Refuse(error),
        };
        if let Err(error) = self.origin.check(request) {
            return Verdict::Refuse(error);
        }
        let upgrade = self.handler.on_upgrade(&asked);
        if let Some(data) = upgrade.data
            && let Some(conn) = turn.table.connections.get_mut(key)
        {
            conn.data = data;
        }
        match upgrade.decision {
            Decision::Accept(acceptance) => match acceptance.check_offered(request) {
                Ok(()) => Verdict::Accept(accept_key, acceptance),
                Err(error) => Verdict::Respond(not_offered(&error)),
            },
            Decision::Refuse(response) => Verdict::Respond(response),
            Decision::Defer => Verdict::Defer(accept_key),
        }
    }

    #[inline]
    fn on_answered(
        &mut self,
        turn: &mut Turn<'_, H::Data>,
        key: Key,
        asked: Asked<'_>,
        answer: Answer<'_>,
    ) {
        let peer_addr = turn.table.connections.get(key).and_then(|conn| conn.peer_address());
        let id = ConnId::new(self.remote.reactor(), key);
        self.handler.on_answered(&Answered::new(asked, answer, id, peer_addr));
    }

    fn on_open(&mut self, turn: &mut Turn<'_, H::Data>, key: Key) {
        self.call(turn, key, |handler, conn| handler.on_open(conn));
    }

    #[inline]
    fn on_message(&mut self, turn: &mut Turn<'_, H::Data>, key: Key, message: Message<'_>) {
        self.call(turn, key, |handler, conn| handler.on_message(conn, message));
    }

    fn on_part(&mut self, turn: &mut Turn<'_, H::Data>, key: Key, part: Part<'_>) {
        self.call(turn, key, |handler, conn| handler.on_part(conn, part));
    }

    fn on_ping(&mut self, turn: &mut Turn<'_, H::Data>, key: Key, payload: &[u8]) -> bool {
        self.call(turn, key, |handler, conn| handler.on_ping(conn, payload))
    }

    fn on_event(&mut self, turn: &mut Turn<'_, H::Data>, key: Key, event: AppEvent<'_>) {
        self.call(turn, key, |handler, conn| match event {
            AppEvent::Pong(payload) => handler.on_pong(conn, payload),
            AppEvent::Rtt(rtt) => handler.on_rtt(conn, rtt),
            AppEvent::Close(frame) => handler.on_close_frame(conn, frame),
            AppEvent::Drain => handler.on_drain(conn),
            AppEvent::Timer => handler.on_timer(conn),
        });
    }

    fn on_close(&mut self, turn: &mut Turn<'_, H::Data>, key: Key, cause: CloseCause) {
        self.call(turn, key, |handler, conn| handler.on_close(conn, cause));
    }

    fn on_command(&mut self, turn: &mut Turn<'_, H::Data>, command: Box<dyn Any + Send>) {
        self.handler.on_command(&mut at_large(turn, &self.remote), command);
    }

    fn on_start(&mut self, turn: &mut Turn<'_, H::Data>) {
        self.handler.on_start(&mut at_large(turn, &self.remote));
    }

    fn on_wake(&mut self, turn: &mut Turn<'_, H::Data>) {
        self.handler.on_wake(&mut at_large(turn, &self.remote));
    }

    fn on_connected(&mut self, turn: &mut Turn<'_, H::Data>, key: Key) {
        self.call(turn, key, |handler, conn| handler.on_connected(conn));
    }

    fn on_reply(&mut self, turn: &mut Turn<'_, H::Data>, key: Key, reply: &Reply<'_>) {
        self.call(turn, key, |handler, conn| handler.on_reply(conn, reply));
    }

    fn on_connect_failed(&mut self, turn: &mut Turn<'_, H::Data>, key: Key, error: ConnectError) {
        let id = ConnId::new(self.remote.reactor(), key);
        let mut connections = at_large(turn, &self.remote);
        let data = connections.take_data(key);
        self.handler.on_connect_failed(&mut connections, id, data, error);
    }
}

/// What a callback holds that is about no connection in particular.
fn at_large<'a, T>(turn: &'a mut Turn<'_, T>, remote: &'a Remote) -> Connections<'a, T> {
    Connections::new(Turn { table: &mut *turn.table, arena: &mut *turn.arena }, remote)
}
