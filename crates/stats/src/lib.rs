//! What records mean: the definitions of the metrics, the statistics over them, and how far they can be trusted.
//!
//! A run's records go one by one into an [`Accumulator`]; closing it gives a [`Summary`], which is all that a report
//! shows. The same records in any order, during the run or read back from a file later, give the same summary (but for
//! the last bits of means where there are too many values to keep, and which of very many kinds of failures are told apart).
//! Nothing here does input or output, waits, or reads a clock.

pub mod across;
mod answer;
mod body_ends;
mod cached;
pub mod calibration;
pub mod confidence;
mod dependence;
pub mod distribution;
mod endings;
mod failures;
pub mod fidelity;
pub mod goodput;
mod hidden;
pub mod interval;
mod late_tail;
pub mod metric;
mod opening;
mod paces;
pub mod perf_analyzer;
pub mod prometheus;
pub mod sampler;
pub mod scope;
mod sharing;
mod slot_times;
pub mod spread;
pub mod steady;
pub mod summary;
pub mod thresholds;
mod throughput;
pub mod tokens;
pub mod truth;
mod unreadable;
mod widened;
pub mod windows;
mod with_failures;

pub use across::{Across, Figure, FigureAcross, Statistic};
pub use confidence::{Confidence, ConfidenceError, Estimate};
pub use distribution::{Distribution, PERCENTILES};
pub use failures::FailureGroup;
pub use fidelity::{Fidelity, FidelityRow, Grade};
pub use goodput::{Goodput, GoodputError};
pub use interval::{Interval, Intervals, Needed};
pub use metric::Metric;
pub use sampler::Sampler;
pub use scope::{Scope, Span};
pub use spread::{Spread, spread};
pub use steady::Slots;
pub use summary::{Accumulator, AccumulatorConfig, Counts, Summary, TargetCounts};
pub use tokens::{TokenSource, TokenSources, output_tokens};
pub use windows::{Lenience, Pass, Windows};
pub use with_failures::WithFailures;
