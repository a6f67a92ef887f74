//! Where the load goes, and whether it may.
//!
//! Load is an attack when nobody asked for it. A target has to be on this machine, or be named a
//! second time with `--allow-target`: a slip of the keyboard does not do that.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
};

/// A server's address, as the command line gives it: `ws://HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As it was given.
    pub(crate) url: String,
    /// The host alone, without the brackets of an IPv6 address.
    pub(crate) host: String,
    /// What the `Host` header says.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
    /// Whether it is `wss://`.
    pub(crate) is_secure: bool,
    /// Where that is.
    pub(crate) address: SocketAddr,
}

/// Why there is no load on a target.
#[derive(Debug)]
pub(crate) enum TargetError {
    /// Not a URL that we understand.
    Malformed { url: String, problem: &'static str },
    /// The name has no address.
    Unknown { host: String, error: io::Error },
    /// It is not on this machine, and was not allowed.
    NotAllowed { host: String, address: SocketAddr },
}

impl Target {
    /// Reads a URL, looks its host up, and refuses what is outside of the loopback network unless
    /// `allowed` has the host, word for word.
    pub(crate) fn new(url: &str, allowed: &[String]) -> Result<Self, TargetError> {
        let parts = Parts::of(url)?;
        let port = parts.port.unwrap_or(if parts.is_secure { 443 } else { 80 });
        let unknown = |error| TargetError::Unknown { host: parts.host.to_owned(), error };
        let addresses: Vec<_> = (parts.host, port).to_socket_addrs().map_err(unknown)?.collect();
        let is_allowed = allowed.iter().any(|host| host == parts.host);
        if let Some(address) = addresses.iter().find(|address| !address.ip().is_loopback())
            && !is_allowed
        {
            return Err(TargetError::NotAllowed { host: parts.host.into(), address: *address });
        }
        let address = *addresses
            .first()
            .ok_or_else(|| unknown(io::Error::new(io::ErrorKind::NotFound, "it has no address")))?;
        Ok(Self {
            url: url.to_owned(),
            host: parts.host.to_owned(),
            authority: parts.authority.to_owned(),
            path: parts.path,
            is_secure: parts.is_secure,
            address,
        })
    }
}

/// A URL taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    is_secure: bool,
    authority: &'a str,
    host: &'a str,
    port: Option<u16>,
    path: String,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Result<Self, TargetError> {
        let wrong = |problem| TargetError::Malformed { url: url.to_owned(), problem };
        let (is_secure, rest) = match url.split_once("://") {
            Some(("ws", rest)) => (false, rest),
            Some(("wss", rest)) => (true, rest),
            Some(_) => return Err(wrong("it has to begin with ws:// or wss://")),
            None => (false, url),
        };
        if rest.contains('#') {
            return Err(wrong("a WebSocket URL has no fragment"));
        }
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong(
                "blanks, control and non-ASCII characters have to be percent-encoded",
            ));
        }
        let authority_len = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_len);
        if authority.contains('@') {
            return Err(wrong("give credentials with --header, not in the URL"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or(wrong("a bracket is not closed"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(digits.parse().map_err(|_| wrong("the port is not a number"))?),
            None if port.is_empty() => None,
            None => return Err(wrong("after the address comes a colon and a port")),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { is_secure, authority, host, port, path })
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { url, problem } => {
                write!(f, "target {url:?}: {problem}; for example ws://127.0.0.1:9001/chat")
            }
            Self::Unknown { host, error } => write!(f, "cannot look {host:?} up: {error}"),
            Self::NotAllowed { host, address } => write!(
                f,
                "{host} is {}, which is not this machine; if its owner agrees to the load, say \
                 --allow-target {host}",
                address.ip()
            ),
        }
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let check = |url, is_secure, host, port, path: &str| {
            let parts = Parts::of(url).unwrap();
            let found = (parts.is_secure, parts.host, parts.port, parts.path.as_str());
            assert_eq!(found, (is_secure, host, port, path), "{url}");
        };
        check("ws://127.0.0.1:9001", false, "127.0.0.1", Some(9001), "/");
        check("127.0.0.1:9001", false, "127.0.0.1", Some(9001), "/");
        check("wss://localhost/a/b?c=d", true, "localhost", None, "/a/b?c=d");
        check("ws://localhost?c=d", false, "localhost", None, "/?c=d");
        check("ws://[::1]:80/x", false, "::1", Some(80), "/x");
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        let check = |url, word| {
            let error = Parts::of(url).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains(url), "{error}");
        };
        check("http://localhost/", "ws://");
        check("ws://:80/", "names no host");
        check("ws://localhost:port/", "not a number");
        check("ws://localhost:99999/", "not a number");
        check("ws://[::1/", "bracket");
        check("ws://[::1]80/", "colon");
        check("ws://me:secret@localhost/", "--header");
        check("ws://localhost/#top", "fragment");
        check("ws://localhost/ä", "percent-encoded");
    }

    #[test]
    fn this_machine_is_allowed_and_nothing_else() {
        for url in ["ws://127.0.0.1:1", "ws://127.9.9.9:1", "ws://[::1]:1"] {
            assert!(Target::new(url, &[]).is_ok(), "{url}");
        }
        for (url, host) in
            [("ws://192.0.2.1:1", "192.0.2.1"), ("ws://[2001:db8::1]:1", "2001:db8::1")]
        {
            let error = Target::new(url, &[]).unwrap_err();
            assert!(error.to_string().contains(&format!("--allow-target {host}")), "{error}");
            assert!(Target::new(url, &["192.0.2.2".into()]).is_err());
            assert!(Target::new(url, &[host.to_owned()]).is_ok());
        }
    }
}
