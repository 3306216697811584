//! What the built-in engine can run, stated without the engine.
//!
//! The rules follow candle 0.11 (`quantized_llama.rs`, `gguf_file.rs`). Where candle would silently compute
//! something else than the file asks for (ignored tensors, ignored rope scaling), the file is refused.

use std::collections::{HashMap, HashSet};

use crate::gguf::{Gguf, GgufError, TensorInfo, TensorType, Value};
use crate::llama::{LlamaShape, OUTPUT, TOKEN_EMBEDDING, required_tensors};

/// Architectures the built-in engine runs.
pub const ARCHITECTURES: &[&str] = &["llama"];

/// The longest sequence the built-in engine computes, in tokens: candle's `MAX_SEQ_LEN`, the length of its
/// table of rotations.
pub const POSITION_LIMIT: u64 = 4096;

/// Tensor types candle 0.11 loads.
pub const TENSOR_TYPES: &[TensorType] = &[
    TensorType::F32,
    TensorType::F16,
    TensorType::BF16,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q8_0,
    TensorType::Q8_1,
    TensorType::Q2_K,
    TensorType::Q3_K,
    TensorType::Q4_K,
    TensorType::Q5_K,
    TensorType::Q6_K,
    TensorType::Q8_K,
];

/// Factors for long contexts, which candle does not read.
const ROPE_FREQUENCIES: &str = "rope_freqs.weight";
/// How many missing tensors are named before the rest is counted.
const NAMED_MISSING: usize = 3;

/// A reason why the built-in engine cannot run a file.
#[derive(Debug, thiserror::Error)]
pub enum Unsupported {
    /// Another architecture.
    #[error("architecture `{found}` is not supported yet by the built-in engine (supported: {})", ARCHITECTURES.join(", "))]
    Architecture {
        /// The file's architecture.
        found: String,
    },
    /// Metadata that the engine needs is absent or malformed.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// Mixture-of-experts models.
    #[error("the model is a mixture of {experts} experts, which the built-in engine does not support yet")]
    Experts {
        /// Number of experts.
        experts: u32,
    },
    /// One part of a model that comes in several files.
    #[error(
        "the file is one of {parts} parts; join them first (llama.cpp's `llama-gguf-split --merge` does)"
    )]
    Split {
        /// Number of files.
        parts: u32,
    },
    /// Tensors of a type candle does not load.
    #[error(
        "tensor `{tensor}` is {tensor_type}, which the built-in engine cannot load{}",
        and_more(*others, "of this type")
    )]
    TensorType {
        /// The first such tensor.
        tensor: String,
        /// The type.
        tensor_type: TensorType,
        /// How many more tensors have the type.
        others: usize,
    },
    /// The workload is longer than the engine's table of positions.
    #[error(
        "the workload needs {needed} positions (prompt and generated tokens), the built-in engine has {POSITION_LIMIT}"
    )]
    Positions {
        /// Positions needed.
        needed: u64,
    },
    /// The workload is longer than the context the file declares.
    #[error(
        "the workload needs {needed} positions (prompt and generated tokens), the model's context has {context}"
    )]
    Context {
        /// Positions needed.
        needed: u64,
        /// The file's context length.
        context: u32,
    },
    /// Factors that stretch the rotation for long contexts.
    #[error(
        "the file has the tensor `rope_freqs.weight` (as Llama 3.1 and later do), which the built-in engine \
         would ignore: its output would be wrong"
    )]
    RopeFrequencies,
    /// A stretched rotation in the metadata.
    #[error("`{key}` is `{scaling}`, which the built-in engine would ignore: its output would be wrong")]
    RopeScaling {
        /// The metadata key.
        key: String,
        /// The kind of scaling, or its factor where the file names no kind.
        scaling: String,
    },
    /// Heads of another width than candle derives, or heads that are rotated in part.
    #[error(
        "heads have {head_dim} elements of which {rope_dimension} are rotated; the built-in engine supports only \
         embedding / heads = {expected} for both"
    )]
    Head {
        /// Width of a head.
        head_dim: u32,
        /// Elements that are rotated.
        rope_dimension: u32,
        /// What the engine supports.
        expected: u32,
    },
    /// Required tensors are absent.
    #[error("the file lacks the tensors {}{}", .tensors.join(", "), and_more(*others, "besides"))]
    MissingTensors {
        /// The first of them.
        tensors: Vec<String>,
        /// How many more are absent.
        others: usize,
    },
    /// A tensor whose dimensions contradict the metadata.
    #[error("tensor `{tensor}` has the dimensions {found:?}, expected {expected:?}")]
    TensorDimensions {
        /// The tensor.
        tensor: String,
        /// The file's dimensions, row length first.
        found: Vec<u64>,
        /// What the metadata implies.
        expected: Vec<u64>,
    },
    /// Tensors that are no part of a plain Llama, such as biases.
    #[error(
        "the built-in engine would ignore the tensor `{tensor}`{}: its output would be wrong",
        and_more(*others, "like it")
    )]
    IgnoredTensor {
        /// The first such tensor.
        tensor: String,
        /// How many more there are.
        others: usize,
    },
}

fn and_more(count: usize, what: &str) -> String {
    if count == 0 { String::new() } else { format!(" (and {count} more {what})") }
}

/// Returns every reason why the built-in engine cannot run this file for a workload of `positions` tokens (prompt
/// and generated). An empty list means that it can.
pub fn problems(gguf: &Gguf, positions: u64) -> Vec<Unsupported> {
    let mut problems = tensor_types(gguf);
    if positions > POSITION_LIMIT {
        problems.push(Unsupported::Positions { needed: positions });
    }
    match gguf.architecture() {
        Ok(found) if !ARCHITECTURES.contains(&found) => {
            problems.push(Unsupported::Architecture { found: found.to_owned() });
            // Everything below would judge the file by rules that are not its own.
            return problems;
        }
        Ok(_) => {}
        Err(error) => problems.push(error.into()),
    }
    let parts = gguf.metadata().value("split.count").and_then(Value::as_u32).unwrap_or(1);
    if parts > 1 {
        problems.push(Unsupported::Split { parts });
        // The other parts have the tensors that this one seems to lack.
        return problems;
    }
    match LlamaShape::read(gguf) {
        Ok(shape) => {
            problems.extend(shape_problems(&shape, positions));
            problems.extend(rope_problems(gguf, &shape));
            problems.extend(tensor_problems(gguf, &shape));
        }
        Err(error) => problems.push(error.into()),
    }
    problems.extend(engine_keys(gguf));
    problems
}

fn tensor_types(gguf: &Gguf) -> Vec<Unsupported> {
    let mut found: Vec<(TensorType, &TensorInfo, usize)> = Vec::new();
    for tensor in gguf.tensors().iter().filter(|tensor| !TENSOR_TYPES.contains(&tensor.tensor_type)) {
        match found.iter_mut().find(|(tensor_type, ..)| *tensor_type == tensor.tensor_type) {
            Some((.., others)) => *others += 1,
            None => found.push((tensor.tensor_type, tensor, 0)),
        }
    }
    let problem = |(tensor_type, tensor, others): (TensorType, &TensorInfo, usize)| Unsupported::TensorType {
        tensor: tensor.name.clone(),
        tensor_type,
        others,
    };
    found.into_iter().map(problem).collect()
}

/// Keys that have a default elsewhere but that candle insists on.
fn engine_keys(gguf: &Gguf) -> impl Iterator<Item = Unsupported> {
    let head_counts = ["llama.attention.head_count_kv", "llama.rope.dimension_count"];
    let epsilon = gguf.f32("llama.attention.layer_norm_rms_epsilon").err();
    head_counts.into_iter().filter_map(|key| gguf.u32(key).err()).chain(epsilon).map(Unsupported::from)
}

fn shape_problems(shape: &LlamaShape, positions: u64) -> Vec<Unsupported> {
    let mut problems = Vec::new();
    if positions > u64::from(shape.context) {
        problems.push(Unsupported::Context { needed: positions, context: shape.context });
    }
    if shape.experts > 1 {
        problems.push(Unsupported::Experts { experts: shape.experts });
    }
    let expected = shape.embedding / shape.heads;
    if shape.head_dim != expected || shape.rope_dimension != expected {
        let (head_dim, rope_dimension) = (shape.head_dim, shape.rope_dimension);
        problems.push(Unsupported::Head { head_dim, rope_dimension, expected });
    }
    problems
}

fn rope_problems(gguf: &Gguf, shape: &LlamaShape) -> Vec<Unsupported> {
    let mut problems = Vec::new();
    if gguf.tensor(ROPE_FREQUENCIES).is_some() {
        problems.push(Unsupported::RopeFrequencies);
    }
    problems.extend(rope_scaling(gguf, &shape.architecture));
    problems
}

/// Finds a stretched rotation: by its type, or, where the file names none, by its factor. llama.cpp takes a factor
/// without a type for linear scaling, and a factor of 0 for none (`llama-model.cpp`, `load_hparams`).
fn rope_scaling(gguf: &Gguf, architecture: &str) -> Option<Unsupported> {
    let key = format!("{architecture}.rope.scaling.type");
    if let Some(scaling) = gguf.metadata().value(&key).and_then(Value::as_str) {
        return (scaling != "none").then(|| Unsupported::RopeScaling { key, scaling: scaling.to_owned() });
    }
    // The second is the older name of the first.
    let keys = ["rope.scaling.factor", "rope.scale_linear"].map(|key| format!("{architecture}.{key}"));
    keys.into_iter().find_map(|key| {
        let factor = gguf.metadata().value(&key).and_then(Value::as_f32)?;
        (!matches!(factor, 0.0 | 1.0)).then(|| Unsupported::RopeScaling { key, scaling: factor.to_string() })
    })
}

fn tensor_problems(gguf: &Gguf, shape: &LlamaShape) -> Vec<Unsupported> {
    // The tensors of experts are named differently; `Experts` says what matters about them.
    if shape.experts > 1 {
        return Vec::new();
    }
    // Not all declared blocks can be there, and listing each tensor of four billion blocks helps nobody.
    if u64::from(shape.layers) > gguf.tensors().len() as u64 {
        return vec![missing_blocks(gguf, shape)];
    }
    let present: HashMap<&str, &TensorInfo> =
        gguf.tensors().iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let required = required_tensors(shape);
    let mut problems = Vec::new();
    let missing: Vec<_> = required.iter().filter(|(name, _)| !present.contains_key(name.as_str())).collect();
    if !missing.is_empty() {
        let tensors = missing.iter().take(NAMED_MISSING).map(|(name, _)| format!("`{name}`")).collect();
        problems.push(Unsupported::MissingTensors {
            tensors,
            others: missing.len().saturating_sub(NAMED_MISSING),
        });
    }
    let output = (OUTPUT.to_owned(), vec![shape.embedding.into(), shape.vocabulary.into()]);
    for (name, expected) in required.iter().chain([&output]) {
        if let Some(tensor) = present.get(name.as_str()).filter(|tensor| tensor.dimensions != *expected) {
            let (found, expected) = (tensor.dimensions.clone(), expected.clone());
            problems.push(Unsupported::TensorDimensions { tensor: name.clone(), found, expected });
        }
    }
    problems.extend(ignored(gguf, &required));
    problems
}

fn missing_blocks(gguf: &Gguf, shape: &LlamaShape) -> Unsupported {
    let mut names = (0..shape.layers).map(|block| format!("blk.{block}.attn_q.weight"));
    let first = names.find(|name| gguf.tensor(name).is_none()).unwrap_or_else(|| TOKEN_EMBEDDING.to_owned());
    let others = (shape.layers as usize).saturating_sub(1);
    Unsupported::MissingTensors { tensors: vec![format!("`{first}`")], others }
}

fn ignored(gguf: &Gguf, required: &[(String, Vec<u64>)]) -> Option<Unsupported> {
    let mut known: HashSet<&str> = required.iter().map(|(name, _)| name.as_str()).collect();
    known.extend([OUTPUT, ROPE_FREQUENCIES]);
    let mut ignored = gguf.tensors().iter().filter(|tensor| !known.contains(tensor.name.as_str()));
    let tensor = ignored.next()?.name.clone();
    Some(Unsupported::IgnoredTensor { tensor, others: ignored.count() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{TinyLlama, open};

    #[track_caller]
    fn check(model: &TinyLlama, positions: u64, expected: &[&str]) {
        let (_file, gguf) = open(&model.metadata, &model.tensors);
        let found: Vec<String> = problems(&gguf, positions).iter().map(Unsupported::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_plain_llama_is_supported_tied_or_not() {
        check(&TinyLlama::new(), 4096, &[]);
        let mut untied = TinyLlama::new();
        untied.add("output.weight", TensorType::Q6_K, &[256, 300]);
        check(&untied, 4096, &[]);
    }

    #[test]
    fn another_architecture_is_named_with_what_is_supported() {
        let mut model = TinyLlama::new();
        model.metadata.set("general.architecture", Value::String("gemma3".to_owned()));
        let expected = "architecture `gemma3` is not supported yet by the built-in engine (supported: llama)";
        check(&model, 1, &[expected]);
    }

    #[test]
    fn tensor_types_candle_lacks_are_named_once_each() {
        let mut model = TinyLlama::new();
        model.tensors[1].tensor_type = TensorType::F32;
        for (name, tensor_type) in [("ffn_down", TensorType::IQ4_NL), ("attn_q", TensorType::MXFP4)] {
            for block in 0..2 {
                model.tensor_mut(&format!("blk.{block}.{name}.weight")).tensor_type = tensor_type;
            }
        }
        model.tensor_mut("token_embd.weight").tensor_type = TensorType::TQ1_0;
        let cannot = "which the built-in engine cannot load";
        check(
            &model,
            1,
            &[
                &format!("tensor `token_embd.weight` is TQ1_0, {cannot}"),
                &format!("tensor `blk.0.ffn_down.weight` is IQ4_NL, {cannot} (and 1 more of this type)"),
                &format!("tensor `blk.0.attn_q.weight` is MXFP4, {cannot} (and 1 more of this type)"),
            ],
        );
    }

    #[test]
    fn sequences_beyond_the_engine_or_the_model_are_refused() {
        let mut model = TinyLlama::new();
        let needs = "the workload needs 4097 positions (prompt and generated tokens)";
        check(&model, 4097, &[&format!("{needs}, the built-in engine has 4096")]);
        model.metadata.set("llama.context_length", Value::U32(64));
        let needs = "the workload needs 65 positions (prompt and generated tokens)";
        check(&model, 65, &[&format!("{needs}, the model's context has 64")]);
    }

    #[test]
    fn what_candle_would_ignore_is_refused() {
        let mut model = TinyLlama::new();
        model.add("rope_freqs.weight", TensorType::F32, &[32]);
        model.add("blk.0.attn_q.bias", TensorType::F32, &[256]);
        model.add("blk.1.attn_q.bias", TensorType::F32, &[256]);
        model.metadata.set("llama.rope.scaling.type", Value::String("yarn".to_owned()));
        let wrong = "its output would be wrong";
        check(
            &model,
            1,
            &[
                &format!(
                    "the file has the tensor `rope_freqs.weight` (as Llama 3.1 and later do), which the built-in engine would ignore: {wrong}"
                ),
                &format!(
                    "`llama.rope.scaling.type` is `yarn`, which the built-in engine would ignore: {wrong}"
                ),
                &format!(
                    "the built-in engine would ignore the tensor `blk.0.attn_q.bias` (and 1 more like it): {wrong}"
                ),
            ],
        );
    }

    #[test]
    fn a_factor_without_a_type_is_rope_scaling_too() {
        let wrong = "which the built-in engine would ignore: its output would be wrong";
        for key in ["llama.rope.scaling.factor", "llama.rope.scale_linear"] {
            for (factor, refused) in [(4.0, true), (0.5, true), (1.0, false), (0.0, false)] {
                let mut model = TinyLlama::new();
                model.metadata.set(key, Value::F32(factor));
                let sentence = format!("`{key}` is `{factor}`, {wrong}");
                check(&model, 1, &[sentence.as_str()][..usize::from(refused)]);
                model.metadata.set("llama.rope.scaling.type", Value::String("none".to_owned()));
                check(&model, 1, &[]);
            }
        }
    }

    #[test]
    fn missing_and_misshapen_tensors_are_named() {
        let mut model = TinyLlama::new();
        model.tensors.retain(|tensor| !tensor.name.starts_with("blk.1."));
        model.tensor_mut("blk.0.attn_k.weight").dimensions = vec![256, 256];
        check(
            &model,
            1,
            &[
                "the file lacks the tensors `blk.1.attn_norm.weight`, `blk.1.ffn_down.weight`, `blk.1.ffn_gate.weight` (and 6 more besides)",
                "tensor `blk.0.attn_k.weight` has the dimensions [256, 256], expected [256, 128]",
            ],
        );
        model.metadata.set("llama.block_count", Value::U32(u32::MAX));
        check(&model, 1, &["the file lacks the tensors `blk.1.attn_q.weight` (and 4294967294 more besides)"]);
    }

    #[test]
    fn heads_that_candle_derives_differently_and_experts_are_refused() {
        let mut model = TinyLlama::new();
        model.metadata.set("llama.rope.dimension_count", Value::U32(32));
        model.metadata.set("llama.expert_count", Value::U32(8));
        check(
            &model,
            1,
            &[
                "the model is a mixture of 8 experts, which the built-in engine does not support yet",
                "heads have 64 elements of which 32 are rotated; the built-in engine supports only embedding / heads = 64 for both",
            ],
        );
    }

    #[test]
    fn one_part_of_several_is_refused_as_such() {
        let mut model = TinyLlama::new();
        model.metadata.set("split.count", Value::U16(3));
        model.tensors.truncate(4);
        let join = "join them first (llama.cpp's `llama-gguf-split --merge` does)";
        check(&model, 1, &[&format!("the file is one of 3 parts; {join}")]);
    }

    #[test]
    fn metadata_that_candle_insists_on_is_asked_for() {
        let mut model = TinyLlama::new();
        model.metadata.set("llama.attention.layer_norm_rms_epsilon", Value::U32(1));
        let (_file, gguf) = open(&model.metadata, &model.tensors);
        let found = problems(&gguf, 1);
        assert!(
            matches!(found.as_slice(), [Unsupported::Metadata(GgufError::WrongType { .. })]),
            "{found:?}"
        );
    }
}
