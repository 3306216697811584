//! The boundaries between the crates (invariants I1 and I2), read from the manifests and the sources.

use std::path::{Path, PathBuf};

use toml::Table;

/// Sections of a manifest that name dependencies.
const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

struct Crate {
    folder: PathBuf,
    manifest: Table,
}

impl Crate {
    fn name(&self) -> &str {
        self.manifest["package"]["name"].as_str().unwrap()
    }

    /// Lists the names of all dependencies, those for the tests and for one platform included.
    fn dependencies(&self) -> Vec<String> {
        let targets = self.manifest.get("target").and_then(|own| own.as_table()).into_iter().flatten();
        let tables = targets.filter_map(|(_, own)| own.as_table()).chain([&self.manifest]);
        let sections =
            tables.flat_map(|table| SECTIONS.iter().filter_map(|section| table.get(*section)?.as_table()));
        sections.flat_map(|section| section.keys().cloned()).collect()
    }

    fn sources(&self) -> Vec<(PathBuf, String)> {
        let mut sources = Vec::new();
        let mut pending = vec![self.folder.join("src"), self.folder.join("build.rs")];
        while let Some(path) = pending.pop() {
            if path.is_dir() {
                pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.extension().is_some_and(|extension| extension == "rs") && path.exists() {
                sources.push((path.clone(), without_comments(&std::fs::read_to_string(&path).unwrap())));
            }
        }
        sources
    }
}

fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn crates() -> Vec<Crate> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut crates: Vec<Crate> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.join("Cargo.toml").exists())
        .map(|folder| Crate { manifest: table(&folder.join("Cargo.toml")), folder })
        .collect();
    crates.sort_by(|left, right| left.name().cmp(right.name()));
    assert!(crates.len() >= 10, "where have the crates gone?");
    crates
}

fn table(path: &Path) -> Table {
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// Returns the modules of `std` that a source mentions by path or imports, such as `fs` and `time::Instant`.
fn mentions_of_std(source: &str) -> Vec<String> {
    let joined: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut mentions = Vec::new();
    for rest in joined.split("std::").skip(1) {
        let end = rest.find([';', '(', '<', '>', ')']).unwrap_or(rest.len());
        let path = rest[..end].trim_start_matches('{');
        mentions.extend(path.split([',', '{', '}']).map(|own| own.trim().to_owned()));
    }
    mentions
}

#[test]
fn the_core_depends_on_no_crate_of_the_workspace_and_the_others_on_the_core_alone() {
    for own in crates().iter().filter(|own| own.name() != "lab") {
        let siblings: Vec<String> =
            own.dependencies().into_iter().filter(|name| name.starts_with("lab-") || name == "lab").collect();
        let permitted: &[&str] = if own.name() == "lab-core" { &[] } else { &["lab-core"] };
        assert!(
            siblings.iter().all(|name| permitted.contains(&name.as_str())),
            "{}: {siblings:?}",
            own.name()
        );
    }
}

#[test]
fn the_binary_sees_every_crate() {
    let crates = crates();
    let binary = crates.iter().find(|own| own.name() == "lab").unwrap().dependencies();
    for own in crates.iter().filter(|own| own.name() != "lab") {
        assert!(binary.iter().any(|name| name == own.name()), "lab does not use {}", own.name());
    }
}

#[test]
fn candle_is_compiled_by_one_crate_alone() {
    for own in crates().iter().filter(|own| own.name() != "lab-candle") {
        let candle: Vec<String> =
            own.dependencies().into_iter().filter(|name| name.starts_with("candle")).collect();
        assert!(candle.is_empty(), "{}: {candle:?}", own.name());
        for (path, source) in own.sources() {
            for name in ["candle_core", "candle_nn", "candle_transformers"] {
                assert!(!source.contains(name), "{} names {name}", path.display());
            }
        }
    }
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    const FORBIDDEN: [&str; 9] =
        ["fs", "net", "process", "env", "io", "os", "thread", "time::Instant", "time::SystemTime"];
    let crates = crates();
    let core = crates.iter().find(|own| own.name() == "lab-core").unwrap();
    let sources = core.sources();
    assert!(sources.len() > 10);
    for (path, source) in sources {
        for mention in mentions_of_std(&source) {
            let forbidden =
                FORBIDDEN.iter().find(|own| mention == **own || mention.starts_with(&format!("{own}::")));
            assert!(forbidden.is_none(), "{} uses std::{mention}", path.display());
        }
        for word in
            ["Instant", "SystemTime", "Timestamp::now", "Zoned::now", "now_v7", "print!(", "println!("]
        {
            assert!(!source.contains(word), "{} says {word}", path.display());
        }
    }
}

#[test]
fn the_scan_for_io_finds_it_in_every_spelling() {
    for (source, expected) in [
        ("use std::fs;", "fs"),
        ("use std::fs::File;", "fs::File"),
        ("use std::{fmt, fs};", "fs"),
        ("use std::{\n    fmt::Write,\n    net::{TcpStream, UdpSocket},\n};", "net::"),
        ("let x = std::env::var(\"X\");", "env::var"),
        ("fn f(x: std::time::Instant) {}", "time::Instant"),
    ] {
        assert!(mentions_of_std(source).iter().any(|own| own == expected), "{:?}", mentions_of_std(source));
    }
    assert_eq!(without_comments("let a = 1; // std::fs\n//! std::net"), "let a = 1; \n");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace_and_none_is_unsafe() {
    let root = table(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"));
    assert_eq!(root["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for own in crates() {
        let lints = own.manifest.get("lints").and_then(|lints| lints.get("workspace"));
        assert_eq!(lints.and_then(toml::Value::as_bool), Some(true), "{} has lints of its own", own.name());
        for (path, source) in own.sources() {
            for form in [" {", " fn", " impl", " extern", " trait"] {
                assert!(!source.contains(&format!("unsafe{form}")), "{} is unsafe", path.display());
            }
        }
    }
}

#[test]
fn every_dependency_has_its_version_in_one_place() {
    for own in crates() {
        for section in SECTIONS {
            let dependencies = own.manifest.get(section).and_then(toml::Value::as_table);
            for (name, spec) in dependencies.into_iter().flatten() {
                let inherited = spec.get("workspace").and_then(toml::Value::as_bool);
                assert_eq!(inherited, Some(true), "{}: {name} names its own version", own.name());
            }
        }
    }
}

/// What measures speaks to no network: brokers are the business of one crate, and of the binary between repetitions.
#[test]
fn the_crates_that_measure_know_no_broker() {
    for own in crates().iter().filter(|own| !["lab", "lab-mqtt"].contains(&own.name())) {
        let of_brokers: Vec<String> = own
            .dependencies()
            .into_iter()
            .filter(|name| name.contains("mqtt") || name == "rustls" || name == "rcgen")
            .collect();
        assert!(of_brokers.is_empty(), "{}: {of_brokers:?}", own.name());
    }
}

/// No executor near the measuring path (invariant I11), no C library for TLS.
#[test]
fn nothing_in_the_lock_file_brings_an_executor_or_openssl() {
    let lock = table(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock"));
    let packages = lock["package"].as_array().unwrap();
    assert!(packages.len() > 100, "the lock file lists what is built");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let banned = ["tokio", "async-std", "smol", "openssl-sys", "native-tls"];
        assert!(!banned.contains(&name), "`{name}` is locked");
    }
}
