//! Rewrites a GGUF file with every matrix in another tensor type.
//!
//! Tensors of one dimension (norms, biases) and all metadata but `general.file_type` are kept as they are. The
//! bytes depend on the source's bytes alone.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::PathBuf;

use lab_core::model::RequantizeTo;

use crate::blocks::{self, Q8_0_BYTES, Q8_0_ELEMENTS};
use crate::gguf::{Gguf, TensorInfo, TensorPlan, TensorType, Value, write_header};
use crate::{DigestWriter, Progress, Stage, Written};

/// The version of the rewriting. Any change of a byte raises it.
pub const VERSION: u32 = 1;

/// `LLAMA_FTYPE_MOSTLY_Q8_0` of llama.h.
const FILE_TYPE_Q8_0: u32 = 7;
/// Elements that are converted at a time: a multiple of every block length.
const CHUNK_ELEMENTS: u64 = 1 << 18;

/// A rewrite that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum RequantizeError {
    /// A matrix has a type that cannot be turned into floats here.
    #[error(
        "tensor `{tensor}` of `{path}` is {tensor_type}, which cannot be requantised \
         (F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K can)",
        path = path.display()
    )]
    Unsupported {
        /// The source.
        path: PathBuf,
        /// The matrix.
        tensor: String,
        /// Its type.
        tensor_type: TensorType,
    },
    /// A matrix has rows that are no whole Q8_0 blocks.
    #[error(
        "rows of tensor `{tensor}` of `{path}` have {row} elements, expected a multiple of 32 for Q8_0",
        path = path.display()
    )]
    PartialBlock {
        /// The source.
        path: PathBuf,
        /// The matrix.
        tensor: String,
        /// Elements of a row.
        row: u64,
    },
    /// The source could not be read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// The source.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The result could not be written.
    #[error("cannot write the requantised model")]
    Write {
        /// The operating system's answer.
        source: io::Error,
    },
}

/// Returns the bytes the rewritten file will have, but for its header: an estimate for free space.
pub fn data_bytes(source: &Gguf) -> u64 {
    source.tensors().iter().map(|tensor| plan(tensor).padded_bytes()).sum()
}

/// Writes `source` with every matrix as `to` and returns what was written.
///
/// # Errors
///
/// When a matrix cannot be converted, or when reading or writing fails.
pub fn requantize(
    source: &Gguf,
    to: RequantizeTo,
    writer: impl Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Written, RequantizeError> {
    let RequantizeTo::Q8_0 = to;
    check(source)?;
    let plans: Vec<_> = source.tensors().iter().map(plan).collect();
    let mut metadata = source.metadata().clone();
    metadata.set("general.file_type", Value::U32(FILE_TYPE_Q8_0));
    // The source may be aligned more widely; the copy has the format's default.
    if metadata.value("general.alignment").is_some() {
        metadata.set("general.alignment", Value::U32(32));
    }
    let write_failed = |source| RequantizeError::Write { source };
    let mut writer = DigestWriter::new(writer);
    let layout = write_header(&mut writer, &metadata, &plans).map_err(write_failed)?;
    let read_failed = |error| RequantizeError::Read { path: source.path().to_owned(), source: error };
    let mut file = File::open(source.path()).map_err(read_failed)?;
    for (tensor, plan) in source.tensors().iter().zip(&plans) {
        file.seek(SeekFrom::Start(source.data_offset() + tensor.offset)).map_err(read_failed)?;
        for chunk in chunks(tensor) {
            let mut bytes = vec![0; chunk];
            file.read_exact(&mut bytes).map_err(read_failed)?;
            let converted = convert(tensor.tensor_type, plan.tensor_type, bytes);
            writer.write_all(&converted).map_err(write_failed)?;
            let (done, total) = (writer.bytes(), Some(layout.file_bytes));
            progress(Progress { stage: Stage::Requantizing, done, total });
        }
        pad(&mut writer, plan).map_err(write_failed)?;
    }
    writer.finish().map(|(_, written)| written).map_err(write_failed)
}

fn check(source: &Gguf) -> Result<(), RequantizeError> {
    for tensor in source.tensors().iter().filter(|tensor| tensor.is_matrix()) {
        let (path, name, row) = (source.path().to_owned(), tensor.name.clone(), tensor.row_elements());
        if blocks::dequantizer(tensor.tensor_type).is_none() {
            let tensor_type = tensor.tensor_type;
            return Err(RequantizeError::Unsupported { path, tensor: name, tensor_type });
        }
        if !row.is_multiple_of(Q8_0_ELEMENTS as u64) {
            return Err(RequantizeError::PartialBlock { path, tensor: name, row });
        }
    }
    Ok(())
}

fn plan(tensor: &TensorInfo) -> TensorPlan {
    let tensor_type = if tensor.is_matrix() { TensorType::Q8_0 } else { tensor.tensor_type };
    TensorPlan { name: tensor.name.clone(), tensor_type, dimensions: tensor.dimensions.clone() }
}

/// Returns the lengths, in bytes, of the pieces a tensor is read in.
fn chunks(tensor: &TensorInfo) -> impl Iterator<Item = usize> {
    let tensor_type = tensor.tensor_type;
    let bytes_of = move |elements: u64| elements / tensor_type.block_elements() * tensor_type.block_bytes();
    let elements = tensor.elements();
    let whole = elements / CHUNK_ELEMENTS;
    let rest = elements % CHUNK_ELEMENTS;
    let lengths = (0..whole).map(|_| CHUNK_ELEMENTS).chain((rest > 0).then_some(rest));
    lengths
        .map(move |elements| usize::try_from(bytes_of(elements)).expect("a chunk is two megabytes at most"))
}

fn convert(from: TensorType, to: TensorType, bytes: Vec<u8>) -> Vec<u8> {
    if from == to {
        return bytes;
    }
    let values = floats(from, &bytes);
    let mut converted = vec![0; values.len() / Q8_0_ELEMENTS * Q8_0_BYTES];
    let blocks = converted.chunks_exact_mut(Q8_0_BYTES);
    values
        .chunks_exact(Q8_0_ELEMENTS)
        .zip(blocks)
        .for_each(|(values, block)| blocks::quantize_q8_0(values, block));
    converted
}

fn floats(from: TensorType, bytes: &[u8]) -> Vec<f32> {
    let dequantize = blocks::dequantizer(from).expect("`check` refused every other type");
    let small = |number: u64| usize::try_from(number).expect("a block has a few hundred elements and bytes");
    let (elements, block_bytes) = (small(from.block_elements()), small(from.block_bytes()));
    let mut values = vec![0.0; bytes.len() / block_bytes * elements];
    let blocks = bytes.chunks_exact(block_bytes).zip(values.chunks_exact_mut(elements));
    blocks.for_each(|(block, values)| dequantize(block, values));
    values
}

fn pad(writer: &mut impl Write, plan: &TensorPlan) -> io::Result<()> {
    let padding = plan.padded_bytes() - plan.bytes();
    io::copy(&mut io::repeat(0).take(padding), writer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::Metadata;

    fn write_model(tensors: &[(TensorPlan, Vec<u8>)], metadata: &Metadata) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let plans: Vec<_> = tensors.iter().map(|(plan, _)| plan.clone()).collect();
        write_header(&mut file, metadata, &plans).unwrap();
        for (plan, data) in tensors {
            assert_eq!(data.len() as u64, plan.bytes());
            file.write_all(data).unwrap();
            pad(&mut file, plan).unwrap();
        }
        file
    }

    fn tensor(
        name: &str,
        tensor_type: TensorType,
        dimensions: &[u64],
        data: Vec<u8>,
    ) -> (TensorPlan, Vec<u8>) {
        (TensorPlan { name: name.to_owned(), tensor_type, dimensions: dimensions.to_vec() }, data)
    }

    fn run(file: &tempfile::NamedTempFile) -> Result<(tempfile::NamedTempFile, Written), RequantizeError> {
        let source = Gguf::read(file.path()).unwrap();
        let mut target = tempfile::NamedTempFile::new().unwrap();
        let written = requantize(&source, RequantizeTo::Q8_0, target.as_file_mut(), &mut |_| {})?;
        Ok((target, written))
    }

    #[test]
    fn matrices_become_q8_0_and_everything_else_stays() {
        let mut metadata = Metadata::default();
        metadata.set("general.file_type", Value::U32(3));
        metadata.set("general.architecture", Value::String("llama".to_owned()));
        // Scale 1, minimum -8, quants 0x..f0: 16 times 0 and 16 times 15.
        let q4_1 = [&[0x00, 0x3c, 0x00, 0xc8][..], &[0xf0; 16]].concat();
        let norm: Vec<u8> = [0.5_f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let q8: Vec<u8> = (0..34).collect();
        let file = write_model(
            &[
                tensor("m.weight", TensorType::Q4_1, &[32, 1], q4_1),
                tensor("norm.weight", TensorType::F32, &[2], norm.clone()),
                tensor("q8.weight", TensorType::Q8_0, &[32, 1], q8.clone()),
            ],
            &metadata,
        );
        let (target, written) = run(&file).unwrap();
        let result = Gguf::read(target.path()).unwrap();
        let bytes = std::fs::read(target.path()).unwrap();
        assert_eq!(written.sha256, lab_core::digest::Digest::of(&bytes));
        assert_eq!((written.bytes, result.quantization().as_str()), (bytes.len() as u64, "q8_0"));
        assert_eq!(result.architecture().unwrap(), "llama");
        let data = |name: &str| {
            let tensor = result.tensor(name).unwrap();
            let start = usize::try_from(result.data_offset() + tensor.offset).unwrap();
            bytes[start..start + usize::try_from(tensor.bytes()).unwrap()].to_vec()
        };
        // -8 and 7, the largest is 8: d = 8/127 = 0.06299 (f16 0x2c08), q = -127 and round(7 * 127 / 8) = 111.
        assert_eq!(data("m.weight"), [&[0x08, 0x2c][..], &[0x81; 16], &[111; 16]].concat());
        assert_eq!((data("norm.weight"), data("q8.weight")), (norm, q8));
    }

    #[test]
    fn what_cannot_be_converted_is_named() {
        let iq4 = tensor("m.weight", TensorType::IQ4_NL, &[32, 1], vec![0; 18]);
        let error = run(&write_model(&[iq4], &Metadata::default())).unwrap_err().to_string();
        assert!(
            error.contains("tensor `m.weight`") && error.contains("is IQ4_NL, which cannot be"),
            "{error}"
        );
        let narrow = tensor("m.weight", TensorType::F32, &[5, 2], vec![0; 40]);
        let error = run(&write_model(&[narrow], &Metadata::default())).unwrap_err().to_string();
        assert!(error.ends_with("have 5 elements, expected a multiple of 32 for Q8_0"), "{error}");
    }
}
