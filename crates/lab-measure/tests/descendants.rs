//! What a program leaves running. One test alone: a process that is handed the children of others is handed all of them.

use std::process::Command;
use std::time::Duration;

use lab_measure::command::{Descendants, GRACE, Run};

#[test]
fn what_a_program_leaves_running_is_found_wherever_it_went_and_ended_and_nothing_else_is() {
    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    let mut descendants = Descendants::from_now_on("/proc").unwrap();
    // It says when it has a session of its own, and the program waits for that.
    let away = "setsid sh -c 'echo 1 > \"$LAB_ROWS_FILE\"; exec sleep 60' & until [ -s \"$LAB_ROWS_FILE\" ]; do :; done";
    for (script, n_left) in [
        (":", 0),
        ("sleep 60 & exit 0", 1),
        // The parent of the second one ends before the program does.
        ("sleep 60 & (sleep 60 &) ; exit 3", 2),
        (away, 1),
    ] {
        Run::new(["sh", "-c", script]).carry_out().unwrap();
        assert_eq!(descendants.living().len(), n_left, "{script}");
        assert_eq!(descendants.end(GRACE), Ok(n_left), "{script}");
        assert_eq!(descendants.living(), [], "{script}");
    }
    // One that ends by itself in a moment is let be.
    Run::new(["sh", "-c", "sleep 0.05 & exit 0"]).carry_out().unwrap();
    assert_eq!(descendants.end(GRACE), Ok(0));
    // Orphans that end while the program runs do not pile up as zombies.
    let count = "for i in 1 2 3 4 5 6 7 8 9; do (true &); done; sleep 0.5; n=1; \
                 for stat in /proc/[0-9]*/stat; do read -r pid name state parent rest < $stat || continue; \
                 [ \"$state$parent\" != \"Z$PPID\" ] || n=$((n+1)); done; echo $n > \"$LAB_ROWS_FILE\"";
    let finished = Run { adopts: true, ..Run::new(["sh", "-c", count]) }.carry_out().unwrap();
    assert_eq!(finished.rows_reported.unwrap(), Some(1), "zombies and one");
    // One that does not hear the request is killed.
    Run::new(["sh", "-c", "trap '' TERM; sleep 60 & exit 0"]).carry_out().unwrap();
    assert_eq!(descendants.end(Duration::from_millis(20)), Ok(1));
    assert_eq!(descendants.living(), []);

    assert!(stranger.try_wait().unwrap().is_none(), "it was there before");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
