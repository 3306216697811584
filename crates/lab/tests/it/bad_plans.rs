//! Plans that are wrong: what is said, and that it is said before anything runs.

use crate::harness::{Lab, Ran};
use crate::plan::Plan;

/// Asserts what a plan's mistake is answered with, by `run` and by `plan check` alike.
#[track_caller]
fn check(text: impl AsRef<[u8]>, fragments: &[&str]) {
    let lab = Lab::new();
    lab.write("plan.toml", text);
    for command in [&["run", "plan.toml"][..], &["plan", "check", "plan.toml"]] {
        let ran = lab.run(command).exits(2).prints_nothing();
        fragments.iter().fold(ran, |ran, fragment| ran.says(fragment));
    }
    assert!(!lab.store().exists(), "a wrong plan made a store");
}

fn edited(from: &str, to: &str) -> String {
    let text = Plan::scripted().text();
    assert!(text.contains(from), "{text}");
    text.replace(from, to)
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_nearest_known_key() {
    check(
        edited("repeat = 2", "repeats = 2"),
        &["unknown field `repeats`", "plan.toml:", "^^^^^^^", "did you mean `repeat`?"],
    );
    check(edited("token_us", "tokens_us"), &["unknown field `tokens_us`", "did you mean `token_us`?"]);
    check(edited("[run]", "[runs]"), &["unknown field `runs`", "did you mean `run`?"]);
}

#[test]
fn a_value_of_the_wrong_type_is_shown_with_what_was_expected() {
    check(
        edited("repeat = 2", "repeat = \"two\""),
        &["invalid type: string \"two\", expected u32", "plan.toml:", "^^^"],
    );
    check(edited("generate = 4", "generate = -1"), &["-1", "u32"]);
    check(edited("generate = 4", "generate = 4.5"), &["invalid type: floating point `4.5`, expected u32"]);
    check(
        edited("version = 1", "version = 2"),
        &["plan format version 2 is not known to this lab", "a newer lab"],
    );
}

#[test]
fn zero_is_refused_where_nothing_can_be_measured() {
    check(edited("repeat = 2", "repeat = 0"), &["`repeat` must be at least 1"]);
    check(edited("generate = 4", "generate = 0"), &["`generate` must be at least 1"]);
    check(edited("random = 4", "random = 0"), &["a prompt needs at least one token"]);
    let lab = Lab::new();
    lab.plan(Plan::scripted());
    lab.run(&["run", "plan.toml", "--repeat", "0"]).exits(2).says("--repeat").prints_nothing();
    lab.run(&["run", "plan.toml", "--repeat", "five"]).exits(2).says("--repeat").prints_nothing();
    lab.run(&["run", "plan.toml", "--repeat", "4294967296"]).exits(2).says("--repeat").prints_nothing();
}

#[test]
fn forced_tokens_that_could_end_a_sequence_are_refused_where_they_are_forced() {
    let plan = Plan::scripted().set("workload.decode", "forced").set("workload.stop", "eos");
    check(
        plan.text(),
        &["end-of-sequence among them must end nothing", "plan.toml:", "decode = \"forced\"", "^"],
    );
}

#[test]
fn several_mistakes_are_shown_at_once() {
    let text = edited("repeat = 2", "repeat = 0").replace("generate = 4", "generate = 0");
    check(text, &["2 mistakes", "`repeat` must be at least 1", "`generate` must be at least 1"]);
}

#[test]
fn a_model_must_say_honestly_what_it_is() {
    check(edited("tiny-synthetic", "tiny"), &["must say so in its name: `tiny-synthetic`"]);
    let lab = Lab::new();
    lab.plan(Plan::scripted().model_file("m.gguf").set("model.name", "real-synthetic"));
    lab.run(&["run", "plan.toml"]).exits(2).says("promises synthetic weights, but the source is real");
}

#[test]
fn an_unknown_engine_is_shown_with_those_that_are_known() {
    check(edited("\"scripted\"", "\"script\""), &["unknown engine `script`", "did you mean `scripted`?"]);
    check(edited("[engine]", "[engine]\ncommand = [\"x\"]"), &["either a `name` or a `command`, not both"]);
}

#[test]
fn a_missing_plan_is_answered_with_the_plans_that_are_there() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("plans")).unwrap();
    lab.write("plans/other.toml", Plan::scripted().text());
    for path in ["plans/mine.toml", "mine.toml"] {
        let ran = lab.run(&["run", path]).exits(2).prints_nothing();
        ran.says(&format!("cannot read plan `{path}`")).says("hint: plans here: plans/other.toml");
    }
}

#[test]
fn what_is_no_text_file_is_refused() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("folder.toml")).unwrap();
    lab.run(&["run", "folder.toml"]).exits(2).says("cannot read plan `folder.toml`").says("directory");
    for device in ["/dev/null", "/dev/zero"] {
        lab.run(&["run", device]).exits(2).says("cannot read plan").says("it is a device");
    }
    lab.fifo("pipe.toml");
    let (plan, pipe) = (Plan::scripted().text(), lab.path("pipe.toml"));
    let writer = std::thread::spawn(move || std::fs::write(pipe, plan).unwrap());
    lab.run(&["run", "pipe.toml"]).exits(0);
    writer.join().unwrap();
    check(b"version = 1\nname = \"\xff\xfe\"\n", &["cannot read plan `plan.toml`", "UTF-8"]);
    check(b"\0\0\0\0", &["plan `plan.toml` has a mistake"]);
}

#[test]
fn an_empty_plan_says_what_is_missing() {
    check("", &["plan `plan.toml` has a mistake", "missing field"]);
    check("\n\n# nothing\n", &["missing field"]);
}

#[test]
fn a_plan_that_is_no_toml_is_shown_with_its_line() {
    check("version = 1\nname = \n", &["plan.toml:2", "^"]);
    check("version = 1\nversion = 1\n", &["duplicate key", "plan.toml:2"]);
}

#[test]
fn a_plan_of_ten_megabytes_is_answered_like_any_other() {
    let long = "x".repeat(10 << 20);
    let text = edited("name = \"tiny\"", &format!("name = \"tiny\"\ndescription = \"{long}\""));
    let lab = Lab::new();
    lab.write("plan.toml", &text);
    lab.run(&["plan", "check", "plan.toml", "--format", "json"]).exits(0);
    for mistake in [text.replace("repeat = 2", "repeats = 2"), text.replace("description", "descriptoin")] {
        lab.write("plan.toml", mistake);
        let ran = lab.run(&["run", "plan.toml"]).exits(2).says("unknown field");
        assert!(
            ran.stderr.len() < 100_000,
            "a mistake of one word is answered with {} bytes",
            ran.stderr.len()
        );
    }
}

#[test]
fn deep_nesting_is_refused_and_overflows_no_stack() {
    let depth = 100_000;
    let arrays = format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
    let tables = format!("a = {}1{}", "{ a = ".repeat(depth), " }".repeat(depth));
    let dotted = format!("{}a = 1", "a.".repeat(depth));
    for text in [arrays, tables, dotted, format!("[{}a]", "a.".repeat(depth))] {
        let lab = Lab::new();
        lab.write("plan.toml", text);
        let ran: Ran = lab.run(&["plan", "check", "plan.toml"]).exits(2).prints_nothing();
        assert!(ran.stderr.len() < 100_000, "{} bytes of answer", ran.stderr.len());
    }
}

#[test]
fn a_tolerance_for_a_metric_that_does_not_exist_is_refused() {
    let lab = Lab::new();
    lab.plan(Plan::scripted().set("tolerances.tokens_per_second.percent", 1.0));
    lab.run(&["run", "plan.toml"])
        .exits(2)
        .says("unknown metric `tokens_per_second`")
        .says("did you mean `tokens_per_sec`?");
    lab.plan(Plan::scripted().set("tolerances.watts_avg.percent", -1.0));
    lab.run(&["run", "plan.toml"]).exits(2).says("a number from 0 up");
}

#[test]
fn meters_that_cannot_be_summed_up_are_refused_where_they_are_named() {
    let plan = |sources: Vec<&str>| Plan::scripted().set("energy.sources", sources).text();
    check(
        plan(vec!["rapl", "hwmon"]),
        &["`rapl` and `hwmon` count the same energy", "plan.toml:", "name one"],
    );
    check(plan(vec!["external"]), &["the source `external` needs a table `[energy.external]`", "plan.toml:"]);
}

#[test]
fn a_mistake_about_the_external_meter_is_shown_with_its_line() {
    let meter = Plan::scripted().set("energy.external.unit", "watts");
    let plan = meter.set("energy.external.command", vec!["meter"]).set("energy.external.interval_ms", 5);
    check(plan.text(), &["`interval_ms` lies between 10 and 3600000", "interval_ms = 5", "^"]);
}
