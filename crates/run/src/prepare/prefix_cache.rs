//! Has servers forget the prefixes that they keep, before the load and by a hook of their own, so that no prompt is answered from what an
//! earlier run left.

use crate::error::usage;
use crate::listener::Listener;
use crate::prepare::hints;
use anyhow::{Result, bail};
use std::sync::Arc;
use streamgauge_core::clock::{Nanos, SystemClock};
use streamgauge_core::message;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::setting::Setting;
use streamgauge_load::{ProbeError, Routes, post};

/// The paths of the hooks, beside the version of the API, with the servers that have them. vLLM's is there in its development mode
/// (`VLLM_SERVER_DEV_MODE=1`).
const HOOKS: [(&str, &str); 2] = [("/reset_prefix_cache", "vLLM in its development mode"), ("/flush_cache", "SGLang")];

/// How long a server may take to empty its cache.
const LIMIT: Nanos = Nanos::from_millis(30_000);

/// Empties the prefix cache of each server of `plan`.
///
/// # Errors
/// When a server has none of the hooks, cannot be asked, or refuses.
pub fn reset(plan: &RunPlan, routes: &Routes, listener: &Arc<dyn Listener>) -> Result<()> {
    (0..plan.endpoint.targets().count()).try_for_each(|server| reset_one(plan, routes, server, listener))
}

fn reset_one(plan: &RunPlan, routes: &Routes, server: usize, listener: &Arc<dyn Listener>) -> Result<()> {
    let Some(target) = plan.endpoint.targets().nth(server) else { return Ok(()) };
    let base = plan.endpoint.path.split_once("/v1/").map_or("", |(base, _)| base);
    for (hook, _) in HOOKS {
        let path = format!("{base}{hook}");
        let answer = match post(&plan.endpoint, routes, SystemClock::start(), server, &path, LIMIT) {
            Ok(answer) => answer,
            Err(ProbeError::Failed(failure)) => {
                bail!(message![Setting::ResetPrefixCache, format!(": {target}{path}: {}", hints::words(&failure))])
            }
            Err(error) => return Err(error.into()),
        };
        match answer.status {
            200..=299 => {
                listener.detail(&format!("{target} has emptied its prefix cache ({path})").into());
                return Ok(());
            }
            404 | 405 => {}
            status => bail!(message![Setting::ResetPrefixCache, format!(": {target}{path} answers {status}")]),
        }
    }
    let hooks: Vec<String> = HOOKS.iter().map(|(hook, servers)| format!("{base}{hook} ({servers})")).collect();
    Err(usage(message![
        Setting::ResetPrefixCache,
        format!(": {target} has no hook for it, neither {}; leave it out", hooks.join(" nor ")),
    ]))
}
