//! What the kernel's own memory is used for.

use std::{collections::BTreeMap, fs, io};

use super::process::first_number;

/// The kernel's memory at one moment.
#[derive(Debug)]
pub(crate) struct KernelMemory {
    /// Bytes in use of each cache; `None` where `/proc/slabinfo` is not ours to read.
    slabs: Option<BTreeMap<String, i64>>,
    available: i64,
}

/// What was taken between two moments, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Of memory that was free or page cache: everything, user space included.
    pub(crate) available: i64,
    /// In the kernel's slabs, where sockets and requests live.
    pub(crate) slabs: Option<i64>,
    /// The part of `slabs` that a server's end of loopback connections takes, at most.
    pub(crate) server: Option<i64>,
}

impl KernelMemory {
    pub(crate) fn now() -> io::Result<Self> {
        let slabs = fs::read_to_string("/proc/slabinfo").ok().map(|text| slabs(&text));
        Ok(Self { slabs, available: available_len()? as i64 })
    }

    /// What was taken since `earlier`.
    ///
    /// Both ends of a connection have a socket, with all that belongs to it: half of that is the
    /// server's. The rest is what waits on a socket, and the server's too, since our end does nothing
    /// but exist; save for one or two hundred bytes of a client's port, which share their caches with
    /// other things and cannot be told apart. Connections that ended before do not count.
    pub(crate) fn taken_since(&self, earlier: &Self) -> Taken {
        let (mut all, mut server) = (0, 0);
        for (name, len) in self.slabs.iter().flatten() {
            if name.starts_with(ENDED) {
                continue;
            }
            let before = earlier.slabs.as_ref().and_then(|slabs| slabs.get(name)).unwrap_or(&0);
            let taken = len - before;
            all += taken;
            server += if SHARED.contains(&name.as_str()) { taken / 2 } else { taken };
        }
        let is_known = self.slabs.is_some() && earlier.slabs.is_some();
        Taken {
            available: earlier.available - self.available,
            slabs: is_known.then_some(all),
            server: is_known.then_some(server),
        }
    }
}

/// Bytes that are free or hold nothing but copies of files. `MemAvailable` would count sockets in use
/// as half free, since the caches that they are in can be shrunk.
pub(crate) fn available_len() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map_or(0, first_number) * 1024
    };
    Ok((field("MemFree") + field("Buffers") + field("Cached")).saturating_sub(field("Shmem")))
}

/// The bytes of each cache in `/proc/slabinfo`: its objects in use, each with its part of a slab.
/// Slabs that are kept for later do not count, or a second crowd of sockets would seem to cost less
/// than the first.
fn slabs(text: &str) -> BTreeMap<String, i64> {
    let page_len = rustix::param::page_size() as i64;
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |index: usize| words.get(index)?.parse::<i64>().ok();
        let (used, per_slab, slab_pages) = (number(1)?, number(4)?, number(5)?);
        Some((words[0].to_owned(), used * slab_pages * page_len / per_slab.max(1)))
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
        let taken = memory(AFTER, 1_000_000).taken_since(&memory(BEFORE, 3_000_000));
        let page = rustix::param::page_size() as i64;
        assert_eq!(taken.available, 2_000_000);
        assert_eq!(taken.slabs, Some(18 * page));
        assert_eq!(taken.server, Some(10 * page));
    }

    #[test]
    fn nothing_is_known_without_slabinfo() {
        let memory = KernelMemory { slabs: None, available: 0 };
        let taken = KernelMemory::now().unwrap().taken_since(&memory);
        assert_eq!((taken.slabs, taken.server), (None, None));
        assert!(available_len().unwrap() > 0);
    }
}
