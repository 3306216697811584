//! The migrations, and what their triggers refuse to whoever opens the file with another tool.

use std::path::PathBuf;

use lab_core::digest::Digest;

use super::*;
use crate::chain::RECORDED;
use crate::fixture::{
    Scratch, archive_all, id, long_session, name_and_calibrate, record, record_import, record_unfinished,
    scratch, session,
};
use crate::open::Store;

#[test]
fn a_released_migration_is_never_edited() {
    // Pinned: stores in the field were made by exactly these bytes. Append a line for a new migration.
    let pinned = [
        ("0001_first", "7e2c37c5df462233f58071338f1477e676db1ccebe590cbaf7db13c07e9a7599"),
        ("0002_observations", "af73d7edcd57eff27928a62bc819d5f15226476d0682575b78738a44a786d4d4"),
        ("0003_experiments", "4b88ded38ab9602c0edd723265dce32fe38566ccb919d2ff99cc37bdd4909135"),
        ("0004_until", "fed1165742a20da8fd0b539664ee6911d0f4e71d30eb8ba7f8c560554d4c019f"),
        ("0005_other_contracts", "1bfae677b44e2e7d05f07b6a1664c7a067f6522d68d56b985a36d59c86241239"),
        ("0006_archive", "f8823649396b5a057c56c10c316e477067f825c31bfca63b226506a9fa7ff9de"),
    ];
    let actual: Vec<(&str, String)> = MIGRATIONS
        .iter()
        .map(|migration| (migration.name, Digest::of(migration.sql.as_bytes()).to_string()))
        .collect();
    let pinned: Vec<(&str, String)> =
        pinned.iter().map(|(name, digest)| (*name, (*digest).to_owned())).collect();
    assert_eq!(actual, pinned);
}

#[test]
fn applying_twice_changes_nothing() {
    let connection = Connection::open_in_memory().unwrap();
    apply_missing(&connection).unwrap();
    apply_missing(&connection).unwrap();
    assert_eq!(schema_of(&connection).unwrap(), known_schema());
}

/// A store with a row in every table.
fn full() -> Scratch {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    name_and_calibrate(&mut scratch.store, session(1).header.id);
    record_import(&mut scratch.store, 2);
    archive_all(&mut scratch, "archive.sqlite");
    scratch
}

/// Every table of the schema as the file itself lists them, so that a new table without triggers fails these tests.
fn tables(connection: &Connection) -> Vec<String> {
    let mut statement = connection
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        .unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn columns(connection: &Connection, table: &str) -> Vec<String> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?)").unwrap();
    statement.query_map([table], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Everything in a table, as text.
fn content(connection: &Connection, table: &str) -> Vec<String> {
    let columns = columns(connection, table).iter().map(|name| format!("quote({name})")).collect::<Vec<_>>();
    let select = format!("SELECT {} FROM {table} ORDER BY 1", columns.join(" || ',' || "));
    let mut statement = connection.prepare(&select).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[track_caller]
fn check_refused(connection: &Connection, table: &str, sql: &str) {
    let before = content(connection, table);
    assert!(!before.is_empty(), "{table} holds no row to attack");
    let error = connection.execute_batch(sql).expect_err(sql).to_string();
    assert!(error.contains("invariant I4"), "{sql}: {error}");
    assert_eq!(content(connection, table), before, "{sql}");
}

#[test]
fn the_chain_covers_every_table_but_itself() {
    let full = full();
    let mut covered: Vec<String> = RECORDED.iter().map(|recorded| recorded.table.to_owned()).collect();
    covered.push("chain".to_owned());
    covered.sort();
    let mut actual = tables(&full.raw());
    actual.sort();
    assert_eq!(actual, covered);
}

#[test]
fn no_column_of_any_table_can_be_updated() {
    let full = full();
    let raw = full.raw();
    for table in tables(&raw) {
        for column in columns(&raw, &table) {
            check_refused(&raw, &table, &format!("UPDATE {table} SET {column} = {column}"));
            check_refused(&raw, &table, &format!("UPDATE OR REPLACE {table} SET {column} = {column}"));
        }
    }
}

#[test]
fn no_row_of_any_table_can_be_deleted() {
    let full = full();
    let raw = full.raw();
    raw.pragma_update(None, "foreign_keys", false).unwrap();
    for table in tables(&raw) {
        check_refused(&raw, &table, &format!("DELETE FROM {table}"));
        check_refused(&raw, &table, &format!("DELETE FROM {table} WHERE true"));
    }
}

#[test]
fn no_row_of_any_table_can_be_replaced() {
    let full = full();
    let raw = full.raw();
    raw.pragma_update(None, "foreign_keys", false).unwrap();
    for table in tables(&raw) {
        for verb in ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT"] {
            check_refused(&raw, &table, &format!("{verb} INTO {table} SELECT * FROM {table}"));
        }
        let upsert = format!("INSERT INTO {table} SELECT * FROM {table} WHERE 1 ON CONFLICT DO NOTHING");
        check_refused(&raw, &table, &upsert);
    }
}

#[test]
fn recorded_tables_have_no_second_key_to_replace_a_row_through() {
    let full = full();
    let raw = full.raw();
    for table in tables(&raw) {
        let unique: u32 = raw
            .query_row("SELECT count(*) FROM pragma_index_list(?) WHERE \"unique\"", [&table], |row| {
                row.get(0)
            })
            .unwrap();
        let without_rowid: bool =
            raw.query_row("SELECT wr FROM pragma_table_list(?)", [&table], |row| row.get(0)).unwrap();
        // A table without rowid lists its primary key; the chain's one key is its rowid.
        assert_eq!((unique, without_rowid), if table == "chain" { (0, false) } else { (1, true) }, "{table}");
    }
}

#[test]
fn the_chain_takes_no_link_but_the_next_one() {
    let full = full();
    let raw = full.raw();
    let next = "SELECT seq + 1, 'x', digest, head, digest FROM chain ORDER BY seq DESC LIMIT 1";
    for sql in [
        next.replace("seq + 1", "seq + 2"),
        next.replace("seq + 1", "NULL"),
        next.replace("seq + 1", "0"),
        next.replace("head, digest", "previous, digest"),
    ] {
        check_refused(&raw, "chain", &format!("INSERT INTO chain {sql}"));
        check_refused(&raw, "chain", &format!("INSERT OR REPLACE INTO chain {sql}"));
    }
    assert_eq!(raw.execute(&format!("INSERT INTO chain {next}"), []).unwrap(), 1);
}

#[test]
fn baselines_grow_only_at_their_end() {
    let full = full();
    let raw = full.raw();
    for seq in ["5", "0", "-1", "2", "NULL"] {
        for verb in ["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE"] {
            let sql = format!(
                "{verb} INTO baseline SELECT {seq}, name, session, set_at, body FROM baseline LIMIT 1"
            );
            check_refused(&raw, "baseline", &sql);
        }
    }
    let next = "INSERT INTO baseline SELECT 4, name, session, set_at, body FROM baseline LIMIT 1";
    assert_eq!(raw.execute(next, []).unwrap(), 1);
}

#[test]
fn an_ended_session_takes_no_row_through_raw_sql_either() {
    let full = full();
    let raw = full.raw();
    let session = "SELECT session, 99";
    for (table, sql) in [
        ("launch", format!("{session}, body FROM launch LIMIT 1")),
        (
            "repetition",
            format!("{session}, launch, kind, outcome, validity, body, timeline FROM repetition LIMIT 1"),
        ),
        ("measurement", "SELECT session, 'other', repetition, 1.0, NULL FROM measurement LIMIT 1".to_owned()),
    ] {
        check_refused(&raw, table, &format!("INSERT INTO {table} {sql}"));
    }
}

#[test]
fn a_measurement_has_a_value_or_a_reason_and_never_both_or_neither() {
    let mut scratch = scratch();
    record_unfinished(&mut scratch.store, &session(1));
    let raw = scratch.raw();
    for (readings, admitted) in [("1.0, 'x'", false), ("NULL, NULL", false), ("1.0, NULL", true)] {
        let sql = format!(
            "INSERT INTO measurement SELECT session, 'other', repetition, {readings} FROM measurement LIMIT 1"
        );
        assert_eq!(raw.execute(&sql, []).is_ok(), admitted, "{readings}");
    }
}

/// A store with a session that has ended and one that has not, both with long timelines, and a row that says where the
/// timeline of repetition 1 of either went.
fn about_to_move() -> Scratch {
    let mut scratch = scratch();
    record(&mut scratch.store, &long_session(1));
    record_unfinished(&mut scratch.store, &long_session(2));
    let digest = "0".repeat(64);
    let mut sql = format!("INSERT INTO archive VALUES (1, 0, '/a', 'a', '{digest}', 1, '{{}}');");
    for n in [1, 2] {
        sql += &format!(
            "INSERT INTO archived SELECT 'repetition:' || session || ':' || idx, 1, '{digest}', length(timeline)
             FROM repetition WHERE session = '{}' AND idx = 1;",
            id(n)
        );
    }
    scratch.raw().execute_batch(&sql).unwrap();
    scratch
}

#[test]
fn a_timeline_becomes_empty_only_after_its_session_ended_and_a_row_says_where_it_went() {
    let scratch = about_to_move();
    let raw = scratch.raw();
    let update = |n: u32, index: u32, set: &str| {
        format!("UPDATE repetition SET {set} WHERE session = '{}' AND idx = {index}", id(n))
    };
    for sql in [
        update(1, 3, "timeline = X''"),
        update(1, 4, "timeline = X''"),
        update(2, 1, "timeline = X''"),
        update(1, 1, "timeline = NULL"),
        update(1, 1, "timeline = X'01'"),
        update(1, 1, "timeline = X'', body = ''"),
        update(1, 1, "timeline = X'', idx = 99"),
        update(1, 1, "timeline = X'', validity = 'invalid'"),
        "DELETE FROM archived".to_owned(),
        "UPDATE archived SET archive = 2".to_owned(),
    ] {
        check_refused(&raw, "repetition", &sql);
    }
    assert_eq!(raw.execute(&update(1, 1, "timeline = X''"), []).unwrap(), 1);
    check_refused(&raw, "repetition", &update(1, 1, "timeline = X''"));
}

#[test]
fn a_timeline_of_another_length_than_the_row_says_stays() {
    let scratch = scratch_with_wrong_length();
    let sql = format!("UPDATE repetition SET timeline = X'' WHERE session = '{}' AND idx = 1", id(1));
    check_refused(&scratch.raw(), "repetition", &sql);
}

fn scratch_with_wrong_length() -> Scratch {
    let mut scratch = scratch();
    record(&mut scratch.store, &long_session(1));
    let digest = "0".repeat(64);
    scratch
        .raw()
        .execute_batch(&format!(
            "INSERT INTO archive VALUES (1, 0, '/a', 'a', '{digest}', 1, '{{}}');
             INSERT INTO archived VALUES ('repetition:{}:1', 1, '{digest}', 7);",
            id(1)
        ))
        .unwrap();
    scratch
}

#[test]
fn archives_grow_only_at_their_end() {
    let full = full();
    let raw = full.raw();
    for seq in ["1", "3", "0", "NULL"] {
        let sql = format!(
            "INSERT INTO archive SELECT {seq}, created_at, path, relative, digest, bytes, body FROM archive"
        );
        check_refused(&raw, "archive", &sql);
    }
    let next = "INSERT INTO archive SELECT 2, created_at, path, relative, digest, bytes, body FROM archive";
    assert_eq!(raw.execute(next, []).unwrap(), 1);
}

/// Makes a store as a lab left it that knew only so many migrations, with session 1 in it.
fn of_schema(n_migrations: usize) -> (tempfile::TempDir, PathBuf) {
    let mut now = scratch();
    record(&mut now.store, &session(1));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.sqlite");
    let old = Connection::open(&path).unwrap();
    for migration in &MIGRATIONS[..n_migrations] {
        old.execute_batch(migration.sql).unwrap();
    }
    old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    old.pragma_update(None, "user_version", i64::try_from(n_migrations).unwrap()).unwrap();
    old.execute("ATTACH ? AS now", [now.path.to_str().unwrap()]).unwrap();
    // In the order in which they were made, which is that of the references between them.
    for table in tables(&old) {
        old.execute_batch(&format!("INSERT INTO main.{table} SELECT * FROM now.{table}")).unwrap();
    }
    (folder, path)
}

#[test]
fn a_store_of_an_older_schema_is_brought_up_to_date_and_keeps_its_rows() {
    for n_migrations in 1..MIGRATIONS.len() {
        let (_folder, path) = of_schema(n_migrations);
        let session = session(1);
        let id = session.header.id;
        let mut store = Store::open_existing(&path).unwrap();
        assert_eq!(schema_of(&Connection::open(&path).unwrap()).unwrap(), known_schema());
        assert_eq!(store.load(&id).unwrap(), session);
        assert_eq!(store.baselines().unwrap(), []);
        let passed = store.head().unwrap();
        name_and_calibrate(&mut store, id);
        assert_eq!(store.verify(Some(&passed)).unwrap().findings, []);
    }
}

#[test]
fn a_store_of_an_older_schema_is_not_changed_by_reading() {
    let (_folder, path) = of_schema(2);
    let error = Store::open_read_only(&path).unwrap_err().to_string();
    assert!(error.contains("has schema 2, this lab needs 6"), "{error}");
    assert_eq!(schema_of(&Connection::open(&path).unwrap()).unwrap(), 2);
}
