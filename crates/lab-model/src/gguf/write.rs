//! Writing a header of version 3. The caller streams the data behind it, tensor by tensor.

use std::io::{self, Write};

use super::{Array, DEFAULT_ALIGNMENT, Metadata, TensorType, Value};

/// A tensor to be written: what the header says, without the offset that the order decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorPlan {
    /// The name.
    pub name: String,
    /// How its elements are packed.
    pub tensor_type: TensorType,
    /// Sizes with the row length first.
    pub dimensions: Vec<u64>,
}

impl TensorPlan {
    /// Returns the number of elements.
    pub fn elements(&self) -> u64 {
        self.dimensions.iter().product()
    }

    /// Returns the bytes its data takes, without padding.
    pub fn bytes(&self) -> u64 {
        self.elements() / self.tensor_type.block_elements() * self.tensor_type.block_bytes()
    }

    /// Returns the bytes its data takes with the padding that follows it.
    pub fn padded_bytes(&self) -> u64 {
        self.bytes().next_multiple_of(DEFAULT_ALIGNMENT)
    }
}

/// Where the parts of a written file lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderLayout {
    /// Where tensor data starts, in bytes from the start of the file.
    pub data_offset: u64,
    /// Length of the whole file once all data has followed, in bytes.
    pub file_bytes: u64,
}

/// Writes a header with its padding and returns where the data must go: straight behind, each tensor padded
/// with zeros to [`TensorPlan::padded_bytes`].
///
/// # Errors
///
/// When the writer fails, or when the metadata asks for another alignment than [`DEFAULT_ALIGNMENT`]
/// (kind `InvalidInput`).
pub fn write_header(
    writer: &mut impl Write,
    metadata: &Metadata,
    tensors: &[TensorPlan],
) -> io::Result<HeaderLayout> {
    if metadata.value("general.alignment").is_some_and(|value| value.as_u64() != Some(DEFAULT_ALIGNMENT)) {
        let text = format!("only an alignment of {DEFAULT_ALIGNMENT} bytes can be written");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut bytes = Vec::new();
    bytes.extend(b"GGUF");
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        encode_entry(&mut bytes, key, value);
    }
    let data_bytes = encode_tensors(&mut bytes, tensors);
    let data_offset = (bytes.len() as u64).next_multiple_of(DEFAULT_ALIGNMENT);
    bytes.resize(usize::try_from(data_offset).expect("a header in memory has a length in memory"), 0);
    writer.write_all(&bytes)?;
    Ok(HeaderLayout { data_offset, file_bytes: data_offset + data_bytes })
}

/// Appends one metadata entry as the format stores it: key, value type, value.
pub fn encode_entry(bytes: &mut Vec<u8>, key: &str, value: &Value) {
    encode_string(bytes, key);
    match value {
        Value::U8(value) => encode_number(bytes, 0, value.to_le_bytes()),
        Value::I8(value) => encode_number(bytes, 1, value.to_le_bytes()),
        Value::U16(value) => encode_number(bytes, 2, value.to_le_bytes()),
        Value::I16(value) => encode_number(bytes, 3, value.to_le_bytes()),
        Value::U32(value) => encode_number(bytes, 4, value.to_le_bytes()),
        Value::I32(value) => encode_number(bytes, 5, value.to_le_bytes()),
        Value::F32(value) => encode_number(bytes, 6, value.to_le_bytes()),
        Value::Bool(value) => encode_number(bytes, 7, [u8::from(*value)]),
        Value::String(value) => {
            bytes.extend(8_u32.to_le_bytes());
            encode_string(bytes, value);
        }
        Value::Array(array) => {
            bytes.extend(9_u32.to_le_bytes());
            encode_array(bytes, array);
        }
        Value::U64(value) => encode_number(bytes, 10, value.to_le_bytes()),
        Value::I64(value) => encode_number(bytes, 11, value.to_le_bytes()),
        Value::F64(value) => encode_number(bytes, 12, value.to_le_bytes()),
    }
}

fn encode_array(bytes: &mut Vec<u8>, array: &Array) {
    match array {
        Array::U8(values) => encode_numbers(bytes, 0, values, |value| value.to_le_bytes()),
        Array::I8(values) => encode_numbers(bytes, 1, values, |value| value.to_le_bytes()),
        Array::U16(values) => encode_numbers(bytes, 2, values, |value| value.to_le_bytes()),
        Array::I16(values) => encode_numbers(bytes, 3, values, |value| value.to_le_bytes()),
        Array::U32(values) => encode_numbers(bytes, 4, values, |value| value.to_le_bytes()),
        Array::I32(values) => encode_numbers(bytes, 5, values, |value| value.to_le_bytes()),
        Array::F32(values) => encode_numbers(bytes, 6, values, |value| value.to_le_bytes()),
        Array::Bool(values) => encode_numbers(bytes, 7, values, |value| [u8::from(value)]),
        Array::String(values) => {
            encode_array_start(bytes, 8, values.len());
            values.iter().for_each(|value| encode_string(bytes, value));
        }
        Array::Array(values) => {
            encode_array_start(bytes, 9, values.len());
            values.iter().for_each(|value| encode_array(bytes, value));
        }
        Array::U64(values) => encode_numbers(bytes, 10, values, |value| value.to_le_bytes()),
        Array::I64(values) => encode_numbers(bytes, 11, values, |value| value.to_le_bytes()),
        Array::F64(values) => encode_numbers(bytes, 12, values, |value| value.to_le_bytes()),
    }
}

fn encode_number<const N: usize>(bytes: &mut Vec<u8>, type_id: u32, number: [u8; N]) {
    bytes.extend(type_id.to_le_bytes());
    bytes.extend(number);
}

fn encode_numbers<T: Copy, const N: usize>(
    bytes: &mut Vec<u8>,
    type_id: u32,
    values: &[T],
    encode: fn(T) -> [u8; N],
) {
    encode_array_start(bytes, type_id, values.len());
    values.iter().for_each(|value| bytes.extend(encode(*value)));
}

fn encode_array_start(bytes: &mut Vec<u8>, type_id: u32, length: usize) {
    bytes.extend(type_id.to_le_bytes());
    bytes.extend((length as u64).to_le_bytes());
}

fn encode_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// Appends the tensor table and returns the bytes of all data with padding.
fn encode_tensors(bytes: &mut Vec<u8>, tensors: &[TensorPlan]) -> u64 {
    let mut offset = 0;
    for tensor in tensors {
        encode_string(bytes, &tensor.name);
        let count = u32::try_from(tensor.dimensions.len()).expect("a tensor has four dimensions at most");
        bytes.extend(count.to_le_bytes());
        tensor.dimensions.iter().for_each(|one| bytes.extend(one.to_le_bytes()));
        bytes.extend(tensor.tensor_type.id().to_le_bytes());
        bytes.extend(u64::to_le_bytes(offset));
        offset += tensor.padded_bytes();
    }
    offset
}
