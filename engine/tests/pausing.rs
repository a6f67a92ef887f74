//! Reading that is paused: the peer is made to wait, and nothing is lost.

mod support;

use std::{any::Any, io::ErrorKind, sync::mpsc, time::Duration};

use support::{Client, Frame, PATIENCE, Serving, noise, on_each_driver, serve_with};
use throng::{
    CloseCause, CloseCode, Conn, ConnId, Connections, DriverKind, Handler, Message, Timeouts,
};

on_each_driver!(
    messages_that_came_along_wait,
    the_peer_is_made_to_wait,
    in_the_middle_of_a_long_message,
    pings_wait_as_well,
    back_and_forth_in_one_callback,
    silence_is_forgiven_while_it_is_wanted,
    sending_goes_on,
    closing_resumes,
    the_end_of_the_stream_waits_its_turn,
    a_reset_does_not_wait,
);

/// Pauses when told to by a message, obeys commands, and echoes everything else.
#[derive(Clone)]
struct Pausing {
    opened: mpsc::Sender<ConnId>,
    closed: mpsc::Sender<CloseCause>,
}

/// What a command asks for.
enum Order {
    Pause,
    Resume,
    Say(&'static str),
    Close,
}

impl Handler for Pausing {
    type Data = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        self.opened.send(conn.id()).unwrap();
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        match message {
            Message::Text("pause") => {
                conn.pause_reading();
                assert!(conn.is_reading_paused());
            }
            Message::Text("back and forth") => {
                conn.pause_reading();
                conn.pause_reading();
                conn.resume_reading();
                conn.pause_reading();
                conn.resume_reading();
                assert!(!conn.is_reading_paused());
            }
            _ => assert!(!conn.is_reading_paused(), "nothing is handed on"),
        }
        conn.send(message);
    }

    fn on_command(&mut self, connections: &mut Connections<'_, ()>, command: Box<dyn Any + Send>) {
        let (id, order) = *command.downcast::<(ConnId, Order)>().unwrap();
        let Some(mut conn) = connections.conn(id) else { return };
        match order {
            Order::Pause => conn.pause_reading(),
            Order::Resume => conn.resume_reading(),
            Order::Say(text) => drop(conn.send(text)),
            Order::Close => conn.close(CloseCode::new(4000), ""),
        }
    }

    fn on_close(&mut self, _conn: &mut Conn<'_, ()>, cause: CloseCause) {
        let _ = self.closed.send(cause);
    }
}

struct Stage {
    server: Serving,
    opened: mpsc::Receiver<ConnId>,
    closed: mpsc::Receiver<CloseCause>,
}

fn stage(driver: DriverKind) -> Stage {
    let ((opened, is_opened), (closed, is_closed)) = (mpsc::channel(), mpsc::channel());
    let timeouts = Timeouts {
        ping: Some(Duration::from_millis(250)),
        pong: Some(Duration::from_millis(250)),
        idle: Some(Duration::from_millis(750)),
        ..Timeouts::default()
    };
    let server =
        serve_with(driver, Pausing { opened, closed }, |builder| builder.timeouts(timeouts));
    Stage { server, opened: is_opened, closed: is_closed }
}

impl Stage {
    fn open(&self) -> (Client, ConnId) {
        let client = self.server.open();
        (client, self.opened.recv_timeout(PATIENCE).unwrap())
    }

    /// A connection that is paused.
    fn paused(&self) -> (Client, ConnId) {
        let (mut client, id) = self.open();
        client.send(&Frame::text("pause"));
        client.expect(&Frame::text("pause"));
        (client, id)
    }

    fn order(&self, id: ConnId, order: Order) {
        self.server.remote().command(id.reactor(), (id, order)).unwrap();
    }

    /// Sees that the reactor has come by, and that nothing was sent but this.
    fn expect_only(&self, client: &mut Client, id: ConnId, text: &'static str) {
        self.order(id, Order::Say(text));
        client.expect(&Frame::text(text));
    }

    fn closed(&self) -> CloseCause {
        self.closed.recv_timeout(PATIENCE).unwrap()
    }
}

fn messages_that_came_along_wait(driver: DriverKind) {
    let stage = stage(driver);
    let (mut client, id) = stage.open();
    let frames = ["one", "pause", "two", "pause", "three"].map(Frame::text);
    client.send_bytes(&frames.each_ref().map(Frame::masked).concat());
    client.expect(&frames[0]);
    client.expect(&frames[1]);
    stage.expect_only(&mut client, id, "nothing else");
    stage.order(id, Order::Resume);
    client.expect(&frames[2]);
    client.expect(&frames[3]);
    stage.expect_only(&mut client, id, "and no more");
    stage.order(id, Order::Resume);
    client.expect(&frames[4]);
}

fn the_peer_is_made_to_wait(driver: DriverKind) {
    let stage = stage(driver);
    let (mut client, id) = stage.paused();
    let mut sender = client.another_hold();
    sender.set_write_timeout(Duration::from_millis(300));
    let message = Frame::binary(&noise(100_000, 1));
    let masked = message.masked();
    let mut count = 0;
    let error = loop {
        match sender.try_send_bytes(&masked) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
        assert!(count < 1000, "100 MB are more than the kernel holds");
    };
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    stage.expect_only(&mut client, id, "not one of them");
    stage.order(id, Order::Resume);
    for _ in 0..count {
        client.expect(&message);
    }
}

fn in_the_middle_of_a_long_message(driver: DriverKind) {
    let stage = stage(driver);
    let (mut client, id) = stage.open();
    let message = Frame::binary(&noise(1_000_000, 2));
    let masked = message.masked();
    for (n, part) in masked.chunks(110_000).enumerate() {
        client.send_bytes(part);
        stage.order(id, if n % 2 == 0 { Order::Pause } else { Order::Resume });
        if n % 2 == 1 {
            stage.order(id, Order::Pause);
            stage.order(id, Order::Resume);
        }
    }
    stage.order(id, Order::Resume);
    client.expect(&message);
}

fn pings_wait_as_well(driver: DriverKind) {
    let stage = stage(driver);
    let (mut client, id) = stage.paused();
    client.send(&Frame::ping(b"anyone?"));
    stage.expect_only(&mut client, id, "no one");
    stage.order(id, Order::Resume);
    client.expect(&Frame::pong(b"anyone?"));
}

fn back_and_forth_in_one_callback(driver: DriverKind) {
    let stage = stage(driver);
    let (mut client, _) = stage.open();
    let frames = ["back and forth", "one", "back and forth", "two"].map(Frame::text);
    client.send_bytes(&frames.each_ref().map(Frame::masked).concat());
    frames.iter().for_each(|frame| client.expect(frame));
    client.send(&Frame::text("three"));
    client.expect(&Frame::text("three"));
}

fn silence_is_forgiven_while_it_is_wanted(driver: DriverKind) {
    let stage = stage(driver);
    let (mut client, id) = stage.paused();
    let cause = stage.closed.recv_timeout(Duration::from_millis(2500));
    assert_eq!(cause, Err(mpsc::RecvTimeoutError::Timeout), "three times the deadline of silence");
    stage.order(id, Order::Resume);
    client.expect(&Frame::ping(b""));
    assert!(matches!(stage.closed(), CloseCause::TimedOut(_)), "from now on it counts");
}

fn sending_goes_on(driver: DriverKind) {
    let stage = stage(driver);
    let (mut client, id) = stage.paused();
    for text in ["a", "b", "c"] {
        stage.expect_only(&mut client, id, text);
    }
    let _ = stage.server.remote().broadcast("to all");
    client.expect(&Frame::text("to all"));
}

fn closing_resumes(driver: DriverKind) {
    let stage = stage(driver);
    let (mut client, id) = stage.paused();
    client.send(&Frame::text("too late"));
    stage.order(id, Order::Close);
    client.expect(&Frame::close(4000, ""));
    client.send(&Frame::close(4000, ""));
    client.expect_end();
    assert_eq!(stage.closed(), CloseCause::Local(CloseCode::new(4000)));
}

fn the_end_of_the_stream_waits_its_turn(driver: DriverKind) {
    let stage = stage(driver);
    let (mut client, id) = stage.paused();
    client.send(&Frame::text("the last words"));
    client.finish();
    stage.expect_only(&mut client, id, "still here");
    stage.order(id, Order::Resume);
    client.expect(&Frame::text("the last words"));
    assert_eq!(stage.closed(), CloseCause::Lost(ErrorKind::UnexpectedEof));
}

fn a_reset_does_not_wait(driver: DriverKind) {
    let stage = stage(driver);
    let (client, _) = stage.paused();
    client.reset();
    assert_eq!(stage.closed(), CloseCause::Lost(ErrorKind::ConnectionReset));
}
