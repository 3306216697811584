//! One JSON object a line.

use std::io::{self, Write};

use serde::Serialize;

/// A frame holds at most the ids, stamps and margins of one generation; 64 MiB is a million tokens.
pub(crate) const MAX_FRAME_BYTES: usize = 64 << 20;

/// Writes a frame in one call, so that the peer never wakes for half of it.
pub(crate) fn write_frame<T: Serialize>(to: &mut dyn Write, frame: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(frame).map_err(io::Error::other)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Shows the beginning of a line that is no frame.
pub(crate) fn excerpt(line: &[u8]) -> String {
    const SHOWN: usize = 80;
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
