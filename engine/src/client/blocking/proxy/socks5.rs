//! SOCKS5 (RFC 1928), with a user and a password if there is one (RFC 1929).

use std::net::IpAddr;

use super::{ProxyError, User};
use crate::client::blocking::{
    connect_error::{ConnectError, Phase},
    transport::Line,
    until::Until,
};

pub(super) fn connect(
    line: &Line,
    host: &str,
    port: u16,
    user: Option<&User>,
    until: Until,
) -> Result<(), ConnectError> {
    let lost = ConnectError::during(Phase::Proxy);
    let say = |bytes: &[u8]| line.write_all(bytes, until).map_err(&lost);
    let hear = |bytes: &mut [u8]| line.read_exact(bytes, until).map_err(&lost);

    // Which ways of saying who we are there are, and which it wants (§3).
    match user {
        None => say(&[VERSION, 1, NO_USER])?,
        Some(_) => say(&[VERSION, 2, NO_USER, USER])?,
    }
    let mut chosen = [0; 2];
    hear(&mut chosen)?;
    match (chosen, user) {
        ([VERSION, NO_USER], _) => {}
        ([VERSION, USER], Some(User { name, password })) => {
            let mut request = vec![USER_VERSION, name.len() as u8];
            request.extend_from_slice(name.as_bytes());
            request.push(password.len() as u8);
            request.extend_from_slice(password.as_bytes());
            say(&request)?;
            let mut verdict = [0; 2];
            hear(&mut verdict)?;
            if verdict[1] != 0 {
                return Err(ProxyError::UserRefused.into());
            }
        }
        ([VERSION, _], _) => return Err(ProxyError::UserWanted.into()),
        _ => return Err(ProxyError::NotSocks5.into()),
    }

    // Where to (§4).
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            // A name of more than 255 bytes is none (RFC 1035 §2.3.4).
            let len = u8::try_from(host.len()).map_err(|_| ProxyError::Socks5(HOST_UNREACHABLE))?;
            request.extend_from_slice(&[NAME, len]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    say(&request)?;

    // What became of it, and an address that we have no use for (§6).
    let mut reply = [0; 4];
    hear(&mut reply)?;
    let [version, outcome, _, kind] = reply;
    match (version, outcome) {
        (VERSION, 0) => {}
        (VERSION, outcome) => return Err(ProxyError::Socks5(outcome).into()),
        _ => return Err(ProxyError::NotSocks5.into()),
    }
    let address_len = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => {
            let mut len = [0];
            hear(&mut len)?;
            usize::from(len[0])
        }
        _ => return Err(ProxyError::NotSocks5.into()),
    };
    hear(&mut [0; 255 + 2][..address_len + 2])
}

/// What the number of an outcome means (§6).
pub(super) fn reason(outcome: u8) -> &'static str {
    match outcome {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        HOST_UNREACHABLE => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "it knows no CONNECT",
        8 => "it does not know this kind of address",
        _ => "for a reason that has no meaning",
    }
}

const VERSION: u8 = 5;
const NO_USER: u8 = 0;
const USER: u8 = 2;
const USER_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const HOST_UNREACHABLE: u8 = 4;
