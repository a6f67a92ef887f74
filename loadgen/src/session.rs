//! A run from its command line to its report.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime},
};

use clap::Args;
use throng_meter::{KernelMemory, Process};

use crate::{
    cli::{Options, OutputOptions, PayloadOptions, TimelineOptions},
    crew::{Conductor, Plan, Workload},
    host::Host,
    payload::Composer,
    record::{Facts, Forget, Memory, Outcome, Pacing, Run, SCHEMA, Step, Timing, Verdict},
    report::{self, live::Live},
};

/// What is known about a run besides what it measures.
pub(crate) struct Session<'a> {
    workload: &'static str,
    timeline: &'a TimelineOptions,
    output: &'a OutputOptions,
    plan: Arc<Plan>,
    main: Timing,
    parameters: Facts,
    environment: Facts,
    notes: Vec<String>,
    steps: Vec<Step>,
    memory: Vec<Memory>,
    server: Option<Process>,
    before: Before,
    started: SystemTime,
    /// What decides when a message is sent.
    pub(crate) pacing: Pacing,
}

/// What processes and kernel used before there were connections.
#[derive(Debug)]
struct Before {
    server_len: u64,
    server_cpu_time: Duration,
    own_len: u64,
    kernel: KernelMemory,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As it should.
    Good,
    /// Something was not as it had to be.
    Broken,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Good => ExitCode::SUCCESS,
            Ending::Broken => ExitCode::from(report::assert::EXIT_CODE),
        }
    }
}

impl<'a> Session<'a> {
    /// Begins a run of this workload.
    ///
    /// # Errors
    ///
    /// If the server's process is not there.
    pub(crate) fn new<L: Args>(
        workload: &'static str,
        plan: &Arc<Plan>,
        options: &'a Options<L>,
    ) -> Result<Self, String> {
        let Options { server, timeline, crowd, output, .. } = options;
        let process = server.pid.map(Process::new).transpose();
        let process = process.map_err(|error| format!("--pid: {error}"))?;
        let mut session = Self {
            workload,
            timeline,
            output,
            plan: plan.clone(),
            main: Timing::RoundTrip,
            parameters: Facts::default(),
            environment: environment(&Host::this()),
            notes: plan.notes.clone(),
            steps: Vec::new(),
            memory: Vec::new(),
            server: process,
            before: Before::now(process),
            started: SystemTime::now(),
            pacing: Pacing::Idle,
        };
        session.fact("target", server.targets.join(" "));
        session.fact("reactors", plan.worker_count);
        match crowd.seed {
            Some(seed) => session.fact("seed", seed),
            None => session.note(Some(format!("the same again: --seed {}", plan.seed))),
        }
        if cfg!(debug_assertions) {
            session.note(Some("this is a debug build: its figures say nothing".to_owned()));
        }
        Ok(session)
    }

    /// Adds what the run was told.
    pub(crate) fn fact(&mut self, name: &str, value: impl std::fmt::Display) {
        self.parameters.set(name, value);
    }

    /// Adds what a reader should know.
    pub(crate) fn note(&mut self, note: Option<String>) {
        self.notes.extend(note);
    }

    /// Adds what messages are like.
    pub(crate) fn message(&mut self, payload: &PayloadOptions, composer: &Composer) {
        self.note(payload.caveat(composer));
        self.fact("message", format!("{} bytes, {:?}", composer.message_len(), payload.kind));
    }

    /// Adds a load that `limit` tried.
    pub(crate) fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Starts the workers. `main` is the latency that matters most, and `measurement` how long the
    /// measurement takes.
    pub(crate) fn start<W: Workload>(
        &mut self,
        main: Timing,
        measurement: Option<Duration>,
        make: impl Fn(usize) -> W + Send + Sync + 'static,
    ) -> Result<Conductor, String> {
        self.main = main;
        let live = || Live::new(io::stderr().is_terminal(), measurement);
        let live = (!self.output.quiet).then(live);
        let conductor = Conductor::start(&self.plan, main, live, make)?;
        self.before = Before::now(self.server);
        let (kind, reason) = conductor.driver();
        self.environment.set("driver", format!("{kind}: {reason}"));
        Ok(conductor)
    }

    /// Loads the server, at `rate` events a second in all if it has a rate, for as long as the command
    /// line says, and looks at what that has cost it.
    pub(crate) fn load(&mut self, conductor: &mut Conductor, rate: Option<f64>, forget: Forget) {
        conductor.load(rate, self.timeline.warm_up, forget);
        conductor.pause(self.timeline.duration);
        conductor.end();
        self.measure_server(conductor);
    }

    /// Looks at the server's process, if it is known, with its connections open.
    pub(crate) fn measure_server(&mut self, conductor: &Conductor) {
        if self.server.is_some() {
            self.measure_memory(conductor);
        }
    }

    /// Looks at what the open connections cost, here and in the server's process.
    pub(crate) fn measure_memory(&mut self, conductor: &Conductor) {
        let now = Before::now(self.server);
        let before = &self.before;
        let taken = now.kernel.taken_since(&before.kernel);
        let cpu_time = now.server_cpu_time.saturating_sub(before.server_cpu_time);
        let own = |len: Option<i64>| len.map(|len| u64::try_from(len).unwrap_or(0));
        let connection_count = conductor.open_count();
        self.memory.clear();
        if self.server.is_some() {
            self.memory.push(Memory {
                whose: Memory::SERVER.to_owned(),
                connection_count,
                user_len: now.server_len.saturating_sub(before.server_len),
                kernel_len: own(taken.server_slabs),
            });
        }
        self.memory.push(Memory {
            whose: Memory::OWN.to_owned(),
            connection_count,
            user_len: now.own_len.saturating_sub(before.own_len),
            kernel_len: own(taken.slabs.zip(taken.server_slabs).map(|(all, server)| all - server)),
        });
        if self.server.is_some() {
            let cpu_time = cpu_time.as_secs_f64();
            self.note(Some(format!("the server's process used {cpu_time:.2} s of CPU time")));
        }
    }

    /// Ends a run of one measurement, and reports it.
    pub(crate) fn finish(self, mut conductor: Conductor) -> Result<Ending, String> {
        let outcome = conductor.measured();
        let run = self.run(outcome, &conductor);
        self.close(conductor, run)
    }

    /// Ends the run, and reports this of it.
    pub(crate) fn close(self, conductor: Conductor, mut run: Run) -> Result<Ending, String> {
        run.parameters = self.parameters;
        run.steps = self.steps;
        run.notes = self.notes;
        if conductor.is_interrupted() {
            run.notes.push("the run was ended early".to_owned());
        }
        conductor.finish()?;
        Reports(self.output).write(&run)
    }

    /// All that is known about the last measurement.
    pub(crate) fn run(&self, outcome: Outcome, conductor: &Conductor) -> Run {
        Run {
            schema: SCHEMA,
            program: format!("loadgen {}", env!("CARGO_PKG_VERSION")),
            started: humantime::format_rfc3339_seconds(self.started).to_string(),
            command_line: std::env::args_os()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            environment: self.environment.clone(),
            workload: self.workload.to_owned(),
            parameters: self.parameters.clone(),
            pacing: self.pacing,
            warm_up: self.timeline.warm_up,
            duration: conductor.measured_for(),
            verdict: Verdict::judge(&outcome, &self.output.limits()),
            main: self.main,
            tally: outcome.tally,
            open: conductor.open_count(),
            memory: self.memory.clone(),
            steps: self.steps.clone(),
            notes: self.notes.clone(),
            series: outcome.series,
        }
    }
}

/// Everything that a run is written to.
struct Reports<'a>(&'a OutputOptions);

impl Reports<'_> {
    /// Prints the table, writes the files, and looks whether everything is as it has to be.
    fn write(&self, run: &Run) -> Result<Ending, String> {
        let output = self.0;
        print(&report::table::text(run));
        let files = [
            (&output.json, report::json::text as fn(&Run) -> String),
            (&output.csv, report::csv::text),
            (&output.html, report::html::page),
        ];
        for (path, text) in files {
            if let Some(path) = path {
                write(path, &text(run))?;
            }
        }
        if let Some(prefix) = &output.hdr {
            report::hdr::write(run, prefix)?;
        }
        if output.assert.is_empty() {
            return Ok(Ending::Good);
        }
        let judgement = report::assert::judge(run, &output.assert);
        print(&judgement.text);
        Ok(if judgement.is_held { Ending::Good } else { Ending::Broken })
    }
}

impl Before {
    fn now(server: Option<Process>) -> Self {
        Self {
            server_len: server.and_then(|server| server.resident_len().ok()).unwrap_or(0),
            // Threads that are gone count: there are servers with one for each connection.
            server_cpu_time: server
                .and_then(|server| server.sampled_times().ok())
                .map_or(Duration::ZERO, |(user, kernel)| user + kernel),
            own_len: Process::this().resident_len().unwrap_or(0),
            kernel: KernelMemory::now().unwrap_or_default(),
        }
    }
}

fn environment(host: &Host) -> Facts {
    let limit =
        |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let (soft, hard) = host.descriptors_max;
    let mut facts = Facts::default();
    facts.set("version", &host.version);
    facts.set("kernel", &host.kernel);
    facts.set("CPU", format!("{} cores of {}", host.core_count, host.cpu));
    if let Some(governor) = &host.governor {
        facts.set("CPU governor", governor);
    }
    facts.set("memory", format!("{:.1} GiB", host.memory_len as f64 / f64::from(1 << 30)));
    facts.set("descriptors", format!("{} (hard limit {})", limit(soft), limit(hard)));
    facts.set("local ports", &host.port_range);
    facts
}

/// Prints to the standard output; that somebody stopped reading it is no error.
pub(crate) fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
