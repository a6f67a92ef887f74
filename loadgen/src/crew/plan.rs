//! What all workers of a run agree on.

use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, getrlimit};
use throng::{
    Limits, Timeouts,
    client::{Client, ClientBuilder, Connect},
};

use crate::{
    backoff::Backoff,
    cli::{Driver, Options, ServerOptions},
    source::Sources,
    target::Target,
};

/// What all workers of a run agree on.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The ways to the servers: by target, and then by source address.
    pub(crate) routes: Vec<Vec<Connect>>,
    /// Connections, all together.
    pub(crate) connection_count: u32,
    /// Workers, each a reactor.
    pub(crate) worker_count: usize,
    /// How long opening them all is spread over.
    pub(crate) ramp: Option<Duration>,
    /// Opening handshakes that one worker has under way.
    pub(crate) opening_max: usize,
    /// How long one may take.
    pub(crate) connect_timeout: Duration,
    /// When lost connections come back, if they do.
    pub(crate) reconnect: Option<Backoff>,
    /// The driver that was asked for.
    pub(crate) driver: Driver,
    /// What all that is random is drawn from.
    pub(crate) seed: u64,
    /// What is worth knowing about all this, for the report.
    pub(crate) notes: Vec<String>,
}

impl Plan {
    /// A plan for `connection_count` connections that `churns` says come and go.
    ///
    /// # Errors
    ///
    /// A sentence that names what is wrong with a target, a header or a subprotocol.
    pub(crate) fn new<L: Args>(
        options: &Options<L>,
        connection_count: u32,
        churns: bool,
    ) -> Result<Self, String> {
        let Options { server, crowd, .. } = options;
        let targets: Vec<Target> = server
            .targets
            .iter()
            .map(|url| Target::new(url, &server.allow_target).map_err(|error| error.to_string()))
            .collect::<Result<_, _>>()?;
        let each_target = (connection_count as usize).div_ceil(targets.len());
        let mut notes = Vec::new();
        let mut routes = Vec::new();
        for target in &targets {
            let sources = Sources::new(target, each_target, churns, &server.source);
            match sources.count() {
                Some(1) => {}
                Some(count) => notes.push(format!("{}: from {count} source addresses", target.url)),
                None if each_target > PORTS_EACH => notes.push(format!(
                    "{}: all from one source address, which has some {PORTS_EACH} ports",
                    target.url
                )),
                None => {}
            }
            routes.push(routes_to(target, &sources, server)?);
        }
        let workers = Workers::new(crowd.reactors, connection_count as usize);
        notes.extend(workers.note);
        Ok(Self {
            routes,
            connection_count,
            worker_count: workers.count,
            ramp: crowd.ramp,
            opening_max: crowd.opening_max.div_ceil(workers.count),
            connect_timeout: crowd.connect_timeout,
            reconnect: crowd.reconnect.then(|| crowd.backoff()),
            driver: crowd.driver,
            seed: crowd.seed.unwrap_or_else(|| fastrand::u64(..)),
            notes,
        })
    }

    /// The way of connection attempt number `number`, counted over all workers: targets take turns,
    /// and so do the source addresses of each.
    pub(crate) fn route(&self, number: u64) -> &Connect {
        let targets = self.routes.len() as u64;
        let sources = &self.routes[(number % targets) as usize];
        &sources[(number / targets % sources.len() as u64) as usize]
    }

    /// The engine's client, set up for load: it pings nobody, and gives nobody up.
    pub(crate) fn client(&self) -> ClientBuilder {
        let limits = Limits { message_len_max: MESSAGE_LEN_MAX, ..Limits::default() };
        let builder = Client::builder().timeouts(self.timeouts()).limits(limits);
        match self.driver.kind() {
            Some(kind) => builder.driver(kind),
            None => builder,
        }
    }

    /// How long that client waits for what.
    pub(crate) fn timeouts(&self) -> Timeouts {
        let handshake = Some(self.connect_timeout);
        Timeouts { handshake, ping: None, idle: None, ..Timeouts::default() }
    }

    /// A run's number in its messages.
    pub(crate) fn run(&self) -> u16 {
        (self.seed ^ self.seed >> 16 ^ self.seed >> 32 ^ self.seed >> 48) as u16
    }

    /// A seed of its own for each worker, and for each use of chance.
    pub(crate) fn seed_for(&self, worker: usize, purpose: u64) -> u64 {
        fastrand::Rng::with_seed(self.seed ^ (worker as u64) << 32 ^ purpose).u64(..)
    }
}

fn routes_to(
    target: &Target,
    sources: &Sources,
    server: &ServerOptions,
) -> Result<Vec<Connect>, String> {
    let mut connect =
        Connect::to(&target.url).map_err(|error| error.to_string())?.address(target.address);
    for (name, value) in &server.header {
        connect = connect.header(name, value);
    }
    for subprotocol in &server.subprotocol {
        connect = connect.subprotocol(subprotocol);
    }
    let from = |index| match sources.of(index) {
        Some(source) => connect.clone().source(source),
        None => connect.clone(),
    };
    Ok((0..sources.count().unwrap_or(1)).map(from).collect())
}

/// How many threads there are.
struct Workers {
    count: usize,
    note: Option<String>,
}

impl Workers {
    /// One a core, unless the connections need more: each reactor has a descriptor table of its own.
    fn new(asked: Option<usize>, connection_count: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let each = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(DESCRIPTORS_LEFT);
        let needed = connection_count.div_ceil(each.max(1)).max(1);
        let count = asked.unwrap_or(cores.min(connection_count.max(1)).max(needed));
        let note = (count < needed).then(|| {
            format!(
                "{count} reactors hold {} connections at most (RLIMIT_NOFILE is {limit}): give them \
                 --reactors {needed}",
                count * each
            )
        });
        Self { count, note }
    }
}

/// Servers may put a lot around our payload.
const MESSAGE_LEN_MAX: usize = 64 << 20;
/// Of a descriptor table, for what the process has open besides.
const DESCRIPTORS_LEFT: usize = 128;
/// Local ports that the kernel gives out by default.
const PORTS_EACH: usize = 28_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_need_few_threads() {
        assert_eq!(Workers::new(None, 1).count, 1);
        assert_eq!(Workers::new(Some(7), 1).count, 7);
        let crowded = Workers::new(Some(1), 100_000_000);
        assert!(crowded.count == 1 && crowded.note.is_some_and(|note| note.contains("--reactors")));
    }
}
