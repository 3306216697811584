//! Every probe on trees in which one file at a time is spoilt: no panic, no answer that is no number.

use std::fs;
use std::path::{Path, PathBuf};

use lab_core::observation::{Conditions, ProcessCounters};
use lab_host::cpu::Cpu;
use lab_host::machine::Machine;
use lab_host::memory::Memory;
use lab_host::{Roots, conditions, cpu, doctor, machine, memory, process};

const GARBAGE: &[&[u8]] = &[
    b"",
    b"\0\xff\xfe:\n::\n-\n",
    b"18446744073709551615",
    b"-1",
    b"NaN",
    b"0-4294967295",
    b"cpu  18446744073709551615 18446744073709551615 1 1 1 1 1 18446744073709551615\n",
    b"processor: 0\nprocessor: 0\nflags: \nMemTotal: 1 kB\nSwapTotal: 0 kB\nSwapFree: 18014398509481983 kB\n",
];

#[test]
fn a_spoilt_file_on_bare_metal_costs_its_own_facts_and_no_more() {
    spoil_each_file("laptop");
}

#[test]
fn a_spoilt_file_in_a_guest_costs_its_own_facts_and_no_more() {
    spoil_each_file("guest");
}

#[track_caller]
fn spoil_each_file(tree: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(tree);
    let files = copy(&original, directory.path());
    let roots = Roots::new(directory.path().join("proc"), directory.path().join("sys"));
    for file in files.into_iter().filter(|file| !describes_another_cpu(file)) {
        let content = fs::read(&file).expect("the copy is readable");
        let half = &content[..content.len() / 2];
        for garbage in GARBAGE.iter().copied().chain([half]) {
            fs::write(&file, garbage).expect("the copy is writable");
            check_every_probe(&roots, &file, garbage);
        }
        fs::write(&file, content).expect("the copy is writable");
    }
}

/// An answer that is not finite would not survive JSON, and one without a reason would be empty.
#[track_caller]
fn check_every_probe(roots: &Roots, file: &Path, garbage: &[u8]) {
    let blame = format!("{} held {:?}", file.display(), String::from_utf8_lossy(garbage));
    check_json::<Cpu>(&cpu::probe(roots), &blame);
    check_json::<Memory>(&memory::probe(roots), &blame);
    check_json::<Machine>(&machine::probe(roots), &blame);
    check_json::<Conditions>(&conditions::probe(roots, &[0]), &blame);
    if let Ok(counted) = process::counters(roots, 4242) {
        check_json::<ProcessCounters>(&counted, &blame);
    }
    assert_ne!(memory::usable_memory(roots), Ok(0), "{blame}");
    for capability in doctor::examine(roots, None) {
        if let doctor::Status::Unavailable { reason, .. } = &capability.status {
            assert!(!reason.is_empty(), "{} after {blame}", capability.name);
        }
    }
}

#[track_caller]
fn check_json<T>(facts: &T, blame: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let text = serde_json::to_string(facts).expect("facts serialise");
    let back: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{blame}: {error} in {text}"));
    assert_eq!(&back, facts, "{blame}");
}

/// The CPUs after the first are read by the same code; spoiling their files as well only takes time.
fn describes_another_cpu(file: &Path) -> bool {
    let is_another =
        |name: &str| name.strip_prefix("cpu").is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n > 0));
    file.components().any(|part| is_another(&part.as_os_str().to_string_lossy()))
}

/// Copies a tree and returns the copied files.
fn copy(from: &Path, to: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(to).expect("the temporary directory is ours");
    let mut copied = Vec::new();
    for entry in fs::read_dir(from).expect("the fixture is there") {
        let source = entry.expect("the fixture is readable").path();
        let target = to.join(source.file_name().expect("an entry has a name"));
        if source.is_dir() {
            copied.extend(copy(&source, &target));
        } else {
            fs::copy(&source, &target).expect("the fixture is readable");
            copied.push(target);
        }
    }
    copied
}
