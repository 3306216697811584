//! Takes the digest of what is being built: the engine's identity in every fingerprint.
//!
//! It covers the sources of this crate and of what else runs in the engine's process while it is measured, the exact
//! versions of everything it depends on, the compiler, the target and its features, and the cargo profile with what the
//! workspace manifest and the environment set in it. (Profiles in cargo's own configuration files are not seen.) The
//! executable's own digest would differ for a changed help text.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

/// Sources of sibling crates that run in the engine's process between a request and its answer.
const MEASURED_WITH: [&str; 7] = [
    "lab-core/src/engine.rs",
    "lab-engine/src/delayed.rs",
    "lab-engine/src/framing.rs",
    "lab-engine/src/serve.rs",
    "lab-engine/src/singly.rs",
    "lab-engine/src/wander.rs",
    "lab-host/src/clock.rs",
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let crate_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = crate_dir.join("../..");
    let lock: Table = read(&workspace.join("Cargo.lock"))?.parse()?;
    let packages = packages(&lock);

    let mut parts = BTreeMap::new();
    parts.extend(sources(&crate_dir)?);
    parts.insert("dependencies".to_owned(), closure("lab-candle", &packages).join("\n"));
    parts.insert("compiler".to_owned(), compiler()?);
    parts.insert("profile".to_owned(), profile(&workspace)?);
    parts.extend(settings());

    println!("cargo::rustc-env=LAB_CANDLE_BUILD={}", digest(&parts));
    println!("cargo::rustc-env=LAB_CANDLE_VERSION={}", version(&packages)?);
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    println!("cargo::rerun-if-changed={}", path.display());
    Ok(fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?)
}

fn sources(crate_dir: &Path) -> Result<BTreeMap<String, String>> {
    let src = crate_dir.join("src");
    println!("cargo::rerun-if-changed={}", src.display());
    let mut sources = BTreeMap::new();
    for entry in fs::read_dir(&src)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        sources.insert(format!("source {name}"), read(&path)?);
    }
    for path in MEASURED_WITH {
        sources.insert(format!("source {path}"), read(&crate_dir.join("..").join(path))?);
    }
    sources.insert("source build.rs".to_owned(), read(&crate_dir.join("build.rs"))?);
    sources.insert("source Cargo.toml".to_owned(), read(&crate_dir.join("Cargo.toml"))?);
    Ok(sources)
}

/// Maps `name version` to checksum and the names of what it depends on.
fn packages(lock: &Table) -> Vec<&Table> {
    lock.get("package").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table).collect()
}

fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Lists everything `root` depends on, as `name version source checksum`, sorted. Crates of this workspace have neither
/// source nor checksum.
fn closure(root: &str, packages: &[&Table]) -> Vec<String> {
    let mut wanted = vec![root.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(dependency) = wanted.pop() {
        // A dependency reads `name`, or `name version` where several versions are locked.
        let mut words = dependency.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        let matches = |package: &&&Table| {
            text(package, "name") == name && version.is_none_or(|version| text(package, "version") == version)
        };
        for package in packages.iter().filter(matches) {
            let [version, source, checksum] = ["version", "source", "checksum"].map(|key| text(package, key));
            let line = format!("{name} {version} {source} {checksum}");
            if seen.insert(line) {
                let dependencies = package.get("dependencies").and_then(Value::as_array);
                wanted
                    .extend(dependencies.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
            }
        }
    }
    seen.into_iter().collect()
}

fn compiler() -> Result<String> {
    let output = Command::new(env::var("RUSTC")?).arg("-vV").output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the profile's name, the profile tables of the workspace manifest, and what the environment overrides in them.
fn profile(workspace: &Path) -> Result<String> {
    let manifest: Table = read(&workspace.join("Cargo.toml"))?.parse()?;
    let tables = manifest.get("profile").map(ToString::to_string).unwrap_or_default();
    let overrides: BTreeMap<String, String> =
        env::vars().filter(|(name, _)| name.starts_with("CARGO_PROFILE_")).collect();
    // The output folder is `target/<profile>/build/<package>/out`; the variable `PROFILE` says only debug or release.
    let output = PathBuf::from(env::var("OUT_DIR")?);
    let name = output.ancestors().nth(3).and_then(Path::file_name).unwrap_or_default();
    Ok(format!("{}\n{tables}\n{overrides:?}", name.display()))
}

fn settings() -> BTreeMap<String, String> {
    let names =
        ["CARGO_CFG_TARGET_FEATURE", "CARGO_ENCODED_RUSTFLAGS", "DEBUG", "OPT_LEVEL", "PROFILE", "TARGET"];
    names.map(|name| (format!("setting {name}"), env::var(name).unwrap_or_default())).into_iter().collect()
}

fn digest(parts: &BTreeMap<String, String>) -> String {
    let mut hasher = Sha256::new();
    for (name, part) in parts {
        hasher.update(format!("{name} {}\n", part.len()));
        hasher.update(part);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn version(packages: &[&Table]) -> Result<String> {
    let candle = packages.iter().find(|package| text(package, "name") == "candle-core");
    let candle = candle.ok_or("candle-core is not locked")?;
    Ok(format!("{}+candle.{}", env::var("CARGO_PKG_VERSION")?, text(candle, "version")))
}
