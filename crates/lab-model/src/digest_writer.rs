//! A writer that digests what passes through it.

use std::io::{self, Write};

use lab_core::digest::Digest;
use sha2::{Digest as _, Sha256};

/// What was written: how much, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Length in bytes.
    pub bytes: u64,
    /// Digest of all bytes.
    pub sha256: Digest,
}

/// Passes bytes on to another writer and digests those that it took.
#[derive(Debug)]
pub struct DigestWriter<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write> DigestWriter<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), bytes: 0 }
    }

    /// Returns the bytes that have passed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Flushes, and returns the inner writer and what was written.
    ///
    /// # Errors
    ///
    /// When the flush fails.
    pub fn finish(mut self) -> io::Result<(W, Written)> {
        self.inner.flush()?;
        let sha256 = Digest::from_bytes(self.hasher.finalize().into());
        Ok((self.inner, Written { bytes: self.bytes, sha256 }))
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes three bytes at a time.
    struct Reluctant(Vec<u8>);

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(3);
            self.0.extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bytes_that_the_writer_did_not_take_are_not_digested_twice() {
        let mut writer = DigestWriter::new(Reluctant(Vec::new()));
        writer.write_all(b"every byte once").unwrap();
        let (inner, written) = writer.finish().unwrap();
        assert_eq!(inner.0, b"every byte once");
        assert_eq!(written, Written { bytes: 15, sha256: Digest::of(b"every byte once") });
    }
}
