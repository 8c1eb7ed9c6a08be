//! The file of levels (`-f`), and one for each model that the model is composed of.

use super::{Label, LevelReport, Search, Settings};
use crate::text::numbers::cpp_default;
use std::collections::BTreeMap;
use std::io::{self, Write};
use streamgauge_core::text::{cell, file_name};
use streamgauge_stats::perf_analyzer::network_us;
use streamgauge_stats::server::{GpuFigures, ModelFigures, ServerFigures};

/// Writes the levels in the order of their throughput; `verbose` adds columns (`--verbose-csv`).
///
/// # Errors
/// When `out` cannot be written.
pub fn write(mut out: impl Write, levels: &[LevelReport], settings: &Settings, verbose: bool) -> io::Result<()> {
    let mut levels: Vec<&LevelReport> = levels.iter().collect();
    levels.sort_by(|a, b| a.client.throughput.total_cmp(&b.client.throughput));
    writeln!(out, "{}", titles(&levels, settings, verbose).join(","))?;
    levels.into_iter().try_for_each(|level| writeln!(out, "{}", row(level, settings, verbose).join(",")))
}

fn titles(levels: &[&LevelReport], settings: &Settings, verbose: bool) -> Vec<String> {
    let mut titles = vec![first_title(settings.search), "Inferences/Second"];
    if settings.decoupled {
        titles.push("Response Throughput");
    }
    titles.push("Client Send");
    let first = levels.first();
    if let Some(server) = first.and_then(|level| level.server.as_ref()) {
        titles.extend(SERVER);
        titles.extend(CACHE.iter().filter(|_| server.cached));
    }
    titles.push("Client Recv");
    let mut titles: Vec<String> = titles.into_iter().map(str::to_owned).collect();
    let percentiles = first.into_iter().flat_map(|level| level.client.percentiles_us.keys());
    titles.extend(percentiles.map(|p| format!("p{p} latency")));
    if verbose {
        titles.extend(settings.percentile.is_none().then(|| "Avg latency".to_owned()));
        titles.extend(["request/response", "response wait"].map(str::to_owned));
        if first.is_some_and(|level| level.gpus.is_some()) {
            titles.extend(GPU.map(str::to_owned));
        }
    }
    titles
}

const SERVER: [&str; 5] = [
    "Network+Server Send/Recv",
    "Server Queue",
    "Server Compute Input",
    "Server Compute Infer",
    "Server Compute Output",
];

const CACHE: [&str; 2] = ["Server Cache Hit", "Server Cache Miss"];

const GPU: [&str; 4] = ["Avg GPU Utilization", "Avg GPU Power Usage", "Max GPU Memory Usage", "Total GPU Memory"];

fn first_title(search: Search) -> &'static str {
    match search {
        Search::Concurrency { .. } => "Concurrency",
        Search::Rate { .. } | Search::Custom => "Request Rate",
    }
}

fn first_cell(label: Label) -> String {
    match label {
        Label::Concurrency(concurrency) => concurrency.to_string(),
        Label::Rate(rate) | Label::Custom(rate) => cpp_default(rate),
    }
}

fn row(level: &LevelReport, settings: &Settings, verbose: bool) -> Vec<String> {
    let client = &level.client;
    let mut cells = vec![first_cell(level.label), cpp_default(client.throughput)];
    cells.extend(settings.decoupled.then(|| cpp_default(client.response_throughput)));
    cells.push(client.send_us().to_string());
    if let Some(server) = &level.server {
        cells.push(network_us(client, server).to_string());
        cells.extend(spent(&server.model, server.cached));
    }
    cells.push(client.receive_us().to_string());
    cells.extend(client.percentiles_us.values().map(u64::to_string));
    if verbose {
        cells.extend(settings.percentile.is_none().then(|| client.latency_us().to_string()));
        cells.push(client.send_us().saturating_add(client.receive_us()).to_string());
        cells.push(client.wait_us().to_string());
        if let Some(gpus) = &level.gpus {
            cells.extend(self::gpus(gpus));
        }
    }
    cells
}

/// A model's own means, those of an ensemble too.
fn spent(model: &ModelFigures, cached: bool) -> Vec<String> {
    let mut spent =
        vec![model.own_queue_us(), model.compute_input_us(), model.compute_infer_us(), model.compute_output_us()];
    if cached {
        spent.extend([model.own_cache_hit_us(), model.own_cache_miss_us()]);
    }
    spent.iter().map(u64::to_string).collect()
}

fn gpus(gpus: &BTreeMap<String, GpuFigures>) -> [String; 4] {
    let list = |value: &dyn Fn(&GpuFigures) -> Option<String>| {
        let named = gpus.iter().filter_map(|(uuid, gpu)| Some(format!("{}:{};", bare_cell(uuid), value(gpu)?)));
        named.collect::<String>()
    };
    [
        list(&|gpu| gpu.utilization.map(cpp_default)),
        list(&|gpu| gpu.power.map(cpp_default)),
        list(&|gpu| gpu.memory_used.map(|bytes| bytes.to_string())),
        list(&|gpu| gpu.memory_total.map(|bytes| bytes.to_string())),
    ]
}

/// A server's text in a file without quotes: what would end the cell, or the entry in it, is `_`.
fn bare_cell(text: &str) -> String {
    cell(text).replace([',', ';', ':', '"'], "_")
}

/// The files of composing models next to the file `name`: each with its name, `{model}_v{version}.{name}`, and its text. Levels are in the
/// order of the ensemble's throughput.
pub fn composing(name: &str, levels: &[LevelReport], settings: &Settings) -> Vec<(String, String)> {
    let mut levels: Vec<(&LevelReport, &ServerFigures)> =
        levels.iter().filter_map(|level| Some((level, level.server.as_ref()?))).collect();
    levels.sort_by(|(a, _), (b, _)| a.client.throughput.total_cmp(&b.client.throughput));
    let Some((_, server)) = levels.first() else { return Vec::new() };
    let of = |part: &ModelFigures| {
        let mut titles = vec![first_title(settings.search), "Inferences/Second", "Client Send"];
        titles.extend(SERVER);
        titles.extend(CACHE.iter().filter(|_| server.cached));
        titles.push("Client Recv");
        let mut text = titles.join(",") + "\n";
        for (level, server) in &levels {
            // A model may be missing from a level where a cache answered for it.
            let same = |one: &&ModelFigures| one.is_same_model(part);
            let Some(part) = server.model.composing.iter().find(same) else { continue };
            let throughput = part.share_of(&server.model) * level.client.throughput;
            let mut cells = vec![first_cell(level.label), cpp_default(throughput), "0".into()];
            cells.push((part.rest_ns() / 1000).to_string());
            cells.extend(spent(part, server.cached));
            cells.push("0".into());
            text.push_str(&cells.join(","));
            text.push('\n');
        }
        (file_name(&format!("{}_v{}.{name}", part.counted.name, part.counted.version)), text)
    };
    server.model.composing.iter().map(of).collect()
}
