//! A WebSocket's URL (RFC 6455 §3).

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use http::Uri;

use crate::error::Error;

/// `ws://HOST[:PORT][/PATH][?QUERY]`, or `wss://`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether it is `wss://`: through TLS.
    pub(crate) is_secure: bool,
    /// A name, or an address: that of IPv6 in its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, as a request line says them.
    pub(crate) target: String,
}

impl Url {
    /// Takes `url` apart. A fragment is left out: it is no part of what is asked for (§3).
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let wrong = |remedy: &str| Error::setting("url", without_user(url), remedy);
        let without_fragment = url.split_once('#').map_or(url, |(before, _)| before);
        let uri: Uri = without_fragment
            .parse()
            .map_err(|error| wrong(&format!("use ws://HOST:PORT/PATH ({error})")))?;
        let is_secure = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(wrong("use ws://HOST:PORT/PATH")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("a host must follow `ws://`"))?;
        if authority.as_str().contains('@') {
            let remedy = "leave the user out; say it with `.header(\"Authorization\", …)`";
            return Err(wrong(remedy));
        }
        let host = authority.host();
        let port = match authority.as_str()[host.len()..].strip_prefix(':') {
            None => usual_port(is_secure),
            Some(port) => match port.parse() {
                Ok(port @ 1..) => port,
                _ => return Err(wrong("the port is a number from 1 to 65535")),
            },
        };
        let path_and_query = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = match path_and_query.starts_with('/') {
            true => path_and_query.to_owned(),
            false => format!("/{path_and_query}"),
        };
        Ok(Self { is_secure, host: host.to_owned(), port, target })
    }

    /// Host and port as `Host` says them: without the port if it is the usual one.
    pub(crate) fn authority(&self) -> String {
        match self.port == usual_port(self.is_secure) {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The host as a resolver or a certificate knows it: an address without brackets.
    pub(crate) fn bare_host(&self) -> &str {
        let inner = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        inner.unwrap_or(&self.host)
    }

    /// The addresses of the host, which may be one itself. Blocks while a name is looked up.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        resolve(self.bare_host(), self.port)
    }
}

/// The addresses of `host`, one at least. Blocks while a name is looked up.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    match addresses.is_empty() {
        true => Err(io::Error::other("the name has no address")),
        false => Ok(addresses),
    }
}

fn usual_port(is_secure: bool) -> u16 {
    if is_secure { 443 } else { 80 }
}

/// The URL as it may stand in an error: a password has no place there.
pub(super) fn without_user(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    match url[start..end].rfind('@') {
        Some(at) => format!("{}…{}", &url[..start], &url[start + at..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_apart() {
        for (url, is_secure, authority, port, bare_host, target) in [
            ("ws://host", false, "host", 80, "host", "/"),
            ("WS://host:80/a?b#c", false, "host", 80, "host", "/a?b"),
            ("ws://host:443?q", false, "host:443", 443, "host", "/?q"),
            ("wss://host", true, "host", 443, "host", "/"),
            ("wss://[::1]:9001/x", true, "[::1]:9001", 9001, "::1", "/x"),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!((parsed.is_secure, parsed.port), (is_secure, port), "{url}");
            assert_eq!((&*parsed.authority(), parsed.bare_host()), (authority, bare_host), "{url}");
            assert_eq!(parsed.target, target, "{url}");
        }
    }

    #[test]
    fn what_is_none() {
        for url in
            ["", "host", "http://host", "ws://", "ws://host:0/", "ws://host:70000", "ws://a b"]
        {
            assert!(Url::parse(url).is_err(), "{url}");
        }
        let error = Url::parse("ws://me:secret@host/").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
