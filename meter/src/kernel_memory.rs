//! What the kernel's own memory is used for.

use std::{collections::BTreeMap, fs, io};

use rustix::param::page_size;

use super::available_len;

/// The kernel's memory at one moment.
#[derive(Clone, Debug, Default)]
pub struct KernelMemory {
    /// Bytes in use of each cache; `None` where `/proc/slabinfo` is not ours to read.
    slabs: Option<BTreeMap<String, i64>>,
    available: i64,
}

/// What was taken between two moments, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Of memory that was [available](available_len): everything, whoever took it.
    pub available: i64,
    /// In slabs, where sockets and requests live: both ends of the connections, if both are on this
    /// machine. `None` where that is not ours to know.
    pub slabs: Option<i64>,
    /// The part of `slabs` that the server's end takes, at most, if both ends are on this machine.
    pub server_slabs: Option<i64>,
}

impl KernelMemory {
    /// As it is now.
    pub fn now() -> io::Result<Self> {
        let slabs = fs::read_to_string("/proc/slabinfo").ok().map(|text| slabs(&text));
        Ok(Self { slabs, available: available_len()? as i64 })
    }

    /// What was taken since `earlier`.
    ///
    /// Both ends of a connection have a socket, with all that belongs to it: half of that is the
    /// server's. So is the rest: what waits on a socket. Our end has a little of that, too, and one or
    /// two hundred bytes for a client's port, which share their caches with other things and cannot be
    /// told apart: it is an upper bound. Connections that ended before do not count.
    pub fn taken_since(&self, earlier: &Self) -> Taken {
        let slabs = self.slabs.as_ref().zip(earlier.slabs.as_ref()).map(|(now, before)| {
            let (mut all, mut server) = (0, 0);
            for (name, len) in now.iter().filter(|(name, _)| !name.starts_with(ENDED)) {
                let taken = len - before.get(name).unwrap_or(&0);
                all += taken;
                server += if SHARED.contains(&name.as_str()) { taken / 2 } else { taken };
            }
            (all, server)
        });
        Taken {
            available: earlier.available - self.available,
            slabs: slabs.map(|(all, _)| all),
            server_slabs: slabs.map(|(_, server)| server),
        }
    }
}

/// The bytes of each cache in `/proc/slabinfo`: its objects in use, each with its part of a slab.
/// Slabs that are kept for later do not count, or a second crowd of sockets would seem to cost less
/// than the first.
fn slabs(text: &str) -> BTreeMap<String, i64> {
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |index: usize| words.get(index)?.parse::<i64>().ok();
        let (used, per_slab, slab_pages) = (number(1)?, number(4)?, number(5)?);
        let len = used * slab_pages * page_size() as i64 / per_slab.max(1);
        Some((words[0].to_owned(), len))
    };
    text.lines().filter_map(line).collect()
}

/// Caches of what is left of closed connections for a minute.
const ENDED: &str = "tw_sock_";
/// Caches of which both ends of a connection take the same.
const SHARED: [&str; 6] =
    ["TCP", "sock_inode_cache", "dentry", "filp", "lsm_file_cache", "lsm_inode_cache"];

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "slabinfo - version: 2.1\n\
        # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables\n\
        TCP 26 39 2368 13 8 : tunables 0 0 0 : slabdata 3 3 0\n\
        eventpoll_epi 64 64 128 32 1 : tunables 0 0 0 : slabdata 2 2 0\n";
    const AFTER: &str = "slabinfo - version: 2.1\n\
        TCP 52 52 2368 13 8 : tunables 0 0 0 : slabdata 4 4 0\n\
        eventpoll_epi 96 128 128 32 1 : tunables 0 0 0 : slabdata 4 4 0\n\
        io_kiocb 16 16 256 16 1 : tunables 0 0 0 : slabdata 1 1 0\n\
        tw_sock_TCP 16 16 256 16 1 : tunables 0 0 0 : slabdata 1 1 0\n";

    #[test]
    fn half_of_what_both_have_and_all_of_the_rest() {
        let memory = |text, available| KernelMemory { slabs: Some(slabs(text)), available };
        let taken = memory(AFTER, 1000).taken_since(&memory(BEFORE, 3000));
        let page = page_size() as i64;
        assert_eq!(taken.available, 2000);
        assert_eq!((taken.slabs, taken.server_slabs), (Some(18 * page), Some(10 * page)));
    }

    #[test]
    fn nothing_is_known_without_slabinfo() {
        let taken = KernelMemory::now().unwrap().taken_since(&KernelMemory::default());
        assert_eq!((taken.slabs, taken.server_slabs), (None, None));
    }
}
