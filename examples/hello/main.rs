//! Says hello to a WebSocket server, prints what it answers, and leaves.
//!
//! ```sh
//! cargo run --release --example echo &
//! cargo run --release --example hello -- ws://127.0.0.1:9001/
//! ```

use throng::{
    CloseCause, CloseCode, Conn, ConnId, Connections, Handler, Message, Shutdown,
    client::{Client, Connect, ConnectError},
};

struct Hello;

impl Handler for Hello {
    type Data = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.send("hello");
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        println!("{}", String::from_utf8_lossy(message.as_bytes()));
        conn.close(CloseCode::NORMAL, "");
    }

    fn on_close(&mut self, conn: &mut Conn<'_, ()>, cause: CloseCause) {
        eprintln!("{cause}");
        leave(&mut conn.connections());
    }

    fn on_connect_failed(
        &mut self,
        connections: &mut Connections<'_, ()>,
        _id: ConnId,
        _data: (),
        error: ConnectError,
    ) {
        eprintln!("{error}");
        leave(connections);
    }
}

/// There was one thing to do.
fn leave(connections: &mut Connections<'_, ()>) {
    connections.remote().shutdown(Shutdown::default()).expect("it still runs");
}

fn main() -> throng::Result<()> {
    let url = std::env::args().nth(1).unwrap_or("ws://127.0.0.1:9001/".to_owned());
    let connect = Connect::to(&url)?;
    let client = Client::builder().reactors(1).build()?;
    client.remote().connect(&connect).expect("its mailbox is empty");
    client.run(|_reactor| Hello)
}
