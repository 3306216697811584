//! Counts the rows of a file of data.
//!
//! What a file is follows from its name: CSV (`.csv`, with tabs `.tsv`), JSON lines (`.jsonl`, `.ndjson`) or Parquet
//! (`.parquet`). The first two are read as a stream, whatever their size in the memory of one row; of a Parquet file
//! only the footer is read, which says how many rows there are.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

/// How much is read at once, in bytes: small against the files that take time to count.
const BUFFER_BYTES: usize = 1 << 16;

/// Why the rows of a file are not known.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The name says nothing that is known.
    #[error(
        "rows of `{}` cannot be counted: its name does not end as those of CSV (`.csv`, `.tsv`), JSON lines (`.jsonl`, \
         `.ndjson`) or Parquet (`.parquet`)",
        path.display()
    )]
    UnknownExtension {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened or read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A record has more or fewer fields than the header.
    #[error("`{}` is not sound as CSV", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Which record, and what of it.
        source: csv::Error,
    },
    /// A line is no JSON.
    #[error("line {line} of `{}` is not JSON", path.display())]
    JsonLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file has no footer of Parquet, or not a sound one.
    #[error("`{}` is not sound as Parquet", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// This build of lab leaves Parquet out.
    #[error("rows of `{}` cannot be counted: this lab is built without Parquet", path.display())]
    WithoutParquet {
        /// The file.
        path: PathBuf,
    },
}

/// A format whose rows can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Records behind a header, fields apart by this byte (RFC 4180). A line break in quotes ends no record; an
    /// empty line is none.
    Csv {
        /// A comma, or a tab.
        delimiter: u8,
    },
    /// A JSON value a line; empty lines do not count.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Returns the format that a file's name stands for, in small letters or capitals.
    ///
    /// # Errors
    ///
    /// When the name ends like none of them.
    pub fn of(path: &Path) -> Result<Self, RowsError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match extension.as_str() {
            "csv" => Ok(Self::Csv { delimiter: b',' }),
            "tsv" => Ok(Self::Csv { delimiter: b'\t' }),
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "parquet" => Ok(Self::Parquet),
            _ => Err(RowsError::UnknownExtension { path: path.to_owned() }),
        }
    }
}

/// Counts the rows of a file, in the format that its name stands for.
///
/// # Errors
///
/// When the name stands for no known format, the file cannot be read, or it is not sound in that format.
pub fn count(path: &Path) -> Result<u64, RowsError> {
    let format = Format::of(path)?;
    let file = open(path).map_err(|source| unreadable(path, source))?;
    match format {
        Format::Csv { delimiter } => count_csv(path, file, delimiter),
        Format::JsonLines => count_json_lines(path, file),
        Format::Parquet => count_parquet(path, file),
    }
}

/// Opens a file. What is neither that nor a folder is not opened: a pipe may have no writer, and a device no end.
fn open(path: &Path) -> io::Result<File> {
    let kind = path.metadata()?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("it is no regular file"));
    }
    File::open(path)
}

fn count_csv(path: &Path, file: File, delimiter: u8) -> Result<u64, RowsError> {
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).buffer_capacity(BUFFER_BYTES).from_reader(file);
    let mut record = csv::ByteRecord::new();
    let mut rows = 0;
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => rows += 1,
            Ok(false) => return Ok(rows),
            Err(error) => return Err(not_csv(path, error)),
        }
    }
}

fn not_csv(path: &Path, error: csv::Error) -> RowsError {
    if !error.is_io_error() {
        return RowsError::Csv { path: path.to_owned(), source: error };
    }
    unreadable(path, error.into())
}

fn count_json_lines(path: &Path, file: File) -> Result<u64, RowsError> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut bytes = Vec::new();
    let (mut rows, mut line) = (0, 0);
    loop {
        bytes.clear();
        line += 1;
        let read = reader.read_until(b'\n', &mut bytes).map_err(|source| unreadable(path, source))?;
        if read == 0 {
            return Ok(rows);
        }
        if !bytes.trim_ascii().is_empty() {
            let parsed = serde_json::from_slice::<IgnoredAny>(&bytes);
            parsed.map_err(|source| RowsError::JsonLine { path: path.to_owned(), line, source })?;
            rows += 1;
        }
    }
}

#[cfg(feature = "parquet")]
fn count_parquet(path: &Path, file: File) -> Result<u64, RowsError> {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    let unsound = |source| RowsError::Parquet { path: path.to_owned(), source };
    let reader = SerializedFileReader::new(file).map_err(|error| unsound(error.into()))?;
    u64::try_from(reader.metadata().file_metadata().num_rows()).map_err(|error| unsound(error.into()))
}

#[cfg(not(feature = "parquet"))]
fn count_parquet(path: &Path, _: File) -> Result<u64, RowsError> {
    Err(RowsError::WithoutParquet { path: path.to_owned() })
}

fn unreadable(path: &Path, source: io::Error) -> RowsError {
    RowsError::Unreadable { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(name: &str, content: &[u8]) -> Result<u64, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        count(&path).map_err(|error| {
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            format!("{error}{source}").replace(&format!("{}/", directory.path().display()), "")
        })
    }

    #[test]
    fn records_are_counted_behind_the_header_and_breaks_in_quotes_end_none() {
        for (name, content, rows) in [
            ("a.csv", "", 0),
            ("a.csv", "a,b\n", 0),
            ("a.csv", "a,b\n1,2\n3,4", 2),
            ("a.CSV", "a,b\r\n1,2\r\n\r\n3,4\r\n", 2),
            ("a.csv", "a,b\n1,\"two\nlines, and a comma\"\n\"said \"\"so\"\"\",4\n", 2),
            ("a.tsv", "a\tb\n1,5\t2\n\"3\n\t4\"\t5\n", 2),
        ] {
            assert_eq!(counted(name, content.as_bytes()), Ok(rows), "{name}: {content:?}");
        }
        assert_eq!(counted("latin1.csv", b"a\ncaf\xe9\n"), Ok(1));
    }

    #[test]
    fn a_record_of_another_length_is_named() {
        let error = counted("a.csv", b"a,b\n1,2\n3\n").unwrap_err();
        assert!(error.starts_with("`a.csv` is not sound as CSV: "), "{error}");
        assert!(error.contains("line: 3") || error.contains("line 3"), "{error}");
    }

    #[test]
    fn lines_of_json_are_counted_and_empty_ones_are_not() {
        for (name, content, rows) in [
            ("a.jsonl", "", 0),
            ("a.jsonl", "{\"a\":1}\n{\"a\":2}", 2),
            ("a.ndjson", "{\"a\":1}\r\n\n  \n[1]\n3\n", 3),
        ] {
            assert_eq!(counted(name, content.as_bytes()), Ok(rows), "{name}: {content:?}");
        }
    }

    #[test]
    fn a_line_that_is_no_json_is_named_by_its_number() {
        for content in ["{}\n\n{\"a\":\n1}\n", "{}\n\n{} {}\n", "{}\n\nrow\n"] {
            let error = counted("a.jsonl", content.as_bytes()).unwrap_err();
            assert!(error.starts_with("line 3 of `a.jsonl` is not JSON: "), "{content:?}: {error}");
        }
    }

    #[test]
    fn a_name_that_stands_for_no_format_is_refused_with_those_that_do() {
        for name in ["a.txt", "csv", "a.csv.gz", "a."] {
            let error = counted(name, b"a\n1\n").unwrap_err();
            let expected = format!(
                "rows of `{name}` cannot be counted: its name does not end as those of CSV (`.csv`, `.tsv`), JSON lines \
                 (`.jsonl`, `.ndjson`) or Parquet (`.parquet`)"
            );
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_what_the_kernel_said() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["absent.csv", "absent.jsonl", "absent.parquet", "folder.csv", "folder.jsonl"] {
            let path = directory.path().join(name);
            if name.starts_with("folder") {
                std::fs::create_dir(&path).unwrap();
            }
            let error = count(&path).unwrap_err();
            assert_eq!(error.to_string(), format!("`{}` cannot be read", path.display()));
            assert!(error.source().is_some());
        }
    }

    #[test]
    fn a_device_without_end_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("zero.csv");
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let error = count(&path).unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "it is no regular file");
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn the_rows_of_a_parquet_file_are_those_of_its_groups() {
        use std::sync::Arc;

        use parquet::data_type::Int64Type;
        use parquet::file::writer::SerializedFileWriter;
        use parquet::schema::parser::parse_message_type;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.parquet");
        let schema = Arc::new(parse_message_type("message rows { REQUIRED INT64 n; }").unwrap());
        let file = File::create(&path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
        for numbers in [&[1_i64, 2, 3][..], &[4, 5]] {
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(numbers, None, None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
        assert_eq!(count(&path).unwrap(), 5);
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn what_is_no_parquet_is_refused() {
        for content in [&b""[..], b"PAR1", b"a,b\n1,2\n3,4\n5,6\n7,8\n", b"PAR1\xff\xff\xff\x7fPAR1"] {
            let error = counted("a.parquet", content).unwrap_err();
            assert!(error.starts_with("`a.parquet` is not sound as Parquet: "), "{error}");
        }
    }

    #[cfg(not(feature = "parquet"))]
    #[test]
    fn parquet_is_refused_where_it_is_left_out() {
        let error = counted("a.parquet", b"PAR1").unwrap_err();
        assert_eq!(error, "rows of `a.parquet` cannot be counted: this lab is built without Parquet");
    }
}
