//! The lines of the native report with the server's own counts and the figures of its GPUs.

use crate::text::numbers::{grouped, grouped_count};
use crate::text::put;
use streamgauge_core::text::one_line;
use streamgauge_stats::server::{GpuFigures, ModelFigures};
use streamgauge_stats::{Scope, Summary};

/// The number of bytes in a GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// Appends the lines. Appends nothing if the server reported no counts and no GPUs.
pub(crate) fn lines(text: &mut String, summary: &Summary) {
    if let Some(server) = &summary.server {
        text.push_str("\nThe server's own counts (mean times per request, ms)\n");
        model(text, &server.model, 1);
        if let Some(others) = others(summary, &server.model) {
            put(
                text,
                format_args!(
                    "  {} more requests than this client sent: other clients use the server too, and these figures include theirs\n",
                    grouped_count(others)
                ),
            );
        }
        for name in &server.ambiguous {
            put(
                text,
                format_args!("  several versions of {} had requests; the highest version is shown\n", one_line(name)),
            );
        }
    }
    for (uuid, gpu) in &summary.gpus {
        put(text, format_args!("  GPU {}: {}\n", one_line(uuid), gpu_words(gpu)));
    }
}

/// The number of requests that the server counted and this client did not send. The probe is tolerated, because the server may count
/// it late. Returns `None` for a part of a run or a run with a warm-up, where requests in flight at the edges make the two counts differ anyway.
fn others(summary: &Summary, model: &ModelFigures) -> Option<u64> {
    const PROBE: u64 = 1;
    let whole = summary.scope == Scope::Run && summary.counts.warmup == 0;
    let counted = model.counted.success.count.saturating_add(model.counted.fail.count);
    let others = counted.saturating_sub(summary.counts.requests);
    (whole && others > PROBE).then_some(others)
}

fn model(text: &mut String, figures: &ModelFigures, depth: usize) {
    let counted = &figures.counted;
    let n = grouped_count;
    put(
        text,
        format_args!(
            "{:width$}{} {}: {} requests ok, {} failed, {} inferences in {} executions\n",
            "",
            one_line(&counted.name),
            one_line(&counted.version),
            n(counted.success.count),
            n(counted.fail.count),
            n(counted.inference_count),
            n(counted.execution_count),
            width = 2 * depth,
        ),
    );
    let ms = |micros: u64| grouped(micros as f64 / 1e3);
    let parts = figures.request_parts();
    let mut words = vec![
        format!("queue {}", ms(parts.queue)),
        format!("input {}", ms(parts.compute_input)),
        format!("infer {}", ms(parts.compute_infer)),
        format!("output {}", ms(parts.compute_output)),
    ];
    if figures.cached {
        words.push(format!("cache hit {}", ms(parts.cache_hit)));
        words.push(format!("cache miss {}", ms(parts.cache_miss)));
    }
    words.push(format!("rest {}", ms(parts.rest)));
    let width = 2 * depth + 2;
    put(text, format_args!("{:width$}request {}: {}\n", "", ms(parts.request), words.join(", ")));
    figures.composing.iter().for_each(|part| model(text, part, depth + 1));
}

fn gpu_words(gpu: &GpuFigures) -> String {
    let mut words = Vec::new();
    words.extend(gpu.utilization.map(|share| format!("utilization {} %", grouped(share * 100.0))));
    words.extend(gpu.power.map(|watts| format!("power {} W", grouped(watts))));
    words.extend(gpu.memory_used.map(|bytes| format!("memory used at most {} GiB", grouped(bytes as f64 / GIB))));
    words.extend(gpu.memory_total.map(|bytes| format!("of {} GiB", grouped(bytes as f64 / GIB))));
    words.join(", ")
}
