//! Why a call failed.

/// Why a call failed, in Triton's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// As HTTP says it; [`Problem::code`] is gRPC's.
    pub(crate) status: u16,
    pub(crate) message: String,
    /// Whether the model was asked and failed. Otherwise the request did not reach it.
    pub(crate) ran: bool,
    /// Whether Triton's core says it, whose messages come as text over HTTP. Otherwise its HTTP front says it, in JSON.
    pub(crate) is_of_core: bool,
}

impl Problem {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Problem {
        Problem { status, message: message.into(), ran: false, is_of_core: status == 501 }
    }

    /// Of a request for a model that the server does not have.
    pub(crate) fn unknown_model(what: &str) -> Problem {
        let message = format!("Request for unknown model: {what} is not found");
        Problem { is_of_core: true, ..Problem::missing(message) }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Problem {
        Problem::new(400, message)
    }

    pub(crate) fn missing(message: impl Into<String>) -> Problem {
        Problem::new(404, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Problem {
        Problem::new(500, message)
    }

    /// Of a model that was asked and failed.
    pub(crate) fn of_model(status: u16, message: impl Into<String>) -> Problem {
        Problem { ran: true, is_of_core: true, ..Problem::new(status, message) }
    }

    /// What a fault wants.
    pub(crate) fn simulated(status: u16) -> Problem {
        Problem::new(status, format!("simulated fault: status {status}"))
    }

    /// The code of gRPC.
    pub(crate) fn code(&self) -> u32 {
        match self.status {
            400 => 3,
            401 => 16,
            403 => 7,
            404 => 5,
            409 => 6,
            429 => 8,
            500 => 13,
            501 => 12,
            502 | 503 => 14,
            504 => 4,
            _ => 2,
        }
    }

    /// The body over HTTP.
    pub(crate) fn body(&self) -> Vec<u8> {
        serde_json::json!({"error": self.message}).to_string().into_bytes()
    }
}
