//! What the servers are compared in, as data.

use std::{io, net::SocketAddrV4};

use crate::client::{
    Load,
    echo::{Clients, Shape},
};

/// One way of keeping a server busy.
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
    /// Every connection sends a message for each answer.
    Echo(Shape),
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
    /// Connects to the server, and is ready to load it.
    pub(crate) fn open(self, target: SocketAddrV4) -> io::Result<Box<dyn Load>> {
        match self {
            Self::Echo(shape) => Ok(Box::new(Clients::open(target, &shape)?)),
        }
    }
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        id: "i",
        title: "200 connections, 20-byte text, one in flight",
        unit: "message",
        kind: Kind::Echo(Shape { connections: 200, size: 20, pipeline: 1, text: true }),
    },
    Scenario {
        id: "ii",
        title: "5,000 connections, 128-byte binary, one in flight",
        unit: "message",
        kind: Kind::Echo(Shape { connections: 5000, size: 128, pipeline: 1, text: false }),
    },
    Scenario {
        id: "iii",
        title: "64 connections, 64-byte binary, 32 in flight on each",
        unit: "message",
        kind: Kind::Echo(Shape { connections: 64, size: 64, pipeline: 32, text: false }),
    },
    Scenario {
        id: "iv",
        title: "64 connections, 16 KiB binary, one in flight",
        unit: "message",
        kind: Kind::Echo(Shape { connections: 64, size: 16 << 10, pipeline: 1, text: false }),
    },
    Scenario {
        id: "v",
        title: "16 connections, 1 MiB binary, one in flight",
        unit: "message",
        kind: Kind::Echo(Shape { connections: 16, size: 1 << 20, pipeline: 1, text: false }),
    },
    Scenario {
        id: "ix",
        title: "one connection, 20-byte text, one in flight",
        unit: "message",
        kind: Kind::Echo(Shape { connections: 1, size: 20, pipeline: 1, text: true }),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

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
