//! What leaves, what stays, and what is left when something goes wrong in between.

use std::io::Read as _;

use lab_core::record::SessionId;

use super::*;
use crate::fixture::{
    Scratch, archive_all, far_future, id, import, long_session, record, record_import, record_unfinished,
    scratch, session,
};
use crate::query::ListFilter;
use crate::source::SourceReader;
use crate::verify::{ArchiveCheck, Finding};

/// A store with a long session, one whose timelines are short, and an imported file.
fn filled() -> Scratch {
    let mut scratch = scratch();
    record(&mut scratch.store, &long_session(1));
    record(&mut scratch.store, &session(2));
    record_import(&mut scratch.store, 3);
    scratch
}

/// The digest of the file that session 3 of [`filled`] was imported from, and its bytes.
fn imported() -> (Digest, Vec<u8>) {
    let (_, bytes) = import(3);
    (Digest::of(&bytes), bytes)
}

fn bytes_of(mut reader: SourceReader<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Sizes of the timelines of a session as they lie in the store.
fn stored_sizes(scratch: &Scratch, session: SessionId) -> Vec<Option<i64>> {
    let raw = scratch.raw();
    let mut statement =
        raw.prepare("SELECT length(timeline) FROM repetition WHERE session = ? ORDER BY idx").unwrap();
    let sizes = statement.query_map([session.to_string()], |row| row.get(0)).unwrap();
    sizes.map(Result::unwrap).collect()
}

#[track_caller]
fn check_sound(scratch: &Scratch) {
    let verification = scratch.store.verify(None).unwrap();
    assert_eq!(verification.findings, []);
    assert_eq!(verification.rows, verification.links);
}

#[test]
fn what_left_is_read_as_if_it_had_stayed_and_only_its_bytes_left() {
    let mut scratch = filled();
    let head = scratch.store.head().unwrap();
    let row = archive_all(&mut scratch, "old.archive");
    let ArchiveContents { sessions, timelines, pieces, blob_bytes } = row.contents;
    assert_eq!((sessions, timelines, pieces), (2, 4, 1));
    assert!(blob_bytes > 4 * SMALLEST_ARCHIVED_BYTES, "{blob_bytes}");
    assert_eq!(scratch.store.archives().unwrap(), [row]);
    assert_eq!(stored_sizes(&scratch, id(1)), [Some(0), Some(0), Some(0), Some(0), None]);
    assert!(stored_sizes(&scratch, id(2)).iter().flatten().all(|size| *size > 0));

    assert_eq!(scratch.store.load(&id(1)).unwrap(), long_session(1));
    assert_eq!(scratch.store.load(&id(2)).unwrap(), session(2));
    assert_eq!(scratch.store.load(&id(3)).unwrap(), import(3).0);
    let (digest, bytes) = imported();
    assert_eq!(bytes_of(scratch.store.source(&digest).unwrap()), bytes);
    let verification = scratch.store.verify(Some(&head)).unwrap();
    assert_eq!((verification.findings, verification.out_of_reach), (vec![], 0));
    let path = scratch.path.with_file_name("old.archive");
    assert_eq!(verification.archives, [ArchiveCheck { path, blobs: 5, found: true }]);
    assert_eq!(verification.rows, verification.links);
}

#[test]
fn what_is_young_unfinished_small_or_a_baseline_stays() {
    let mut scratch = filled();
    record_unfinished(&mut scratch.store, &long_session(4));
    record(&mut scratch.store, &long_session(5));
    let name = "main".parse().unwrap();
    scratch.store.set_baseline(&name, Some(&id(5)), far_future(), None).unwrap();
    let ended_at = |n: u32| long_session(n).end.unwrap().ended_at;
    let sessions_before = |time: Timestamp| scratch.store.archivable(time).unwrap().contents.sessions;
    assert_eq!(sessions_before(ended_at(1)), 0, "what ended at that very time is not older");
    assert_eq!(sessions_before(ended_at(2)), 1);
    let all = scratch.store.archivable(far_future()).unwrap();
    assert_eq!((all.contents.sessions, all.small, all.baselines), (2, 4, 1));
    archive_all(&mut scratch, "a");
    for n in [4, 5] {
        assert!(stored_sizes(&scratch, id(n)).iter().flatten().all(|size| *size > 0), "{n}");
    }
    let left = scratch.store.archivable(far_future()).unwrap();
    assert_eq!((left.contents, left.small), (ArchiveContents::default(), 4));
    check_sound(&scratch);
}

#[test]
fn where_nothing_may_leave_no_file_is_made() {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    let head = scratch.store.head().unwrap();
    let to = scratch.path.with_file_name("none");
    let order = ArchiveOrder { older_than: far_future(), to: &to, now: far_future() };
    assert_eq!(scratch.store.archive(&order).unwrap(), None);
    assert!(!to.exists());
    assert_eq!(scratch.store.head().unwrap(), head);
}

#[track_caller]
fn check_refused(scratch: &mut Scratch, to: &Path, sentence: &str) {
    let head = scratch.store.head().unwrap();
    let order = ArchiveOrder { older_than: far_future(), to, now: far_future() };
    let error = scratch.store.archive(&order).unwrap_err().to_string();
    assert!(error.starts_with(&sentence.replace("{}", &to.display().to_string())), "{error}");
    assert_eq!(scratch.store.head().unwrap(), head);
    assert_eq!(scratch.store.load(&id(1)).unwrap(), long_session(1));
}

#[test]
fn an_archive_is_written_over_nothing_and_only_where_it_can_be() {
    let mut scratch = filled();
    let there = scratch.path.with_file_name("there");
    std::fs::write(&there, "mine").unwrap();
    check_refused(&mut scratch, &there, "`{}` is there already, and an archive is never written over a file");
    assert_eq!(std::fs::read(&there).unwrap(), b"mine");
    let store = scratch.path.clone();
    check_refused(&mut scratch, &store, "`{}` is there already");
    let through_a_file = there.join("archive");
    check_refused(&mut scratch, &through_a_file, "the archive `{}` cannot be written: ");
    let no_folder = scratch.path.with_file_name("no").join("archive");
    check_refused(&mut scratch, &no_folder, "the archive `{}` cannot be written: ");
    assert!(!no_folder.exists());
}

#[test]
fn an_archive_is_never_given_the_name_of_a_file_that_sqlite_keeps_beside_the_store() {
    let mut scratch = filled();
    std::fs::create_dir(scratch.path.with_file_name("elsewhere")).unwrap();
    for name in ["lab.sqlite-journal", "lab.sqlite-wal", "lab.sqlite-2026-02", "elsewhere/lab.sqlite-shm"] {
        let there_before = scratch.path.with_file_name(name).exists();
        let to = scratch.path.with_file_name(name);
        check_refused(&mut scratch, &to, "`{}` cannot be an archive: SQLite keeps files of its own");
        assert_eq!(to.exists(), there_before, "{name}");
    }
    archive_all(&mut scratch, "lab.sqlite.archive");
    check_sound(&scratch);
}

#[test]
fn a_store_opened_for_reading_keeps_its_raw_data_and_makes_no_file() {
    let mut scratch = filled();
    scratch.store = Store::open_read_only(&scratch.path).unwrap();
    let to = scratch.path.with_file_name("a");
    check_refused(&mut scratch, &to, "nothing can be recorded into the store `");
    assert!(!to.exists());
}

#[test]
fn a_file_that_no_row_names_costs_nothing_but_its_room() {
    let mut scratch = filled();
    let head = scratch.store.head().unwrap();
    let stray = scratch.path.with_file_name("stray");
    let order = ArchiveOrder { older_than: far_future(), to: &stray, now: far_future() };
    // Ended after the file and before the transaction, as by a kill.
    drop(scratch.store.finish_archive(&order).unwrap());
    assert!(stray.exists());
    assert_eq!(scratch.store.head().unwrap(), head);
    assert_eq!(scratch.store.archives().unwrap(), []);
    std::fs::remove_file(&stray).unwrap();
    assert_eq!(scratch.store.load(&id(1)).unwrap(), long_session(1));
    archive_all(&mut scratch, "second");
    assert_eq!(scratch.store.load(&id(1)).unwrap(), long_session(1));
    check_sound(&scratch);
}

#[test]
fn a_move_that_ends_half_way_moved_nothing() {
    let mut scratch = filled();
    let head = scratch.store.head().unwrap();
    let to = scratch.path.with_file_name("a");
    let order = ArchiveOrder { older_than: far_future(), to: &to, now: far_future() };
    let finished = scratch.store.finish_archive(&order).unwrap().unwrap();
    let moved = scratch.store.append("moving", |connection| {
        move_all(connection, &finished)?;
        Err(Failure::from(StoreError::UnknownSession { session: id(9) }))
    });
    assert!(moved.is_err());
    std::fs::remove_file(&to).unwrap();
    assert_eq!(scratch.store.head().unwrap(), head);
    assert_eq!(scratch.store.load(&id(1)).unwrap(), long_session(1));
    check_sound(&scratch);
}

#[test]
fn of_two_that_move_the_same_the_second_moves_nothing() {
    let mut scratch = filled();
    let to = [scratch.path.with_file_name("a"), scratch.path.with_file_name("b")];
    let order = |to| ArchiveOrder { older_than: far_future(), to, now: far_future() };
    let first = scratch.store.finish_archive(&order(&to[0])).unwrap().unwrap();
    let second = scratch.store.finish_archive(&order(&to[1])).unwrap().unwrap();
    scratch.store.append("moving", |connection| move_all(connection, &first).map(drop)).unwrap();
    let refused = scratch.store.append("moving", |connection| move_all(connection, &second).map(drop));
    assert!(matches!(refused, Err(StoreError::AlreadyRecorded { .. })), "{refused:?}");
    assert_eq!(scratch.store.archives().unwrap().len(), 1);
    assert_eq!(scratch.store.load(&id(1)).unwrap(), long_session(1));
    check_sound(&scratch);
}

#[test]
fn a_session_that_becomes_a_baseline_while_the_file_is_written_stays() {
    let mut scratch = filled();
    let to = scratch.path.with_file_name("a");
    let order = ArchiveOrder { older_than: far_future(), to: &to, now: far_future() };
    let finished = scratch.store.finish_archive(&order).unwrap().unwrap();
    scratch.store.set_baseline(&"main".parse().unwrap(), Some(&id(1)), far_future(), None).unwrap();
    let refused = scratch.store.append("moving", |connection| move_all(connection, &finished).map(drop));
    let expected = format!(
        "the baseline `main` was set to session {} while its raw data were archived; nothing was moved",
        id(1)
    );
    assert_eq!(refused.unwrap_err().to_string(), expected);
    assert_eq!(scratch.store.archives().unwrap(), []);
    assert_eq!(scratch.store.load(&id(1)).unwrap(), long_session(1));
    check_sound(&scratch);
}

/// Records rows that say that raw data left, links and all, as nobody's lab does.
fn record_as_left(scratch: &mut Scratch, subjects: &[&str]) {
    let digest = "0".repeat(64);
    let append = |connection: &Connection| -> Result<(), Failure> {
        connection.execute(
            "INSERT INTO archive VALUES (1, 0, '/nowhere/a', NULL, ?, 1, ?)",
            (&digest, r#"{"sessions":1,"timelines":1,"pieces":0,"blob_bytes":1}"#),
        )?;
        ARCHIVE.link(connection, &[&1_i64])?;
        for subject in subjects {
            connection.execute("INSERT INTO archived VALUES (?, 1, ?, 1)", (subject, &digest))?;
            ARCHIVED.link(connection, &[subject])?;
        }
        Ok(())
    };
    scratch.store.append("recording", append).unwrap();
}

#[test]
fn what_is_said_to_have_left_and_did_not_is_found_and_keeps_nothing_else_from_leaving() {
    let mut scratch = filled();
    let (here, nowhere) = (format!("repetition:{}:1", id(1)), format!("repetition:{}:1", id(9)));
    record_as_left(&mut scratch, &[&here, &nowhere]);
    let found = |scratch: &Scratch| -> BTreeSet<String> {
        let findings = scratch.store.verify(None).unwrap().findings;
        let subject = |finding| match finding {
            Finding::ArchivedWithoutRow { subject } => subject,
            other => panic!("{other}"),
        };
        findings.into_iter().map(subject).collect()
    };
    assert_eq!(found(&scratch), BTreeSet::from([here.clone(), nowhere.clone()]));
    let row = archive_all(&mut scratch, "old.archive");
    assert_eq!((row.contents.timelines, row.contents.pieces), (3, 1));
    assert_eq!(found(&scratch), BTreeSet::from([here, nowhere]));
}

#[test]
fn a_second_archive_takes_what_grew_old_since() {
    let mut scratch = filled();
    archive_all(&mut scratch, "first");
    record(&mut scratch.store, &long_session(7));
    let second = archive_all(&mut scratch, "second");
    assert_eq!((second.contents.sessions, second.contents.timelines), (1, 4));
    assert_eq!(scratch.store.archives().unwrap().len(), 2);
    for n in [1, 7] {
        assert_eq!(scratch.store.load(&id(n)).unwrap(), long_session(n));
    }
    check_sound(&scratch);
}

#[test]
fn an_archive_is_found_beside_the_store_when_it_is_no_longer_where_it_was_written() {
    let mut scratch = filled();
    let elsewhere = scratch.path.with_file_name("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    archive_all(&mut scratch, "elsewhere/old.archive");
    let beside = scratch.path.with_file_name("old.archive");
    std::fs::rename(elsewhere.join("old.archive"), &beside).unwrap();
    assert_eq!(scratch.store.load(&id(1)).unwrap(), long_session(1));
    assert_eq!(scratch.store.archives().unwrap()[0].place, Some(beside));
    check_sound(&scratch);
}

#[test]
fn a_store_and_the_archives_below_it_move_as_a_whole() {
    let mut scratch = filled();
    std::fs::create_dir(scratch.path.with_file_name("archives")).unwrap();
    archive_all(&mut scratch, "archives/old");
    let moved = scratch.path.with_file_name("moved");
    std::fs::create_dir_all(moved.join("archives")).unwrap();
    let path = scratch.path.clone();
    // Closing the store takes its log over into the file.
    scratch.store = Store::open(&path.with_file_name("other.sqlite")).unwrap();
    for name in ["lab.sqlite", "archives/old"] {
        std::fs::rename(path.with_file_name(name), moved.join(name)).unwrap();
    }
    let store = Store::open_existing(&moved.join("lab.sqlite")).unwrap();
    assert_eq!(store.archives().unwrap()[0].place, Some(moved.join("archives/old")));
    assert_eq!(store.load(&id(1)).unwrap(), long_session(1));
}

#[test]
fn of_files_with_the_name_of_an_archive_the_one_of_its_size_is_taken() {
    let mut scratch = filled();
    std::fs::create_dir(scratch.path.with_file_name("elsewhere")).unwrap();
    let path = archive_all(&mut scratch, "elsewhere/old.archive").path;
    let beside = scratch.path.with_file_name("old.archive");
    std::fs::rename(&path, &beside).unwrap();
    std::fs::write(&path, "something else").unwrap();
    assert_eq!(scratch.store.archives().unwrap()[0].place, Some(beside.clone()));
    assert_eq!(scratch.store.load(&id(1)).unwrap(), long_session(1));
    check_sound(&scratch);
    // Where none has its size, the first is told to be another.
    std::fs::write(&beside, "something else").unwrap();
    assert_eq!(scratch.store.archives().unwrap()[0].place, Some(path));
}

#[test]
fn without_its_archive_a_session_says_where_its_raw_data_went_and_all_else_works() {
    let mut scratch = filled();
    let rows = scratch.store.list(&ListFilter::default()).unwrap();
    let path = archive_all(&mut scratch, "old.archive").path;
    std::fs::remove_file(&path).unwrap();
    let error = scratch.store.load(&id(1)).unwrap_err().to_string();
    assert_eq!(error, format!("its raw data lie in the archive `{}`, which is not there", path.display()));
    let (digest, _) = imported();
    let read = scratch.store.source(&digest).unwrap().read_to_end(&mut Vec::new());
    assert!(read.unwrap_err().to_string().contains(&path.display().to_string()));
    assert_eq!(scratch.store.list(&ListFilter::default()).unwrap(), rows);
    assert_eq!(scratch.store.load(&id(2)).unwrap(), session(2));
    // What a document said lies in its body: its file alone left.
    assert_eq!(scratch.store.load(&id(3)).unwrap(), import(3).0);
    let verification = scratch.store.verify(None).unwrap();
    assert_eq!((verification.findings, verification.out_of_reach), (vec![], 2));
    assert_eq!(verification.archives, [ArchiveCheck { path, blobs: 5, found: false }]);
}

/// Moves everything, changes the archive, and returns what a verification finds.
fn findings_after(change: impl FnOnce(&Path)) -> Vec<Finding> {
    let mut scratch = filled();
    let path = archive_all(&mut scratch, "old.archive").path;
    change(&path);
    assert!(!matches!(scratch.store.load(&id(1)), Ok(session) if session != long_session(1)));
    scratch.store.verify(None).unwrap().findings
}

#[test]
fn an_archive_that_was_changed_is_found_and_never_believed() {
    let sql =
        |sql: &'static str| move |path: &Path| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    let damaged = |finding: &Finding| matches!(finding, Finding::ArchiveDamaged { .. });
    for findings in [
        findings_after(sql("UPDATE blob SET content = X'00', compression = 'none'")),
        findings_after(sql("UPDATE blob SET content = X'00', compression = 'zstd'")),
        findings_after(sql("DELETE FROM blob")),
        findings_after(sql("DROP TABLE blob")),
        findings_after(sql("PRAGMA application_id = 7")),
        findings_after(sql("PRAGMA user_version = 2")),
        findings_after(|path| std::fs::write(path, "no database").unwrap()),
        findings_after(|path| {
            let whole = std::fs::read(path).unwrap();
            std::fs::write(path, &whole[..whole.len() / 2]).unwrap();
        }),
    ] {
        assert!(damaged(&findings[0]), "{findings:?}");
    }
    // What is not looked for changes the size or the digest of the file alone.
    for (change, words) in [
        ("CREATE TABLE other (x)", " are recorded"),
        ("UPDATE origin SET created_at = created_at + 1", "the digest of the file is "),
    ] {
        let findings = findings_after(sql(change));
        assert!(findings.len() == 1 && damaged(&findings[0]), "{findings:?}");
        let sentence = findings[0].to_string();
        assert!(sentence.contains("does not hold what left the store: the "), "{sentence}");
        assert!(sentence.contains(words), "{sentence}");
    }
}

#[test]
fn a_row_that_says_something_else_of_what_left_is_found_by_the_chain() {
    let digest = "0".repeat(64);
    for tamper in [
        format!("UPDATE archived SET digest = '{digest}'"),
        "UPDATE archived SET bytes = bytes + 1".to_owned(),
        "DELETE FROM archived WHERE subject LIKE 'repetition:%:1'".to_owned(),
    ] {
        let mut scratch = filled();
        archive_all(&mut scratch, "a");
        let raw = scratch.raw();
        raw.execute_batch(&format!(
            "DROP TRIGGER archived_is_never_updated; DROP TRIGGER archived_is_never_deleted; {tamper}"
        ))
        .unwrap();
        let changed = Finding::RowChanged { subject: format!("repetition:{}:1", id(1)) };
        let findings = scratch.store.verify(None).unwrap().findings;
        assert!(findings.contains(&changed), "{tamper}: {findings:?}");
    }
}

#[test]
fn an_archive_can_be_read_without_lab() {
    let mut scratch = filled();
    let path = archive_all(&mut scratch, "old.archive").path;
    let plain = Connection::open(path).unwrap();
    let id_and_version: (i32, i32) = plain
        .query_row("SELECT * FROM pragma_application_id, pragma_user_version", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(id_and_version, (0x6c61_6241, 1));
    let version: String = plain.query_row("SELECT lab_version FROM origin", [], |row| row.get(0)).unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let mut statement =
        plain.prepare("SELECT subject, digest, bytes, compression, content FROM blob").unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut n_rows = 0;
    while let Some(row) = rows.next().unwrap() {
        let (digest, bytes): (String, i64) = (row.get(1).unwrap(), row.get(2).unwrap());
        let (compression, content): (String, Vec<u8>) = (row.get(3).unwrap(), row.get(4).unwrap());
        let blob = match compression.as_str() {
            "zstd" => zstd::stream::decode_all(content.as_slice()).unwrap(),
            _ => content,
        };
        assert_eq!((Digest::of(&blob).to_string(), stored(blob.len() as u64)), (digest, bytes));
        n_rows += 1;
    }
    assert_eq!(n_rows, 5);
}
