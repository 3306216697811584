use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::*;

const THEN: &str = "2026-11-22T12:00:00Z";
const WRITER_FOLDER: &str = "LAB_TEST_BANDWIDTH_FOLDER";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn key() -> Key {
    Key { hardware: "ab".repeat(32), cores: vec![2, 0], threads: 2 }
}

fn path_in(folder: &Path) -> PathBuf {
    folder.join(key().normalised().file_name())
}

/// What a measurement gives on a quiet machine.
fn quiet(bytes_per_second: u64) -> Result<Measured, Unavailable> {
    Ok(Measured { bytes_per_second, others_share: Some(0.01) })
}

/// A folder that remembers 1000 bytes a second at `THEN`.
fn remembering() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    load_or_measure(folder.path(), &key(), at(THEN), || quiet(1_000)).unwrap();
    folder
}

/// Asks at `now` with a measurement that would give 2000, and expects this answer and date.
#[track_caller]
fn check(folder: &Path, key: &Key, now: &str, bytes_per_second: u64, measured_at: &str) {
    let found = load_or_measure(folder, key, at(now), || quiet(2_000)).unwrap();
    let expected = MemoryBandwidth { bytes_per_second, threads: key.threads, measured_at: at(measured_at) };
    assert_eq!(found, expected);
}

#[test]
fn a_fresh_figure_is_remembered_for_a_day() {
    let folder = remembering();
    for now in [THEN, "2026-11-22T12:00:01Z", "2026-11-23T12:00:00Z"] {
        check(folder.path(), &key(), now, 1_000, THEN);
    }
}

#[test]
fn an_old_figure_and_one_from_the_future_are_measured_anew_and_replaced() {
    for now in ["2026-11-23T12:00:00.000000001Z", "2027-11-22T12:00:00Z", "2026-11-22T11:59:59Z"] {
        let folder = remembering();
        check(folder.path(), &key(), now, 2_000, now);
        let again = load_or_measure(folder.path(), &key(), at(now), || quiet(3_000)).unwrap();
        assert_eq!(again.bytes_per_second, 2_000);
    }
}

#[test]
fn a_damaged_file_is_measured_anew() {
    let folder = remembering();
    let path = path_in(folder.path());
    let whole = fs::read_to_string(&path).unwrap();
    let damages = [
        String::new(),
        whole[..whole.len() / 2].to_owned(),
        whole.replace("1000", "-1000"),
        whole.replace("1000", "0"),
        whole.replace(".v1", ".v2"),
        whole.replace("abab", "acab"),
        whole.replace(THEN, "yesterday"),
        whole.replace("\"format\"", "\"unknown\": 1, \"format\""),
    ];
    for damaged in damages {
        assert_ne!(damaged, whole);
        fs::write(&path, &damaged).unwrap();
        let found = load_or_measure(folder.path(), &key(), at(THEN), || quiet(2_000)).unwrap();
        assert_eq!(found.bytes_per_second, 2_000, "{damaged}");
    }
    fs::write(&path, [0xff, 0xfe]).unwrap();
    check(folder.path(), &key(), THEN, 2_000, THEN);
}

#[test]
fn other_cores_threads_or_hardware_have_their_own_figure() {
    let folder = remembering();
    for other in [
        Key { cores: vec![0, 3], ..key() },
        Key { threads: 1, ..key() },
        Key { hardware: "cd".repeat(32), ..key() },
        Key { hardware: "../../outside".to_owned(), ..key() },
    ] {
        check(folder.path(), &other, THEN, 2_000, THEN);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
    check(folder.path(), &Key { cores: vec![0, 2, 2], ..key() }, THEN, 1_000, THEN);
}

#[test]
fn a_folder_that_cannot_be_written_costs_a_measurement_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    // Not even a superuser creates files in either.
    for unwritable in [file.as_path(), &file.join("below"), Path::new("/proc/self/fdinfo")] {
        check(unwritable, &key(), THEN, 2_000, THEN);
        check(unwritable, &key(), THEN, 2_000, THEN);
    }
}

#[test]
fn a_folder_that_does_not_exist_is_made() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("cache/host");
    check(&folder, &key(), THEN, 2_000, THEN);
    assert!(path_in(&folder).is_file());
}

#[test]
fn a_failed_measurement_is_passed_on_and_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let failed = load_or_measure(folder.path(), &key(), at(THEN), || Err(Unavailable::new("no memory")));
    assert_eq!(failed.unwrap_err().to_string(), "no memory");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_figure_that_others_disturbed_is_given_and_not_remembered() {
    for (others_share, is_remembered) in
        [(None, true), (Some(0.0), true), (Some(0.05), true), (Some(0.051), false), (Some(2.0), false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let measure = || Ok(Measured { bytes_per_second: 1_000, others_share });
        let found = load_or_measure(folder.path(), &key(), at(THEN), measure).unwrap();
        assert_eq!(found.bytes_per_second, 1_000);
        assert_eq!(path_in(folder.path()).exists(), is_remembered, "{others_share:?}");
    }
}

/// Plays both parts: started without the folder it starts the writers, with it it is one of them.
#[test]
fn two_processes_that_write_at_once_leave_a_whole_file_at_every_moment() {
    if let Some(folder) = std::env::var_os(WRITER_FOLDER) {
        write_many_times(Path::new(&folder));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = path_in(folder.path());
    let mut writers = [start_writer(folder.path()), start_writer(folder.path())];
    let mut n_whole = 0;
    while writers.iter_mut().any(|writer| writer.try_wait().unwrap().is_none()) {
        if let Ok(text) = fs::read(&path) {
            serde_json::from_slice::<File>(&text).unwrap();
            n_whole += 1;
        }
    }
    assert!(writers.iter_mut().all(|writer| writer.wait().unwrap().success()));
    assert!(n_whole > 0, "the file was never seen");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn start_writer(folder: &Path) -> Child {
    let name = std::thread::current().name().unwrap().to_owned();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &name]).env(WRITER_FOLDER, folder).stdout(Stdio::null()).spawn().unwrap()
}

fn write_many_times(folder: &Path) {
    let step = SignedDuration::from_hours(25);
    let mut now = at(THEN);
    for round in 1..=300 {
        // Each round is too late for the file of the one before it, so that it writes.
        now = now.checked_add(step).unwrap();
        let found = load_or_measure(folder, &key(), now, || quiet(round)).unwrap();
        assert!(found.bytes_per_second > 0);
    }
}
