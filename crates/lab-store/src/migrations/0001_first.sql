-- Schema 1. Never edit this file: stores in the field were made by it. A change of the schema is a new file.

CREATE TABLE part (
    digest TEXT NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
    kind TEXT NOT NULL CHECK (kind IN ('model', 'plan', 'backend', 'hardware', 'engine')),
    domain TEXT NOT NULL,
    identity TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    id TEXT NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    started_at INTEGER NOT NULL,
    plan_name TEXT NOT NULL,
    model_name TEXT NOT NULL,
    repeat INTEGER NOT NULL,
    fingerprint TEXT NOT NULL CHECK (length(fingerprint) = 64),
    model_part TEXT NOT NULL REFERENCES part (digest),
    plan_part TEXT NOT NULL REFERENCES part (digest),
    backend_part TEXT NOT NULL REFERENCES part (digest),
    hardware_part TEXT NOT NULL REFERENCES part (digest),
    engine_part TEXT NOT NULL REFERENCES part (digest),
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Holds every column that a listing shows, so that it never reads past the bodies.
CREATE INDEX session_by_start ON session (started_at, id, plan_name, model_name, repeat, fingerprint);

CREATE TABLE launch (
    session TEXT NOT NULL REFERENCES session (id),
    idx INTEGER NOT NULL CHECK (idx >= 0),
    body TEXT NOT NULL,
    PRIMARY KEY (session, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE repetition (
    session TEXT NOT NULL,
    idx INTEGER NOT NULL CHECK (idx >= 0),
    launch INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('warmup', 'measured')),
    outcome TEXT NOT NULL CHECK (outcome IN ('completed', 'failed')),
    validity TEXT CHECK (validity IN ('valid', 'suspect', 'invalid')),
    body TEXT NOT NULL,
    timeline BLOB,
    PRIMARY KEY (session, idx),
    FOREIGN KEY (session, launch) REFERENCES launch (session, idx),
    CHECK ((outcome = 'completed') = (timeline IS NOT NULL)),
    CHECK ((outcome = 'completed') = (validity IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Counts and validities without reading past bodies and timelines.
CREATE INDEX repetition_by_outcome ON repetition (session, idx, kind, outcome, validity);

CREATE TABLE measurement (
    session TEXT NOT NULL,
    metric TEXT NOT NULL,
    repetition INTEGER NOT NULL,
    value REAL,
    unavailable TEXT,
    PRIMARY KEY (session, metric, repetition),
    FOREIGN KEY (session, repetition) REFERENCES repetition (session, idx),
    CHECK ((value IS NULL) <> (unavailable IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE session_end (
    session TEXT NOT NULL PRIMARY KEY REFERENCES session (id),
    ended_at INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('completed', 'incomplete', 'failed', 'interrupted'))
) STRICT, WITHOUT ROWID;

CREATE TABLE chain (
    seq INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    previous TEXT NOT NULL CHECK (length(previous) = 64),
    head TEXT NOT NULL CHECK (length(head) = 64)
) STRICT;

-- No row is ever updated.

CREATE TRIGGER part_is_never_updated BEFORE UPDATE ON part BEGIN
    SELECT RAISE(ABORT, 'a recorded part is never changed (invariant I4)');
END;
CREATE TRIGGER session_is_never_updated BEFORE UPDATE ON session BEGIN
    SELECT RAISE(ABORT, 'a recorded session is never changed (invariant I4)');
END;
CREATE TRIGGER launch_is_never_updated BEFORE UPDATE ON launch BEGIN
    SELECT RAISE(ABORT, 'a recorded launch is never changed (invariant I4)');
END;
CREATE TRIGGER repetition_is_never_updated BEFORE UPDATE ON repetition BEGIN
    SELECT RAISE(ABORT, 'a recorded repetition is never changed (invariant I4)');
END;
CREATE TRIGGER measurement_is_never_updated BEFORE UPDATE ON measurement BEGIN
    SELECT RAISE(ABORT, 'a recorded measurement is never changed (invariant I4)');
END;
CREATE TRIGGER session_end_is_never_updated BEFORE UPDATE ON session_end BEGIN
    SELECT RAISE(ABORT, 'a recorded session end is never changed (invariant I4)');
END;
CREATE TRIGGER chain_is_never_updated BEFORE UPDATE ON chain BEGIN
    SELECT RAISE(ABORT, 'a link of the chain is never changed (invariant I4)');
END;

-- No row is ever deleted.

CREATE TRIGGER part_is_never_deleted BEFORE DELETE ON part BEGIN
    SELECT RAISE(ABORT, 'a recorded part is never deleted (invariant I4)');
END;
CREATE TRIGGER session_is_never_deleted BEFORE DELETE ON session BEGIN
    SELECT RAISE(ABORT, 'a recorded session is never deleted (invariant I4)');
END;
CREATE TRIGGER launch_is_never_deleted BEFORE DELETE ON launch BEGIN
    SELECT RAISE(ABORT, 'a recorded launch is never deleted (invariant I4)');
END;
CREATE TRIGGER repetition_is_never_deleted BEFORE DELETE ON repetition BEGIN
    SELECT RAISE(ABORT, 'a recorded repetition is never deleted (invariant I4)');
END;
CREATE TRIGGER measurement_is_never_deleted BEFORE DELETE ON measurement BEGIN
    SELECT RAISE(ABORT, 'a recorded measurement is never deleted (invariant I4)');
END;
CREATE TRIGGER session_end_is_never_deleted BEFORE DELETE ON session_end BEGIN
    SELECT RAISE(ABORT, 'a recorded session end is never deleted (invariant I4)');
END;
CREATE TRIGGER chain_is_never_deleted BEFORE DELETE ON chain BEGIN
    SELECT RAISE(ABORT, 'a link of the chain is never deleted (invariant I4)');
END;

-- No row is ever replaced: INSERT OR REPLACE deletes without firing the triggers above. The tables have no other key
-- (WITHOUT ROWID leaves no hidden one) through which a row could be replaced.

CREATE TRIGGER part_is_never_replaced BEFORE INSERT ON part
WHEN EXISTS (SELECT 1 FROM part WHERE digest = NEW.digest) BEGIN
    SELECT RAISE(ABORT, 'a recorded part is never replaced (invariant I4)');
END;
CREATE TRIGGER session_is_never_replaced BEFORE INSERT ON session
WHEN EXISTS (SELECT 1 FROM session WHERE id = NEW.id) BEGIN
    SELECT RAISE(ABORT, 'a recorded session is never replaced (invariant I4)');
END;
CREATE TRIGGER launch_is_never_replaced BEFORE INSERT ON launch
WHEN EXISTS (SELECT 1 FROM launch WHERE session = NEW.session AND idx = NEW.idx) BEGIN
    SELECT RAISE(ABORT, 'a recorded launch is never replaced (invariant I4)');
END;
CREATE TRIGGER repetition_is_never_replaced BEFORE INSERT ON repetition
WHEN EXISTS (SELECT 1 FROM repetition WHERE session = NEW.session AND idx = NEW.idx) BEGIN
    SELECT RAISE(ABORT, 'a recorded repetition is never replaced (invariant I4)');
END;
CREATE TRIGGER measurement_is_never_replaced BEFORE INSERT ON measurement
WHEN EXISTS (
    SELECT 1 FROM measurement
    WHERE session = NEW.session AND metric = NEW.metric AND repetition = NEW.repetition
) BEGIN
    SELECT RAISE(ABORT, 'a recorded measurement is never replaced (invariant I4)');
END;
CREATE TRIGGER session_end_is_never_replaced BEFORE INSERT ON session_end
WHEN EXISTS (SELECT 1 FROM session_end WHERE session = NEW.session) BEGIN
    SELECT RAISE(ABORT, 'a recorded session end is never replaced (invariant I4)');
END;

-- The chain grows at its end alone, so that no link of it is replaced either. The constant is the genesis head:
-- SHA-256 of `lab.store.genesis.v1`.

CREATE TRIGGER chain_grows_at_its_end BEFORE INSERT ON chain
WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM chain)
    OR NEW.previous <> coalesce(
        (SELECT head FROM chain ORDER BY seq DESC LIMIT 1),
        'ad2e460f8a89f3cf90c0e35766d032fc408219b46f0d3eedb64a6888be7c7153'
    )
BEGIN
    SELECT RAISE(ABORT, 'the chain grows only at its end (invariant I4)');
END;

-- An ended session takes no more rows.

CREATE TRIGGER launch_precedes_the_end BEFORE INSERT ON launch
WHEN EXISTS (SELECT 1 FROM session_end WHERE session = NEW.session) BEGIN
    SELECT RAISE(ABORT, 'an ended session takes no more launches (invariant I4)');
END;
CREATE TRIGGER repetition_precedes_the_end BEFORE INSERT ON repetition
WHEN EXISTS (SELECT 1 FROM session_end WHERE session = NEW.session) BEGIN
    SELECT RAISE(ABORT, 'an ended session takes no more repetitions (invariant I4)');
END;
CREATE TRIGGER measurement_precedes_the_end BEFORE INSERT ON measurement
WHEN EXISTS (SELECT 1 FROM session_end WHERE session = NEW.session) BEGIN
    SELECT RAISE(ABORT, 'an ended session takes no more measurements (invariant I4)');
END;
