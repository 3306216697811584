-- Schema 3. The tables of schema 1 stay as they are. What changed are bodies: a session may be one side of a paired
-- experiment (`experiment`), a launch may say where its memory lies (`layout`), a repetition may have been generated in
-- turn with another engine (`turns`). A version that does not know them would take such a session for one of its own.
-- Two tables are new.

-- A name for a session. A name that is set again gets another row, and its newest row holds; a row without a session
-- removes the name.
CREATE TABLE baseline (
    seq INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    session TEXT REFERENCES session (id),
    set_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What is known of how far recordings differ when nothing has changed; `fingerprint` is the digest it is about.
CREATE TABLE calibration (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    made_at INTEGER NOT NULL,
    fingerprint TEXT NOT NULL CHECK (length(fingerprint) = 64),
    kind TEXT NOT NULL CHECK (kind IN ('compare', 'ab')),
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX calibration_by_fingerprint ON calibration (fingerprint, kind, made_at);

-- No row is ever updated, deleted or replaced.

CREATE TRIGGER baseline_is_never_updated BEFORE UPDATE ON baseline BEGIN
    SELECT RAISE(ABORT, 'a recorded baseline is never changed (invariant I4)');
END;
CREATE TRIGGER calibration_is_never_updated BEFORE UPDATE ON calibration BEGIN
    SELECT RAISE(ABORT, 'a recorded calibration is never changed (invariant I4)');
END;
CREATE TRIGGER baseline_is_never_deleted BEFORE DELETE ON baseline BEGIN
    SELECT RAISE(ABORT, 'a recorded baseline is never deleted (invariant I4)');
END;
CREATE TRIGGER calibration_is_never_deleted BEFORE DELETE ON calibration BEGIN
    SELECT RAISE(ABORT, 'a recorded calibration is never deleted (invariant I4)');
END;
CREATE TRIGGER calibration_is_never_replaced BEFORE INSERT ON calibration
WHEN EXISTS (SELECT 1 FROM calibration WHERE id = NEW.id) BEGIN
    SELECT RAISE(ABORT, 'a recorded calibration is never replaced (invariant I4)');
END;

-- The newest row of a name holds, so that no row may be put in front of another either. `IS NOT` refuses NULL too.
CREATE TRIGGER baseline_grows_at_its_end BEFORE INSERT ON baseline
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM baseline) BEGIN
    SELECT RAISE(ABORT, 'the list of baselines grows only at its end (invariant I4)');
END;
