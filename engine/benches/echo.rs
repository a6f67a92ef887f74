//! An echo server for `.ci/instructions`, which runs it under callgrind and loads it from outside.
//!
//! `echo --driver uring|epoll` has one reactor, and does everything on that reactor's thread: for
//! valgrind runs one thread at a time, and none besides one that waits for io_uring. Two texts are
//! no messages but orders: `lap` begins another part of callgrind's output, `stop` ends the program.

use std::{env, error::Error, hint::black_box};

use throng::{Conn, DriverKind, Handler, Message, Server, Shutdown};

struct Echo;

impl Handler for Echo {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        match message {
            Message::Text("lap") => lap(),
            Message::Text("stop") => {
                conn.remote().shutdown(Shutdown::default()).expect("this server still runs");
                return;
            }
            _ => {}
        }
        conn.send(message);
    }
}

/// Where callgrind begins another part of its output: `--dump-before` names this function.
#[inline(never)]
fn lap() {
    black_box(());
}

fn main() -> Result<(), Box<dyn Error>> {
    // Under `cargo bench` and `cargo test` nobody asks for a server.
    let driver = match env::args().skip_while(|argument| argument != "--driver").nth(1).as_deref() {
        Some("uring") => DriverKind::Uring,
        Some("epoll") => DriverKind::Epoll,
        _ => return Ok(()),
    };
    let server = Server::builder().listen("127.0.0.1:0").reactors(1).driver(driver).build()?;
    println!("{}", server.addresses()[0]);
    server.run(|_| Echo)?;
    Ok(())
}
