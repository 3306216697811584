//! Blocks of quantised weights to floats, and floats to Q8_0 blocks.
//!
//! Layouts and formulas are those of ggml's `ggml-quants.c` (`dequantize_row_*`, `quantize_row_q8_0_ref`),
//! computed in f32 without fused multiply-add, so that the results do not depend on the compiler. The golden
//! values of the tests come from the Python package `gguf` 0.19, which computes alike.

use half::{bf16, f16};

use crate::gguf::TensorType;

/// Elements of a Q8_0 block.
pub(crate) const Q8_0_ELEMENTS: usize = 32;
/// Bytes of a Q8_0 block.
pub(crate) const Q8_0_BYTES: usize = 34;

/// Turns one block into as many floats as it holds elements.
pub(crate) type Dequantize = fn(&[u8], &mut [f32]);

/// Returns how blocks of a type become floats, or `None` where that is not implemented.
pub(crate) fn dequantizer(tensor_type: TensorType) -> Option<Dequantize> {
    Some(match tensor_type {
        TensorType::F32 => f32_element,
        TensorType::F16 => |block, values| values[0] = half_at(block, 0),
        TensorType::BF16 => |block, values| values[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32(),
        TensorType::Q4_0 => q4_0,
        TensorType::Q4_1 => q4_1,
        TensorType::Q5_0 => q5_0,
        TensorType::Q5_1 => q5_1,
        TensorType::Q8_0 => q8_0,
        TensorType::Q4_K => q4_k,
        TensorType::Q5_K => q5_k,
        TensorType::Q6_K => q6_k,
        _ => return None,
    })
}

/// Writes 32 floats as one Q8_0 block: `d = max |x| / 127` stored as f16, `q = round(x * (1 / d))` with the
/// f32 `d`, halves away from zero.
pub(crate) fn quantize_q8_0(values: &[f32], block: &mut [u8]) {
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (byte, value) in block[2..].iter_mut().zip(values) {
        #[expect(clippy::cast_possible_truncation, reason = "the scale keeps the product within -127 to 127")]
        let quantised = (value * inverse).round() as i8;
        *byte = quantised.to_le_bytes()[0];
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn f32_element(block: &[u8], values: &mut [f32]) {
    values[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
}

/// Splits 16 bytes in 32 numbers of four bits: low halves first, then high halves.
fn nibble(quants: &[u8], element: usize) -> u8 {
    if element < 16 { quants[element] & 15 } else { quants[element - 16] >> 4 }
}

/// Returns the fifth bit of an element, in its place. The bits of the 32 elements are one u32.
fn fifth_bit(bits: &[u8], element: usize) -> u8 {
    (bits[element / 8] >> (element % 8) & 1) << 4
}

fn q4_0(block: &[u8], values: &mut [f32]) {
    let scale = half_at(block, 0);
    for (element, value) in values.iter_mut().enumerate() {
        *value = (f32::from(nibble(&block[2..], element)) - 8.0) * scale;
    }
}

fn q4_1(block: &[u8], values: &mut [f32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (element, value) in values.iter_mut().enumerate() {
        *value = f32::from(nibble(&block[4..], element)) * scale + minimum;
    }
}

fn q5_0(block: &[u8], values: &mut [f32]) {
    let scale = half_at(block, 0);
    for (element, value) in values.iter_mut().enumerate() {
        let quant = nibble(&block[6..], element) | fifth_bit(&block[2..], element);
        *value = (f32::from(quant) - 16.0) * scale;
    }
}

fn q5_1(block: &[u8], values: &mut [f32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (element, value) in values.iter_mut().enumerate() {
        let quant = nibble(&block[8..], element) | fifth_bit(&block[4..], element);
        *value = f32::from(quant) * scale + minimum;
    }
}

fn q8_0(block: &[u8], values: &mut [f32]) {
    let scale = half_at(block, 0);
    for (value, byte) in values.iter_mut().zip(&block[2..]) {
        *value = f32::from(i8::from_le_bytes([*byte])) * scale;
    }
}

/// Returns scale and minimum of one of the eight parts of a Q4_K or Q5_K block: 6 bits each, packed in 12 bytes
/// (`get_scale_min_k4`).
fn scale_and_minimum(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        (packed[part + 4] & 15 | packed[part - 4] >> 6 << 4, packed[part + 4] >> 4 | packed[part] >> 6 << 4)
    }
}

fn q4_k(block: &[u8], values: &mut [f32]) {
    let (quants, no_high_bits) = (&block[16..144], [0; 32]);
    k_with_minimum(block, quants, &no_high_bits, values);
}

fn q5_k(block: &[u8], values: &mut [f32]) {
    k_with_minimum(block, &block[48..176], &block[16..48], values);
}

/// Q4_K and Q5_K: eight parts of 32, each with a scale and a minimum; the fifth bits of part `p` are bit `p` of
/// the 32 high bytes.
fn k_with_minimum(block: &[u8], quants: &[u8], high_bits: &[u8], values: &mut [f32]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (part, values) in values.chunks_exact_mut(32).enumerate() {
        let (part_scale, part_minimum) = scale_and_minimum(&block[4..16], part);
        let (scale, minimum) = (scale * f32::from(part_scale), minimum * f32::from(part_minimum));
        let quants = &quants[part / 2 * 32..];
        for (element, value) in values.iter_mut().enumerate() {
            let low = quants[element] >> (part % 2 * 4) & 15;
            let quant = low | (high_bits[element] >> part & 1) << 4;
            *value = scale * f32::from(quant) - minimum;
        }
    }
}

/// Q6_K: 128 low bytes, 64 high bytes, 16 scales, one f16; two halves of 128 elements.
fn q6_k(block: &[u8], values: &mut [f32]) {
    let scale = half_at(block, 208);
    for (element, value) in values.iter_mut().enumerate() {
        let (half, quarter, at) = (element / 128, element % 128 / 32, element % 32);
        let low = block[half * 64 + quarter % 2 * 32 + at] >> (quarter / 2 * 4) & 15;
        let high = block[128 + half * 32 + at] >> (quarter * 2) & 3;
        let part_scale = i8::from_le_bytes([block[192 + element / 16]]);
        *value = scale * f32::from(part_scale) * (f32::from(low | high << 4) - 32.0);
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        tensor_type: u32,
        bytes: Vec<u8>,
        values_as_bits: Vec<u32>,
    }

    #[derive(Deserialize)]
    struct GoldenQ8 {
        values_as_bits: Vec<u32>,
        bytes: Vec<u8>,
    }

    #[derive(Deserialize)]
    struct File {
        dequantize: Vec<Golden>,
        quantize_q8_0: Vec<GoldenQ8>,
    }

    fn golden() -> File {
        serde_json::from_str(include_str!("../tests/data/blocks.json")).expect("the fixture is JSON")
    }

    #[test]
    fn blocks_become_the_floats_that_the_reference_computes() {
        let cases = golden().dequantize;
        assert_eq!(cases.len(), 11, "one case for each type that can be dequantised");
        for case in cases {
            let tensor_type = TensorType::from_id(case.tensor_type).unwrap();
            let dequantize = dequantizer(tensor_type).expect("the fixture has supported types");
            let block_bytes = usize::try_from(tensor_type.block_bytes()).unwrap();
            let mut values = vec![0.0; case.values_as_bits.len()];
            let elements = usize::try_from(tensor_type.block_elements()).unwrap();
            for (block, values) in case.bytes.chunks(block_bytes).zip(values.chunks_mut(elements)) {
                dequantize(block, values);
            }
            let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
            assert_eq!(bits, case.values_as_bits, "{tensor_type}");
        }
    }

    #[test]
    fn floats_become_the_q8_0_blocks_that_the_reference_writes() {
        for case in golden().quantize_q8_0 {
            let values: Vec<f32> = case.values_as_bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            let mut block = [0; Q8_0_BYTES];
            quantize_q8_0(&values, &mut block);
            assert_eq!(block.as_slice(), case.bytes);
        }
    }

    #[test]
    fn types_without_a_formula_here_are_none() {
        assert!(dequantizer(TensorType::IQ4_NL).is_none());
        assert!(dequantizer(TensorType::Q2_K).is_none());
    }
}
