//! From what was measured of a run of a command to what is recorded and told of it.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use lab_core::command::{CommandFailure, CommandRun, MemoryPeak};
use lab_core::metric::Reading;
use lab_core::validity::Validity;
use lab_measure::command::Finished;
use lab_measure::summary::Summary;
use lab_measure::watch;
use uuid::Uuid;

/// Returns the raw data of a run that has ended. `rows` is their number where it was known before; otherwise the command was
/// to report it. `limit` is how long it was allowed to take.
///
/// It is valid until somebody who looked at what else the machine did judges it ([`crate::beside`]).
pub(crate) fn command_run(
    finished: &Finished,
    run_id: Uuid,
    rows: Option<u64>,
    limit: Option<Duration>,
) -> CommandRun {
    let rows_used = rows_used(finished, rows);
    let failure =
        failure(finished, limit).or_else(|| Some(CommandFailure::Rows(rows_used.reason()?.to_owned())));
    CommandRun {
        run_id,
        elapsed_ns: finished.elapsed_ns,
        rows_used,
        memory: memory(&finished.peak),
        failure,
        validity: Validity::Valid,
        observation: None,
    }
}

/// Returns what is told of a run; nothing where its memory is not known at all.
///
/// Where no look met it and the kernel's account does not stand clear of lab's own memory, what is told is the bound on it:
/// the summary owes a number. The store keeps the reason instead (invariant I5).
pub(crate) fn summary(run: &CommandRun, peak: &watch::MemoryPeak) -> Option<Summary> {
    Some(Summary {
        run_id: run.run_id,
        elapsed_ns: run.elapsed_ns,
        rows_used: run.rows_used.value().copied(),
        peak_memory_bytes: peak.bytes()?,
    })
}

fn rows_used(finished: &Finished, rows: Option<u64>) -> Reading<u64> {
    match (rows, &finished.rows_reported) {
        (Some(rows), _) => Reading::Value(rows),
        (None, Ok(Some(rows))) => Reading::Value(*rows),
        (None, Ok(None)) => Reading::Unavailable(
            "it reported none; it writes their number, in decimal digits, to the file that `LAB_ROWS_FILE` names"
                .to_owned(),
        ),
        (None, Err(error)) => Reading::Unavailable(with_causes(error)),
    }
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let sentences = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    sentences.collect::<Vec<_>>().join(": ")
}

fn failure(finished: &Finished, limit: Option<Duration>) -> Option<CommandFailure> {
    if let (true, Some(limit)) = (finished.timed_out, limit) {
        return Some(CommandFailure::TimedOut(limit.as_secs()));
    }
    match (finished.status.code(), finished.status.signal()) {
        (Some(0), _) => None,
        (Some(status), _) => Some(CommandFailure::Exited(status)),
        (None, signal) => Some(CommandFailure::Killed(signal.unwrap_or_default())),
    }
}

fn memory(peak: &watch::MemoryPeak) -> MemoryPeak {
    let bound = peak.at_most_bytes.map(|bytes| format!("; no process of it had more than {bytes} bytes"));
    let unseen = || format!("it ended before it was looked at{}", bound.clone().unwrap_or_default());
    let hidden = || "the kernel's account of it does not stand clear of the memory of lab itself".to_owned();
    MemoryPeak {
        sampled_bytes: peak.sampled_bytes.ok_or_else(unseen).into(),
        kernel_bytes: peak.kernel_bytes.ok_or_else(hidden).into(),
        samples: peak.samples,
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use lab_measure::command::ReportError;

    use super::*;

    fn finished(raw_status: i32) -> Finished {
        Finished {
            elapsed_ns: 1_500_000_000,
            status: ExitStatus::from_raw(raw_status),
            peak: watch::MemoryPeak {
                sampled_bytes: Some(7),
                kernel_bytes: None,
                at_most_bytes: Some(9),
                samples: 2,
            },
            rows_reported: Ok(None),
            passed_on: Vec::new(),
            timed_out: false,
        }
    }

    fn of(finished: &Finished, rows: Option<u64>) -> CommandRun {
        command_run(finished, Uuid::from_u128(1), rows, Some(Duration::from_secs(2)))
    }

    #[test]
    fn a_run_that_succeeded_has_no_failure_and_its_rows() {
        let run = of(&finished(0), Some(3));
        assert_eq!((run.failure.clone(), run.rows_used.clone()), (None, Reading::Value(3)));
        assert_eq!(run.memory.bytes(), Reading::Value(7));
        let reported = Finished { rows_reported: Ok(Some(5)), ..finished(0) };
        assert_eq!(of(&reported, None).rows_used, Reading::Value(5));
    }

    #[test]
    fn how_it_ended_otherwise_than_well_is_told() {
        assert_eq!(of(&finished(3 << 8), Some(1)).failure, Some(CommandFailure::Exited(3)));
        assert_eq!(of(&finished(15), Some(1)).failure, Some(CommandFailure::Killed(15)));
        let late = Finished { timed_out: true, ..finished(15) };
        assert_eq!(of(&late, Some(1)).failure, Some(CommandFailure::TimedOut(2)));
        let Some(CommandFailure::Rows(reason)) = of(&finished(0), None).failure else { panic!("rows") };
        assert!(reason.contains("LAB_ROWS_FILE"), "{reason}");
        // Its own failure is the greater one.
        assert_eq!(of(&finished(3 << 8), None).failure, Some(CommandFailure::Exited(3)));
    }

    #[test]
    fn why_reported_rows_cannot_be_read_is_told_with_its_cause() {
        let source = std::io::Error::other("the disk is gone");
        let unread = Finished { rows_reported: Err(ReportError::Unreadable { source }), ..finished(0) };
        let Some(CommandFailure::Rows(reason)) = of(&unread, None).failure else { panic!("rows") };
        assert!(reason.ends_with("cannot be read: the disk is gone"), "{reason}");
    }

    #[test]
    fn what_was_never_seen_is_bounded_in_the_summary_and_unknown_in_the_record() {
        let mut unseen = finished(0);
        unseen.peak.sampled_bytes = None;
        let run = of(&unseen, Some(1));
        assert!(run.memory.bytes().reason().unwrap().contains("more than 9 bytes"), "{run:?}");
        assert_eq!(summary(&run, &unseen.peak).unwrap().peak_memory_bytes, 9);
        assert_eq!(summary(&run, &watch::MemoryPeak::default()), None);
    }
}
