//! sockudo-ws as its example `simple_echo` uses it: its own handshake, and one message at a time.

use std::io;

use bytes::BytesMut;
use futures_util::{SinkExt as _, StreamExt as _};
use sockudo_ws::{
    Config, Error, WebSocketStream,
    handshake::{build_response, generate_accept_key, parse_request},
    protocol::Message,
};
use support::Options;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

fn main() -> io::Result<()> {
    support::run(Options::parse()?, "sockudo-ws", async |stream| {
        let _ = echo(stream).await;
    })
}

async fn echo(mut stream: TcpStream) -> Result<(), Error> {
    accept(&mut stream).await?;
    let mut socket = WebSocketStream::server(stream, Config::default());
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            Message::Close(_) => break,
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
    Ok(())
}

async fn accept(stream: &mut TcpStream) -> Result<(), Error> {
    let mut head = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        if let Some((request, _)) = parse_request(&head)? {
            let response = build_response(&generate_accept_key(request.key), None, None);
            stream.write_all(&response).await?;
            return Ok(());
        }
    }
}
