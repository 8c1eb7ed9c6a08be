//! Refusals of requests, in the form of an OpenAI server's errors.

/// The reason for refusing a request, in the form of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) class: &'static str,
    pub(crate) message: String,
    pub(crate) param: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn bad(param: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status: 400, class: "BadRequestError", message: message.into(), param: Some(param) }
    }

    /// The error object.
    pub(crate) fn body(&self) -> Vec<u8> {
        let error = serde_json::json!({
            "error": {"message": self.message, "type": self.class, "param": self.param, "code": self.status}
        });
        error.to_string().into_bytes()
    }
}
