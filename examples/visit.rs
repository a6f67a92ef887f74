//! What tests of the examples share: a server for the length of a visit, and a client that is not ours.
#![allow(dead_code)] // each uses its share

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use throng::{Handler, ListenAddr, Remote, Server, Shutdown};
use tungstenite::{Message, WebSocket, protocol::CloseFrame};

/// How long a test waits for anything. Nothing else depends on it: it is how late a failure shows.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Plays `visit` while the server is up.
pub(crate) fn while_up<H: Handler>(
    server: Server,
    handler: impl Fn(usize) -> H + Send + Sync + 'static,
    visit: impl FnOnce(SocketAddr, &Remote),
) {
    let ListenAddr::Tcp(address) = server.addresses()[0] else { panic!("it listens on TCP") };
    let running = server.spawn(handler).unwrap();
    let remote = running.remote();
    visit(address, &remote);
    remote.shutdown(Shutdown { deadline: Duration::ZERO, ..Shutdown::default() }).unwrap();
    running.join().unwrap();
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub(crate) fn open(address: SocketAddr) -> WebSocket<TcpStream> {
    tungstenite::client(format!("ws://{address}/"), connect(address)).unwrap().0
}

/// Sends a text, and returns what is said next.
pub(crate) fn ask(client: &mut WebSocket<TcpStream>, text: &str) -> Message {
    client.send(Message::text(text)).unwrap();
    client.read().unwrap()
}

/// What the server says when it closes.
pub(crate) fn closed(message: Message) -> CloseFrame {
    match message {
        Message::Close(Some(close)) => close,
        other => panic!("{other:?} is no Close"),
    }
}
