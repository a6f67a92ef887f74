//! Silent connections: what they cost while nothing happens, and what stays when they are gone.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddrV4,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use throng_meter::{KernelMemory, Process, Taken, available_len};

use super::crowd::{Crowd, Step};
use crate::bounds::{Bounds, MEMORY_MIN, Watch};

/// Opens many connections, lets them rest, and reports what each costs in memory.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server: an address of the loopback network.
    #[arg(long, value_name = "HOST:PORT")]
    target: SocketAddrV4,
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    count: usize,
    /// The server's process.
    #[arg(long)]
    pid: u32,
    /// How often to open all of them. What later rounds add to the server's memory was not reused.
    #[arg(long, value_name = "N", default_value_t = 2)]
    rounds: u32,
    /// Seconds after which to give up.
    #[arg(long, value_name = "S", default_value_t = 300)]
    give_up: u64,
}

/// Measures, and prints.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let server = Process::new(options.pid)?;
    let give_up = Duration::from_secs(options.give_up);
    let test = Test::new(options.target, server, options.count, give_up)?;
    for round in 1..=options.rounds {
        println!("round {round}: {} connections", options.count);
        test.round()?;
    }
    Ok(())
}

/// What a silent connection costs, in bytes.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Silence {
    /// The server's memory before the first connection; of all.
    pub(crate) resident_before: f64,
    /// What each adds to it.
    pub(crate) resident: f64,
    /// The kernel's memory at the server's end, where that is ours to know.
    pub(crate) kernel: Option<f64>,
    /// The part of a second that the server is busy with all of them.
    pub(crate) busy: f64,
}

/// Opens connections to a server that nobody has connected to, lets them rest, and closes them.
pub(crate) fn measure(target: SocketAddrV4, server: Process, count: usize) -> io::Result<Silence> {
    let test = Test::new(target, server, count, GIVE_UP)?;
    let sockets = socket_count()?;
    let kernel = KernelMemory::now()?;
    let before = server.resident_len()?;
    test.crowd.each(Step::Open)?;
    thread::sleep(SETTLE);
    let taken = KernelMemory::now()?.taken_since(&kernel);
    let busy = test.busy()?;
    let after = server.resident_len()?;
    test.crowd.each(Step::Close)?;
    test.wait_until_closed(sockets)?;
    Ok(Silence {
        resident_before: before as f64,
        resident: test.each(after as i64 - before as i64),
        kernel: taken.server_slabs.map(|server| test.each(server)),
        busy,
    })
}

struct Test {
    crowd: Crowd,
    server: Process,
    count: usize,
    bounds: Bounds,
}

impl Test {
    /// # Errors
    ///
    /// If the target is elsewhere, or memory is too short for as many.
    fn new(
        target: SocketAddrV4,
        server: Process,
        count: usize,
        give_up: Duration,
    ) -> io::Result<Self> {
        if !target.ip().is_loopback() {
            let problem = "the target has to be on this machine, an address of 127.0.0.0/8";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let (needed, available) = (MEMORY_MIN + count as u64 * PAIR_LEN, available_len()?);
        if available < needed {
            let (needed, available) = (megabytes(needed), megabytes(available));
            let problem =
                format!("{count} connections take about {needed}, and {available} are left");
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, problem));
        }
        let bounds = Bounds::new(&Watch::default(), give_up, MEMORY_MIN);
        Ok(Self { crowd: Crowd::new(target, count, &bounds), server, count, bounds })
    }

    /// Opens, rests, exchanges, closes; a line of the report for each.
    fn round(&self) -> io::Result<()> {
        let sockets = socket_count()?;
        let kernel = KernelMemory::now()?;
        let resident = self.server.resident_len()?;
        println!("  before    server {} resident", megabytes(resident));

        let (wall, cpu) = self.timed(|| self.crowd.each(Step::Open))?;
        println!("  opened    in {wall:.1?}, server {:.1} µs each", self.micros_each(cpu));

        thread::sleep(SETTLE);
        let taken = KernelMemory::now()?.taken_since(&kernel);
        println!("  idle      {}", self.resident(self.server.resident_len()?, resident));
        println!("            {}", self.kernel(taken));
        println!("            server busy {:.2} ms in a second", self.busy()? * 1e3);

        let (wall, cpu) = self.timed(|| self.crowd.each(Step::Exchange))?;
        println!("  answered  in {wall:.1?}, server {:.1} µs each", self.micros_each(cpu));
        println!("            {}", self.resident(self.server.resident_len()?, resident));

        let (wall, cpu) = self.timed(|| {
            self.crowd.each(Step::Close)?;
            self.wait_until_closed(sockets)
        })?;
        println!("  closed    in {wall:.1?}, server {:.1} µs each", self.micros_each(cpu));
        thread::sleep(SETTLE);
        println!("            {}", self.resident(self.server.resident_len()?, resident));
        io::stdout().flush()
    }

    /// The part of a second without messages that the server is busy.
    fn busy(&self) -> io::Result<f64> {
        let (wall, cpu) = self.timed(|| {
            thread::sleep(IDLE);
            Ok(())
        })?;
        Ok(cpu.as_secs_f64() / wall.as_secs_f64())
    }

    /// Runs `work`, and says how long that took, and how long the server was busy meanwhile.
    fn timed(&self, work: impl FnOnce() -> io::Result<()>) -> io::Result<(Duration, Duration)> {
        let (start, cpu) = (Instant::now(), self.server.cpu_time()?);
        work()?;
        Ok((start.elapsed(), self.server.cpu_time()?.saturating_sub(cpu)))
    }

    /// Waits until the kernel holds about as many sockets as it did before the round; others on this
    /// machine may have opened some meanwhile.
    fn wait_until_closed(&self, sockets: u64) -> io::Result<()> {
        while socket_count()? > sockets + self.count as u64 / 100 {
            self.bounds.check()?;
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn micros_each(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.count as f64
    }

    fn each(&self, bytes: i64) -> f64 {
        bytes as f64 / self.count as f64
    }

    /// The server's memory, and what each connection has added to it since the round began.
    fn resident(&self, now: u64, before: u64) -> String {
        let each = self.each(now as i64 - before as i64);
        format!("server {} resident, {each:+.0} B a connection", megabytes(now))
    }

    fn kernel(&self, taken: Taken) -> String {
        let available = self.each(taken.available);
        let slabs = taken.slabs.zip(taken.server_slabs).map_or_else(
            || "slabs not known (/proc/slabinfo is root's)".into(),
            |(all, server)| {
                let (all, server) = (self.each(all), self.each(server));
                format!("slabs {all:.0} B a pair, at most {server:.0} B of it at the server's end")
            },
        );
        format!("kernel {slabs}; free memory and page cache {:+.0} B a pair", -available)
    }
}

/// TCP sockets in use, both ends of loopback connections, those that nobody owns any more included.
fn socket_count() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/net/sockstat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: inuse "));
    let count = line.and_then(|line| line.split(' ').next()?.parse().ok());
    count.ok_or_else(|| io::Error::other("/proc/net/sockstat says nothing of TCP"))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// What both ends of a connection take, in the kernel and in the server, at the most.
const PAIR_LEN: u64 = 12 << 10;
const GIVE_UP: Duration = Duration::from_secs(120);
/// For what the kernel and the server put off.
const SETTLE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(1);
