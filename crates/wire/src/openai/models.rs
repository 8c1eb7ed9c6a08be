//! The list of models that a server offers.

use crate::json::not_json;
use crate::json::object::Object;
use serde::Deserialize;
use thiserror::Error;

/// Why an answer is not a list of models.
#[derive(Debug, Error)]
pub enum ModelsError {
    /// Not JSON, or JSON of another shape.
    #[error("not a list of models (an object whose `data` lists objects with an `id`): {0}")]
    Malformed(String),
}

/// The names in the answer to `GET /v1/models`, in the server's order.
///
/// # Errors
/// When the answer is anything but an object whose `data` lists objects with an `id`.
pub fn model_ids(body: &[u8]) -> Result<Vec<String>, ModelsError> {
    let Object(list): Object<ModelList> =
        serde_json::from_slice(body).map_err(|error| ModelsError::Malformed(not_json(&error)))?;
    Ok(list.data.into_iter().map(|Object(model)| model.id).collect())
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<Object<Model>>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_a_list() {
        assert_eq!(model_ids(br#"{"object":"list","data":[]}"#).unwrap(), [""; 0]);
    }

    #[test]
    fn anything_else_is_refused_in_a_sentence() {
        for body in ["", "tiny", "[]", "{}", r#"[["tiny"]]"#, r#"{"data":[["tiny"]]}"#, r#"{"data":[{"name":"tiny"}]}"#]
        {
            let error = model_ids(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("not a list of models (an object whose `data` lists"), "{body}: {error}");
        }
    }
}
