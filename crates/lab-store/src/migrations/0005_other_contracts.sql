-- Schema 5. Bodies: a session may have run a command (`command`) or be documents of another tool (`import`) where others have
-- a `workload`; a repetition may be a run (`ran`) or a document (`imported`), and its timeline is then empty. A version that
-- does not know them cannot read such sessions.
-- Two tables are new.

-- A file that a repetition was imported from, known by its content: a file is imported once.
CREATE TABLE source (
    digest TEXT NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
    session TEXT NOT NULL,
    repetition INTEGER NOT NULL,
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    pieces INTEGER NOT NULL CHECK (pieces >= 0),
    FOREIGN KEY (session, repetition) REFERENCES repetition (session, idx)
) STRICT, WITHOUT ROWID;

CREATE INDEX source_by_session ON source (session, repetition);

-- The bytes of such a file in pieces, each a Zstandard frame.
CREATE TABLE piece (
    source TEXT NOT NULL CHECK (length(source) = 64),
    idx INTEGER NOT NULL CHECK (idx >= 0),
    frame BLOB NOT NULL,
    PRIMARY KEY (source, idx)
) STRICT, WITHOUT ROWID;

-- No row is ever updated, deleted or replaced.

CREATE TRIGGER source_is_never_updated BEFORE UPDATE ON source BEGIN
    SELECT RAISE(ABORT, 'a recorded source is never changed (invariant I4)');
END;
CREATE TRIGGER piece_is_never_updated BEFORE UPDATE ON piece BEGIN
    SELECT RAISE(ABORT, 'a recorded piece is never changed (invariant I4)');
END;
CREATE TRIGGER source_is_never_deleted BEFORE DELETE ON source BEGIN
    SELECT RAISE(ABORT, 'a recorded source is never deleted (invariant I4)');
END;
CREATE TRIGGER piece_is_never_deleted BEFORE DELETE ON piece BEGIN
    SELECT RAISE(ABORT, 'a recorded piece is never deleted (invariant I4)');
END;
CREATE TRIGGER source_is_never_replaced BEFORE INSERT ON source
WHEN EXISTS (SELECT 1 FROM source WHERE digest = NEW.digest) BEGIN
    SELECT RAISE(ABORT, 'a recorded source is never replaced (invariant I4)');
END;
CREATE TRIGGER piece_is_never_replaced BEFORE INSERT ON piece
WHEN EXISTS (SELECT 1 FROM piece WHERE source = NEW.source AND idx = NEW.idx) BEGIN
    SELECT RAISE(ABORT, 'a recorded piece is never replaced (invariant I4)');
END;
-- A source is whole when its own row is there: pieces come first, and none comes after.
CREATE TRIGGER piece_precedes_its_source BEFORE INSERT ON piece
WHEN EXISTS (SELECT 1 FROM source WHERE digest = NEW.source) BEGIN
    SELECT RAISE(ABORT, 'a recorded source takes no more pieces (invariant I4)');
END;
