//! `lab store`: what takes how much room, for how long the room lasts, and moving old raw data out.

mod archive;
mod forecast;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::Offset;
use lab_core::metric::Reading;
use lab_formats::store_json::{
    ArchiveBlock, BlobBlock, DayBlock, STORE_SCHEMA, StoreDocument, TableBlock, to_text,
};
use lab_formats::{page, table};
use lab_host::disk::free_bytes;
use lab_store::{ArchiveRow, BlobUsage, DayUsage, Store, Usage};

use self::forecast::{OVER_DAYS, Room, forecast};
use crate::amount::{Size, size};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::store;
use crate::terminal::{Format, print};

const EXAMPLES: &str = "\
Examples:
  lab store                                      what takes room, and when there is none left
  lab store --limit 10GB --format json
  lab store archive --older-than 7d --to results/2026-02.archive

What a day takes is an estimate: the file is shared out among the sessions by what they hold.";

/// What `lab store` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Says when the file is as large as this: a number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    limit: Option<Size>,
    /// What to print [default: table].
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

/// What `lab store` does besides.
#[derive(Debug, Subcommand)]
enum Command {
    /// Move the raw data of old sessions into a file of their own.
    Archive(archive::Arguments),
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let Arguments { command, limit, format } = arguments;
    match command {
        None => show(*limit, format.unwrap_or(Format::Table), global),
        Some(Command::Archive(_)) if limit.is_some() || format.is_some() => Err(Failure::usage(anyhow!(
            "`--limit` and `--format` belong to `lab store` alone, not to `lab store archive`"
        ))),
        Some(Command::Archive(arguments)) => archive::carry_out(arguments, global),
    }
}

fn show(limit: Option<Size>, format: Format, global: &Global) -> Result<Exit> {
    let store = store::open(global)?;
    let document = document(&store, limit, Timestamp::now())?;
    match format {
        Format::Json => print(&to_text(&document))?,
        Format::Table => print(&table::render(&page::store(&document), global.color.table_style()))?,
    }
    Ok(Exit::Pass)
}

fn document(store: &Store, limit: Option<Size>, at: Timestamp) -> Result<StoreDocument> {
    let Usage { bytes, unused_bytes, tables, timelines, pieces, archived, days } = store.usage()?;
    let free = free_bytes(store.path()).map_err(|unavailable| unavailable.reason);
    let room = Room { bytes, free: Reading::from(free), limit: limit.map(|Size(bytes)| bytes) };
    let forecast = forecast(&days, Offset::UTC.to_datetime(at).date(), room);
    let shown = days.len().saturating_sub(OVER_DAYS);
    let tables =
        tables.into_iter().map(|own| TableBlock { table: own.table, rows: own.rows, bytes: own.bytes });
    Ok(StoreDocument {
        schema: STORE_SCHEMA,
        path: store.path().display().to_string(),
        at: at.to_string(),
        bytes,
        unused_bytes,
        tables: tables.collect(),
        timelines: blobs(timelines),
        pieces: blobs(pieces),
        archived: blobs(archived),
        archives: store.archives()?.iter().map(archive_block).collect(),
        days: days[shown..].iter().map(day_block).collect(),
        forecast,
    })
}

fn blobs(usage: BlobUsage) -> BlobBlock {
    BlobBlock { blobs: usage.blobs, bytes: usage.bytes }
}

fn day_block(usage: &DayUsage) -> DayBlock {
    DayBlock { day: usage.day.to_string(), sessions: usage.sessions, bytes: usage.bytes }
}

fn archive_block(row: &ArchiveRow) -> ArchiveBlock {
    ArchiveBlock {
        created_at: row.created_at.to_string(),
        path: row.path.display().to_string(),
        place: row.place.as_ref().map(|place| place.display().to_string()),
        digest: row.digest.to_string(),
        bytes: row.bytes,
        sessions: row.contents.sessions,
        timelines: row.contents.timelines,
        pieces: row.contents.pieces,
        blob_bytes: row.contents.blob_bytes,
    }
}
