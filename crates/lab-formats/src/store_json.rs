//! What takes how much room in a store, and for how long the room lasts, as the document `lab.store.v1`.

use lab_core::metric::Reading;
use schemars::JsonSchema;
use serde::Serialize;

/// Schema id of the document.
pub const STORE_SCHEMA: &str = "lab.store.v1";

/// What takes how much room in a store, and for how long the room lasts.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StoreDocument {
    /// Always `lab.store.v1`.
    #[schemars(extend("const" = STORE_SCHEMA))]
    pub schema: &'static str,
    /// The store's file.
    pub path: String,
    /// When it was looked at (RFC 3339, UTC).
    pub at: String,
    /// Bytes of the file, without its write-ahead log.
    pub bytes: u64,
    /// Bytes of it that hold nothing: what is recorded next goes there first.
    pub unused_bytes: u64,
    /// Every table, in the order of the schema.
    pub tables: Vec<TableBlock>,
    /// Timelines that lie in the store.
    pub timelines: BlobBlock,
    /// Pieces of imported files that lie in the store.
    pub pieces: BlobBlock,
    /// What left for archives, with the sizes that it had in the store.
    pub archived: BlobBlock,
    /// The archives, oldest first.
    pub archives: Vec<ArchiveBlock>,
    /// The last days on which sessions started, oldest first.
    pub days: Vec<DayBlock>,
    /// For how long the room lasts.
    pub forecast: ForecastBlock,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TableBlock {
    /// Its name.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Bytes of its pages and those of its indexes.
    pub bytes: u64,
}

/// A number of BLOBs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct BlobBlock {
    /// How many.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One archive.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ArchiveBlock {
    /// When it was made (RFC 3339, UTC).
    pub created_at: String,
    /// Where it was written, from the root.
    pub path: String,
    /// Where it is now; null when it is not to be found.
    pub place: Option<String>,
    /// SHA-256 of the file.
    pub digest: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Sessions that it has raw data of.
    pub sessions: u64,
    /// Timelines in it.
    pub timelines: u64,
    /// Pieces of imported files in it.
    pub pieces: u64,
    /// Bytes of both as they lay in the store.
    pub blob_bytes: u64,
}

/// The sessions that started on one day.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DayBlock {
    /// The day, in UTC.
    pub day: String,
    /// How many sessions started.
    pub sessions: u64,
    /// About the bytes of the file that are theirs.
    pub bytes: u64,
}

/// For how long the room lasts at the present rate.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ForecastBlock {
    /// Days that the rate is taken over, the present one included.
    pub over_days: u64,
    /// Bytes a day by which the store grows.
    pub bytes_per_day: u64,
    /// Bytes that may still be written to the disk of the store, or why that is not known.
    pub free_bytes: Reading<u64>,
    /// When the disk is full; null when the store does not grow or the free bytes are not known.
    pub full: Option<ReachBlock>,
    /// The limit that was asked about, in bytes.
    pub limit_bytes: Option<u64>,
    /// When the file is as large as the limit; null without a limit, and when the store does not grow up to it.
    pub limit: Option<ReachBlock>,
}

/// When something is reached.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ReachBlock {
    /// In so many whole days; 0 when it is reached already.
    pub in_days: u64,
    /// On this day, in UTC; null beyond the year 9999.
    pub on: Option<String>,
}

/// Returns the document's text.
pub fn to_text(document: &StoreDocument) -> String {
    crate::pretty(document)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_store_is_a_versioned_document() {
        let text = super::to_text(&crate::samples::store());
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["schema"], "lab.store.v1");
        assert_eq!(document["archives"][1]["place"], serde_json::Value::Null);
        assert_eq!(document["forecast"]["full"]["in_days"], 3_200);
        assert_eq!(document["forecast"]["free_bytes"], serde_json::json!({"value": 40_000_000_000_u64}));
    }
}
