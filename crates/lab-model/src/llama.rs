//! The shape of a transformer as a file's metadata states it, and the tensors a Llama consists of.

use crate::gguf::{Gguf, GgufError};

/// The shape of a Llama, or of a model whose metadata follows the same scheme.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaShape {
    /// `general.architecture`, the prefix of the other keys.
    pub architecture: String,
    /// Transformer blocks.
    pub layers: u32,
    /// Width of the residual stream.
    pub embedding: u32,
    /// Width of the feed-forward network.
    pub feed_forward: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads. The number of query heads where the file is silent.
    pub kv_heads: u32,
    /// Width of a head: `attention.key_length`, or embedding / heads where the file is silent.
    pub head_dim: u32,
    /// Vocabulary size, in tokens: `vocab_size`, or the number of the tokenizer's tokens.
    pub vocabulary: u32,
    /// Context length the file declares, in tokens.
    pub context: u32,
    /// Base of the rotary position embedding. 10000 where the file is silent, as in llama.cpp.
    pub rope_base: f32,
    /// Elements of a head that are rotated. The whole head where the file is silent.
    pub rope_dimension: u32,
    /// Experts of each feed-forward network; 0 for a dense model.
    pub experts: u32,
}

impl LlamaShape {
    /// Reads the shape from metadata.
    ///
    /// # Errors
    ///
    /// When a key without a default is absent, or when one is no positive number.
    pub fn read(gguf: &Gguf) -> Result<Self, GgufError> {
        let architecture = gguf.architecture()?.to_owned();
        let key = |name: &str| format!("{architecture}.{name}");
        let number = |name: &str| gguf.positive_u32(&key(name));
        let number_or = |name: &str, default: u32| Ok(Gguf::optional(number(name))?.unwrap_or(default));
        let (embedding, heads) = (number("embedding_length")?, number("attention.head_count")?);
        let head_dim = number_or("attention.key_length", embedding / heads)?;
        Ok(Self {
            layers: number("block_count")?,
            embedding,
            feed_forward: number("feed_forward_length")?,
            heads,
            kv_heads: number_or("attention.head_count_kv", heads)?,
            head_dim,
            vocabulary: vocabulary(gguf, &key("vocab_size"))?,
            context: number("context_length")?,
            rope_base: Gguf::optional(gguf.f32(&key("rope.freq_base")))?.unwrap_or(10_000.0),
            rope_dimension: number_or("rope.dimension_count", head_dim)?,
            experts: Gguf::optional(gguf.u32(&key("expert_count")))?.unwrap_or(0),
            architecture,
        })
    }
}

fn vocabulary(gguf: &Gguf, key: &str) -> Result<u32, GgufError> {
    match Gguf::optional(gguf.positive_u32(key))? {
        Some(vocabulary) => Ok(vocabulary),
        None => Ok(gguf.strings("tokenizer.ggml.tokens")?.len().try_into().unwrap_or(u32::MAX)),
    }
}

/// The name of the token embedding, which is the output matrix too where [`OUTPUT`] is absent.
pub const TOKEN_EMBEDDING: &str = "token_embd.weight";
/// The name of the output matrix.
pub const OUTPUT: &str = "output.weight";
/// The name of the last norm.
pub const OUTPUT_NORM: &str = "output_norm.weight";

/// Returns the name and dimensions (row length first) of every tensor a dense Llama needs, in the order of
/// llama.cpp's own files. The output matrix is not among them: it may be the token embedding.
pub fn required_tensors(shape: &LlamaShape) -> Vec<(String, Vec<u64>)> {
    let [embedding, feed_forward, vocabulary] =
        [shape.embedding, shape.feed_forward, shape.vocabulary].map(u64::from);
    let head_dim = u64::from(shape.head_dim);
    let (query, key_value) = (head_dim * u64::from(shape.heads), head_dim * u64::from(shape.kv_heads));
    let mut tensors = vec![(TOKEN_EMBEDDING.to_owned(), vec![embedding, vocabulary])];
    for block in 0..shape.layers {
        let parts: [(&str, Vec<u64>); 9] = [
            ("attn_norm", vec![embedding]),
            ("ffn_down", vec![feed_forward, embedding]),
            ("ffn_gate", vec![embedding, feed_forward]),
            ("ffn_up", vec![embedding, feed_forward]),
            ("ffn_norm", vec![embedding]),
            ("attn_k", vec![embedding, key_value]),
            ("attn_output", vec![query, embedding]),
            ("attn_q", vec![embedding, query]),
            ("attn_v", vec![embedding, key_value]),
        ];
        tensors.extend(parts.map(|(part, dimensions)| (format!("blk.{block}.{part}.weight"), dimensions)));
    }
    tensors.push((OUTPUT_NORM.to_owned(), vec![embedding]));
    tensors
}
