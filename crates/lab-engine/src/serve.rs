//! The engine's end: reads requests, asks the engine, writes answers.

use std::io::{self, BufRead, Write};

use lab_core::clock::Clock;
use lab_core::engine::{Answer, Engine, EngineError, PROTOCOL_VERSION, Request};

use crate::framing::{excerpt, write_frame};

/// Serves an engine until the harness says `exit` or hangs up.
///
/// A request is stamped when its line is complete, before it is parsed: parsing is part of what the engine costs.
///
/// # Errors
///
/// When the descriptors fail. An engine's own failure is an answer, not an error.
pub fn serve(
    engine: &mut dyn Engine,
    clock: &dyn Clock,
    requests: &mut dyn BufRead,
    answers: &mut dyn Write,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if requests.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let request_ns = clock.now_ns();
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answer(engine, request, request_ns),
            Err(error) => Answer::Error { message: format!("no request: {error}: `{}`", excerpt(&line)) },
        };
        write_frame(answers, &answer)?;
        if answer == (Answer::Bye {}) {
            return Ok(());
        }
    }
}

fn answer(engine: &mut dyn Engine, request: Request, request_ns: u64) -> Answer {
    let answered = match request {
        Request::Hello { protocol } => greet(engine, protocol),
        Request::Load(request) => engine
            .load(&request)
            .map(|loaded| Answer::Loaded(lab_core::engine::Loaded { request_ns, ..loaded })),
        Request::Begin(request) => engine.begin(&request, request_ns).map(Answer::Tokens),
        Request::Step { n } => engine.step(n, request_ns).map(Answer::Tokens),
        Request::Finish => engine.finish().map(|()| Answer::Finished {}),
        Request::Generate(workload) => engine.generate(&workload, request_ns).map(Answer::Tokens),
        Request::Profile => engine.profile().map(Answer::Profile),
        Request::Exit => Ok(Answer::Bye {}),
    };
    answered.unwrap_or_else(|error| Answer::Error { message: spoken(error) })
}

fn greet(engine: &mut dyn Engine, protocol: u32) -> Result<Answer, EngineError> {
    if protocol == PROTOCOL_VERSION {
        return engine.hello().map(Answer::Hello);
    }
    let message = format!("this engine speaks protocol version {PROTOCOL_VERSION}, not {protocol}");
    Err(EngineError::Failed { message })
}

/// A failure crosses the boundary as its bare message; the harness puts its own words around it.
fn spoken(error: EngineError) -> String {
    match error {
        EngineError::Failed { message } => message,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use lab_core::plan::Script;

    use super::*;
    use crate::scripted::Scripted;
    use crate::virtual_clock::Virtual;

    /// Sends lines to the scripted engine and returns its answers, one a line.
    fn converse(requests: &str) -> Vec<String> {
        let clock = Virtual::at(1_000);
        let script = Script { prefill_us: 3, token_us: 2, ..Script::default() };
        let mut engine = Scripted::new(script, 0, &clock, Box::new(io::sink()));
        let mut answers = Vec::new();
        serve(&mut engine, &clock, &mut requests.as_bytes(), &mut answers).unwrap();
        String::from_utf8(answers).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_conversation_ends_with_exit() {
        let answers = converse(
            r#"{"request":"begin","prompt":[1],"sampling":{"method":"greedy"},"stop":"length"}
{"request":"step","n":2}
{"request":"finish"}
{"request":"exit"}
{"request":"finish"}
"#,
        );
        let expected = [
            r#"{"answer":"tokens","request_ns":1000,"ids":[1],"stamps_ns":[4000],"margins":[1.0],"ended":false}"#,
            r#"{"answer":"tokens","request_ns":4000,"ids":[7920,15839],"stamps_ns":[6000,8000],"margins":[1.0,1.0],"ended":false}"#,
            r#"{"answer":"finished"}"#,
            r#"{"answer":"bye"}"#,
        ];
        assert_eq!(answers, expected);
    }

    #[test]
    fn tokens_to_be_fed_come_with_the_beginning_and_bound_the_steps() {
        let answers = converse(
            r#"{"request":"begin","prompt":[1],"sampling":{"method":"greedy"},"stop":"length","forced":[9,8]}
{"request":"step","n":2}
{"request":"step","n":1}
{"request":"finish"}
"#,
        );
        assert!(
            answers[1].contains(r#""ids":[7920,15839]"#) && answers[1].contains("[10.0,9.0]"),
            "{answers:?}"
        );
        let refusal = "asked for 1 further tokens, and 0 are left of those it is to be fed";
        assert_eq!(answers[2], format!(r#"{{"answer":"error","message":"{refusal}"}}"#));
        assert_eq!(answers[3], r#"{"answer":"finished"}"#);
    }

    #[test]
    fn a_profile_is_answered_after_a_load_that_asked_for_it() {
        let answers = converse(
            r#"{"request":"load","model":"","positions":2,"profile":true}
{"request":"generate","prompt":[1],"generate":2,"sampling":{"method":"greedy"},"stop":"length"}
{"request":"profile"}
{"request":"load","model":"","positions":2}
{"request":"profile"}
"#,
        );
        let profile = concat!(
            r#"{"answer":"profile","operations":[{"kind":"matmul","self_ns":3500,"calls":2},"#,
            r#"{"kind":"attention","self_ns":750,"calls":2},{"kind":"norm","self_ns":250,"calls":2},"#,
            r#"{"kind":"rope","self_ns":150,"calls":2},{"kind":"sampling","self_ns":250,"calls":2},"#,
            r#"{"kind":"unnamed","self_ns":100,"calls":2}]}"#,
        );
        assert_eq!(answers[2], profile);
        let refusal = r#"{"answer":"error","message":"the model was loaded without `profile`"}"#;
        assert_eq!(answers[4], refusal);
    }

    #[test]
    fn what_is_no_request_is_answered_with_an_error_and_the_conversation_goes_on() {
        let answers = converse("sing\n{\"request\":\"dance\"}\n{\"request\":\"finish\"}\n");
        assert!(answers[0].starts_with(r#"{"answer":"error","message":"no request: "#), "{answers:?}");
        assert!(answers[1].contains("unknown variant `dance`"), "{answers:?}");
        assert_eq!(answers[2], r#"{"answer":"error","message":"no generation was begun"}"#);
    }

    #[test]
    fn another_protocol_version_is_refused_by_name() {
        let answers = converse("{\"request\":\"hello\",\"protocol\":2}\n");
        let message = r#"{"answer":"error","message":"this engine speaks protocol version 1, not 2"}"#;
        assert_eq!(answers, [message]);
    }
}
