//! Figures that a server reports about itself: its own counters over a span of time, and its metrics page.

mod figures;
mod gpu;
pub mod prometheus;

pub use figures::{ModelFigures, RequestParts, ServerFigures, StatisticsError};
pub use gpu::{GpuFigures, GpuFold, gpu_samples};
pub use streamgauge_core::kserve::Watched;
