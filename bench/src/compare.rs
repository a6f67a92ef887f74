//! Servers and floors side by side, in turns, so that a machine's moods meet all of them alike.

use std::{
    env,
    io::{self, BufRead as _, BufReader},
    net::SocketAddrV4,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use clap::Args;

use crate::{
    client::echo::{self, Load, Outcome},
    floor::Driver,
    measure::Process,
    sys,
};

/// Starts the echo example and a floor on each driver, and measures them in turns.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    load: Load,
    /// How often each has its turn.
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn, after a fifth of a second that is not measured.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,
    /// The drivers to compare.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["epoll", "uring"])]
    drivers: Vec<Driver>,
    /// The echo example. Default: the one that was built with this program.
    #[arg(long, value_name = "PATH")]
    echo: Option<PathBuf>,
    /// The core that servers run on.
    #[arg(long, value_name = "N", default_value_t = 0)]
    server_core: usize,
    /// The core that the load comes from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    load_core: usize,
}

/// Measures, and prints a table.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let seconds = Duration::try_from_secs_f64(options.seconds).map_err(io::Error::other)?;
    let mut servers = Vec::new();
    for &driver in &options.drivers {
        servers.push(Server::floor(driver, options)?);
        servers.push(Server::echo(driver, options)?);
    }
    sys::pin(options.load_core)?;
    for round in 0..options.rounds {
        // Another one goes first each time, so that no place in the round is always the same one's.
        for turn in 0..servers.len() {
            let index = (round + turn) % servers.len();
            servers[index].measure(&options.load, seconds)?;
        }
    }
    print(options, &servers);
    Ok(())
}

/// A server that runs, and what was measured of it.
#[derive(Debug)]
struct Server {
    name: String,
    process: Running,
    address: SocketAddrV4,
    outcomes: Vec<Outcome>,
}

/// A process that ends when we are done with it.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn floor(driver: Driver, options: &Options) -> io::Result<Self> {
        let core = options.server_core.to_string();
        let mut command = Command::new(env::current_exe()?);
        command.args(["floor", "--driver", driver.name(), "--core", &core]);
        Self::start(format!("{} floor", driver.name()), command)
    }

    fn echo(driver: Driver, options: &Options) -> io::Result<Self> {
        let program = match &options.echo {
            Some(path) => path.clone(),
            None => env::current_exe()?.with_file_name("examples/echo"),
        };
        let core = options.server_core.to_string();
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--driver", driver.name()]);
        command.args(["--reactors", "1", "--pin", &core]);
        Self::start(format!("{} echo", driver.name()), command)
    }

    /// Starts a program whose first line says `listening on ADDRESS (…)`.
    fn start(name: String, mut command: Command) -> io::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdout(Stdio::piped()).spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        let mut process = Running(child);
        let mut line = String::new();
        if let Some(output) = process.0.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.split(' ').next());
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            let problem = format!("{program} does not say where it listens, but {line:?}");
            return Err(io::Error::other(problem));
        };
        Ok(Self { name, process, address, outcomes: Vec::new() })
    }

    fn measure(&mut self, load: &Load, seconds: Duration) -> io::Result<()> {
        let server = Process::new(self.process.0.id())?;
        let outcome = echo::measure(self.address, server, load, seconds);
        let outcome = outcome
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.name)))?;
        self.outcomes.push(outcome);
        Ok(())
    }

    fn spread(&self, of: fn(&Outcome) -> f64) -> Spread {
        Spread::of(self.outcomes.iter().map(of).collect())
    }

    /// How often it costs what `floor` costs: by the least of each, and by the median of the rounds.
    fn ratio(&self, floor: &Self, of: fn(&Outcome) -> f64) -> Spread {
        let rounds = self.outcomes.iter().zip(&floor.outcomes);
        let rounds = Spread::of(rounds.map(|(own, floor)| of(own) / of(floor)).collect());
        Spread { min: self.spread(of).min / floor.spread(of).min, ..rounds }
    }
}

#[derive(Clone, Copy, Debug)]
struct Spread {
    min: f64,
    median: f64,
}

impl Spread {
    /// Not numbers if there are none, or none of them is known.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let median = (at(values.len().saturating_sub(1) / 2) + at(values.len() / 2)) / 2.0;
        Self { min: at(0), median }
    }

    fn show(self, decimals: usize) -> String {
        format!("{} / {}", number(self.min, decimals), number(self.median, decimals))
    }
}

/// What the table shows of a message: a heading, the value, and its decimals.
type Column = (&'static str, fn(&Outcome) -> f64, usize);

const COLUMNS: [Column; 4] = [CPU, CYCLES, USER_INSTRUCTIONS, KERNEL_INSTRUCTIONS];
const CPU: Column = ("CPU µs", Outcome::cpu_micros_each, 2);
const CYCLES: Column = ("cycles", |outcome| outcome.counted_each(|counts| counts.cycles), 0);
const USER_INSTRUCTIONS: Column =
    ("user instr.", |outcome| outcome.counted_each(|counts| counts.user_instructions), 0);
const KERNEL_INSTRUCTIONS: Column =
    ("kernel instr.", |outcome| outcome.counted_each(|counts| counts.kernel_instructions), 0);

/// Servers come in pairs, a floor and what stands on it.
fn print(options: &Options, servers: &[Server]) {
    let Options { load, rounds, seconds, server_core, load_core, .. } = options;
    println!("{load}; {rounds} rounds of {seconds} s.");
    println!("Servers on core {server_core}, load on core {load_core}.");
    println!("Messages, busy and in user space: median. Of one message: minimum / median.");
    println!("÷ floor: of the minima / median of the rounds; floors answer with 4 bytes more.");
    println!("–: there are no hardware counters, or they are not ours to read.\n");

    print!("| server | messages/s | busy % | load busy % | user % |");
    COLUMNS.iter().for_each(|(heading, ..)| print!(" {heading} |"));
    println!(" CPU ÷ floor | cycles ÷ floor |");
    println!("|{}", "---|".repeat(5 + COLUMNS.len() + 2));
    for pair in servers.chunks(2) {
        for server in pair {
            let median = |of| number(server.spread(of).median, 0);
            let rate = median(Outcome::per_second);
            let busy = median(|outcome| outcome.cost.busy() * 100.0);
            let load = median(|outcome| outcome.load_busy * 100.0);
            let user = median(|outcome| outcome.cost.user_part() * 100.0);
            print!("| {} | {rate} | {busy} | {load} | {user} |", server.name);
            for (_, of, decimals) in COLUMNS {
                print!(" {} |", server.spread(of).show(decimals));
            }
            for (_, of, _) in [CPU, CYCLES] {
                print!(" {} |", server.ratio(&pair[0], of).show(2));
            }
            println!();
        }
    }
}

fn number(value: f64, decimals: usize) -> String {
    if value.is_nan() { "–".into() } else { format!("{value:.decimals$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_and_median() {
        let check = |values: &[f64], expected: &str| {
            assert_eq!(Spread::of(values.to_vec()).show(1), expected);
        };
        check(&[], "– / –");
        check(&[f64::NAN, f64::NAN], "– / –");
        check(&[2.0], "2.0 / 2.0");
        check(&[4.0, 1.0], "1.0 / 2.5");
        check(&[4.0, 1.0, 2.0], "1.0 / 2.0");
    }
}
