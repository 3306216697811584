//! Signals on their way to the program. One test alone: a signal reaches every run of a process.

use lab_measure::command::Run;

#[test]
fn a_signal_to_this_process_ends_the_program_and_what_it_started_and_the_run_is_measured() {
    // The program asks this process to end, then waits far longer than any test. With `exec` it is one process;
    // without, the shell and what it waits for; and a program that is stopped hears the signal, too.
    for script in [
        "kill -TERM \"$PPID\"; exec sleep 600",
        "kill -TERM \"$PPID\"; sleep 600; exit 0",
        "kill -TERM \"$PPID\"; kill -STOP $$; exec sleep 600",
    ] {
        let finished = Run::new(["sh", "-c", script]).carry_out().unwrap();
        assert_eq!(finished.exit_code(), 128 + 15, "{script}");
        assert_eq!(finished.passed_on, [15], "{script}");
        assert!(finished.elapsed_ns < 60_000_000_000, "{script}");
        assert!(finished.peak.bytes().is_some());
    }
}
