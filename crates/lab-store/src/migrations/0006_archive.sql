-- Schema 6. Raw data may leave a store for an archive: the BLOB of a timeline or of a piece becomes empty, and a row of its
-- own says where it went and what it was. Nothing else of a recorded row ever changes, and no row is deleted.
-- Two tables are new.

-- An archive: a file that holds what left. `path` is its path from the root, `relative` that from the store's folder where it
-- lies below it, so that both can move together; `digest` and `bytes` are the file's.
CREATE TABLE archive (
    seq INTEGER NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL,
    path TEXT NOT NULL,
    relative TEXT,
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    bytes INTEGER NOT NULL CHECK (bytes > 0),
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A BLOB that left: `subject` is its row as the chain names it, `digest` and `bytes` are the BLOB's, so that the digest of the
-- row can still be computed.
CREATE TABLE archived (
    subject TEXT NOT NULL PRIMARY KEY,
    archive INTEGER NOT NULL REFERENCES archive (seq),
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    bytes INTEGER NOT NULL CHECK (bytes > 0)
) STRICT, WITHOUT ROWID;

-- No row of them is ever updated, deleted or replaced.

CREATE TRIGGER archive_is_never_updated BEFORE UPDATE ON archive BEGIN
    SELECT RAISE(ABORT, 'a recorded archive is never changed (invariant I4)');
END;
CREATE TRIGGER archived_is_never_updated BEFORE UPDATE ON archived BEGIN
    SELECT RAISE(ABORT, 'where raw data went is never changed (invariant I4)');
END;
CREATE TRIGGER archive_is_never_deleted BEFORE DELETE ON archive BEGIN
    SELECT RAISE(ABORT, 'a recorded archive is never deleted (invariant I4)');
END;
CREATE TRIGGER archived_is_never_deleted BEFORE DELETE ON archived BEGIN
    SELECT RAISE(ABORT, 'where raw data went is never deleted (invariant I4)');
END;
CREATE TRIGGER archive_grows_at_its_end BEFORE INSERT ON archive
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM archive) BEGIN
    SELECT RAISE(ABORT, 'the list of archives grows only at its end (invariant I4)');
END;
CREATE TRIGGER archived_is_never_replaced BEFORE INSERT ON archived
WHEN EXISTS (SELECT 1 FROM archived WHERE subject = NEW.subject) BEGIN
    SELECT RAISE(ABORT, 'where raw data went is never replaced (invariant I4)');
END;

-- The one change that is permitted: the BLOB of a session that has ended becomes empty, once a row says where as many bytes
-- went. `IS NOT TRUE`, because a comparison with NULL is neither true nor false.

DROP TRIGGER repetition_is_never_updated;
CREATE TRIGGER repetition_is_never_updated BEFORE UPDATE ON repetition
WHEN (
    NEW.session IS OLD.session
    AND NEW.idx IS OLD.idx
    AND NEW.launch IS OLD.launch
    AND NEW.kind IS OLD.kind
    AND NEW.outcome IS OLD.outcome
    AND NEW.validity IS OLD.validity
    AND NEW.body IS OLD.body
    AND NEW.timeline IS X''
    AND EXISTS (SELECT 1 FROM session_end WHERE session = OLD.session)
    AND EXISTS (
        SELECT 1 FROM archived
        WHERE subject = 'repetition:' || OLD.session || ':' || OLD.idx AND bytes = length(OLD.timeline)
    )
) IS NOT TRUE BEGIN
    SELECT RAISE(ABORT, 'a recorded repetition is never changed (invariant I4)');
END;

DROP TRIGGER piece_is_never_updated;
CREATE TRIGGER piece_is_never_updated BEFORE UPDATE ON piece
WHEN (
    NEW.source IS OLD.source
    AND NEW.idx IS OLD.idx
    AND NEW.frame IS X''
    AND EXISTS (
        SELECT 1 FROM source JOIN session_end ON session_end.session = source.session
        WHERE source.digest = OLD.source
    )
    AND EXISTS (
        SELECT 1 FROM archived
        WHERE subject = 'piece:' || OLD.source || ':' || OLD.idx AND bytes = length(OLD.frame)
    )
) IS NOT TRUE BEGIN
    SELECT RAISE(ABORT, 'a recorded piece is never changed (invariant I4)');
END;
