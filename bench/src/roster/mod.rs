//! Who is compared: the servers, how each is built, and how it is started.
//!
//! Every server takes `--listen HOST:PORT` and, where it can, `--broadcast`, and its first line is
//! `listening on HOST:PORT (…)`.

mod build;
mod process;
mod version;

use std::io;

pub(crate) use self::{
    build::{Cpu, Workshop, root},
    process::{ANY_PORT, Running},
};

/// A server of the comparison.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) side: Side,
    made: Made,
    version: Version,
    /// What it is started with, beside the address.
    arguments: &'static [&'static str],
    /// Whether it can send a message to everyone, in its own way.
    pub(crate) broadcasts: bool,
}

/// On whose side a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    /// Throng.
    Ours,
    Peer,
    /// A TCP echo, below which no server gets.
    Floor,
}

/// How a server comes into being.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// This program's own subcommand.
    Floor,
    /// An example of the main workspace.
    Example(&'static str),
    /// A program of the workspace in `bench/peers`, which is the package's name without `-peer`.
    Crate(&'static str),
    /// The script `build` in a folder of `bench/peers`.
    Script(&'static str),
    /// The same, and it is a Go program.
    Go(&'static str),
}

/// Where a server's version is written.
#[derive(Clone, Copy, Debug)]
enum Version {
    /// It is this checkout.
    Ours,
    /// The version of a crate, in `bench/peers/Cargo.lock`.
    Locked(&'static str),
    /// The version of a Debian package.
    Debian(&'static str),
}

impl Server {
    pub(crate) fn is_go(&self) -> bool {
        matches!(self.made, Made::Go(_))
    }

    /// Those whose names are given; all of them, if none is.
    pub(crate) fn named(names: &[String]) -> io::Result<Vec<&'static Self>> {
        let known = |name: &String| SERVERS.iter().any(|server| server.id == name);
        if let Some(name) = names.iter().find(|name| !known(name)) {
            let ids: Vec<_> = SERVERS.iter().map(|server| server.id).collect();
            let problem = format!("there is no server {name:?}; there are {}", ids.join(", "));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let is_wanted = |id| names.is_empty() || names.iter().any(|name| name == id);
        Ok(SERVERS.iter().filter(|server| is_wanted(server.id)).collect())
    }
}

/// The server that the others are compared with.
pub(crate) const REFERENCE: &str = "uws";
/// The floor that the others are compared with.
pub(crate) const FLOOR: &str = "floor-uring";

const SERVERS: [Server; 11] = [
    Server {
        id: "throng-uring",
        title: "Throng, io_uring",
        side: Side::Ours,
        made: Made::Example("echo"),
        version: Version::Ours,
        arguments: &["--driver", "uring", "--reactors", "1"],
        broadcasts: true,
    },
    Server {
        id: "throng-epoll",
        title: "Throng, epoll",
        side: Side::Ours,
        made: Made::Example("echo"),
        version: Version::Ours,
        arguments: &["--driver", "epoll", "--reactors", "1"],
        broadcasts: true,
    },
    Server {
        id: "uws",
        title: "uWebSockets",
        side: Side::Peer,
        made: Made::Script("uws"),
        version: Version::Locked("libuwebsockets-sys"),
        arguments: &[],
        broadcasts: true,
    },
    Server {
        id: "tungstenite",
        title: "tokio-tungstenite",
        side: Side::Peer,
        made: Made::Crate("tungstenite"),
        version: Version::Locked("tokio-tungstenite"),
        arguments: &[],
        broadcasts: true,
    },
    Server {
        id: "fastwebsockets",
        title: "fastwebsockets",
        side: Side::Peer,
        made: Made::Crate("fastwebsockets"),
        version: Version::Locked("fastwebsockets"),
        arguments: &[],
        broadcasts: false,
    },
    Server {
        id: "sockudo",
        title: "sockudo-ws",
        side: Side::Peer,
        made: Made::Crate("sockudo"),
        version: Version::Locked("sockudo-ws"),
        arguments: &[],
        broadcasts: false,
    },
    Server {
        id: "yawc",
        title: "yawc",
        side: Side::Peer,
        made: Made::Crate("yawc"),
        version: Version::Locked("yawc"),
        arguments: &[],
        broadcasts: false,
    },
    Server {
        id: "gorilla",
        title: "gorilla/websocket",
        side: Side::Peer,
        made: Made::Go("gorilla"),
        version: Version::Debian("golang-github-gorilla-websocket-dev"),
        arguments: &[],
        broadcasts: true,
    },
    Server {
        id: "nhooyr",
        title: "nhooyr.io/websocket",
        side: Side::Peer,
        made: Made::Go("nhooyr"),
        version: Version::Debian("golang-nhooyr-websocket-dev"),
        arguments: &[],
        broadcasts: false,
    },
    Server {
        id: "floor-uring",
        title: "floor: TCP, io_uring",
        side: Side::Floor,
        made: Made::Floor,
        version: Version::Ours,
        arguments: &["floor", "--driver", "uring"],
        broadcasts: true,
    },
    Server {
        id: "floor-epoll",
        title: "floor: TCP, epoll",
        side: Side::Floor,
        made: Made::Floor,
        version: Version::Ours,
        arguments: &["floor", "--driver", "epoll"],
        broadcasts: true,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_by_name() {
        let found = Server::named(&["floor-epoll".into(), "uws".into()]).unwrap();
        assert_eq!(
            found.iter().map(|server| server.id).collect::<Vec<_>>(),
            ["uws", "floor-epoll"]
        );
        assert_eq!(Server::named(&[]).unwrap().len(), SERVERS.len());
        for id in [REFERENCE, FLOOR] {
            Server::named(&[id.into()]).unwrap();
        }
        let error = Server::named(&["uwz".into()]).unwrap_err().to_string();
        assert!(error.contains("\"uwz\"") && error.contains("uws, "), "{error}");
    }
}
