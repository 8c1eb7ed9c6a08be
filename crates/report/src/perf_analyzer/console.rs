//! The console's blocks, in the order in which Perf Analyzer prints them: [`settings`], then of each level its [`heading`], a
//! [`pass`] a window where it is asked for, and the [`level`] itself, and [`closing`] at the end.

use super::{Label, LevelReport, Mode, Protocol, Search, Service, Settings};
use crate::text::numbers::{NOT_AVAILABLE, cpp_default};
use crate::text::put;
use std::collections::BTreeMap;
use streamgauge_core::stop::Window;
use streamgauge_stats::Pass;
use streamgauge_stats::perf_analyzer::ClientFigures;
use streamgauge_stats::server::{GpuFigures, ModelFigures, ServerFigures};

/// From this percentage of delayed requests on it is said that there were some.
const DELAYED_FROM: f64 = 1.0;

/// From this percentage of the client's own work on, the report warns that the client may be what was measured.
const OVERHEAD_FROM: f64 = 50.0;

/// GPUs that are shown one by one; of more there is only a sentence.
const MOST_GPUS: usize = 16;

/// Renders the settings, followed by an empty line.
pub fn settings(settings: &Settings) -> String {
    let mut text = String::from("*** Measurement Settings ***\n");
    if let Some(batch) = settings.batch {
        put(&mut text, format_args!("  Batch size: {batch}\n"));
    }
    let service = match settings.service {
        Service::OpenAi => "OPENAI",
        Service::Triton => "TRITON",
    };
    put(&mut text, format_args!("  Service Kind: {service}\n"));
    let plural = |count: u64| if count > 1 { "s" } else { "" };
    if settings.warmup > 0 {
        put(&mut text, format_args!("  Sending {0} warmup request{1}\n", settings.warmup, plural(settings.warmup)));
    }
    match settings.mode {
        Mode::Requests(count) => put(&mut text, format_args!("  Sending {count} benchmark request{}\n", plural(count))),
        Mode::Windows(window) => windows(&mut text, window, settings),
    }
    load(&mut text, settings);
    if settings.binary {
        text.push_str("  Using Binary Search algorithm\n");
    }
    let calls = if settings.asynchronous { "asynchronous" } else { "synchronous" };
    put(&mut text, format_args!("  Using {calls} calls for inference\n"));
    if settings.decoupled {
        // Perf Analyzer prints this, but measures to the last response, as this program does.
        text.push_str("  Detected decoupled model, using the first response for measuring latency\n");
    }
    text.push('\n');
    text
}

fn windows(text: &mut String, window: Window, settings: &Settings) {
    let (mode, length) = match window {
        Window::Time(time) => ("time_windows", format!("Measurement window: {} msec", time.0 / 1_000_000)),
        Window::Requests(count) => ("count_windows", format!("Minimum number of samples in each window: {count}")),
    };
    let stable = if settings.asynchronous { "throughput" } else { "latency and throughput" };
    put(text, format_args!("  Using \"{mode}\" mode for stabilization\n"));
    // Without a blank after the percentile, as it is there.
    let by = settings.percentile.map_or("average ".to_owned(), |p| format!("p{p}"));
    put(text, format_args!("  Stabilizing using {by}{stable}\n  {length}\n"));
}

/// Limits are shown where the last level is not the default, 1.
fn load(text: &mut String, settings: &Settings) {
    let latency = format!("  Latency limit: {} msec\n", settings.latency_limit_ms);
    match settings.search {
        Search::Concurrency { end: 1, .. } | Search::Custom => {}
        Search::Concurrency { start, end } => {
            text.push_str(&latency);
            if end != 0 {
                put(text, format_args!("  Concurrency limit: {} concurrent requests\n", start.max(end)));
            }
        }
        Search::Rate { start, end, poisson } => {
            if end != 1.0 {
                text.push_str(&latency);
            }
            if end != 1.0 && end != 0.0 {
                let limit = cpp_default(start.max(end));
                put(text, format_args!("  Request Rate limit: {limit} requests per seconds\n"));
            }
            let distribution = if poisson { "poisson" } else { "uniform" };
            put(text, format_args!("  Using {distribution} distribution on request generation\n"));
        }
    }
}

/// The line that a level begins with; of times from a file there is none.
pub fn heading(label: Label) -> String {
    match label {
        Label::Concurrency(concurrency) => format!("Request concurrency: {concurrency}\n"),
        Label::Rate(rate) => format!("Request Rate: {} inference requests per second\n", cpp_default(rate)),
        Label::Custom(_) => String::new(),
    }
}

/// The line of a level's window number `number`, from 1.
pub fn pass(number: usize, pass: &Pass, settings: &Settings) -> String {
    if pass.requests == 0 {
        let advice = "No valid requests recorded within time interval. Please use a larger time window.";
        return format!("  Pass [{number}] cb::Error: {advice}\n");
    }
    let throughput = cpp_default(pass.inferences(settings.batch.unwrap_or(1)));
    let begin = format!("  Pass [{number}] throughput: {throughput} infer/sec. ");
    match settings.percentile {
        Some(p) => format!("{begin}p{p} latency: {} usec\n", pass.percentile_us.unwrap_or(0)),
        None => {
            let (latency, std) = (pass.latency_us, deviation(pass.latency_std_us));
            format!("{begin}Avg latency: {latency} usec (std {std} usec). \n")
        }
    }
}

/// The deviation of a single value is that tool's greatest number.
fn deviation(std_us: Option<u64>) -> u64 {
    std_us.unwrap_or(u64::MAX)
}

/// A level's figures, without its heading and its windows.
pub fn level(level: &LevelReport, settings: &Settings) -> String {
    let mut text = String::from("  Client: \n");
    client(&mut text, &level.client, settings);
    if let Some(server) = &level.server {
        text.push_str("  Server: \n");
        model(&mut text, &server.model, server, 1);
    }
    if let Some(gpus) = &level.gpus {
        text.push_str("  Server Prometheus Metrics: \n");
        self::gpus(&mut text, gpus);
    }
    if level.client.overhead_percent > OVERHEAD_FROM {
        text.push_str("[WARNING] Perf Analyzer is not able to keep up with the desired load. ");
        text.push_str("The results may not be accurate.\n");
    }
    text
}

fn client(text: &mut String, client: &ClientFigures, settings: &Settings) {
    put(text, format_args!("    Request count: {}\n", client.requests));
    if client.delayed_percent > DELAYED_FROM {
        put(text, format_args!("    Avg send request rate: {:.2} infer/sec\n", client.send_rate));
        text.push_str("    [WARNING] Perf Analyzer was not able to keep up with the desired request rate. ");
        put(text, format_args!("{:.2}% of the requests were delayed. \n", client.delayed_percent));
    }
    if settings.sequences {
        let rate = cpp_default(client.sequence_throughput);
        put(text, format_args!("    Sequence count: {} ({rate} seq/sec)\n", client.sequences));
    }
    put(text, format_args!("    Throughput: {} infer/sec\n", cpp_default(client.throughput)));
    if settings.decoupled {
        let rate = cpp_default(client.response_throughput);
        put(text, format_args!("    Response Throughput: {rate} infer/sec\n"));
    }
    if settings.verbose {
        put(text, format_args!("    Avg client overhead: {:.2}%\n", client.overhead_percent));
    }
    if settings.percentile.is_none() {
        let (latency, std) = (client.latency_us(), deviation(client.latency_std_us));
        put(text, format_args!("    Avg latency: {latency} usec (standard deviation {std} usec)\n"));
    }
    for (p, us) in &client.percentiles_us {
        put(text, format_args!("    p{p} latency: {us} usec\n"));
    }
    put(text, format_args!("    {}\n", parts(client, settings)));
}

/// Renders the parts of a request's time. Returns an empty text for decoupled models.
fn parts(client: &ClientFigures, settings: &Settings) -> String {
    if settings.decoupled {
        return String::new();
    }
    let (send, wait, receive) = (client.send_us(), client.wait_us(), client.receive_us());
    let (name, parts) = match (settings.protocol, settings.verbose) {
        (Protocol::Grpc, false) => (
            "gRPC",
            format!("(un)marshal request/response {} usec + response wait {wait} usec", send.saturating_add(receive)),
        ),
        (Protocol::Grpc, true) => {
            ("gRPC", format!("marshal {send} usec + response wait {wait} usec + unmarshal {receive} usec"))
        }
        (Protocol::Http, false) => {
            ("HTTP", format!("send/recv {} usec + response wait {wait} usec", send.saturating_add(receive)))
        }
        (Protocol::Http, true) => {
            ("HTTP", format!("send {send} usec + response wait {wait} usec + receive {receive} usec"))
        }
    };
    format!("Avg {name} time: {} usec ({parts})", client.request_us())
}

/// A model's block, `depth` steps in, and below it those of the models that it is composed of.
fn model(text: &mut String, model: &ModelFigures, server: &ServerFigures, depth: usize) {
    let (counted, indent) = (&model.counted, "  ".repeat(depth));
    if counted.success.count == 0 {
        put(text, format_args!("{indent}  Request count: 0\n"));
        return;
    }
    put(text, format_args!("{indent}  Inference count: {}\n", counted.inference_count));
    put(text, format_args!("{indent}  Execution count: {}\n", counted.execution_count));
    if server.cached {
        put(text, format_args!("{indent}  Cache hit count: {}\n", counted.cache_hit.count));
        put(text, format_args!("{indent}  Cache miss count: {}\n", counted.cache_miss.count));
    }
    put(text, format_args!("{indent}  Successful request count: {}\n", counted.success.count));
    put(text, format_args!("{indent}  Avg request latency: {} usec", model.request_us()));
    let (whole, overhead, queue) = (model.composing.is_empty(), model.overhead_us(server.cached), model.queue_us());
    let steps = format!(
        "compute input {} usec + compute infer {} usec + compute output {} usec",
        model.compute_input_us(),
        model.compute_infer_us(),
        model.compute_output_us()
    );
    let work = match (server.cached, whole) {
        (true, _) => format!("cache hit/miss {} usec", model.cache_or_compute_us()),
        (false, true) => steps.clone(),
        (false, false) => format!("compute {} usec", model.compute_us()),
    };
    // Perf Analyzer shows no parts for an ensemble with its own cache.
    if whole || !server.model.cached {
        put(text, format_args!(" (overhead {overhead} usec + queue {queue} usec + {work})"));
    }
    text.push('\n');
    if server.cached {
        let (hit, miss) = (model.cache_hit_us(), model.cache_miss_us());
        let missed = miss.saturating_add(model.compute_us());
        put(text, format_args!("{indent}{indent}  Average Cache Hit Latency: {hit} usec\n"));
        put(text, format_args!("{indent}{indent}  Average Cache Miss Latency: {missed} usec "));
        if whole {
            put(text, format_args!("(cache lookup/insertion {miss} usec + {steps})"));
        }
        text.push('\n');
    }
    if !whole {
        put(text, format_args!("\n{indent}Composing models: \n"));
        for part in &model.composing {
            let (name, version) = (&part.counted.name, &part.counted.version);
            put(text, format_args!("{indent}{name}, version: {version}\n"));
            self::model(text, part, server, depth + 1);
        }
    }
}

fn gpus(text: &mut String, gpus: &BTreeMap<String, GpuFigures>) {
    if gpus.len() > MOST_GPUS {
        text.push_str("Too many GPUs on system to print out individual Prometheus metrics, ");
        text.push_str("use the CSV output feature to see metrics.\n");
        return;
    }
    let mut block = |title: &str, unit: &str, value: &dyn Fn(&GpuFigures) -> Option<String>| {
        put(text, format_args!("    {title}:\n"));
        for (uuid, gpu) in gpus {
            if let Some(value) = value(gpu) {
                put(text, format_args!("      {uuid} : {value}{unit}\n"));
            }
        }
    };
    block("Avg GPU Utilization", "%", &|gpu| gpu.utilization.map(|share| cpp_default(share * 100.0)));
    block("Avg GPU Power Usage", " watts", &|gpu| gpu.power.map(cpp_default));
    block("Max GPU Memory Usage", " bytes", &|gpu| gpu.memory_used.map(|bytes| bytes.to_string()));
    block("Total GPU Memory", " bytes", &|gpu| gpu.memory_total.map(|bytes| bytes.to_string()));
}

/// Renders all levels in short, one line each. Returns an empty text if there is no level.
pub fn closing(levels: &[LevelReport], settings: &Settings) -> String {
    if levels.is_empty() {
        return String::new();
    }
    let by = settings.percentile.map_or("Average".to_owned(), |p| format!("p{p}"));
    let mut text = format!("Inferences/Second vs. Client {by} Batch Latency\n");
    for level in levels {
        let label = match level.label {
            Label::Concurrency(concurrency) => format!("Concurrency: {concurrency}"),
            Label::Rate(rate) | Label::Custom(rate) => format!("Request Rate: {}", cpp_default(rate)),
        };
        let throughput = cpp_default(level.client.throughput);
        let latency = level.client.stabilizing_us(settings.percentile);
        let latency = latency.map_or_else(|| NOT_AVAILABLE.to_owned(), |us| us.to_string());
        put(&mut text, format_args!("{label}, throughput: {throughput} infer/sec, latency {latency} usec\n"));
    }
    text
}
