//! Where a redirect leads (RFC 9110 §10.2.2, §15.4).

use super::connect_error::ConnectError;
use crate::{client::FailedResponse, endpoint::Url};

/// Whether an answer of this status says to ask again elsewhere.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Whether what is meant for the one host may be said to the other.
pub(super) fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.host.eq_ignore_ascii_case(&other.host)
        && (one.port, one.is_secure) == (other.port, other.is_secure)
}

/// Where `response`, the answer to a request for `from`, says to go. `http` and `https` count as `ws`
/// and `wss`.
///
/// # Errors
///
/// It does not say it in a way that we can follow, or would have us go on without TLS.
pub(super) fn follow(
    from: &Url,
    response: &FailedResponse,
    may_follow: bool,
) -> Result<Url, ConnectError> {
    let location = response.header("Location").unwrap_or_default();
    let refused = |reason| ConnectError::Redirect { location: location.to_owned(), reason };
    if !may_follow {
        return Err(refused("there were too many before it"));
    }
    let to = Url::parse(&absolute(from, location))
        .map_err(|_| refused("it is no URL of a WebSocket"))?;
    match from.is_secure && !to.is_secure {
        true => Err(refused("it leads away from TLS")),
        false => Ok(to),
    }
}

/// `reference` as seen from `base` (RFC 3986 §5.2).
fn absolute(base: &Url, reference: &str) -> String {
    let scheme = if base.is_secure { "wss" } else { "ws" };
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if let Some((scheme, rest)) =
        reference.split_once("://").filter(|(scheme, _)| is_scheme(scheme))
    {
        return match scheme.to_ascii_lowercase().as_str() {
            "http" => format!("ws://{rest}"),
            "https" => format!("wss://{rest}"),
            _ => reference.to_owned(),
        };
    }
    if let Some(rest) = reference.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    let reference = reference.split_once('#').map_or(reference, |(before, _)| before);
    let base_path = base.target.split_once('?').map_or(&*base.target, |(path, _)| path);
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (reference, String::new()),
    };
    let path = match path {
        "" => base_path.to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let folder = &base_path[..base_path.rfind('/').map_or(0, |at| at + 1)];
            without_dots(&format!("{folder}{path}"))
        }
    };
    format!("{scheme}://{}:{}{path}{query}", base.host, base.port)
}

/// The path without `.` and `..` (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => _ = kept.pop(),
            segment => kept.push(segment),
        }
        if matches!(segment, "." | "..") && segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let base = Url::parse("ws://host:9001/a/b?q").unwrap();
        for (reference, expected) in [
            ("http://other/x", "ws://other/x"),
            ("HTTPS://other:1/x?y", "wss://other:1/x?y"),
            ("wss://other/", "wss://other/"),
            ("//other/x", "ws://other/x"),
            ("/x", "ws://host:9001/x"),
            ("/x#y", "ws://host:9001/x"),
            ("x", "ws://host:9001/a/x"),
            ("../x", "ws://host:9001/x"),
            ("../../../x/./y/", "ws://host:9001/x/y/"),
            ("/x/..", "ws://host:9001/"),
            ("./?p=http://z", "ws://host:9001/a/?p=http://z"),
            ("?p", "ws://host:9001/a/b?p"),
            ("", "ws://host:9001/a/b"),
        ] {
            assert_eq!(absolute(&base, reference), expected, "{reference:?}");
        }
    }
}
