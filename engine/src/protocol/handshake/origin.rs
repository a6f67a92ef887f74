//! Which pages may open a WebSocket to us (RFC 6455 §10.2).

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::{HandshakeError, Request};

/// Which pages a browser may connect from. Default: those of the same host.
///
/// A browser lets any page open a WebSocket anywhere, and sends the user's cookies along; the
/// `Origin` header, which a page cannot forge, is all that tells the user's own tab from a stranger's
/// (cross-site WebSocket hijacking). A request without `Origin` comes from no browser, could claim
/// anything, and passes: the policy protects users, and is no login.
///
/// ```
/// use throng::protocol::handshake::OriginPolicy;
///
/// let policy = OriginPolicy::patterns(["https://*.example.com", "http://localhost:*"])?;
/// # let _ = policy;
/// # Ok::<(), throng::protocol::handshake::InvalidOriginPattern>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// The origin's host and port are those of the `Host` header, with either scheme: a proxy that
    /// speaks TLS for us hides ours. `Origin: null` (a sandboxed frame, a local file) does not pass.
    #[default]
    SameHost,
    /// The origin matches one of these, and nothing else passes, the same host neither: list it too.
    /// This also holds where the host cannot be trusted (DNS rebinding).
    Patterns(Vec<OriginPattern>),
    /// Every page of every site. Only for a server that knows its users by something that a browser
    /// does not send by itself, such as a token in the first message, or that has no users.
    AnyDangerously,
}

impl OriginPolicy {
    /// The pages that match one of `patterns`; see [`OriginPattern`] for how they are written.
    ///
    /// # Errors
    ///
    /// The first pattern that is malformed.
    pub fn patterns<P: AsRef<str>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, InvalidOriginPattern> {
        let parsed = patterns.into_iter().map(|pattern| OriginPattern::parse(pattern.as_ref()));
        Ok(Self::Patterns(parsed.collect::<Result<_, _>>()?))
    }

    /// Whether the page behind `request` may connect.
    ///
    /// # Errors
    ///
    /// [`OriginNotAllowed`](HandshakeError::OriginNotAllowed), also for an `Origin` that is
    /// malformed or sent twice.
    pub fn check(&self, request: &Request<'_>) -> Result<(), HandshakeError> {
        let mut values = request.header_values("Origin");
        let is_allowed = match (self, values.next(), values.next()) {
            (Self::AnyDangerously, ..) | (_, None, _) => true,
            (_, Some(_), Some(_)) => false,
            (policy, Some(value), None) => Origin::parse(value)
                .is_some_and(|origin| policy.allows(&origin, request.host().unwrap_or_default())),
        };
        if is_allowed { Ok(()) } else { Err(HandshakeError::OriginNotAllowed) }
    }

    fn allows(&self, origin: &Origin<'_>, host: &str) -> bool {
        match self {
            Self::SameHost => origin.is_of_host(host.as_bytes()),
            Self::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(origin)),
            Self::AnyDangerously => true,
        }
    }
}

/// Origins as a list of them is written: `[scheme://]host[:port]`.
///
/// | pattern | matches | and not |
/// |---|---|---|
/// | `https://example.com` | that origin | `http://example.com`, `https://example.com:8443` |
/// | `example.com` | it, by any scheme | `https://www.example.com` |
/// | `https://*.example.com` | `https://a.example.com`, `https://a.b.example.com` | `https://example.com` |
/// | `example.com:8443` | `https://example.com:8443` | `https://example.com` |
/// | `localhost:*` | `http://localhost`, `http://localhost:3000` | `http://localhost.example.com` |
///
/// `*` stands for any run of characters of the host, dots included; it cannot reach into the scheme
/// or the port. No port means the scheme's own, which browsers leave out; `:*` means any. Case does
/// not matter. Matching takes time proportional to the lengths, whatever the pattern.
///
/// Mind the dot: `*example.com` matches `https://not-example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: Option<Box<str>>,
    host: Box<str>,
    port: PortPattern,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortPattern {
    Default,
    Any,
    Number(u16),
}

impl OriginPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// Names the pattern, and what to write instead.
    pub fn parse(pattern: &str) -> Result<Self, InvalidOriginPattern> {
        let invalid = |fault| InvalidOriginPattern { pattern: pattern.into(), fault };
        let (scheme, authority) = match split_scheme(pattern.as_bytes()) {
            Some((scheme, authority)) => (Some(scheme), authority),
            None => (None, pattern.as_bytes()),
        };
        if scheme.is_some_and(|scheme| !is_scheme(scheme)) {
            return Err(invalid(Fault::Scheme));
        }
        if authority.iter().any(|byte| b"/?#".contains(byte)) {
            return Err(invalid(Fault::Path));
        }
        let (host, port) = split_port(authority);
        let port = match port {
            None => PortPattern::Default,
            Some(b"*") => PortPattern::Any,
            Some(port) => {
                PortPattern::Number(parse_port(port).ok_or_else(|| invalid(Fault::Port))?)
            }
        };
        if host.iter().all(|&byte| byte == b'*') {
            return Err(invalid(if host.is_empty() { Fault::Empty } else { Fault::Everything }));
        }
        if !host.is_ascii() {
            return Err(invalid(Fault::NotAscii));
        }
        if !is_host(host, true) {
            return Err(invalid(Fault::Host));
        }
        let text = |ascii| String::from_utf8_lossy(ascii).into();
        Ok(Self { scheme: scheme.map(text), host: text(host), port })
    }

    fn matches(&self, origin: &Origin<'_>) -> bool {
        let scheme_matches = match &self.scheme {
            Some(scheme) => scheme.as_bytes().eq_ignore_ascii_case(origin.scheme),
            None => true,
        };
        let port_matches = match self.port {
            PortPattern::Default => origin.is_default_port,
            PortPattern::Any => true,
            PortPattern::Number(port) => origin.port == Some(port),
        };
        scheme_matches && port_matches && glob(self.host.as_bytes(), origin.host)
    }
}

impl FromStr for OriginPattern {
    type Err = InvalidOriginPattern;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        Self::parse(pattern)
    }
}

/// Writes the pattern so that it can be read again.
impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        f.write_str(&self.host)?;
        match self.port {
            PortPattern::Default => Ok(()),
            PortPattern::Any => f.write_str(":*"),
            PortPattern::Number(port) => write!(f, ":{port}"),
        }
    }
}

/// A pattern that [`OriginPattern::parse`] does not understand, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("origin pattern {pattern:?}: {fault}")]
pub struct InvalidOriginPattern {
    pattern: Box<str>,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum Fault {
    #[error("it names no host; write one like `https://example.com`")]
    Empty,
    #[error("it matches every host; if that is meant, use OriginPolicy::AnyDangerously")]
    Everything,
    #[error("the scheme is a plain word; write `https://` in full, or leave it out for any scheme")]
    Scheme,
    #[error("an origin has no path; leave out everything behind the host and port, the `/` too")]
    Path,
    #[error("a port is a number from 1 to 65535, or `*` for any")]
    Port,
    #[error("browsers send such a name in ASCII; write it that way, with `xn--`")]
    NotAscii,
    #[error("a host is letters, digits, `-`, `.`, `_` and `*`, or an address such as `[::1]`")]
    Host,
}

/// The `Origin` header, taken apart (RFC 6454 §7).
struct Origin<'a> {
    scheme: &'a [u8],
    host: &'a [u8],
    /// The port that is written, or the scheme's own; a scheme that is none of the web's has none.
    port: Option<u16>,
    is_default_port: bool,
}

impl<'a> Origin<'a> {
    /// Also `None` for `null`, and for the lists that RFC 6454 knows and no browser sends.
    fn parse(value: &'a [u8]) -> Option<Self> {
        let (scheme, authority) = split_scheme(value)?;
        let (host, port) = split_port(authority);
        let default_port = default_port(scheme);
        let port = match port {
            Some(port) => Some(parse_port(port)?),
            None => default_port,
        };
        let is_valid = is_scheme(scheme) && is_host(host, false) && host.len() <= HOST_LEN_MAX;
        is_valid.then_some(Self { scheme, host, port, is_default_port: port == default_port })
    }

    /// Whether `host`, with a port unless it is this origin's default, is where the page came from.
    fn is_of_host(&self, host: &[u8]) -> bool {
        let (host, port) = split_port(host);
        let is_port = match port {
            None => self.is_default_port,
            Some(port) => parse_port(port).is_some_and(|port| self.port == Some(port)),
        };
        is_port && host.eq_ignore_ascii_case(self.host)
    }
}

/// The port that a scheme means when none is written.
fn default_port(scheme: &[u8]) -> Option<u16> {
    let is = |known: &[u8]| scheme.eq_ignore_ascii_case(known);
    if is(b"https") || is(b"wss") {
        Some(443)
    } else if is(b"http") || is(b"ws") {
        Some(80)
    } else {
        None
    }
}

/// `scheme://authority` in two.
fn split_scheme(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (scheme, rest) = text.split_at(text.iter().position(|&byte| byte == b':')?);
    Some((scheme, rest.strip_prefix(b"://")?))
}

/// `host:port` in two; the colons of an address in brackets are its own.
fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    match authority.iter().rposition(|&byte| matches!(byte, b':' | b']')) {
        Some(colon) if authority[colon] == b':' => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    }
}

fn parse_port(port: &[u8]) -> Option<u16> {
    let is_number = port.iter().all(u8::is_ascii_digit);
    let port = str::from_utf8(port).ok().filter(|_| is_number)?;
    port.parse().ok().filter(|&port| port != 0)
}

/// Whether `text` is a scheme (RFC 3986 §3.1).
fn is_scheme(text: &[u8]) -> bool {
    let is_scheme_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.first().is_some_and(u8::is_ascii_alphabetic) && text.iter().all(is_scheme_byte)
}

/// Whether `text` is a name or an address; a pattern may have stars in it.
fn is_host(text: &[u8], is_pattern: bool) -> bool {
    let is_common =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || (byte == b'*' && is_pattern);
    match text {
        [] | [b'[', b']'] => false,
        [b'[', address @ .., b']'] => address.iter().all(|&byte| is_common(byte) || byte == b':'),
        name => name.iter().all(|&byte| is_common(byte) || matches!(byte, b'-' | b'_')),
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any run of bytes. Case does not matter.
///
/// A star takes as little as it can, and only the last one ever has to take more: what stands between
/// two stars may as well be found as far to the left as possible.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let is_star = |byte: &u8| *byte == b'*';
    let Some(first_star) = pattern.iter().position(is_star) else {
        return pattern.eq_ignore_ascii_case(text);
    };
    let last_star = pattern.iter().rposition(is_star).expect("there is a first one");
    let (prefix, suffix) = (&pattern[..first_star], &pattern[last_star + 1..]);
    if text.len() < prefix.len() + suffix.len() {
        return false;
    }
    let (start, rest) = text.split_at(prefix.len());
    let (mut rest, end) = rest.split_at(rest.len() - suffix.len());
    if !start.eq_ignore_ascii_case(prefix) || !end.eq_ignore_ascii_case(suffix) {
        return false;
    }
    for piece in pattern[first_star..=last_star].split(is_star).filter(|piece| !piece.is_empty()) {
        let Some(index) = rest.windows(piece.len()).position(|w| w.eq_ignore_ascii_case(piece))
        else {
            return false;
        };
        rest = &rest[index + piece.len()..];
    }
    true
}

/// Names in the DNS have at most 253 characters; a longer host is somebody trying something.
const HOST_LEN_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::handshake::header_slots;

    fn check(policy: &OriginPolicy, host: &str, origins: &[&str]) -> bool {
        let mut head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n");
        for origin in origins {
            head += &format!("Origin: {origin}\r\n");
        }
        head += "\r\n";
        let mut slots = header_slots::<4>();
        let request = Request::parse(head.as_bytes(), &mut slots).unwrap();
        match policy.check(&request) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error, HandshakeError::OriginNotAllowed);
                false
            }
        }
    }

    #[test]
    fn same_host() {
        for (host, origin, expected) in [
            ("example.com", "https://example.com", true),
            ("example.com", "http://example.com", true),
            ("Example.COM", "https://eXample.com", true),
            ("example.com:443", "https://example.com", true),
            ("example.com", "https://example.com:443", true),
            ("example.com:80", "http://example.com", true),
            ("example.com:80", "https://example.com", false),
            ("example.com:8080", "http://example.com:8080", true),
            ("example.com:8080", "http://example.com", false),
            ("example.com", "http://example.com:8080", false),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("[::1]", "http://[::1]", true),
            ("[::1]", "http://[::2]", false),
            ("example.com", "https://www.example.com", false),
            ("www.example.com", "https://example.com", false),
            ("example.com", "https://example.com.evil.com", false),
            ("example.com", "https://evil.com", false),
            ("example.com", "app://example.com", true),
            ("example.com:80", "app://example.com", false),
            // What is no origin at all.
            ("example.com", "null", false),
            ("example.com", "", false),
            ("example.com", "example.com", false),
            ("example.com", "https://", false),
            ("", "https://", false),
            ("example.com", "https://example.com/", false),
            ("example.com", "https://evil.com@example.com", false),
            ("example.com", "https://example.com https://example.com", false),
            ("example.com", "https://example.com:", false),
            ("example.com", "https://example.com:0x1bb", false),
            ("example.com", "https://example.com:99999", false),
            ("example.com:99999", "https://example.com", false),
            ("example.com", "1https://example.com", false),
            ("example.com", "caf\u{e9}://example.com", false),
        ] {
            assert_eq!(
                check(&OriginPolicy::SameHost, host, &[origin]),
                expected,
                "{origin:?} to {host:?}"
            );
        }
    }

    #[test]
    fn no_origin_passes_and_two_do_not() {
        let patterns = OriginPolicy::patterns(["https://a.com"]).unwrap();
        for policy in [OriginPolicy::SameHost, patterns] {
            assert!(check(&policy, "a.com", &[]));
            assert!(check(&policy, "a.com", &["https://a.com"]));
            assert!(!check(&policy, "a.com", &["https://a.com", "https://a.com"]));
        }
        let any = OriginPolicy::AnyDangerously;
        for origins in [&[][..], &["null"], &["https://a.com", "https://b.com"]] {
            assert!(check(&any, "c.com", origins));
        }
    }

    #[test]
    fn an_origin_that_is_not_utf8_is_not_no_origin() {
        let mut slots = header_slots::<2>();
        let head = b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://x\xFF\r\n\r\n";
        let request = Request::parse(head, &mut slots).unwrap();
        let refused = Err(HandshakeError::OriginNotAllowed);
        assert_eq!(OriginPolicy::SameHost.check(&request), refused);
    }

    #[test]
    fn patterns() {
        for (pattern, origin, expected) in [
            ("https://example.com", "https://example.com", true),
            ("https://example.com", "HTTPS://EXAMPLE.COM", true),
            ("HTTPS://Example.com", "https://example.com", true),
            ("https://example.com", "https://example.com:443", true),
            ("https://example.com", "http://example.com", false),
            ("https://example.com", "https://example.com:8443", false),
            ("example.com", "http://example.com", true),
            ("example.com", "https://example.com", true),
            ("example.com", "https://example.com:8443", false),
            ("example.com", "https://www.example.com", false),
            ("example.com:443", "https://example.com", true),
            ("example.com:443", "http://example.com", false),
            ("example.com:8443", "https://example.com:8443", true),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://a.example.com:8443", false),
            ("https://*.example.com", "https://a.example.com.evil.com", false),
            ("https://*.example.com", "https://evil.com?.example.com", false),
            ("https://*.example.com", "https://evil.com/.example.com", false),
            ("*.example.com", "http://a.example.com", true),
            ("*.example.com:*", "http://a.example.com:3000", true),
            ("localhost:*", "http://localhost", true),
            ("localhost:*", "http://localhost:3000", true),
            ("localhost:*", "http://localhost.example.com", false),
            ("pr-*.preview.*.com", "https://pr-7.preview.example.com", true),
            ("pr-*.preview.*.com", "https://pr-7.preview.com", false),
            ("[::1]:*", "http://[::1]:3000", true),
            ("[::1]", "http://[::1]", true),
            ("[fd00:*]", "http://[fd00::7]", true),
            ("192.168.*", "http://192.168.0.7", true),
            ("chrome-extension://abcdef", "chrome-extension://abcdef", true),
            ("example.com", "null", false),
            ("*.com", "", false),
        ] {
            let policy = OriginPolicy::patterns([pattern]).unwrap();
            assert_eq!(
                check(&policy, "server.com", &[origin]),
                expected,
                "{origin:?} against {pattern:?}"
            );
        }
    }

    #[test]
    fn a_list_is_the_whole_truth() {
        let policy = OriginPolicy::patterns(["https://a.com", "https://b.com"]).unwrap();
        assert!(check(&policy, "server.com", &["https://a.com"]));
        assert!(check(&policy, "server.com", &["https://b.com"]));
        assert!(!check(&policy, "server.com", &["https://server.com"]));
        let nobody = OriginPolicy::Patterns(Vec::new());
        assert!(!check(&nobody, "server.com", &["https://server.com"]));
    }

    #[test]
    fn malformed_patterns_say_what_to_write() {
        for (pattern, expected) in [
            ("", Fault::Empty),
            ("https://", Fault::Empty),
            (":8080", Fault::Empty),
            ("*", Fault::Everything),
            ("https://*", Fault::Everything),
            ("**:*", Fault::Everything),
            ("*://example.com", Fault::Scheme),
            ("://example.com", Fault::Scheme),
            ("https://example.com/", Fault::Path),
            ("example.com/chat", Fault::Path),
            ("example.com?", Fault::Path),
            ("example.com:http", Fault::Port),
            ("example.com:", Fault::Port),
            ("example.com:80*", Fault::Port),
            ("example.com:0", Fault::Port),
            ("example.com:65536", Fault::Port),
            ("https:example.com", Fault::Port),
            ("caf\u{e9}.com", Fault::NotAscii),
            ("user@example.com", Fault::Host),
            ("example .com", Fault::Host),
            ("[a-z].example.com", Fault::Host),
            ("a\\.com", Fault::Host),
            ("[]", Fault::Host),
        ] {
            let error = OriginPattern::parse(pattern).unwrap_err();
            assert_eq!(error.fault, expected, "{pattern:?}");
            assert!(error.to_string().contains(&format!("{pattern:?}")), "{error}");
        }
    }

    #[test]
    fn a_pattern_reads_back() {
        for pattern in ["https://*.example.com", "localhost:*", "[::1]:8080", "a.com"] {
            let parsed: OriginPattern = pattern.parse().unwrap();
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    /// The definition of `*`, in exponential time.
    fn naive_glob(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', pattern @ ..], _) => {
                (0..=text.len()).any(|skipped| naive_glob(pattern, &text[skipped..]))
            }
            ([p, pattern @ ..], [t, text @ ..]) => {
                p.eq_ignore_ascii_case(t) && naive_glob(pattern, text)
            }
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn globs_are_what_they_are_defined_to_be(pattern in "[ab*]{0,8}", text in "[abAB]{0,10}") {
            prop_assert_eq!(
                glob(pattern.as_bytes(), text.as_bytes()),
                naive_glob(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
