//! What the request says besides where it goes.

use crate::{endpoint::Url, error::Error, protocol::handshake::Proposal};

/// Headers, cookies, subprotocols.
#[derive(Clone, Default)]
pub(super) struct Words {
    pub(super) host: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) cookies: Vec<(String, String)>,
    pub(super) subprotocols: Vec<String>,
}

impl Words {
    /// The request to `url`.
    pub(super) fn proposal(&self, url: &Url) -> Result<Proposal, Error> {
        let authority = url.authority();
        let mut proposal = Proposal::new(self.host.as_ref().unwrap_or(&authority), &url.target);
        if !self.cookies.is_empty() {
            proposal = proposal.header("Cookie", &self.cookie_header()?);
        }
        for (name, value) in &self.headers {
            proposal = proposal.header(name, value);
        }
        for subprotocol in &self.subprotocols {
            proposal = proposal.subprotocol(subprotocol);
        }
        Ok(proposal)
    }

    /// What may be said to another host than it was meant for.
    pub(super) fn without_secrets(mut self) -> Self {
        let is_secret = |name: &str| SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret));
        self.headers.retain(|(name, _)| !is_secret(name));
        self.cookies.clear();
        self.host = None;
        self
    }

    /// All of them in one line (RFC 6265 §5.4), if each is what that can say (§4.1.1).
    fn cookie_header(&self) -> Result<String, Error> {
        let mut line = String::new();
        for (name, value) in &self.cookies {
            let is_sayable = |byte: u8| byte.is_ascii_graphic() && !b",;\\\"".contains(&byte);
            let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let is_name =
                !name.is_empty() && name.bytes().all(|byte| is_sayable(byte) && byte != b'=');
            if !is_name || !quoted.unwrap_or(value).bytes().all(is_sayable) {
                let remedy =
                    "encode what is not printable ASCII, and spaces, quotes, `,`, `;`, `\\`";
                return Err(Error::setting("cookie", name, remedy));
            }
            let separator = if line.is_empty() { "" } else { "; " };
            line.extend([separator, name, "=", value]);
        }
        Ok(line)
    }
}

/// Headers that speak to one host alone.
const SECRETS: &[&str] = &["Authorization", "Cookie", "Proxy-Authorization"];
