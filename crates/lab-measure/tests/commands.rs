//! Real programs, run and measured: how they end, what they report, what they are given.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml permits it in test functions; here every function is part of a test"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use lab_measure::command::{
    CommandError, Finished, Redirect, ReportError, RowsChannel, Run, waited_for_cpu_ns,
};

/// Runs a script of the shell.
fn shell(script: &str) -> Run {
    Run::new(["sh", "-c", script])
}

fn finished(script: &str) -> Finished {
    shell(script).carry_out().unwrap()
}

#[test]
fn the_exit_status_passes_through_and_a_signal_counts_from_128() {
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -KILL $$", 137)] {
        let finished = finished(script);
        assert_eq!(finished.exit_code(), code, "{script}");
        assert!(finished.elapsed_ns > 0 && finished.passed_on.is_empty(), "{finished:?}");
    }
}

#[test]
fn the_cpu_time_of_a_program_and_of_what_it_waited_for_is_counted() {
    let before_ns = waited_for_cpu_ns().unwrap();
    let count = "n=0; while [ $n -lt 100000 ]; do n=$((n + 1)); done";
    assert_eq!(
        Run::new(["sh", "-c", "sh -c \"$1\"; exit 0", "sh", count]).carry_out().unwrap().exit_code(),
        0
    );
    // Far more than starting two shells takes, on any machine.
    assert!(waited_for_cpu_ns().unwrap() - before_ns > 5_000_000);
}

#[test]
fn words_reach_the_program_as_they_are() {
    let script = "[ $# = 2 ] && [ \"$1\" = '$HOME *' ] && [ \"$2\" = '' ]";
    let finished = Run::new(["sh", "-c", script, "name", "$HOME *", ""]).carry_out().unwrap();
    assert_eq!(finished.exit_code(), 0);
}

#[test]
fn the_environment_is_ours_and_what_is_added() {
    let mut run = shell("[ \"$LAB_TEST_ADDED\" = yes ] && [ -n \"$PATH\" ]");
    run.environment.push(("LAB_TEST_ADDED".into(), "yes".into()));
    assert_eq!(run.carry_out().unwrap().exit_code(), 0);
}

#[test]
fn standard_output_can_be_moved_to_standard_error() {
    // A file that the program inherits tells where its output went: 1 where both are the same.
    let mut run = shell("[ /proc/self/fd/1 -ef /proc/self/fd/2 ] && echo 1 > \"$LAB_ROWS_FILE\"");
    run.stdout = Redirect::ToStderr;
    assert_eq!(run.carry_out().unwrap().rows_reported.unwrap(), Some(1));
}

#[test]
fn rows_are_reported_by_file_by_descriptor_or_not_at_all() {
    for (script, rows) in [
        ("echo 100 > \"$LAB_ROWS_FILE\"", Some(100)),
        ("printf 7 >> \"$LAB_ROWS_FILE\"", Some(7)),
        ("echo 12 >> \"/proc/self/fd/$LAB_ROWS_FD\"", Some(12)),
        ("echo 1 > \"$LAB_ROWS_FILE\"; echo 2 >> \"/proc/self/fd/$LAB_ROWS_FD\"; exit 1", Some(2)),
        ("sh -c 'echo 5 >> \"$LAB_ROWS_FILE\"'", Some(5)),
        ("rm \"$LAB_ROWS_FILE\"", None),
        (":", None),
    ] {
        assert_eq!(finished(script).rows_reported.unwrap(), rows, "{script}");
    }
}

#[test]
fn a_report_that_is_no_number_is_quoted_and_the_run_is_measured_all_the_same() {
    let finished = finished("echo 'about 100' > \"$LAB_ROWS_FILE\"");
    assert_eq!(finished.exit_code(), 0);
    assert!(finished.peak.bytes().is_some());
    match finished.rows_reported {
        Err(ReportError::NotANumber { line }) => assert_eq!(line, "about 100"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_takes_the_place_of_the_file_of_rows_is_read_if_it_is_a_file_and_never_waited_for() {
    let rows = |script: &str| finished(script).rows_reported;
    let moved = "echo 9 > \"$LAB_ROWS_FILE.new\"; mv \"$LAB_ROWS_FILE.new\" \"$LAB_ROWS_FILE\"";
    assert_eq!(rows(moved).unwrap(), Some(9));
    let pipe = rows("rm \"$LAB_ROWS_FILE\"; mkfifo \"$LAB_ROWS_FILE\"");
    assert!(matches!(pipe, Err(ReportError::NotAFile)), "{pipe:?}");
    let to_itself = rows("rm \"$LAB_ROWS_FILE\"; ln -s \"$LAB_ROWS_FILE\" \"$LAB_ROWS_FILE\"");
    assert!(matches!(to_itself, Err(ReportError::Unreadable { .. })), "{to_itself:?}");
}

#[test]
fn a_program_that_may_not_report_finds_no_way_to() {
    let mut run = shell("[ -z \"$LAB_ROWS_FILE$LAB_ROWS_FD\" ]");
    run.rows = RowsChannel::Closed;
    let finished = run.carry_out().unwrap();
    assert_eq!(finished.exit_code(), 0);
    assert_eq!(finished.rows_reported.unwrap(), None);
}

#[test]
fn a_program_has_a_process_group_of_its_own() {
    let script = "read -r line < /proc/self/stat; set -- ${line##*\\)}; [ \"$3\" = \"$$\" ]";
    assert_eq!(finished(script).exit_code(), 0);
}

#[test]
fn a_program_that_takes_longer_than_it_may_is_asked_to_end_and_a_short_one_is_left_alone() {
    let mut run = Run::new(["sleep", "600"]);
    run.limit = Some(Duration::from_millis(50));
    let ended = run.carry_out().unwrap();
    assert!(ended.timed_out && ended.elapsed_ns < 60_000_000_000, "{ended:?}");
    assert_eq!(ended.exit_code(), 128 + 15);
    assert!(ended.passed_on.is_empty(), "nobody else sent a signal: {ended:?}");
    let mut run = shell("exit 4");
    run.limit = Some(Duration::from_secs(600));
    let ended = run.carry_out().unwrap();
    assert_eq!((ended.exit_code(), ended.timed_out), (4, false));
}

#[track_caller]
fn check_refusal(program: &Path, code: u8, message: &str) {
    let error = Run::new([program.as_os_str()]).carry_out().unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` {message}", program.display()));
    assert_eq!(error.exit_code(), Some(code));
}

#[test]
fn a_program_that_cannot_be_started_is_refused_as_shells_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let orphan = file("orphan", "#!/nowhere/interpreter\n", 0o755);
    let plain = file("plain", "#!/bin/sh\n", 0o644);
    check_refusal(
        Path::new("lab-no-such-program"),
        127,
        "was not found: no folder of `PATH` has it, or its interpreter is missing",
    );
    check_refusal(&directory.path().join("absent"), 127, "was not found: there is no such file");
    check_refusal(
        &orphan,
        127,
        "was not found: the file is there, but not the interpreter or the loader that it asks for",
    );
    check_refusal(&plain, 126, "cannot be started");
    check_refusal(directory.path(), 126, "cannot be started");
}

#[test]
fn nothing_to_run_is_refused() {
    let error = Run::new(Vec::<String>::new()).carry_out().unwrap_err();
    assert!(matches!(error, CommandError::Nothing), "{error:?}");
    assert_eq!(error.exit_code(), None);
}

#[test]
fn without_procfs_a_run_is_measured_by_the_kernels_account() {
    let mut run = shell(":");
    run.procfs = "/nowhere".into();
    let peak = run.carry_out().unwrap().peak;
    assert_eq!((peak.sampled_bytes, peak.kernel_bytes, peak.samples), (None, None, 0));
    assert!(peak.bytes() > Some(100_000), "{peak:?}");
}
