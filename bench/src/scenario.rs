//! What the servers are compared in, as data.

use std::{io, net::SocketAddrV4};

use crate::{
    client::{
        Load,
        broadcast::Audience,
        echo::{Clients, Shape},
        handshakes::Storm,
    },
    roster::Side,
};

/// One way of treating a server.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// A Roman numeral.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What is counted, one of it.
    pub(crate) unit: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Busy(Work),
    /// This many connections say nothing.
    Silent {
        connections: usize,
    },
}

/// What keeps a server busy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Every connection sends a message for each answer.
    Echo(Shape),
    /// One connection sends a message, and all of them get it.
    Broadcast { connections: usize, size: usize },
    /// This many at a time connect, are accepted, and leave.
    Handshakes { concurrent: usize },
}

impl Scenario {
    /// Those whose names are given; all of them, if none is.
    pub(crate) fn named(names: &[String]) -> io::Result<Vec<&'static Self>> {
        let known = |name: &String| SCENARIOS.iter().any(|scenario| scenario.id == name);
        if let Some(name) = names.iter().find(|name| !known(name)) {
            let ids: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.id).collect();
            let problem = format!("there is no scenario {name:?}; there are {}", ids.join(", "));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let is_wanted = |id| names.is_empty() || names.iter().any(|name| name == id);
        Ok(SCENARIOS.iter().filter(|scenario| is_wanted(scenario.id)).collect())
    }
}

impl Kind {
    /// Whether it asks a server to send a message to everyone.
    pub(crate) fn is_broadcast(self) -> bool {
        matches!(self, Self::Busy(Work::Broadcast { .. }))
    }

    /// What a server is told to be ready for it.
    pub(crate) fn arguments(self, side: Side) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.is_broadcast() {
            arguments.push("--broadcast".into());
        }
        if side == Side::Floor
            && let Self::Busy(Work::Echo(Shape { size, .. }) | Work::Broadcast { size, .. }) = self
        {
            arguments.extend(["--message".into(), size.to_string()]);
        }
        arguments
    }
}

impl Work {
    /// Connects to the server, and is ready to load it.
    pub(crate) fn open(self, target: SocketAddrV4) -> io::Result<Box<dyn Load>> {
        Ok(match self {
            Self::Echo(shape) => Box::new(Clients::open(target, &shape)?),
            Self::Broadcast { connections, size } => {
                Box::new(Audience::open(target, connections, size)?)
            }
            Self::Handshakes { concurrent } => Box::new(Storm::open(target, concurrent)?),
        })
    }
}

const fn echo(shape: Shape) -> Kind {
    Kind::Busy(Work::Echo(shape))
}

const SCENARIOS: [Scenario; 9] = [
    Scenario {
        id: "i",
        title: "200 connections, 20-byte text, one in flight",
        unit: "message",
        kind: echo(Shape { connections: 200, size: 20, pipeline: 1, text: true }),
    },
    Scenario {
        id: "ii",
        title: "5,000 connections, 128-byte binary, one in flight",
        unit: "message",
        kind: echo(Shape { connections: 5000, size: 128, pipeline: 1, text: false }),
    },
    Scenario {
        id: "iii",
        title: "64 connections, 64-byte binary, 32 in flight on each",
        unit: "message",
        kind: echo(Shape { connections: 64, size: 64, pipeline: 32, text: false }),
    },
    Scenario {
        id: "iv",
        title: "64 connections, 16 KiB binary, one in flight",
        unit: "message",
        kind: echo(Shape { connections: 64, size: 16 << 10, pipeline: 1, text: false }),
    },
    Scenario {
        id: "v",
        title: "16 connections, 1 MiB binary, one in flight",
        unit: "message",
        kind: echo(Shape { connections: 16, size: 1 << 20, pipeline: 1, text: false }),
    },
    Scenario {
        id: "vi",
        title: "a 200-byte broadcast to 10,000 connections",
        unit: "delivery",
        kind: Kind::Busy(Work::Broadcast { connections: 10_000, size: 200 }),
    },
    Scenario {
        id: "vii",
        title: "64 at a time connect, are accepted, and leave",
        unit: "handshake",
        kind: Kind::Busy(Work::Handshakes { concurrent: 64 }),
    },
    Scenario {
        id: "viii",
        title: "15,000 silent connections",
        unit: "connection",
        kind: Kind::Silent { connections: 15_000 },
    },
    Scenario {
        id: "ix",
        title: "one connection, 20-byte text, one in flight",
        unit: "message",
        kind: echo(Shape { connections: 1, size: 20, pipeline: 1, text: true }),
    },
];

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use throng_meter::Process;

    use super::*;
    use crate::{client, floor};

    #[test]
    fn all_work_gets_done() {
        let check = |work: Work, broadcast: bool| {
            let SocketAddr::V4(target) = floor::spawn(broadcast) else { panic!("it is IPv4") };
            let mut load = work.open(target).unwrap();
            let window = client::measure(&mut *load, Process::this(), Duration::ZERO).unwrap();
            assert!(window.count > 0 && window.quantile_micros(0.5) > 0.0, "{window}");
        };
        let shape = Shape { connections: 10, size: 200, pipeline: 3, text: true };
        check(Work::Echo(shape), false);
        check(Work::Broadcast { connections: 10, size: 200 }, true);
        check(Work::Handshakes { concurrent: 10 }, false);
    }

    #[test]
    fn scenarios_by_name() {
        let check = |names: &[&str], expected: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            let found = Scenario::named(&names).unwrap();
            let found: Vec<_> = found.iter().map(|scenario| scenario.id).collect();
            assert_eq!(found, expected);
        };
        check(&["iii", "i"], &["i", "iii"]);
        check(&[], &SCENARIOS.map(|scenario| scenario.id));
        let error = Scenario::named(&["x".into()]).unwrap_err().to_string();
        assert!(error.contains("\"x\"") && error.contains("i, ii, iii"), "{error}");
    }
}
