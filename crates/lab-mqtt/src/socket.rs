//! A socket that waits no longer than it may, however slowly the other end gives and takes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::deadline::Deadline;

/// How long a broker that has welcomed the client may leave sent bytes untaken.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// A socket takes no time-out of zero.
const LEAST_PATIENCE: Duration = Duration::from_millis(1);

/// A socket with a deadline. TLS reads again and again until a record is whole: a time-out for each read would let a broker
/// that sends one byte at a time go on for hours.
pub(crate) struct Socket<'a> {
    stream: TcpStream,
    deadline: Deadline<'a>,
    /// Whether connecting is over. Until then the deadline holds for writing too.
    is_welcome: bool,
}

impl<'a> Socket<'a> {
    /// Connects to the first address that accepts. Each may take an equal share of the time that is left.
    pub(crate) fn connect(addresses: &[SocketAddr], deadline: Deadline<'a>) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        let mut n_left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            let share = deadline.left() / n_left.max(1);
            n_left = n_left.saturating_sub(1);
            match TcpStream::connect_timeout(address, share.max(LEAST_PATIENCE)) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Self { stream, deadline, is_welcome: false });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sets by when the next reads end.
    pub(crate) fn set_deadline(&mut self, deadline: Deadline<'a>) {
        self.deadline = deadline;
    }

    /// Takes note that connecting is over.
    pub(crate) fn welcome(&mut self) {
        self.is_welcome = true;
    }

    /// Returns how long the next read may wait.
    fn left(&self) -> io::Result<Duration> {
        match self.deadline.left() {
            left if left.is_zero() => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left.max(LEAST_PATIENCE)),
        }
    }
}

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let patience = if self.is_welcome { WRITE_PATIENCE } else { self.left()?.min(WRITE_PATIENCE) };
        self.stream.set_write_timeout(Some(patience))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
