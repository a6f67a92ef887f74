//! yawc as its documentation uses it: on hyper, one frame at a time.

use std::io;

use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use yawc::{OpCode, Options, UpgradeFut, WebSocket, WebSocketError};

fn main() -> io::Result<()> {
    support::run(support::Options::parse()?, "yawc", async |stream| {
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(accept));
        let _ = connection.with_upgrades().await;
    })
}

async fn accept(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    // The default, 1 MiB, is too little for the longest messages of the comparison.
    let options = Options::default().with_limits(16 << 20, 32 << 20);
    let (response, socket) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(async {
        let _ = echo(socket).await;
    });
    Ok(response)
}

async fn echo(socket: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = socket.await?;
    while let Some(frame) = socket.next().await {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            socket.send(frame).await?;
        }
    }
    Ok(())
}
