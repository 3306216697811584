//! The work an engine is asked to do.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The workload as a plan states it, before a tokenizer or a vocabulary is known.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkloadSpec {
    /// Where the prompt's token ids come from.
    pub prompt: PromptSpec,
    /// Tokens to generate, at least one.
    pub generate: u32,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// When generation ends.
    pub stop: Stop,
    /// What is fed to the engine behind the prompt.
    pub decode: Decode,
}

/// Where the prompt's token ids come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptSpec {
    /// Ids drawn uniformly from the model's vocabulary.
    Random {
        /// How many.
        tokens: u32,
        /// Seed of the draw.
        seed: u64,
    },
    /// Text for the model's own tokenizer.
    Text(String),
    /// The ids themselves.
    Tokens(Vec<u32>),
}

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Sampling {
    /// The token with the greatest logit; the lowest id on a tie.
    Greedy,
    /// A draw from the softmax of the logits over the temperature.
    Temperature {
        /// Above zero.
        temperature: f64,
        /// Seed of the draws.
        seed: u64,
    },
}

/// When generation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// After exactly the tokens asked for; end-of-sequence is ignored.
    Length,
    /// At end-of-sequence, or after the tokens asked for.
    Eos,
}

/// What is fed to the engine behind the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    /// The token that it chose last.
    Free,
    /// Ids drawn uniformly from the model's vocabulary, whatever it chose. Goes with [`Stop::Length`] alone.
    Forced {
        /// Seed of the draw, which is another than that of a random prompt from the same seed.
        seed: u64,
    },
}

/// The workload as an engine receives it: token ids, not text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Token ids of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// Tokens to generate, at least one.
    pub generate: u32,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// When generation ends.
    pub stop: Stop,
    /// Token ids that are fed during decode: the `k`th in place of the `k`th token chosen, both counted from 0. One fewer
    /// than `generate`, or more. Absent where the engine is fed what it chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Vec<u32>>,
}

impl Workload {
    /// Returns how many positions of context the workload fills: the prompt and all generated tokens.
    pub fn positions(&self) -> u64 {
        self.prompt.len() as u64 + u64::from(self.generate)
    }

    /// Returns the digest of the prompt's token ids.
    pub fn prompt_digest(&self) -> Digest {
        Digest::of_canonical("lab.prompt.v1", &self.prompt)
    }

    /// Returns the digest of the token ids that are fed during decode; none where the engine is fed what it chose.
    pub fn forced_digest(&self) -> Option<Digest> {
        self.forced.as_ref().map(|ids| Digest::of_canonical("lab.forced.v1", ids))
    }
}

/// Draws `n` token ids uniformly from a vocabulary, the same for the same seed on every machine.
///
/// The ids are `⌊x · vocabulary / 2⁶⁴⌋` of successive 64-bit words `x` of ChaCha8 (Lemire 2019, "Fast Random Integer
/// Generation in an Interval", without the rejection step: the bias is below 2⁻⁴⁰ for any real vocabulary).
pub fn draw_prompt(seed: u64, n: u32, vocabulary: u32) -> Vec<u32> {
    draw_from(ChaCha8Rng::seed_from_u64(seed), n, vocabulary)
}

/// Which of the 2⁶⁴ streams of ChaCha8 under one seed forced tokens are drawn from. Prompts are drawn from stream 0.
const STREAM_OF_FORCED: u64 = 1;

/// Draws the `n` token ids that are fed during decode: as [`draw_prompt`] does, but from another stream of the same seed,
/// so that they are not the prompt once more.
pub fn draw_forced(seed: u64, n: u32, vocabulary: u32) -> Vec<u32> {
    let mut words = ChaCha8Rng::seed_from_u64(seed);
    words.set_stream(STREAM_OF_FORCED);
    draw_from(words, n, vocabulary)
}

fn draw_from(mut words: ChaCha8Rng, n: u32, vocabulary: u32) -> Vec<u32> {
    let mut draw = || {
        let scaled = (u128::from(words.next_u64()) * u128::from(vocabulary)) >> 64;
        u32::try_from(scaled).expect("a scaled word lies below the vocabulary, which is 32-bit")
    };
    (0..n).map(|_| draw()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_prompt_is_pinned_by_its_seed() {
        // Pinned: these ids are part of the identity of every recorded session.
        assert_eq!(draw_prompt(1, 4, 49_152), [19_782, 3_951, 29_322, 10_780]);
        assert_eq!(draw_prompt(1, 4, 49_152), draw_prompt(1, 8, 49_152)[..4]);
        assert_ne!(draw_prompt(1, 8, 49_152), draw_prompt(2, 8, 49_152));
        assert!(draw_prompt(3, 10_000, 300).iter().all(|id| *id < 300));
    }

    #[test]
    fn forced_ids_repeat_with_their_seed_and_are_not_the_prompts() {
        let forced = draw_forced(1, 64, 300);
        assert_eq!((forced.len(), &forced), (64, &draw_forced(1, 64, 300)));
        assert!(forced.iter().all(|id| *id < 300));
        assert_eq!(draw_forced(1, 8, 300), forced[..8], "a shorter draw is the beginning of a longer one");
        assert_ne!(forced, draw_forced(2, 64, 300));
        assert_ne!(forced, draw_prompt(1, 64, 300));
        assert!(draw_forced(1, 0, 300).is_empty());
    }

    #[test]
    fn a_workload_that_forces_nothing_reads_as_it_did_before_it_could() {
        let free = Workload {
            prompt: vec![1],
            generate: 2,
            sampling: Sampling::Greedy,
            stop: Stop::Length,
            forced: None,
        };
        let text = r#"{"prompt":[1],"generate":2,"sampling":{"method":"greedy"},"stop":"length"}"#;
        assert_eq!(serde_json::to_string(&free).unwrap(), text);
        assert_eq!(serde_json::from_str::<Workload>(text).unwrap(), free);
        let with = |ids: Vec<u32>| Workload { forced: Some(ids), ..free.clone() };
        assert_eq!(free.forced_digest(), None);
        assert_ne!(with(vec![1]).forced_digest(), with(vec![2]).forced_digest());
        assert_ne!(with(vec![1]).forced_digest(), Some(free.prompt_digest()), "domains keep them apart");
    }

    #[test]
    fn drawn_ids_cover_the_vocabulary_evenly() {
        let mut counts = [0_u32; 16];
        for id in draw_prompt(7, 16_000, 16) {
            counts[id as usize] += 1;
        }
        // Binomial(16000, 1/16): mean 1000, sd 30.6; six sigma either side.
        assert!(counts.iter().all(|count| (816..=1184).contains(count)), "{counts:?}");
    }
}
