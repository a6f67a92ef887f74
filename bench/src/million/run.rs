//! One run: from a server without connections to no server.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use throng_meter::{KernelMemory, Process, available_len};

use super::{
    child::Child,
    clients::{Clients, Step, Tally},
    report::{Memory, Phase, Report},
    wire::News,
};
use crate::{
    bounds::{Bounds, MEMORY_MIN, Watch},
    floor::Driver,
    sys,
};

/// What to do, and within which limits.
pub(super) struct Run {
    pub(super) driver: Driver,
    pub(super) count: usize,
    pub(super) reactors: usize,
    /// How many descriptors one table may hold.
    pub(super) descriptors: usize,
    /// After how long a phase is given up.
    pub(super) give_up: Duration,
    pub(super) watch: Watch,
}

impl Run {
    /// All phases. One that ends early is reported, and the next goes on with what there is, unless
    /// the machine is in danger or someone wants an end.
    pub(super) fn all(&self) -> io::Result<Report> {
        let mut report = Report::new(self.driver.name(), self.reactors, self.count);
        match sys::own_network() {
            Ok(()) => report.has_own_network = true,
            Err(error) => eprintln!("no network of its own ({error}): this machine's has to do"),
        }
        let mut child = Child::start(self.driver, self.reactors, self.give_up)?;
        let server = child.process()?;
        let clients = Clients::new(child.address(), self.count, self.descriptors);
        self.open(server, &clients, &mut report)?;
        if self.may_go_on()? {
            report.idle_busy = busy(server)?;
            let (phase, tally) = measured(server, || self.ping(&mut child, &clients))?;
            report.pinged = Some(report.checked(phase, "answered a ping", tally));
        }
        if self.may_go_on()? {
            let (phase, tally) = measured(server, || self.broadcast(&mut child, &clients))?;
            report.told = Some(report.checked(phase, "heard the message", tally));
        }
        if self.may_go_on()? {
            thread::sleep(SETTLE);
            report.resident_after = server.resident_len()?;
            self.close(&mut child, &clients, &mut report)?;
        } else {
            report.problem.get_or_insert("ended early".into());
        }
        Ok(report)
    }

    /// Opens as many as asked for, or as memory and time allow, and sees what they cost at rest. There
    /// is a look at half of them, to tell what connections cost from what the server does.
    fn open(&self, server: Process, clients: &Clients, report: &mut Report) -> io::Result<()> {
        let bounds = self.bounds(MEMORY_MIN + self.count as u64 * IN_FLIGHT_LEN);
        let kernel = KernelMemory::now()?;
        let (half, first) = measured(server, || Ok(clients.each(Step::OpenHalf, &bounds)))?;
        thread::sleep(SETTLE);
        let resident_with_half = server.resident_len()?;
        let (rest, tally) = measured(server, || Ok(clients.each(Step::OpenRest, &bounds)))?;
        thread::sleep(SETTLE);
        report.connected = half.followed_by(rest);
        report.stopped = first.problem.or(tally.problem);
        let resident = server.resident_len()?;
        let added = (rest.count - half.count, resident as i64 - resident_with_half as i64);
        let taken = KernelMemory::now()?.taken_since(&kernel);
        report.memory = Memory::new(rest.count, resident, added, taken);
        Ok(())
    }

    /// Pings all of them; it is over when the server has heard the last pong.
    fn ping(&self, child: &mut Child, clients: &Clients) -> io::Result<Tally> {
        let bounds = self.bounds(MEMORY_MIN);
        let before = child.counts()?.pongs;
        clients.begin(Step::Hear(&[News::Ping]), &bounds);
        child.tell("ping")?;
        let answered = clients.finish();
        loop {
            let count = (child.counts()?.pongs - before) as usize;
            if count >= answered.count || bounds.check().is_err() {
                return Ok(Tally { count, ..answered });
            }
            thread::sleep(POLL);
        }
    }

    /// Sends all of them a message; it is over when the last of them has heard it. That none hears it
    /// twice shows in what each hears next.
    fn broadcast(&self, child: &mut Child, clients: &Clients) -> io::Result<Tally> {
        clients.begin(Step::Hear(&[News::Message]), &self.bounds(MEMORY_MIN));
        child.tell("broadcast")?;
        Ok(clients.finish())
    }

    /// Has the server go away; it is over when the last client has seen it leave. (Its threads end
    /// meanwhile, and with them what is known of their time.)
    fn close(&self, child: &mut Child, clients: &Clients, report: &mut Report) -> io::Result<()> {
        let start = Instant::now();
        clients.begin(Step::Hear(&[News::Close, News::End]), &self.bounds(MEMORY_MIN));
        child.tell("shutdown")?;
        let tally = clients.finish();
        let seconds = start.elapsed().as_secs_f64();
        report.dropped = child.dropped(self.give_up)?;
        let phase = Phase { count: tally.count, seconds, server_seconds: None };
        report.closed = Some(report.checked(phase, "were told 1001 and left", tally));
        Ok(())
    }

    fn bounds(&self, available_min: u64) -> Bounds {
        Bounds::new(&self.watch, self.give_up, available_min)
    }

    fn may_go_on(&self) -> io::Result<bool> {
        Ok(!self.watch.is_interrupted() && available_len()? >= MEMORY_MIN)
    }
}

/// How long a step took, and how long the server was busy with it.
fn measured(
    server: Process,
    step: impl FnOnce() -> io::Result<Tally>,
) -> io::Result<(Phase, Tally)> {
    let (start, cpu) = (Instant::now(), server.cpu_time()?);
    let tally = step()?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = server.cpu_time()?.saturating_sub(cpu);
    let phase = Phase { count: tally.count, seconds, server_seconds: Some(cpu.as_secs_f64()) };
    Ok((phase, tally))
}

/// Which part of a second the server is busy while nothing happens.
fn busy(server: Process) -> io::Result<f64> {
    let (start, cpu) = (Instant::now(), server.cpu_time()?);
    thread::sleep(IDLE);
    let cpu = server.cpu_time()?.saturating_sub(cpu);
    Ok(cpu.as_secs_f64() / start.elapsed().as_secs_f64())
}

/// What a message takes while it is on its way to a client that has not come to it.
const IN_FLIGHT_LEN: u64 = 1024;
/// For what the kernel and the server put off.
const SETTLE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);
