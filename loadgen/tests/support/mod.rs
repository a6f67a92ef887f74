//! A server for the length of a test, and the program run against it.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::{
    env, fs,
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use throng::{Conn, DriverKind, Handler, Message, Running, Server, ServerBuilder, Shutdown};

/// Sends every message back.
#[derive(Clone)]
pub(crate) struct Echo;

impl Handler for Echo {
    type Data = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
    }
}

/// Both drivers, with their names on the command line.
pub(crate) const DRIVERS: [(DriverKind, &str); 2] =
    [(DriverKind::Uring, "uring"), (DriverKind::Epoll, "epoll")];

/// A running server, which is shut down when this is dropped.
pub(crate) struct Serving {
    url: String,
    running: Option<Running>,
}

/// A server with one reactor on a free port of the loopback address.
pub(crate) fn serve<H: Handler + Clone + Send + Sync>(driver: DriverKind, handler: H) -> Serving {
    serve_with(driver, handler, |builder| builder)
}

/// The same, with other settings.
pub(crate) fn serve_with<H: Handler + Clone + Send + Sync>(
    driver: DriverKind,
    handler: H,
    settings: impl FnOnce(ServerBuilder) -> ServerBuilder,
) -> Serving {
    let builder = Server::builder().listen("127.0.0.1:0").driver(driver).reactors(1);
    let server = settings(builder).build().expect("the settings are in order");
    let url = format!("ws://{}/", server.addresses()[0]);
    let running = server.spawn(move |_reactor| handler.clone()).expect("it starts");
    Serving { url, running: Some(running) }
}

impl Serving {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until so many connections are open.
    #[track_caller]
    pub(crate) fn until_open(&self, count: u64) {
        let end = Instant::now() + Duration::from_secs(30);
        let remote = self.running.as_ref().expect("it runs").remote();
        while remote.total().opened < count {
            assert!(Instant::now() < end, "they never came: {:?}", remote.total());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        let at_once = Shutdown { deadline: Duration::ZERO, ..Shutdown::default() };
        let _ = running.remote().shutdown(at_once);
        if !thread::panicking() {
            running.join().expect("it ends without an error");
        }
    }
}

/// What a run of the program left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What `--json` wrote, if it did.
    pub(crate) json: Value,
}

impl Ran {
    /// A counter of the report.
    #[track_caller]
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let value = self.json["counters"][name].as_u64();
        value.unwrap_or_else(|| panic!("no counter {name} in {}\n{}", self.stdout, self.stderr))
    }

    /// How many latencies there are of a timing.
    pub(crate) fn latency_count(&self, timing: &str) -> u64 {
        self.json["latencies"][timing]["count"].as_u64().unwrap_or(0)
    }
}

/// The program with these words, its output kept.
pub(crate) fn program(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program with these words, and waits for its end.
pub(crate) fn run(words: &[&str]) -> Ran {
    let output = program(words).output().expect("it can be started");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        json: Value::Null,
    }
}

/// Puts a short load on a server, and reads the report. Nothing of it is excluded as warm-up, and
/// however slow this machine is just now, the run is valid.
pub(crate) fn load(workload: &str, url: &str, driver: &str, words: &[&str]) -> Ran {
    let json = scratch("json");
    let name = json.to_string_lossy();
    let mut all = vec![workload, url, "--driver", driver, "--reactors", "2", "--seed", "7"];
    all.extend(["--quiet", "--json", &name, "--warm-up", "0s"]);
    all.extend(["--own-cpu-max", "2", "--own-lag-max", "1h", "--own-late-max", "1"]);
    if !words.contains(&"--duration") {
        all.extend(["--duration", "300ms"]);
    }
    all.extend(words);
    let mut ran = run(&all);
    let text = fs::read_to_string(&json);
    let text = text.unwrap_or_else(|error| panic!("no report: {error}\n{}", ran.stderr));
    ran.json = serde_json::from_str(&text).expect("it is JSON");
    let _ = fs::remove_file(&json);
    ran
}

/// A name for a file that nobody else uses.
pub(crate) fn scratch(extension: &str) -> std::path::PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("loadgen-test-{}-{number}.{extension}", process::id()))
}
