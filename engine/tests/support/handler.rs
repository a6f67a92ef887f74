//! Handlers that several topics use.

use std::sync::mpsc;

use throng::{CloseCause, Conn, ConnId, Handler, Message};

use super::PATIENCE;

/// Sends a message back.
pub(crate) fn echo(conn: &mut Conn<'_, ()>, message: Message<'_>) {
    conn.send(message);
}

/// Sends every message back.
#[derive(Clone, Copy)]
pub(crate) struct Echo;

impl Handler for Echo {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
    }
}

/// A handler that does `on_message`, and the log of its other callbacks.
pub(crate) fn logged<F>(on_message: F) -> (Logged<F>, Log)
where
    F: Fn(&mut Conn<'_, ()>, Message<'_>) + Clone + Send + Sync + 'static,
{
    let (events, log) = mpsc::channel();
    (Logged { on_message, events }, Log(log))
}

#[derive(Clone)]
pub(crate) struct Logged<F> {
    on_message: F,
    events: mpsc::Sender<Event>,
}

/// A callback that was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Opened(ConnId),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Drained(ConnId),
    Timer(ConnId),
    Closed(ConnId, CloseCause),
}

/// What the callbacks of all reactors wrote down.
pub(crate) struct Log(mpsc::Receiver<Event>);

impl Log {
    /// The next callback, waited for.
    #[track_caller]
    pub(crate) fn next(&self) -> Event {
        self.0.recv_timeout(PATIENCE).expect("a callback is due")
    }

    /// What has been called and not been asked for.
    pub(crate) fn rest(&self) -> Vec<Event> {
        self.0.try_iter().collect()
    }

    /// The connection that opens next; other callbacks are skipped.
    #[track_caller]
    pub(crate) fn opened(&self) -> ConnId {
        loop {
            if let Event::Opened(id) = self.next() {
                return id;
            }
        }
    }

    /// Why the connection that closes next does; other callbacks are skipped.
    #[track_caller]
    pub(crate) fn closed(&self) -> CloseCause {
        loop {
            if let Event::Closed(_, cause) = self.next() {
                return cause;
            }
        }
    }
}

impl<F> Logged<F> {
    fn log(&self, event: Event) {
        // A test that has seen enough has dropped its log.
        let _ = self.events.send(event);
    }
}

impl<F> Handler for Logged<F>
where
    F: Fn(&mut Conn<'_, ()>, Message<'_>) + 'static,
{
    type Data = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        self.log(Event::Opened(conn.id()));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        (self.on_message)(conn, message);
    }

    fn on_ping(&mut self, _conn: &mut Conn<'_, ()>, payload: &[u8]) -> bool {
        self.log(Event::Ping(payload.to_vec()));
        true
    }

    fn on_pong(&mut self, _conn: &mut Conn<'_, ()>, payload: &[u8]) {
        self.log(Event::Pong(payload.to_vec()));
    }

    fn on_drain(&mut self, conn: &mut Conn<'_, ()>) {
        self.log(Event::Drained(conn.id()));
    }

    fn on_timer(&mut self, conn: &mut Conn<'_, ()>) {
        self.log(Event::Timer(conn.id()));
    }

    fn on_close(&mut self, conn: &mut Conn<'_, ()>, cause: CloseCause) {
        self.log(Event::Closed(conn.id(), cause));
    }
}
