//! Prices for everyone who looks: each tick is framed once, and compressed once, whoever it goes to.
//!
//! ```sh
//! cargo run --release --example ticker    # then open http://127.0.0.1:9004
//! ```

use std::{thread, time::Duration};

use serde::Serialize;
use throng::{
    Deflate, Handler, Overflow, Prepared, Remote, RemoteError, Request, Response, SendQueue, Server,
};

/// A price and how it has changed, in cents.
#[derive(Serialize)]
struct Quote {
    symbol: &'static str,
    price: i64,
    change: i64,
}

struct Ticker;

impl Handler for Ticker {
    type Data = ();

    fn on_http(&mut self, _request: &Request<'_>) -> Response {
        Response::html(200, include_str!("page.html"))
    }
}

fn server(address: &str) -> throng::Result<Server> {
    Server::builder()
        .listen(address)
        .deflate(Deflate::default())
        // Who reads too slowly misses a tick; the next one is worth more anyway.
        .send_queue(SendQueue { overflow: Overflow::DropNewest, ..SendQueue::default() })
        .build()
}

/// Tells all connections of all reactors, tick after tick, until the server has ended.
fn tick(remote: &Remote, every: Duration) {
    let mut quotes = ["ADA", "BOB", "CLEO", "DAN", "EVE"].map(|symbol| Quote {
        symbol,
        price: 10_000,
        change: 0,
    });
    let mut chance = 1_u64;
    loop {
        for quote in &mut quotes {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            quote.change = (chance >> 33) as i64 % 21 - 10;
            quote.price += quote.change;
        }
        let prepared = Prepared::json(&quotes).expect("names and numbers are JSON");
        match remote.broadcast(prepared) {
            Ok(()) | Err(RemoteError::Full) => thread::sleep(every),
            Err(_) => return,
        }
    }
}

fn main() -> throng::Result<()> {
    let server = server("127.0.0.1:9004")?;
    println!("http://{}", server.addresses()[0]);
    let running = server.spawn(|_reactor| Ticker)?;
    tick(&running.remote(), Duration::from_millis(500));
    running.join().map(drop)
}

#[cfg(test)]
mod tests;
