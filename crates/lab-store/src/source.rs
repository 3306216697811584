//! Sessions of other tools, and the files they were imported from, byte for byte.
//!
//! A file is read twice: once by whoever takes its figures out, and once here, where its bytes are stored in pieces. Both
//! must see the same bytes, or nothing is imported.

use std::io::{self, Read};

use lab_core::digest::Digest;
use lab_core::import::Source;
use lab_core::record::{Outcome, RecordedRepetition, Session, SessionId};
use rusqlite::{Connection, OptionalExtension as _};
use sha2::{Digest as _, Sha256};

use crate::append::{
    insert_end, insert_first_measurements, insert_launch, insert_repetition, insert_session, refuse_recorded,
};
use crate::archive::Archives;
use crate::body::{OutcomeColumns, encode, session_columns};
use crate::chain::{LAUNCH, PIECE, SOURCE};
use crate::error::{Failure, StoreError};
use crate::open::Store;
use crate::query::parse_id;

/// Bytes of a file in one piece: enough for compression to find what repeats, little beside the memory of any machine.
const PIECE_BYTES: usize = 1 << 20;
/// Memory for pages of the store while files are imported, in KiB.
const CACHE_KIB: i32 = 32 * 1024;
/// The fastest of Zstandard's usual levels: documents of numbers shrink to a tenth by it, and time matters more.
const LEVEL: i32 = 1;

/// Opens a file that is imported.
pub type OpenSource<'a> = dyn FnMut(&Source) -> io::Result<Box<dyn Read>> + 'a;

impl Store {
    /// Records sessions that another tool measured, each whole with its end, and the bytes of their files: all of it or
    /// nothing.
    ///
    /// # Errors
    ///
    /// When a session or a file is already recorded, a file cannot be read or has other bytes than its digest says, a value
    /// would not read back exactly, or the store cannot be written.
    pub fn append_imports(
        &mut self,
        sessions: &[Session],
        open: &mut OpenSource<'_>,
    ) -> Result<(), StoreError> {
        // Digests scatter the pieces of files over the whole of their table: with the usual 2 MB nearly every one of many
        // small files would have its page read and written again.
        self.connection()
            .pragma_update(None, "cache_size", -CACHE_KIB)
            .map_err(|error| self.explain("recording imported sessions", error))?;
        self.append("recording imported sessions", |connection| {
            sessions.iter().try_for_each(|session| insert_import(connection, session, open))
        })
    }

    /// Returns the session that a file was imported into; nothing for one that the store has not met.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn session_of_source(&self, digest: &Digest) -> Result<Option<SessionId>, StoreError> {
        let find = || -> Result<Option<SessionId>, Failure> {
            let id: Option<String> = self
                .connection()
                .prepare_cached("SELECT session FROM source WHERE digest = ?")?
                .query_row([digest.to_string()], |row| row.get(0))
                .optional()?;
            Ok(id.as_deref().map(parse_id).transpose()?)
        };
        find().map_err(|failure| failure.into_store_error(self.path(), "looking for an imported file"))
    }

    /// Returns the bytes of an imported file. Pieces that left for an archive are read there.
    ///
    /// # Errors
    ///
    /// When the store holds no such file or cannot be read.
    pub fn source(&self, digest: &Digest) -> Result<SourceReader<'_>, StoreError> {
        SourceReader::open(self.connection(), Archives::of(self.connection(), self.path()), *digest)
            .map_err(|failure| failure.into_store_error(self.path(), "reading an imported file"))
    }
}

fn insert_import(
    connection: &Connection,
    session: &Session,
    open: &mut OpenSource<'_>,
) -> Result<(), Failure> {
    let id = session.header.id;
    insert_session(connection, &session.header, &session_columns(&session.header)?)?;
    for launch in &session.launches {
        let body = encode(&LAUNCH.subject_of(&[&id, &launch.index]), launch)?;
        insert_launch(connection, id, launch.index, &body)?;
    }
    for RecordedRepetition { repetition, measurements } in &session.repetitions {
        insert_repetition(connection, id, repetition, &OutcomeColumns::of(id, repetition)?)?;
        insert_first_measurements(connection, id, repetition.index, measurements)?;
        if let Outcome::Imported(imported) = &repetition.outcome {
            insert_source(connection, id, repetition.index, &imported.source, open)?;
        }
    }
    session.end.as_ref().map_or(Ok(()), |end| insert_end(connection, id, end))
}

fn insert_source(
    connection: &Connection,
    session: SessionId,
    repetition: u32,
    source: &Source,
    open: &mut OpenSource<'_>,
) -> Result<(), Failure> {
    let digest = source.sha256.to_string();
    refuse_recorded(connection, &SOURCE, &[(&digest, &digest)])?;
    let pieces = insert_pieces(connection, source, open)?;
    let bytes = i64::try_from(source.bytes).expect("no file has 2^63 bytes");
    connection
        .prepare_cached(
            "INSERT INTO source (digest, session, repetition, bytes, pieces) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute((&digest, session.to_string(), repetition, bytes, pieces))?;
    SOURCE.link(connection, &[&digest])?;
    Ok(())
}

/// Stores the bytes of a file and returns in how many pieces.
fn insert_pieces(
    connection: &Connection,
    source: &Source,
    open: &mut OpenSource<'_>,
) -> Result<u32, Failure> {
    let unreadable = |error: io::Error| StoreError::SourceUnreadable {
        path: source.path.clone(),
        message: error.to_string(),
    };
    let digest = source.sha256.to_string();
    let mut file = open(source).map_err(unreadable)?;
    let (mut hasher, mut piece, mut pieces) = (Sha256::new(), Vec::new(), 0_u32);
    loop {
        piece.clear();
        file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(unreadable)?;
        if piece.is_empty() {
            break;
        }
        hasher.update(&piece);
        let frame = zstd::bulk::compress(&piece, LEVEL).map_err(unreadable)?;
        connection
            .prepare_cached("INSERT INTO piece (source, idx, frame) VALUES (?, ?, ?)")?
            .execute((&digest, pieces, frame))?;
        PIECE.link(connection, &[&digest, &pieces])?;
        pieces += 1;
    }
    if Digest::from_bytes(hasher.finalize().into()) != source.sha256 {
        return Err(StoreError::SourceChanged { path: source.path.clone() }.into());
    }
    Ok(pieces)
}

/// Reads the bytes of an imported file, piece by piece.
#[derive(Debug)]
pub struct SourceReader<'a> {
    connection: &'a Connection,
    archives: Archives<'a>,
    digest: Digest,
    pieces: u32,
    next: u32,
    piece: io::Cursor<Vec<u8>>,
}

impl<'a> SourceReader<'a> {
    pub(crate) fn open(
        connection: &'a Connection,
        archives: Archives<'a>,
        digest: Digest,
    ) -> Result<Self, Failure> {
        let pieces: Option<u32> = connection
            .prepare_cached("SELECT pieces FROM source WHERE digest = ?")?
            .query_row([digest.to_string()], |row| row.get(0))
            .optional()?;
        let pieces = pieces.ok_or(StoreError::UnknownSource { digest })?;
        Ok(Self { connection, archives, digest, pieces, next: 0, piece: io::Cursor::default() })
    }

    /// Takes the next piece; false behind the last.
    fn advance(&mut self) -> io::Result<bool> {
        if self.next == self.pieces {
            return Ok(false);
        }
        let piece = read_piece(self.connection, &mut self.archives, &self.digest, self.next)?;
        self.piece = io::Cursor::new(piece);
        self.next += 1;
        Ok(true)
    }
}

/// Returns the bytes of a piece of a file.
fn read_piece(
    connection: &Connection,
    archives: &mut Archives<'_>,
    digest: &Digest,
    index: u32,
) -> io::Result<Vec<u8>> {
    let frame = read_frame(connection, archives, digest, index)?;
    zstd::bulk::decompress(&frame, PIECE_BYTES)
        .map_err(|error| io::Error::other(format!("piece {index}: {error}")))
}

/// Returns the frame of a piece, from the archive where it left for one.
fn read_frame(
    connection: &Connection,
    archives: &mut Archives<'_>,
    digest: &Digest,
    index: u32,
) -> io::Result<Vec<u8>> {
    let digest = digest.to_string();
    let stored: Vec<u8> = connection
        .prepare_cached("SELECT frame FROM piece WHERE source = ? AND idx = ?")
        .and_then(|mut statement| statement.query_row((&digest, index), |row| row.get(0)))
        .map_err(|error| io::Error::other(format!("piece {index}: {error}")))?;
    if !stored.is_empty() {
        return Ok(stored);
    }
    let archived = archives.blob(&PIECE.subject_of(&[&digest, &index]));
    let archived = archived.map_err(|failure| match failure {
        Failure::Sqlite(error) => io::Error::other(format!("piece {index}: {error}")),
        Failure::Store(error) => io::Error::other(error),
    })?;
    archived.ok_or_else(|| io::Error::other(format!("piece {index} is empty")))
}

impl Read for SourceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.piece.read(buffer)?;
            if n > 0 || buffer.is_empty() || !self.advance()? {
                return Ok(n);
            }
        }
    }
}

/// Returns the digest of every imported file.
pub(crate) fn digests(connection: &Connection) -> Result<Vec<Digest>, Failure> {
    let mut statement = connection.prepare("SELECT digest FROM source ORDER BY digest")?;
    let digests = statement.query_and_then([], |row| Ok(crate::chain::digest_at(row, 0)?))?;
    digests.collect()
}

/// Reads the bytes of a file again and compares their digest and number with what is recorded.
pub(crate) fn check(
    connection: &Connection,
    archives: &mut Archives<'_>,
    digest: &Digest,
) -> Result<Result<(), StoreError>, Failure> {
    let (bytes, pieces): (i64, u32) = connection
        .prepare_cached("SELECT bytes, pieces FROM source WHERE digest = ?")?
        .query_row([digest.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let damaged = |message: String| Err(StoreError::SourceDamaged { digest: *digest, message });
    let (mut hasher, mut n_read) = (Sha256::new(), 0_i64);
    for index in 0..pieces {
        match read_piece(connection, archives, digest, index) {
            Ok(piece) => {
                hasher.update(&piece);
                n_read += i64::try_from(piece.len()).expect("a piece is small");
            }
            Err(error) => return Ok(damaged(error.to_string())),
        }
    }
    let actual = Digest::from_bytes(hasher.finalize().into());
    Ok(match (actual == *digest, n_read == bytes) {
        (true, true) => Ok(()),
        (true, false) => damaged(format!("{n_read} bytes, not {bytes} as recorded")),
        (false, _) => damaged(format!("their digest is {actual}")),
    })
}
