//! From an engine's answer to a completed repetition: what is refused.

use lab_core::engine::{EngineError, Profile, Tokens};
use lab_core::timeline::Timeline;
use lab_core::workload::{Stop, Workload};

/// Checks an answer against the workload and returns its timeline.
///
/// # Errors
///
/// [`EngineError::Protocol`] when counts, stamps or margins do not fit the workload or each other.
pub fn accept(tokens: &Tokens, workload: &Workload) -> Result<Timeline, EngineError> {
    check_count(tokens.ids.len(), workload)?;
    check_lengths(tokens)?;
    let since_request = |stamp_ns: &u64| {
        stamp_ns
            .checked_sub(tokens.request_ns)
            .ok_or_else(|| broken("a token is stamped before the request".to_owned()))
    };
    let stamps_ns = tokens.stamps_ns.iter().map(since_request).collect::<Result<_, _>>()?;
    Timeline::new(stamps_ns).map_err(|error| broken(error.to_string()))
}

/// Checks the answer to one request of a generation in turns: as many tokens as asked for, unless the stop rule ended the
/// generation before, and stamps in order from the request on.
///
/// # Errors
///
/// [`EngineError::Protocol`] when counts, stamps or margins do not fit the request or each other.
pub(crate) fn accept_turn(tokens: &Tokens, asked: u32) -> Result<(), EngineError> {
    let (n_tokens, n_asked) = (tokens.ids.len(), asked as usize);
    if n_tokens > n_asked || (n_tokens < n_asked && !tokens.ended) {
        return Err(wrong_count(n_asked, n_tokens));
    }
    check_lengths(tokens)?;
    if tokens.stamps_ns.first().is_some_and(|first_ns| *first_ns < tokens.request_ns) {
        return Err(broken("a token is stamped before the request".to_owned()));
    }
    if !tokens.stamps_ns.is_sorted() {
        return Err(broken("a token is stamped before its predecessor".to_owned()));
    }
    Ok(())
}

/// Checks a profile against the execution that it is about.
///
/// # Errors
///
/// [`EngineError::Protocol`] when a kind comes twice, or the parts take longer than the whole.
pub(crate) fn accept_profile(profile: Profile, total_ns: u64) -> Result<Profile, EngineError> {
    let mut kinds: Vec<&str> = profile.operations.iter().map(|operation| operation.kind.as_str()).collect();
    kinds.sort_unstable();
    if let Some(twice) = kinds.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(broken(format!("its profile names `{}` twice", twice[0])));
    }
    // The profile may begin with the parsing of the request and end behind the last stamp.
    let longest_ns = total_ns.saturating_add(total_ns / 10).saturating_add(PROFILE_SLACK_NS);
    match profile.total_ns() {
        parts_ns if parts_ns > longest_ns => {
            Err(broken(format!("its profile sums up to {parts_ns} ns of an execution of {total_ns} ns")))
        }
        _ => Ok(profile),
    }
}

/// What may pass outside the stamps of an execution, in nanoseconds.
const PROFILE_SLACK_NS: u64 = 10_000_000;

fn check_count(n_tokens: usize, workload: &Workload) -> Result<(), EngineError> {
    let asked = workload.generate as usize;
    let fits = match workload.stop {
        Stop::Length => n_tokens == asked,
        Stop::Eos => (1..=asked).contains(&n_tokens),
    };
    if fits { Ok(()) } else { Err(wrong_count(asked, n_tokens)) }
}

fn check_lengths(tokens: &Tokens) -> Result<(), EngineError> {
    let Tokens { ids, stamps_ns, margins, .. } = tokens;
    if stamps_ns.len() != ids.len() {
        return Err(broken(format!("{} tokens came with {} stamps", ids.len(), stamps_ns.len())));
    }
    if margins.as_ref().is_some_and(|margins| margins.len() != ids.len()) {
        return Err(broken(format!("{} tokens came with another number of margins", ids.len())));
    }
    Ok(())
}

fn wrong_count(asked: usize, n_tokens: usize) -> EngineError {
    broken(format!("asked for {asked} tokens, it answered with {n_tokens}"))
}

fn broken(message: String) -> EngineError {
    EngineError::Protocol { message }
}

#[cfg(test)]
mod tests {
    use lab_core::engine::OperationTime;
    use lab_core::workload::Sampling;

    use super::*;

    fn workload(generate: u32, stop: Stop) -> Workload {
        Workload { prompt: vec![1], generate, sampling: Sampling::Greedy, stop, forced: None }
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
    fn a_profile_that_contradicts_itself_is_refused() {
        let profile = |times: &[(&str, u64)]| Profile {
            operations: times
                .iter()
                .map(|(kind, self_ns)| OperationTime {
                    kind: (*kind).to_owned(),
                    self_ns: *self_ns,
                    calls: 1,
                })
                .collect(),
        };
        let second = 1_000_000_000;
        assert!(accept_profile(profile(&[("matmul", 900_000_000), ("norm", 90_000_000)]), second).is_ok());
        for times in [
            &[("matmul", 1), ("matmul", 2)][..],
            &[("matmul", second), ("norm", second)],
            &[("matmul", u64::MAX), ("norm", 2)],
        ] {
            assert!(accept_profile(profile(times), second).is_err(), "{times:?}");
        }
    }

    #[test]
    fn only_a_plan_that_stops_at_the_end_of_sequence_takes_fewer_tokens() {
        assert!(accept(&tokens(&[150]), &workload(3, Stop::Eos)).is_ok());
        assert!(accept(&tokens(&[]), &workload(3, Stop::Eos)).is_err());
        assert!(accept(&tokens(&[150; 4]), &workload(3, Stop::Eos)).is_err());
    }

    #[test]
    fn a_turn_yields_what_was_asked_for_unless_it_is_the_last() {
        let refusal = |tokens: &Tokens, asked| accept_turn(tokens, asked).unwrap_err().to_string();
        let broken = |message: &str| format!("the engine broke the protocol: {message}");
        let two = || tokens(&[150, 160]);
        let last = |stamps_ns: &[u64]| Tokens { ended: true, ..tokens(stamps_ns) };
        assert_eq!(accept_turn(&two(), 2), Ok(()));
        assert_eq!(accept_turn(&last(&[150]), 2), Ok(()));
        assert_eq!(accept_turn(&last(&[]), 2), Ok(()));
        assert_eq!(refusal(&two(), 3), broken("asked for 3 tokens, it answered with 2"));
        assert_eq!(refusal(&two(), 1), broken("asked for 1 tokens, it answered with 2"));
        assert_eq!(refusal(&tokens(&[99, 160]), 2), broken("a token is stamped before the request"));
        assert_eq!(refusal(&tokens(&[160, 150]), 2), broken("a token is stamped before its predecessor"));
        let missing_stamp = Tokens { ids: vec![1, 2, 3], ..two() };
        assert_eq!(refusal(&missing_stamp, 3), broken("3 tokens came with 2 stamps"));
    }
}
