//! User instructions of a unit, counted by valgrind: they repeat whatever else the machine does.
//!
//! A server runs under callgrind, built for a processor that valgrind knows, and gets a bounded load.
//! Callgrind counts from dump to dump. Before each dump the load pauses until the server has answered
//! all that is in flight, so what lies between two dumps is what the units between them cost.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Args;

use crate::{
    client::Load,
    report,
    results::{Count, Instructions},
    roster::{ANY_PORT, Cpu, Running, Server, root},
    run::Programs,
    scenario::{Kind, Scenario, Work},
    sys,
};

/// Counts the user instructions that servers need, under valgrind.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The scenarios, separated by commas. Default: i, iii, iv, v, vi and vii.
    #[arg(long = "scenario", value_name = "LIST", value_delimiter = ',')]
    scenarios: Vec<String>,
    /// The servers, separated by commas. Default: all of them.
    #[arg(long = "server", value_name = "LIST", value_delimiter = ',')]
    servers: Vec<String>,
    /// Where the counts are written. Default: bench/results.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Counts, and writes.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let mut scenarios = Scenario::named(&options.scenarios)?;
    scenarios.retain(|scenario| unit_count(scenario).is_some());
    sys::raise_descriptor_limit()?;
    let programs = Programs::build(&Server::named(&options.servers)?, Cpu::Avx2)?;
    let out = options.out.clone().unwrap_or_else(|| root().join("bench/results"));
    let dumps = out.join("callgrind");
    fs::create_dir_all(&dumps)?;
    let mut instructions = Instructions {
        servers: programs.entries(),
        scenarios: scenarios.iter().map(|scenario| (*scenario).into()).collect(),
        counts: Vec::new(),
    };
    for scenario in scenarios {
        let Some((work, units)) = unit_count(scenario) else { continue };
        for (server, program) in programs.ready() {
            let counted = if server.is_go() {
                Err(io::Error::other("is a Go program, which valgrind does not run"))
            } else if scenario.kind.is_broadcast() && !server.broadcasts {
                Err(io::Error::other("has no broadcast of its own"))
            } else {
                count(server, program, scenario.kind, work, units, &dumps)
            };
            eprintln!("({}) {}: {counted:?}", scenario.id, server.id);
            instructions.counts.push(Count {
                server: server.id.into(),
                scenario: scenario.id.into(),
                problem: counted.as_ref().err().map(ToString::to_string),
                each: counted.ok(),
            });
        }
    }
    fs::remove_dir_all(&dumps)?;
    instructions.store(&out.join("instructions.json"))?;
    report::write(&out)
}

/// What is counted, and of how many units; nothing if a scenario shows no more than another does.
fn unit_count(scenario: &Scenario) -> Option<(Work, u64)> {
    let Kind::Busy(work) = scenario.kind else { return None };
    let (_, units) = UNITS.iter().find(|(id, _)| *id == scenario.id)?;
    Some((work, *units))
}

/// The instructions of a unit.
fn count(
    server: &Server,
    program: &Path,
    kind: Kind,
    work: Work,
    units: u64,
    dumps: &Path,
) -> io::Result<f64> {
    let file = dumps.join(server.id);
    let mut command = Command::new("valgrind");
    let option = format!("--callgrind-out-file={}", file.display());
    command.args(["--tool=callgrind", &option]).arg(program);
    // Valgrind would count each byte that a single `rep movsb` or `rep stosb` moves.
    command.env("GLIBC_TUNABLES", NO_REP);
    let running = start(server, command, kind)?;
    let mut load = work.open(running.address)?;
    advance(&mut *load, units / 10 + 1)?;
    dump(&running)?;
    let before = load.done().count;
    advance(&mut *load, units)?;
    dump(&running)?;
    let total = fs::read_to_string(dump_path(&file, 2))?;
    let total = total_of(&total).ok_or_else(|| io::Error::other("a dump has no total"))?;
    Ok(total as f64 / (load.done().count - before) as f64)
}

/// Starts a server that runs under valgrind.
///
/// Valgrind runs one thread at a time, and does not know that `io_uring_enter` waits: a reactor that
/// waits for its first connection keeps the thread from running that would say where the server listens.
/// So the port is chosen here, and connected to until it has been said.
fn start(server: &Server, command: Command, kind: Kind) -> io::Result<Running> {
    let address = TcpListener::bind(ANY_PORT)?.local_addr()?;
    let SocketAddr::V4(address) = address else { return Err(io::ErrorKind::Unsupported.into()) };
    let is_there = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_there.load(Ordering::Relaxed) {
                let _ = TcpStream::connect(address);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let running = Running::start(server, command, &kind.arguments(server.side), address);
        is_there.store(true, Ordering::Relaxed);
        running
    })
}

/// Loads until `units` more are done.
fn advance(load: &mut dyn Load, units: u64) -> io::Result<()> {
    let (start, end) = (Instant::now(), load.done().count + units);
    while load.done().count < end {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{units} units take longer than {PATIENCE:?}")));
        }
        load.turn()?;
    }
    Ok(())
}

/// Has callgrind write what it has counted since the last time.
fn dump(running: &Running) -> io::Result<()> {
    thread::sleep(SETTLE);
    let pid = format!("--pid={}", running.process()?.id());
    let output = Command::new("vgdb").args([&pid, "dump"]).output()?;
    if output.status.success() {
        return Ok(());
    }
    let problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("vgdb cannot ask for a dump: {problem}")))
}

/// Callgrind's name for its dump of this number.
fn dump_path(file: &Path, number: u32) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The instructions in a dump.
fn total_of(dump: &str) -> Option<u64> {
    let total = dump.lines().find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok()
}

/// How many units of a scenario are enough that its connections count for nothing.
const UNITS: [(&str, u64); 6] =
    [("i", 20_000), ("iii", 200_000), ("iv", 5_000), ("v", 100), ("vi", 50_000), ("vii", 2_000)];
const NO_REP: &str =
    "glibc.cpu.x86_rep_movsb_threshold=1073741824:glibc.cpu.x86_rep_stosb_threshold=1073741824";
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a server needs for what is in flight.
const SETTLE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals() {
        let check = |dump: &str, expected: Option<u64>| assert_eq!(total_of(dump), expected);
        check("version: 1\nsummary: 12\n\ntotals: 11468145\n", Some(11_468_145));
        check("version: 1\n", None);
    }

    #[test]
    fn dumps_are_numbered() {
        assert_eq!(dump_path(Path::new("a/uws"), 2), Path::new("a/uws.2"));
    }

    #[test]
    fn every_scenario_that_is_counted_exists() {
        let ids: Vec<_> = UNITS.iter().map(|(id, _)| (*id).to_owned()).collect();
        let scenarios = Scenario::named(&ids).unwrap();
        assert!(scenarios.iter().all(|scenario| unit_count(scenario).is_some()));
    }
}
