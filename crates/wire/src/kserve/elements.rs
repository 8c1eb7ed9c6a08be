//! The elements of a tensor as JSON values and as bytes.

use half::{bf16, f16};
use serde_json::{Number, Value};
use streamgauge_core::tensor::{Datatype, Tensor};

/// The elements in `data`, in row-major order. `None` if the length of the data does not fit the type. Values for which JSON has no
/// number are texts (`NaN`, `Infinity`). Bytes are texts too, in which anything that is not UTF-8 is replaced.
pub(crate) fn values(datatype: Datatype, data: &[u8]) -> Option<Vec<Value>> {
    let Some(size) = datatype.size() else {
        let strings = Tensor::strings(data)?;
        return Some(strings.into_iter().map(|string| String::from_utf8_lossy(string).into()).collect());
    };
    data.len().is_multiple_of(size).then(|| data.chunks_exact(size).map(|element| value(datatype, element)).collect())
}

/// One element of a type that has a size, from so many bytes.
fn value(datatype: Datatype, element: &[u8]) -> Value {
    let mut wide = [0; 8];
    wide[..element.len()].copy_from_slice(element);
    let unsigned = u64::from_le_bytes(wide);
    // The sign is that of the narrow type.
    let unused = 64 - 8 * element.len() as u32;
    let signed = ((unsigned << unused) as i64) >> unused;
    match datatype {
        Datatype::Bool => (unsigned != 0).into(),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 | Datatype::Uint64 => unsigned.into(),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 | Datatype::Int64 => signed.into(),
        Datatype::Fp16 => float(f16::from_bits(unsigned as u16).to_f64()),
        Datatype::Bf16 => float(bf16::from_bits(unsigned as u16).to_f64()),
        Datatype::Fp32 => float(f64::from(f32::from_bits(unsigned as u32))),
        Datatype::Fp64 => float(f64::from_bits(unsigned)),
        // It has no size, and so no element of one.
        Datatype::Bytes => Value::Null,
    }
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => number.into(),
        None if value.is_nan() => "NaN".into(),
        None if value > 0.0 => "Infinity".into(),
        None => "-Infinity".into(),
    }
}

/// The bytes of the elements in `data`, a list that may be nested.
///
/// # Errors
/// Which element is not of that type.
pub(crate) fn bytes(datatype: Datatype, data: &[Value]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(data.len() * datatype.size().unwrap_or(8));
    append(datatype, data, &mut bytes)?;
    Ok(bytes)
}

fn append(datatype: Datatype, data: &[Value], bytes: &mut Vec<u8>) -> Result<(), String> {
    for element in data {
        if let Value::Array(nested) = element {
            append(datatype, nested, bytes)?;
        } else {
            push(datatype, element, bytes).ok_or_else(|| format!("{element} is not of type {datatype}"))?;
        }
    }
    Ok(())
}

fn push(datatype: Datatype, element: &Value, bytes: &mut Vec<u8>) -> Option<()> {
    match datatype {
        Datatype::Bool => bytes.push(u8::from(element.as_bool().or_else(|| Some(element.as_u64()? != 0))?)),
        Datatype::Uint8 => bytes.push(u8::try_from(element.as_u64()?).ok()?),
        Datatype::Uint16 => bytes.extend(u16::try_from(element.as_u64()?).ok()?.to_le_bytes()),
        Datatype::Uint32 => bytes.extend(u32::try_from(element.as_u64()?).ok()?.to_le_bytes()),
        Datatype::Uint64 => bytes.extend(element.as_u64()?.to_le_bytes()),
        Datatype::Int8 => bytes.extend(i8::try_from(element.as_i64()?).ok()?.to_le_bytes()),
        Datatype::Int16 => bytes.extend(i16::try_from(element.as_i64()?).ok()?.to_le_bytes()),
        Datatype::Int32 => bytes.extend(i32::try_from(element.as_i64()?).ok()?.to_le_bytes()),
        Datatype::Int64 => bytes.extend(element.as_i64()?.to_le_bytes()),
        Datatype::Fp32 => bytes.extend((element.as_f64()? as f32).to_le_bytes()),
        Datatype::Fp64 => bytes.extend(element.as_f64()?.to_le_bytes()),
        // JSON does not carry these; servers send them as bytes.
        Datatype::Fp16 | Datatype::Bf16 => return None,
        Datatype::Bytes => Tensor::push_string(bytes, element.as_str()?.as_bytes()),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn each_type_as_json_has_it() {
        for (datatype, data, said) in [
            (Datatype::Bool, &[0_u8, 1, 2][..], json!([false, true, true])),
            (Datatype::Uint8, &[200], json!([200])),
            (Datatype::Int8, &[200], json!([-56])),
            (Datatype::Int16, &[0xfe, 0xff], json!([-2])),
            (Datatype::Int32, &[0xff, 0xff, 0xff, 0xff], json!([-1])),
            (Datatype::Uint64, &[0xff; 8], json!([u64::MAX])),
            (Datatype::Int64, &[0xff; 8], json!([-1])),
            (
                Datatype::Fp16,
                &[0, 0x3c, 0, 0xc0, 1, 0, 0, 0x7c, 1, 0x7c, 0xff, 0x7b],
                json!([1.0, -2.0, 5.960464477539063e-8, "Infinity", "NaN", 65504.0]),
            ),
            (Datatype::Bf16, &[0x80, 0x3f, 0x80, 0xff], json!([1.0, "-Infinity"])),
            (Datatype::Fp32, &[0, 0, 0x20, 0x41], json!([10.0])),
            (Datatype::Fp64, &[0, 0, 0, 0, 0, 0, 0x24, 0x40], json!([10.0])),
            (Datatype::Bytes, &[1, 0, 0, 0, b'a', 0, 0, 0, 0, 1, 0, 0, 0, 0xff], json!(["a", "", "\u{fffd}"])),
        ] {
            assert_eq!(values(datatype, data), said.as_array().cloned(), "{datatype}");
        }
        assert_eq!(values(Datatype::Int32, &[0; 5]), None);
        assert_eq!(values(Datatype::Bytes, &[0; 5]), None);
    }

    #[test]
    fn what_is_none_of_the_type_is_refused() {
        for (datatype, element, why) in [
            (Datatype::Uint8, json!(256), "256 is not of type UINT8"),
            (Datatype::Int8, json!(-129), "-129 is not of type INT8"),
            (Datatype::Uint64, json!(-1), "-1 is not of type UINT64"),
            (Datatype::Int32, json!(1.5), "1.5 is not of type INT32"),
            (Datatype::Fp32, json!("x"), "\"x\" is not of type FP32"),
            (Datatype::Fp16, json!(1.0), "1.0 is not of type FP16"),
            (Datatype::Bytes, json!(null), "null is not of type BYTES"),
        ] {
            assert_eq!(bytes(datatype, &[json!([element])]), Err(why.to_owned()));
        }
        assert_eq!(bytes(Datatype::Int8, &[json!([1, [2]]), json!(3)]), Ok(vec![1, 2, 3]));
    }

    proptest! {
        #[test]
        fn what_json_carries_comes_back(data in vec(any::<u8>(), 0..64), strings in vec(".*", 0..4)) {
            for datatype in Datatype::ALL {
                let size = match datatype {
                    Datatype::Fp16 | Datatype::Bf16 | Datatype::Bytes => continue,
                    _ => datatype.size().unwrap(),
                };
                let mut data = data[..data.len() - data.len() % size].to_vec();
                if datatype == Datatype::Bool {
                    data.iter_mut().for_each(|byte| *byte &= 1);
                }
                let said = values(datatype, &data).unwrap();
                if said.iter().all(|value| !value.is_string()) {
                    prop_assert_eq!(bytes(datatype, &said), Ok(data));
                }
            }
            let mut data = Vec::new();
            strings.iter().for_each(|string| Tensor::push_string(&mut data, string.as_bytes()));
            prop_assert_eq!(bytes(Datatype::Bytes, &values(Datatype::Bytes, &data).unwrap()), Ok(data));
        }
    }
}
