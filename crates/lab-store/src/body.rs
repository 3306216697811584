//! Rows from records and back: which fields of a record are columns and which lie in its JSON body.
//!
//! Bodies are plain JSON and not RFC 8785: canonical JSON writes every number as a double, so that a seed above 2⁵³
//! would not come back and `1.0` would come back as `1`. Row digests are taken over the bytes as stored and need no
//! canonical form. What is encoded is decoded again before it is stored; a value that JSON cannot carry (a margin that
//! is not a number) is refused then and not found unreadable later.

use jiff::Timestamp;
use lab_core::command::CommandRun;
use lab_core::engine::EngineError;
use lab_core::experiment::Turn;
use lab_core::fingerprint::PartKind;
use lab_core::import::Imported;
use lab_core::metric::Reading;
use lab_core::observation::Observation;
use lab_core::record::{Completed, Outcome, Repetition, SessionHeader, SessionId};
use lab_core::timeline::Timeline;
use lab_core::validity::Validity;
use rusqlite::types::Value;
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};
use serde::{Deserialize, Serialize};

use crate::chain::{REPETITION, SESSION};
use crate::error::StoreError;

/// Encodes a body and makes sure that it reads back as it is.
pub(crate) fn encode<T>(what: &str, value: &T) -> Result<String, StoreError>
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    let refuse = |reason: String| StoreError::NotRepresentable { what: what.to_owned(), reason };
    let text = serde_json::to_string(value).map_err(|error| refuse(error.to_string()))?;
    match serde_json::from_str::<T>(&text) {
        Ok(again) if again == *value => Ok(text),
        Ok(_) => Err(refuse("its JSON reads back as something else".to_owned())),
        Err(error) => Err(refuse(format!("its JSON does not read back: {error}"))),
    }
}

/// Decodes a body.
pub(crate) fn decode<T: DeserializeOwned>(subject: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| damaged(subject, &error))
}

/// Reads the word of a fieldless enum, such as `measured`.
pub(crate) fn parse_word<T: DeserializeOwned>(subject: &str, word: &str) -> Result<T, StoreError> {
    let deserializer: StrDeserializer<'_, WordError> = word.into_deserializer();
    T::deserialize(deserializer).map_err(|error| damaged(subject, &error))
}

pub(crate) fn damaged(subject: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::DamagedRow { subject: subject.to_owned(), message: error.to_string() }
}

/// Returns a time as the integer it is stored as: nanoseconds since 1970-01-01 UTC.
pub(crate) fn nanos_of(what: &str, time: Timestamp) -> Result<i64, StoreError> {
    i64::try_from(time.as_nanosecond()).map_err(|_| StoreError::NotRepresentable {
        what: what.to_owned(),
        reason: format!("{time} lies outside the years 1678 to 2261"),
    })
}

/// Returns the time that an integer stands for.
pub(crate) fn time_of(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).expect("64 bits of nanoseconds end in the year 2262")
}

/// Returns the columns of a session's row, by name.
pub(crate) fn session_columns(header: &SessionHeader) -> Result<Vec<(&'static str, Value)>, StoreError> {
    let subject = SESSION.subject_of(&[&header.id]);
    let mut columns = vec![
        ("id", Value::from(header.id.to_string())),
        ("started_at", Value::from(nanos_of(&subject, header.started_at)?)),
        ("plan_name", Value::from(header.plan_name.clone())),
        ("model_name", Value::from(header.model_name.clone())),
        ("repeat", Value::from(header.repeat)),
        ("fingerprint", Value::from(header.fingerprint.digest().to_string())),
    ];
    columns.extend(
        PartKind::ALL.iter().map(|kind| {
            (part_column(*kind), Value::from(header.fingerprint.part(*kind).digest().to_string()))
        }),
    );
    columns.push(("body", Value::from(encode(&subject, header)?)));
    Ok(columns)
}

const fn part_column(kind: PartKind) -> &'static str {
    match kind {
        PartKind::Model => "model_part",
        PartKind::Plan => "plan_part",
        PartKind::Backend => "backend_part",
        PartKind::Hardware => "hardware_part",
        PartKind::Engine => "engine_part",
    }
}

/// The JSON body of a repetition: its outcome without the timeline, which is a column of its own.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeBody {
    Completed(Box<CompletedBody>),
    Ran(Box<CommandRun>),
    Imported(Box<Imported>),
    Failed(EngineError),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct CompletedBody {
    token_ids: Vec<u32>,
    margins: Option<Vec<f32>>,
    load_ns: u64,
    outside_ns: u64,
    /// Only in rows of versions that looked at nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<Reading<u64>>,
    #[serde(default)]
    request_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n_before: Option<u32>,
    #[serde(default = "not_told")]
    bytes_per_token: Reading<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    observation: Option<Box<Observation>>,
    validity: Validity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    turns: Option<Vec<Turn>>,
}

fn not_told() -> Reading<u64> {
    Reading::Unavailable("not recorded in this session".to_owned())
}

impl From<&Outcome> for OutcomeBody {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failed(error) => Self::Failed(error.clone()),
            Outcome::Ran(run) => Self::Ran(run.clone()),
            Outcome::Imported(imported) => Self::Imported(imported.clone()),
            Outcome::Completed(completed) => Self::Completed(Box::new(CompletedBody {
                token_ids: completed.token_ids.clone(),
                margins: completed.margins.clone(),
                load_ns: completed.load_ns,
                outside_ns: completed.outside_ns,
                peak_memory_bytes: None,
                request_ns: completed.request_ns,
                n_before: completed.n_before,
                bytes_per_token: completed.bytes_per_token.clone(),
                observation: Some(completed.observation.clone()),
                validity: completed.validity.clone(),
                turns: completed.turns.clone(),
            })),
        }
    }
}

impl CompletedBody {
    fn with_timeline(self, timeline: Timeline) -> Completed {
        let Self {
            token_ids,
            margins,
            load_ns,
            outside_ns,
            request_ns,
            n_before,
            bytes_per_token,
            validity,
            turns,
            ..
        } = self;
        let peak_bytes = self.peak_memory_bytes.unwrap_or_else(not_told);
        let observation = self.observation.unwrap_or_else(|| Box::new(Observation::unobserved(peak_bytes)));
        Completed {
            timeline,
            token_ids,
            margins,
            load_ns,
            outside_ns,
            request_ns,
            n_before,
            bytes_per_token,
            observation,
            validity,
            turns,
        }
    }
}

/// The columns of a repetition's row that its outcome fills.
#[derive(Debug)]
pub(crate) struct OutcomeColumns {
    pub(crate) outcome: &'static str,
    pub(crate) validity: Option<&'static str>,
    pub(crate) body: String,
    pub(crate) timeline: Option<Vec<u8>>,
}

impl OutcomeColumns {
    pub(crate) fn of(session: SessionId, repetition: &Repetition) -> Result<Self, StoreError> {
        let subject = REPETITION.subject_of(&[&session, &repetition.index]);
        let body = encode(&subject, &OutcomeBody::from(&repetition.outcome))?;
        let Some(validity) = repetition.outcome.validity() else {
            return Ok(Self { outcome: "failed", validity: None, body, timeline: None });
        };
        let timeline = match &repetition.outcome {
            Outcome::Completed(completed) => completed.timeline.to_bytes(),
            Outcome::Ran(_) | Outcome::Imported(_) | Outcome::Failed(_) => Vec::new(),
        };
        Ok(Self { outcome: "completed", validity: Some(validity.word()), body, timeline: Some(timeline) })
    }
}

/// Puts an outcome together again from the body and the timeline of its row.
pub(crate) fn outcome_of(subject: &str, body: &str, timeline: Option<&[u8]>) -> Result<Outcome, StoreError> {
    match (decode(subject, body)?, timeline) {
        (OutcomeBody::Failed(error), None) => Ok(Outcome::Failed(error)),
        (OutcomeBody::Ran(run), own) if run.failure.is_some() == own.is_none() => Ok(Outcome::Ran(run)),
        (OutcomeBody::Imported(imported), Some(_)) => Ok(Outcome::Imported(imported)),
        (OutcomeBody::Completed(body), Some(bytes)) => {
            let timeline = Timeline::from_bytes(bytes).map_err(|error| damaged(subject, &error))?;
            Ok(Outcome::Completed(body.with_timeline(timeline)))
        }
        (OutcomeBody::Failed(_) | OutcomeBody::Ran(_), Some(_)) => {
            Err(damaged(subject, &"a failure with a timeline"))
        }
        (OutcomeBody::Completed(_) | OutcomeBody::Ran(_) | OutcomeBody::Imported(_), None) => {
            Err(damaged(subject, &"a completion without a timeline"))
        }
    }
}

/// Refuses a value that SQLite would not give back bit for bit: it stores a NaN as `NULL` and drops the sign of zero.
/// Infinities it keeps, but a metric that is infinite is a metric without a value.
pub(crate) fn check_exact(metric: &str, value: f64) -> Result<(), StoreError> {
    let refuse = |reason: &str| {
        Err(StoreError::NotRepresentable {
            what: format!("{value} as the value of `{metric}`"),
            reason: reason.to_owned(),
        })
    };
    if !value.is_finite() {
        return refuse("a value is finite, and what has none is unavailable");
    }
    if value.to_bits() == (-0.0_f64).to_bits() {
        return refuse("the sign of zero would be lost");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_the_first_version_reads_as_a_recording_in_which_little_was_looked_at() {
        let body = r#"{"completed":{"token_ids":[7],"margins":null,"load_ns":3,"outside_ns":12,
            "peak_memory_bytes":{"value":9},"validity":{"suspect":["clock: off"]}}}"#;
        let timeline = Timeline::new(vec![10]).unwrap().to_bytes();
        let Outcome::Completed(completed) = outcome_of("row", body, Some(&timeline)).unwrap() else {
            panic!("it completed")
        };
        assert_eq!(*completed.observation, Observation::unobserved(Reading::Value(9)));
        assert_eq!(completed.bytes_per_token, not_told());
        assert_eq!(completed.validity, Validity::Suspect(vec!["clock: off".to_owned()]));
    }
}
