//! Threads with descriptor tables of their own, for more connections than one table holds.

use std::{
    io,
    ops::Range,
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
};

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Threads that take steps of the kind `S`, each with its share of all connections, and say what came
/// of each. Dropped, they are gone, and with them what they have open.
#[derive(Debug)]
pub(crate) struct Workers<S, R> {
    workers: Vec<Worker<S, R>>,
}

#[derive(Debug)]
struct Worker<S, R> {
    steps: Option<Sender<S>>,
    results: Receiver<io::Result<R>>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Clone + Send + 'static, R: Send + 'static> Workers<S, R> {
    /// Threads for `count` connections, at most `share_len` each. `make` says how one takes a step
    /// that has a share.
    pub(crate) fn start<W>(count: usize, share_len: usize, make: impl Fn(Range<usize>) -> W) -> Self
    where
        W: FnMut(S) -> io::Result<R> + Send + 'static,
    {
        let shares = (0..count).step_by(share_len);
        let shares = shares.map(|start| start..count.min(start + share_len));
        Self { workers: shares.map(|share| Worker::start(make(share))).collect() }
    }

    /// Has each thread begin with `step`.
    pub(crate) fn begin(&self, step: &S) {
        for worker in &self.workers {
            // One that is gone is missed in `finish`.
            let _ = worker.steps.as_ref().map(|steps| steps.send(step.clone()));
        }
    }

    /// Waits for all threads to finish what they began.
    pub(crate) fn finish(&self) -> Vec<io::Result<R>> {
        let gone = || Err(io::Error::other("a client thread is gone"));
        let results = self.workers.iter().map(|worker| worker.results.recv());
        results.map(|result| result.unwrap_or_else(|_| gone())).collect()
    }
}

impl<S, R> Drop for Workers<S, R> {
    fn drop(&mut self) {
        self.workers.iter_mut().for_each(|worker| worker.steps = None);
        for worker in &mut self.workers {
            let _ = worker.thread.take().map(JoinHandle::join);
        }
    }
}

impl<S: Send + 'static, R: Send + 'static> Worker<S, R> {
    fn start(mut take: impl FnMut(S) -> io::Result<R> + Send + 'static) -> Self {
        let (steps, todo) = mpsc::channel();
        let (done, results) = mpsc::channel();
        let thread = thread::spawn(move || {
            // SAFETY: descriptors that this thread opens stay in it, until it closes them, and it uses
            // none that another thread has opened.
            let unshared = unsafe { unshare_unsafe(UnshareFlags::FILES) };
            for step in todo {
                let result = match unshared {
                    Ok(()) => take(step),
                    Err(error) => {
                        let problem = format!("no descriptor table of its own: {error}");
                        Err(io::Error::other(problem))
                    }
                };
                if done.send(result).is_err() {
                    break;
                }
            }
        });
        Self { steps: Some(steps), results, thread: Some(thread) }
    }
}

/// How many connections a thread holds that may have so many descriptors.
pub(crate) fn share_len(descriptors_max: usize) -> usize {
    descriptors_max.saturating_sub(DESCRIPTORS_LEFT).clamp(1, SHARE_LEN_MAX)
}

/// Connections of one thread; more would be slow to open one after the other.
const SHARE_LEN_MAX: usize = 19_000;
/// Of a descriptor table, for what the process has open before.
const DESCRIPTORS_LEFT: usize = 100;
