//! What the kernel's own memory is used for.

use std::{collections::BTreeMap, fs};

use rustix::param::page_size;

use super::field;

/// The kernel's memory at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelMemory {
    /// Bytes in use of each cache; `None` where `/proc/slabinfo` is not ours to read.
    slabs: Option<BTreeMap<String, i64>>,
    /// Bytes that wait in the buffers of TCP sockets.
    buffers: i64,
    /// Bytes that are free, or hold nothing but copies of files.
    available: i64,
}

/// What was taken between two moments, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// In slabs, where sockets and requests live: both ends of the connections, if both are on this
    /// machine.
    pub(crate) slabs: Option<i64>,
    /// The part of `slabs` that the server's end takes, at most, if both ends are on this machine.
    pub(crate) server_slabs: Option<i64>,
    /// In buffers of TCP sockets.
    pub(crate) buffers: i64,
    /// Of free memory and page cache: everything, whoever took it.
    pub(crate) available: i64,
}

impl KernelMemory {
    /// As it is now. What cannot be read counts as nothing.
    pub(crate) fn now() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        Self {
            slabs: fs::read_to_string("/proc/slabinfo").ok().map(|text| slabs(&text)),
            buffers: tcp_buffer_len(&sockstat),
            available: available_len(&meminfo),
        }
    }

    /// What was taken since `earlier`.
    ///
    /// The server's part of the slabs is half of what both ends of a connection have (a socket, with
    /// all that belongs to it), and all of the rest: what waits on a socket, though our end has a
    /// little of that, too. So it is an upper bound. Connections that ended before do not count.
    pub(crate) fn taken_since(&self, earlier: &Self) -> Taken {
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
            slabs: slabs.map(|(all, _)| all),
            server_slabs: slabs.map(|(_, server)| server),
            buffers: self.buffers - earlier.buffers,
            available: earlier.available - self.available,
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

/// The `mem` of the line `TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 3`, which is in pages.
fn tcp_buffer_len(sockstat: &str) -> i64 {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"));
    let words: Vec<_> = line.unwrap_or_default().split_whitespace().collect();
    let pages =
        words.chunks_exact(2).find(|pair| pair[0] == "mem").and_then(|pair| pair[1].parse().ok());
    pages.unwrap_or(0) * page_size() as i64
}

/// `MemAvailable` would count sockets in use as half free, since their caches can be shrunk.
fn available_len(meminfo: &str) -> i64 {
    let kilobytes = |name| field(meminfo, name) as i64;
    let files = kilobytes("Buffers") + kilobytes("Cached") - kilobytes("Shmem");
    (kilobytes("MemFree") + files) * 1024
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
        let memory = |text, buffers, available| KernelMemory {
            slabs: Some(slabs(text)),
            buffers,
            available,
        };
        let taken = memory(AFTER, 90, 1000).taken_since(&memory(BEFORE, 50, 3000));
        let page = page_size() as i64;
        let slabs = (taken.slabs, taken.server_slabs);
        assert_eq!(slabs, (Some(18 * page), Some(10 * page)));
        assert_eq!((taken.buffers, taken.available), (40, 2000));
    }

    #[test]
    fn nothing_is_known_without_slabinfo() {
        let taken = KernelMemory::now().taken_since(&KernelMemory::default());
        assert_eq!((taken.slabs, taken.server_slabs), (None, None));
    }

    #[test]
    fn the_files_of_proc() {
        let sockstat =
            "sockets: used 9\nTCP: inuse 5 orphan 0 tw 1 alloc 7 mem 3\nUDP: inuse 1 mem 2\n";
        assert_eq!(tcp_buffer_len(sockstat), 3 * page_size() as i64);
        assert_eq!(tcp_buffer_len(""), 0);
        let meminfo = "MemTotal: 99 kB\nMemFree: 10 kB\nBuffers: 2 kB\nCached: 5 kB\nShmem: 1 kB\n";
        assert_eq!(available_len(meminfo), 16 * 1024);
    }
}
