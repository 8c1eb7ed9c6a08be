//! The ids of blocks in traces.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::Value;
use std::fmt;

/// The id of a block: a whole number of any sign, or a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HashId(pub u64);

/// The ids of a list.
///
/// # Errors
/// What the list is instead.
pub(super) fn hash_ids(list: &Value) -> Result<Vec<u64>, String> {
    let wrong = || "`hash_ids` is not a list of whole numbers or texts".to_owned();
    let Value::Array(ids) = list else { return Err(wrong()) };
    ids.iter().map(|id| HashId::deserialize(id).map(|id| id.0).map_err(|_| wrong())).collect()
}

impl<'de> Deserialize<'de> for HashId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HashId, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = HashId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a block: a whole number or a text")
            }

            fn visit_u64<E: Error>(self, id: u64) -> Result<HashId, E> {
                Ok(HashId(id))
            }

            fn visit_i64<E: Error>(self, id: i64) -> Result<HashId, E> {
                Ok(HashId(id.cast_unsigned()))
            }

            fn visit_str<E: Error>(self, id: &str) -> Result<HashId, E> {
                // FNV-1a with 64 bits.
                let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                Ok(HashId(id.bytes().fold(0xcbf2_9ce4_8422_2325, step)))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_numbers_or_texts() {
        let ids = hash_ids(&json!([0, 46, u64::MAX, -1, "a", "b"])).unwrap();
        assert_eq!(ids[..4], [0, 46, u64::MAX, u64::MAX]);
        assert_ne!(ids[4], ids[5]);
        for list in [json!(5), json!([1.5]), json!([null]), json!([[1]])] {
            assert!(hash_ids(&list).unwrap_err().contains("not a list of whole numbers or texts"), "{list}");
        }
    }
}
