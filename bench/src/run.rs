//! The comparison: servers side by side, in turns, so that a machine's moods meet all of them alike.

use std::{
    fs, io,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use clap::Args;

use crate::{
    client, report,
    results::{Entry, Machine, Outcome, Results, Row, Sample, Settings},
    roster::{Cpu, Running, Server, Workshop, root},
    scenario::{Kind, Scenario},
    sys,
};

/// Builds the servers, measures them in turns, and writes tables and plots.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The scenarios, separated by commas. Default: all of them.
    #[arg(long = "scenario", value_name = "LIST", value_delimiter = ',')]
    scenarios: Vec<String>,
    /// The servers, separated by commas. Default: all of them.
    #[arg(long = "server", value_name = "LIST", value_delimiter = ',')]
    servers: Vec<String>,
    /// How often each has its turn.
    #[arg(long, value_name = "N", default_value_t = 6)]
    rounds: usize,
    /// Seconds of a turn, after a fifth of a second that is not measured.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,
    /// Two short rounds, to see that everything works.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// The core that servers run on.
    #[arg(long, value_name = "N", default_value_t = 0)]
    server_core: usize,
    /// The core that the load comes from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    load_core: usize,
    /// Where the results are written. Default: bench/results.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Builds the servers of the comparison.
#[derive(Debug, Args)]
pub(crate) struct BuildOptions {
    /// The servers, separated by commas. Default: all of them.
    #[arg(long = "server", value_name = "LIST", value_delimiter = ',')]
    servers: Vec<String>,
    /// The processor to build for.
    #[arg(long, value_enum, default_value_t = Cpu::Native)]
    cpu: Cpu,
}

/// Builds, and says what could not be.
pub(crate) fn build(options: &BuildOptions) -> io::Result<()> {
    let servers = Server::named(&options.servers)?;
    let missing = Programs::build(&servers, options.cpu)?.missing();
    if missing == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("{missing} of {} servers could not be built", servers.len())))
}

/// Measures, and writes.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let scenarios = Scenario::named(&options.scenarios)?;
    let settings = options.settings();
    let seconds = Duration::try_from_secs_f64(settings.seconds).map_err(io::Error::other)?;
    sys::raise_descriptor_limit()?;
    let programs = Programs::build(&Server::named(&options.servers)?, settings.cpu)?;
    let mut results = Results {
        machine: Machine::this(),
        settings,
        servers: programs.entries(),
        scenarios: Vec::new(),
    };
    let out = options.out.clone().unwrap_or_else(|| root().join("bench/results"));
    fs::create_dir_all(&out)?;
    for scenario in scenarios {
        let start = Instant::now();
        results.scenarios.push(Contest::start(scenario, &programs, settings)?.run(seconds)?);
        eprintln!("({}) {}: {:.0?}", scenario.id, scenario.title, start.elapsed());
        // After each, so that a run that is cut short leaves what it has.
        results.store(&out.join("results.json"))?;
    }
    report::write(&out)
}

impl Options {
    fn settings(&self) -> Settings {
        let (rounds, seconds) = if self.quick { (2, 0.3) } else { (self.rounds, self.seconds) };
        let Self { server_core, load_core, .. } = *self;
        Settings { rounds, seconds, server_core, load_core, cpu: Cpu::Native }
    }
}

/// The servers, each with its program or the reason why there is none.
#[derive(Debug)]
pub(crate) struct Programs(Vec<(&'static Server, Result<PathBuf, String>)>);

impl Programs {
    /// Builds `servers`, one after the other, and tells of each.
    pub(crate) fn build(servers: &[&'static Server], cpu: Cpu) -> io::Result<Self> {
        let workshop = Workshop::new(cpu)?;
        let build = |server: &&'static Server| {
            let start = Instant::now();
            let program = workshop.build(server).map_err(|error| error.to_string());
            match &program {
                Ok(_) => eprintln!("{} is built: {:.0?}", server.id, start.elapsed()),
                Err(problem) => eprintln!("{} is left out: {problem}", server.id),
            }
            (*server, program)
        };
        Ok(Self(servers.iter().map(build).collect()))
    }

    /// Those that could be built.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (&'static Server, &PathBuf)> {
        self.0.iter().filter_map(|(server, program)| Some((*server, program.as_ref().ok()?)))
    }

    /// All of them, as results list them.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let entry = |(server, program): &(&Server, Result<_, String>)| Entry {
            id: server.id.into(),
            title: server.title.into(),
            version: server.version(),
            side: server.side,
            problem: program.as_ref().err().cloned(),
        };
        self.0.iter().map(entry).collect()
    }

    fn missing(&self) -> usize {
        self.0.iter().filter(|(_, program)| program.is_err()).count()
    }
}

/// A scenario, and the servers that go through it.
#[derive(Debug)]
struct Contest {
    scenario: &'static Scenario,
    settings: Settings,
    contestants: Vec<Contestant>,
}

/// A server in its own new process, and what it has shown.
#[derive(Debug)]
struct Contestant {
    running: Option<Running>,
    row: Row,
}

impl Contest {
    fn start(
        scenario: &'static Scenario,
        programs: &Programs,
        settings: Settings,
    ) -> io::Result<Self> {
        // Servers run where this thread may.
        sys::pin(settings.server_core)?;
        let contestants = programs.ready().map(|(server, program)| {
            let running = Running::start(server, Command::new(program));
            Contestant::new(server, running)
        });
        let contestants = contestants.collect();
        sys::pin(settings.load_core)?;
        Ok(Self { scenario, settings, contestants })
    }

    fn run(mut self, seconds: Duration) -> io::Result<Outcome> {
        let count = self.contestants.len();
        for round in 0..self.settings.rounds {
            // Another one goes first each time, so that no place in the round is always the same
            // one's.
            for turn in 0..count {
                self.contestants[(round + turn) % count].measure(self.scenario.kind, seconds);
            }
        }
        Ok(Outcome {
            id: self.scenario.id.into(),
            title: self.scenario.title.into(),
            unit: self.scenario.unit.into(),
            rows: self.contestants.into_iter().map(|contestant| contestant.row).collect(),
        })
    }
}

impl Contestant {
    fn new(server: &Server, running: io::Result<Running>) -> Self {
        let problem = running.as_ref().err().map(ToString::to_string);
        let row = Row { server: server.id.into(), windows: Vec::new(), problem };
        Self { running: running.ok(), row }
    }

    /// A window more. A server that fails has had its last turn, and its row says why.
    fn measure(&mut self, kind: Kind, seconds: Duration) {
        let Some(running) = &self.running else { return };
        let window = || {
            let process = running.process()?;
            let mut load = kind.open(running.address)?;
            client::measure(&mut *load, process, seconds)
        };
        match window() {
            Ok(window) => self.row.windows.push(Sample::from(&window)),
            Err(error) => {
                eprintln!("{} fails: {error}", self.row.server);
                self.row.problem = Some(error.to_string());
                self.running = None;
            }
        }
    }
}
