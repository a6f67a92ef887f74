//! fastwebsockets as its example `echo_server` uses it: on hyper, one frame at a time.

use std::io;

use fastwebsockets::{
    FragmentCollector, OpCode, WebSocketError,
    upgrade::{UpgradeFut, upgrade},
};
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use support::Options;
use tokio::task;

fn main() -> io::Result<()> {
    support::run(Options::parse()?, "fastwebsockets", async |stream| {
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(accept));
        let _ = connection.with_upgrades().await;
    })
}

async fn accept(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, socket) = upgrade(&mut request)?;
    tokio::spawn(task::unconstrained(async {
        let _ = echo(socket).await;
    }));
    Ok(response)
}

async fn echo(socket: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(socket.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}
