//! What rustix does not have yet, and pinning.

use std::{
    io,
    mem::{self, size_of},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use rustix::{
    net::{AddressFamily, SocketType, socket},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, UnshareFlags, sched_setaffinity, unshare_unsafe},
};

/// Keeps the calling thread on `core`.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::Error::other(format!("there is no core {core}")));
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores)
        .map_err(|error| io::Error::other(format!("cannot run on core {core}: {error}")))
}

/// Allows this process, and those that it starts, as many descriptors as it may allow itself, and says
/// how many that are in each table.
pub(crate) fn raise_descriptor_limit() -> io::Result<usize> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.map_or(usize::MAX, |limit| limit as usize))
}

/// Gives the calling thread, and those and what else it starts, a network with nothing in it but a
/// loopback interface. It ends with the last of them, and with it what its connections left behind.
pub(crate) fn own_network() -> io::Result<()> {
    // SAFETY: no descriptor is affected, and memory is neither.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: zeroes are a valid request: no name, no flags.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l', b'o'].map(|byte| byte as libc::c_char));
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is one that reads an `ifreq`, and this one lives across the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets a later `bind` choose an address alone, and `connect` the port, which then has to be unique
/// among connections to the same peer only (Linux 4.2).
pub(crate) fn set_bind_address_no_port(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes an int, and the pointer and the length are those of one.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The first published form of `perf_event_attr`, which is all we need.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerfEvent {
    kind: u32,
    len: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_kind: u32,
    breakpoint_address: u64,
}

impl PerfEvent {
    /// The hardware event `config`, counted or not as `flags` say, read as `read_format` says.
    pub(crate) fn hardware(config: u64, flags: u64, read_format: u64) -> Self {
        let len = size_of::<Self>() as u32;
        Self { len, config, flags, read_format, ..Self::default() }
    }

    /// Counts it from now on in the thread `tid`, on whichever core that runs. Reading the
    /// descriptor gives the count.
    pub(crate) fn open(&self, tid: u32) -> io::Result<OwnedFd> {
        const ANY_CORE: libc::c_int = -1;
        const NO_GROUP: libc::c_int = -1;
        const CLOSE_ON_EXEC: libc::c_ulong = 8;
        let tid = tid as libc::pid_t;
        let event = &raw const *self;
        // SAFETY: the kernel reads `len` bytes, which is the size of the type, and keeps no pointer.
        let fd = unsafe {
            libc::syscall(libc::SYS_perf_event_open, event, tid, ANY_CORE, NO_GROUP, CLOSE_ON_EXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: opened just now, and nobody else knows of it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }
}
