//! The summary of one run, and its file.
//!
//! Contract `smoke.v1`: one JSON object with exactly the keys `run_id`, `elapsed_sec`, `rows_used` and
//! `peak_memory_mb`, in this order, the last three as numbers. The number of rows alone can be null: in the record of a
//! run that failed before it was known.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// What may be read and written by everyone, less what the process's mask takes away: what `open(2)` is given for
/// any plain file.
const PLAIN_FILE: u32 = 0o666;

const NANOSECONDS_PER_MILLISECOND: u64 = 1_000_000;
/// MB is 10^6 bytes.
const BYTES_PER_TENTH_OF_A_MEGABYTE: u64 = 100_000;

/// What an id of a run may be: the name of a file that nothing hides, quotes or leads elsewhere. [`fits_run_id`] in the words of
/// JSON Schema.
const RUN_ID: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$";
const LONGEST_RUN_ID: usize = 64;

/// What was measured of one run, unrounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The run: a random UUID (version 4).
    pub run_id: Uuid,
    /// Time from beginning to end by a monotonic clock, in nanoseconds.
    pub elapsed_ns: u64,
    /// Rows of input that the run used; none of a run that failed before they were known.
    pub rows_used: Option<u64>,
    /// The highest resident memory that was observed, in bytes.
    pub peak_memory_bytes: u64,
}

/// A summary as its JSON has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SummaryDocument {
    /// The run: a random UUID (version 4), or the id that was given, such as a hash or a time in UTC.
    #[serde(deserialize_with = "run_id")]
    #[schemars(extend("pattern" = RUN_ID))]
    pub run_id: String,
    /// Wall-clock time from beginning to end in seconds, to the millisecond. Above 0 for every run that took any
    /// time.
    #[schemars(range(min = 0.0))]
    pub elapsed_sec: f64,
    /// Rows of input that the run used. Null only in the record of a run that failed before they were known.
    #[serde(deserialize_with = "number_or_null")]
    #[schemars(required, extend("type" = ["integer", "null"]))]
    pub rows_used: Option<u64>,
    /// The highest resident memory that was observed in MB (10^6 bytes), to a tenth.
    #[schemars(range(min = 0.0))]
    pub peak_memory_mb: f64,
}

/// Why a summary was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// The folder is not there and cannot be made.
    #[error("the folder `{}` cannot be made", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("the summary `{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("the summary `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("`{}` is no summary of a run (smoke.v1)", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        source: serde_json::Error,
    },
}

impl Summary {
    /// Returns the rounded figures. Both are rounded to the nearest, halves away from zero; a run that took less
    /// than half a millisecond but any time at all is given as one millisecond, so that 0 always means that nothing
    /// ran.
    pub fn document(&self) -> SummaryDocument {
        let milliseconds = nearest(self.elapsed_ns, NANOSECONDS_PER_MILLISECOND);
        let tenths = nearest(self.peak_memory_bytes, BYTES_PER_TENTH_OF_A_MEGABYTE);
        SummaryDocument {
            run_id: self.run_id.to_string(),
            // One division of whole numbers: the result is the number nearest to the decimal, and prints as it.
            elapsed_sec: milliseconds.max(u64::from(self.elapsed_ns > 0)) as f64 / 1_000.0,
            rows_used: self.rows_used,
            peak_memory_mb: tenths as f64 / 10.0,
        }
    }

    /// Returns the JSON: four lines in braces, and a line break at the end.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(&self.document());
        text.expect("finite numbers and a text serialise") + "\n"
    }

    /// Writes the JSON to `<directory>/<run_id>.json` and returns that path. Folders that are missing are made; the
    /// file appears whole or not at all, with the permissions that any new file has.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or the file not written.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, SummaryError> {
        let made = fs::create_dir_all(directory);
        made.map_err(|source| SummaryError::Folder { path: directory.to_owned(), source })?;
        let path = directory.join(format!("{}.json", self.run_id));
        match write_beside(directory, &path, &self.to_json()) {
            Ok(()) => Ok(path),
            Err(source) => Err(SummaryError::Write { path, source }),
        }
    }
}

/// Reads a number or null. Without it, a key that is not there would be as good as null.
fn number_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Option::deserialize(deserializer)
}

/// Reads an id that can be the name of a file, whoever drew it.
fn run_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    if fits_run_id(&id) {
        return Ok(id);
    }
    Err(D::Error::custom(format!(
        "the run's id `{}` cannot name its record: it must have 1 to 64 letters (a to z), digits or `._-`, and no dot in front",
        id.escape_debug()
    )))
}

fn fits_run_id(id: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LONGEST_RUN_ID).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(is_fit)
}

impl SummaryDocument {
    /// Returns the JSON Schema of the document.
    pub fn schema() -> Schema {
        schemars::schema_for!(Self)
    }

    /// Reads a summary from its text.
    ///
    /// # Errors
    ///
    /// When a key is missing or strange, or a value of the wrong kind.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Reads a summary from its file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is no summary.
    pub fn load(path: &Path) -> Result<Self, SummaryError> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|source| SummaryError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|source| SummaryError::Malformed { path: path.to_owned(), source })
    }
}

/// Returns how many units are nearest to a value; a half is rounded up. Units are even.
fn nearest(value: u64, unit: u64) -> u64 {
    value / unit + u64::from(value % unit >= unit / 2)
}

/// Writes beside the file and renames, so that a reader finds all of it or nothing.
fn write_beside(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut beside = tempfile::Builder::new()
        .prefix(".run-")
        .permissions(Permissions::from_mode(PLAIN_FILE))
        .tempfile_in(directory)?;
    beside.write_all(text.as_bytes())?;
    beside.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(elapsed_ns: u64, peak_memory_bytes: u64) -> Summary {
        let run_id = Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
        Summary { run_id, elapsed_ns, rows_used: Some(100), peak_memory_bytes }
    }

    #[test]
    fn the_document_has_four_keys_in_order_and_ends_with_a_line_break() {
        let expected = "{\n  \"run_id\": \"01234567-89ab-4def-8123-456789abcdef\",\n  \"elapsed_sec\": 0.123,\n  \
                        \"rows_used\": 100,\n  \"peak_memory_mb\": 45.6\n}\n";
        assert_eq!(summary(123_400_000, 45_620_000).to_json(), expected);
    }

    #[test]
    fn figures_are_rounded_to_the_nearest_and_halves_away_from_zero() {
        for (nanoseconds, seconds) in [
            (0, "0.0"),
            (1, "0.001"),
            (499_999, "0.001"),
            (1_499_999, "0.001"),
            (1_500_000, "0.002"),
            (2_500_000, "0.003"),
            (1_000_000_000, "1.0"),
            (3_600_000_499_999, "3600.0"),
            (u64::MAX, "18446744073.71"),
        ] {
            let text = summary(nanoseconds, 0).to_json();
            assert!(text.contains(&format!("\"elapsed_sec\": {seconds},")), "{nanoseconds}: {text}");
        }
        for (bytes, megabytes) in
            [(0, "0.0"), (49_999, "0.0"), (50_000, "0.1"), (150_000, "0.2"), (1 << 30, "1073.7")]
        {
            let text = summary(1, bytes).to_json();
            assert!(text.contains(&format!("\"peak_memory_mb\": {megabytes}\n")), "{bytes}: {text}");
        }
    }

    #[test]
    fn a_file_is_written_into_folders_that_were_not_there_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("outputs/model_runs");
        let own = summary(123_400_000, 45_620_000);
        let path = own.write(&folder).unwrap();
        assert_eq!(path, folder.join("01234567-89ab-4def-8123-456789abcdef.json"));
        assert_eq!(SummaryDocument::load(&path).unwrap(), own.document());
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");
    }

    #[test]
    fn a_file_has_the_permissions_of_any_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain");
        fs::write(&plain, "").unwrap();
        let path = summary(1, 1).write(directory.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = summary(1, 1).write(&file.join("below")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the folder `{}` cannot be made", file.join("below").display())
        );
    }

    #[test]
    fn what_is_no_summary_is_refused_with_the_reason() {
        let whole = summary(1, 1).to_json();
        for (text, reason) in [
            (whole.replace("rows_used", "rows"), "unknown field `rows`"),
            (whole.replace("100", "\"100\""), "invalid type: string"),
            (whole.replace("100", "-1"), "invalid value: integer `-1`"),
            (whole.replace("01234567-", "../"), "cannot name its record"),
            (whole.replace("  \"rows_used\": 100,\n", ""), "missing field `rows_used`"),
            ("{}".to_owned(), "missing field `run_id`"),
        ] {
            let error = SummaryDocument::parse(&text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn an_id_that_another_than_lab_drew_is_read_and_one_that_names_no_file_is_refused() {
        let with = |id: &str| {
            let text = format!(
                "{{\"run_id\": {id:?}, \"elapsed_sec\": 0.1, \"rows_used\": 1, \"peak_memory_mb\": 1.5}}"
            );
            SummaryDocument::parse(&text)
        };
        let longest = "x".repeat(64);
        for id in ["smoke", "2026-02-17T00.00.00Z_petr4", "9f86d081884c7d65", "-", &longest] {
            assert_eq!(with(id).unwrap().run_id, id);
        }
        let too_long = "x".repeat(65);
        for id in ["", ".", "..", ".hidden", "../up", "a/b", "a b", "a\n", "é", &too_long] {
            let error = with(id).unwrap_err().to_string();
            assert!(error.contains("must have 1 to 64 letters"), "{id}: {error}");
        }
    }

    #[test]
    fn the_schema_demands_the_four_keys_and_no_other() {
        let schema = SummaryDocument::schema().to_value();
        let keys = ["run_id", "elapsed_sec", "rows_used", "peak_memory_mb"];
        assert_eq!(schema["required"], serde_json::json!(keys));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["run_id"]["type"], "string");
        assert_eq!(schema["properties"]["run_id"]["pattern"], RUN_ID);
        assert_eq!(schema["properties"]["elapsed_sec"]["type"], "number");
        assert_eq!(schema["properties"]["rows_used"]["type"], serde_json::json!(["integer", "null"]));
    }

    #[test]
    fn rows_that_were_never_known_are_null_and_no_zero() {
        let unknown = Summary { rows_used: None, ..summary(1, 1) };
        let text = unknown.to_json();
        assert!(text.contains("\n  \"rows_used\": null,\n"), "{text}");
        assert_eq!(SummaryDocument::parse(&text).unwrap(), unknown.document());
    }
}
