//! What a plan of a command would do.

use super::{Block, Page, Text, Tone};
use crate::command_check::{CommandBlock, CommandCheckDocument, CommandRunBlock};

/// Digits of a digest that a table shows.
const DIGEST_DIGITS: usize = 12;

/// Lays out what a plan of a command would do; what keeps it from running comes last.
pub fn command_check(document: &CommandCheckDocument) -> Page {
    let title = match document.description.as_str() {
        "" => document.plan.clone(),
        description => format!("{}: {description}", document.plan),
    };
    let problems: Vec<Text> =
        document.problems.iter().map(|problem| Text::toned(problem, Tone::Bad)).collect();
    let lines = match problems.is_empty() {
        true => vec![Text::toned("this plan can run here", Tone::Good)],
        false => problems,
    };
    Page(vec![Block::Title(title), Block::Facts(facts(document)), Block::Lines(lines)])
}

fn facts(document: &CommandCheckDocument) -> Vec<(String, Text)> {
    let CommandCheckDocument { command, rows, run, tolerances, .. } = document;
    let CommandBlock { words, folder, path, build, script, cores, environment } = command;
    let CommandRunBlock { warmups, measured, timeout_s, interval_s } = run;
    let known = rows.known.map(|known| format!(" = {known}")).unwrap_or_default();
    let program = match (path, build) {
        (Some(path), Some(build)) => format!("{path} (build {})", short(build)),
        (Some(path), None) => format!("{path} (cannot be read)"),
        (None, _) => "not found".to_owned(),
    };
    let mut facts =
        vec![fact("command", words.join(" ")), fact("folder", folder.clone()), fact("program", program)];
    facts.extend(script.iter().map(|script| fact("script", format!("SHA-256 {}", short(script)))));
    facts.extend([
        fact("rows", format!("{}{known}", rows.source)),
        fact("cores", cores.clone().unwrap_or_else(|| "not to be had".to_owned())),
        fact("environment", environment.join(" ")),
        fact(
            "runs",
            format!("warm-ups: {warmups}, measured repetitions: {measured}, at most {timeout_s} s each"),
        ),
        fact("sampling", format!("memory every {interval_s} s")),
    ]);
    facts.extend(tolerances.iter().map(|row| fact("tolerance", format!("{} {}", row.metric, row.tolerance))));
    facts
}

fn fact(name: &str, words: String) -> (String, Text) {
    (name.to_owned(), Text::plain(words))
}

fn short(digest: &str) -> String {
    digest.chars().take(DIGEST_DIGITS).collect()
}
