//! A chat room, and the page to talk in it, on one port.
//!
//! ```sh
//! cargo run --release --example chat      # then open http://127.0.0.1:9002 in two tabs
//! ```

use std::{error::Error, thread};

use clap::Parser;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use throng::{CloseCause, Conn, Handler, Message, Request, Response, Server, Shutdown, Upgrade};

/// A chat room and its page, on one port.
#[derive(Debug, Parser)]
struct Options {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9002")]
    listen: String,
}

/// One room. It lives on one reactor, so it needs no lock.
#[derive(Default)]
struct Chat {
    people: usize,
}

impl Handler for Chat {
    /// What the person is called.
    type Data = String;

    fn on_http(&mut self, request: &Request<'_>) -> Response {
        match request.path() {
            "/" => Response::html(200, include_str!("page.html")),
            "/health" => Response::text(200, "ok\n"),
            path => Response::text(404, format!("there is no {path} here\n")),
        }
    }

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        match request.path() {
            "/chat" => Upgrade::accept().with("somebody".to_owned()),
            path => Upgrade::refuse(Response::text(404, format!("there is no room {path}\n"))),
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, String>) {
        self.people += 1;
        self.tell_count(conn);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, String>, message: Message<'_>) {
        let Message::Text(text) = message else { return };
        match text.split_once(' ').unwrap_or((text, "")) {
            ("name", name) => *conn.data_mut() = name.chars().take(40).collect(),
            ("say", words) => {
                let line = format!("said {}\n{words}", conn.data());
                conn.connections().broadcast(&line);
            }
            _ => {}
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_, String>, _cause: CloseCause) {
        self.people -= 1;
        self.tell_count(conn);
    }
}

impl Chat {
    fn tell_count(&self, conn: &mut Conn<'_, String>) {
        conn.connections().broadcast(&format!("count {}", self.people));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let server = Server::builder().listen(options.listen).reactors(1).build()?;
    let address = server.addresses()[0].to_string();
    let driver = server.driver();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let running = server.spawn(|_reactor| Chat::default())?;
    println!("listening on {address} ({driver}); open http://{address}/");

    let remote = running.remote();
    thread::spawn(move || {
        signals.forever().next();
        remote.shutdown(Shutdown::default())
    });
    running.join()?;
    Ok(())
}
