//! How a program reports the rows it used: one temporary file, and two ways to it.
//!
//! The program finds the file's path in `LAB_ROWS_FILE`, and in `LAB_ROWS_FD` the number of a descriptor that is
//! open for appending to it. It writes a decimal number and a line break by either way, once or as often as it
//! likes: the last line that is not empty counts. It may put another file in the place of that one; what is no file is not
//! read, since a pipe without a writer would be waited for without end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{FdFlags, fcntl_setfd};
use tempfile::NamedTempFile;

/// Names the file in the program's environment.
pub const ROWS_FILE: &str = "LAB_ROWS_FILE";
/// Names the descriptor in the program's environment.
pub const ROWS_FD: &str = "LAB_ROWS_FD";

/// How much of the file's end is read: the last line is far shorter, and a program may have written many.
const TAIL_BYTES: u64 = 64 << 10;
/// How much of a strange line an error repeats, in characters.
const EXCERPT: usize = 40;

/// Why the rows that a program reported are not known.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The program wrote something else than a number.
    #[error(
        "the last line that the program wrote to `LAB_ROWS_FILE` or `LAB_ROWS_FD` is `{line}`; expected its number of \
         rows in decimal digits, at most 2^53"
    )]
    NotANumber {
        /// The start of the line.
        line: String,
    },
    /// The program put something else in the place of the file: a pipe, a folder, a device.
    #[error(
        "the program put something that is no regular file where `LAB_ROWS_FILE` is; expected a file whose last line is \
         its number of rows"
    )]
    NotAFile,
    /// The file is there and cannot be read.
    #[error("what the program wrote to `LAB_ROWS_FILE` or `LAB_ROWS_FD` cannot be read")]
    Unreadable {
        /// What the kernel said.
        source: io::Error,
    },
}

/// The file of one run; it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Channel(NamedTempFile);

impl Channel {
    pub(super) fn open() -> io::Result<Self> {
        tempfile::Builder::new().prefix("lab-rows-").tempfile().map(Self)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Opens the file for appending, to stay open in whatever this process starts.
    pub(super) fn inheritable(&self) -> io::Result<File> {
        let file = OpenOptions::new().append(true).open(self.path())?;
        fcntl_setfd(&file, FdFlags::empty())?;
        Ok(file)
    }

    /// Returns the rows that were reported, if any were.
    pub(super) fn rows(&self) -> Result<Option<u64>, ReportError> {
        let unreadable = |source| ReportError::Unreadable { source };
        let file = match open(self.path()) {
            Ok(file) => file,
            // The program has removed it, so there is nothing to be read in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(unreadable(source)),
        };
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(ReportError::NotAFile);
        }
        let bytes = tail(file).map_err(unreadable)?;
        last_number(&String::from_utf8_lossy(&bytes))
    }
}

/// Opens what is at a path for reading, without waiting for anybody to write to it.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn tail(mut file: File) -> io::Result<Vec<u8>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Beyond this, not every whole number has a double of its own, and two counts would compare equal.
const MOST_ROWS: u64 = 1 << 53;

/// Returns the number in the last line that is not empty, at most 2⁵³. A sign, a point or an exponent makes it none.
fn last_number(text: &str) -> Result<Option<u64>, ReportError> {
    let Some(line) = text.lines().map(str::trim).rfind(|line| !line.is_empty()) else {
        return Ok(None);
    };
    let digits = Some(line).filter(|line| line.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(rows) if rows <= MOST_ROWS => Ok(Some(rows)),
        _ => Err(ReportError::NotANumber { line: excerpt(line) }),
    }
}

fn excerpt(line: &str) -> String {
    let mut start: String = line.chars().take(EXCERPT).flat_map(char::escape_default).collect();
    if line.chars().nth(EXCERPT).is_some() {
        start.push('…');
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_no_double_holds_is_refused() {
        let error = last_number("9007199254740993").unwrap_err();
        assert!(matches!(error, ReportError::NotANumber { .. }), "{error:?}");
        assert!(error.to_string().ends_with("at most 2^53"), "{error}");
    }

    #[test]
    fn the_last_line_that_is_not_empty_counts() {
        for (text, rows) in [
            ("", None),
            (" \n\n", None),
            ("100", Some(100)),
            ("1\n2\n300\n \n", Some(300)),
            ("about to start\n0\n", Some(0)),
            ("9007199254740992\r\n", Some(MOST_ROWS)),
        ] {
            assert_eq!(last_number(text).unwrap(), rows, "{text:?}");
        }
    }

    #[test]
    fn anything_but_a_number_is_quoted() {
        let (long, start_of_long) = ("x".repeat(50), format!("{}…", "x".repeat(40)));
        for (text, quoted) in [
            ("12\nmany rows\n", "many rows"),
            ("+5", "+5"),
            ("-1", "-1"),
            ("1.0", "1.0"),
            ("1e3", "1e3"),
            ("1 000", "1 000"),
            ("18446744073709551616", "18446744073709551616"),
            ("\u{1b}[1m", "\\u{1b}[1m"),
            (long.as_str(), start_of_long.as_str()),
        ] {
            let error = last_number(text).unwrap_err().to_string();
            assert!(error.contains(&format!("is `{quoted}`; expected its number of rows")), "{error}");
        }
    }

    #[test]
    fn a_long_report_is_read_from_its_end() {
        let channel = Channel::open().unwrap();
        assert_eq!(channel.rows().unwrap(), None);
        std::fs::write(channel.path(), "1\n".repeat(100_000) + "777\n").unwrap();
        assert_eq!(channel.rows().unwrap(), Some(777));
        std::fs::remove_file(channel.path()).unwrap();
        assert_eq!(channel.rows().unwrap(), None);
    }

    #[test]
    fn what_is_written_by_the_descriptor_is_appended() {
        use std::io::Write as _;

        let channel = Channel::open().unwrap();
        std::fs::write(channel.path(), "5\n").unwrap();
        let mut file = channel.inheritable().unwrap();
        file.write_all(b"6\n").unwrap();
        assert_eq!(std::fs::read_to_string(channel.path()).unwrap(), "5\n6\n");
        assert_eq!(rustix::io::fcntl_getfd(&file).unwrap(), FdFlags::empty());
    }
}
