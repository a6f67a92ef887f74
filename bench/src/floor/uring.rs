//! One `enter` for many messages: receives that stay armed, and sends that are over at once.
//!
//! A send neither waits nor reports success, so once `enter` has returned, the buffers that were
//! being sent are free again. Sends are tried while the kernel takes them from the queue, before it
//! looks at what else has arrived, so one that failed is known before the connection is heard of
//! again.

use std::{
    io,
    net::TcpListener,
    os::fd::AsRawFd,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{
    CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue,
    types::{BufRingEntry, Fd, Fixed},
};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags},
    process::{Resource, getrlimit},
};

use super::{Never, Options, first_answer, report_full};

pub(super) fn serve(listener: &TcpListener, options: &Options) -> Never {
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_no_sqarray()
        .setup_cqsize(COMPLETION_COUNT)
        .build(SUBMISSION_COUNT)?;
    let (mut submitter, submissions, completions) = ring.split();
    submitter.register_ring_fd()?;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let slot_count = limit.min(SLOT_COUNT_MAX) as usize;
    submitter.register_files_sparse(slot_count as u32)?;
    Floor {
        buffers: Buffers::register(&submitter, options.buffer_len())?,
        submitter,
        submissions,
        completions,
        is_open: vec![false; slot_count],
        lent: Vec::new(),
        broadcast: options.broadcast,
    }
    .serve(listener)
}

struct Floor<'r> {
    submitter: Submitter<'r>,
    submissions: SubmissionQueue<'r>,
    completions: CompletionQueue<'r>,
    buffers: Buffers,
    /// By slot: whether the opening handshake is over.
    is_open: Vec<bool>,
    /// Buffers that are being sent.
    lent: Vec<u16>,
    broadcast: bool,
}

/// What a completion is about; in `user_data` above the slot.
mod kind {
    pub(super) const ACCEPT: u64 = 0;
    pub(super) const RECEIVE: u64 = 1;
    pub(super) const SEND: u64 = 2;
    pub(super) const OTHER: u64 = 3;
}

impl Floor<'_> {
    fn serve(mut self, listener: &TcpListener) -> Never {
        self.accept(listener);
        loop {
            self.submissions.sync();
            match self.submitter.submit_and_wait(1) {
                Err(error) if error.raw_os_error() != Some(Errno::INTR.raw_os_error()) => {
                    return Err(error);
                }
                _ => {}
            }
            self.submissions.sync();
            if self.submissions.is_empty() {
                self.buffers.give_back(self.lent.drain(..));
            }
            self.completions.sync();
            // No more than there is room for in the other queue.
            for _ in 0..SUBMISSION_COUNT / SUBMISSIONS_EACH {
                let Some(completion) = self.completions.next() else { break };
                let slot = completion.user_data() as u32;
                match completion.user_data() >> 32 {
                    kind::ACCEPT => self.accepted(&completion, listener)?,
                    kind::RECEIVE => self.received(&completion, slot)?,
                    kind::SEND => self.send_failed(&completion, slot),
                    _ => {}
                }
            }
        }
    }

    fn accepted(
        &mut self,
        completion: &cqueue::Entry,
        listener: &TcpListener,
    ) -> rustix::io::Result<()> {
        if completion.result() < 0 {
            return Err(Errno::from_raw_os_error(-completion.result()));
        }
        let slot = completion.result() as u32;
        self.is_open[slot as usize] = false;
        self.receive(slot);
        if !cqueue::more(completion.flags()) {
            self.accept(listener);
        }
        Ok(())
    }

    #[inline]
    fn received(&mut self, completion: &cqueue::Entry, slot: u32) -> io::Result<()> {
        let result = completion.result();
        let is_starved = result == -Errno::NOBUFS.raw_os_error();
        if result <= 0 && !is_starved {
            self.close(slot);
            return Ok(());
        }
        if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
            self.lent.push(buffer);
            self.answer(slot, self.buffers.bytes(buffer, result as usize))?;
        }
        if !cqueue::more(completion.flags()) {
            self.receive(slot);
        }
        Ok(())
    }

    /// The memory of `received` lives for ever.
    #[inline]
    fn answer(&mut self, slot: u32, received: &'static [u8]) -> io::Result<()> {
        let is_open = &mut self.is_open[slot as usize];
        if !*is_open {
            *is_open = true;
            match first_answer(received) {
                Some(answer) => self.send(slot, answer),
                None => self.shut_down(slot),
            }
        } else if self.broadcast {
            return self.send_everyone(received);
        } else {
            self.send(slot, received);
        }
        Ok(())
    }

    /// Leaves the queue as empty as it can be.
    fn send_everyone(&mut self, bytes: &'static [u8]) -> io::Result<()> {
        for slot in 0..self.is_open.len() {
            if self.is_open[slot] {
                if self.submissions.is_full() {
                    self.submit()?;
                }
                self.send(slot as u32, bytes);
            }
        }
        self.submit()
    }

    fn submit(&mut self) -> io::Result<()> {
        self.submissions.sync();
        self.submitter.submit()?;
        self.submissions.sync();
        Ok(())
    }

    #[inline]
    fn send(&mut self, slot: u32, bytes: &'static [u8]) {
        let flags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL).bits();
        let flags = flags | RecvFlags::WAITALL.bits();
        let entry = opcode::Send::new(Fixed(slot), bytes.as_ptr(), bytes.len() as u32)
            .flags(flags as i32)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, kind::SEND, slot);
    }

    /// A send that left anything behind ends its connection. The armed receive hears of that.
    #[cold]
    fn send_failed(&mut self, completion: &cqueue::Entry, slot: u32) {
        match completion.result() {
            sent if sent >= 0 => report_full(sent as usize),
            full if full == -Errno::AGAIN.raw_os_error() => report_full(0),
            _ => {}
        }
        self.shut_down(slot);
    }

    fn accept(&mut self, listener: &TcpListener) {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd()));
        self.push(entry.allocate_file_index(true).build(), kind::ACCEPT, 0);
    }

    fn receive(&mut self, slot: u32) {
        let entry = opcode::RecvMulti::new(Fixed(slot), Buffers::GROUP).build();
        self.push(entry, kind::RECEIVE, slot);
    }

    fn shut_down(&mut self, slot: u32) {
        let entry = opcode::Shutdown::new(Fixed(slot), rustix::net::Shutdown::Both as i32).build();
        self.push(entry, kind::OTHER, slot);
    }

    fn close(&mut self, slot: u32) {
        self.is_open[slot as usize] = false;
        let entry = opcode::Close::new(Fixed(slot)).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, kind::OTHER, slot);
    }

    #[inline]
    fn push(&mut self, entry: squeue::Entry, kind: u64, slot: u32) {
        let entry = entry.user_data(kind << 32 | u64::from(slot));
        // SAFETY: the only memory that an entry refers to is what a send sends: a string constant,
        // or one of the buffers, which live for ever and are not filled again before the send is
        // over.
        let result = unsafe { self.submissions.push(&entry) };
        result.expect("a turn takes no more completions than it has room to answer");
    }
}

/// Equal buffers, of which the kernel picks one for each receive. For ever: the process ends with
/// them.
#[derive(Debug)]
struct Buffers {
    entries: *mut BufRingEntry,
    bytes: *mut u8,
    buffer_len: usize,
    /// A power of two.
    count: u16,
    tail: u16,
}

/// The kernel wants a ring's entries at the start of a page.
#[derive(Clone)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "the kernel reads and writes it")] [u8; 4096]);

impl Buffers {
    const GROUP: u16 = 0;

    fn register(submitter: &Submitter<'_>, buffer_len: usize) -> io::Result<Self> {
        let pages = |len: usize| {
            let pages = vec![Page([0; 4096]); len.div_ceil(size_of::<Page>())];
            Box::leak(pages.into_boxed_slice()).as_mut_ptr().cast::<u8>()
        };
        let count = (BUFFERS_LEN / buffer_len).clamp(8, 1024) as u16;
        let entries = pages(usize::from(count) * size_of::<BufRingEntry>()).cast::<BufRingEntry>();
        let bytes = pages(usize::from(count) * buffer_len);
        let mut buffers = Self { entries, bytes, buffer_len, count, tail: 0 };
        buffers.give_back(0..count);
        // SAFETY: that many entries are there, at the start of a page and for ever.
        unsafe {
            submitter.register_buf_ring_with_flags(entries as u64, count, Self::GROUP, 0)?;
        }
        Ok(buffers)
    }

    /// The first `len` bytes of a buffer that the kernel has filled; to be forgotten before it is given
    /// back.
    #[inline]
    fn bytes(&self, buffer: u16, len: usize) -> &'static [u8] {
        debug_assert!(buffer < self.count && len <= self.buffer_len);
        // SAFETY: inside the allocation, which lives for ever, and until the buffer is given back the
        // kernel does not write to it.
        unsafe {
            let start = self.bytes.add(usize::from(buffer) * self.buffer_len);
            std::slice::from_raw_parts(start, len)
        }
    }

    /// Lends buffers to the kernel.
    #[inline]
    fn give_back(&mut self, buffers: impl Iterator<Item = u16>) {
        for buffer in buffers {
            let place = usize::from(self.tail & (self.count - 1));
            // SAFETY: inside the allocation, which zeroes have made valid entries, and beyond the
            // tail, where the kernel does not read yet.
            let entry = unsafe { &mut *self.entries.add(place) };
            entry.set_addr(self.bytes as u64 + u64::from(buffer) * self.buffer_len as u64);
            entry.set_len(self.buffer_len as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: these are the two aligned bytes of the first entry where the kernel looks for the
        // tail; only we write to them.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

const SUBMISSION_COUNT: u32 = 4096;
const COMPLETION_COUNT: u32 = 4 * SUBMISSION_COUNT;
/// A receive can take two: what came is sent back, and the next receive armed.
const SUBMISSIONS_EACH: u32 = 2;
/// Of all buffers: little, so that they stay in the caches.
const BUFFERS_LEN: usize = 4 << 20;
const SLOT_COUNT_MAX: u64 = 1 << 20;
