//! Energy through the whole program: a tree of files stands in for the processor's counters.

use std::path::Path;

use serde_json::json;

use crate::harness::{Lab, Ran};
use crate::plan::Plan;
use crate::schema;
use crate::world::{Package, Procfs, bare_sysfs};

/// Half a second of execution a repetition.
fn slow() -> Plan {
    Plan::scripted().set("workload.generate", 11).set("engine.script.token_us", 50_000)
}

/// Runs a plan on a machine with these sensors on which nothing else runs.
fn run(lab: &Lab, sys: &Path, plan: Plan, further: &[&str]) -> Ran {
    let proc = Procfs::new(lab).path();
    let words = ["run", "plan.toml", "--sysfs-root", sys.to_str().unwrap(), "--procfs-root", &proc];
    lab.plan(plan).run(&[&words, further].concat())
}

#[test]
fn power_and_efficiency_are_numbers_where_a_counter_runs() {
    let lab = Lab::new();
    let sys = bare_sysfs(&lab);
    let package = Package::running(&sys);
    let document = run(&lab, &sys, slow(), &["--format", "json"]).exits(0).json();
    drop(package);
    schema::assert_fits(&document, "session.v1");
    assert_eq!(document["session"]["contract"]["complete"], true, "{document:#}");
    let source = format!("rapl package-0 below {}", sys.display());
    for execution in document["executions"].as_array().unwrap() {
        let metric = |name: &str| execution["metrics"][name].as_f64().unwrap();
        let own = |name: &str| execution["unofficial"]["lab.v1"][name].as_f64().unwrap();
        // The writer is a thread of a busy test: what it misses for a moment, it makes up for in the next.
        assert!((metric("watts_avg") - 18.1).abs() < 18.1 * 0.25, "{execution:#}");
        let efficiency = metric("tokens_per_sec") / metric("watts_avg");
        assert!((metric("tokens_per_watt") - efficiency).abs() < 1e-12 * efficiency);
        let joules = metric("watts_avg") * metric("latency_total_ms") / 1e3;
        assert!((own("energy_total_j") - joules).abs() < 1e-9 * joules);
        assert!((own("energy_per_token_mj") - joules * 1e3 / 11.0).abs() < 1e-6);
        assert!(own("watts_plus_minus") > 0.0);
        assert_eq!(execution["energy"], json!([{"source": source, "kind": "measured"}]));
    }
    let shown = lab.run(&["show", "@latest", "--rederive"]).exits(0).says(" 0 differ");
    shown.prints("contract complete").prints("rapl package-0").prints("(measured)");
    lab.run(&["compare", "@latest", "@latest"]).prints("energy by rapl package-0");
    lab.run(&["export", "@latest", "--format", "csv"]).exits(0).prints(&source);
}

#[test]
fn without_a_meter_the_contract_stays_incomplete_and_says_why() {
    let lab = Lab::new();
    let sys = bare_sysfs(&lab);
    let ran = run(&lab, &sys, Plan::scripted(), &[]).exits(0);
    ran.prints("contract incomplete: watts_avg").prints("watts_avg, energy_total_j").prints("rapl: `");
}

#[test]
fn a_plan_that_requires_energy_is_refused_before_anything_runs() {
    let lab = Lab::new();
    let sys = bare_sysfs(&lab);
    let plan = || Plan::scripted().set("energy.required", true);
    let ran = run(&lab, &sys, plan(), &[]).exits(5).prints_nothing();
    ran.says("the plan requires an energy meter").says("lab doctor");
    lab.run(&["list"]).exits(0).prints("no session is recorded yet");
    let checked = lab.run(&["plan", "check", "plan.toml", "--sysfs-root", sys.to_str().unwrap()]);
    checked.exits(5).prints("requires an energy meter");
    let _package = Package::running(&sys);
    run(&lab, &sys, plan(), &[]).exits(0);
}

#[test]
fn figures_of_different_meters_are_refused() {
    let lab = Lab::new();
    let sys = bare_sysfs(&lab);
    let package = Package::running(&sys);
    run(&lab, &sys, slow(), &[]).exits(0);
    drop(package);
    let plug = |words: &[&str]| {
        let external = slow().set("energy.external.unit", "watts").set("energy.external.interval_ms", 50);
        external
            .set("energy.external.command", words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    };
    let document = run(&lab, &sys, plug(&["echo", "7.5"]), &["--format", "json"]).exits(0).json();
    for execution in document["executions"].as_array().unwrap() {
        let watts = execution["metrics"]["watts_avg"].as_f64().unwrap();
        assert!((watts - 7.5).abs() < 1e-4, "{execution:#}");
    }
    let refused = lab.compare("@latest~1", "@latest", &[]).exits(4);
    refused.prints("watts_avg was measured with").prints("rapl package-0").prints("echo");
    let failing = run(&lab, &sys, plug(&["false"]).set("energy.required", true), &[]).exits(5);
    failing.says("requires an energy meter");
}

#[test]
fn an_estimate_fills_no_official_metric() {
    let lab = Lab::new();
    let sys = bare_sysfs(&lab);
    let plan = slow()
        .set("energy.external.unit", "watts")
        .set("energy.external.kind", "estimated")
        .set("energy.external.interval_ms", 50)
        .set("energy.external.command", vec!["echo".to_owned(), "65".to_owned()]);
    let document = run(&lab, &sys, plan, &["--format", "json"]).exits(0).json();
    let execution = &document["executions"][0];
    assert!(execution["metrics"]["watts_avg"].is_null(), "{execution:#}");
    assert_eq!(execution["unavailable"]["watts_avg"], "no meter gives measured energy");
    assert!((execution["unofficial"]["lab.v1"]["watts_estimated"].as_f64().unwrap() - 65.0).abs() < 1e-3);
    assert_eq!(execution["energy"][0]["kind"], "estimated");
}

#[test]
fn the_idle_machine_is_recorded_beside_the_session_and_subtracted_from_nothing() {
    let lab = Lab::new();
    let sys = bare_sysfs(&lab);
    let _package = Package::running(&sys);
    let document = run(&lab, &sys, slow().set("energy.idle_s", 1), &["--format", "json"]).exits(0).json();
    let idle = &document["session"]["instruments"]["idle"]["value"];
    assert!((idle["watts"].as_f64().unwrap() - 18.1).abs() < 18.1 * 0.25, "{idle}");
    assert!(idle["plus_minus_watts"].as_f64().unwrap() > 0.0);
    let watts = document["executions"][0]["metrics"]["watts_avg"].as_f64().unwrap();
    assert!(watts > 18.1 * 0.7, "nothing was subtracted: {watts}");
}

#[test]
fn doctor_and_session_ask_the_library_that_the_environment_names() {
    const LIBRARY: &str = "/nonexistent/libnvidia-ml.so";
    let lab = Lab::new();
    lab.plan(Plan::scripted().set("energy.sources", vec!["nvml"]));
    let run = |words: &[&str]| {
        let mut command = lab.command(words);
        command.env("LAB_NVML_LIBRARY", LIBRARY);
        Ran::of(command).exits(0)
    };
    run(&["run", "plan.toml"]).says(LIBRARY);
    run(&["doctor", "--format", "json"]).prints(LIBRARY);
}

#[test]
fn an_experiment_reads_its_meter_in_uninterrupted_repetitions_behind_every_pair() {
    let lab = Lab::new();
    let (sys, proc) = (bare_sysfs(&lab), Procfs::new(&lab).path());
    let plug: Vec<String> = ["echo", "7.5"].map(str::to_owned).to_vec();
    let plan = slow()
        .set("engine.script.token_us", 100_000)
        .set("energy.external.unit", "watts")
        .set("energy.external.interval_ms", 25)
        .set("instruments.sample_hz", 60)
        .set("energy.external.command", plug)
        // What other tests do meanwhile is held against energy, and is not what is asked here.
        .set(
            "gate.admit",
            vec!["clock", "steal", "run-queue", "other-load", "involuntary-switches", "cpu-pressure"],
        );
    let words = ["ab", "plan.toml", "--pairs", "4", "--fixed", "--format", "json"];
    let roots = ["--sysfs-root", sys.to_str().unwrap(), "--procfs-root", &proc];
    let report = lab.plan(plan).run(&[&words[..], &roots].concat()).json();
    schema::assert_fits(&report, "report.v2");
    let rows = report["metrics"].as_array().unwrap();
    let watts = rows.iter().find(|own| own["metric"] == "engine.v0.1/watts_avg").unwrap();
    assert_eq!(watts["judgement"]["kind"], "equivalent", "{report:#}");
    assert_eq!(watts["interval"]["value"]["n_candidate"], 4, "one value a pair");
    let paired = &report["paired"];
    assert_eq!(paired["uninterrupted_changes"].as_array().unwrap().len(), 4);
    let side = lab.run(&["show", "@latest", "--format", "json"]).exits(0).json();
    let (mut in_turn, mut alone) = (0, 0);
    for execution in side["executions"].as_array().unwrap() {
        match execution["metrics"]["watts_avg"].as_f64() {
            Some(watts) => {
                assert!((watts - 7.5).abs() < 1e-3, "{execution:#}");
                alone += 1;
            }
            None => {
                let reason = execution["unavailable"]["watts_avg"].as_str().unwrap();
                assert!(reason.starts_with("generated in turn"), "{reason}");
                in_turn += 1;
            }
        }
    }
    // Behind the last pair there is one round more, and up to two further ones until they confirm the pairs.
    assert!(in_turn == 4 && (5..=7).contains(&alone), "{in_turn} {alone}");
}
