//! Help, completions, manual pages, doctor, and readers that hang up.

use std::process::{Command, Stdio};

use lab_core::fixtures;

use crate::harness::{Lab, Ran};
use crate::plan::Plan;
use crate::schema;

/// Lists the commands that a help text names under `Commands:`.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn on_other_stdout(mut command: Command, stdout: impl Into<Stdio>) -> Ran {
    let output = command.stdout(stdout).stderr(Stdio::piped()).output().unwrap();
    Ran::new(output.status, String::new(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn lab_alone_prints_its_help_and_is_a_usage_error() {
    let ran = Lab::new().run(&[]).exits(2).says("Usage: lab").says("Examples:").prints_nothing();
    assert!(commands(&ran.stderr).contains(&"run".to_owned()), "{ran:#?}");
}

#[test]
fn the_help_of_every_command_has_an_example() {
    let lab = Lab::new();
    let top = lab.run(&["--help"]).exits(0).prints("Examples:").prints("Exit status:").stdout;
    let mut words: Vec<Vec<String>> = commands(&top).into_iter().map(|name| vec![name]).collect();
    assert!(words.len() >= 11, "{words:?}");
    while let Some(path) = words.pop() {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = lab.run(&arguments).exits(0).prints("Example").stdout;
        let example = format!("  lab {}", path.join(" "));
        assert!(help.lines().any(|line| line.starts_with(&example)), "{path:?}: {help}");
        words.extend(commands(&help).into_iter().map(|name| [path.clone(), vec![name]].concat()));
    }
}

#[test]
fn a_command_that_does_not_exist_is_refused_with_the_nearest() {
    let lab = Lab::new();
    lab.run(&["compere"]).exits(2).says("compare").prints_nothing();
    lab.run(&["run"]).exits(2).says("<PLAN>").prints_nothing();
    lab.run(&["list", "--format", "yaml"]).exits(2).says("table, json").prints_nothing();
    lab.run(&["list", "--limit", "4294967296"]).exits(2).says("--limit").prints_nothing();
}

#[test]
fn the_version_is_data() {
    let ran = Lab::new().run(&["--version"]).exits(0);
    assert_eq!(ran.stdout, format!("lab {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_shell_gets_a_completion_script_that_knows_the_commands() {
    let lab = Lab::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = lab.run(&["completions", shell]).exits(0).prints("compare").prints("doctor").stdout;
        assert!(!script.contains("launch-engine") || shell != "bash" || script.len() > 1000, "{shell}");
    }
    lab.run(&["completions", "tcsh"]).exits(2).says("bash, elvish, fish, powershell, zsh");
}

#[test]
fn the_manual_has_a_page_for_the_program_and_one_for_every_command() {
    let lab = Lab::new();
    lab.run(&["man"]).exits(0).prints(".TH lab 1").prints("lab run plans/quickstart.toml");
    lab.run(&["man", "--output", "pages"]).exits(0).prints_nothing();
    for page in ["lab.1", "lab-run.1", "lab-compare.1", "lab-plan-check.1"] {
        assert!(std::fs::read_to_string(lab.path("pages").join(page)).unwrap().contains(".TH "), "{page}");
    }
    lab.write("file", "");
    lab.run(&["man", "--output", "file/pages"]).exits(2).says("cannot write to `file/pages`");
}

#[test]
fn the_doctor_says_what_this_host_can_measure_and_why_not() {
    let lab = Lab::new();
    let document = lab.run(&["doctor", "--format", "json"]).exits(0).json();
    schema::assert_fits(&document, "doctor.v1");
    let capabilities = document["capabilities"].as_array().unwrap();
    assert!(!capabilities.is_empty());
    for capability in capabilities {
        assert!(!capability["detail"].as_str().unwrap().is_empty(), "a reason or a source: {capability}");
    }
    lab.run(&["doctor"]).exits(0).prints("processor").prints("instruction sets");
}

#[test]
fn a_reader_that_hangs_up_early_is_no_failure() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    for arguments in [
        &["list"][..],
        &["history", "tiny"],
        &["show", "@latest"],
        &["export", "@latest"],
        &["run", "plan.toml"],
        &["plan", "check", "plan.toml"],
        &["doctor"],
        &["metrics"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let command = lab.command(arguments);
        on_other_stdout(command, writer).exits(0);
    }
    let session = fixtures::session(1, &[1_000]);
    lab.record(&session);
    let id = session.header.id.to_string();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    on_other_stdout(lab.command(&["compare", &id, &id, "--rule", "contract"]), writer).exits(0);
}

#[test]
fn a_standard_output_that_cannot_be_written_is_a_failure() {
    let lab = Lab::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    on_other_stdout(lab.command(&["metrics"]), full).exits(5).says("cannot write to standard output");
}

#[test]
fn colour_is_for_those_who_ask_for_it() {
    let lab = Lab::new();
    lab.measure(Plan::scripted());
    let plain = lab.run(&["list"]).exits(0);
    assert!(!plain.stdout.contains('\u{1b}'), "{plain:#?}");
    lab.run(&["list", "--color", "always"]).exits(0).prints("\u{1b}[");
}
