//! The blocking client as the Autobahn suite wants to see it: asks its `fuzzingserver` how many cases
//! there are, sends back what it is sent in each, and has the report written.
//!
//! ```sh
//! cargo run --release --example autobahn -- ws://127.0.0.1:9001
//! ```

use std::{env, error::Error};

use throng::{
    CloseCode, Limits,
    client::blocking::{Connector, WebSocket},
    protocol::extension::deflate::{Deflate, DeflateMode, WindowBits},
};

fn main() -> Result<(), Box<dyn Error>> {
    let server = env::args().nth(1).unwrap_or("ws://127.0.0.1:9001".to_owned());
    let mut counting = open(&format!("{server}/getCaseCount"))?;
    let count: usize = match counting.read()? {
        Some(message) => str::from_utf8(message.as_bytes())?.parse()?,
        None => return Err("the server does not say how many cases there are".into()),
    };
    counting.close(CloseCode::NORMAL, "")?;

    for case in 1..=count {
        match open(&format!("{server}/runCase?case={case}&agent=throng")) {
            Ok(mut socket) => echo(&mut socket),
            Err(error) => eprintln!("case {case}: {error}"),
        }
    }
    open(&format!("{server}/updateReports?agent=throng"))?.close(CloseCode::NORMAL, "")?;
    println!("{count} cases");
    Ok(())
}

/// How a case ends is for the server to judge.
fn echo(socket: &mut WebSocket) {
    let writer = socket.writer();
    while let Ok(Some(message)) = socket.read() {
        if writer.send(message).is_err() {
            break;
        }
    }
}

fn open(url: &str) -> Result<WebSocket, Box<dyn Error>> {
    // Histories as long as they may be; the suite's servers agree to less as well.
    let mode = DeflateMode::Dedicated {
        server_window_bits: WindowBits::MAX,
        client_window_bits: WindowBits::MAX,
        budget_len: usize::MAX,
    };
    let limits = Limits { message_len_max: 64 << 20, ..Limits::default() };
    let deflate = Deflate { mode, threshold_len: 0, ..Deflate::default() };
    Ok(Connector::to(url).limits(limits).deflate(deflate).connect()?)
}
