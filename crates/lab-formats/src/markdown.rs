//! Pages as Markdown (GitHub's flavour, for its tables).

use crate::page::{Alignment, Block, Column, Grid, Page, Text};
use crate::plot::draw;
use crate::table::plain;

/// Renders a page: blocks apart by an empty line, a line feed at the end.
pub fn render(page: &Page) -> String {
    let blocks: Vec<String> = page.0.iter().map(render_block).collect();
    blocks.join("\n")
}

fn render_block(block: &Block) -> String {
    match block {
        Block::Title(title) => format!("# {}\n", escape(title)),
        Block::Facts(facts) => facts.iter().map(fact).collect(),
        Block::Grid(grid) => render_grid(grid),
        Block::Lines(lines) => {
            let lines: Vec<String> = lines.iter().map(|line| escape(&line.words) + "\n").collect();
            lines.join("\n")
        }
        Block::Figure(plot) => {
            let line =
                |spans: &Vec<Text>| -> String { spans.iter().map(|span| plain(&span.words)).collect() };
            let lines: Vec<String> = draw(plot, None).iter().map(line).collect();
            format!("```text\n{}\n```\n", lines.join("\n"))
        }
    }
}

fn fact((name, text): &(String, Text)) -> String {
    format!("- **{}**: {}\n", escape(name), escape(&text.words))
}

fn render_grid(grid: &Grid) -> String {
    let rule = |column: &Column| match column.alignment {
        Alignment::Left => "---".to_owned(),
        Alignment::Right => "---:".to_owned(),
    };
    let titles: Vec<String> = grid.columns.iter().map(|column| escape(column.title)).collect();
    let mut text = line(&titles) + &line(&grid.columns.iter().map(rule).collect::<Vec<_>>());
    for row in &grid.rows {
        text += &line(&row.cells.iter().map(|cell| escape(cell)).collect::<Vec<_>>());
    }
    text
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// Escapes what Markdown would read as markup: a pipe ends a cell, `<` opens HTML, `*`, backticks and brackets open
/// spans. Underscores inside words are text in this flavour and stay readable.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in plain(text).chars() {
        match character {
            '|' | '*' | '`' | '[' | ']' | '\\' => escaped.extend(['\\', character]),
            '<' => escaped.push_str("&lt;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Recording, page, samples};

    #[test]
    fn a_session_as_markdown() {
        let session = samples::session();
        let figures = samples::figures(&session);
        let page = page::session(Recording { session: &session, figures: &figures });
        insta::assert_snapshot!(render(&page));
    }

    #[test]
    fn repetitions_a_list_and_reports_as_markdown() {
        let pages = [
            page::repetitions(&samples::session()),
            page::sessions(&samples::list()),
            page::report(&samples::judged_report()),
            page::gate(&samples::gate()),
            page::report(&samples::refused_report()),
        ];
        let texts: Vec<String> = pages.iter().map(render).collect();
        insta::assert_snapshot!(texts.join("\n---\n\n"));
    }

    #[test]
    fn a_figure_is_code() {
        let text = render(&page::history(&samples::history()));
        let (_, figure) = text.split_once("```text\n").unwrap();
        assert!(figure.starts_with("62.") && figure.contains("▼") && figure.contains("\n```\n"), "{text}");
    }

    #[test]
    fn markup_in_names_is_text() {
        assert_eq!(escape("a|b *c* <d> `e`\n[f]"), "a\\|b \\*c\\* &lt;d> \\`e\\`\\\\n\\[f\\]");
    }
}
