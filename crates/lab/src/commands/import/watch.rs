//! How far an import is, once it takes long enough to ask.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lab_core::clock::Clock as _;
use lab_host::clock::Monotonic;

use crate::progress::ByteBar;

/// What is over sooner needs no bar.
const PATIENCE_NS: u64 = 2_000_000_000;

/// Counts the bytes of a stage, and draws a bar after a while.
pub(super) struct Watch {
    stage: &'static str,
    total: u64,
    begun_ns: u64,
    done: AtomicU64,
    bar: Mutex<ByteBar>,
}

impl Watch {
    pub(super) fn new(stage: &'static str, total: u64) -> Arc<Self> {
        let (begun_ns, bar) = (Monotonic.now_ns(), Mutex::new(ByteBar::new()));
        Arc::new(Self { stage, total, begun_ns, done: AtomicU64::new(0), bar })
    }

    /// Counts bytes that were read. Whoever comes while another draws does not wait for it.
    pub(super) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if Monotonic.now_ns().saturating_sub(self.begun_ns) < PATIENCE_NS {
            return;
        }
        if let Ok(mut bar) = self.bar.try_lock() {
            bar.show(self.stage, done, Some(self.total));
        }
    }
}

/// Counts the bytes that pass.
pub(super) struct Watched<R> {
    inner: R,
    watch: Arc<Watch>,
}

impl<R> Watched<R> {
    pub(super) fn new(inner: R, watch: &Arc<Watch>) -> Self {
        Self { inner, watch: Arc::clone(watch) }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.watch.add(n as u64);
        Ok(n)
    }
}
