//! Memory for histories, promised before it is used.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::settings::{Deflate, DeflateMode};

/// The bytes of history that may yet be promised to connections of one reactor.
///
/// A promise is made for the whole window when takeover is agreed on, since from then on the peer may
/// rely on it; the memory is taken as the history grows. It is given back when the history is dropped.
/// Clones share one budget.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
}

/// A part of a budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Promise {
    budget: Budget,
    len: usize,
}

impl Budget {
    /// A budget of `len` bytes.
    pub fn new(len: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(len)) }
    }

    /// As large as the settings say: nothing, if nothing is ever taken over.
    pub fn of(settings: &Deflate) -> Self {
        Self::new(match settings.mode {
            DeflateMode::Shared => 0,
            DeflateMode::Dedicated { budget_len, .. } => budget_len,
        })
    }

    /// Bytes that are not promised to anyone.
    pub fn left(&self) -> usize {
        self.left.load(Relaxed)
    }

    pub(super) fn promise(&self, len: usize) -> Option<Promise> {
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(len)).ok()?;
        Some(Promise { budget: self.clone(), len })
    }
}

impl Promise {
    /// Gives back all but `len` bytes.
    pub(super) fn shrink(&mut self, len: usize) {
        let surplus = self.len.saturating_sub(len);
        self.len -= surplus;
        self.budget.left.fetch_add(surplus, Relaxed);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.shrink(0);
    }
}
