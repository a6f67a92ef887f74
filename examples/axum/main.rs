//! axum serves the site and upgrades; Throng has the WebSockets from then on.
//!
//! ```sh
//! cargo run --release --example axum
//! ```
//!
//! The request goes through the same checks as one that Throng received, the `101` is axum's to send, and
//! the socket, with what axum had read ahead, is handed over: no task and no buffer of axum's stays.

use std::error::Error;

use axum::{Router, body::Body, extract, http, routing::get};
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use throng::{
    Acceptance, Conn, Handler, HandshakeError, Message, OriginPolicy, Remote, Server, Upgraded,
    protocol::handshake::{Request, header_slots, http_head},
};
use tokio::net::{TcpListener, TcpStream};

struct Echo;

impl Handler for Echo {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
    }
}

/// Answers a request for a WebSocket, and sees to what becomes of it.
async fn upgrade(
    extract::State(remote): extract::State<Remote>,
    request: extract::Request,
) -> http::Response<Body> {
    match accept(&request) {
        Ok(switching) => {
            tokio::spawn(async move {
                if let Err(error) = hand_over(request, &remote).await {
                    eprintln!("a WebSocket was lost: {error}");
                }
            });
            switching.map(|()| Body::empty())
        }
        Err(error) => error.response().to_http().expect("our own words").map(Body::from),
    }
}

/// The `101`, if the request deserves it.
fn accept(request: &extract::Request) -> Result<http::Response<()>, HandshakeError> {
    let head = http_head(request);
    let mut slots = header_slots::<64>();
    let request = Request::parse(&head, &mut slots)?;
    let key = request.check_upgrade()?;
    OriginPolicy::SameHost.check(&request)?;
    Ok(Acceptance::new().to_http(&key).expect("nothing was added to it"))
}

/// Takes the socket from axum, once the `101` has left, and gives it to Throng.
async fn hand_over(request: extract::Request, remote: &Remote) -> Result<(), Box<dyn Error>> {
    let upgraded = hyper::upgrade::on(request).await?;
    let parts = downcast::<TokioIo<TcpStream>>(upgraded).map_err(|_| "no TCP connection")?;
    let socket = parts.io.into_inner().into_std()?;
    socket.set_nodelay(true)?;
    remote.adopt(Upgraded::new(socket)?.read_ahead(parts.read_buf))?;
    Ok(())
}

fn site(remote: Remote) -> Router {
    Router::new()
        .route("/", get(async || "a page by axum, and a WebSocket at /ws\n"))
        .route("/ws", get(upgrade))
        .with_state(remote)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let throng = Server::builder().without_listeners().build()?.spawn(|_reactor| Echo)?;
    let listener = TcpListener::bind("127.0.0.1:9001").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, site(throng.remote())).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
