//! The documentation keeps its word: its command lines run, its links lead somewhere.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the documentation fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every page: the Markdown at the top, in `docs` and in `ci`.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/decisions", "ci/oracle"];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// The lines after `$ ` in the blocks marked `console`.
fn command_lines(page: &str) -> Vec<String> {
    let mut in_console = false;
    let mut commands = Vec::new();
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(language) => in_console = language == "console",
            None if in_console => commands.extend(line.strip_prefix("$ ").map(str::to_owned)),
            None => {}
        }
    }
    commands
}

#[test]
fn every_command_line_in_a_console_block_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_lab")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let mut n_commands = 0;
    for page in pages() {
        let store = folder.path().join(format!("{n_commands}.sqlite"));
        for command in command_lines(&fs::read_to_string(&page).unwrap()) {
            let output = Command::new("sh")
                .args(["-c", &command])
                .current_dir(root())
                .env("PATH", &path)
                .env("LAB_STORE", &store)
                .env("LAB_CACHE", folder.path().join("cache"))
                .output()
                .unwrap();
            let talk = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: `{command}`: {talk}", page.display());
            n_commands += 1;
        }
    }
    assert!(n_commands >= 8, "only {n_commands} command lines were found");
}

/// The targets of Markdown links, without addresses and anchors.
fn links(page: &str) -> Vec<String> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    local.map(|target| target.split('#').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_local_link_leads_to_a_file() {
    let mut n_links = 0;
    for page in pages() {
        for link in links(&fs::read_to_string(&page).unwrap()) {
            assert!(page.parent().unwrap().join(&link).exists(), "{}: `{link}`", page.display());
            n_links += 1;
        }
    }
    assert!(n_links >= 20, "only {n_links} links were found");
}
