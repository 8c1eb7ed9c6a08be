//! The paths of the server.

use crate::kserve::Target;
use crate::openai::{self, Endpoint};

/// The resource of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    Kserve(Target),
    Metrics,
    Models,
    /// An OpenAI endpoint.
    Output(&'static Endpoint),
    /// vLLM's hook that empties the prefix cache.
    ResetPrefixCache,
    Unknown,
}

impl Route {
    /// Finds what `path`, which has no query, names.
    pub(super) fn of(path: &str) -> Route {
        match path {
            "/health" => Route::Health,
            "/metrics" => Route::Metrics,
            "/reset_prefix_cache" => Route::ResetPrefixCache,
            "/v1/models" => Route::Models,
            path if path == "/v2" || path.starts_with("/v2/") => Route::Kserve(Target::of(path)),
            path => openai::endpoint(path).map_or(Route::Unknown, Route::Output),
        }
    }
}
