//! A page that shows a file as it changes: the last 64 KiB of it.
//!
//! ```sh
//! cargo run --release --example filewatch -- notes.txt    # then open http://127.0.0.1:9006
//! ```

use std::{
    any::Any,
    env,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use throng::{
    Conn, Connections, Handler, Prepared, Remote, RemoteError, Request, Response, Server,
};

/// What is shown, of each reactor; the reactors share its bytes.
#[derive(Default)]
struct Viewer {
    shown: Option<Prepared>,
}

impl Handler for Viewer {
    type Data = ();

    fn on_http(&mut self, _request: &Request<'_>) -> Response {
        Response::html(200, include_str!("page.html"))
    }

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        if let Some(shown) = &self.shown {
            conn.send_prepared(shown);
        }
    }

    fn on_command(&mut self, connections: &mut Connections<'_, ()>, changed: Box<dyn Any + Send>) {
        if let Ok(changed) = changed.downcast::<Prepared>() {
            connections.broadcast(&*changed);
            self.shown = Some(*changed);
        }
    }
}

/// Looks at the file time and again, and tells the reactors when it has changed, until they have ended.
/// Files are read here, because a callback must not wait for a disk.
fn watch(path: &Path, every: Duration, remote: &Remote) {
    let mut told = None;
    loop {
        let found = match read_end(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("{}: {error}", path.display()),
        };
        if told.as_ref() != Some(&found) {
            let changed = Prepared::from(&found);
            let mut reactors = 0..remote.reactor_count();
            match reactors.try_for_each(|reactor| remote.command(reactor, changed.clone())) {
                Ok(()) => told = Some(found),
                Err(RemoteError::Full) => {} // again, next time
                Err(_) => return,
            }
        }
        thread::sleep(every);
    }
}

fn read_end(path: &Path) -> io::Result<Vec<u8>> {
    const LEN_MAX: u64 = 64 * 1024;
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(LEN_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(LEN_MAX).read_to_end(&mut end)?;
    Ok(end)
}

fn main() -> throng::Result<()> {
    let path = PathBuf::from(env::args_os().nth(1).expect("the file to show, as an argument"));
    let server = Server::builder().listen("127.0.0.1:9006").build()?;
    println!("http://{}", server.addresses()[0]);
    let running = server.spawn(|_reactor| Viewer::default())?;
    watch(&path, Duration::from_millis(250), &running.remote());
    running.join().map(drop)
}

#[cfg(test)]
mod tests;
