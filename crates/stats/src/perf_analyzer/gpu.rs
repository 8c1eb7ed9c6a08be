//! What the server's metrics say of its GPUs.

use crate::prometheus::Sample;
use std::collections::BTreeMap;

/// A GPU over a level of load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuFigures {
    /// Mean utilization, from 0 to 1.
    pub utilization: Option<f64>,
    /// Mean power in watts.
    pub power: Option<f64>,
    /// Most memory in use, in bytes.
    pub memory_used: Option<u64>,
    /// All of its memory, in bytes.
    pub memory_total: Option<u64>,
}

/// Collects looks at the server's metrics.
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
    /// Takes one look in.
    pub fn add(&mut self, samples: &[Sample<'_>]) {
        for sample in samples {
            let Some(uuid) = sample.label("gpu_uuid") else { continue };
            let value = sample.value;
            if !sample.name.starts_with("nv_gpu_") || !value.is_finite() {
                continue;
            }
            let gpu = self.gpus.entry(uuid.to_owned()).or_default();
            match sample.name {
                "nv_gpu_utilization" => gpu.utilization.add(value),
                "nv_gpu_power_usage" => gpu.power.add(value),
                "nv_gpu_memory_used_bytes" => gpu.used = gpu.used.max(Some(value as u64)),
                "nv_gpu_memory_total_bytes" => gpu.total = gpu.total.or(Some(value as u64)),
                _ => {}
            }
        }
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
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        self.sum += value;
    }

    fn close(self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}
