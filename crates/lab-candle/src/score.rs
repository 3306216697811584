//! Teacher forcing: what the model would have said at every position of a given text. Compares engines on equal input,
//! where free-running output parts at the first near-tie.

use lab_core::engine::EngineError;

use crate::choose::best_two;
use crate::{Candle, Model};

/// The model's opinion at one position of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// The token it thinks likeliest.
    pub best: u32,
    /// The next likeliest.
    pub second: u32,
    /// Difference of their logits.
    pub margin: f32,
    /// Natural logarithm of the probability it gives to the likeliest token.
    pub best_logprob: f64,
    /// Natural logarithm of the probability it gives to the token that follows in the text.
    pub next_logprob: f64,
}

impl Candle<'_> {
    /// Feeds a text token by token; the opinion at position `i` is about token `i + 1`, so there is one fewer than
    /// tokens.
    ///
    /// # Errors
    ///
    /// When no model is loaded, a token lies outside the vocabulary, or the forward pass fails.
    pub fn score(&mut self, tokens: &[u32]) -> Result<Vec<Position>, EngineError> {
        let model = self.model()?;
        model.weights.clear_kv_cache();
        tokens.windows(2).enumerate().map(|(index, pair)| model.opinion(pair[0], pair[1], index)).collect()
    }
}

impl Model {
    fn opinion(&mut self, token: u32, next: u32, position: usize) -> Result<Position, EngineError> {
        let logits = self.forward(&[token], position)?;
        let best = best_two(&logits)?;
        let [best_logprob, next_logprob] = [best.first, next].map(|id| log_softmax(&logits, id as usize));
        Ok(Position {
            best: best.first,
            second: best.second,
            margin: best.margin,
            best_logprob,
            next_logprob,
        })
    }
}

/// Natural logarithm of the softmax at one index, in double precision and shifted by the maximum.
fn log_softmax(logits: &[f32], index: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    logits.get(index).map_or(f64::NEG_INFINITY, |logit| f64::from(logit - max) - sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_softmax_is_that_of_the_definition() {
        // ln(exp(2) / (exp(1) + exp(2) + exp(3))) = 2 - ln(30.19287485...) = -1.40760596...
        assert!((log_softmax(&[1.0, 2.0, 3.0], 1) + 1.407_605_964_444_380_2).abs() < 1e-7);
        assert!((log_softmax(&[1000.0, 1000.0], 0) + std::f64::consts::LN_2).abs() < 1e-12);
    }
}
