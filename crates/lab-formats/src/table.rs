//! Pages for a terminal: aligned columns, no frames, colour only on request.

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Row as TableRow, Table, TableStyle, Width,
};

use crate::page::{Alignment, Block, Grid, Page, Row, Text, Tone};
use crate::plot::draw;

/// How a page is rendered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Whether words that carry a judgement are coloured (ANSI SGR).
    pub colour: bool,
    /// Columns to fit into; 100 when absent.
    pub width: Option<u16>,
}

const DEFAULT_WIDTH: u16 = 100;
/// Columns between two cells. The table's own (empty) junction is one of them.
const GUTTER: u16 = 2;
/// Words up to this many columns are never broken: names of metrics have at most 22.
const LONGEST_WORD: usize = 24;
/// In front of the further lines of a sentence.
const INDENT: &str = "  ";
/// One rule under the titles and nothing else: figures are easier to compare without lines between them.
const RULED: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill(RULE).junction(RULE));
const RULE: char = '─';
/// The same with a line between rows, by which they are told apart before their cells are painted.
const PARTED: TableStyle = RULED.row_separator(LineStyle::none().fill(PARTING).junction(PARTING));
/// No cell has one: [`plain`] leaves no control character.
const PARTING: char = '\u{1e}';

/// Renders a page: blocks apart by an empty line, a line feed at the end.
pub fn render(page: &Page, style: Style) -> String {
    let blocks: Vec<String> = page.0.iter().map(|block| render_block(block, style)).collect();
    blocks.join("\n")
}

fn render_block(block: &Block, style: Style) -> String {
    match block {
        Block::Title(title) => wrap(&plain(title), width(style), "") + "\n",
        Block::Facts(facts) => render_facts(facts, style),
        Block::Grid(grid) => render_grid(grid, style),
        Block::Lines(lines) => lines.iter().map(|line| render_line(line, style)).collect(),
        Block::Figure(plot) => {
            draw(plot, Some(width(style))).iter().map(|spans| render_spans(spans, style)).collect()
        }
    }
}

fn width(style: Style) -> usize {
    usize::from(style.width.unwrap_or(DEFAULT_WIDTH)).max(20)
}

fn render_facts(facts: &[(String, Text)], style: Style) -> String {
    let column = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + usize::from(GUTTER);
    let indent = " ".repeat(column);
    let fact = |(name, text): &(String, Text)| {
        let wrapped = wrap(&plain(&text.words), width(style).saturating_sub(column), &indent);
        format!("{name:column$}{}\n", paint(&wrapped, text.tone, style))
    };
    facts.iter().map(fact).collect()
}

fn render_line(line: &Text, style: Style) -> String {
    let wrapped = wrap(&plain(&line.words), width(style) - INDENT.len(), INDENT);
    paint(&wrapped, line.tone, style) + "\n"
}

fn render_spans(spans: &[Text], style: Style) -> String {
    let painted = spans.iter().map(|span| paint(&plain(&span.words), span.tone, style));
    painted.collect::<String>() + "\n"
}

fn render_grid(grid: &Grid, style: Style) -> String {
    let mut table = Table::new();
    table
        .load_style(if style.colour { PARTED } else { RULED })
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(style.width.unwrap_or(DEFAULT_WIDTH))
        .set_header(grid.columns.iter().map(|column| column.title));
    for row in &grid.rows {
        table.add_row(TableRow::from(row.cells.iter().map(|cell| plain(cell))));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, GUTTER - 1));
        column.set_constraint(room(grid, index));
        column.set_cell_alignment(match grid.columns[index].alignment {
            Alignment::Left => CellAlignment::Left,
            Alignment::Right => CellAlignment::Right,
        });
    }
    let text: String = table.trim_fmt().lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if style.colour { paint_last_cells(&text, &grid.rows, style) } else { text }
}

/// Returns the room a column insists on, in a terminal that has too little: a number broken over two lines is no number,
/// and words break at spaces, unless they are longer than any name of a metric.
fn room(grid: &Grid, index: usize) -> ColumnConstraint {
    let column = &grid.columns[index];
    if column.alignment == Alignment::Right {
        return ColumnConstraint::ContentWidth;
    }
    let cells = grid.rows.iter().map(|row| row.cells[index].as_str());
    let words = cells.chain([column.title]).flat_map(str::split_whitespace);
    let longest = words.map(|word| word.chars().count()).max().unwrap_or(0).min(LONGEST_WORD);
    let longest = u16::try_from(longest).expect("the longest word is capped");
    ColumnConstraint::LowerBoundary(Width::Fixed(longest + GUTTER - 1))
}

/// Paints the last cell of each row and takes out the lines between rows. A cell that had to be broken over lines stays as
/// it is.
fn paint_last_cells(text: &str, rows: &[Row], style: Style) -> String {
    let mut rows = rows.iter();
    let mut is_header = true;
    // The row whose first line comes next.
    let mut begins: Option<&Row> = None;
    let mut painted = String::new();
    for line in text.lines() {
        if line.starts_with(PARTING) {
            begins = rows.next();
            continue;
        }
        match begins.take() {
            Some(row) => painted.push_str(&paint_last_cell(line, row, style)),
            None => painted.push_str(line),
        }
        painted.push('\n');
        if is_header && line.starts_with(RULE) {
            is_header = false;
            begins = rows.next();
        }
    }
    painted
}

fn paint_last_cell(line: &str, row: &Row, style: Style) -> String {
    let words = row.cells.last().map_or_else(String::new, |cell| plain(cell));
    match line.strip_suffix(words.as_str()) {
        Some(start) if !words.is_empty() => start.to_owned() + &paint(&words, row.tone, style),
        _ => line.to_owned(),
    }
}

/// Wraps words in the colour of their tone (ECMA-48, SGR 31 to 33).
fn paint(words: &str, tone: Tone, style: Style) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Doubtful => "33",
        Tone::Bad => "31",
        Tone::Plain => return words.to_owned(),
    };
    if style.colour { format!("\u{1b}[{code}m{words}\u{1b}[0m") } else { words.to_owned() }
}

/// Breaks text at spaces into lines of at most `width` columns, where its words allow it. Lines after the first are
/// indented on top of that.
fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            wrapped.push('\n');
            wrapped.push_str(indent);
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

/// Returns text without control characters: a name must not be able to move the cursor or start a line.
pub(crate) fn plain(text: &str) -> String {
    let shown = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use lab_core::metric::Reading;

    use super::*;
    use crate::baseline_json::ShownBaseline;
    use crate::overhead::{LeftOutBlocks, OVERHEAD_SCHEMA, OverheadConclusion, OverheadDocument};
    use crate::page::Column;
    use crate::plot::Plot;
    use crate::{Recording, page, samples};

    fn session_page() -> Page {
        let session = samples::session();
        let figures = samples::figures(&session);
        page::session(Recording { session: &session, figures: &figures })
    }

    fn observed_pages() -> [Page; 2] {
        let session = samples::observed_session();
        let figures = samples::figures(&session);
        let recording = Recording { session: &session, figures: &figures };
        [page::session(recording), page::details(recording)]
    }

    fn pages() -> [Page; 10] {
        let [observed, details] = observed_pages();
        [
            session_page(),
            observed,
            details,
            page::repetitions(&samples::session()),
            page::sessions(&samples::list()),
            page::sessions(&[]),
            page::history(&samples::history()),
            page::report(&samples::judged_report()),
            page::gate(&samples::gate()),
            page::report(&samples::refused_report()),
        ]
    }

    #[test]
    fn a_session_on_a_terminal() {
        insta::assert_snapshot!(render(&session_page(), Style::default()));
    }

    #[test]
    fn a_disturbed_session_on_a_terminal() {
        let session = samples::disturbed_session();
        let figures = samples::figures(&session);
        let overview = page::session(Recording { session: &session, figures: &figures });
        let texts = [overview, page::repetitions(&session)].map(|page| render(&page, Style::default()));
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn a_session_with_instruments_on_a_terminal() {
        insta::assert_snapshot!(observed_pages().map(|page| render(&page, Style::default())).join("\n"));
    }

    #[test]
    fn the_time_of_operations_is_not_called_unavailable_above_its_own_table() {
        let [session, _] = observed_pages().map(|page| render(&page, Style::default()));
        let lines: Vec<&str> = session.lines().filter(|line| line.contains("op_time_ms")).collect();
        let [figure, operations] = lines[..] else { panic!("{session}") };
        assert!(figure.contains("see below") && operations.starts_with("operation"), "{session}");
        let plain = render(&session_page(), Style::default());
        let figure = plain.lines().find(|line| line.starts_with("op_time_ms")).unwrap();
        assert!(figure.contains("unavailable"), "no profile was taken: {plain}");
    }

    fn overhead() -> OverheadDocument {
        OverheadDocument {
            schema: OVERHEAD_SCHEMA,
            plan: "quick".to_owned(),
            model: "tiny-synthetic".to_owned(),
            sample_hz: 10.0,
            meters: Reading::Unavailable("no meter".to_owned()),
            blocks: 801,
            tokens_a_block: 4,
            blocks_left_out: 3,
            left_out_by: [("run-queue", 2), ("steal", 1)]
                .map(|(rule, blocks)| LeftOutBlocks { rule: rule.to_owned(), blocks })
                .to_vec(),
            comparisons: 400,
            comparisons_left: 395,
            too_disturbed: false,
            token_ms_off: 60.1,
            token_ms_on: 60.2,
            change_percent: 0.166,
            low_percent: -0.2,
            high_percent: 0.53,
            margin_percent: 0.5,
            conclusion: OverheadConclusion::Inconclusive,
            blocks_needed: Some(960),
            sampler_cpu_percent: Some(0.0213),
            sampler_ticks: 900,
        }
    }

    #[test]
    fn the_cost_of_measuring_on_a_terminal() {
        insta::assert_snapshot!(render(&page::overhead(&overhead()), Style::default()));
    }

    #[test]
    fn a_cost_that_others_bent_is_said_to_say_nothing() {
        let bent = OverheadDocument { too_disturbed: true, blocks_left_out: 700, ..overhead() };
        let text = render(&page::overhead(&bent), Style::default());
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("inconclusive: others used the machine in 700 of 801 blocks"), "{text}");
        assert!(words.contains("395 of 400 comparisons are left, too few"), "{text}");
        assert!(!words.contains("would decide"), "more blocks beside others tell no more: {text}");
    }

    #[test]
    fn repetitions_and_a_list_on_a_terminal() {
        let [_, _, _, repetitions, list, empty, ..] = pages().map(|page| render(&page, Style::default()));
        insta::assert_snapshot!([repetitions, list, empty].join("\n"));
    }

    fn baseline_pages() -> [Page; 4] {
        let (rows, history) = (samples::list(), samples::baseline_history());
        let figures = samples::figures(&samples::session());
        let shown =
            ShownBaseline { name: "main", session: Some(&rows[0]), history: &history, figures: &figures };
        let removed = ShownBaseline { session: None, history: &history[1..], figures: &[], ..shown };
        [
            page::baselines(&samples::baselines()),
            page::baselines(&[]),
            page::baseline(shown),
            page::baseline(removed),
        ]
    }

    #[test]
    fn baselines_on_a_terminal() {
        insta::assert_snapshot!(baseline_pages().map(|page| render(&page, Style::default())).join("\n"));
    }

    #[test]
    fn experiments_one_after_the_other_on_a_terminal() {
        insta::assert_snapshot!(render(&page::steps(&samples::steps()), Style::default()));
    }

    #[test]
    fn a_history_on_a_terminal() {
        insta::assert_snapshot!(render(&page::history(&samples::history()), Style::default()));
    }

    #[test]
    fn too_few_sessions_for_a_change_are_said_to_be_too_few() {
        let mut history = samples::history();
        history.sessions.truncate(6);
        history.change_points.clear();
        let text = render(&page::history(&history), Style::default());
        assert!(text.contains("too few to tell: 5 sessions with a mean"), "{text}");
        history.sessions.clear();
        history.since_first = None;
        let text = render(&page::history(&history), Style::default());
        assert!(!text.contains('┤') && text.contains("0 sessions with a mean"), "{text}");
    }

    #[test]
    fn reports_on_a_terminal() {
        let [.., judged, refused] = pages().map(|page| render(&page, Style::default()));
        insta::assert_snapshot!([judged, refused].join("\n"));
    }

    #[test]
    fn no_line_is_wider_than_a_hundred_columns_or_ends_in_a_space() {
        for text in pages().iter().chain(&baseline_pages()).map(|page| render(page, Style::default())) {
            for line in text.lines() {
                assert!(line.chars().count() <= 100, "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        for page in pages() {
            let coloured = render(&page, Style { colour: true, width: None });
            let bare = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"];
            let stripped = bare.iter().fold(coloured.clone(), |text, code| text.replace(code, ""));
            assert_eq!(stripped, render(&page, Style::default()));
        }
        let report = render(&page::report(&samples::judged_report()), Style { colour: true, width: None });
        assert!(report.contains("\u{1b}[31mworse\u{1b}[0m"), "{report}");
    }

    #[test]
    fn a_cell_that_is_broken_over_lines_costs_no_other_row_its_colour() {
        let column = |title| Column { title, alignment: Alignment::Left };
        let row = |judgement: &str| Row {
            cells: vec!["tokens_per_sec".to_owned(), judgement.to_owned()],
            tone: Tone::Bad,
        };
        let long = "not judged: ".to_owned() + &"the baseline has no value ".repeat(4);
        // What ends a broken cell is another row's whole cell.
        let rows = vec![row("worse"), row(long.trim_end()), row("value"), row(""), row("worse")];
        let page =
            Page(vec![Block::Grid(Grid { columns: vec![column("metric"), column("judgement")], rows })]);
        let coloured = render(&page, Style { colour: true, width: Some(60) });
        let n_coloured = coloured.lines().filter(|line| line.contains("\u{1b}[31m")).count();
        assert_eq!(n_coloured, 3, "{coloured}");
        let stripped = coloured.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
        assert_eq!(stripped, render(&page, Style { colour: false, width: Some(60) }));
    }

    #[test]
    fn a_figure_gives_way_to_a_narrow_terminal() {
        let values: Vec<Option<f64>> = (0..150_u8).map(|index| Some(60.0 + f64::from(index % 7))).collect();
        let page = Page(vec![Block::Figure(Plot { values, marks: Vec::new() })]);
        let widest = |width| {
            let text = render(&page, Style { colour: false, width });
            text.lines().map(|line| line.chars().count()).max().unwrap()
        };
        assert_eq!(widest(Some(60)), 60);
        assert_eq!((widest(None), widest(Some(200))), (67, 67));
    }

    #[test]
    fn control_characters_in_names_are_shown_and_not_obeyed() {
        let mut rows = samples::list();
        rows[0].model = "evil\u{1b}[2J\nname".to_owned();
        let text = render(&page::sessions(&rows), Style { colour: false, width: Some(200) });
        assert!(text.contains("evil\\u{1b}[2J\\nname"), "{text}");
    }

    #[test]
    fn a_narrow_terminal_breaks_no_name_and_no_number() {
        let narrow = render(&session_page(), Style { colour: false, width: Some(60) });
        for whole in ["prefill_tokens_per_sec", "tokens/watt", "61.54", "unavailable", "official"] {
            assert!(narrow.contains(whole), "{whole} is broken:\n{narrow}");
        }
        let sentence = narrow.lines().filter(|line| line.contains(": "));
        assert!(sentence.into_iter().all(|line| line.chars().count() <= 60), "{narrow}");
    }

    #[test]
    fn a_list_of_several_contracts_names_its_figures_and_fits_into_eighty_columns() {
        let wide = render(&page::sessions(&samples::mixed_list()), Style { colour: false, width: Some(200) });
        for figure in ["result", "tokens_per_sec 61.23 ", "elapsed_sec 1.204 ", "duration_ms - "] {
            assert!(wide.contains(figure), "{figure}:\n{wide}");
        }
        let narrow =
            render(&page::sessions(&samples::mixed_list()), Style { colour: false, width: Some(80) });
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        for whole in
            ["00000002", "train.py", "tiny-synthetic", "tokens_per_sec", "elapsed_sec", "1.204", "incomplete"]
        {
            assert!(narrow.contains(whole), "{whole} is broken:\n{narrow}");
        }
        let engines = render(&page::sessions(&samples::list()), Style::default());
        assert!(engines.contains("fingerprint") && !engines.contains("result"), "{engines}");
    }

    #[test]
    fn a_long_value_gives_way_to_the_width() {
        let mut report = samples::refused_report();
        let lab_core::report::Refusal::Fingerprint(difference) = &mut report.refusals[1] else { panic!() };
        difference.baseline = Some("x".repeat(300).into());
        let text = render(&page::report(&report), Style::default());
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn long_lines_break_at_spaces() {
        assert_eq!(wrap("one two three", 8, "  "), "one two\n  three");
        assert_eq!(wrap("unbreakable", 4, "  "), "unbreakable");
    }
}
