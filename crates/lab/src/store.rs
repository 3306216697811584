//! Opening the store and finding sessions in it, with words for what goes wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Once;

use lab_compare::foresee::Calibrations;
use lab_compare::{Policy, noise};
use lab_core::calibration::{CALIBRATION_SCHEMA, Calibration};
use lab_core::digest::Digest;
use lab_core::metric::{Metric, speed};
use lab_core::record::{Session, SessionHeader, SessionId};
use lab_core::report::Drift;
use lab_store::{CalibrationKind, CalibrationRow, Mode, ResolveError, Store, StoreError};
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::global::Global;
use crate::terminal::say;

/// Opens the store for recording; makes it when there is none.
pub(crate) fn open_for_recording(path: &Path) -> Result<Store> {
    refuse_read_only(Store::open(path)?)
}

/// Opens the store for recording; makes none.
pub(crate) fn open_existing_for_recording(path: &Path) -> Result<Store> {
    refuse_read_only(Store::open_existing(path)?)
}

fn refuse_read_only(mut store: Store) -> Result<Store> {
    store.tell_of_waiting(|waiting| say(&format!("note: {waiting}")));
    match store.mode() {
        Mode::ReadWrite => Ok(store),
        Mode::ReadOnly { reason } => {
            Err(StoreError::ReadOnly { path: store.path().to_owned(), reason }.into())
        }
    }
}

/// Opens the store for reading. One that a newer lab wrote is read with a word about it.
pub(crate) fn open(global: &Global) -> Result<Store> {
    let store = Store::open_existing(&global.store)?;
    if let Mode::ReadOnly { reason } = store.mode() {
        say(&format!("note: the store {reason}"));
    }
    Ok(store)
}

/// Finds a session by what the user typed and loads it.
pub(crate) fn load(store: &Store, typed: &str) -> Result<Session> {
    let id = store.resolve(typed)?;
    Ok(store.load(&id)?)
}

/// Returns what sessions of a baseline's fingerprint differ by, as far as the store has enough of them, for every metric
/// that may be judged; of speed also what a calibration of the same model, plan, backend and hardware tells, where the sessions of
/// the fingerprint are too few. Neither a candidate nor what came after it counts: it would widen the interval it is judged by,
/// and the verdict on two recordings would change as the store grows.
fn drifts(
    store: &Store,
    baseline: &SessionHeader,
    candidate: Option<&SessionHeader>,
    calibrations: &Calibrations,
) -> Result<BTreeMap<String, Drift>> {
    let judged = baseline.work.metrics().filter(|metric| baseline.tolerance(metric).is_some());
    let digest = baseline.fingerprint.digest();
    let until = candidate.map(|candidate| candidate.id);
    let drift = |metric: &Metric| -> Result<(String, Drift)> {
        let id = metric.id();
        let of_sessions = noise::drift(&store.launch_means(&digest, &id, until)?);
        let drift = match of_sessions {
            Drift::Unknown if id == speed().id() => calibrations.drift(),
            known => known,
        };
        Ok((id, drift))
    };
    judged.map(drift).collect()
}

/// Returns the newest calibrations of a family that this version reads: of those made before a candidate began, where one was
/// measured. What is passed over is told.
pub(crate) fn calibrations(
    store: &Store,
    family: &Digest,
    candidate: Option<&SessionHeader>,
) -> Result<Calibrations> {
    let mut skipped = Vec::new();
    let is_known = |row: &CalibrationRow| candidate.is_none_or(|own| row.made_at <= own.started_at);
    let mut newest = |kind| -> Result<Option<Calibration>> {
        let mut rows = store.calibrations(family, kind)?;
        rows.retain(is_known);
        Ok(newest_readable(rows, &mut skipped))
    };
    let calibrations =
        Calibrations { compare: newest(CalibrationKind::Compare)?, ab: newest(CalibrationKind::Ab)? };
    if !skipped.is_empty() {
        // A command may ask more than once, and its user is told once.
        static TOLD: Once = Once::new();
        TOLD.call_once(|| say(&format!("note: skipped what does not read: {}", skipped.join("; "))));
    }
    Ok(calibrations)
}

/// Returns the first that reads, and adds words for those in front of it.
fn newest_readable(newest_first: Vec<CalibrationRow>, skipped: &mut Vec<String>) -> Option<Calibration> {
    newest_first.into_iter().find_map(|CalibrationRow { id, kind, body, .. }| match read_calibration(body) {
        Ok(calibration) => Some(calibration),
        Err(reason) => {
            skipped.push(format!("the calibration `{id}` of kind `{kind}` ({reason})"));
            None
        }
    })
}

fn read_calibration(body: Value) -> std::result::Result<Calibration, String> {
    match body["schema"].as_str() {
        Some(CALIBRATION_SCHEMA) => {}
        Some(other) => return Err(format!("its schema is `{other}`, this lab reads `{CALIBRATION_SCHEMA}`")),
        None => return Err("it names no schema".to_owned()),
    }
    let calibration: Calibration = serde_json::from_value(body).map_err(|error| error.to_string())?;
    match calibration.metric == speed().id() {
        true => Ok(calibration),
        false => Err(format!("it is about `{}`, this lab asks about `{}`", calibration.metric, speed().id())),
    }
}

/// Returns what the store knows that a comparison with a baseline needs: drift, and what the host supports. The candidate is
/// none where it is still to be measured.
pub(crate) fn policy(
    store: &Store,
    baseline: &SessionHeader,
    candidate: Option<&SessionHeader>,
) -> Result<Policy> {
    let calibrations = calibrations(store, &baseline.fingerprint.family(), candidate)?;
    let drifts = drifts(store, baseline, candidate, &calibrations)?;
    Ok(Policy { drifts, calibrations, ..Policy::default() })
}

/// Finds the session that a gate compares with: by the name of a baseline, or as any session is named behind a `@` or by its
/// digits.
pub(crate) fn load_baseline(store: &Store, typed: &str) -> Result<Session> {
    let id = match typed.starts_with('@') {
        true => store.resolve(typed)?,
        false => resolve_baseline(store, typed)?,
    };
    Ok(store.load(&id)?)
}

/// Only what is no name at all may be an id: a name that cannot be read, or that somebody removed, never becomes the session
/// whose digits happen to match.
fn resolve_baseline(store: &Store, typed: &str) -> std::result::Result<SessionId, ResolveError> {
    match store.resolve(&format!("@{typed}")) {
        Err(unknown @ ResolveError::UnknownName { .. }) if may_be_id(typed) => {
            store.resolve(typed).map_err(|error| match error {
                ResolveError::Unknown { .. } => unknown,
                other => other,
            })
        }
        resolved => resolved,
    }
}

/// Digits that a listing shows of an id: with fewer, a word such as `fade` is a name.
const FEWEST_DIGITS: usize = 8;

fn may_be_id(typed: &str) -> bool {
    let is_of_id = |byte: u8| byte == b'-' || byte.is_ascii_hexdigit();
    let n_digits = typed.bytes().filter(u8::is_ascii_hexdigit).count();
    n_digits >= FEWEST_DIGITS && typed.bytes().all(is_of_id)
}

/// Returns the failure behind an error of reading a file out of the store: the store's own, where it is one.
pub(crate) fn failure_of(
    error: std::io::Error,
    otherwise: impl FnOnce(std::io::Error) -> Failure,
) -> Failure {
    match error.downcast::<StoreError>() {
        Ok(own) => own.into(),
        Err(other) => otherwise(other),
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Missing { .. } => {
                Some("`lab run plans/quickstart.toml` makes one; `--store PATH` names another")
            }
            StoreError::Foreign { .. } | StoreError::NotSqlite { .. } => {
                Some("`--store PATH` names another file")
            }
            StoreError::UnknownBaseline { .. } => Some("`lab baseline list` shows the baselines"),
            StoreError::ArchiveMissing { .. } => {
                Some("put the archive back there, or beside the store; `lab store` shows all archives")
            }
            StoreError::ArchiveExists { .. } => Some("`--to FILE` names a file that is not there yet"),
            _ => None,
        };
        let failure = Self::with(exit_of(&error), error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// What the user named wrongly is a usage error; what broke underneath is a failed run.
fn exit_of(error: &StoreError) -> Exit {
    match error {
        StoreError::Busy { .. }
        | StoreError::DiskFull { .. }
        | StoreError::ArchiveDiskFull { .. }
        | StoreError::Device { .. } => Exit::RunFailed,
        _ => Exit::Usage,
    }
}

const HINT: &str =
    "`lab list` shows the sessions and `lab baseline list` the baselines; `@latest` is the newest session";

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Store(error) => error.into(),
            other => Self::usage(other).hint(HINT),
        }
    }
}
