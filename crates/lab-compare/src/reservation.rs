//! What keeps two sessions as a whole from a verdict, beyond what disturbed their repetitions.

use lab_core::metric::speed;
use lab_core::record::{Session, SessionStatus};
use lab_core::report::{Judgement, MetricComparison, Reservation};
use lab_core::tolerance::Tolerance;

use crate::pairs::Pairs;
use crate::row::tolerance_of;
use crate::summarize::figures;

/// Returns every reservation about two sessions that have ended. A loss that is shown stands although launches are missing:
/// nobody stops early to look worse.
pub(crate) fn of_sessions(
    pairs: Option<&Pairs>,
    baseline: &Session,
    candidate: &Session,
    metrics: &[MetricComparison],
) -> Vec<Reservation> {
    let is_loss =
        metrics.iter().any(|own| matches!(own.judgement, Judgement::Regressed | Judgement::BeyondWorse));
    let sides = [baseline, candidate].into_iter().filter(|_| !is_loss);
    let ended = sides.filter_map(ended_otherwise);
    ended.chain(pairs.and_then(|pairs| unconfirmed(pairs, baseline, candidate))).collect()
}

fn ended_otherwise(session: &Session) -> Option<Reservation> {
    (session.status() != SessionStatus::Completed).then(|| Reservation::EndedOtherwise {
        session: session.header.id.to_string(),
        status: session.status().to_string(),
        completed: session.succeeded().count(),
        asked: session.header.repeat,
    })
}

/// Asks the uninterrupted repetitions at the end of an experiment in lock-step, unless none were planned.
fn unconfirmed(pairs: &Pairs, baseline: &Session, candidate: &Session) -> Option<Reservation> {
    let experiment = baseline.header.experiment.as_ref()?;
    let is_checked = baseline.is_lock_step() && experiment.closing != Some(0);
    let tolerance = speed_tolerance(baseline, candidate);
    match pairs.uninterrupted() {
        Some(change) if pairs.is_contradicted(tolerance) => {
            Some(Reservation::Contradicted { uninterrupted: change.exp_m1() })
        }
        // One of each side that lies further off tells nothing: nobody knows what they vary by.
        _ if is_checked && pairs.checks.is_empty() && !pairs.is_confirmed(tolerance) => {
            Some(Reservation::Unchecked)
        }
        _ => None,
    }
}

/// Returns the relative change of speed that matters to two sessions: a tolerance in tokens per second is that share of the
/// baseline's mean. 0 where they name none.
pub(crate) fn speed_tolerance(baseline: &Session, candidate: &Session) -> f64 {
    match tolerance_of(speed(), &baseline.header, &candidate.header, None) {
        Some(Tolerance::Relative(share)) => share,
        Some(Tolerance::Absolute(width)) => figures(baseline, speed()).map_or(0.0, |own| width / own.mean),
        None => 0.0,
    }
}

#[cfg(test)]
mod tests;
