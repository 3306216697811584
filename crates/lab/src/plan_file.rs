//! Reading a plan, and showing what is wrong with one: line, caret, nearest known key.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use anyhow::anyhow;
use lab_core::metric::Contract;
use lab_core::plan::{ContractPlan, Plan, PlanError, PlanErrors, PlanFile};

use crate::failure::{Failure, Result};
use crate::terminal::Colour;

/// Reads and parses a plan that asks an engine.
pub(crate) fn load(path: &Path, colour: Colour) -> Result<Plan> {
    read(path, colour, Plan::parse)
}

/// Reads and parses a plan of any kind.
pub(crate) fn load_any(path: &Path, colour: Colour) -> Result<PlanFile> {
    read(path, colour, PlanFile::parse)
}

/// Refuses a plan of a contract where something is to be measured.
pub(crate) fn measures_nothing(plan: &ContractPlan) -> Failure {
    let ContractPlan { name, contract, .. } = plan;
    Failure::usage(anyhow!("the plan `{name}` is of contract {contract} and measures nothing"))
        .hint("`lab import … --plan` takes it, and `lab check … --plan`")
}

/// Reads and parses a plan for documents of a contract.
pub(crate) fn load_contract(path: &Path, contract: Contract, colour: Colour) -> Result<ContractPlan> {
    match load_any(path, colour)? {
        PlanFile::Contract(plan) if plan.contract == contract => Ok(*plan),
        other => Err(Failure::usage(anyhow!(
            "plan `{}` is of contract {}, and the documents are of {contract}",
            path.display(),
            other.contract()
        ))
        .hint(format!("a plan for them says `contract = \"{contract}\"`"))),
    }
}

fn read<T>(path: &Path, colour: Colour, parse: fn(&str) -> std::result::Result<T, PlanErrors>) -> Result<T> {
    let text = read_text(path).map_err(|error| unreadable(path, &error))?;
    parse(&text).map_err(|errors| Failure::usage(anyhow!(render(&errors, &text, path, colour))))
}

/// Reads a file, or what a shell writes into a pipe (`lab run <(…)`). A device is not opened: it may have no end.
fn read_text(path: &Path) -> io::Result<String> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Err(io::Error::other("it is a device"));
    }
    std::fs::read_to_string(path)
}

/// Returns the folder that a plan's relative paths start at.
pub(crate) fn folder(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::usage(anyhow!("cannot read plan `{}`: {error}", path.display()));
    let names = neighbours(path);
    if error.kind() != io::ErrorKind::NotFound || names.is_empty() {
        return failure;
    }
    failure.hint(format!("plans here: {}", names.join(", ")))
}

/// Lists the plans beside a path that does not exist, or in `plans/`.
fn neighbours(path: &Path) -> Vec<String> {
    let folders = [folder(path), PathBuf::from("plans")];
    let plans = |folder: &PathBuf| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_plan = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
        let mut names: Vec<String> = entries.filter(is_plan).map(|path| path.display().to_string()).collect();
        names.sort();
        names
    };
    folders.iter().map(plans).find(|names| !names.is_empty()).unwrap_or_default()
}

fn render(errors: &PlanErrors, text: &str, path: &Path, colour: Colour) -> String {
    let renderer = if colour.on_stderr() { Renderer::styled() } else { Renderer::plain() };
    let path = path.display().to_string();
    let snippets: Vec<String> =
        errors.0.iter().map(|error| renderer.render(&report(error, text, &path)).to_string()).collect();
    let n = errors.0.len();
    let things = if n == 1 { "a mistake".to_owned() } else { format!("{n} mistakes") };
    format!("plan `{path}` has {things}\n\n{}", snippets.join("\n\n"))
}

fn report<'a>(error: &'a PlanError, text: &'a str, path: &'a str) -> Vec<Group<'a>> {
    let span = error.span.clone().unwrap_or(0..text.len().min(1));
    let snippet = Snippet::source(text).path(path).annotation(AnnotationKind::Primary.span(span));
    let group = Level::ERROR.primary_title(error.message.as_str()).element(snippet);
    match &error.help {
        Some(help) => vec![group, Group::with_title(Level::HELP.secondary_title(help.as_str()))],
        None => vec![group],
    }
}
