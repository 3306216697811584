//! `lab show`: one session in full.

use clap::Args;
use lab_core::metric::{Measurement, Reading};
use lab_core::record::Session;
use lab_formats::{Recording, page, session_json, table};

use crate::exit::Exit;
use crate::failure::Result;
use crate::global::Global;
use crate::store;
use crate::terminal::{Format, print, say};

const EXAMPLES: &str = "\
Examples:
  lab show @latest
  lab show @latest --rederive      compute every metric again from the stored timelines";

/// What `lab show` takes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The session: an id, a part of one that is unique, `@latest`, `@latest~1`, `@NAME` of a baseline.
    session: String,
    /// Computes every metric again from the stored timelines and compares bit for bit.
    #[arg(long)]
    rederive: bool,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

pub(crate) fn carry_out(arguments: &Arguments, global: &Global) -> Result<Exit> {
    let store = store::open(global)?;
    let session = store::load(&store, &arguments.session)?;
    let figures = lab_compare::summarize_session(&session);
    let recording = Recording { session: &session, figures: &figures };
    match arguments.format {
        Format::Json => print(&session_json::to_text(recording))?,
        Format::Table => {
            let style = global.color.table_style();
            let pages = [page::session(recording), page::details(recording), page::repetitions(&session)];
            let texts: Vec<String> = pages.iter().map(|page| table::render(page, style)).collect();
            print(&texts.join("\n"))?;
        }
    }
    if arguments.rederive { Ok(rederive(&session)) } else { Ok(Exit::Pass) }
}

/// Says how many published values the stored raw data gives again, bit for bit.
fn rederive(session: &Session) -> Exit {
    let n_prompt = session.header.n_prompt();
    let differences: Vec<String> = session
        .succeeded()
        .flat_map(|recorded| {
            let derived = recorded.repetition.outcome.measurements(n_prompt);
            let name = session.name_of(&recorded.repetition);
            differences(&recorded.measurements, &derived)
                .into_iter()
                .map(move |line| format!("{name}, {line}"))
        })
        .collect();
    for line in &differences {
        say(line);
    }
    let n_values: usize = session.succeeded().map(|recorded| recorded.measurements.len()).sum();
    if n_values == 0 {
        say("nothing to rederive: no measured repetition completed");
        return Exit::NotReproduced;
    }
    let n_different = differences.len();
    say(&format!("rederived {n_values} values from the stored raw data: {n_different} differ"));
    if differences.is_empty() { Exit::Pass } else { Exit::NotReproduced }
}

/// Compares published measurements with those derived anew. Metrics of a later lab were not published then, and the words
/// of a reason may change from lab to lab; values may not.
fn differences(published: &[Measurement], derived: &[Measurement]) -> Vec<String> {
    let anew = |metric: &str| derived.iter().find(|own| own.metric == metric).map(|own| &own.reading);
    published
        .iter()
        .map(|own| (own, anew(&own.metric)))
        .filter(|(own, anew)| !same(&own.reading, *anew))
        .map(|(own, anew)| format!("{}: published {:?}, derived {anew:?}", own.metric, own.reading))
        .collect()
}

fn same(published: &Reading<f64>, derived: Option<&Reading<f64>>) -> bool {
    match (published, derived) {
        (Reading::Value(left), Some(Reading::Value(right))) => left.to_bits() == right.to_bits(),
        (Reading::Unavailable(_), Some(Reading::Unavailable(_))) => true,
        _ => false,
    }
}
