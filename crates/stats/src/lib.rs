//! What records mean: the definitions of the metrics, the statistics over them, and how far they can be trusted.
//!
//! A run's records go one by one into an [`Accumulator`]; closing it gives a [`Summary`], which is all that a report
//! shows. The same records in any order, during the run or read back from a file later, give the same summary (but for
//! the last bits of means where there are too many values to keep).
//! Nothing here does input or output, waits, or reads a clock.

mod answer;
pub mod distribution;
pub mod fidelity;
pub mod goodput;
pub mod interval;
mod late_tail;
pub mod metric;
mod sharing;
pub mod summary;
pub mod thresholds;
mod throughput;
pub mod tokens;
mod with_failures;

pub use distribution::{Distribution, PERCENTILES, Sampler};
pub use fidelity::{Fidelity, FidelityRow, Grade};
pub use goodput::{Goodput, GoodputError};
pub use interval::{Interval, Intervals};
pub use metric::Metric;
pub use summary::{Accumulator, AccumulatorConfig, Counts, FailureGroup, Summary};
pub use tokens::{TokenSource, TokenSources, output_tokens};
pub use with_failures::WithFailures;
