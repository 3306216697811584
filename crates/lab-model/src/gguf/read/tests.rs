use std::path::PathBuf;

use super::super::{TensorPlan, write_header};
use super::*;

fn sample() -> Vec<u8> {
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", Value::String("llama".to_owned()));
    metadata.set("llama.block_count", Value::U32(2));
    metadata.set("llama.rope.freq_base", Value::F32(10000.0));
    metadata.set("tokenizer.ggml.add_bos_token", Value::Bool(true));
    metadata.set(
        "tokenizer.ggml.tokens",
        Value::Array(Array::String(vec!["<unk>".to_owned(), "▁the".to_owned()])),
    );
    metadata.set(
        "nested",
        Value::Array(Array::Array(vec![Array::I32(vec![1, -2]), Array::U8(vec![]), Array::Bool(vec![true])])),
    );
    let tensors = [
        TensorPlan { name: "a.weight".to_owned(), tensor_type: TensorType::Q4_1, dimensions: vec![32, 3] },
        TensorPlan { name: "norm".to_owned(), tensor_type: TensorType::F32, dimensions: vec![5] },
    ];
    let mut bytes = Vec::new();
    let layout = write_header(&mut bytes, &metadata, &tensors).unwrap();
    assert_eq!(bytes.len() as u64, layout.data_offset);
    bytes.resize(usize::try_from(layout.file_bytes).unwrap(), 0);
    bytes
}

fn read_bytes(bytes: &[u8]) -> Result<Gguf, Fault> {
    let mut cursor = Cursor { reader: bytes, offset: 0, file_bytes: bytes.len() as u64 };
    header(&mut cursor, Path::new("m.gguf")).map_err(|stop| match stop {
        Stop::Fault(_, fault) => fault,
        Stop::Io(source) => panic!("a slice gives what its length promised: {source}"),
    })
}

/// Returns the sample with `find` replaced once by bytes of the same length.
#[track_caller]
fn replaced(find: &[u8], by: &[u8]) -> Vec<u8> {
    let mut bytes = sample();
    assert_eq!(find.len(), by.len());
    let at = bytes.windows(find.len()).position(|window| window == find).expect("the sample contains it");
    bytes[at..at + by.len()].copy_from_slice(by);
    bytes
}

/// Returns the sample with the bytes that follow `marker` replaced.
#[track_caller]
fn replaced_after(marker: &[u8], by: &[u8]) -> Vec<u8> {
    let mut bytes = sample();
    let at = bytes.windows(marker.len()).position(|window| window == marker).expect("the sample contains it");
    bytes[at + marker.len()..at + marker.len() + by.len()].copy_from_slice(by);
    bytes
}

#[test]
fn what_the_writer_wrote_is_read_back() {
    let gguf = read_bytes(&sample()).unwrap();
    assert_eq!(gguf.version(), 3);
    assert_eq!(gguf.architecture().unwrap(), "llama");
    assert_eq!(gguf.u32("llama.block_count").unwrap(), 2);
    assert_eq!(gguf.f32("llama.rope.freq_base").unwrap().to_bits(), 10000_f32.to_bits());
    assert!(gguf.bool("tokenizer.ggml.add_bos_token").unwrap());
    assert_eq!(gguf.strings("tokenizer.ggml.tokens").unwrap(), ["<unk>", "▁the"]);
    assert_eq!(gguf.metadata().value("nested").unwrap().describe(), "an array of 3 arrays");
    let tensors: Vec<_> =
        gguf.tensors().iter().map(|one| (one.name.as_str(), one.offset, one.bytes())).collect();
    assert_eq!(tensors, [("a.weight", 0, 60), ("norm", 64, 20)]);
    assert_eq!(gguf.data_offset() + 64 + 32, gguf.file_bytes());
    assert_eq!(gguf.quantization(), "q4_1");
}

#[test]
fn version_2_has_the_same_layout() {
    let gguf = read_bytes(&replaced_after(b"GGUF", &[2])).unwrap();
    assert_eq!((gguf.version(), gguf.tensors().len()), (2, 2));
}

#[test]
fn an_accessor_says_what_it_found_instead() {
    let gguf = read_bytes(&sample()).unwrap();
    let error = gguf.str("llama.block_count").unwrap_err();
    assert_eq!(
        error.to_string(),
        "metadata key `llama.block_count` of `m.gguf` is the u32 2, expected a string"
    );
    let error = gguf.u32("llama.context_length").unwrap_err();
    assert_eq!(error.to_string(), "`m.gguf` lacks the metadata key `llama.context_length`");
    assert_eq!(Gguf::optional(gguf.u32("llama.context_length")).unwrap(), None);
    assert!(Gguf::optional(gguf.u32("general.architecture")).is_err());
}

#[test]
fn every_truncation_is_refused() {
    let whole = sample();
    let data_end = whole.len() - 12; // The padding behind the last tensor may be missing.
    for length in 0..data_end {
        let fault = read_bytes(&whole[..length]).expect_err("a part of a file is no file");
        assert!(matches!(fault, Fault::Truncated { .. } | Fault::OutsideFile { .. }), "at {length}: {fault}");
    }
    assert!(read_bytes(&whole[..data_end]).is_ok());
}

#[test]
fn no_changed_byte_panics_or_allocates_beyond_the_file() {
    let whole = sample();
    let mut refused = 0;
    for position in 0..whole.len() {
        for value in [0, 1, 9, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[position] = value;
            refused += usize::from(read_bytes(&bytes).is_err());
        }
    }
    assert!(refused > 500, "only {refused} changes were refused");
}

#[test]
fn each_fault_is_named() {
    let huge = u64::MAX.to_le_bytes();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (replaced(b"GGUF", b"GGML"), "expected the magic `GGUF`, found the bytes 47 47 4d 4c"),
        (replaced_after(b"GGUF", &[7, 0, 0, 0]), "format version 7 is not supported (2 and 3 are)"),
        (
            replaced_after(b"GGUF", &[0, 0, 0, 3]),
            "the header is big-endian; convert the file to little-endian",
        ),
        (replaced(b"llama.block_count", b"\xff\xffama.block_count"), "a metadata key is not UTF-8"),
        (
            replaced_after(b"llama.block_count", &[13, 0, 0, 0]),
            "the value of `llama.block_count` has type 13, expected 0 to 12",
        ),
        (replaced_after(b"add_bos_token", &[7, 0, 0, 0, 2]), "a boolean is 2, expected 0 or 1"),
        (
            replaced_after(b"a.weight", &[5, 0, 0, 0]),
            "tensor `a.weight` has the dimensions (number of them) 5, expected 1 to 4 of at least 1",
        ),
        (
            replaced_after(b"a.weight\x02\0\0\0", &[0; 8]),
            "tensor `a.weight` has the dimensions [0, 3], expected 1 to 4 of at least 1",
        ),
        (
            replaced_after(b"a.weight\x02\0\0\0", &huge),
            "tensor `a.weight` has the dimensions [18446744073709551615, 3]",
        ),
        (
            replaced_after(b"a.weight\x02\0\0\0", &[31, 0]),
            "rows of tensor `a.weight` have 31 elements, expected a multiple of 32 for Q4_1",
        ),
        (
            replaced_after(b"norm\x01\0\0\0\x05\0\0\0\0\0\0\0", &[4, 0, 0, 0]),
            "tensor `norm` has type 4, which ggml does not define",
        ),
        (
            replaced_after(b"norm\x01\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0", &[1]),
            "the data of tensor `norm` starts at 1, expected a multiple of 32",
        ),
        (
            replaced_after(
                b"norm\x01\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0",
                &[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ),
            "the data of tensor `norm` would end at byte 18446744073709551615",
        ),
        (replaced_after(b"GGUF\x03\0\0\0", &huge), "a list needs 18446744073709551615 bytes"),
        (
            replaced_after(b"general.architecture\x08\0\0\0", &huge),
            "a metadata value needs 18446744073709551615 bytes",
        ),
    ];
    for (bytes, expected) in cases {
        let fault = read_bytes(&bytes).expect_err(expected).to_string();
        assert!(fault.starts_with(expected), "expected `{expected}`, got `{fault}`");
    }
}

#[test]
fn a_repeated_key_or_tensor_is_refused() {
    let entry = |bytes: &mut Vec<u8>, key: &str| super::super::encode_entry(bytes, key, &Value::U8(1));
    let mut bytes = [b"GGUF".as_slice(), &[3, 0, 0, 0], &[0; 8], &[2, 0, 0, 0, 0, 0, 0, 0]].concat();
    entry(&mut bytes, "twice");
    entry(&mut bytes, "twice");
    assert_eq!(read_bytes(&bytes).unwrap_err(), Fault::DuplicateKey { key: "twice".to_owned() });

    let twin = TensorPlan { name: "w".to_owned(), tensor_type: TensorType::F32, dimensions: vec![8] };
    let mut bytes = Vec::new();
    let layout = write_header(&mut bytes, &Metadata::default(), &[twin.clone(), twin]).unwrap();
    bytes.resize(usize::try_from(layout.file_bytes).unwrap(), 0);
    assert_eq!(read_bytes(&bytes).unwrap_err(), Fault::DuplicateTensor { tensor: "w".to_owned() });
}

#[test]
fn deeply_nested_arrays_are_refused_before_the_stack_runs_out() {
    let mut array = Array::U8(vec![1]);
    for _ in 0..1000 {
        array = Array::Array(vec![array]);
    }
    let mut bytes = [b"GGUF".as_slice(), &[3, 0, 0, 0], &[0; 8], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
    super::super::encode_entry(&mut bytes, "deep", &Value::Array(array));
    assert_eq!(read_bytes(&bytes).unwrap_err(), Fault::Nesting { key: "deep".to_owned(), limit: 4 });
}

#[test]
fn an_alignment_that_is_no_power_of_two_is_refused() {
    let mut metadata = Metadata::default();
    metadata.set("general.alignment", Value::U32(24));
    let mut bytes = [b"GGUF".as_slice(), &[3, 0, 0, 0], &[0; 8], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
    super::super::encode_entry(&mut bytes, "general.alignment", &Value::U32(24));
    let fault = read_bytes(&bytes).unwrap_err();
    assert_eq!(fault.to_string(), "`general.alignment` is the u32 24, expected a power of two of at least 8");
    let error = write_header(&mut Vec::new(), &metadata, &[]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_missing_file_is_named() {
    let path = PathBuf::from("no/such/model.gguf");
    let error = Gguf::read(&path).unwrap_err();
    assert_eq!(error.to_string(), "cannot open `no/such/model.gguf`");
}
