//! A server in a process of its own, to be starved and killed.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{self, Command, Stdio},
    sync::mpsc,
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use throng::DriverKind;

use super::PATIENCE;

/// The process. It is killed when this is dropped.
pub(crate) struct Child {
    process: process::Child,
    /// What it said on its standard error, line by line.
    lines: mpsc::Receiver<String>,
}

/// Tells the process that it is one.
const MARK: &str = "THRONG_TEST_CHILD";

/// Whether this process was started by [`Child::start`].
pub(crate) fn is_child() -> bool {
    env::var_os(MARK).is_some()
}

impl Child {
    /// Runs the test `name` of this very program in another process, with at most so many
    /// descriptors.
    pub(crate) fn start(name: &str, driver: &str, descriptors_max: Option<u32>) -> Self {
        let program = env::current_exe().expect("a test knows its program");
        let limit = descriptors_max.map(|max| format!("ulimit -n {max};")).unwrap_or_default();
        let mut process = Command::new("sh")
            .args(["-c", &format!("{limit} exec \"$0\" \"$@\"")])
            .arg(program)
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(MARK, "1")
            .env("THRONG_DRIVER", driver)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell is there");
        let said = BufReader::new(process.stderr.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { process, lines }
    }

    /// The value of the next line `key=value`.
    #[track_caller]
    pub(crate) fn says(&self, key: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("it has something to say");
            if let Some(value) = line.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')) {
                return value.to_owned();
            }
        }
    }

    /// Where it listens.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.says("address").parse().expect("it says an address")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it is our child");
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it is our child");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How a driver is called in `THRONG_DRIVER`.
pub(crate) fn driver_name(driver: DriverKind) -> &'static str {
    match driver {
        DriverKind::Uring => "uring",
        _ => "epoll",
    }
}
