use super::*;
use crate::blocks;
use crate::gguf::Gguf;
use crate::support;
use crate::tokenizer::Tokenizer;

fn small() -> SyntheticLlama {
    SyntheticLlama {
        seed: 1,
        layers: 2,
        embedding: 256,
        feed_forward: 512,
        heads: 4,
        kv_heads: 2,
        vocabulary: 300,
        context: 128,
        rope_base: 10_000,
        quantization: SyntheticMix::Q4KM,
    }
}

fn llama_3_8b() -> SyntheticLlama {
    SyntheticLlama {
        seed: 3,
        layers: 32,
        embedding: 4096,
        feed_forward: 14336,
        heads: 32,
        kv_heads: 8,
        vocabulary: 128_256,
        context: 8192,
        rope_base: 500_000,
        quantization: SyntheticMix::Q4KM,
    }
}

fn written(spec: &SyntheticLlama) -> (tempfile::NamedTempFile, Gguf, Written) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let written = write("small-synthetic", spec, file.as_file_mut(), &mut |_| {}).unwrap();
    let gguf = Gguf::read(file.path()).unwrap();
    (file, gguf, written)
}

#[test]
fn the_bytes_of_generator_version_1_are_pinned() {
    let (_file, gguf, written) = written(&small());
    assert_eq!(written.bytes, gguf.file_bytes());
    assert_eq!(written.bytes, layout("small-synthetic", &small()).unwrap().file_bytes);
    assert_eq!(
        written.sha256.to_string(),
        "a549702bfd59ba00f8243ed5b11df6e8af07319bc692563aca3277349ab7fc02",
        "changed bytes need a new GENERATOR_VERSION"
    );
}

#[test]
fn what_is_foreseen_is_what_is_written() {
    let (_file, gguf, _) = written(&small());
    let (shape, tensors) = foresee(&small()).unwrap();
    assert_eq!(shape, LlamaShape::read(&gguf).unwrap());
    assert_eq!(tensors, gguf.tensors());
}

#[test]
fn name_and_seed_reach_the_digest() {
    let digest = |name: &str, seed| {
        write(name, &SyntheticLlama { seed, ..small() }, io::sink(), &mut |_| {}).unwrap().sha256
    };
    assert_eq!(digest("a", 1), digest("a", 1));
    assert_ne!(digest("a", 1), digest("a", 2));
    assert_ne!(digest("a", 1), digest("b", 1));
}

#[test]
fn the_built_in_engine_and_the_tokenizer_take_the_file() {
    let (_file, gguf, _) = written(&small());
    assert!(support::problems(&gguf, 128).is_empty());
    assert_eq!(gguf.quantization(), "q4_k_m");
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    assert_eq!(
        tokenizer.encode("a é").unwrap(),
        [1, 3 + 0x61, 3 + 0xe2, 3 + 0x96, 3 + 0x81, 3 + 0xc3, 3 + 0xa9]
    );
    assert_eq!(tokenizer.decode(&[3 + 0x61, 299]).unwrap(), "a token299");
}

#[test]
fn weights_have_mean_zero_and_the_deviation_of_their_fan_in() {
    let (file, gguf, _) = written(&small());
    let bytes = std::fs::read(file.path()).unwrap();
    for (name, tensor_type, fan_in) in [
        ("token_embd.weight", TensorType::Q4_K, 1.0_f64),
        ("blk.0.ffn_gate.weight", TensorType::Q4_K, 256.0),
        ("blk.1.ffn_down.weight", TensorType::Q6_K, 512.0),
        ("output.weight", TensorType::Q6_K, 256.0),
    ] {
        let tensor = gguf.tensor(name).unwrap();
        assert_eq!(tensor.tensor_type, tensor_type, "{name}");
        let start = usize::try_from(gguf.data_offset() + tensor.offset).unwrap();
        let data = &bytes[start..start + usize::try_from(tensor.bytes()).unwrap()];
        let mut values = vec![0.0; usize::try_from(tensor.elements()).unwrap()];
        let block_bytes = usize::try_from(tensor_type.block_bytes()).unwrap();
        for (block, values) in data.chunks(block_bytes).zip(values.chunks_mut(256)) {
            blocks::dequantizer(tensor_type).unwrap()(block, values);
        }
        let count = f64::from(u32::try_from(values.len()).unwrap());
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let variance = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
        let expected = 1.0 / fan_in.sqrt();
        assert!((variance.sqrt() / expected - 1.0).abs() < 0.02, "{name}: {}", variance.sqrt());
        // Five standard errors.
        assert!(mean.abs() < 5.0 * expected / count.sqrt(), "{name}: {mean}");
    }
}

#[test]
fn llama_3_8b_has_the_tensor_types_of_the_real_q4_k_m_file() {
    let plans = tensors(&llama_3_8b());
    let count = |wanted| plans.iter().filter(|plan| plan.tensor_type == wanted).count();
    assert_eq!((count(TensorType::F32), count(TensorType::Q4_K), count(TensorType::Q6_K)), (65, 193, 33));
    let bytes = layout("llama3-8b-synthetic", &llama_3_8b()).unwrap().file_bytes;
    assert!((4_900_000_000..4_930_000_000).contains(&bytes), "{bytes}");
}

#[test]
fn shapes_that_make_no_model_are_refused() {
    type Bend = fn(&mut SyntheticLlama);
    let cases: [(Bend, &str); 9] = [
        (|spec| spec.layers = 0, "`layers` is 0, expected 1 to 1024"),
        (|spec| spec.layers = u32::MAX, "`layers` is 4294967295, expected 1 to 1024"),
        (|spec| spec.vocabulary = 258, "`vocabulary` is 258, expected 259 to 4194304"),
        (|spec| spec.context = 0, "`context` is 0, expected 1 to 2147483647"),
        (
            |spec| spec.embedding = 384,
            "`embedding` is 384, expected a multiple of 256, the block length of Q4_K and Q6_K",
        ),
        (
            |spec| spec.feed_forward = 100,
            "`feed_forward` is 100, expected a multiple of 256, the block length of Q4_K and Q6_K",
        ),
        (|spec| spec.heads = 3, "`heads` is 3, expected a divisor of `embedding` (256)"),
        (|spec| spec.kv_heads = 3, "`kv_heads` is 3, expected a divisor of `heads` (4)"),
        (
            |spec| spec.heads = 256,
            "`embedding` / `heads` is 1, expected an even number: rotations take pairs",
        ),
    ];
    for (bend, expected) in cases {
        let mut spec = small();
        bend(&mut spec);
        assert_eq!(check(&spec).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_failing_writer_ends_the_work_with_its_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error =
        write("full", &small(), io::BufWriter::with_capacity(1 << 16, Full), &mut |_| {}).unwrap_err();
    let SyntheticError::Write { source } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
}
