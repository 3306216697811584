//! Memory that a real process tree holds while it is looked at.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use lab_measure::Interval;
use lab_measure::tree::Tree;
use lab_measure::watch::{Past, Watch};

#[test]
fn memory_held_by_a_grandchild_is_seen_and_is_gone_with_it() {
    // The inner shell holds some 20 MB in a variable, says so, and waits until its input is closed.
    let inner = "held=$(head -c 20000000 /dev/zero | tr '\\0' x); echo ready; read -r end; : \"$held\"";
    let mut child = Command::new("sh")
        .args(["-c", "sh -c \"$1\"; exit $?", "outer", inner])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");

    let mut tree = Tree::new("/proc", child.id());
    let seen = tree.look();
    assert_eq!(seen.len(), 2, "the two shells: {seen:?}");
    let highest = seen.iter().map(|own| own.resident_bytes).max().unwrap();
    assert!(highest > 20_000_000, "{seen:?}");
    let inner = seen.iter().find(|own| own.resident_bytes == highest).unwrap();
    assert_ne!(inner.process.pid, child.id());

    let watch = Watch::start(Tree::new("/proc", child.id()), Interval::default(), Past::Counted).unwrap();
    let peak = watch.stop();
    assert!(peak.sampled_bytes > Some(20_000_000) && peak.kernel_bytes > Some(20_000_000), "{peak:?}");

    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(tree.look().is_empty());
}
