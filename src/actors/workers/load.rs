//! How much a worker has to do.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many attempts a worker has, for choosing the next one's.
#[derive(Clone, Default)]
pub(crate) struct Load(Arc<AtomicUsize>);

impl Load {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn share(&self) -> LoadShare {
        self.0.fetch_add(1, Ordering::AcqRel);
        LoadShare(self.0.clone())
    }
}

/// One attempt's part of a worker's load; it ends with the drop. A stream gives it back before it delivers the end, so that a
/// request that follows the end goes to the same worker and finds the connection there.
pub(crate) struct LoadShare(Arc<AtomicUsize>);

impl Drop for LoadShare {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
