//! The server of a run: where connections go, and its only model where none was named.

use crate::error::usage;
use crate::listener::Listener;
use crate::prepare::hints::{self, Mishap};
use crate::prepare::redirect;
use crate::prepare::waiting::Waiting;
use anyhow::{Error, Result, anyhow, bail};
use std::sync::Arc;
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::plan::RunPlan;
use streamgauge_core::record::{Failure, FailureClass, Stage};
use streamgauge_core::secrets::{Secrets, shown_url};
use streamgauge_core::text::{LONGEST_MESSAGE, clip};
use streamgauge_core::{Setting, message};
use streamgauge_load::{Fetched, NoRoute, ProbeError, Routes, fetch, spoken};
use streamgauge_wire::endpoints::{self, EndpointSpec};
use streamgauge_wire::model_ids;

/// How long the list of models may take.
const MODELS_LIMIT: Nanos = Nanos::from_millis(10_000);

/// Looks up the addresses of the plan's servers.
///
/// # Errors
/// When a name cannot be resolved, or certificates cannot be used.
pub fn find_routes(plan: &RunPlan) -> Result<Routes> {
    Routes::find(&plan.endpoint, &plan.transport).map_err(|error| match error {
        // Nothing has been asked of the server yet: the certificates that were named cannot be used.
        NoRoute { certificates: Some(unusable), .. } => usage(*unusable),
        NoRoute { failure: Failure { stage: Stage::Tls, message, .. }, .. } => usage(anyhow!(message)),
        error => error.into(),
    })
}

/// The only model that the server lists. Where it redirects on its own host, the endpoint's server moves with it.
///
/// # Errors
/// When the list cannot be read, or does not hold exactly one model.
pub fn only_model(plan: &mut RunPlan, routes: &mut Routes, listener: &Arc<dyn Listener>) -> Result<String> {
    let mut path = models_path(&plan.endpoint.path);
    let limit = MODELS_LIMIT.min(plan.transport.timeouts.total);
    let hint = || message!["name the model with ", Setting::Model];
    for _ in 0..=redirect::MOST {
        let target = plan.endpoint.target.clone();
        let _waiting = Waiting::until_answered(
            message![
                format!("waiting for the list of models from {target}{path} (at most {} s); ", limit.as_secs_f64()),
                Setting::Model,
                " names one without it",
            ],
            listener,
        );
        let fetched = fetch(&plan.endpoint, routes, SystemClock::start(), &path, limit);
        let Fetched { status, location, body } = fetched.map_err(|error| unanswered(plan, routes, error))?;
        if let Some(location) = location {
            let (target, to) = redirect::follow(&plan.endpoint, &path, status, &location)?;
            path = to;
            if target != plan.endpoint.target {
                let from = &plan.endpoint.target;
                listener.note(&format!("note: {from} redirects to {target}: everything is asked there").into());
                plan.endpoint.target = target;
                *routes = find_routes(plan)?;
            }
            continue;
        }
        if status != 200 {
            let message = streamgauge_wire::server_message(&body).unwrap_or_default();
            let message = clip(Secrets::of(&plan.endpoint).hide(message), LONGEST_MESSAGE);
            let failure = Failure { stage: Stage::Body, class: FailureClass::Status, message: message.clone() };
            let endpoint = &plan.endpoint;
            let cause = hints::hint(&Mishap { failure: &failure, status: Some(status), endpoint, spoken: None });
            let cause = cause.filter(|_| matches!(status, 401 | 403)).unwrap_or_else(hint);
            bail!(message![format!("{target}{} answers {status} {message}; ", shown_url(&path)), cause]);
        }
        let models = model_ids(&body).map_err(|error| message![format!("{target}{path}: {error}; "), hint()])?;
        return match models.as_slice() {
            [model] => Ok(model.clone()),
            [] => bail!(message![format!("{target}{path} lists no model; "), hint()]),
            several => Err(usage(message![
                format!("{target} has several models; choose with "),
                Setting::Model,
                format!(": {}", several.join(", ")),
            ])),
        };
    }
    bail!(message![format!("{}{path} redirects more than {} times; ", plan.endpoint.target, redirect::MOST), hint(),])
}

fn unanswered(plan: &RunPlan, routes: &Routes, error: ProbeError) -> Error {
    let ProbeError::Failed(failure) = error else { return error.into() };
    let endpoint = &plan.endpoint;
    let spoken = hints::may_be_another_protocol(&failure).then(|| spoken(routes)).flatten();
    let hint = match failure.class {
        // How long this question may take is fixed.
        FailureClass::Timeout => {
            Some(message!["it did not list its models; ", Setting::Model, " names one without asking"])
        }
        _ => hints::hint(&Mishap { failure: &failure, status: None, endpoint, spoken }),
    };
    let hint = hint.map(|hint| message![": ", hint]).unwrap_or_default();
    message![format!("{} cannot be reached: {}", hints::server(endpoint), hints::words(&failure)), hint].into()
}

/// Where the server of an OpenAI-style endpoint at `path` lists its models.
fn models_path(path: &str) -> String {
    let path = path.split_once('?').map_or(path, |(path, _)| path).trim_end_matches('/');
    // The longest first: the path of chat ends as that of completions does.
    let mut usual: Vec<&str> = endpoints::all().filter_map(EndpointSpec::path_behind_version).collect();
    usual.sort_by_key(|path| std::cmp::Reverse(path.len()));
    let base = usual.into_iter().find_map(|usual| path.strip_suffix(usual));
    match (base, path.split_once("/v1/")) {
        (Some(base), _) => format!("{base}/models"),
        (None, Some((base, _))) => format!("{base}/v1/models"),
        (None, None) => "/v1/models".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_listed_beside_the_endpoint() {
        for (path, models) in [
            ("/v1/chat/completions", "/v1/models"),
            ("/openai/v1/completions?api-version=1", "/openai/v1/models"),
            ("/api/v3/chat/completions/", "/api/v3/models"),
            ("/base/v1/other", "/base/v1/models"),
            ("/custom", "/v1/models"),
        ] {
            assert_eq!(models_path(path), models, "{path}");
        }
    }
}
