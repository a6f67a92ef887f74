//! Which driver to use: asked of the caller, of the environment, and then of the kernel.
//!
//! "Is there io_uring?" has no short answer. A sysctl may forbid it, so may a container's seccomp
//! profile, the kernel may be too old for a part of it, or have that part and do it differently. So
//! after the cheap questions comes a connection, made, used and closed by the driver itself.

use std::{
    env, fmt, fs, io,
    io::{Read, Write},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    process,
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use super::{Completion, Driver, Op, Payload, Settings, Token, Waker, uring::Uring};

/// How the engine talks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DriverKind {
    /// io_uring: one system call for a turn's worth of work. Linux 5.19, better 6.1, best 6.12.
    Uring,
    /// epoll: everywhere, also where a sandbox forbids io_uring.
    Epoll,
}

/// A driver, and why it was chosen: for the log and the metrics, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) kind: DriverKind,
    pub(crate) reason: String,
}

/// Chooses a driver: `wanted` if there is one, else what the environment variable `THRONG_DRIVER` says
/// (`auto`, `uring` or `epoll`), else io_uring if it works here, else epoll. Takes some milliseconds,
/// once.
///
/// # Errors
///
/// `Unsupported` if io_uring was asked for and does not work here, `InvalidInput` for another value
/// of the variable. Both say what to do about it.
pub(crate) fn choose(wanted: Option<DriverKind>) -> io::Result<Choice> {
    choose_from(wanted, env::var_os(VARIABLE).map(|value| value.to_string_lossy().into()), attempt)
}

/// As [`choose`], given the variable's value and a way to try io_uring.
fn choose_from(
    wanted: Option<DriverKind>,
    variable: Option<String>,
    attempt: impl FnOnce() -> Result<(), String>,
) -> io::Result<Choice> {
    let (asked, asker) = match (wanted, variable) {
        (Some(kind), _) => (Some(kind), "asked for by the program".to_owned()),
        (None, Some(value)) => (parse(&value)?, format!("asked for by {VARIABLE}={value}")),
        (None, None) => (None, String::new()),
    };
    match asked {
        Some(DriverKind::Epoll) => Ok(Choice { kind: DriverKind::Epoll, reason: asker }),
        Some(DriverKind::Uring) => match attempt() {
            Ok(()) => Ok(Choice { kind: DriverKind::Uring, reason: asker }),
            Err(problem) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "io_uring was {asker} and does not work here: {problem}; let the process use it \
                     (seccomp profile, kernel.io_uring_disabled, Linux 5.19 or later), or choose \
                     epoll or auto"
                ),
            )),
        },
        None => Ok(match attempt() {
            Ok(()) => Choice { kind: DriverKind::Uring, reason: "it works here".to_owned() },
            Err(reason) => Choice { kind: DriverKind::Epoll, reason },
        }),
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)
    }
}

const VARIABLE: &str = "THRONG_DRIVER";

/// What the variable asks for; `None` leaves the choice to us.
fn parse(value: &str) -> io::Result<Option<DriverKind>> {
    match value.trim().to_ascii_lowercase().as_str() {
        "auto" | "" => Ok(None),
        "uring" | "io_uring" => Ok(Some(DriverKind::Uring)),
        "epoll" => Ok(Some(DriverKind::Epoll)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{VARIABLE} is {value:?}; set it to auto, uring or epoll, or unset it"),
        )),
    }
}

/// Whether io_uring does all that we need, or the one line that says why not.
fn attempt() -> Result<(), String> {
    match read_sysctl("io_uring_disabled") {
        Some(2) => Err("kernel.io_uring_disabled is 2, which forbids it to all".to_owned()),
        // 1 leaves it to processes with a capability, and to members of a group: trying tells. The
        // kernel takes a ring down some time after it was closed, and interrupts the thread that made
        // it in whatever call that is by then: let it be a thread that has gone.
        _ => {
            thread::spawn(rehearse).join().unwrap_or_else(|_| Err("the self-test panicked".into()))
        }
    }
}

/// A connection's whole life on a small ring of its own.
fn rehearse() -> Result<(), String> {
    let (listener, address) = listen().map_err(|error| format!("no socket to try it: {error}"))?;
    let settings = Settings {
        arena_len: 4096,
        receive_len: 4096,
        receive_count: 2,
        sockets_max: 8,
        peer_addresses: false,
    };
    let waker = Waker::new().map_err(|error| format!("eventfd: {error}"))?;
    let mut driver =
        Uring::new(&settings, vec![OwnedFd::from(listener)], waker).map_err(setup_problem)?;
    Rehearsal { driver: &mut driver }
        .play(&address)
        .map_err(|scene| format!("the self-test failed: {scene}"))
}

/// Why there is no ring.
fn setup_problem(error: io::Error) -> String {
    use rustix::io::Errno;
    match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            "io_uring_setup: EPERM (seccomp or kernel.io_uring_disabled)".to_owned()
        }
        Some(Errno::NOSYS) => "io_uring_setup: ENOSYS (seccomp, or Linux before 5.1)".to_owned(),
        Some(Errno::NOMEM) => {
            "io_uring_setup: ENOMEM (RLIMIT_MEMLOCK or the memory limit is too low)".to_owned()
        }
        _ => format!("io_uring_setup: {error}"),
    }
}

/// A listener that needs no network, and how to reach it. The name lives in no file system.
fn listen() -> io::Result<(UnixListener, SocketAddr)> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("throng-probe-{}-{count}", process::id());
    let address = SocketAddr::from_abstract_name(name)?;
    Ok((UnixListener::bind_addr(&address)?, address))
}

/// The number in `/proc/sys/kernel/<name>`, if there is one.
fn read_sysctl<T: FromStr>(name: &str) -> Option<T> {
    fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok()
}

/// A driver under test. What fails is named by what was expected.
struct Rehearsal<'a> {
    driver: &'a mut Uring,
}

impl Rehearsal<'_> {
    fn play(&mut self, address: &SocketAddr) -> Result<(), &'static str> {
        let token = Token { index: 0, generation: 0 };
        let connect = || -> io::Result<UnixStream> {
            let client = UnixStream::connect_addr(address)?;
            client.set_read_timeout(Some(PATIENCE))?;
            client.set_write_timeout(Some(PATIENCE))?;
            Ok(client)
        };
        let mut client = connect().map_err(|_| "connecting")?;

        self.driver.accept(0);
        let socket = self.expect("accepting into a slot", |completion| match completion {
            Completion::Accepted { socket, .. } => Some(socket),
            _ => None,
        })?;
        self.driver.submit(Op::Attach(socket), token);
        for greeting in [b"hello", b"again"] {
            client.write_all(greeting).map_err(|_| "writing")?;
            self.expect("receiving through the buffer ring", |completion| match completion {
                Completion::Received { bytes, .. } => (bytes == greeting).then_some(()),
                _ => None,
            })?;
        }
        let payload = Payload::Shared(bytes::Bytes::from_static(b"hello"));
        self.driver.submit(Op::Send { payload, acknowledge: true }, token);
        self.expect("sending", |completion| {
            matches!(completion, Completion::Sent { .. }).then_some(())
        })?;
        let mut answer = [0; 5];
        client.read_exact(&mut answer).map_err(|_| "reading what was sent")?;

        // A socket that is full has to say so: silence would mean that all of it left.
        let payload = Payload::Shared(vec![0; OVERFULL_LEN].into());
        self.driver.submit(Op::Send { payload, acknowledge: false }, token);
        self.expect("news of a short send", |completion| {
            matches!(completion, Completion::Unsent { .. }).then_some(())
        })?;
        self.driver.submit(Op::Close, token);
        self.expect("closing", |completion| {
            matches!(completion, Completion::Closed { .. }).then_some(())
        })?;
        let end = client.read_to_end(&mut Vec::new());
        end.map(drop).map_err(|_| "closing for the peer to see")
    }

    /// The next completion, if it is what `pick` expects.
    fn expect<T>(
        &mut self,
        what: &'static str,
        pick: impl FnOnce(Completion<'_>) -> Option<T>,
    ) -> Result<T, &'static str> {
        for _ in 0..TURNS {
            self.driver.wait(Some(PATIENCE / TURNS)).map_err(|_| what)?;
            if let Some((completion, _)) = self.driver.next() {
                return pick(completion).ok_or(what);
            }
        }
        Err(what)
    }
}

/// How long one step may take on a machine that has a lot to do.
const PATIENCE: Duration = Duration::from_secs(2);
const TURNS: u32 = 100;

/// More than a socket's buffers hold.
const OVERFULL_LEN: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_first_is_heard() {
        use DriverKind::{Epoll, Uring};
        let cases = [
            (None, None, true, Ok(Uring)),
            (None, None, false, Ok(Epoll)),
            (None, Some("auto"), false, Ok(Epoll)),
            (None, Some(""), true, Ok(Uring)),
            (None, Some("epoll"), true, Ok(Epoll)),
            (None, Some(" URING "), true, Ok(Uring)),
            (None, Some("io_uring"), false, Err(io::ErrorKind::Unsupported)),
            (None, Some("kqueue"), true, Err(io::ErrorKind::InvalidInput)),
            (Some(Epoll), Some("uring"), true, Ok(Epoll)),
            (Some(Epoll), Some("nonsense"), true, Ok(Epoll)),
            (Some(Uring), Some("epoll"), true, Ok(Uring)),
            (Some(Uring), None, false, Err(io::ErrorKind::Unsupported)),
        ];
        for (wanted, variable, works, expected) in cases {
            let attempt = || if works { Ok(()) } else { Err("out of order".to_owned()) };
            let choice = choose_from(wanted, variable.map(str::to_owned), attempt);
            let kind = choice.as_ref().map(|choice| choice.kind).map_err(io::Error::kind);
            assert_eq!(kind, expected, "{wanted:?} {variable:?} {works}");
            let text = choice.map_or_else(|error| error.to_string(), |choice| choice.to_string());
            let names_it = match expected {
                Err(io::ErrorKind::InvalidInput) => "kqueue",
                _ if !works => "out of order",
                _ => "",
            };
            assert!(text.contains(names_it) && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn says_why_there_is_no_ring() {
        use rustix::io::Errno;
        for (errno, word) in [
            (Errno::PERM, "seccomp"),
            (Errno::NOSYS, "ENOSYS"),
            (Errno::NOMEM, "MEMLOCK"),
            (Errno::MFILE, "open files"),
        ] {
            let problem = setup_problem(errno.into());
            assert!(problem.contains(word), "{problem}");
        }
    }

    /// Where io_uring works, the self-test has to find that it does, and more than once.
    #[test]
    fn rehearses() {
        for _ in 0..2 {
            match rehearse() {
                Ok(()) => {}
                Err(problem) if problem.starts_with("io_uring_setup") => {
                    eprintln!("skipped: {problem}");
                }
                Err(problem) => panic!("{problem}"),
            }
        }
    }
}
