//! The tensor types a GGUF file may name.

use std::fmt;

/// One row of the table: id in the file, name, elements of a block, bytes of a block.
type Row = (TensorType, u32, &'static str, u64, u64);

macro_rules! tensor_types {
    ($($variant:ident = $id:literal, $name:literal, $elements:literal, $bytes:literal;)*) => {
        /// A tensor type: how elements are packed in blocks.
        ///
        /// The table is `GGML_QUANT_SIZES` of the Python package `gguf` 0.19; types that ggml has removed
        /// (ids 4, 5, 31 to 33, 36 to 38) are unknown here as they are there.
        #[expect(non_camel_case_types, reason = "the names are ggml's own; `Q4_K` without its underscore is another word")]
        #[expect(missing_docs, reason = "a tensor type is documented by its name alone")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum TensorType { $($variant),* }

        const TABLE: &[Row] = &[$((TensorType::$variant, $id, $name, $elements, $bytes)),*];
    };
}

tensor_types! {
    F32 = 0, "F32", 1, 4;
    F16 = 1, "F16", 1, 2;
    Q4_0 = 2, "Q4_0", 32, 18;
    Q4_1 = 3, "Q4_1", 32, 20;
    Q5_0 = 6, "Q5_0", 32, 22;
    Q5_1 = 7, "Q5_1", 32, 24;
    Q8_0 = 8, "Q8_0", 32, 34;
    Q8_1 = 9, "Q8_1", 32, 40;
    Q2_K = 10, "Q2_K", 256, 84;
    Q3_K = 11, "Q3_K", 256, 110;
    Q4_K = 12, "Q4_K", 256, 144;
    Q5_K = 13, "Q5_K", 256, 176;
    Q6_K = 14, "Q6_K", 256, 210;
    Q8_K = 15, "Q8_K", 256, 292;
    IQ2_XXS = 16, "IQ2_XXS", 256, 66;
    IQ2_XS = 17, "IQ2_XS", 256, 74;
    IQ3_XXS = 18, "IQ3_XXS", 256, 98;
    IQ1_S = 19, "IQ1_S", 256, 50;
    IQ4_NL = 20, "IQ4_NL", 32, 18;
    IQ3_S = 21, "IQ3_S", 256, 110;
    IQ2_S = 22, "IQ2_S", 256, 82;
    IQ4_XS = 23, "IQ4_XS", 256, 136;
    I8 = 24, "I8", 1, 1;
    I16 = 25, "I16", 1, 2;
    I32 = 26, "I32", 1, 4;
    I64 = 27, "I64", 1, 8;
    F64 = 28, "F64", 1, 8;
    IQ1_M = 29, "IQ1_M", 256, 56;
    BF16 = 30, "BF16", 1, 2;
    TQ1_0 = 34, "TQ1_0", 256, 54;
    TQ2_0 = 35, "TQ2_0", 256, 66;
    MXFP4 = 39, "MXFP4", 32, 17;
    NVFP4 = 40, "NVFP4", 64, 36;
    Q1_0 = 41, "Q1_0", 128, 18;
}

impl TensorType {
    /// Returns the type with this id, or `None` for an id that ggml does not define.
    pub fn from_id(id: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == id).map(|row| row.0)
    }

    /// Returns the id the file stores.
    pub fn id(self) -> u32 {
        self.row().1
    }

    /// Returns ggml's name, such as `Q4_K`.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Returns how many elements one block holds.
    pub fn block_elements(self) -> u64 {
        self.row().3
    }

    /// Returns how many bytes one block takes.
    pub fn block_bytes(self) -> u64 {
        self.row().4
    }

    /// Returns whether a block is a single element: nothing was quantised.
    pub fn is_plain(self) -> bool {
        self.block_elements() == 1
    }

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.0 == self).expect("the macro writes one row for each variant")
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_unique_and_find_their_type() {
        for (one, id, name, elements, bytes) in TABLE {
            assert_eq!(TensorType::from_id(*id), Some(*one));
            assert_eq!((one.name(), one.block_elements(), one.block_bytes()), (*name, *elements, *bytes));
            assert_eq!(TABLE.iter().filter(|row| row.2 == *name).count(), 1);
        }
        assert_eq!(TensorType::from_id(4), None, "Q4_2 was removed from ggml");
    }
}
