//! Tensors of KServe v2: datatypes, the description of a model's inputs and outputs, and values in the form in which they are sent.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of a tensor's elements, in the words of the KServe v2 protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Datatype {
    /// Boolean values of one byte.
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
    /// bfloat16: the upper half of an IEEE 754 number of 32 bits.
    Bf16,
    /// Bytes of any length.
    Bytes,
}

impl Datatype {
    /// All types.
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

    /// Its name in the protocol.
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

    /// The type of that name, if there is one. Metadata write `FP32` and `BYTES` where model configurations write `TYPE_FP32` and
    /// `TYPE_STRING`; both forms are understood.
    pub fn of_name(name: &str) -> Option<Datatype> {
        let name = name.strip_prefix("TYPE_").unwrap_or(name);
        let name = if name == "STRING" { "BYTES" } else { name };
        Datatype::ALL.into_iter().find(|datatype| datatype.name() == name)
    }

    /// The number of bytes of one element. `None` if each element has a length of its own.
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

/// The description of an input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub datatype: Datatype,
    /// Its dimensions without the batch; -1 stands for any length.
    pub shape: Vec<i64>,
    /// Whether a request may leave it out.
    pub optional: bool,
    /// Whether its values are the shape of another input, so that they cannot be random.
    pub is_shape: bool,
}

/// A tensor with its values, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub datatype: Datatype,
    /// Its dimensions, with the batch if the model has one.
    pub shape: Vec<i64>,
    /// The elements in row-major order, little-endian. Each element of BYTES follows its length in four bytes.
    pub data: Vec<u8>,
}

impl Tensor {
    /// The number of elements of a tensor of `shape`. `None` if a dimension is unknown or negative, or if the number is too large.
    pub fn elements(shape: &[i64]) -> Option<u64> {
        shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(u64::try_from(*dim).ok()?))
    }

    /// The elements in the `data` of a BYTES tensor. `None` if the lengths in the data do not fit the data.
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
