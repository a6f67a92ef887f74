//! Who is at the other end, in seven bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Connection;

/// A peer's address, as the table's entry holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A Unix socket, or a driver that cannot tell.
    #[default]
    Unknown,
    /// IPv4, also when mapped into IPv6. Bytes in network order, so that nothing needs alignment.
    V4 { ip: [u8; 4], port: [u8; 2] },
    /// Too long for the entry: in [`Extra`](super::Extra).
    V6,
}

impl<T> Connection<T> {
    /// Notes where the peer is.
    pub(crate) fn set_peer(&mut self, address: SocketAddr) {
        self.peer = match address.ip().to_canonical() {
            IpAddr::V4(ip) => Peer::V4 { ip: ip.octets(), port: address.port().to_be_bytes() },
            IpAddr::V6(ip) => {
                self.extra_mut().peer = Some((ip, address.port()));
                Peer::V6
            }
        };
    }

    /// Where the peer is, if that is known.
    #[inline] // where nobody looks at it, nothing is left of it
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        match self.peer {
            Peer::Unknown => None,
            Peer::V4 { ip, port } => {
                Some(SocketAddr::from((Ipv4Addr::from(ip), u16::from_be_bytes(port))))
            }
            Peer::V6 => {
                let (ip, port): (Ipv6Addr, u16) = self.extra.as_ref()?.peer?;
                Some(SocketAddr::from((ip, port)))
            }
        }
    }
}
