//! The members of the JSON summary with the server's own counts and the figures of its GPUs.

use serde_json::{Map, Value, json};
use streamgauge_stats::Summary;
use streamgauge_stats::server::ModelFigures;

/// The members of the JSON summary, in order. Members without data are left out.
pub(crate) fn members(summary: &Summary) -> Map<String, Value> {
    let mut members = Map::new();
    if let Some(server) = &summary.server {
        members.insert("server_statistics".into(), document(&server.model));
    }
    if !summary.gpus.is_empty() {
        let gpus = summary.gpus.iter().map(|(uuid, gpu)| {
            let figures = json!({
                "utilization_percent": gpu.utilization.map(|share| share * 100.0),
                "power_w": gpu.power,
                "memory_used_bytes": gpu.memory_used,
                "memory_total_bytes": gpu.memory_total,
            });
            (uuid.clone(), figures)
        });
        members.insert("server_gpus".into(), Value::Object(gpus.collect()));
    }
    members
}

fn document(figures: &ModelFigures) -> Value {
    let counted = &figures.counted;
    let parts = figures.request_parts();
    json!({
        "model": counted.name,
        "version": counted.version,
        "inference_count": counted.inference_count,
        "execution_count": counted.execution_count,
        "success_count": counted.success.count,
        "fail_count": counted.fail.count,
        "cache_hit_count": counted.cache_hit.count,
        "cache_miss_count": counted.cache_miss.count,
        "request_us": parts.request,
        "queue_us": parts.queue,
        "compute_input_us": parts.compute_input,
        "compute_infer_us": parts.compute_infer,
        "compute_output_us": parts.compute_output,
        "cache_hit_us": parts.cache_hit,
        "cache_miss_us": parts.cache_miss,
        "rest_us": parts.rest,
        "composing_models": figures.composing.iter().map(document).collect::<Vec<_>>(),
    })
}
