//! Profiles, bytes per token and forced tokens of the whole engine, on a Llama of two layers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use lab_candle::Candle;
use lab_core::clock::Clock;
use lab_core::engine::{Engine as _, EngineError, FORCED, LoadRequest, Loaded, Profile};
use lab_core::workload::{Sampling, Stop, Workload};
use tracing::dispatcher;
use tracing::subscriber::NoSubscriber;

const LAYERS: u64 = 2;
const WIDTH: usize = 64;
const MLP_WIDTH: usize = 128;
const KV_WIDTH: usize = 32;
const VOCABULARY: usize = 96;

/// A clock that ticks whenever somebody looks.
#[derive(Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now_ns(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn wait_until_ns(&self, deadline_ns: u64) {
        self.0.fetch_max(deadline_ns, Ordering::Relaxed);
    }
}

/// Engines load one after the other in a process, never side by side.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn weights(rows: usize, columns: usize) -> QTensor {
    let values: Vec<f32> =
        (0_u16..).map(|index| f32::from(index % 251).sin() / 8.0).take(rows * columns).collect();
    let tensor =
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).expect("as many values as the shape has");
    QTensor::quantize(&tensor, GgmlDType::Q8_0).expect("rows are whole blocks")
}

fn norm() -> QTensor {
    let ones = Tensor::ones(WIDTH, DType::F32, &Device::Cpu).expect("a vector of ones");
    QTensor::quantize(&ones, GgmlDType::F32).expect("f32 has no blocks")
}

fn tensors() -> Vec<(String, QTensor)> {
    let mut tensors = vec![
        ("token_embd.weight".to_owned(), weights(VOCABULARY, WIDTH)),
        ("output_norm.weight".to_owned(), norm()),
    ];
    for layer in 0..LAYERS {
        let mut add = |name: &str, tensor| tensors.push((format!("blk.{layer}.{name}.weight"), tensor));
        add("attn_q", weights(WIDTH, WIDTH));
        add("attn_k", weights(KV_WIDTH, WIDTH));
        add("attn_v", weights(KV_WIDTH, WIDTH));
        add("attn_output", weights(WIDTH, WIDTH));
        add("ffn_gate", weights(MLP_WIDTH, WIDTH));
        add("ffn_up", weights(MLP_WIDTH, WIDTH));
        add("ffn_down", weights(WIDTH, MLP_WIDTH));
        add("attn_norm", norm());
        add("ffn_norm", norm());
    }
    tensors
}

fn model(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.gguf"));
    let metadata = [
        ("general.architecture", Value::String("llama".to_owned())),
        ("llama.attention.head_count", Value::U32(4)),
        ("llama.attention.head_count_kv", Value::U32(2)),
        ("llama.block_count", Value::U32(2)),
        ("llama.embedding_length", Value::U32(64)),
        ("llama.rope.dimension_count", Value::U32(16)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
    ];
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors = tensors();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = File::create(&path).expect("cargo's folder for tests is writable");
    gguf_file::write(&mut file, &metadata, &tensors).expect("the file can be written");
    path
}

fn load(engine: &mut Candle<'_>, path: &Path, profile: bool) -> Loaded {
    let request = LoadRequest { model: path.display().to_string(), positions: 16, profile };
    engine.load(&request).expect("the model loads")
}

fn workload(generate: u32, forced: Option<Vec<u32>>) -> Workload {
    Workload { prompt: vec![1, 2, 3], generate, sampling: Sampling::Greedy, stop: Stop::Length, forced }
}

fn generate(engine: &mut Candle<'_>, generate: u32) -> Vec<u32> {
    engine.generate(&workload(generate, None), 0).expect("the engine generates").ids
}

fn calls(profile: &Profile) -> Vec<(&str, u64)> {
    profile.operations.iter().map(|operation| (operation.kind.as_str(), operation.calls)).collect()
}

fn failed(message: &str) -> Result<Profile, EngineError> {
    Err(EngineError::Failed { message: message.to_owned() })
}

#[test]
fn a_profile_counts_every_operation_of_the_last_generation_and_no_other() {
    let _alone = alone();
    let clock = Ticking::default();
    let mut engine = Candle::new(&clock, 1);
    load(&mut engine, &model("counts"), true);
    assert_eq!(engine.profile(), failed("nothing was generated since the model was loaded"));
    generate(&mut engine, 9);
    generate(&mut engine, 4);
    let profile = engine.profile().unwrap();
    let passes = 4;
    let expected = [
        ("matmul", passes * (7 * LAYERS + 1)),
        ("attention", passes * LAYERS),
        ("rope", passes * 2 * LAYERS),
        ("norm", passes * (2 * LAYERS + 1)),
        ("activation", passes * LAYERS),
        // candle's span around the last product, and lab's around the copy of the logits.
        ("output", passes * 2),
        ("sampling", passes),
        ("unnamed", passes),
    ];
    assert_eq!(calls(&profile), expected);
    assert!(profile.operations.iter().all(|operation| operation.self_ns > 0), "{profile:?}");
    assert!(profile.named_share() > 0.5, "{profile:?}");
}

#[test]
fn a_profile_changes_no_token() {
    let _alone = alone();
    let clock = Ticking::default();
    let mut engine = Candle::new(&clock, 1);
    let path = model("tokens");
    load(&mut engine, &path, false);
    let plain = generate(&mut engine, 6);
    load(&mut engine, &path, true);
    assert_eq!(generate(&mut engine, 6), plain);
}

#[test]
fn what_follows_a_forced_token_follows_from_it() {
    let _alone = alone();
    let clock = Ticking::default();
    let mut engine = Candle::new(&clock, 1);
    assert!(engine.hello().unwrap().has(FORCED));
    load(&mut engine, &model("forced"), false);
    let mut said = |generate, forced: Option<Vec<u32>>| {
        let tokens = engine.generate(&workload(generate, forced), 0)?;
        Ok::<_, EngineError>((tokens.ids, tokens.margins.expect("greedy choices have margins")))
    };
    let (ids, margins) = said(6, None).unwrap();
    assert_eq!(said(6, Some(ids[..5].to_vec())).unwrap(), (ids.clone(), margins.clone()));
    assert_eq!(said(6, Some(ids.clone())).unwrap().1, margins, "one more than needed changes nothing");
    let others = ids.iter().map(|id| (id + 1) % 96).collect::<Vec<u32>>();
    let (forced_ids, forced_margins) = said(6, Some(others.clone())).unwrap();
    assert_eq!(
        (forced_ids[0], forced_margins[0]),
        (ids[0], margins[0]),
        "the prompt alone decides the first"
    );
    let mut later = forced_margins[1..].iter().zip(&margins[1..]);
    let all_differ = later.all(|(one, other)| one.to_bits() != other.to_bits());
    assert!(all_differ, "{forced_margins:?} {margins:?}");
    assert_eq!(said(6, None).unwrap().0, ids, "the next generation is free again");
    let message = "asked for 5 further tokens, and 4 are left of those it is to be fed".to_owned();
    assert_eq!(said(6, Some(others[..4].to_vec())), Err(EngineError::Failed { message }));
}

#[test]
fn each_load_of_a_process_decides_anew_whether_it_is_profiled() {
    let _alone = alone();
    let clock = Ticking::default();
    let mut engine = Candle::new(&clock, 1);
    let path = model("loads");
    let unprofiled = failed("the model was loaded without `profile`");
    assert_eq!(engine.profile(), unprofiled);
    for profile in [false, true, true, false] {
        load(&mut engine, &path, profile);
        generate(&mut engine, 2);
        match profile {
            true => assert!(engine.profile().is_ok()),
            false => assert_eq!(engine.profile(), unprofiled),
        }
    }
    // The subscriber of a profiled load leaves nothing behind that a later one would report to.
    assert!(dispatcher::get_default(|dispatch| dispatch.is::<NoSubscriber>()));
}

#[test]
fn bytes_per_token_are_those_of_the_weights_and_one_row_of_the_embedding() {
    let _alone = alone();
    let clock = Ticking::default();
    let mut engine = Candle::new(&clock, 1);
    let loaded = load(&mut engine, &model("bytes"), false);
    // Per layer 2 × 64² + 2 × 32 × 64 + 3 × 128 × 64 = 36,864 weights in products and 2 × 64 in norms; the output is
    // tied: 96 × 64 weights; then 64 of the last norm and 64 of a row of the embedding. Q8_0 has 34 bytes for 32.
    let products = (2 * 36_864 + 6_144) / 32 * 34;
    let floats = (2 * 2 * 64 + 64 + 64) * 4;
    assert_eq!(loaded.bytes_per_token, Some(products + floats));
}
