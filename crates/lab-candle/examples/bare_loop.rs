//! A bare candle loop without lab: what the built-in engine's speed is compared with to learn what measuring costs.
//!
//! `bare_loop MODEL PROMPT GENERATE`: loads a GGUF Llama, generates once to warm up and once for real (greedy, from a
//! comma-separated list of token ids), and prints one JSON line to standard error.

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

use candle_core::quantized::gguf_file;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompt, generate] = arguments.as_slice() else {
        return Err("usage: bare_loop MODEL PROMPT GENERATE".into());
    };
    let prompt: Vec<u32> = prompt.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let generate: usize = generate.parse()?;
    let mut weights = load(model)?;
    run(&mut weights, &prompt, generate)?;
    let (first, total) = run(&mut weights, &prompt, generate)?;
    report(generate, first, total);
    Ok(())
}

fn load(model: &str) -> Result<ModelWeights, Box<dyn Error>> {
    let mut file = BufReader::new(File::open(model)?);
    let content = gguf_file::Content::read(&mut file)?;
    Ok(ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?)
}

/// Generates and returns the seconds to the first token and to the last.
#[expect(clippy::disallowed_methods, reason = "this program stands outside lab and has no clock of its")]
fn run(weights: &mut ModelWeights, prompt: &[u32], generate: usize) -> candle_core::Result<(f64, f64)> {
    weights.clear_kv_cache();
    let begun = Instant::now();
    let mut token = next(weights, prompt, 0)?;
    let first = begun.elapsed().as_secs_f64();
    for index in 1..generate {
        token = next(weights, &[token], prompt.len() + index - 1)?;
    }
    Ok((first, begun.elapsed().as_secs_f64()))
}

fn next(weights: &mut ModelWeights, input: &[u32], position: usize) -> candle_core::Result<u32> {
    let input = Tensor::new(input, &Device::Cpu)?.unsqueeze(0)?;
    weights.forward(&input, position)?.squeeze(0)?.argmax(0)?.to_scalar()
}

#[expect(clippy::print_stderr, reason = "the launcher keeps standard output for the engine protocol")]
#[expect(clippy::cast_precision_loss, reason = "a few hundred tokens")]
fn report(generate: usize, first: f64, total: f64) {
    let decode = (generate - 1) as f64 / (total - first);
    eprintln!(
        "{{\"tokens_per_sec\": {}, \"decode_tokens_per_sec\": {decode}, \"ttft_ms\": {}}}",
        generate as f64 / total,
        first * 1e3
    );
}
