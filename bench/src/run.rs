//! The comparison: servers side by side, in turns, so that a machine's moods meet all of them alike.

use std::{fs, io, path::PathBuf, process::Command, time::Instant};

use clap::Args;

use crate::{
    client::{self, idle},
    report,
    results::{Entry, Machine, Outcome, Results, Row, Sample, Settings},
    roster::{ANY_PORT, Cpu, Running, Server, Workshop, root},
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
    settings.window()?;
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
        results.scenarios.push(Contest::new(scenario, &programs, settings).run());
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

/// A server, its process while it has one, and what it has shown.
#[derive(Debug)]
struct Contestant {
    server: &'static Server,
    program: PathBuf,
    running: Option<Running>,
    row: Row,
}

impl Contest {
    fn new(scenario: &'static Scenario, programs: &Programs, settings: Settings) -> Self {
        let contestants = programs.ready().map(|(server, program)| {
            let is_able = server.broadcasts || !scenario.kind.is_broadcast();
            let problem = (!is_able).then(|| "has no broadcast of its own".to_owned());
            Contestant::new(server, program.clone(), problem)
        });
        Self { scenario, settings, contestants: contestants.collect() }
    }

    fn run(mut self) -> Outcome {
        let rounds = match self.scenario.kind {
            Kind::Busy(_) => self.settings.rounds,
            Kind::Silent { .. } => self.settings.rounds.min(SILENCES_MAX),
        };
        let count = self.contestants.len();
        for round in 0..rounds {
            // Another one goes first each time, so that no place in the round is always the same
            // one's.
            for turn in 0..count {
                let contestant = &mut self.contestants[(round + turn) % count];
                contestant.take_turn(self.scenario.kind, &self.settings);
            }
        }
        Outcome {
            id: self.scenario.id.into(),
            title: self.scenario.title.into(),
            unit: self.scenario.unit.into(),
            rows: self.contestants.into_iter().map(|contestant| contestant.row).collect(),
        }
    }
}

impl Contestant {
    fn new(server: &'static Server, program: PathBuf, problem: Option<String>) -> Self {
        let (windows, silences) = (Vec::new(), Vec::new());
        let row = Row { server: server.id.into(), windows, silences, problem };
        Self { server, program, running: None, row }
    }

    /// A server that fails has had its last turn, and its row says why.
    fn take_turn(&mut self, kind: Kind, settings: &Settings) {
        if self.row.problem.is_some() {
            return;
        }
        if let Err(error) = self.measure(kind, settings) {
            eprintln!("{}: {error}", self.server.id);
            self.row.problem = Some(error.to_string());
            self.running = None;
        }
    }

    fn measure(&mut self, kind: Kind, settings: &Settings) -> io::Result<()> {
        if self.running.is_none() {
            // Servers run where this thread may.
            sys::pin(settings.server_core)?;
            let command = Command::new(&self.program);
            let arguments = kind.arguments(self.server.side);
            self.running = Some(Running::start(self.server, command, &arguments, ANY_PORT)?);
        }
        sys::pin(settings.load_core)?;
        let Some(running) = &self.running else { return Ok(()) };
        let process = running.process()?;
        match kind {
            Kind::Busy(work) => {
                let mut load = work.open(running.address)?;
                let window = client::measure(&mut *load, process, settings.window()?)?;
                self.row.windows.push(Sample::from(&window));
            }
            Kind::Silent { connections } => {
                let silence = idle::measure(running.address, process, connections)?;
                self.row.silences.push(silence);
                // The next one begins with a process that has seen nobody.
                self.running = None;
            }
        }
        Ok(())
    }
}

/// Memory repeats.
const SILENCES_MAX: usize = 2;
