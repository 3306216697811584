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
