//! Writes Llama files whose weights are drawn from a seed.
//!
//! Such a file has the shape, the tensor types and so the cost of a real model, and needs no download. It says
//! nothing sensible. Weights are drawn directly as quantised blocks (random quants under fixed scales), never
//! quantised from floats, so that the bytes are defined by integers alone.
//!
//! **The bytes, generator version 1.** Each matrix has its own ChaCha8 stream, whose key is
//! SHA-256(`lab.synthetic.v1`, line feed, the seed as eight little-endian bytes, the tensor's name). Its blocks
//! take the stream's bytes in turn: 128 for the quants of a Q4_K block, 192 for those of a Q6_K block.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};

use half::f16;
use lab_core::model::{SyntheticLlama, SyntheticMix};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::gguf::{Array, HeaderLayout, Metadata, TensorInfo, TensorPlan, TensorType, Value, write_header};
use crate::llama::{LlamaShape, OUTPUT, TOKEN_EMBEDDING, required_tensors};
use crate::{DigestWriter, Progress, Stage, Written};

/// The version of the rule by which a shape and a seed become bytes. Any change of a byte raises it.
pub const GENERATOR_VERSION: u32 = 1;

const KEY_DOMAIN: &[u8] = b"lab.synthetic.v1\n";
/// `<unk>`, `<s>`, `</s>` and one token for each byte.
const LEAST_VOCABULARY: u32 = 3 + 256;
/// Bytes that travel from the drawing thread to the writing one at a time, at most.
const CHUNK_BYTES: u64 = 1 << 20;
/// Chunks that may wait between the two threads.
const CHUNKS_WAITING: usize = 8;

/// A synthetic model that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// A number that is zero or larger than any model needs.
    #[error("`{field}` is {value}, expected {least} to {most}")]
    OutOfRange {
        /// The plan's key.
        field: &'static str,
        /// What the plan says.
        value: u32,
        /// The smallest number allowed.
        least: u32,
        /// The largest number allowed.
        most: u32,
    },
    /// A row length that is no whole number of blocks.
    #[error("`{field}` is {value}, expected a multiple of 256, the block length of Q4_K and Q6_K")]
    PartialBlock {
        /// The plan's key.
        field: &'static str,
        /// What the plan says.
        value: u32,
    },
    /// A number that does not divide another.
    #[error("`{field}` is {value}, expected a divisor of `{of}` ({whole})")]
    NoDivisor {
        /// The plan's key.
        field: &'static str,
        /// What the plan says.
        value: u32,
        /// The key of what it must divide.
        of: &'static str,
        /// Its value.
        whole: u32,
    },
    /// Heads that cannot be rotated in pairs.
    #[error("`embedding` / `heads` is {head_dim}, expected an even number: rotations take pairs")]
    OddHead {
        /// Width of a head.
        head_dim: u32,
    },
    /// The file could not be written.
    #[error("cannot write the synthetic model")]
    Write {
        /// The operating system's answer.
        source: io::Error,
    },
}

/// Checks a shape.
///
/// # Errors
///
/// Names the first number that makes no model.
pub fn check(spec: &SyntheticLlama) -> Result<(), SyntheticError> {
    // The upper ends are far beyond any model, and small enough that no product below leaves a u64.
    let ranges = [
        ("layers", spec.layers, 1, 1 << 10),
        ("embedding", spec.embedding, 1, 1 << 20),
        ("feed_forward", spec.feed_forward, 1, 1 << 20),
        ("heads", spec.heads, 1, 1 << 16),
        ("kv_heads", spec.kv_heads, 1, 1 << 16),
        ("vocabulary", spec.vocabulary, LEAST_VOCABULARY, 1 << 22),
        ("context", spec.context, 1, i32::MAX.unsigned_abs()),
        ("rope_base", spec.rope_base, 1, u32::MAX),
    ];
    for (field, value, least, most) in ranges {
        if !(least..=most).contains(&value) {
            return Err(SyntheticError::OutOfRange { field, value, least, most });
        }
    }
    for (field, value) in [("embedding", spec.embedding), ("feed_forward", spec.feed_forward)] {
        if !value.is_multiple_of(256) {
            return Err(SyntheticError::PartialBlock { field, value });
        }
    }
    let divisors = [
        ("heads", spec.heads, "embedding", spec.embedding),
        ("kv_heads", spec.kv_heads, "heads", spec.heads),
    ];
    for (field, value, of, whole) in divisors {
        if !whole.is_multiple_of(value) {
            return Err(SyntheticError::NoDivisor { field, value, of, whole });
        }
    }
    let head_dim = spec.embedding / spec.heads;
    if head_dim.is_multiple_of(2) { Ok(()) } else { Err(SyntheticError::OddHead { head_dim }) }
}

/// Returns how long the file will be, to the byte.
///
/// # Errors
///
/// When the shape makes no model.
pub fn layout(name: &str, spec: &SyntheticLlama) -> Result<HeaderLayout, SyntheticError> {
    check(spec)?;
    write_header(&mut io::sink(), &metadata(name, spec), &tensors(spec))
        .map_err(|source| SyntheticError::Write { source })
}

/// Returns the shape and the tensors that the file will have, for questions asked before it is written.
///
/// # Errors
///
/// When the shape makes no model.
pub fn foresee(spec: &SyntheticLlama) -> Result<(LlamaShape, Vec<TensorInfo>), SyntheticError> {
    check(spec)?;
    let mut next_offset = 0;
    let info = |plan: TensorPlan| {
        let offset = next_offset;
        next_offset += plan.padded_bytes();
        let TensorPlan { name, tensor_type, dimensions } = plan;
        TensorInfo { name, tensor_type, dimensions, offset }
    };
    Ok((shape(spec), tensors(spec).into_iter().map(info).collect()))
}

/// Writes the file of a model and returns what was written. One thread draws, the caller's digests and writes.
///
/// # Errors
///
/// When the shape makes no model, or when writing fails.
pub fn write(
    name: &str,
    spec: &SyntheticLlama,
    writer: impl Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Written, SyntheticError> {
    check(spec)?;
    let failed = |source| SyntheticError::Write { source };
    let tensors = tensors(spec);
    let mut writer = DigestWriter::new(writer);
    let layout = write_header(&mut writer, &metadata(name, spec), &tensors).map_err(failed)?;
    std::thread::scope(|scope| {
        let (sender, chunks) = sync_channel(CHUNKS_WAITING);
        scope.spawn(move || draw_all(spec, &tensors, &sender));
        for chunk in chunks {
            writer.write_all(&chunk).map_err(failed)?;
            let (done, total) = (writer.bytes(), Some(layout.file_bytes));
            progress(Progress { stage: Stage::Writing, done, total });
        }
        Ok(())
    })?;
    writer.finish().map(|(_, written)| written).map_err(failed)
}

/// Sends the data of all tensors in order. Stops early when the receiver has gone: it failed and says why.
fn draw_all(spec: &SyntheticLlama, tensors: &[TensorPlan], sender: &SyncSender<Vec<u8>>) {
    for tensor in tensors {
        let mut random = stream(spec.seed, &tensor.name);
        let template = block_template(spec, tensor);
        let mut left = tensor.elements() / tensor.tensor_type.block_elements();
        let at_once = CHUNK_BYTES / tensor.tensor_type.block_bytes();
        while left > 0 {
            let blocks = left.min(at_once);
            left -= blocks;
            let mut chunk = template.draw(usize::try_from(blocks).expect("a chunk is small"), &mut random);
            if left == 0 {
                let padding = tensor.padded_bytes() - tensor.bytes();
                chunk.extend((0..padding).map(|_| 0));
            }
            if sender.send(chunk).is_err() {
                return;
            }
        }
    }
}

fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let key = Sha256::new().chain_update(KEY_DOMAIN).chain_update(seed.to_le_bytes()).chain_update(name);
    ChaCha8Rng::from_seed(key.finalize().into())
}

/// A block with its scales set, and where its random quants go.
struct BlockTemplate {
    bytes: Vec<u8>,
    quants: std::ops::Range<usize>,
}

impl BlockTemplate {
    fn draw(&self, blocks: usize, random: &mut ChaCha8Rng) -> Vec<u8> {
        let mut chunk = self.bytes.repeat(blocks);
        if !self.quants.is_empty() {
            let blocks = chunk.chunks_exact_mut(self.bytes.len());
            blocks.for_each(|block| random.fill_bytes(&mut block[self.quants.clone()]));
        }
        chunk
    }
}

fn block_template(spec: &SyntheticLlama, tensor: &TensorPlan) -> BlockTemplate {
    // Standard deviation 1 / sqrt(fan-in) keeps activations near 1 from layer to layer (LeCun et al., 1998,
    // "Efficient BackProp"). The embedding is looked up, not summed over: its fan-in is 1.
    let fan_in = match tensor.name.as_str() {
        TOKEN_EMBEDDING => 1,
        name if name.ends_with("ffn_down.weight") => spec.feed_forward,
        _ => spec.embedding,
    };
    let deviation = 1.0 / f64::from(fan_in).sqrt();
    match tensor.tensor_type {
        TensorType::F32 => BlockTemplate { bytes: 1_f32.to_le_bytes().to_vec(), quants: 0..0 },
        TensorType::Q6_K => q6_k_template(deviation),
        _ => q4_k_template(deviation),
    }
}

/// The scale of every part of a block. Small, so that the block's own f16 scale stays a normal number.
const PART_SCALE: u8 = 4;

/// Q4_K (`block_q4_K` of ggml-common.h): value = d × scale × quant − dmin × minimum. With every minimum equal to
/// the scale and dmin = 7.5 d, quants uniform in 0 to 15 give a mean of zero; their deviation is sqrt(255 / 12).
fn q4_k_template(deviation: f64) -> BlockTemplate {
    let scale = short_f16(deviation / (f64::from(PART_SCALE) * (255.0_f64 / 12.0).sqrt()));
    let minimum = f16::from_f32(7.5 * scale.to_f32());
    let mut bytes = vec![0; 144];
    bytes[..2].copy_from_slice(&scale.to_le_bytes());
    bytes[2..4].copy_from_slice(&minimum.to_le_bytes());
    // `get_scale_min_k4`: bytes 0 to 7 hold parts 0 to 3 whole, bytes 8 to 11 the low halves of the others.
    bytes[4..12].fill(PART_SCALE);
    bytes[12..16].fill(PART_SCALE | PART_SCALE << 4);
    BlockTemplate { bytes, quants: 16..144 }
}

/// Q6_K (`block_q6_K`): value = d × scale × (quant − 32). Quants uniform in 0 to 63 have a mean of 31.5, so the
/// signs of the scales alternate to keep the mean at zero; their deviation is sqrt(4095 / 12).
fn q6_k_template(deviation: f64) -> BlockTemplate {
    let scale = short_f16(deviation / (f64::from(PART_SCALE) * (4095.0_f64 / 12.0).sqrt()));
    let mut bytes = vec![0; 210];
    for (part, byte) in bytes[192..208].iter_mut().enumerate() {
        *byte = if part % 2 == 0 { PART_SCALE } else { PART_SCALE.wrapping_neg() };
    }
    bytes[208..].copy_from_slice(&scale.to_le_bytes());
    BlockTemplate { bytes, quants: 0..192 }
}

/// Returns an f16 with seven significant bits, so that 7.5 times it is an f16 too.
fn short_f16(value: f64) -> f16 {
    f16::from_bits(f16::from_f64(value).to_bits() & !15)
}

fn shape(spec: &SyntheticLlama) -> LlamaShape {
    let head_dim = spec.embedding / spec.heads;
    LlamaShape {
        architecture: "llama".to_owned(),
        layers: spec.layers,
        embedding: spec.embedding,
        feed_forward: spec.feed_forward,
        heads: spec.heads,
        kv_heads: spec.kv_heads,
        head_dim,
        vocabulary: spec.vocabulary,
        context: spec.context,
        rope_base: rope_base(spec),
        rope_dimension: head_dim,
        experts: 0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "the file stores an f32; bases in use are exact in it")]
fn rope_base(spec: &SyntheticLlama) -> f32 {
    spec.rope_base as f32
}

fn tensors(spec: &SyntheticLlama) -> Vec<TensorPlan> {
    let mut tensors = required_tensors(&shape(spec));
    tensors.push((OUTPUT.to_owned(), vec![spec.embedding.into(), spec.vocabulary.into()]));
    let plan = |(name, dimensions): (String, Vec<u64>)| {
        let tensor_type = if dimensions.len() == 1 { TensorType::F32 } else { matrix_type(spec, &name) };
        TensorPlan { name, tensor_type, dimensions }
    };
    tensors.into_iter().map(plan).collect()
}

/// llama.cpp's `llama_tensor_get_type` for `LLAMA_FTYPE_MOSTLY_Q4_K_M` (llama-quant.cpp).
fn matrix_type(spec: &SyntheticLlama, name: &str) -> TensorType {
    let more_bits = match spec.quantization {
        SyntheticMix::Q4K => false,
        SyntheticMix::Q4KM => {
            name == OUTPUT
                || block_of_sensitive_matrix(name).is_some_and(|block| use_more_bits(block, spec.layers))
        }
    };
    if more_bits { TensorType::Q6_K } else { TensorType::Q4_K }
}

/// Returns the block of a value projection or a feed-forward down projection.
fn block_of_sensitive_matrix(name: &str) -> Option<u32> {
    let (block, part) = name.strip_prefix("blk.")?.split_once('.')?;
    matches!(part, "attn_v.weight" | "ffn_down.weight").then(|| block.parse().ok()).flatten()
}

/// llama.cpp's `use_more_bits`.
fn use_more_bits(block: u32, layers: u32) -> bool {
    let eighth = layers / 8;
    block < eighth || block >= 7 * layers / 8 || (block - eighth) % 3 == 2
}

fn metadata(name: &str, spec: &SyntheticLlama) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", Value::String("llama".to_owned()));
    metadata.set("general.name", Value::String(name.to_owned()));
    // llama.cpp has no file type for "every matrix Q4_K"; it then takes the type of most tensors.
    if spec.quantization == SyntheticMix::Q4KM {
        metadata.set("general.file_type", Value::U32(15));
    }
    metadata.set("general.quantization_version", Value::U32(2));
    metadata.set("lab.synthetic.generator_version", Value::U32(GENERATOR_VERSION));
    metadata.set("lab.synthetic.seed", Value::U64(spec.seed));
    for (key, value) in [
        ("block_count", spec.layers),
        ("context_length", spec.context),
        ("embedding_length", spec.embedding),
        ("feed_forward_length", spec.feed_forward),
        ("attention.head_count", spec.heads),
        ("attention.head_count_kv", spec.kv_heads),
        ("rope.dimension_count", spec.embedding / spec.heads),
        ("vocab_size", spec.vocabulary),
    ] {
        metadata.set(format!("llama.{key}"), Value::U32(value));
    }
    metadata.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    metadata.set("llama.rope.freq_base", Value::F32(rope_base(spec)));
    add_tokenizer(&mut metadata, spec.vocabulary);
    metadata
}

/// A SentencePiece vocabulary in which every text is a sequence of byte tokens.
fn add_tokenizer(metadata: &mut Metadata, vocabulary: u32) {
    const SPECIAL: [&str; 3] = ["<unk>", "<s>", "</s>"];
    let bytes = (0..=255_u8).map(|byte| format!("<0x{byte:02X}>"));
    let filler = (LEAST_VOCABULARY..vocabulary).map(|id| format!("▁token{id}"));
    let tokens = SPECIAL.into_iter().map(str::to_owned).chain(bytes).chain(filler).collect();
    let (unknown, control, normal, byte) = (2, 3, 1, 6);
    let kind = |id| match id {
        0 => unknown,
        1 | 2 => control,
        _ if id < LEAST_VOCABULARY => byte,
        _ => normal,
    };
    let count = vocabulary as usize;
    metadata.set("tokenizer.ggml.model", Value::String("llama".to_owned()));
    metadata.set("tokenizer.ggml.pre", Value::String("default".to_owned()));
    metadata.set("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)));
    metadata.set("tokenizer.ggml.scores", Value::Array(Array::F32(vec![0.0; count])));
    metadata.set("tokenizer.ggml.token_type", Value::Array(Array::I32((0..vocabulary).map(kind).collect())));
    metadata.set("tokenizer.ggml.bos_token_id", Value::U32(1));
    metadata.set("tokenizer.ggml.eos_token_id", Value::U32(2));
    metadata.set("tokenizer.ggml.unknown_token_id", Value::U32(0));
    metadata.set("tokenizer.ggml.add_bos_token", Value::Bool(true));
    metadata.set("tokenizer.ggml.add_eos_token", Value::Bool(false));
    metadata.set("tokenizer.ggml.add_space_prefix", Value::Bool(false));
}

#[cfg(test)]
mod tests;
