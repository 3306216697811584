//! A reader that digests what passes through it.

use std::io::{self, Read};

use lab_core::digest::Digest;
use sha2::{Digest as _, Sha256};

/// Passes bytes on from another reader and digests them: a file is known by the digest of all its bytes.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: Sha256,
    bytes: u64,
}

impl<R: Read> HashingReader<R> {
    /// Wraps a reader.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new(), bytes: 0 }
    }

    /// Reads what is left, and returns the digest and the number of all bytes.
    ///
    /// # Errors
    ///
    /// When the inner reader fails.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((Digest::from_bytes(self.hasher.finalize().into()), self.bytes))
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_read_counts_too() {
        let mut reader = HashingReader::new(&b"0123456789"[..]);
        let mut first = [0; 4];
        reader.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"0123");
        assert_eq!(reader.finish().unwrap(), (Digest::of(b"0123456789"), 10));
    }
}
