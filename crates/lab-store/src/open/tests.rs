//! Which files open, in which mode, and which are refused with which sentence.

use std::sync::Barrier;
use std::thread;

use super::*;
use crate::fixture::{id, launch, record, scratch, session};

/// A file in a folder of its own.
fn file_with(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lab.sqlite");
    std::fs::write(&path, content).unwrap();
    (folder, path)
}

/// Checks that every way to open refuses a path with the same sentence, `{}` standing for the path, and leaves the file
/// as it was.
#[track_caller]
fn check_refused(path: &Path, sentence: &str) {
    let sentence = sentence.replace("{}", &path.display().to_string());
    let before = std::fs::read(path).ok();
    for open in [Store::open, Store::open_existing, Store::open_read_only] {
        assert_eq!(open(path).unwrap_err().to_string(), sentence);
    }
    assert_eq!(std::fs::read(path).ok(), before);
}

#[test]
fn a_store_is_created_with_the_folder_it_lies_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results/deep/lab.sqlite");
    let store = Store::open(&path).unwrap();
    assert_eq!((store.mode(), store.path()), (Mode::ReadWrite, path.as_path()));
    assert_eq!(store.head().unwrap(), crate::chain::genesis());
    let journal: String =
        store.connection().pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(journal, "wal");
}

#[test]
fn only_open_creates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.sqlite");
    for open in [Store::open_existing, Store::open_read_only] {
        let sentence = format!("there is no store at `{}`", path.display());
        assert_eq!(open(&path).unwrap_err().to_string(), sentence);
        assert!(!path.exists());
    }
}

#[test]
fn an_empty_file_becomes_a_store_only_when_one_may_be_created() {
    let (_folder, path) = file_with(b"");
    for open in [Store::open_existing, Store::open_read_only] {
        let sentence = format!("`{}` is an empty file, not a store", path.display());
        assert_eq!(open(&path).unwrap_err().to_string(), sentence);
    }
    assert_eq!(Store::open(&path).unwrap().mode(), Mode::ReadWrite);
}

#[test]
fn a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    check_refused(folder.path(), "`{}` is a folder, not a store file");
}

#[test]
fn a_device_is_refused() {
    check_refused(Path::new("/dev/null"), "`{}` is no regular file, so it cannot be a store");
}

#[test]
fn a_path_through_a_file_is_refused() {
    let (_folder, path) = file_with(b"x");
    let error = Store::open(&path.join("lab.sqlite")).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
}

#[test]
fn a_file_that_is_not_sqlite_is_refused_with_its_beginning() {
    let long = b"# Results\n\0".repeat(500);
    let (_folder, path) = file_with(&long);
    check_refused(
        &path,
        r"`{}` is not a store: it is no SQLite file (it begins with `# Results\n\x00# Res`)",
    );
    let (_folder, path) = file_with(b"short");
    check_refused(&path, "`{}` is not a store: it is no SQLite file (it begins with `short`)");
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let (_folder, path) = file_with(b"");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    check_refused(
        &path,
        "`{}` is an SQLite database of another program (application id 0x00000000, expected 0x6c616231)",
    );
    other.pragma_update(None, "application_id", 0x1234_abcd).unwrap();
    check_refused(
        &path,
        "`{}` is an SQLite database of another program (application id 0x1234abcd, expected 0x6c616231)",
    );
}

#[test]
fn a_truncated_store_is_refused_as_damaged() {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    let path = scratch.path.clone();
    scratch.store = Store::open(&path.with_file_name("other.sqlite")).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in [10, 100, 511, 5_000, whole.len() / 2, whole.len() - 4_096] {
        let (_folder, path) = file_with(&whole[..length]);
        let error = Store::open(&path).expect_err(&length.to_string());
        assert!(matches!(error, StoreError::Damaged { .. }), "{length}: {error}");
        assert_eq!(std::fs::read(&path).unwrap(), whole[..length]);
    }
}

#[test]
fn a_newer_store_opens_for_reading_and_says_why() {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    scratch.raw().pragma_update(None, "user_version", 99).unwrap();
    for open in [Store::open, Store::open_existing, Store::open_read_only] {
        let mut store = open(&scratch.path).unwrap();
        let reason = ReadOnlyReason::Newer { found: 99, known: known_schema() };
        assert_eq!(store.mode(), Mode::ReadOnly { reason });
        assert_eq!(store.load(&id(1)).unwrap(), session(1));
        let why = "was written by a newer lab (schema 99, this one knows 6); use that lab, or record into another \
                   store";
        let place = scratch.path.display();
        assert_eq!(
            store.append_launch(id(1), &launch(9)).unwrap_err().to_string(),
            format!("nothing can be recorded into the store `{place}`: it {why}")
        );
        assert_eq!(store.verify(None).unwrap_err().to_string(), format!("the store `{place}` {why}"));
    }
}

#[test]
fn an_older_store_is_not_read_before_it_is_brought_up_to_date() {
    let scratch = scratch();
    scratch.raw().pragma_update(None, "user_version", 0).unwrap();
    let error = Store::open_read_only(&scratch.path).unwrap_err();
    let expected = format!(
        "the store `{}` has schema 0, this lab needs 6: open it once for writing to bring it up to date",
        scratch.path.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn many_processes_may_create_one_store_at_once() {
    const OPENERS: usize = 8;
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lab.sqlite");
        let start = Barrier::new(OPENERS);
        thread::scope(|scope| {
            for _ in 0..OPENERS {
                scope.spawn(|| {
                    start.wait();
                    assert_eq!(Store::open(&path).unwrap().mode(), Mode::ReadWrite);
                });
            }
        });
        assert!(Store::open(&path).unwrap().verify(None).unwrap().is_sound());
    }
}

#[test]
fn a_store_on_a_medium_that_nobody_can_write_to_opens_as_immutable() {
    let mut scratch = scratch();
    record(&mut scratch.store, &session(1));
    let odd = scratch.path.with_file_name("a b?c#%41ü.sqlite");
    scratch.store = Store::open(&scratch.path.with_file_name("other.sqlite")).unwrap();
    std::fs::rename(&scratch.path, &odd).unwrap();
    let connection = connect_immutable(&odd).unwrap();
    let sessions: u32 = connection.query_row("SELECT count(*) FROM session", [], |row| row.get(0)).unwrap();
    assert_eq!(sessions, 1);
    assert!(!log_of(&odd).exists());
}

#[test]
fn a_file_name_is_never_taken_for_a_word_of_sqlite() {
    assert_eq!(immutable_uri(Path::new("/a b/:memory:")), "file:/a%20b/%3amemory%3a?immutable=1");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file:x?mode=memory");
    drop(Store::open(&path).unwrap());
    assert!(path.exists());
}
