//! How many bytes of weights one decoded token touches, as they lie in memory once candle has loaded and packed them.
//!
//! For every layer, the four products of attention, the three of the MLP, and two norms; then the last norm and the
//! last product; and one row of the embedding:
//!
//! ```text
//! bytes = Σ layers (q + k + v + output + gate + up + down + 2 norms) + output norm + output + 1 row of embedding
//! ```
//!
//! where (sources of candle 0.11.1: `quantized_llama.rs` `from_gguf`, `quantized/mod.rs` `QMatMul::from_arc`,
//! `quantized/repack_x86.rs`, `quantized/repack.rs`)
//!
//! - a weight of a product stays as it is in the file, unless it is F32, F16 or BF16, which become f32, or the
//!   environment asks for all of them to become f32 (`CANDLE_DEQUANTIZE_ALL`) or f16 (`CANDLE_DEQUANTIZE_ALL_F16`);
//! - on x86-64 with AVX2 and FMA, Q4_K whose rows come in sixteens is packed in tiles at the first product, 6 bits a
//!   weight where the file has 4.5. The other packed layouts that decode uses (Q8_0 on x86-64, all on AArch64) only
//!   move bytes about; Q6_K tiles serve prefill alone;
//! - norms and the embedding become f32, whatever they are in the file;
//! - without an `output.weight` the last product takes the embedding as the file has it, beside the f32 copy that is
//!   looked up.
//!
//! What is no weight is not counted: the KV cache, which grows with every token, the tables of sines and cosines, and
//! activations. A weight touched twice (in cache or out of it) counts once.

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, TensorInfo};

const F32_BYTES: u64 = 4;
const F16_BYTES: u64 = 2;
/// Weights of a Q4_K block (`QK_K`), and rows and bytes of a packed tile one block wide (`TILE_N`, `TileQ4K`: eight
/// scales and eight minima of four bytes for each row, and half a byte for each weight).
const Q4K_BLOCK: u64 = 256;
const TILE_ROWS: u64 = 16;
const TILE_BYTES: u64 = TILE_ROWS * (8 * F32_BYTES + 8 * F32_BYTES + Q4K_BLOCK / 2);

const PRODUCTS: [&str; 7] = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
const NORMS: [&str; 2] = ["attn_norm", "ffn_norm"];

/// What candle does with weights in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Residence {
    /// What quantised weights of products become.
    pub(crate) quantised: Quantised,
    /// Whether Q4_K is packed in tiles.
    pub(crate) tiles: bool,
}

/// What quantised weights of products become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantised {
    /// They stay.
    Kept,
    /// f32.
    Single,
    /// f16.
    Half,
}

impl Residence {
    /// Finds out as candle does: from the environment and the processor.
    pub(crate) fn probe() -> Self {
        let quantised = match (is_on("CANDLE_DEQUANTIZE_ALL"), is_on("CANDLE_DEQUANTIZE_ALL_F16")) {
            (true, _) => Quantised::Single,
            (false, true) => Quantised::Half,
            (false, false) => Quantised::Kept,
        };
        Self { quantised, tiles: has_tile_kernels() }
    }

    /// Returns the bytes of a weight of a product, `rows` times `columns`.
    fn product_bytes(self, tensor: &TensorInfo) -> Option<u64> {
        let (rows, columns) = tensor.shape.dims2().ok()?;
        let [rows, columns] = [rows, columns].map(|length| length as u64);
        let dtype = tensor.ggml_dtype;
        let bytes = match (dtype, self.quantised) {
            (GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16, _) | (_, Quantised::Single) => {
                rows * columns * F32_BYTES
            }
            (_, Quantised::Half) => rows * columns * F16_BYTES,
            (GgmlDType::Q4K, Quantised::Kept) if self.tiles && rows.is_multiple_of(TILE_ROWS) => {
                rows / TILE_ROWS * (columns / Q4K_BLOCK) * TILE_BYTES
            }
            _ => rows * columns / dtype.block_size() as u64 * dtype.type_size() as u64,
        };
        Some(bytes)
    }
}

/// Reads a switch as candle does.
fn is_on(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| !value.is_empty() && value != "0")
}

/// Every processor with the wider instructions that candle also looks for (AVX-VNNI, AVX-512 VNNI) has these two.
#[cfg(target_arch = "x86_64")]
fn has_tile_kernels() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_tile_kernels() -> bool {
    false
}

/// Returns the bytes of weights that one decoded token touches, or nothing for a model whose header does not tell: a
/// mixture of experts, where it depends on the token, or a file that candle refuses anyway.
pub(crate) fn bytes_per_token(content: &Content, residence: Residence) -> Option<u64> {
    let number = |key| content.metadata.get(key).and_then(|value| value.to_u32().ok());
    if number("llama.expert_count").is_some_and(|n_experts| n_experts > 1) {
        return None;
    }
    let tensor = |name: &str| content.tensor_infos.get(name);
    let product = |name: &str| residence.product_bytes(tensor(name)?);
    let norm = |name: &str| Some(tensor(name)?.shape.elem_count() as u64 * F32_BYTES);
    let mut bytes = 0;
    for layer in 0..number("llama.block_count")? {
        for name in PRODUCTS {
            bytes += product(&format!("blk.{layer}.{name}.weight"))?;
        }
        for name in NORMS {
            bytes += norm(&format!("blk.{layer}.{name}.weight"))?;
        }
    }
    let (_, width) = tensor("token_embd.weight")?.shape.dims2().ok()?;
    let output = product("output.weight").or_else(|| product("token_embd.weight"))?;
    Some(bytes + norm("output_norm.weight")? + output + width as u64 * F32_BYTES)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::quantized::gguf_file::{Value, VersionedMagic};

    use super::*;

    const KEPT: Residence = Residence { quantised: Quantised::Kept, tiles: false };

    fn info(dtype: GgmlDType, dims: &[usize]) -> TensorInfo {
        TensorInfo { ggml_dtype: dtype, shape: dims.into(), offset: 0 }
    }

    /// One layer, 256 wide, 2 KV heads of 8, an MLP of 512, 100 tokens.
    fn content(products: GgmlDType, output: Option<GgmlDType>) -> Content {
        let shapes: [(&str, &[usize]); 7] = [
            ("attn_q", &[256, 256]),
            ("attn_k", &[64, 256]),
            ("attn_v", &[64, 256]),
            ("attn_output", &[256, 256]),
            ("ffn_gate", &[512, 256]),
            ("ffn_up", &[512, 256]),
            ("ffn_down", &[256, 512]),
        ];
        let mut tensor_infos: HashMap<String, TensorInfo> = shapes
            .iter()
            .map(|(name, dims)| (format!("blk.0.{name}.weight"), info(products, dims)))
            .collect();
        for norm in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
            tensor_infos.insert(norm.to_owned(), info(GgmlDType::F16, &[256]));
        }
        tensor_infos.insert("token_embd.weight".to_owned(), info(GgmlDType::Q8_0, &[100, 256]));
        if let Some(dtype) = output {
            tensor_infos.insert("output.weight".to_owned(), info(dtype, &[100, 256]));
        }
        let metadata = HashMap::from([("llama.block_count".to_owned(), Value::U32(1))]);
        Content { magic: VersionedMagic::GgufV2, metadata, tensor_infos, tensor_data_offset: 0 }
    }

    /// Weights of the layer's products: 2 × 256 × 256 + 2 × 64 × 256 + 3 × 512 × 256.
    const N_LAYER: u64 = 557_056;
    /// Three norms and one row of the embedding, all f32.
    const REST: u64 = 4 * 256 * 4;
    /// The embedding as Q8_0: 34 bytes for each 32 weights.
    const TIED: u64 = 25_600 / 32 * 34;

    #[track_caller]
    fn check(content: &Content, residence: Residence, expected: u64) {
        assert_eq!(bytes_per_token(content, residence), Some(expected));
    }

    #[test]
    fn quantised_weights_count_as_in_the_file_and_a_tied_output_counts_whole() {
        check(&content(GgmlDType::Q8_0, None), KEPT, N_LAYER / 32 * 34 + TIED + REST);
        check(&content(GgmlDType::Q4_1, None), KEPT, N_LAYER / 32 * 20 + TIED + REST);
        // 591,872 + 27,200 + 4,096, added up by hand.
        check(&content(GgmlDType::Q8_0, None), KEPT, 623_168);
    }

    #[test]
    fn an_output_of_its_own_takes_the_place_of_the_embedding() {
        let output = 25_600 / 256 * 210;
        check(&content(GgmlDType::Q8_0, Some(GgmlDType::Q6K)), KEPT, N_LAYER / 32 * 34 + output + REST);
    }

    #[test]
    fn tiles_of_q4_k_take_a_third_more_than_the_file() {
        let tiled = Residence { tiles: true, ..KEPT };
        let in_file = N_LAYER / 256 * 144;
        check(&content(GgmlDType::Q4K, None), KEPT, in_file + TIED + REST);
        check(&content(GgmlDType::Q4K, None), tiled, in_file / 3 * 4 + TIED + REST);
        // 100 rows do not come in sixteens.
        let odd = 25_600 / 256 * 144;
        check(&content(GgmlDType::Q4K, Some(GgmlDType::Q4K)), tiled, in_file / 3 * 4 + odd + REST);
        check(&content(GgmlDType::Q6K, None), tiled, N_LAYER / 256 * 210 + TIED + REST);
    }

    #[test]
    fn what_is_dequantised_counts_as_what_it_becomes() {
        let all = N_LAYER + 25_600;
        check(&content(GgmlDType::BF16, None), KEPT, N_LAYER * 4 + TIED + REST);
        let single = Residence { quantised: Quantised::Single, tiles: true };
        check(&content(GgmlDType::Q4K, None), single, all * 4 + REST);
        let half = Residence { quantised: Quantised::Half, tiles: true };
        check(&content(GgmlDType::Q4K, None), half, all * 2 + REST);
    }

    #[test]
    fn what_the_header_does_not_tell_is_not_told() {
        let mut experts = content(GgmlDType::Q8_0, None);
        experts.metadata.insert("llama.expert_count".to_owned(), Value::U32(8));
        assert_eq!(bytes_per_token(&experts, KEPT), None);
        let mut maimed = content(GgmlDType::Q8_0, None);
        maimed.tensor_infos.remove("blk.0.ffn_up.weight");
        assert_eq!(bytes_per_token(&maimed, KEPT), None);
    }
}
