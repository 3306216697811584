//! A series of values drawn in text: Unicode braille, in which a character has two columns of four dots (ISO 11548-1).
//!
//! ```text
//!  62.10 ┤⠒⠒⠤⠒⠤⠒      ┊
//!        │            ┊
//!  60.04 ┤            ┊
//!        │            ┊
//!  57.98 ┤            ┊⠒⠤⠒⠤
//!        └─────────────────
//!         1           ▼   8
//! ```

use crate::page::{Text, Tone};
use crate::quantity::format_quantity;

/// Most characters across, without the axis.
const WIDTH: usize = 60;
/// Fewest characters across that a narrow terminal leaves: what stands under the axis needs them.
const LEAST_WIDTH: usize = 8;
/// Characters from top to bottom, without the axis.
const HEIGHT: usize = 12;
/// Dots of a character.
const DOTS: (usize, usize) = (2, 4);
/// Few values are drawn this many characters apart, so that a short series is still seen as one.
const WIDEST_STEP: usize = 3;
/// The character without dots; each dot adds a bit (The Unicode Standard, "Braille Patterns").
const BRAILLE: u32 = 0x2800;
/// The bits of the dots of a character: columns from left to right, in each from top to bottom.
const BITS: [[u8; DOTS.1]; DOTS.0] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// A place in the series that is marked by a line and, under the axis, an arrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Position among the values, from 0.
    pub index: usize,
    /// Whether the arrow points up.
    pub rises: bool,
    /// What it means for the reader.
    pub tone: Tone,
}

/// A series to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Finite values in their order. One that is absent leaves its place empty.
    pub values: Vec<Option<f64>>,
    /// Places that are marked.
    pub marks: Vec<Mark>,
}

/// Draws values over their position, at most 60 characters wide and 12 high, without the axes; with them, in so many columns
/// as are given, down to 8 characters. Nothing is drawn where there is no value at all.
pub fn draw(plot: &Plot, columns: Option<usize>) -> Vec<Vec<Text>> {
    let Plot { values, marks } = plot;
    let Some(scale) = Scale::of(values) else { return Vec::new() };
    // In front of the values stand the label, a space and the axis.
    let room = columns.map_or(WIDTH, |columns| columns.saturating_sub(scale.label_width() + 2));
    let across = Across { n_values: values.len(), most: room.clamp(LEAST_WIDTH, WIDTH) };
    let mut canvas = vec![vec![0_u8; across.width()]; HEIGHT];
    for (index, value) in values.iter().enumerate().filter_map(|(index, value)| Some((index, (*value)?))) {
        let (row, dot) = scale.place(value);
        for (column, side) in across.dots(index) {
            canvas[row][column] |= BITS[side][dot];
        }
    }
    let mut lines = rows(&canvas, &scale, &across, marks);
    lines.extend(axis(&scale, &across, marks));
    lines
}

/// What the height stands for.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(values: &[Option<f64>]) -> Option<Self> {
        let present = || values.iter().flatten().copied();
        let (low, high) = (present().reduce(f64::min)?, present().reduce(f64::max)?);
        // Equal values lie in the middle.
        let margin = if low < high { 0.0 } else { (low.abs() * 0.01).max(f64::MIN_POSITIVE) };
        Some(Self { low: low - margin, high: high + margin })
    }

    /// Returns the row of a value and the dot inside it, both from the top.
    fn place(&self, value: f64) -> (usize, usize) {
        const LAST: usize = HEIGHT * DOTS.1 - 1;
        let share = ((self.high - value) / (self.high - self.low)).clamp(0.0, 1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a few dozen dots"
        )]
        let dot = (share * LAST as f64).round() as usize;
        (dot / DOTS.1, dot % DOTS.1)
    }

    /// Returns what stands beside a row: the ends and the middle.
    fn label(&self, row: usize) -> Option<String> {
        const MIDDLE: usize = HEIGHT / 2;
        const BOTTOM: usize = HEIGHT - 1;
        match row {
            0 => Some(format_quantity(self.high)),
            MIDDLE => Some(format_quantity(f64::midpoint(self.low, self.high))),
            BOTTOM => Some(format_quantity(self.low)),
            _ => None,
        }
    }

    fn label_width(&self) -> usize {
        (0..HEIGHT).filter_map(|row| self.label(row)).map(|label| label.chars().count()).max().unwrap_or(0)
    }
}

/// Where values stand from left to right.
struct Across {
    n_values: usize,
    /// The most characters there may be.
    most: usize,
}

impl Across {
    /// Returns the characters from one value to the next; none where values share characters.
    fn step(&self) -> Option<usize> {
        (self.n_values <= self.most).then(|| (self.most / self.n_values).min(WIDEST_STEP))
    }

    fn width(&self) -> usize {
        self.step().map_or(self.most, |step| (self.n_values - 1) * step + 1)
    }

    fn column(&self, index: usize) -> usize {
        self.step().map_or(index * self.most / self.n_values, |step| index * step)
    }

    /// Returns the dots of a value, as character and column inside it: both columns of a character where it has one of
    /// its own.
    fn dots(&self, index: usize) -> Vec<(usize, usize)> {
        if self.step().is_some() {
            return (0..DOTS.0).map(|side| (self.column(index), side)).collect();
        }
        let dot = index * self.most * DOTS.0 / self.n_values;
        vec![(dot / DOTS.0, dot % DOTS.0)]
    }
}

fn rows(canvas: &[Vec<u8>], scale: &Scale, across: &Across, marks: &[Mark]) -> Vec<Vec<Text>> {
    let label_width = scale.label_width();
    let is_marked = |column: usize| marks.iter().any(|mark| across.column(mark.index) == column);
    let row = |(index, cells): (usize, &Vec<u8>)| {
        let (label, tick) = scale.label(index).map_or((String::new(), '│'), |label| (label, '┤'));
        let drawn: String =
            cells.iter().enumerate().map(|(column, bits)| character(*bits, is_marked(column))).collect();
        vec![Text::plain(format!("{label:>label_width$} {tick}{drawn}").trim_end())]
    };
    canvas.iter().enumerate().map(row).collect()
}

fn character(bits: u8, is_marked: bool) -> char {
    match (bits, is_marked) {
        (0, false) => ' ',
        (0, true) => '┊',
        (bits, _) => char::from_u32(BRAILLE + u32::from(bits)).expect("0x2800 to 0x28ff are characters"),
    }
}

/// Returns the line of the axis and the one under it: the first and the last position, and an arrow a mark.
fn axis(scale: &Scale, across: &Across, marks: &[Mark]) -> [Vec<Text>; 2] {
    let margin = " ".repeat(scale.label_width() + 1);
    let width = across.width();
    let line = Text::plain(format!("{margin}└{}", "─".repeat(width)));
    let last = across.n_values.to_string();
    let numbers = if width > last.len() + 1 { format!("1{last:>0$}", width - 1) } else { "1".to_owned() };
    let mut under: Vec<(char, Tone)> = numbers.chars().map(|own| (own, Tone::Plain)).collect();
    for mark in marks {
        under[across.column(mark.index)] = (if mark.rises { '▲' } else { '▼' }, mark.tone);
    }
    let mut spans = vec![Text::plain(format!("{margin} "))];
    spans.extend(
        under
            .chunk_by(|left, right| left.1 == right.1)
            .map(|span| Text { words: span.iter().map(|(own, _)| own).collect(), tone: span[0].1 }),
    );
    [vec![line], spans]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[Option<f64>], marks: &[Mark]) -> Vec<Vec<Text>> {
        draw(&Plot { values: values.to_vec(), marks: marks.to_vec() }, None)
    }

    fn text(values: &[Option<f64>], marks: &[Mark]) -> String {
        let line = |spans: Vec<Text>| spans.into_iter().map(|span| span.words).collect::<String>() + "\n";
        drawn(values, marks).into_iter().map(line).collect()
    }

    fn step(n_before: usize, n_after: usize) -> Vec<Option<f64>> {
        let wave = |index: usize| (index * 7_919 % 1_009) as f64 / 1_009.0;
        let level = |index| if index < n_before { 62.0 } else { 58.0 };
        (0..n_before + n_after).map(|index| Some(level(index) + wave(index))).collect()
    }

    const DOWN: Mark = Mark { index: 8, rises: false, tone: Tone::Bad };

    #[test]
    fn a_short_series_is_drawn_with_its_step() {
        insta::assert_snapshot!(text(&step(8, 6), &[DOWN]));
    }

    #[test]
    fn a_long_series_is_drawn_in_sixty_columns_with_gaps_where_values_are_absent() {
        let mut values = step(90, 60);
        values[20..40].fill(None);
        insta::assert_snapshot!(text(&values, &[Mark { index: 90, ..DOWN }]));
    }

    #[test]
    fn no_series_is_wider_or_higher_than_promised() {
        for n_values in [1, 2, 3, 19, 20, 21, 30, 59, 60, 61, 119, 120, 121, 200, 1_000] {
            let marks = [Mark { index: n_values - 1, rises: true, tone: Tone::Good }];
            let lines = drawn(&step(n_values, 0), &marks);
            assert_eq!(lines.len(), HEIGHT + 2, "{n_values}");
            let axis = &lines[HEIGHT][0].words;
            assert!(axis.chars().filter(|own| *own == '─').count() <= WIDTH, "{n_values}: {axis}");
            assert!(lines[HEIGHT + 1].iter().any(|span| span.words == "▲" && span.tone == Tone::Good));
        }
    }

    #[test]
    fn no_series_is_wider_than_the_columns_it_is_given() {
        for columns in [0, 12, 20, 33, 60, 66, 67, 100] {
            for n_values in [1, 2, 3, 4, 8, 9, 20, 50, 61, 150, 10_000] {
                let last = Mark { index: n_values - 1, rises: true, tone: Tone::Good };
                let plot = Plot { values: step(n_values, 0), marks: vec![last] };
                for spans in draw(&plot, Some(columns)) {
                    let length: usize = spans.iter().map(|span| span.words.chars().count()).sum();
                    // A label of five characters, a space and the axis.
                    assert!(length <= columns.max(7 + LEAST_WIDTH), "{n_values} in {columns}: {spans:?}");
                }
            }
        }
    }

    #[test]
    fn equal_values_lie_in_the_middle_and_no_values_draw_nothing() {
        let lines = drawn(&[Some(5.0); 4], &[]);
        let dotted: Vec<usize> = (0..HEIGHT)
            .filter(|row| lines[*row][0].words.contains(|own| ('⠁'..='⣿').contains(&own)))
            .collect();
        assert_eq!(dotted.len(), 1);
        assert!(dotted[0] == HEIGHT / 2 || dotted[0] == HEIGHT / 2 - 1, "{dotted:?}");
        assert_eq!(drawn(&[None, None], &[]), Vec::<Vec<Text>>::new());
        assert_eq!(drawn(&[], &[]), Vec::<Vec<Text>>::new());
        assert_eq!(drawn(&[Some(0.0)], &[]).len(), HEIGHT + 2);
    }

    #[test]
    fn every_value_leaves_a_dot() {
        for n_values in [5, 60, 61, 119] {
            let values = step(n_values, 0);
            let text = text(&values, &[]);
            let n_dots: u32 = text
                .chars()
                .filter(|own| ('⠁'..='⣿').contains(own))
                .map(|own| (u32::from(own) - BRAILLE).count_ones())
                .sum();
            let a_value = if n_values <= WIDTH { 2 } else { 1 };
            assert_eq!(n_dots, u32::try_from(n_values * a_value).unwrap());
        }
    }
}
