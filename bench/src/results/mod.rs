//! What a comparison found, as it is kept in `results.json` and `instructions.json`.

mod machine;

use std::{fs, io, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

pub(crate) use self::machine::Machine;
use crate::{
    client::{Window, idle::Silence},
    roster::{Cpu, Side},
    scenario::Scenario,
};

/// A comparison.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) settings: Settings,
    pub(crate) servers: Vec<Entry>,
    pub(crate) scenarios: Vec<Outcome>,
}

/// How it was run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    /// Of a window.
    pub(crate) seconds: f64,
    pub(crate) server_core: usize,
    pub(crate) load_core: usize,
    /// What all servers were built for.
    pub(crate) cpu: Cpu,
}

impl Settings {
    /// How long a window is.
    ///
    /// # Errors
    ///
    /// If that is no time.
    pub(crate) fn window(&self) -> io::Result<Duration> {
        Duration::try_from_secs_f64(self.seconds).map_err(|error| {
            let problem = format!("a window cannot last {} seconds: {error}", self.seconds);
            io::Error::new(io::ErrorKind::InvalidInput, problem)
        })
    }
}

/// A server that took part, or could not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) version: String,
    pub(crate) side: Side,
    /// Why it could not be built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// What a scenario showed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) unit: String,
    pub(crate) rows: Vec<Row>,
}

/// What it showed of a server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The server's `id`.
    pub(crate) server: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) windows: Vec<Sample>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) silences: Vec<Silence>,
    /// Why there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

/// A window in numbers. All but the rates and parts are of one unit.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) cpu_micros: f64,
    /// The part of the server's time that was spent in user space, where the kernel's clock saw any.
    pub(crate) user_part: Option<f64>,
    /// Where there are hardware counters, as the two that follow.
    pub(crate) cycles: Option<f64>,
    pub(crate) user_instructions: Option<f64>,
    pub(crate) kernel_instructions: Option<f64>,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    pub(crate) p999_micros: f64,
    pub(crate) server_busy: f64,
    pub(crate) load_busy: f64,
}

impl From<&Window> for Sample {
    fn from(window: &Window) -> Self {
        Self {
            per_second: window.per_second(),
            cpu_micros: window.cpu_micros_each(),
            user_part: Some(window.cost.user_part()).filter(|part| part.is_finite()),
            cycles: window.counted_each(|counts| counts.cycles),
            user_instructions: window.counted_each(|counts| counts.user_instructions),
            kernel_instructions: window.counted_each(|counts| counts.kernel_instructions),
            p50_micros: window.quantile_micros(0.5),
            p99_micros: window.quantile_micros(0.99),
            p999_micros: window.quantile_micros(0.999),
            server_busy: window.cost.busy(),
            load_busy: window.load_busy,
        }
    }
}

/// User instructions, as they are kept in `instructions.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) servers: Vec<Entry>,
    pub(crate) scenarios: Vec<Heading>,
    pub(crate) counts: Vec<Count>,
}

/// A scenario by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Heading {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) unit: String,
}

/// What a server needs for a unit of a scenario.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Their `id`s.
    pub(crate) server: String,
    pub(crate) scenario: String,
    pub(crate) each: Option<f64>,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

impl From<&Scenario> for Heading {
    fn from(scenario: &Scenario) -> Self {
        let Scenario { id, title, unit, .. } = *scenario;
        Self { id: id.into(), title: title.into(), unit: unit.into() }
    }
}

impl Instructions {
    /// Reads what [`store`](Self::store) wrote.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        load(path)
    }

    pub(crate) fn store(&self, path: &Path) -> io::Result<()> {
        store(self, path)
    }
}

impl Results {
    /// Reads what [`store`](Self::store) wrote.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        load(path)
    }

    pub(crate) fn store(&self, path: &Path) -> io::Result<()> {
        store(self, path)
    }

    /// The server with this `id`.
    pub(crate) fn server(&self, id: &str) -> Option<&Entry> {
        self.servers.iter().find(|server| server.id == id)
    }
}

fn load<T: for<'a> Deserialize<'a>>(path: &Path) -> io::Result<T> {
    let about = |problem: String| format!("cannot read {}: {problem}", path.display());
    let text =
        fs::read(path).map_err(|error| io::Error::new(error.kind(), about(error.to_string())))?;
    serde_json::from_slice(&text)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, about(error.to_string())))
}

fn store(value: &impl Serialize, path: &Path) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    fs::write(path, text).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
    })
}
