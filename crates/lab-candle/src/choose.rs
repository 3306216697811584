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
#[derive(Debug, Clone, Copy)]
pub struct BestTwo {
    /// The id of the greatest.
    pub first: u32,
    /// The id of the second.
    pub second: u32,
    /// How much greater the greatest is.
    pub margin: f32,
}

/// Logits that are searched together: large enough that few chunks remain, small enough to be searched twice.
const CHUNK: usize = 1024;
/// Accumulators side by side: what the compiler turns into vector instructions.
const LANES: usize = 16;

/// Finds the two greatest logits, the lowest id first on a tie.
///
/// The greatest of each chunk comes first, without branches; then only the chunks with the two greatest are looked
/// through. Going through the logits one by one would cost a small model a quarter of a percent of its speed.
///
/// # Errors
///
/// Fewer than two logits, or one that is no finite number: the model or the arithmetic is broken, and a token chosen from
/// it would be measured as if it were one.
pub fn best_two(logits: &[f32]) -> Result<BestTwo, EngineError> {
    let chunks: Vec<Greatest> = logits.chunks(CHUNK).map(greatest).collect();
    if logits.len() < 2 {
        return Err(failed("there are not two logits to choose from"));
    }
    if !chunks.iter().all(|chunk| chunk.all_finite) {
        return Err(failed("the logits are not finite numbers"));
    }
    let maxima: Vec<f32> = chunks.iter().map(|chunk| chunk.value).collect();
    let home = position_of_greatest(&maxima, None);
    let start = home * CHUNK;
    let own = &logits[start..logits.len().min(start + CHUNK)];
    let first = position_of_greatest(own, None);
    let beside = (own.len() > 1).then(|| start + position_of_greatest(own, Some(first)));
    let elsewhere = (maxima.len() > 1).then(|| {
        let chunk = position_of_greatest(&maxima, Some(home));
        let start = chunk * CHUNK;
        start + position_of_greatest(&logits[start..logits.len().min(start + CHUNK)], None)
    });
    let second = match (beside, elsewhere) {
        (Some(one), Some(other)) if logits[other] > logits[one] => other,
        (Some(one), Some(other)) if logits[other] < logits[one] => one,
        (Some(one), Some(other)) => one.min(other),
        (one, other) => one.or(other).expect("there are two logits at least"),
    };
    let id = |position| u32::try_from(position).map_err(|_| failed("the vocabulary is too large"));
    let first = start + first;
    Ok(BestTwo { first: id(first)?, second: id(second)?, margin: logits[first] - logits[second] })
}

/// The greatest of some logits.
struct Greatest {
    value: f32,
    all_finite: bool,
}

fn greatest(logits: &[f32]) -> Greatest {
    let (mut maxima, mut sums) = ([f32::NEG_INFINITY; LANES], [0.0_f32; LANES]);
    let lanes = logits.chunks_exact(LANES);
    let rest = lanes.remainder();
    let take = |maximum: &mut f32, sum: &mut f32, logit: f32| {
        *maximum = if logit > *maximum { logit } else { *maximum };
        // Zero for every finite number, and no number for any other.
        *sum += logit * 0.0;
    };
    for logits in lanes {
        for ((maximum, sum), logit) in maxima.iter_mut().zip(&mut sums).zip(logits) {
            take(maximum, sum, *logit);
        }
    }
    rest.iter().for_each(|logit| take(&mut maxima[0], &mut sums[0], *logit));
    let value = maxima.into_iter().fold(f32::NEG_INFINITY, f32::max);
    Greatest { value, all_finite: sums.iter().all(|sum| *sum == 0.0) }
}

/// Returns the position of the greatest number, the first on a tie, leaving one position out.
fn position_of_greatest(numbers: &[f32], except: Option<usize>) -> usize {
    let others = numbers.iter().copied().enumerate().filter(|(position, _)| Some(*position) != except);
    let greater = |best: (usize, f32), next: (usize, f32)| if next.1 > best.1 { next } else { best };
    others.reduce(greater).map(|(position, _)| position).unwrap_or_default()
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

    /// Finds the two greatest the plain way.
    fn plainly(logits: &[f32]) -> (usize, usize) {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|one, other| logits[*other].total_cmp(&logits[*one]).then(one.cmp(other)));
        (order[0], order[1])
    }

    #[test]
    fn the_search_by_chunks_finds_what_a_sort_finds() {
        let mut state = 1_u64;
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Few values: ties are common, in one chunk and across chunks.
            f32::from(u8::try_from(state >> 59).unwrap())
        };
        for length in [2, 15, 16, 17, 1023, 1024, 1025, 2048, 5000] {
            for _ in 0..40 {
                let logits: Vec<f32> = (0..length).map(|_| draw()).collect();
                let best = best_two(&logits).unwrap();
                assert_eq!((best.first as usize, best.second as usize), plainly(&logits), "{length}");
            }
        }
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
