//! Tensors as KServe v2 knows them: datatypes, what a model says of its inputs, and values ready for the wire.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of a tensor's elements, in the words of the KServe v2 protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Datatype {
    /// Truth values of one byte.
    Bool,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// IEEE 754, 16 bits.
    Fp16,
    /// IEEE 754, 32 bits.
    Fp32,
    /// IEEE 754, 64 bits.
    Fp64,
    /// The upper half of 32 bits.
    Bf16,
    /// Bytes of any length.
    Bytes,
}

impl Datatype {
    /// All of them.
    pub const ALL: [Datatype; 14] = [
        Datatype::Bool,
        Datatype::Uint8,
        Datatype::Uint16,
        Datatype::Uint32,
        Datatype::Uint64,
        Datatype::Int8,
        Datatype::Int16,
        Datatype::Int32,
        Datatype::Int64,
        Datatype::Fp16,
        Datatype::Fp32,
        Datatype::Fp64,
        Datatype::Bf16,
        Datatype::Bytes,
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Datatype::Bool => "BOOL",
            Datatype::Uint8 => "UINT8",
            Datatype::Uint16 => "UINT16",
            Datatype::Uint32 => "UINT32",
            Datatype::Uint64 => "UINT64",
            Datatype::Int8 => "INT8",
            Datatype::Int16 => "INT16",
            Datatype::Int32 => "INT32",
            Datatype::Int64 => "INT64",
            Datatype::Fp16 => "FP16",
            Datatype::Fp32 => "FP32",
            Datatype::Fp64 => "FP64",
            Datatype::Bf16 => "BF16",
            Datatype::Bytes => "BYTES",
        }
    }

    /// The type of that name, if there is one. Model configurations write `TYPE_FP32` and `TYPE_STRING` for what metadata call
    /// `FP32` and `BYTES`; both are known.
    pub fn of_name(name: &str) -> Option<Datatype> {
        let name = name.strip_prefix("TYPE_").unwrap_or(name);
        let name = if name == "STRING" { "BYTES" } else { name };
        Datatype::ALL.into_iter().find(|datatype| datatype.name() == name)
    }

    /// Bytes of one element; none where each has a length of its own.
    pub fn size(self) -> Option<usize> {
        match self {
            Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => Some(1),
            Datatype::Uint16 | Datatype::Int16 | Datatype::Fp16 | Datatype::Bf16 => Some(2),
            Datatype::Uint32 | Datatype::Int32 | Datatype::Fp32 => Some(4),
            Datatype::Uint64 | Datatype::Int64 | Datatype::Fp64 => Some(8),
            Datatype::Bytes => None,
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a model says of one of its inputs or outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub datatype: Datatype,
    /// Its dimensions, without that of the batch; -1 is any length.
    pub shape: Vec<i64>,
    /// Whether a request may leave it out.
    pub optional: bool,
    /// Whether it gives the shape of another input, so that its values cannot be made up.
    pub is_shape: bool,
}

/// A tensor with its values, as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub datatype: Datatype,
    /// Its dimensions, that of the batch included where the model has one.
    pub shape: Vec<i64>,
    /// The elements in row-major order, little-endian; each of BYTES behind its length in four bytes.
    pub data: Vec<u8>,
}

impl Tensor {
    /// How many elements a tensor of `shape` has; none where that is unknown, negative or too many to count.
    pub fn elements(shape: &[i64]) -> Option<u64> {
        shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(u64::try_from(*dim).ok()?))
    }

    /// The elements of a BYTES tensor's `data`; none where it is not cut as its lengths say.
    pub fn strings(mut data: &[u8]) -> Option<Vec<&[u8]>> {
        let mut strings = Vec::new();
        while !data.is_empty() {
            let (length, rest) = data.split_first_chunk::<4>()?;
            let (string, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            strings.push(string);
            data = rest;
        }
        Some(strings)
    }

    /// Appends one element of a BYTES tensor to `data`. A string has less than 4 GiB.
    pub fn push_string(data: &mut Vec<u8>, string: &[u8]) {
        data.extend_from_slice(&(string.len() as u32).to_le_bytes());
        data.extend_from_slice(string);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_protocols() {
        for datatype in Datatype::ALL {
            assert_eq!(Datatype::of_name(datatype.name()), Some(datatype));
            assert_eq!(serde_json::to_value(datatype).unwrap(), datatype.name());
        }
        assert_eq!(Datatype::of_name("TYPE_STRING"), Some(Datatype::Bytes));
        assert_eq!(Datatype::of_name("TYPE_BF16"), Some(Datatype::Bf16));
        assert_eq!(Datatype::of_name("FP8"), None);
    }

    #[test]
    fn strings_come_back() {
        let mut data = Vec::new();
        for string in [&b"ab"[..], b"", b"\xff"] {
            Tensor::push_string(&mut data, string);
        }
        assert_eq!(Tensor::strings(&data), Some(vec![&b"ab"[..], b"", b"\xff"]));
        assert_eq!(Tensor::strings(&data[..data.len() - 1]), None);
        assert_eq!(Tensor::strings(&[1, 0, 0]), None);
    }

    #[test]
    fn elements_are_counted_where_they_can_be() {
        assert_eq!(Tensor::elements(&[]), Some(1));
        assert_eq!(Tensor::elements(&[2, 0, 3]), Some(0));
        assert_eq!(Tensor::elements(&[2, -1]), None);
        assert_eq!(Tensor::elements(&[i64::MAX, 4]), None);
    }
}
