//! `lab ab` with plans that run commands: pairs of launches, one after the other.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Lab, Ran, wait_for};
use crate::plan::Plan;
use crate::schema;

/// Five per cent of the time, for what is to be told apart.
const NARROW: &str = "{ percent = 5 }";
/// More than anything here takes, for what is about something else.
const WIDE: &str = "{ absolute = 60 }";

/// A plan that runs these words, beside other tests: what those take of the machine is admitted.
fn plan(words: &[&str], tolerance: &str) -> String {
    format!(
        "version = 1\nname = \"own\"\n[command]\nrun = {words:?}\nrows = 3\ninterval_s = 0.01\n\
         [run]\nwarmup = 0\n[tolerances]\nelapsed_sec = {tolerance}\n\
         [gate]\nadmit = [\"steal\", \"other-load\", \"memory-pressure\", \"swap\", \"throttling\", \"quota\", \
         \"settings\", \"clock-source\"]\n"
    )
}

/// A script of the shell that counts: some ten thousand steps take some tens of milliseconds.
fn count_to(steps: u32) -> String {
    format!("i=0; while [ $i -lt {steps} ]; do i=$((i+1)); done")
}

/// Writes `old.sh` and `new.sh`, and a plan of each.
fn write_two(lab: &Lab, steps: [u32; 2]) {
    for (name, steps) in ["old", "new"].into_iter().zip(steps) {
        lab.write(&format!("{name}.sh"), count_to(steps));
        lab.write(&format!("{name}.toml"), plan(&["sh", &format!("{name}.sh")], NARROW));
    }
}

fn ab(lab: &Lab, words: &[&str]) -> Ran {
    lab.run(&[&["ab", "--seed", "1", "--format", "json"], words].concat())
}

fn report(ran: &Ran) -> Value {
    let report = ran.json();
    schema::assert_fits(&report, "report.v2");
    report
}

#[test]
fn a_script_that_counts_four_times_as_far_is_no_equivalent() {
    let lab = Lab::new();
    write_two(&lab, [30_000, 120_000]);
    let ran =
        ab(&lab, &["old.toml", "new.toml", "--pairs", "10"]).says("engine differs, launches alternating");
    let report = report(&ran);
    // What else the machine does may keep from a verdict, never turn it round.
    assert!(matches!(ran.status, Some(1 | 3)), "{report:#}");
    assert!(matches!(report["conclusion"].as_str(), Some("regressed" | "inconclusive")), "{report:#}");
    assert_eq!((&report["title"], &report["vary"]), (&json!("change experiment"), &json!("engine")));
    let fields: Vec<&str> =
        report["varied"].as_array().unwrap().iter().map(|own| own["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["script"], "the name of the script is told by its digest");
    let paired = &report["paired"];
    assert_eq!((&paired["mode"], &paired["turns"]), (&json!({"kind": "alone"}), &json!(0)));
    let changes = paired["changes"].as_array().unwrap();
    assert!(changes.len() >= 4 && changes.iter().all(|own| own.as_f64().unwrap() < 0.0), "{changes:?}");
    let shown = lab.run(&["show", "@latest"]).exits(0);
    assert!(shown.stdout.contains("old.sh") || shown.stdout.contains("new.sh"), "{shown:#?}");
}

#[test]
fn a_command_against_itself_is_not_called_worse() {
    let lab = Lab::new();
    lab.write("plan.toml", plan(&["sh", "-c", &count_to(30_000)], WIDE));
    let ran = ab(&lab, &["plan.toml", "--pairs", "6"]).exits(0).says("nothing differs");
    let report = report(&ran);
    assert_eq!(report["conclusion"], "equivalent", "{report:#}");
    assert_eq!(report["vary"], Value::Null);
}

#[test]
fn both_sides_are_recorded_and_give_the_same_report_again() {
    let lab = Lab::new();
    let text = plan(&["sh", "-c", "echo x >> count"], WIDE).replace("warmup = 0", "warmup = 2");
    lab.write("plan.toml", text);
    let first = report(&ab(&lab, &["plan.toml", "--pairs", "4", "--fixed"]).exits(0).says("stored as"));
    assert_eq!((&first["conclusion"], &first["paired"]["pairs"]), (&json!("equivalent"), &json!(4)));
    assert_eq!(std::fs::read_to_string(lab.path("count")).unwrap().lines().count(), 2 * (2 + 4));
    let [a, b] = ["baseline", "candidate"].map(|side| first[side]["session"].as_str().unwrap().to_owned());
    let again = lab.run(&["compare", &a, &b, "--format", "json"]).exits(0).json();
    assert_eq!(again, first, "an experiment is judged by its recordings alone");
    let session = lab.newest().unwrap();
    assert_eq!((session.launches.len(), session.repetitions.len(), session.measured().count()), (6, 6, 4));
    lab.run(&["show", &b]).exits(0).prints("side B of").prints("launches alternating, at most 4 pairs");
    lab.run(&["show", &b, "--rederive"]).exits(0).says("0 differ");
    lab.run(&["compare", &a, &b]).exits(0).prints("4 of at most 4");
    lab.run(&["baseline", "set", "main", &a]).exits(2).says("one side of an experiment");
    lab.run(&["verify"]).exits(0).says("sound");
}

#[test]
fn another_program_can_take_the_place_of_the_plans() {
    let lab = Lab::new();
    lab.write("plan.toml", plan(&["sleep", "0.05"], NARROW));
    let ran = ab(&lab, &["plan.toml", "--pairs", "10", "--alternate", "--engine-b", "/bin/true"]);
    let ran = ran.exits(0).says("engine differs");
    let report = report(&ran);
    assert_eq!(report["conclusion"], "improved", "{report:#}");
    assert!(report["varied"].as_array().unwrap().iter().all(|own| own["part"] == "engine"), "{report:#}");
    ab(&lab, &["plan.toml", "--engine-a", "nowhere"]).exits(2).says("`nowhere` is no program");
    lab.write("plain.txt", "");
    ab(&lab, &["plan.toml", "--engine-a", "plain.txt"]).exits(2).says("`plain.txt` may not be executed");
}

#[test]
fn a_command_that_fails_loses_its_pair_and_three_in_a_row_end_it() {
    let lab = Lab::new();
    lab.write("plan.toml", plan(&["sh", "-c", "echo x >> count; test $(wc -l < count) -ne 3"], WIDE));
    let ran = ab(&lab, &["plan.toml", "--pairs", "4", "--fixed"]).exits(3);
    let ran = ran.says("failed: the command ended with status 1");
    let report_of_lost = report(&ran);
    assert_eq!(report_of_lost["paired"]["pairs"], 4, "another pair followed: {report_of_lost:#}");
    assert_eq!(report_of_lost["reservations"][0]["status"], "incomplete", "{report_of_lost:#}");
    lab.write("fails.sh", "exit 3");
    lab.write("works.sh", "exit 0");
    for (name, script) in [("a.toml", "works.sh"), ("b.toml", "fails.sh")] {
        lab.write(name, plan(&["sh", script], WIDE));
    }
    let ran = ab(&lab, &["a.toml", "b.toml"]).exits(5).says("side B: repetition 3 failed");
    assert!(!ran.stderr.contains("side A"), "{ran:#?}");
    assert_eq!(report(&ran)["candidate"]["status"], "failed");
    assert_eq!(lab.newest().unwrap().succeeded().count(), 0);
    lab.run(&["verify"]).exits(0);
}

#[test]
fn ctrl_c_keeps_the_pairs_that_are_complete() {
    let lab = Lab::new();
    let script = "echo x >> count; test $(wc -l < count) -lt 6 || { echo $$ > begun; exec sleep 600; }";
    lab.write("plan.toml", plan(&["sh", "-c", script], WIDE));
    let running = lab.start(&["ab", "plan.toml", "--seed", "1", "--format", "json"]);
    let sleeper = wait_for("the sixth run", || {
        let text = std::fs::read_to_string(lab.path("begun")).ok()?;
        text.strip_suffix('\n')?.parse::<u32>().ok()
    });
    let pid = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let report = report(&running.finish().exits(130));
    for side in ["baseline", "candidate"] {
        let side = &report[side];
        assert_eq!((&side["status"], &side["completed"]), (&json!("interrupted"), &json!(2)), "{report:#}");
    }
    assert_eq!(report["conclusion"], "inconclusive", "whoever stops early shows nothing by it");
    assert!(!Path::new(&format!("/proc/{sleeper}")).exists(), "the command outlived the experiment");
    lab.run(&["verify"]).exits(0);
}

#[test]
fn what_is_about_engines_and_what_would_judge_nothing_is_refused() {
    let lab = Lab::new();
    lab.write("plan.toml", plan(&["true"], WIDE));
    for option in [
        ["--tokens", "8"],
        ["--layouts", "each"],
        ["--delay-b", "uniform:0.1"],
        ["--closing", "2"],
        ["--each-pair", "1"],
    ] {
        let ran = ab(&lab, &[["plan.toml"].as_slice(), &option].concat()).exits(2).prints_nothing();
        ran.says(option[0]).says("about engines");
    }
    lab.write("engine.toml", Plan::scripted().text());
    ab(&lab, &["plan.toml", "engine.toml"]).exits(2).says("`engine.toml` runs none").prints_nothing();
    ab(&lab, &["engine.toml", "plan.toml"]).exits(2).says("asks no engine").prints_nothing();
    lab.write("silent.toml", "version = 1\nname = \"own\"\n[command]\nrun = [\"true\"]\nrows = 3\n");
    ab(&lab, &["silent.toml"]).exits(2).says("has no tolerance").prints_nothing();
    assert!(!lab.store().exists());
}

#[test]
fn commands_that_differ_in_two_parts_are_refused_before_anything_runs() {
    let lab = Lab::new();
    write_two(&lab, [10, 20]);
    lab.write("new.toml", plan(&["sh", "new.sh", "--fast"], NARROW));
    let ran = ab(&lab, &["old.toml", "new.toml"]).exits(4).prints_nothing();
    ran.says("the two sides differ in plan and engine");
    assert!(lab.newest().is_none(), "nothing was recorded");
    lab.write("other.toml", plan(&["sh", "old.sh", "--fast"], NARROW));
    ab(&lab, &["old.toml", "other.toml", "--pairs", "4"]).says("plan differs");
}
