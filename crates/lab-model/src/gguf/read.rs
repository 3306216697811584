//! Reading a header that may be anything at all.
//!
//! Every length is held against the bytes the file still has before anything is allocated for it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::{Array, DEFAULT_ALIGNMENT, Fault, Gguf, GgufError, Metadata, TensorInfo, TensorType, Value};

/// Arrays of arrays exist in the format, but no model nests them deeper than two.
const NESTING_LIMIT: u32 = 4;
/// `GGML_MAX_DIMS` of ggml.h.
const DIMENSION_LIMIT: u32 = 4;

/// A fault with its place, or an answer of the operating system.
enum Stop {
    Fault(u64, Fault),
    Io(io::Error),
}

type Step<T> = Result<T, Stop>;

pub(super) fn read(path: &Path) -> Result<Gguf, GgufError> {
    let failed = |action| move |source| GgufError::Io { action, path: path.to_owned(), source };
    let file = File::open(path).map_err(failed("open"))?;
    let file_bytes = file.metadata().map_err(failed("read"))?.len();
    let mut cursor = Cursor { reader: BufReader::with_capacity(1 << 16, file), offset: 0, file_bytes };
    header(&mut cursor, path).map_err(|stop| match stop {
        Stop::Io(source) => failed("read")(source),
        Stop::Fault(offset, fault) => GgufError::Malformed { path: path.to_owned(), offset, fault },
    })
}

fn header<R: Read>(cursor: &mut Cursor<R>, path: &Path) -> Step<Gguf> {
    let version = preamble(cursor)?;
    let tensor_count = cursor.u64("the number of tensors")?;
    let key_count = cursor.u64("the number of metadata keys")?;
    let metadata = metadata(cursor, key_count)?;
    let alignment = alignment(&metadata).map_err(|fault| Stop::Fault(cursor.offset, fault))?;
    let tensors = tensors(cursor, tensor_count, alignment)?;
    let data_offset = cursor.offset.next_multiple_of(alignment);
    let gguf = Gguf {
        path: path.to_owned(),
        version,
        metadata,
        tensors,
        alignment,
        data_offset,
        file_bytes: cursor.file_bytes,
    };
    all_data_inside(&gguf).map_err(|fault| Stop::Fault(data_offset, fault))?;
    Ok(gguf)
}

fn preamble<R: Read>(cursor: &mut Cursor<R>) -> Step<u32> {
    let magic: [u8; 4] = cursor.bytes("the magic")?;
    if magic != *b"GGUF" {
        let found = magic.map(|byte| format!("{byte:02x}")).join(" ");
        return Err(Stop::Fault(0, Fault::Magic { found }));
    }
    let version = cursor.u32("the format version")?;
    match version {
        2 | 3 => Ok(version),
        // The version is small, so a big-endian file shows it in the high bytes.
        _ if version.swap_bytes() <= 0xffff => Err(Stop::Fault(4, Fault::BigEndian)),
        _ => Err(Stop::Fault(4, Fault::Version { version })),
    }
}

fn metadata<R: Read>(cursor: &mut Cursor<R>, count: u64) -> Step<Metadata> {
    // A key takes a length of 8 bytes, a type of 4 and a value of 1 at least.
    cursor.fits("the metadata", count, 13)?;
    let mut metadata = Metadata::default();
    for _ in 0..count {
        let start = cursor.offset;
        let key = cursor.string("a metadata key")?;
        let type_id = cursor.u32("a value type")?;
        let value = value(cursor, &key, type_id)?;
        if metadata.value(&key).is_some() {
            return Err(Stop::Fault(start, Fault::DuplicateKey { key }));
        }
        metadata.set(key, value);
    }
    Ok(metadata)
}

fn value<R: Read>(cursor: &mut Cursor<R>, key: &str, type_id: u32) -> Step<Value> {
    let what = "a metadata value";
    Ok(match type_id {
        0 => Value::U8(u8::from_le_bytes(cursor.bytes(what)?)),
        1 => Value::I8(i8::from_le_bytes(cursor.bytes(what)?)),
        2 => Value::U16(u16::from_le_bytes(cursor.bytes(what)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.bytes(what)?)),
        4 => Value::U32(u32::from_le_bytes(cursor.bytes(what)?)),
        5 => Value::I32(i32::from_le_bytes(cursor.bytes(what)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.bytes(what)?)),
        7 => Value::Bool(cursor.boolean()?),
        8 => Value::String(cursor.string(what)?),
        9 => Value::Array(array(cursor, key, 1)?),
        10 => Value::U64(u64::from_le_bytes(cursor.bytes(what)?)),
        11 => Value::I64(i64::from_le_bytes(cursor.bytes(what)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.bytes(what)?)),
        id => return Err(Stop::Fault(cursor.offset - 4, Fault::ValueType { key: key.to_owned(), id })),
    })
}

fn array<R: Read>(cursor: &mut Cursor<R>, key: &str, depth: u32) -> Step<Array> {
    if depth > NESTING_LIMIT {
        let fault = Fault::Nesting { key: key.to_owned(), limit: NESTING_LIMIT };
        return Err(Stop::Fault(cursor.offset, fault));
    }
    let type_id = cursor.u32("the element type of an array")?;
    let count = cursor.u64("the length of an array")?;
    Ok(match type_id {
        0 => Array::U8(cursor.numbers(count, u8::from_le_bytes)?),
        1 => Array::I8(cursor.numbers(count, i8::from_le_bytes)?),
        2 => Array::U16(cursor.numbers(count, u16::from_le_bytes)?),
        3 => Array::I16(cursor.numbers(count, i16::from_le_bytes)?),
        4 => Array::U32(cursor.numbers(count, u32::from_le_bytes)?),
        5 => Array::I32(cursor.numbers(count, i32::from_le_bytes)?),
        6 => Array::F32(cursor.numbers(count, f32::from_le_bytes)?),
        7 => Array::Bool(cursor.list(count, 1, Cursor::boolean)?),
        8 => Array::String(cursor.list(count, 8, |cursor| cursor.string("a text of an array"))?),
        9 => Array::Array(cursor.list(count, 12, |cursor| array(cursor, key, depth + 1))?),
        10 => Array::U64(cursor.numbers(count, u64::from_le_bytes)?),
        11 => Array::I64(cursor.numbers(count, i64::from_le_bytes)?),
        12 => Array::F64(cursor.numbers(count, f64::from_le_bytes)?),
        id => return Err(Stop::Fault(cursor.offset - 12, Fault::ValueType { key: key.to_owned(), id })),
    })
}

fn alignment(metadata: &Metadata) -> Result<u64, Fault> {
    let Some(value) = metadata.value("general.alignment") else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    match value.as_u32() {
        Some(alignment) if alignment.is_power_of_two() && alignment >= 8 => Ok(alignment.into()),
        _ => Err(Fault::Alignment { found: value.describe() }),
    }
}

fn tensors<R: Read>(cursor: &mut Cursor<R>, count: u64, alignment: u64) -> Step<Vec<TensorInfo>> {
    let mut names = HashSet::new();
    // A tensor takes a name length of 8 bytes, a count of 4, one dimension of 8, a type of 4, an offset of 8.
    cursor.list(count, 32, |cursor| {
        let start = cursor.offset;
        let tensor = tensor(cursor)?;
        let fault = if !names.insert(tensor.name.clone()) {
            Fault::DuplicateTensor { tensor: tensor.name }
        } else if !tensor.offset.is_multiple_of(alignment) {
            Fault::Misaligned { tensor: tensor.name, start: tensor.offset, alignment }
        } else {
            return Ok(tensor);
        };
        Err(Stop::Fault(start, fault))
    })
}

fn tensor<R: Read>(cursor: &mut Cursor<R>) -> Step<TensorInfo> {
    let start = cursor.offset;
    let name = cursor.string("a tensor's name")?;
    let dimensions = dimensions(cursor, &name)?;
    let id = cursor.u32("a tensor's type")?;
    let offset = cursor.u64("a tensor's offset")?;
    let Some(tensor_type) = TensorType::from_id(id) else {
        return Err(Stop::Fault(start, Fault::TensorType { tensor: name, id }));
    };
    let (row, block) = (dimensions[0], tensor_type.block_elements());
    if !row.is_multiple_of(block) {
        let fault = Fault::PartialBlock { tensor: name, row, block, tensor_type: tensor_type.name() };
        return Err(Stop::Fault(start, fault));
    }
    Ok(TensorInfo { name, tensor_type, dimensions, offset })
}

/// Reads dimensions whose product, times eight bytes an element, fits a `u64`.
fn dimensions<R: Read>(cursor: &mut Cursor<R>, name: &str) -> Step<Vec<u64>> {
    let start = cursor.offset;
    let fault = |found| Stop::Fault(start, Fault::Dimensions { tensor: name.to_owned(), found });
    let count = cursor.u32("a tensor's number of dimensions")?;
    if count == 0 || count > DIMENSION_LIMIT {
        return Err(fault(format!("(number of them) {count}")));
    }
    let dimensions = (0..count).map(|_| cursor.u64("a tensor's dimension")).collect::<Step<Vec<_>>>()?;
    let bytes = dimensions.iter().try_fold(8_u64, |product, one| product.checked_mul(*one));
    match bytes {
        Some(bytes) if bytes > 0 => Ok(dimensions),
        _ => Err(fault(format!("{dimensions:?}"))),
    }
}

fn all_data_inside(gguf: &Gguf) -> Result<(), Fault> {
    for tensor in &gguf.tensors {
        let end = gguf.data_offset.saturating_add(tensor.offset).saturating_add(tensor.bytes());
        if end > gguf.file_bytes {
            let file_bytes = gguf.file_bytes;
            return Err(Fault::OutsideFile { tensor: tensor.name.clone(), end, file_bytes });
        }
    }
    Ok(())
}

struct Cursor<R> {
    reader: R,
    offset: u64,
    file_bytes: u64,
}

impl<R: Read> Cursor<R> {
    /// Refuses `count` things of at least `each` bytes where the file has no room for them.
    fn fits(&self, what: &'static str, count: u64, each: u64) -> Step<()> {
        let left = self.file_bytes.saturating_sub(self.offset);
        let needed = count.saturating_mul(each);
        if needed > left {
            return Err(Stop::Fault(self.offset, Fault::Truncated { what, needed, left }));
        }
        Ok(())
    }

    fn bytes<const N: usize>(&mut self, what: &'static str) -> Step<[u8; N]> {
        self.fits(what, N as u64, 1)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(Stop::Io)?;
        self.offset += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self, what: &'static str) -> Step<u32> {
        self.bytes(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Step<u64> {
        self.bytes(what).map(u64::from_le_bytes)
    }

    fn boolean(&mut self) -> Step<bool> {
        match self.bytes("a boolean")? {
            [0] => Ok(false),
            [1] => Ok(true),
            [found] => Err(Stop::Fault(self.offset - 1, Fault::Boolean { found })),
        }
    }

    fn string(&mut self, what: &'static str) -> Step<String> {
        let start = self.offset;
        let length = self.u64(what)?;
        self.fits(what, length, 1)?;
        let length_here = usize::try_from(length).map_err(|_| {
            Stop::Fault(start, Fault::Truncated { what, needed: length, left: usize::MAX as u64 })
        })?;
        let mut bytes = vec![0; length_here];
        self.reader.read_exact(&mut bytes).map_err(Stop::Io)?;
        self.offset += length;
        String::from_utf8(bytes).map_err(|_| Stop::Fault(start, Fault::NotUtf8 { what }))
    }

    fn numbers<const N: usize, T>(&mut self, count: u64, decode: fn([u8; N]) -> T) -> Step<Vec<T>> {
        self.list(count, N as u64, |cursor| cursor.bytes("an array").map(decode))
    }

    fn list<T>(
        &mut self,
        count: u64,
        least_bytes: u64,
        mut read: impl FnMut(&mut Self) -> Step<T>,
    ) -> Step<Vec<T>> {
        self.fits("a list", count, least_bytes)?;
        (0..count).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests;
