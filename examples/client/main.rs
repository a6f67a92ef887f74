//! A client for the terminal: what is typed is sent, what comes is printed. Two threads, no reactor.
//!
//! ```sh
//! cargo run --release --example echo &
//! cargo run --release --example client -- ws://127.0.0.1:9001/
//! ```

use std::{env, error::Error, io, process::exit, thread};

use throng::{
    CloseCode, Message,
    client::blocking::{Connector, Proxy},
};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or("ws://127.0.0.1:9001/".to_owned());
    let mut connector = Connector::to(&url).redirects(5);
    if let Ok(proxy) = env::var("ALL_PROXY") {
        connector = connector.proxy(Proxy::to(&proxy)?);
    }
    let (mut reader, writer) = connector.connect()?.split();

    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if let Err(error) = writer.send(&line) {
                eprintln!("not sent: {error}");
                exit(1);
            }
        }
        // The end of the input. The answer to this ends the other thread.
        writer.close(CloseCode::NORMAL, "");
    });

    while let Some(message) = reader.read()? {
        match message {
            Message::Text(text) => println!("{text}"),
            Message::Binary(bytes) => println!("{} bytes", bytes.len()),
        }
    }
    if let Some(cause) = reader.close_cause() {
        eprintln!("{cause} {}", reader.close_reason());
    }
    Ok(())
}
