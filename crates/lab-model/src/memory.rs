//! How much memory the built-in engine will need, estimated from the header.
//!
//! The parts follow candle 0.11 on a processor with AVX-512 VNNI or AVX-VNNI, where it packs the most. What
//! the process needs besides (activations, code, thread stacks) is not counted: tens of megabytes.

use crate::gguf::{Gguf, TensorInfo, TensorType};
use crate::llama::{LlamaShape, OUTPUT, TOKEN_EMBEDDING};

/// Rows of one tile of candle's `repack_x86.rs`.
const TILE_ROWS: u64 = 16;
/// Row lengths must be multiples of this for candle to pack a matrix (`QK_K`).
const TILE_ELEMENTS: u64 = 256;
/// Bytes of an f32.
const F32_BYTES: u64 = 4;

/// An estimate of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Weights as the file holds them; F32, F16 and BF16 matrices as the f32 they become.
    pub weights: u64,
    /// The copies of Q4_K, Q6_K and Q8_0 matrices that candle packs for its kernels at their first use.
    pub repacked: u64,
    /// The token embedding, which candle looks up in f32.
    pub token_embedding: u64,
    /// Keys and values of all positions in f32.
    pub kv_cache: u64,
}

impl MemoryEstimate {
    /// Estimates what a workload of `positions` tokens (prompt and generated) needs. Saturates.
    pub fn of(tensors: &[TensorInfo], shape: &LlamaShape, positions: u64) -> Self {
        Self {
            weights: tensors.iter().map(loaded_bytes).fold(0, u64::saturating_add),
            repacked: multiplied(tensors).map(repacked_bytes).fold(0, u64::saturating_add),
            token_embedding: product(&[shape.vocabulary.into(), shape.embedding.into(), F32_BYTES]),
            kv_cache: product(&[
                2,
                shape.layers.into(),
                shape.kv_heads.into(),
                shape.head_dim.into(),
                F32_BYTES,
                positions,
            ]),
        }
    }

    /// Returns the sum of all parts.
    pub fn total(&self) -> u64 {
        let parts = [self.weights, self.repacked, self.token_embedding, self.kv_cache];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// Returns the bytes of weights that one decode step reads: every tensor, but the token embedding only where it
/// is the output matrix too. (The one row that is looked up is not counted.)
pub fn bytes_touched_per_token(gguf: &Gguf) -> u64 {
    let norms = gguf.tensors().iter().filter(|tensor| !tensor.is_matrix());
    multiplied(gguf.tensors()).chain(norms).map(TensorInfo::bytes).fold(0, u64::saturating_add)
}

fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product, factor| product.saturating_mul(*factor))
}

/// Returns the matrices that are multiplied with at each step.
fn multiplied(tensors: &[TensorInfo]) -> impl Iterator<Item = &TensorInfo> {
    let tied = tensors.iter().all(|tensor| tensor.name != OUTPUT);
    tensors.iter().filter(move |tensor| tensor.is_matrix() && (tied || tensor.name != TOKEN_EMBEDDING))
}

fn loaded_bytes(tensor: &TensorInfo) -> u64 {
    if tensor.tensor_type.is_plain() { tensor.elements() * F32_BYTES } else { tensor.bytes() }
}

fn repacked_bytes(tensor: &TensorInfo) -> u64 {
    let rows = tensor.elements() / tensor.row_elements();
    if !rows.is_multiple_of(TILE_ROWS) || !tensor.row_elements().is_multiple_of(TILE_ELEMENTS) {
        return 0;
    }
    // Bytes of a tile of 16 rows by 256 elements (`TileQ4K`, `TileQ6K`), or by 32 (`TileQ8_0`).
    let (tile_bytes, tile_elements) = match tensor.tensor_type {
        TensorType::Q4_K => (3072, 256),
        // Only matrices that see several rows at once: the output matrix sees the last row alone.
        TensorType::Q6_K if tensor.name != OUTPUT && tensor.name != TOKEN_EMBEDDING => (5120, 256),
        TensorType::Q8_0 => (544, 32),
        _ => return 0,
    };
    (tensor.elements() / (TILE_ROWS * tile_elements)).saturating_mul(tile_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{TinyLlama, open};

    #[test]
    fn each_part_is_counted_by_hand() {
        let mut model = TinyLlama::new();
        model.add("output.weight", TensorType::Q6_K, &[256, 300]);
        for block in 0..2 {
            model.tensor_mut(&format!("blk.{block}.ffn_down.weight")).tensor_type = TensorType::Q6_K;
        }
        model.tensor_mut("blk.0.attn_q.weight").tensor_type = TensorType::Q8_0;
        let (_file, gguf) = open(&model.metadata, &model.tensors);
        let shape = LlamaShape::read(&gguf).unwrap();
        let estimate = MemoryEstimate::of(gguf.tensors(), &shape, 100);

        // Per block, in Q4_K blocks of 256 elements: gate and up 512 each, k and v 128 each, output 256, q 256.
        let norms = 5 * 256 * 4;
        let (q4_k, down, query, table) = (144 * (512 * 2 + 128 * 2 + 256), 512 * 210, 256 * 272, 300 * 210);
        let query_q4_k = 256 * 144;
        let matrices = 2 * (q4_k + down) + query + query_q4_k;
        assert_eq!(estimate.weights, 300 * 144 + matrices + table + norms);
        // The output matrix is Q6_K, and 300 rows are no whole tiles anyway.
        assert_eq!(estimate.repacked, 2 * (q4_k * 4 / 3 + 512 / 16 * 5120) + query + query_q4_k * 4 / 3);
        assert_eq!(estimate.token_embedding, 300 * 256 * 4);
        assert_eq!(estimate.kv_cache, 2 * 2 * 2 * 64 * 4 * 100);
        let parts = estimate.weights + estimate.repacked + estimate.token_embedding + estimate.kv_cache;
        assert_eq!(estimate.total(), parts);
        assert_eq!(bytes_touched_per_token(&gguf), matrices + table + norms);
    }

    #[test]
    fn a_tied_embedding_is_read_at_each_step() {
        let model = TinyLlama::new();
        let (_file, gguf) = open(&model.metadata, &model.tensors);
        assert_eq!(bytes_touched_per_token(&gguf), gguf.tensors().iter().map(TensorInfo::bytes).sum::<u64>());
    }

    #[test]
    fn an_absurd_shape_saturates() {
        let model = TinyLlama::new();
        let (_file, gguf) = open(&model.metadata, &model.tensors);
        let mut shape = LlamaShape::read(&gguf).unwrap();
        (shape.vocabulary, shape.embedding, shape.layers) = (u32::MAX, u32::MAX, u32::MAX);
        assert_eq!(MemoryEstimate::of(gguf.tensors(), &shape, u64::MAX).total(), u64::MAX);
    }
}
