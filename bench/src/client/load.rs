//! Load, and what it shows of a server while it lasts.

use std::{
    fmt, io, mem,
    time::{Duration, Instant},
};

use throng_meter::Process;

use crate::measure::{Cost, Counts, Latencies, Meter};

/// Clients that keep a server busy, in one thread.
pub(crate) trait Load {
    /// Does what there is to do, or waits a little for it.
    fn turn(&mut self) -> io::Result<()>;
    /// What is done since it began, or since it was taken.
    fn done(&mut self) -> &mut Done;
    /// Waits for what is on its way, so that nothing was lost.
    fn finish(&mut self) -> io::Result<()>;
}

/// Units that are done, such as messages that were answered.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) count: u64,
    pub(crate) latencies: Latencies,
}

/// What one window of load showed.
#[derive(Debug)]
pub(crate) struct Window {
    /// Units done in it.
    pub(crate) count: u64,
    /// What it cost the server.
    pub(crate) cost: Cost,
    /// The part of it that the load was busy.
    pub(crate) load_busy: f64,
    pub(crate) latencies: Latencies,
}

/// Loads the server, first to warm up, then for the window.
pub(crate) fn measure(
    load: &mut dyn Load,
    server: Process,
    window: Duration,
) -> io::Result<Window> {
    run_for(load, WARM_UP)?;
    *load.done() = Done::default();
    let own = Meter::start(Process::this())?;
    let meter = Meter::start(server)?;
    run_for(load, window)?;
    let cost = meter.stop()?;
    let load_busy = own.stop()?.busy();
    let Done { count, latencies } = mem::take(load.done());
    load.finish()?;
    Ok(Window { count, cost, load_busy, latencies })
}

/// Goes on until the time is over and something has been done in it.
fn run_for(load: &mut dyn Load, time: Duration) -> io::Result<()> {
    let (start, before) = (Instant::now(), load.done().count);
    while start.elapsed() < time || load.done().count == before {
        if start.elapsed() > time + PATIENCE {
            return Err(io::Error::other(format!("nothing was answered for {PATIENCE:?}")));
        }
        load.turn()?;
    }
    Ok(())
}

impl Window {
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.cost.wall.as_secs_f64()
    }

    /// Of the server.
    pub(crate) fn cpu_micros_each(&self) -> f64 {
        self.cost.cpu.as_secs_f64() * 1e6 / self.count as f64
    }

    /// What the hardware counted for a unit, where it does.
    pub(crate) fn counted_each(&self, of: fn(&Counts) -> f64) -> Option<f64> {
        self.cost.counts.as_ref().map(|counts| of(counts) / self.count as f64)
    }

    /// The latency that `part` of all stay below, in microseconds.
    pub(crate) fn quantile_micros(&self, part: f64) -> f64 {
        self.latencies.quantile(part).as_secs_f64() * 1e6
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, rate, wall) = (self.count, self.per_second(), self.cost.wall);
        let micros = |part| self.quantile_micros(part);
        let (server, load) = (self.cost.busy() * 100.0, self.load_busy * 100.0);
        writeln!(f, "  messages      {count} in {wall:.2?}, {rate:.0}/s")?;
        writeln!(f, "  latency       p50 {:.0} µs, p99 {:.0} µs", micros(0.5), micros(0.99))?;
        writeln!(f, "  busy          server {server:.0} %, load {load:.0} %")?;
        let (cpu, user) = (self.cpu_micros_each(), self.cost.user_part() * 100.0);
        writeln!(f, "  each message  {cpu:.2} µs of the server's CPU, {user:.0} % in user space")?;
        let counted = |of| self.counted_each(of);
        let Some(((cycles, user), kernel)) = counted(|counts| counts.cycles)
            .zip(counted(|counts| counts.user_instructions))
            .zip(counted(|counts| counts.kernel_instructions))
        else {
            return writeln!(f, "                no hardware counters here");
        };
        writeln!(f, "                {cycles:.0} cycles")?;
        writeln!(
            f,
            "                {user:.0} instructions in user space, {kernel:.0} in the kernel"
        )
    }
}

/// How long the first answer may take beyond the time.
const PATIENCE: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_millis(200);
