//! The first line of a request: what is asked of which resource (RFC 9112 §3).

use super::{HandshakeError, request::check_host};

/// A version of HTTP that a request may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpVersion {
    /// HTTP/1.0: health checks, and proxies that were not told better.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// The first line of a request, borrowed. Nothing is decoded: a path keeps its `%20`.
///
/// All of it can be asked of a [`Request`](super::Request) as well.
#[derive(Clone, Copy)]
pub struct RequestLine<'a> {
    method: &'a str,
    target: &'a str,
    version: HttpVersion,
    path_and_query: &'a str,
}

impl<'a> RequestLine<'a> {
    /// Takes a target apart. The host is there if the target is a whole URI.
    #[inline]
    pub(super) fn new(
        method: &'a str,
        target: &'a str,
        version: HttpVersion,
    ) -> Result<(Self, Option<&'a str>), HandshakeError> {
        let (authority, path_and_query) = split_target(method, target)?;
        Ok((Self { method, target, version, path_and_query }, authority))
    }

    /// The method, as sent: methods are upper case by custom, and compared letter by letter.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The request target as sent: a path with a query, as a rule.
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The version of HTTP.
    pub fn version(&self) -> HttpVersion {
        self.version
    }

    /// The path of the target, without the query. Not decoded.
    pub fn path(&self) -> &'a str {
        match self.path_and_query.split('?').next() {
            None | Some("") => "/", // `http://host?query` leaves the path out
            Some(path) => path,
        }
    }

    /// What follows the first `?` of the target. Not decoded.
    pub fn query(&self) -> Option<&'a str> {
        self.path_and_query.split_once('?').map(|(_, query)| query)
    }

    /// The names and values of a query as forms write it, `a=1&b=2`, in order. Not decoded; one
    /// without a `=` has an empty value.
    pub fn query_params(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let pairs = self.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// The value of the first parameter of this name in the query. Not decoded.
    pub fn query_param(&self, name: &str) -> Option<&'a str> {
        self.query_params().find(|(sent, _)| *sent == name).map(|(_, value)| value)
    }
}

/// Leaves out the query, which may hold a secret.
impl std::fmt::Debug for RequestLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestLine")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The authority of a target that is a whole URI, and the path with its query. Of the four forms of
/// RFC 9112 §3.2, a proxy's `CONNECT host:port` and `OPTIONS *` stay as they are.
fn split_target<'a>(
    method: &str,
    target: &'a str,
) -> Result<(Option<&'a str>, &'a str), HandshakeError> {
    if target.starts_with('/') || method == "CONNECT" || (target, method) == ("*", "OPTIONS") {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(HandshakeError::InvalidTarget)?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(HandshakeError::InvalidTarget);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() {
        return Err(HandshakeError::InvalidTarget);
    }
    Ok((Some(check_host(authority.as_bytes())?), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_query() {
        for (target, expected) in [
            ("/chat", &[][..]),
            ("/chat?", &[]),
            ("/chat?&&", &[]),
            (
                "/chat?a=1&b&c=&a=2&d=e=f&=g",
                &[("a", "1"), ("b", ""), ("c", ""), ("a", "2"), ("d", "e=f"), ("", "g")],
            ),
            ("/chat?a=%20+", &[("a", "%20+")]),
        ] {
            let (line, _) = RequestLine::new("GET", target, HttpVersion::Http11).unwrap();
            assert_eq!(line.query_params().collect::<Vec<_>>(), expected, "{target}");
            assert_eq!(
                line.query_param("a"),
                expected.iter().find(|(name, _)| *name == "a").map(|(_, value)| *value)
            );
            assert_eq!(line.query_param("z"), None);
        }
    }
}
