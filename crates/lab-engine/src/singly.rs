//! Steps of several tokens, asked of an engine one by one.

use lab_core::engine::{EngineError, Tokens};

/// Puts together the answer to a step of `n` tokens from answers of one token each. The token that ends a generation is the last.
pub(crate) fn singly(
    n: u32,
    request_ns: u64,
    mut next: impl FnMut() -> Result<Tokens, EngineError>,
) -> Result<Tokens, EngineError> {
    let mut tokens = Tokens::none(request_ns);
    // What is appended keeps margins only where both sides have them.
    tokens.margins = Some(Vec::new());
    for _ in 0..n {
        tokens.append(next()?);
        if tokens.ended {
            break;
        }
    }
    Ok(tokens)
}
