//! The OpenAI front, as vLLM answers it: one file for each endpoint, which is a value in [`ENDPOINTS`].

mod ask;
mod body;
mod chat;
mod completions;
mod embeddings;
mod endpoint;
mod serve;
mod text;

pub use chat::TEMPLATE_TOKENS;
pub(crate) use endpoint::Endpoint;

/// All endpoints.
static ENDPOINTS: [&Endpoint; 3] = [&chat::ENDPOINT, &completions::ENDPOINT, &embeddings::ENDPOINT];

/// The endpoint at `path`.
pub(crate) fn endpoint(path: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.into_iter().find(|endpoint| endpoint.path == path)
}
