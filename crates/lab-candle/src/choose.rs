//! How the next token is chosen from logits.

use candle_core::{Device, Tensor};
use candle_transformers::generation::{LogitsProcessor, Sampling as CandleSampling};
use lab_core::engine::EngineError;
use lab_core::workload::Sampling;

use crate::{failed, from_candle};

/// Chooses tokens for one generation.
pub(crate) enum Chooser {
    Greedy,
    Draw(Box<LogitsProcessor>),
}

/// A chosen token.
pub(crate) struct Chosen {
    pub(crate) id: u32,
    /// Difference of the two greatest logits; only greedy choice looks for it.
    pub(crate) margin: Option<f32>,
}

impl Chooser {
    pub(crate) fn new(sampling: Sampling) -> Self {
        match sampling {
            Sampling::Greedy => Self::Greedy,
            Sampling::Temperature { temperature, seed } => {
                let sampling = CandleSampling::All { temperature };
                Self::Draw(Box::new(LogitsProcessor::from_sampling(seed, sampling)))
            }
        }
    }

    pub(crate) fn choose(&mut self, logits: &[f32]) -> Result<Chosen, EngineError> {
        match self {
            Self::Greedy => {
                let best = best_two(logits)?;
                Ok(Chosen { id: best.first, margin: Some(best.margin) })
            }
            Self::Draw(processor) => {
                let logits = Tensor::new(logits, &Device::Cpu).map_err(from_candle)?;
                let id = processor.sample(&logits).map_err(from_candle)?;
                Ok(Chosen { id, margin: None })
            }
        }
    }
}

/// The two greatest logits.
pub(crate) struct BestTwo {
    pub(crate) first: u32,
    pub(crate) second: u32,
    pub(crate) margin: f32,
}

/// Finds the two greatest logits in one pass, the lowest id first on a tie.
///
/// A logit that is no finite number is an error: the model or the arithmetic is broken, and a token chosen from it would
/// be measured as if it were one.
pub(crate) fn best_two(logits: &[f32]) -> Result<BestTwo, EngineError> {
    let (mut first, mut second) = ((0, f32::NEG_INFINITY), (0, f32::NEG_INFINITY));
    let mut all_finite = true;
    for (id, logit) in (0_u32..).zip(logits.iter().copied()) {
        all_finite &= logit.is_finite();
        if logit > first.1 {
            second = first;
            first = (id, logit);
        } else if logit > second.1 {
            second = (id, logit);
        }
    }
    if !all_finite || logits.len() < 2 {
        return Err(failed("the logits are not finite numbers"));
    }
    Ok(BestTwo { first: first.0, second: second.0, margin: first.1 - second.1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_id_wins_a_tie_and_the_margin_is_zero() {
        let best = best_two(&[1.0, 3.0, 2.0, 3.0]).unwrap();
        assert_eq!((best.first, best.second, best.margin.to_bits()), (1, 3, 0.0_f32.to_bits()));
        let best = best_two(&[-4.0, -1.5]).unwrap();
        assert_eq!((best.first, best.second, best.margin.to_bits()), (1, 0, 2.5_f32.to_bits()));
    }

    #[test]
    fn logits_that_are_no_numbers_are_refused() {
        for logits in [&[1.0, f32::NAN][..], &[f32::INFINITY, 1.0], &[1.0, f32::NEG_INFINITY], &[1.0], &[]] {
            assert!(best_two(logits).is_err(), "{logits:?}");
        }
    }

    #[test]
    fn draws_repeat_with_their_seed() {
        let logits: Vec<f32> = (0..100_u8).map(|id| f32::from(id % 7)).collect();
        let draw = |seed| {
            let mut chooser = Chooser::new(Sampling::Temperature { temperature: 1.0, seed });
            (0..20).map(|_| chooser.choose(&logits).unwrap().id).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
