//! GenAI-Perf's names for the parts of a plan, in the names of its directories and in its files.

use std::path::Path;
use streamgauge_core::kserve::Backend;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::text::file_name;
use streamgauge_wire::endpoints::spec;

/// The directory that GenAI-Perf would make for this run inside the artifact directory: `{model}[_multi]-openai-{kind}-{stimulus}`, or
/// `{model}[_multi]-triton-{backend}-{stimulus}` if tensors are sent. A server may have named the model, so slashes and characters that
/// are unsuitable for file names are replaced by `_`.
pub fn directory_name(plan: &RunPlan) -> String {
    let stimulus: String =
        plan.load.mode.stimulus().into_iter().map(|(name, level)| name.to_owned() + &level).collect();
    subject(plan) + &stimulus
}

/// The part of a run directory's name that comes before the load: the model and the endpoint.
pub(crate) fn subject(plan: &RunPlan) -> String {
    let endpoint = &plan.endpoint;
    let model = endpoint.models.first().map_or(String::new(), |model| file_name(model));
    let multi = if endpoint.models.len() > 1 { "_multi" } else { "" };
    let spec = spec(endpoint.kind);
    let service = spec.genai.service_kind;
    let shape = match endpoint.kserve.backend {
        Some(backend) if spec.capabilities.tensors => self::backend(backend),
        _ => spec.name(),
    };
    format!("{model}{multi}-{service}-{shape}-")
}

/// The name of the summary in a format, made from the name of the export as GenAI-Perf makes it.
pub(crate) fn summary_file(export_file: &str, extension: &str) -> String {
    let stem = Path::new(export_file).file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}_genai_perf.{extension}")
}

/// That tool's name of a backend.
pub(crate) fn backend(backend: Backend) -> &'static str {
    match backend {
        Backend::TensorrtLlm => "tensorrtllm",
        Backend::Vllm => "vllm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;
    use streamgauge_core::arrival::Arrival;
    use streamgauge_core::load::{Arrivals, Load, Places};
    use streamgauge_core::plan::{Endpoint, EndpointKind};

    #[test]
    fn directories_are_named_as_genai_perf_names_them() {
        let mut plan = plan(EndpointKind::Chat);
        assert_eq!(directory_name(&plan), "tinychat-openai-chat-concurrency2");
        plan.endpoint.kind = EndpointKind::Completions;
        plan.endpoint.models = vec!["org/m".into(), "n".into()];
        plan.load.mode = Load::concurrency(64);
        assert_eq!(directory_name(&plan), "org_m_multi-openai-completions-concurrency64");
        let of_a_server = RunPlan {
            endpoint: Endpoint { models: vec!["a\u{1b}]0;x\u{7}\n\u{202e}b".into()], ..plan.endpoint.clone() },
            ..plan.clone()
        };
        assert_eq!(directory_name(&of_a_server), "a_]0;x___b-openai-completions-concurrency64");
        for (rate, cap, stimulus) in [
            ("10", None, "request_rate10.0"),
            ("0.25", None, "request_rate0.25"),
            ("inf", None, "request_rateinf"),
            ("10", Some(64), "concurrency64-request_rate10.0"),
        ] {
            let arrivals = Arrivals::steady(rate.parse().unwrap(), Arrival::Poisson);
            plan.load.mode = Load::Open { arrivals, cap: cap.map(Places::all) };
            assert_eq!(directory_name(&plan), format!("org_m_multi-openai-completions-{stimulus}"));
        }
    }

    #[test]
    fn tensors_are_named_by_what_they_are_for() {
        let mut plan = plan(EndpointKind::KserveGrpc);
        assert_eq!(directory_name(&plan), "ensemble-triton-tensorrtllm-concurrency1");
        plan.endpoint.kserve.backend = Some(Backend::Vllm);
        assert_eq!(directory_name(&plan), "ensemble-triton-vllm-concurrency1");
        plan.endpoint.kserve.backend = None;
        assert_eq!(directory_name(&plan), "ensemble-triton-kserve-concurrency1");
        plan.endpoint.kind = EndpointKind::Generate;
        assert_eq!(directory_name(&plan), "ensemble-openai-generate-concurrency1");
    }
}
