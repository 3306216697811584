//! The whole way to a real model: download, extract, verify, read, requantise.

mod common;

use std::path::Path;

use lab_core::model::{ModelSpec, Requantize, RequantizeTo};
use lab_model::gguf::{Gguf, TensorType};
use lab_model::llama::LlamaShape;
use lab_model::memory::{MemoryEstimate, bytes_touched_per_token};
use lab_model::source::{ModelStatus, status};
use lab_model::support::problems;

#[test]
fn smollm2_is_obtained_read_and_found_to_be_supported() {
    let Some(model) = common::real_model(&common::smollm2()) else { return };
    assert_eq!(model.bytes, 98_362_432);
    assert_eq!(Some(model.sha256), common::smollm2().sha256);
    let gguf = Gguf::read(&model.path).unwrap();
    let count = |wanted| gguf.tensors().iter().filter(|tensor| tensor.tensor_type == wanted).count();
    assert_eq!(gguf.quantization(), "q4_1");
    assert_eq!((count(TensorType::Q4_1), count(TensorType::Q8_0), count(TensorType::F32)), (210, 1, 61));

    let shape = LlamaShape::read(&gguf).unwrap();
    assert_eq!((shape.layers, shape.embedding, shape.feed_forward, shape.vocabulary), (30, 576, 1536, 49152));
    assert_eq!((shape.heads, shape.kv_heads, shape.head_dim, shape.context), (9, 3, 64, 8192));
    assert!(problems(&gguf, 4096).is_empty());
    assert_eq!(problems(&gguf, 4097).len(), 1);

    // Tied: the token embedding is the output matrix, so every tensor is read at each step.
    let data: u64 = gguf.tensors().iter().map(|tensor| tensor.bytes()).sum();
    assert_eq!(bytes_touched_per_token(&gguf), data);
    let estimate = MemoryEstimate::of(gguf.tensors(), &shape, 1000);
    assert_eq!((estimate.weights, estimate.repacked), (data, 0), "candle packs neither Q4_1 nor rows of 576");
    assert_eq!(estimate.kv_cache, 2 * 30 * 3 * 64 * 4 * 1000);
}

#[test]
fn smollm2_in_q8_0_has_the_pinned_bytes() {
    if common::real_model(&common::smollm2()).is_none() {
        return;
    }
    let sha256 = "0c1d3326cd9793cfb7296113c063dd5c24e2bd734b48ec1a3d01b7158eca9387".parse().unwrap();
    let requantize = Some(Requantize { to: RequantizeTo::Q8_0, sha256: Some(sha256) });
    let spec = ModelSpec { requantize, ..common::smollm2() };
    let model = common::real_model(&spec).expect("the source is there");
    assert_eq!((model.sha256, Some(model.source_sha256)), (sha256, spec.sha256));
    assert_eq!(model.bytes, 144_811_072);
    assert_eq!(status(&common::cache(), &spec, Path::new(".")).unwrap(), ModelStatus::Cached(model));
}
