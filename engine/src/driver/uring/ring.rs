//! The two queues, and the one system call between them.

use std::{collections::VecDeque, io, mem::ManuallyDrop, ptr::NonNull, time::Duration};

use io_uring::{
    CompletionQueue, EnterFlags, IoUring, Probe, SubmissionQueue, Submitter, cqueue, squeue,
    types::{SubmitArgs, Timespec},
};
use rustix::io::Errno;

use super::submission::Submission;

/// An io_uring with both of its queues at hand.
///
/// Neither queue is ever "full" to a caller. Submissions that find no room, even after the kernel
/// was asked to take some, wait in line behind the queue; completions that pile up while submissions
/// are passed on are moved aside, in order.
///
/// While a turn's completions are taken, the kernel hears of nothing new: what that brought would
/// prolong the turn, and so on.
pub(super) struct Ring {
    submitter: ManuallyDrop<Submitter<'static>>,
    submissions: ManuallyDrop<SubmissionQueue<'static>>,
    completions: ManuallyDrop<CompletionQueue<'static>>,
    /// Submissions for which there was no room; while there are any, the queue is full.
    late: VecDeque<squeue::Entry>,
    /// Completions moved out of the queue to make room; older than all that are in it.
    early: VecDeque<cqueue::Entry>,
    /// How many submissions the kernel left in line when it was last entered: the oldest there.
    refused: usize,
    /// The completions of the last `enter` are being taken.
    is_hearing: bool,
    flags: EnterFlags,
    enters: u64,
    submitted: u64,
    overflows: u64,
    /// What the three above borrow from.
    home: NonNull<IoUring>,
}

impl Ring {
    /// A ring with `submission_count` entries one way and `completion_count` the other, to be used
    /// by this thread only: of the first of `flavours` that the kernel knows.
    pub(super) fn new(
        flavours: &[Flavour],
        submission_count: u32,
        completion_count: u32,
    ) -> io::Result<Self> {
        let mut ring = Err(Errno::INVAL.into());
        for flavour in flavours {
            let mut builder = IoUring::builder();
            builder.setup_cqsize(completion_count).setup_submit_all().dontfork();
            flavour(&mut builder);
            ring = builder.build(submission_count);
            if !ring.as_ref().is_err_and(|error| is(error, Errno::INVAL)) {
                break;
            }
        }
        let ring = ring?;
        let parameters = ring.params();
        if !parameters.is_feature_ext_arg()
            || !parameters.is_feature_nodrop()
            || !parameters.is_feature_skip_cqe_on_success()
        {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this io_uring is too old"));
        }
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        flags.set(EnterFlags::NO_IOWAIT, parameters.is_feature_no_iowait());

        let home = NonNull::from(Box::leak(Box::new(ring)));
        // SAFETY: leaked just now; it stays where it is until `drop`, which ends these borrows first,
        // and nothing makes a unique reference to it meanwhile.
        let ring: &'static IoUring = unsafe { home.as_ref() };
        let mut submitter = ring.submitter();
        // Spares each call the look-up of a descriptor that other threads might be closing. Not
        // everywhere possible (Linux 5.18), never necessary.
        let _ = submitter.register_ring_fd();
        // Only shutdowns go to kernel threads. They are quick, and they can wait for each other.
        let _ = submitter.register_iowq_max_workers(&mut [1, 1]);
        Ok(Self {
            submitter: ManuallyDrop::new(submitter),
            // SAFETY: the only submission queue of this ring.
            submissions: ManuallyDrop::new(unsafe { ring.submission_shared() }),
            // SAFETY: the only completion queue of this ring.
            completions: ManuallyDrop::new(unsafe { ring.completion_shared() }),
            late: VecDeque::new(),
            early: VecDeque::new(),
            refused: 0,
            is_hearing: false,
            flags,
            enters: 0,
            submitted: 0,
            overflows: 0,
            home,
        })
    }

    /// For registrations.
    pub(super) fn submitter(&self) -> &Submitter<'static> {
        &self.submitter
    }

    /// The first of `opcodes` that the kernel does not know.
    pub(super) fn missing(&self, opcodes: &[u8]) -> io::Result<Option<u8>> {
        let mut probe = Probe::new();
        self.submitter.register_probe(&mut probe)?;
        Ok(opcodes.iter().copied().find(|&opcode| !probe.is_supported(opcode)))
    }

    /// Queues `submission`; the kernel hears of it in the next `enter` at the latest.
    #[inline]
    pub(super) fn push(&mut self, submission: Submission) {
        let entry = submission.into_entry();
        if self.submissions.is_full() && !self.make_room() {
            return self.late.push_back(entry);
        }
        // SAFETY: what a submission refers to stays valid until its completion; that is the promise
        // of the type.
        let pushed = unsafe { self.submissions.push(&entry) };
        debug_assert!(pushed.is_ok(), "there is room");
    }

    /// The next completion.
    #[inline]
    pub(super) fn take(&mut self) -> Option<cqueue::Entry> {
        if !self.early.is_empty() {
            return self.early.pop_front();
        }
        self.completions.next()
    }

    /// Asks for completions of the last `enter` that are still to come, once those that came are
    /// taken: they found no room in their queue, or the kernel did not take what they are to come of.
    /// Says whether there are any now; if not, all is told that came of what was queued before.
    ///
    /// # Errors
    ///
    /// As `enter`.
    #[inline]
    pub(super) fn fetch(&mut self) -> io::Result<bool> {
        if !self.is_settled() {
            self.fetch_owed()?;
        }
        self.is_hearing = self.has_completions();
        Ok(self.is_hearing)
    }

    /// Whether completions are left to be taken.
    #[inline]
    pub(super) fn has_completions(&self) -> bool {
        !self.early.is_empty() || !self.completions.is_empty()
    }

    /// Whether the kernel has taken all that was queued before it was last entered, and we have taken
    /// all that it had to say to that.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.refused == 0 && !self.has_completions() && !self.submissions.cq_overflow()
    }

    /// Whether something is queued for the kernel.
    pub(super) fn has_submissions(&self) -> bool {
        !self.submissions.is_empty()
    }

    /// Passes on what is queued, then waits at most `timeout` (`None`: for ever) for `want`
    /// completions.
    ///
    /// # Errors
    ///
    /// `EBADR` when the kernel had no memory to keep a completion in and lost it, and what else says
    /// that this ring is of no more use.
    pub(super) fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        while !self.late.is_empty() && self.pass_on() {}
        match self.call(self.submissions.len(), want, timeout) {
            // No memory for requests, or too many completions that are not taken yet: what was
            // refused stays queued. Without a pause we would be back here at once.
            Err(Errno::AGAIN | Errno::BUSY) if want > 0 => std::thread::sleep(REFUSED_PAUSE),
            result => result.or_else(harmless)?,
        }
        self.refused = self.submissions.len() + self.late.len();
        self.is_hearing = true;
        self.fill_up();
        forget_burst(&mut self.late);
        forget_burst(&mut self.early);
        Ok(())
    }

    /// How often the kernel was entered, how many submissions it took, and how often completions
    /// found their queue full.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (self.enters, self.submitted, self.overflows)
    }

    /// The slow part of `fetch`. A kernel without memory for a request is asked until it has some:
    /// nothing can be sent before, nor anything else be done.
    #[cold]
    #[inline(never)]
    fn fetch_owed(&mut self) -> io::Result<()> {
        while !self.has_completions() && !self.is_settled() {
            let before = self.submissions.len();
            match self.call(self.refused.min(before), 0, None) {
                Err(Errno::AGAIN | Errno::BUSY) => std::thread::sleep(REFUSED_PAUSE),
                result => result.or_else(harmless)?,
            }
            self.refused -= before - self.submissions.len();
            self.fill_up();
        }
        Ok(())
    }

    /// The system call, for the first `count` submissions of the queue, and the queues' indices before
    /// and after it.
    fn call(&mut self, count: usize, want: u32, timeout: Option<Duration>) -> Result<(), Errno> {
        self.submissions.sync();
        self.completions.sync();
        let timespec;
        let mut arguments = SubmitArgs::new();
        if let Some(timeout) = timeout {
            timespec = Timespec::from(timeout);
            arguments = arguments.timespec(&timespec);
        }
        // SAFETY: `SubmitArgs` is the argument that EXT_ARG announces, and with the time it points
        // to it lives across the call.
        let result = unsafe {
            self.submitter.enter(count as u32, want, self.flags.bits(), Some(&arguments))
        };
        self.submissions.sync();
        self.completions.sync();
        self.enters += 1;
        self.overflows += u64::from(self.submissions.cq_overflow());
        match result {
            Ok(taken) => {
                self.submitted += taken as u64;
                Ok(())
            }
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL)),
        }
    }

    /// Passes on what is queued ahead of time, if it is one for that. Says whether there is room now.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self) -> bool {
        if !self.is_hearing {
            // A kernel that refuses, or worse, is met again in the next `wait`, which can say so.
            self.pass_on();
        }
        !self.submissions.is_full()
    }

    /// Has the kernel take what is in the queue, and refills it with what waits behind. Says whether
    /// it took all of the former.
    fn pass_on(&mut self) -> bool {
        if self.completions.len() > self.completions.capacity() / 2 {
            self.early.extend(&mut *self.completions);
        }
        let is_taken =
            self.call(self.submissions.len(), 0, None).is_ok() && self.submissions.is_empty();
        self.fill_up();
        is_taken
    }

    /// Moves late submissions to where there is room now.
    fn fill_up(&mut self) {
        while let Some(entry) = self.late.front() {
            // SAFETY: as in `push`.
            if unsafe { self.submissions.push(entry) }.is_err() {
                break;
            }
            self.late.pop_front();
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let _ = self.submitter.unregister_ring_fd();
        // SAFETY: dropped once, here, and not used again.
        unsafe {
            ManuallyDrop::drop(&mut self.completions);
            ManuallyDrop::drop(&mut self.submissions);
            ManuallyDrop::drop(&mut self.submitter);
        }
        // SAFETY: leaked in `new` and borrowed only by the three that are gone now.
        drop(unsafe { Box::from_raw(self.home.as_ptr()) });
    }
}

/// What to ask a kernel for when a ring is set up.
pub(super) type Flavour = fn(&mut io_uring::Builder);

/// The best first: each is for an older kernel than the one before.
pub(super) const FLAVOURS: [Flavour; 4] = [
    |builder| {
        let builder = builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        builder.setup_no_sqarray(); // Linux 6.6
    },
    |builder| {
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag(); // Linux 6.1
    },
    |builder| {
        builder.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag(); // Linux 6.0
    },
    |builder| {
        builder.setup_coop_taskrun().setup_taskrun_flag(); // Linux 5.19
    },
];

/// Gives back the memory of a line that was uncommonly long.
#[inline]
fn forget_burst<T>(line: &mut VecDeque<T>) {
    if line.is_empty() && line.capacity() > LINE_LEN_KEPT {
        *line = VecDeque::new();
    }
}

/// A line of so many keeps its memory: half a megabyte of submissions.
const LINE_LEN_KEPT: usize = 8 * 1024;

/// How long to leave the kernel alone when it took nothing.
const REFUSED_PAUSE: Duration = Duration::from_millis(1);

/// Errors of `io_uring_enter` that only say: look at the queues.
fn harmless(error: Errno) -> io::Result<()> {
    match error {
        Errno::TIME | Errno::INTR | Errno::AGAIN | Errno::BUSY => Ok(()),
        error => Err(error.into()),
    }
}

/// Whether the kernel's answer was `errno`.
fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
