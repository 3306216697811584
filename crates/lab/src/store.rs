//! Opening the store and finding sessions in it, with words for what goes wrong.

use std::collections::BTreeMap;
use std::path::Path;

use lab_compare::foresee::Calibrations;
use lab_compare::{Policy, noise};
use lab_core::calibration::Calibration;
use lab_core::digest::Digest;
use lab_core::metric::{METRICS, Metric};
use lab_core::record::{Session, SessionHeader};
use lab_core::report::Drift;
use lab_store::{CalibrationKind, Mode, ResolveError, Store, StoreError};

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

fn refuse_read_only(store: Store) -> Result<Store> {
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
/// that may be judged. Neither a candidate nor what came after it counts: it would widen the interval it is judged by, and
/// the verdict on two recordings would change as the store grows.
fn drifts(
    store: &Store,
    baseline: &SessionHeader,
    candidate: Option<&SessionHeader>,
) -> Result<BTreeMap<String, Drift>> {
    let judged = METRICS.iter().filter(|metric| baseline.tolerance(metric).is_some());
    let digest = baseline.fingerprint.digest();
    let until = candidate.map(|candidate| candidate.id);
    let drift = |metric: &Metric| -> Result<(String, Drift)> {
        let id = metric.id();
        let drift = noise::drift(&store.launch_means(&digest, &id, until)?);
        Ok((id, drift))
    };
    judged.map(drift).collect()
}

/// Returns the newest calibrations of a family, as far as there are any that this version reads.
pub(crate) fn calibrations(store: &Store, family: &Digest) -> Result<Calibrations> {
    let newest = |kind| -> Result<Option<Calibration>> {
        let newest = store.calibrations(family, kind)?.into_iter().next();
        Ok(newest.and_then(|row| serde_json::from_value(row.body).ok()))
    };
    Ok(Calibrations { compare: newest(CalibrationKind::Compare)?, ab: newest(CalibrationKind::Ab)? })
}

/// Returns what the store knows that a comparison with a baseline needs: drift, and what the host supports. The candidate is
/// none where it is still to be measured.
pub(crate) fn policy(
    store: &Store,
    baseline: &SessionHeader,
    candidate: Option<&SessionHeader>,
) -> Result<Policy> {
    let calibrations = calibrations(store, &baseline.fingerprint.family())?;
    Ok(Policy { drifts: drifts(store, baseline, candidate)?, calibrations, ..Policy::default() })
}

/// Finds the session that a gate compares with: by the name of a baseline, or as any session is named.
pub(crate) fn load_baseline(store: &Store, typed: &str) -> Result<Session> {
    let named = store.resolve(&format!("@{typed}"));
    let id = match named {
        Ok(id) if !typed.starts_with('@') => id,
        _ => store.resolve(typed)?,
    };
    Ok(store.load(&id)?)
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
        StoreError::Busy { .. } | StoreError::DiskFull { .. } | StoreError::Device { .. } => Exit::RunFailed,
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
