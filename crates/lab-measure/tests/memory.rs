//! The kernel's own peak of children. One test alone: the figure is a running maximum over all children of a
//! process.

use std::time::Duration;

use lab_measure::Interval;
use lab_measure::command::Run;

#[test]
fn a_peak_between_two_samples_is_seen_by_the_kernel() {
    // tail holds all it is asked for until its input ends; looks come after powers of two of milliseconds and may miss it.
    let script = "head -c 64000000 /dev/zero | tail -c 64000000 | wc -c > /dev/null";
    let mut run = Run::new(["sh", "-c", script]);
    run.interval = Interval::new(Duration::from_secs(60)).unwrap();
    let finished = run.carry_out().unwrap();
    assert_eq!(finished.exit_code(), 0);
    let peak = finished.peak;
    assert!(peak.kernel_bytes > Some(60_000_000), "{peak:?}");
    assert!(peak.bytes() > Some(60_000_000) && peak.bytes() < Some(200_000_000), "{peak:?}");
}
