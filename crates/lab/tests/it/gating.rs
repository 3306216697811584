//! `lab gate`: passes, fails, and says why in every format.

use std::path::Path;

use lab_core::fixtures;
use lab_core::record::Session;
use rusqlite::Connection;

use crate::harness::{Lab, Ran};
use crate::schema;

/// Ten launches that differ by 1 % of a gap.
fn session(number: u128, gap_us: u64, gate: &str) -> Session {
    let gaps: Vec<u64> = [3, 7, 0, 9, 5, 1, 8, 2, 6, 4].iter().map(|own| gap_us + own * 20).collect();
    let mut session = fixtures::session(number, &gaps);
    session.header.plan_text = format!(
        "version = 1\nname = \"quick\"\nmodel = {{ name = \"own\", source = {{ path = \"own.gguf\" }} }}\n\
         workload = {{ prompt = {{ random = 4 }}, generate = 4, seed = 1 }}\n{gate}"
    );
    session
}

/// Records a baseline of 20 ms a token and a candidate, and asks the gate.
fn gate(candidate_gap_us: u64, policy: &str, further: &[&str]) -> Ran {
    let lab = Lab::new();
    let (baseline, candidate) = (session(1, 20_000, policy), session(2, candidate_gap_us, ""));
    lab.record(&baseline);
    lab.record(&candidate);
    let ids = [&baseline, &candidate].map(|own| own.header.id.to_string());
    let words = ["gate", "--baseline", &ids[0], "--candidate", &ids[1]];
    lab.run(&[words.as_slice(), further].concat())
}

#[test]
fn a_candidate_passes_fails_or_leaves_the_gate_in_doubt() {
    gate(20_050, "", &[]).exits(0).prints("passed: equivalent: tokens_per_sec");
    gate(22_000, "", &[]).exits(1).prints("failed: regressed: tokens_per_sec");
    gate(18_000, "", &[]).exits(0).prints("passed: improved: tokens_per_sec");
    // 3 % slower: the interval reaches over the end of the tolerance.
    gate(20_880, "", &[]).exits(3).prints("failed: inconclusive: tokens_per_sec");
}

#[test]
fn the_plan_of_the_baseline_says_what_passes() {
    let lenient = "[gate]\ninconclusive = \"pass\"";
    gate(20_880, lenient, &[]).exits(0).prints("passed: inconclusive");
    gate(22_000, lenient, &[]).exits(1);
    let tight = "[tolerances]\nttft_ms = { percent = 1 }\n[gate]\nmetrics = [\"ttft_ms\"]";
    // The fixture's header carries no tolerance of its own, so nothing is left to judge: that is no pass.
    gate(20_050, tight, &[]).exits(4).prints("no metric with a tolerance has a value on both sides");
}

#[test]
fn json_fits_its_schema_and_every_format_says_the_same() {
    let document = gate(22_000, "", &["--format", "json"]).exits(1).json();
    schema::assert_fits(&document, "gate.v1");
    assert_eq!(document["passed"], false);
    let junit = gate(22_000, "", &["--format", "junit"]).exits(1);
    junit
        .prints("<testsuites name=\"lab gate\"")
        .prints("failures=\"1\"")
        .prints("<failure message=\"tokens_per_sec changed by")
        .prints("type=\"regressed\"");
    let markdown = gate(22_000, "", &["--format", "markdown"]).exits(1);
    markdown.prints("| engine.v0.1/tokens_per_sec |").prints("failed: regressed");
    let github = gate(22_000, "", &["--format", "github"]).exits(1);
    github
        .prints("::error title=engine.v0.1/tokens_per_sec::")
        .prints("::error title=lab gate::failed: regressed");
    let skipped = gate(20_880, "[gate]\ninconclusive = \"pass\"", &["--format", "junit"]).exits(0);
    skipped.prints("<skipped message=");
}

#[test]
fn github_gets_a_step_summary_where_it_asks_for_one() {
    let lab = Lab::new();
    let (baseline, candidate) = (session(1, 20_000, ""), session(2, 20_050, ""));
    lab.record(&baseline);
    lab.record(&candidate);
    let id = baseline.header.id.to_string();
    let mut command = lab.command(&["gate", "--baseline", &id, "--format", "github"]);
    command.env("GITHUB_STEP_SUMMARY", lab.path("summary.md"));
    Ran::of(command).exits(0).prints("::notice title=lab gate::passed");
    let summary = std::fs::read_to_string(lab.path("summary.md")).unwrap();
    assert!(summary.contains("passed: equivalent"), "{summary}");
}

#[test]
fn a_summary_that_cannot_be_written_costs_no_verdict() {
    let lab = Lab::new();
    let (baseline, candidate) = (session(1, 20_000, ""), session(2, 22_000, ""));
    lab.record(&baseline);
    lab.record(&candidate);
    let id = baseline.header.id.to_string();
    let gate = |summary: &Path| {
        let mut command = lab.command(&["gate", "--baseline", &id, "--format", "github"]);
        command.env("GITHUB_STEP_SUMMARY", summary);
        Ran::of(command).exits(1).prints("::error title=lab gate::failed: regressed")
    };
    // A folder takes no text.
    gate(&lab.path("")).says("note: cannot write the step's summary to");
    let unset = gate(Path::new(""));
    assert_eq!(unset.stderr, "", "an empty variable asks for nothing");
}

#[test]
fn the_self_test_takes_nothing_that_it_would_pass_over() {
    for further in
        [["--format", "json"], ["--rule", "contract"], ["--baseline", "main"], ["--vary", "engine"]]
    {
        let ran = Lab::new().run(&[&["gate", "--self-test"], further.as_slice()].concat()).exits(2);
        ran.says("cannot be used with").says(further[0]);
    }
}

#[test]
fn a_gate_proves_that_it_can_fire() {
    let lab = Lab::new();
    let mut ran = lab.run(&["gate", "--self-test"]).exits(0);
    for path in ["sessions", "pairs"] {
        let regressed = format!("planted regression, by {path}: failed: regressed");
        ran = ran.says(&regressed).says(&format!("equals, by {path}: passed: equivalent"));
    }
    assert!(lab.newest().is_none(), "the user's store is left alone");
}

/// A store of a baseline, its id and short id, and a candidate that measured the same.
fn two_equals(number: u128) -> (Lab, String, String) {
    let lab = Lab::new();
    let baseline = session(number, 20_000, "");
    lab.record(&baseline);
    lab.record(&session(number + 1, 20_050, ""));
    let id = baseline.header.id.to_string();
    let short = id[id.len() - 8..].to_owned();
    (lab, id, short)
}

#[test]
fn the_baseline_is_named_or_given_as_a_session() {
    let (lab, id, short) = two_equals(1);
    lab.run(&["baseline", "set", "main", &id]).exits(0);
    for baseline in ["main", "@main", "@latest~1", &short, &id] {
        lab.run(&["gate", "--baseline", baseline]).exits(0).prints("passed: equivalent");
    }
}

#[test]
fn a_baseline_that_is_no_name_is_refused_with_the_nearest() {
    let (lab, id, _) = two_equals(1);
    lab.run(&["baseline", "set", "main", &id]).exits(0);
    for typed in ["mian", "@mian"] {
        let ran = lab.run(&["gate", "--baseline", typed]).exits(2).prints_nothing();
        ran.says("`@mian` is no name of a session; nearest: `@main`");
    }
    let ran = lab.run(&["gate", "--baseline", "deadbeef"]).exits(2).prints_nothing();
    ran.says("`@deadbeef` is no name of a session; known are `@latest`, `@latest~N`, `@main`");
}

#[test]
fn a_removed_name_never_becomes_the_session_whose_digits_it_has() {
    let (lab, id, _) = two_equals(0xfade);
    assert!(id.ends_with("fade"), "{id}");
    lab.run(&["baseline", "set", "fade", &id]).exits(0);
    lab.run(&["gate", "--baseline", "fade"]).exits(0);
    lab.run(&["baseline", "remove", "fade"]).exits(0);
    let ran = lab.run(&["gate", "--baseline", "fade"]).exits(2).prints_nothing();
    ran.says("`@fade` is no name of a session");
}

#[test]
fn a_damaged_row_of_a_baseline_is_told_and_not_passed_over() {
    let (lab, id, short) = two_equals(1);
    lab.run(&["baseline", "set", "main", &id]).exits(0);
    let damage = "DROP TRIGGER baseline_is_never_updated; UPDATE baseline SET body = 'x'";
    Connection::open(lab.store()).unwrap().execute_batch(damage).unwrap();
    for baseline in ["main", &short] {
        let ran = lab.run(&["gate", "--baseline", baseline]).exits(2).prints_nothing();
        ran.says("the stored row `baseline:1` cannot be read");
    }
}

#[test]
fn a_candidate_that_is_the_baseline_itself_is_refused() {
    let (lab, id, _) = two_equals(1);
    let ran = lab.run(&["gate", "--baseline", &id, "--candidate", "@latest~1"]).exits(2).prints_nothing();
    ran.says(&format!("the candidate is the baseline itself: session {id}")).says("`--candidate SESSION`");
    lab.run(&["baseline", "set", "main"]).exits(0);
    lab.run(&["gate", "--baseline", "main"]).exits(2).says("the candidate is the baseline itself");
}

#[test]
fn a_gate_without_a_baseline_is_a_usage_error() {
    Lab::new().run(&["gate"]).exits(2).says("--baseline");
}
