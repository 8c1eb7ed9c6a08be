//! The figures of the server's GPUs, from its metrics page.

use super::prometheus::Sample;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use streamgauge_core::Nanos;
use streamgauge_core::record::{GpuSample, ServerFacts};

/// The figures of a GPU over a level of load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuFigures {
    /// Mean utilization, from 0 to 1.
    pub utilization: Option<f64>,
    /// Mean power in watts.
    pub power: Option<f64>,
    /// Maximum memory in use, in bytes.
    pub memory_used: Option<u64>,
    /// Total memory, in bytes.
    pub memory_total: Option<u64>,
}

/// Returns the GPU samples of a metrics page that was read at `at`.
pub fn gpu_samples(page: &[Sample<'_>], at: Nanos) -> Vec<GpuSample> {
    let mut gpus = BTreeMap::<&str, GpuSample>::new();
    for sample in page.iter().filter(|sample| sample.name.starts_with("nv_gpu_") && sample.value.is_finite()) {
        let Some(uuid) = sample.label("gpu_uuid") else { continue };
        let gpu = gpus.entry(uuid).or_insert_with(|| GpuSample { at, uuid: uuid.to_owned(), ..GpuSample::default() });
        match sample.name {
            "nv_gpu_utilization" => gpu.utilization = Some(sample.value),
            "nv_gpu_power_usage" => gpu.power = Some(sample.value),
            "nv_gpu_memory_used_bytes" => gpu.memory_used = Some(sample.value),
            "nv_gpu_memory_total_bytes" => gpu.memory_total = Some(sample.value),
            _ => {}
        }
    }
    gpus.into_values().collect()
}

/// Collects samples of the server's GPUs.
#[derive(Clone, Debug, Default)]
pub struct GpuFold {
    gpus: BTreeMap<String, Gpu>,
}

#[derive(Clone, Debug, Default)]
struct Gpu {
    utilization: Mean,
    power: Mean,
    used: Option<u64>,
    total: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    count: f64,
    sum: f64,
}

impl GpuFold {
    /// The figures of a server's GPUs from `from` to before `to`, by UUID.
    pub fn over(server: &ServerFacts, from: Nanos, to: Nanos) -> BTreeMap<String, GpuFigures> {
        let mut fold = GpuFold::default();
        server.gpus.iter().filter(|sample| (from..to).contains(&sample.at)).for_each(|sample| fold.add(sample));
        fold.close()
    }

    /// Adds one sample of one GPU.
    pub fn add(&mut self, sample: &GpuSample) {
        let gpu = self.gpus.entry(sample.uuid.clone()).or_default();
        gpu.utilization.add(sample.utilization);
        gpu.power.add(sample.power);
        gpu.used = gpu.used.max(sample.memory_used.map(|bytes| bytes as u64));
        gpu.total = gpu.total.or(sample.memory_total.map(|bytes| bytes as u64));
    }

    /// The figures by the GPU's UUID.
    pub fn close(self) -> BTreeMap<String, GpuFigures> {
        let figures = |gpu: Gpu| GpuFigures {
            utilization: gpu.utilization.close(),
            power: gpu.power.close(),
            memory_used: gpu.used,
            memory_total: gpu.total,
        };
        self.gpus.into_iter().map(|(uuid, gpu)| (uuid, figures(gpu))).collect()
    }
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        self.count += f64::from(u8::from(value.is_some()));
        self.sum += value.unwrap_or_default();
    }

    fn close(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}
