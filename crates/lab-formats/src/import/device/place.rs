//! Where in a document the reader stands: JSON's own errors know a line and a column, and no key.

use std::cell::Cell;
use std::fmt;

/// The key that is being read.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The inference, by its position; none outside of them.
    inference: Cell<Option<u64>>,
    /// The key in it, or in the document; empty between two keys.
    key: Cell<&'static str>,
    /// The keys below one of the document itself.
    below: Cell<[&'static str; 2]>,
}

impl Place {
    /// Says that a key of the document itself is read.
    pub(super) fn document(&self, key: &'static str) {
        self.inference.set(None);
        self.key.set(key);
        self.below.set(["", ""]);
    }

    /// Says that a key of the summary is read, or a figure in it.
    pub(super) fn summary(&self, key: &'static str, figure: &'static str) {
        self.document("summary");
        self.below.set([key, figure]);
    }

    /// Says that a key of an inference is read.
    pub(super) fn inference(&self, index: u64, key: &'static str) {
        self.inference.set(Some(index));
        self.key.set(key);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.inference.get(), self.key.get()) {
            (None, "") => f.write_str("the document"),
            (None, key) => {
                f.write_str(key)?;
                let below = self.below.get();
                below.iter().filter(|key| !key.is_empty()).try_for_each(|key| write!(f, ".{key}"))
            }
            (Some(index), "") => write!(f, "detailed_metrics[{index}]"),
            (Some(index), key) => write!(f, "detailed_metrics[{index}].{key}"),
        }
    }
}
