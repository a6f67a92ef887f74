//! A server that runs.

use std::{
    io::{self, BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddrV4},
    process::{Child, Command, Stdio},
};

use throng_meter::Process;

use super::Server;

/// A server's process, which ends when we are done with it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddrV4,
}

impl Running {
    /// Starts a server whose program is run by `command`, to listen at `listen`. It runs where this
    /// thread may, and what it says on stderr is lost.
    pub(crate) fn start(
        server: &Server,
        mut command: Command,
        arguments: &[String],
        listen: SocketAddrV4,
    ) -> io::Result<Self> {
        command.args(server.arguments).args(arguments).args(["--listen", &listen.to_string()]);
        // Go's way of saying: one thread.
        command.env("GOMAXPROCS", "1");
        let program = command.get_program().to_string_lossy().into_owned();
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn();
        let mut child = child.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        if let Some(address) = address(&line) {
            return Ok(Self { child, address });
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(io::Error::other(format!("{program} does not say where it listens, but {line:?}")))
    }

    pub(crate) fn process(&self) -> io::Result<Process> {
        Process::new(self.child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of this machine that the kernel chooses.
pub(crate) const ANY_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

/// The address in a server's first line.
fn address(line: &str) -> Option<SocketAddrV4> {
    line.strip_prefix("listening on ")?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        let check = |line: &str, port: Option<u16>| {
            assert_eq!(address(line).map(|address| address.port()), port, "{line:?}");
        };
        check("listening on 127.0.0.1:9001 (epoll)\n", Some(9001));
        check("listening on 127.0.0.1:9001\n", Some(9001));
        check("listening on somewhere\n", None);
        check("", None);
    }
}
