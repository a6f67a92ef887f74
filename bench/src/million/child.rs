//! The server's process, seen from here: a line to it, a line back.

use std::{
    env,
    io::{self, BufRead as _, BufReader, ErrorKind, Write as _},
    net::SocketAddrV4,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    str::FromStr,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use throng_meter::Process;

use super::server::Counts;
use crate::floor::Driver;

/// A server of this program's own. Dropped, it is gone.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    lines: Receiver<String>,
    address: SocketAddrV4,
}

impl Child {
    /// Starts a server, and waits until it listens.
    pub(super) fn start(driver: Driver, reactors: usize, give_up: Duration) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["million-server", "--driver", driver.name()]);
        command.args(["--reactors", &reactors.to_string()]);
        command.args(["--give-up", &give_up.as_secs().to_string()]);
        // In a group of its own, so that a terminal's interrupt reaches us alone.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut process = command.spawn()?;
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(process.stdout.take().expect("it was asked for"));
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let address = SocketAddrV4::new([127, 0, 0, 1].into(), 0);
        let mut child = Self { process, lines, address };
        child.address = child.read("listening on ", PATIENCE)?;
        Ok(child)
    }

    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(super) fn process(&self) -> io::Result<Process> {
        Process::new(self.process.id())
    }

    /// Tells it to do something to all of its connections.
    pub(super) fn tell(&mut self, order: &str) -> io::Result<()> {
        let input = self.process.stdin.as_mut().expect("it was asked for");
        writeln!(input, "{order}").and_then(|()| input.flush())
    }

    /// Asks for its counts.
    pub(super) fn counts(&mut self) -> io::Result<Counts> {
        self.tell("counts")?;
        self.read("counts ", PATIENCE)
    }

    /// Waits for the end of a server that was told to shut down, and says how many connections it had
    /// to drop.
    pub(super) fn dropped(&mut self, patience: Duration) -> io::Result<usize> {
        let dropped = self.read("dropped ", patience)?;
        self.process.wait()?;
        Ok(dropped)
    }

    /// Reads a line, and the value in it behind `prefix`.
    fn read<T: FromStr>(&self, prefix: &str, patience: Duration) -> io::Result<T> {
        let line = self.lines.recv_timeout(patience).map_err(|_| {
            let problem = format!("the server did not say {prefix:?} within {patience:?}");
            io::Error::new(ErrorKind::TimedOut, problem)
        })?;
        let value = line.strip_prefix(prefix).and_then(|value| value.parse().ok());
        value.ok_or_else(|| {
            io::Error::other(format!("the server did not say {prefix:?}, but {line:?}"))
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nothing to be done if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// For an answer that needs no more than a moment, on a machine that is busy with a million others.
const PATIENCE: Duration = Duration::from_secs(60);
