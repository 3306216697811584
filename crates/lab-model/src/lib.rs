//! Models without an engine: GGUF files, tokenizers, synthetic weights, sources and the cache, memory estimates.
//!
//! Nothing here computes with a model. A plan can be checked, its model fetched and its prompt tokenised
//! without compiling a single kernel.

mod blocks;
mod digest_writer;
#[cfg(test)]
mod fixtures;
pub mod gguf;
pub mod llama;
pub mod memory;
mod progress;
pub mod requantize;
pub mod source;
pub mod support;
pub mod synthetic;
pub mod tokenizer;

pub use digest_writer::{DigestWriter, Written};
pub use progress::{Progress, Stage};
