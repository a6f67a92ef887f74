//! A handler, as the reactor sees it: its callbacks, and a net under each.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{Conn, ConnId, Connections, Handler, Message, Remote, Request, request::Decision};
use crate::{
    conn::CloseCause,
    pool::Key,
    protocol::handshake::{self, OriginPolicy, Response},
    reactor::{App, AppEvent, Panicked, Turn, Verdict},
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

    /// Runs a callback on a connection. A panic ends here.
    ///
    /// The handler may be left in a state that the panic interrupted. That is the bargain: a handler
    /// that cannot live with it should catch its own panics.
    #[inline]
    fn call(
        &mut self,
        turn: &mut Turn<'_, H::Data>,
        key: Key,
        callback: impl FnOnce(&mut H, &mut Conn<'_, H::Data>),
    ) -> Result<(), Panicked> {
        let turn = Turn { table: &mut *turn.table, arena: &mut *turn.arena };
        let mut conn = Conn::new(Connections::new(turn, &self.remote), key);
        let handler = &mut self.handler;
        catch_unwind(AssertUnwindSafe(|| callback(handler, &mut conn))).map_err(|_| Panicked)
    }
}

impl<H: Handler> App for Application<H> {
    type Data = H::Data;

    fn on_request(
        &mut self,
        turn: &mut Turn<'_, H::Data>,
        key: Key,
        request: &handshake::Request<'_>,
    ) -> Result<Verdict, Panicked> {
        let peer_addr = turn.table.connections.get(key).and_then(|conn| conn.peer_address());
        let id = ConnId::new(self.remote.reactor(), key);
        let asked = Request::new(request, peer_addr, id, &self.remote);
        let handler = &mut self.handler;
        if !request.is_upgrade() {
            let response = catch_unwind(AssertUnwindSafe(|| handler.on_http(&asked)));
            return response.map(Verdict::Respond).map_err(|_| Panicked);
        }
        let accept_key = match request.check_upgrade() {
            Ok(accept_key) => accept_key,
            Err(error) => return Ok(Verdict::Respond(error.response())),
        };
        if let Err(error) = self.origin.check(request) {
            return Ok(Verdict::Respond(error.response()));
        }
        let decision = catch_unwind(AssertUnwindSafe(|| {
            let upgrade = handler.on_upgrade(&asked);
            // This drops what was there by default, and whatever that may do is the application's.
            if let Some(data) = upgrade.data
                && let Some(conn) = turn.table.connections.get_mut(key)
            {
                conn.data = data;
            }
            upgrade.decision
        }));
        Ok(match decision.map_err(|_| Panicked)? {
            Decision::Accept(acceptance) => match acceptance.check_offered(request) {
                Ok(()) => Verdict::Accept(accept_key, acceptance),
                Err(error) => {
                    tracing::error!(%error, "an upgrade was accepted with the wrong subprotocol");
                    Verdict::Respond(Response::text(500, "the server failed\n"))
                }
            },
            Decision::Refuse(response) => Verdict::Respond(response),
            Decision::Defer => Verdict::Defer(accept_key),
        })
    }

    fn on_open(&mut self, turn: &mut Turn<'_, H::Data>, key: Key) -> Result<(), Panicked> {
        self.call(turn, key, |handler, conn| handler.on_open(conn))
    }

    #[inline]
    fn on_event(
        &mut self,
        turn: &mut Turn<'_, H::Data>,
        key: Key,
        event: AppEvent<'_>,
    ) -> Result<(), Panicked> {
        self.call(turn, key, |handler, conn| match event {
            AppEvent::Text(text) => handler.on_message(conn, Message::Text(text)),
            AppEvent::Binary(bytes) => handler.on_message(conn, Message::Binary(bytes)),
            AppEvent::Ping(payload) => handler.on_ping(conn, payload),
            AppEvent::Pong(payload) => handler.on_pong(conn, payload),
            AppEvent::Drain => handler.on_drain(conn),
            AppEvent::Timer => handler.on_timer(conn),
        })
    }

    fn on_close(
        &mut self,
        turn: &mut Turn<'_, H::Data>,
        key: Key,
        cause: CloseCause,
    ) -> Result<(), Panicked> {
        self.call(turn, key, |handler, conn| handler.on_close(conn, cause))
    }

    fn on_command(
        &mut self,
        turn: &mut Turn<'_, H::Data>,
        command: Box<dyn Any + Send>,
    ) -> Result<(), Panicked> {
        let turn = Turn { table: &mut *turn.table, arena: &mut *turn.arena };
        let mut connections = Connections::new(turn, &self.remote);
        let handler = &mut self.handler;
        let call = || handler.on_command(&mut connections, command);
        catch_unwind(AssertUnwindSafe(call)).map_err(|_| Panicked)
    }
}
