//! Proxies: somebody else makes the connection, and passes bytes on.

mod http_connect;
mod socks5;

use std::fmt;

use super::{connect_error::ConnectError, transport::Line, until::Until};
use crate::{client::FailedResponse, error::Error, protocol::handshake::ReplyError};

/// A proxy that connects us to the server: HTTP `CONNECT` (RFC 9110 §9.3.6) or SOCKS5 (RFC 1928).
///
/// It is told the server's name and looks it up itself; TLS, if there is any, goes through it from end
/// to end.
///
/// ```
/// use throng::client::blocking::Proxy;
///
/// let proxy = Proxy::to("http://user:pass%20word@proxy.example:3128")?;
/// let proxy = Proxy::to("socks5://[::1]:1080")?;
/// # Ok::<(), throng::Error>(())
/// ```
#[derive(Clone)]
pub struct Proxy {
    kind: Kind,
    pub(super) host: String,
    pub(super) port: u16,
    user: Option<User>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Http,
    Socks5,
}

/// Who we are to the proxy.
#[derive(Clone)]
struct User {
    name: String,
    password: String,
}

/// Why a proxy did not connect us.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It answered `CONNECT` with something other than 2xx: 407 asks for a user and a password.
    #[error("the proxy answered {} {}", .0.status, .0.reason)]
    Refused(Box<FailedResponse>),
    /// Its answer to `CONNECT` is no HTTP, or went on after its end.
    #[error("the proxy's answer to CONNECT is no answer of HTTP/1.1: {0}")]
    NotHttp(#[source] ReplyError),
    /// It does not speak SOCKS5.
    #[error("the proxy does not speak SOCKS5")]
    NotSocks5,
    /// It wants a user and a password, and none were given, or it knows no other way that we do.
    #[error("the proxy wants a user and a password, or more: socks5://USER:PASSWORD@HOST:PORT")]
    UserWanted,
    /// It does not accept the user and the password.
    #[error("the proxy refused the user or the password")]
    UserRefused,
    /// It could not connect: the reason by its number (RFC 1928 §6).
    #[error("the proxy could not connect: {}", socks5::reason(*.0))]
    Socks5(u8),
}

impl Proxy {
    /// A proxy at `http://[USER:PASSWORD@]HOST[:PORT]`, or the same with `socks5://` (`socks5h://`
    /// means the same here). User and password are percent-encoded. Ports: 80, and 1080.
    ///
    /// # Errors
    ///
    /// Another kind of URL. A proxy that is itself reached through TLS is none that we can use.
    pub fn to(url: &str) -> Result<Self, Error> {
        let shown = url.rfind('@').map_or(url, |at| &url[at + 1..]);
        let wrong = |remedy: &str| Error::setting("proxy", shown, remedy);
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| wrong("use http://HOST:PORT or socks5://HOST:PORT"))?;
        let (kind, usual_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 80),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            _ => return Err(wrong("use http://HOST:PORT or socks5://HOST:PORT")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (
                Some(User::read(user).ok_or_else(|| {
                    wrong("USER:PASSWORD are percent-encoded UTF-8, of at most 255 bytes each")
                })?),
                authority,
            ),
            None => (None, rest),
        };
        let authority: http::uri::Authority =
            authority.parse().map_err(|_| wrong("a host, and perhaps a port, must follow"))?;
        let host = authority.host();
        let port = match authority.as_str()[host.len()..].strip_prefix(':') {
            None => usual_port,
            Some(port) => match port.parse() {
                Ok(port @ 1..) => port,
                _ => return Err(wrong("the port is a number from 1 to 65535")),
            },
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self { kind, host: bare.to_owned(), port, user })
    }

    /// Has the proxy connect us to `host`, an address without brackets or a name.
    pub(super) fn connect(
        &self,
        line: &Line,
        host: &str,
        port: u16,
        until: Until,
    ) -> Result<(), ConnectError> {
        let user = self.user.as_ref();
        match self.kind {
            Kind::Http => http_connect::connect(line, host, port, user, until),
            Kind::Socks5 => socks5::connect(line, host, port, user, until),
        }
    }
}

impl User {
    fn read(text: &str) -> Option<Self> {
        let (name, password) = text.split_once(':').unwrap_or((text, ""));
        let user = Self { name: decoded(name)?, password: decoded(password)? };
        (user.name.len() <= 255 && user.password.len() <= 255).then_some(user)
    }
}

/// What is percent-encoded (RFC 3986 §2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        bytes.push(match byte {
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                rest = behind;
                u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Leaves the password out.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, host, port, .. } = self;
        write!(f, "Proxy({kind:?} at {host}:{port})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let user = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        for (url, host, port, expected) in [
            ("http://proxy", "proxy", 80, None),
            ("HTTP://proxy:3128/", "proxy", 3128, None),
            ("socks5://[::1]", "::1", 1080, None),
            ("socks5h://a:b@10.0.0.1:9", "10.0.0.1", 9, user("a", "b")),
            ("http://a%3Ab:%40%20@proxy", "proxy", 80, user("a:b", "@ ")),
            ("http://a@proxy", "proxy", 80, user("a", "")),
        ] {
            let proxy = Proxy::to(url).unwrap();
            assert_eq!((&*proxy.host, proxy.port), (host, port), "{url}");
            assert_eq!(proxy.user.map(|user| (user.name, user.password)), expected, "{url}");
        }
        for url in ["proxy:3128", "https://proxy", "http://", "http://a:%4@proxy", "http://proxy:0"]
        {
            assert!(Proxy::to(url).is_err(), "{url}");
        }
        let error = Proxy::to("https://me:secret@proxy").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
