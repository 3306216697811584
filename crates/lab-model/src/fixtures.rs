//! Model files for tests: real headers over data that is all zeros.

use tempfile::NamedTempFile;

use crate::gguf::{Gguf, Metadata, TensorPlan, TensorType, Value, write_header};

/// Metadata and tensors of a Llama of two blocks, tied, every matrix Q4_K. To be bent by a test.
pub(crate) struct TinyLlama {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorPlan>,
}

impl TinyLlama {
    /// Embedding 256, feed-forward 512, 4 heads of 64, 2 key and value heads, vocabulary 300.
    pub(crate) fn new() -> Self {
        let mut metadata = Metadata::default();
        metadata.set("general.architecture", Value::String("llama".to_owned()));
        metadata.set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
        for (key, value) in [
            ("block_count", 2),
            ("context_length", 8192),
            ("embedding_length", 256),
            ("feed_forward_length", 512),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("rope.dimension_count", 64),
            ("vocab_size", 300),
        ] {
            metadata.set(format!("llama.{key}"), Value::U32(value));
        }
        let mut model = Self { metadata, tensors: Vec::new() };
        model.add("token_embd.weight", TensorType::Q4_K, &[256, 300]);
        for block in 0..2 {
            for norm in ["attn_norm", "ffn_norm"] {
                model.add(&format!("blk.{block}.{norm}.weight"), TensorType::F32, &[256]);
            }
            for (part, dimensions) in [
                ("ffn_down", [512, 256]),
                ("ffn_gate", [256, 512]),
                ("ffn_up", [256, 512]),
                ("attn_k", [256, 128]),
                ("attn_output", [256, 256]),
                ("attn_q", [256, 256]),
                ("attn_v", [256, 128]),
            ] {
                model.add(&format!("blk.{block}.{part}.weight"), TensorType::Q4_K, &dimensions);
            }
        }
        model.add("output_norm.weight", TensorType::F32, &[256]);
        model
    }

    pub(crate) fn add(&mut self, name: &str, tensor_type: TensorType, dimensions: &[u64]) {
        let dimensions = dimensions.to_vec();
        self.tensors.push(TensorPlan { name: name.to_owned(), tensor_type, dimensions });
    }

    pub(crate) fn tensor_mut(&mut self, name: &str) -> &mut TensorPlan {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).expect("the tiny model has this tensor")
    }
}

/// Writes a file with these metadata and tensors and reads its header.
pub(crate) fn open(metadata: &Metadata, tensors: &[TensorPlan]) -> (NamedTempFile, Gguf) {
    let mut file = NamedTempFile::new().unwrap();
    let layout = write_header(&mut file, metadata, tensors).unwrap();
    file.as_file().set_len(layout.file_bytes).unwrap();
    let gguf = Gguf::read(file.path()).unwrap();
    (file, gguf)
}
