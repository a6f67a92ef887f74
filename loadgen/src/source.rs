//! Which address a connection comes from.
//!
//! A TCP connection is its two addresses and two ports, so one source address has at most some 28,000
//! connections to one target, and finding a free port takes the kernel longer the fewer are left. All
//! of 127/8 is this machine: to a target there, connections come from as many addresses as they need,
//! 5000 from each.

use std::net::{IpAddr, Ipv4Addr};

use crate::target::Target;

/// The source addresses of the connections to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sources {
    /// The kernel decides.
    Any,
    /// These, in turns.
    Listed(Vec<IpAddr>),
    /// As many of 127/8 as are needed, from `first` on.
    Loopback { first: Ipv4Addr, count: u32 },
}

impl Sources {
    /// Sources for connections to `target`, of which up to `count_max` exist at a time: those `listed`
    /// if there are any. `churns` says that connections come and go, which leaves ports behind that
    /// rest for a minute: then there are more addresses than the number would need.
    pub(crate) fn new(target: &Target, count_max: usize, churns: bool, listed: &[IpAddr]) -> Self {
        let is_ours = |source: &&IpAddr| source.is_ipv4() == target.address.is_ipv4();
        let listed: Vec<_> = listed.iter().filter(is_ours).copied().collect();
        if !listed.is_empty() {
            return Self::Listed(listed);
        }
        match target.address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {
                let needed = count_max.div_ceil(CONNECTIONS_EACH).clamp(1, ADDRESSES_MAX as usize);
                let count =
                    if churns { (needed as u32).max(CHURN_ADDRESSES) } else { needed as u32 };
                Self::Loopback { first: first_of(std::process::id()), count }
            }
            _ => Self::Any,
        }
    }

    /// The source of connection number `index` to this target; `None` leaves it to the kernel.
    pub(crate) fn of(&self, index: usize) -> Option<IpAddr> {
        match self {
            Self::Any => None,
            Self::Listed(addresses) => Some(addresses[index % addresses.len()]),
            Self::Loopback { first, count } => {
                let step = (index % *count as usize) as u32;
                Some(Ipv4Addr::from_bits(first.to_bits() + step).into())
            }
        }
    }

    /// How many addresses that are; `None` if the kernel decides.
    pub(crate) fn count(&self) -> Option<usize> {
        match self {
            Self::Any => None,
            Self::Listed(addresses) => Some(addresses.len()),
            Self::Loopback { count, .. } => Some(*count as usize),
        }
    }
}

/// Two generators on one machine should not meet: the addresses begin in another place for each.
fn first_of(pid: u32) -> Ipv4Addr {
    let block = pid % (1 << 7);
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 64, 0, 1).to_bits() + (block << 14))
}

/// How many connections find their ports without a search.
const CONNECTIONS_EACH: usize = 5000;
/// Of 16,384 in a process's block.
const ADDRESSES_MAX: u32 = 16_000;
/// 28,000 ports each, resting for a minute: enough for some 30,000 connections a second.
const CHURN_ADDRESSES: u32 = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn target(url: &str) -> Target {
        Target::new(url, &["192.0.2.1".into()]).unwrap()
    }

    #[test]
    fn loopback_addresses_are_shared_evenly() {
        let sources = Sources::new(&target("ws://127.0.0.1:1"), 23_000, false, &[]);
        assert_eq!(sources.count(), Some(5));
        let mut each = BTreeMap::new();
        for index in 0..23_000 {
            let address = sources.of(index).unwrap();
            assert!(address.is_loopback());
            *each.entry(address).or_insert(0) += 1;
        }
        assert_eq!(each.values().copied().max(), Some(4_600));
    }

    #[test]
    fn addresses_stay_in_the_loopback_network() {
        for pid in [0, 1, 127, 128, 4_194_304] {
            let first = first_of(pid);
            let last = Ipv4Addr::from_bits(first.to_bits() + ADDRESSES_MAX);
            assert!(first.octets()[1] >= 64 && last.is_loopback(), "{first} to {last}");
            assert_ne!(last.octets(), [127, 255, 255, 255]);
        }
    }

    #[test]
    fn those_that_come_and_go_need_more() {
        let sources = |churns| Sources::new(&target("ws://127.0.0.1:1"), 10, churns, &[]).count();
        assert_eq!((sources(false), sources(true)), (Some(1), Some(64)));
    }

    #[test]
    fn what_is_listed_is_used_and_elsewhere_the_kernel_decides() {
        let listed: Vec<IpAddr> =
            ["127.0.0.5", "::1", "127.0.0.6"].iter().map(|text| text.parse().unwrap()).collect();
        let sources = Sources::new(&target("ws://127.0.0.1:1"), 10, false, &listed);
        assert_eq!(sources, Sources::Listed(vec![listed[0], listed[2]]));
        assert_eq!(sources.of(3), Some(listed[2]));
        for url in ["ws://192.0.2.1:1", "ws://[::1]:1"] {
            let sources = Sources::new(&target(url), 10, false, &[]);
            assert_eq!((sources.count(), sources.of(9)), (None, None));
        }
    }
}
