//! From an engine's answer to a completed repetition: what is refused, and what makes it suspect.

use lab_core::engine::{EngineError, Tokens};
use lab_core::record::Validity;
use lab_core::timeline::Timeline;
use lab_core::workload::{Stop, Workload};

/// Engine and harness look at the same clock from both sides of a pipe: 2 ms cover the scheduling of both on a busy
/// machine, 1 % whatever grows with the answer. Beyond that, one of them does not tell the time.
const CLOCK_SLACK_NS: u64 = 2_000_000;
const CLOCK_SLACK_SHARE: u64 = 100;

/// Checks an answer against the workload and returns its timeline.
///
/// # Errors
///
/// [`EngineError::Protocol`] when counts, stamps or margins do not fit the workload or each other.
pub fn accept(tokens: &Tokens, workload: &Workload) -> Result<Timeline, EngineError> {
    let Tokens { request_ns, ids, stamps_ns, margins, ended: _ } = tokens;
    check_count(ids.len(), workload)?;
    if stamps_ns.len() != ids.len() {
        return Err(broken(format!("{} tokens came with {} stamps", ids.len(), stamps_ns.len())));
    }
    if margins.as_ref().is_some_and(|margins| margins.len() != ids.len()) {
        return Err(broken(format!("{} tokens came with another number of margins", ids.len())));
    }
    let since_request = |stamp_ns: &u64| {
        stamp_ns
            .checked_sub(*request_ns)
            .ok_or_else(|| broken("a token is stamped before the request".to_owned()))
    };
    let stamps_ns = stamps_ns.iter().map(since_request).collect::<Result<_, _>>()?;
    Timeline::new(stamps_ns).map_err(|error| broken(error.to_string()))
}

fn check_count(n_tokens: usize, workload: &Workload) -> Result<(), EngineError> {
    let asked = workload.generate as usize;
    let fits = match workload.stop {
        Stop::Length => n_tokens == asked,
        Stop::Eos => (1..=asked).contains(&n_tokens),
    };
    if fits { Ok(()) } else { Err(broken(format!("asked for {asked} tokens, it answered with {n_tokens}"))) }
}

fn broken(message: String) -> EngineError {
    EngineError::Protocol { message }
}

/// Compares the engine's own time with the harness's, both in nanoseconds.
pub(crate) fn judge_clock(engine_ns: u64, outside_ns: u64) -> Validity {
    let slack_ns = CLOCK_SLACK_NS + outside_ns / CLOCK_SLACK_SHARE;
    if engine_ns.abs_diff(outside_ns) <= slack_ns {
        return Validity::Valid;
    }
    let (engine_us, outside_us) = (engine_ns / 1_000, outside_ns / 1_000);
    Validity::Suspect(vec![format!(
        "clock: the engine reports {engine_us} us where {outside_us} us passed outside"
    )])
}

#[cfg(test)]
mod tests {
    use lab_core::workload::Sampling;

    use super::*;

    fn workload(generate: u32, stop: Stop) -> Workload {
        Workload { prompt: vec![1], generate, sampling: Sampling::Greedy, stop }
    }

    fn tokens(stamps_ns: &[u64]) -> Tokens {
        let ids = vec![7; stamps_ns.len()];
        Tokens { request_ns: 100, ids, stamps_ns: stamps_ns.to_vec(), margins: None, ended: false }
    }

    #[test]
    fn stamps_become_times_since_the_request() {
        let timeline = accept(&tokens(&[150, 160, 190]), &workload(3, Stop::Length)).unwrap();
        assert_eq!(timeline.stamps_ns(), [50, 60, 90]);
    }

    #[track_caller]
    fn check_refused(tokens: &Tokens, workload: &Workload, expected: &str) {
        let message = expected.to_owned();
        assert_eq!(accept(tokens, workload), Err(EngineError::Protocol { message }));
    }

    #[test]
    fn an_answer_that_does_not_fit_is_refused() {
        let three = workload(3, Stop::Length);
        check_refused(&tokens(&[150, 160]), &three, "asked for 3 tokens, it answered with 2");
        check_refused(&tokens(&[50, 160, 170]), &three, "a token is stamped before the request");
        let backwards = "token 2 is stamped 55 ns, before its predecessor at 60 ns";
        check_refused(&tokens(&[150, 160, 155]), &three, backwards);
        let missing_stamp = Tokens { ids: vec![1, 2, 3], ..tokens(&[150, 160]) };
        check_refused(&missing_stamp, &three, "3 tokens came with 2 stamps");
        let missing_margin = Tokens { margins: Some(vec![0.0]), ..tokens(&[150, 160, 170]) };
        check_refused(&missing_margin, &three, "3 tokens came with another number of margins");
    }

    #[test]
    fn only_a_plan_that_stops_at_the_end_of_sequence_takes_fewer_tokens() {
        assert!(accept(&tokens(&[150]), &workload(3, Stop::Eos)).is_ok());
        assert!(accept(&tokens(&[]), &workload(3, Stop::Eos)).is_err());
        assert!(accept(&tokens(&[150; 4]), &workload(3, Stop::Eos)).is_err());
    }

    #[test]
    fn clocks_may_part_by_one_percent_and_two_milliseconds() {
        let second = 1_000_000_000;
        assert_eq!(judge_clock(second, second), Validity::Valid);
        assert_eq!(judge_clock(second - 12_000_000, second), Validity::Valid);
        let reason = "clock: the engine reports 987999 us where 1000000 us passed outside".to_owned();
        assert_eq!(judge_clock(second - 12_001_000, second), Validity::Suspect(vec![reason]));
    }
}
