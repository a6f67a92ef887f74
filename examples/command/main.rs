//! A program's input and output over a WebSocket, one program a connection, and a page to use it.
//!
//! ```sh
//! cargo run --release --example command -- bc -q     # then open http://127.0.0.1:9005
//! ```
//!
//! Whoever gets through to the port may use the program. It listens on this machine only, and the pages
//! of other sites are turned away by their Origin.
//!
//! Nothing piles up anywhere: one message at a time goes to the program, and the connection is not read
//! on until it is written; one piece of output at a time goes to the connection, and the program's output
//! is not read on until there is room for more.

use std::{
    any::Any,
    env,
    io::{self, Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use throng::{
    CloseCause, CloseCode, Conn, ConnId, Connections, Handler, Message, Request, Response, Sent,
    Server,
};

#[derive(Clone)]
struct Runner {
    /// The program, and its arguments.
    words: Vec<String>,
}

/// A connection's program, with a thread for either direction.
struct Program {
    child: Child,
    input: SyncSender<Vec<u8>>,
    /// Lets the other thread go on with the output.
    next: SyncSender<()>,
}

/// What the threads tell the reactor.
enum News {
    Written,
    Output(Vec<u8>),
    Ended,
}

impl Handler for Runner {
    type Data = Option<Box<Program>>;

    fn on_http(&mut self, _request: &Request<'_>) -> Response {
        Response::html(200, include_str!("page.html"))
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Self::Data>) {
        match self.start(conn) {
            Ok(program) => *conn.data_mut() = Some(Box::new(program)),
            Err(error) => conn.close(CloseCode::INTERNAL_ERROR, &error.to_string()),
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Self::Data>, message: Message<'_>) {
        let Some(program) = conn.data() else { return };
        if program.input.try_send(message.as_bytes().to_vec()).is_ok() {
            conn.pause_reading(); // until it is written
        }
    }

    fn on_command(
        &mut self,
        connections: &mut Connections<'_, Self::Data>,
        command: Box<dyn Any + Send>,
    ) {
        let Ok(command) = command.downcast::<(ConnId, News)>() else { return };
        let (id, news) = *command;
        let Some(mut conn) = connections.conn(id) else { return };
        match news {
            News::Written => conn.resume_reading(),
            News::Output(bytes) => {
                if conn.send(&bytes) == Sent::Queued {
                    self.on_drain(&mut conn);
                }
            }
            News::Ended => conn.close(CloseCode::NORMAL, "the program has ended"),
        }
    }

    /// There is room: on with the output.
    fn on_drain(&mut self, conn: &mut Conn<'_, Self::Data>) {
        if let Some(program) = conn.data() {
            let _ = program.next.try_send(());
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Self::Data>, _cause: CloseCause) {
        let Some(program) = conn.data_mut().take() else { return };
        let mut child = program.child;
        let _ = child.kill();
        thread::spawn(move || child.wait());
    }
}

impl Runner {
    /// Holds its reactor up for as long as the kernel takes to start a program: a server that has much else
    /// to do would leave that to a thread.
    fn start(&self, conn: &Conn<'_, Option<Box<Program>>>) -> io::Result<Program> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let mut stdout = child.stdout.take().expect("it is piped");
        let (input, inputs) = sync_channel::<Vec<u8>>(1);
        let (next, goes_on) = sync_channel(1);
        let (id, remote) = (conn.id(), conn.remote().clone());
        let tell = move |news| remote.command(id.reactor(), (id, news)).is_ok();

        let tell_of_input = tell.clone();
        thread::spawn(move || {
            inputs.iter().all(|bytes| {
                stdin.write_all(&bytes).is_ok()
                    && stdin.flush().is_ok()
                    && tell_of_input(News::Written)
            })
        });
        thread::spawn(move || {
            let mut piece = [0; 16 * 1024];
            while let Ok(len @ 1..) = stdout.read(&mut piece) {
                if !tell(News::Output(piece[..len].to_vec())) || goes_on.recv().is_err() {
                    return;
                }
            }
            tell(News::Ended);
        });
        Ok(Program { child, input, next })
    }
}

fn main() -> throng::Result<()> {
    let words: Vec<_> = env::args().skip(1).collect();
    assert!(!words.is_empty(), "the program to run, and its arguments, as arguments");
    let server = Server::builder().listen("127.0.0.1:9005").build()?;
    println!("http://{}", server.addresses()[0]);
    server.run(move |_reactor| Runner { words: words.clone() })
}

#[cfg(test)]
mod tests;
