//! Files in the repository that the program itself writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::harness::Lab;
use crate::schema;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    entries.map(|entry| (name(&entry.path()), std::fs::read_to_string(entry.path()).unwrap())).collect()
}

#[test]
fn the_schemas_in_the_repository_are_those_the_program_writes() {
    let lab = Lab::new();
    lab.run(&["schemas", "--output", "out"]).exits(0);
    let (written, kept) = (files(&lab.path("out")), files(&repository("schemas")));
    let differing: Vec<&String> =
        written.keys().chain(kept.keys()).filter(|name| written.get(*name) != kept.get(*name)).collect();
    assert!(differing.is_empty(), "write them anew with `lab schemas`: {differing:?}");
    assert!(!written.is_empty());
}

#[test]
fn the_page_of_metrics_in_the_repository_is_the_one_the_program_prints() {
    let page = Lab::new().run(&["metrics"]).exits(0).stdout;
    let kept = std::fs::read_to_string(repository("docs/metrics.md")).unwrap();
    assert_eq!(page, kept, "write it anew with `lab metrics > docs/metrics.md`");
}

#[test]
fn every_plan_in_the_repository_fits_the_schema_that_editors_complete_from() {
    for (name, text) in files(&repository("plans")) {
        let table: toml::Table = text.parse().unwrap();
        let own = ["contract", "command"].into_iter().find(|key| table.contains_key(*key));
        let own = own.map_or("plan.v1".to_owned(), |key| format!("{key}-plan.v1"));
        schema::assert_fits(&serde_json::to_value(table).unwrap(), &own);
        assert!(text.starts_with(&format!("#:schema ../schemas/{own}.json\n")), "{name} names no schema");
    }
}

#[test]
fn every_plan_in_the_repository_checks_offline_against_an_empty_cache() {
    for (name, text) in files(&repository("plans")) {
        let lab = Lab::new();
        if text.contains("\n[command]\n") {
            // Its script and its rows lie in the repository.
            let path = repository("plans").join(&name);
            let words = ["plan", "check", path.to_str().unwrap(), "--format", "json"];
            let document = lab.run(&words).exits(0).json();
            schema::assert_fits(&document, "command-check.v1");
            assert!(document["rows"]["known"].as_u64().unwrap() > 0, "{name}: {document:#}");
            continue;
        }
        lab.write("plan.toml", &text);
        if text.contains("\ncontract = ") {
            lab.run(&["plan", "check", "plan.toml"]).exits(2).says("measures nothing");
            continue;
        }
        let mut command = lab.command(&["plan", "check", "plan.toml", "--format", "json"]);
        command.env("LAB_CACHE", lab.path("cache")).env("HOME", lab.path("home"));
        let ran = crate::harness::Ran::of(command);
        let document = ran.json();
        schema::assert_fits(&document, "plan-check.v1");
        let status = document["model"]["status"].as_str().unwrap();
        let (expected, statuses) = match name.as_str() {
            "smollm2.toml" | "smollm2-q8.toml" => ("to be downloaded once", [0, 0]),
            "llama3-weights.toml" => ("missing", [2, 2]),
            // The host of this test may have too little memory or disk for it.
            "llama3.toml" => ("to be written once to the cache (4", [0, 5]),
            "quickstart.toml" => ("to be written once to the cache", [0, 0]),
            other => panic!("say here what `plan check` must answer for the new plan {other}"),
        };
        assert!(status.starts_with(expected), "{name}: {status}");
        assert!(statuses.contains(&ran.status.unwrap()), "{name}: {ran:#?}");
        assert_eq!(document["runnable"], ran.status == Some(0), "{name}: {ran:#?}");
        assert!(!lab.path("cache").exists(), "{name}: checking a plan wrote to the cache");
    }
}

#[test]
fn the_page_of_rules_in_the_repository_is_the_one_the_program_prints() {
    let page = Lab::new().run(&["rules"]).exits(0).stdout;
    let kept = std::fs::read_to_string(repository("docs/validity.md")).unwrap();
    assert_eq!(page, kept, "write it anew with `lab rules > docs/validity.md`");
}
