//! Samples as CSV (RFC 4180): one row for each completed measured repetition and metric, the long form that data frames
//! and spreadsheets pivot from.

use lab_core::energy::source_of;
use lab_core::fingerprint::Fingerprint;
use lab_core::metric::{Measurement, Reading, find};
use lab_core::record::{Outcome, RecordedRepetition, Session};
use lab_core::validity::Validity;

/// The columns, in order.
pub const COLUMNS: [&str; 17] = [
    "session",
    "started_at",
    "plan",
    "model",
    "backend",
    "quantization",
    "engine_version",
    "repetition",
    "launch",
    "validity",
    "metric",
    "contract",
    "unit",
    "value",
    "unavailable",
    "unofficial",
    "meter",
];

/// Returns the samples of some sessions under one header line. Values are the shortest decimals that read back as the
/// same number; where there is none, `value` is empty and `unavailable` says why.
/// `unofficial` names the metrics whose tolerance the plan loosened, `meter` what an energy figure was measured with.
pub fn to_text<'a>(sessions: impl IntoIterator<Item = &'a Session>) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(sessions.into_iter().flat_map(session_rows));
    write(&rows)
}

fn session_rows(session: &Session) -> Vec<[String; 17]> {
    session.succeeded().flat_map(|recorded| repetition_rows(session, recorded)).collect()
}

fn repetition_rows(session: &Session, recorded: &RecordedRepetition) -> Vec<[String; 17]> {
    let header = &session.header;
    let [backend, quantization, engine_version] = identity(&header.fingerprint);
    let loosened: Vec<&str> = header.loosened().into_iter().map(|(metric, ..)| metric.name).collect();
    let unofficial = loosened.join(" ");
    let validity = recorded.repetition.outcome.validity().map_or("failed", Validity::word);
    let row = |measurement: &Measurement| {
        let [metric, contract, unit] = names(&measurement.metric);
        let (value, unavailable) = match &measurement.reading {
            Reading::Value(value) => (value.to_string(), String::new()),
            Reading::Unavailable(reason) => (String::new(), reason.clone()),
        };
        [
            header.id.to_string(),
            header.started_at.to_string(),
            header.plan_name.clone(),
            header.model_name.clone(),
            backend.clone(),
            quantization.clone(),
            engine_version.clone(),
            recorded.repetition.index.to_string(),
            recorded.repetition.launch.to_string(),
            validity.to_owned(),
            metric,
            contract,
            unit,
            value,
            unavailable,
            unofficial.clone(),
            meter(&measurement.metric, &recorded.repetition.outcome),
        ]
    };
    recorded.measurements.iter().map(row).collect()
}

fn identity(fingerprint: &Fingerprint) -> [String; 3] {
    [
        crate::identity_text(&fingerprint.backend, "kind").unwrap_or_default(),
        crate::identity_text(&fingerprint.model, "quantization").unwrap_or_default(),
        crate::identity_text(&fingerprint.engine, "version").unwrap_or_default(),
    ]
}

/// Returns name, contract and unit of a metric. One that this version of lab does not know has its id and no unit.
fn names(id: &str) -> [String; 3] {
    match find(id) {
        Some(metric) => [metric.name.to_owned(), metric.contract.to_string(), metric.unit.to_owned()],
        None => [id.to_owned(), String::new(), String::new()],
    }
}

/// Names what an energy figure was measured with; empty for any other metric, and without a meter.
fn meter(metric: &str, outcome: &Outcome) -> String {
    let Outcome::Completed(completed) = outcome else { return String::new() };
    let kind = find(metric).and_then(|metric| metric.meter);
    let traces = completed.observation.energy.value();
    kind.zip(traces).and_then(|(kind, traces)| source_of(traces, kind)).unwrap_or_default()
}

fn write<const N: usize>(rows: &[[String; N]]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).expect("rows are equally long and memory takes them");
    }
    let bytes = writer.into_inner().expect("memory takes every byte");
    String::from_utf8(bytes).expect("fields are UTF-8 and so are separators")
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

    use super::*;
    use crate::samples;

    #[test]
    fn every_repetition_and_metric_has_a_row() {
        insta::assert_snapshot!(to_text([&samples::session()]));
    }

    fn read(text: &str) -> Vec<csv::StringRecord> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        reader.records().map(Result::unwrap).collect()
    }

    /// Draws names from the characters that a CSV writer can get wrong, and values from all finite bit patterns.
    struct Draw(ChaCha8Rng);

    impl Draw {
        fn text(&mut self) -> String {
            const CHARACTERS: [char; 14] =
                ['a', 'Z', '0', ' ', ',', '"', '\'', '\n', '\r', '\t', ';', 'é', '漢', '\u{1f600}'];
            let length = self.0.next_u32() % 12;
            (0..length).map(|_| CHARACTERS[self.0.next_u32() as usize % CHARACTERS.len()]).collect()
        }

        fn value(&mut self) -> f64 {
            let drawn = f64::from_bits(self.0.next_u64());
            if drawn.is_finite() { drawn } else { self.value() }
        }
    }

    #[test]
    fn names_and_values_of_any_kind_read_back() {
        let mut draw = Draw(ChaCha8Rng::seed_from_u64(5));
        for _ in 0..300 {
            let (plan, model, reason, value) = (draw.text(), draw.text(), draw.text(), draw.value());
            let mut session = samples::session();
            session.header.plan_name.clone_from(&plan);
            session.header.model_name.clone_from(&model);
            let measurements = &mut session.repetitions[1].measurements;
            measurements[0].reading = Reading::Value(value);
            measurements[1].reading = Reading::Unavailable(reason.clone());
            let rows = read(&to_text([&session]));
            assert_eq!(rows[0], csv::StringRecord::from(COLUMNS.to_vec()));
            assert_eq!(&rows[1][2], plan);
            assert_eq!(&rows[1][3], model);
            assert_eq!(rows[1][13].parse::<f64>().unwrap().to_bits(), value.to_bits());
            assert_eq!(&rows[2][14], reason);
            assert_eq!(rows.len(), 1 + session.completed().count() * measurements_each(&session));
        }
    }

    fn measurements_each(session: &Session) -> usize {
        session.repetitions[1].measurements.len()
    }
}
