//! Computes the results of runs: the metrics, the statistics over them, and how far they can be trusted.
//!
//! A run's records are added one by one to an [`Accumulator`]; closing it gives a [`Summary`], which contains all that a report
//! shows. The same records in any order, during the run or read back from a file, give the same summary (except for
//! the last bits of means if there are too many values to keep, and for the selection among very many kinds of failures).
//! Nothing here does input or output, waits, or reads a clock.

mod accumulator;
mod answer;
mod awaited;
pub mod calibration;
pub mod confidence;
mod config;
pub mod conversations;
mod counts;
pub mod distribution;
mod failures;
pub mod fidelity;
pub mod goodput;
pub mod intervals;
pub mod metrics;
pub mod perf_analyzer;
mod repeats;
pub mod scope;
pub mod series;
pub mod server;
mod summary;
pub mod thresholds;
mod throughput;
mod time_bins;
pub mod timeline;
pub mod windows;

pub use accumulator::{Accumulator, MergeError};
pub use answer::token_source::TokenSource;
pub use answer::tokens::{TokenSources, is_counted_without_text, output_tokens};
pub use awaited::ConfidenceError;
pub use confidence::Confidence;
pub use config::AccumulatorConfig;
pub use conversations::{ConversationFigures, TurnFigures};
pub use counts::{Counts, TargetCounts};
pub use distribution::{Distribution, PERCENTILES, Sampler};
pub use failures::{FailureGroup, WithFailures};
pub use fidelity::{Fidelity, FidelityRow, Grade};
pub use goodput::{Goodput, GoodputError};
pub use intervals::{Estimate, Interval, Intervals, Needed};
pub use metrics::{Better, Figure, Metric, Need, Statistic, Use, Wait, main_figures};
pub use repeats::Repeats;
pub use scope::{Scope, Slots, Span};
pub use series::across::{Across, FigureAcross};
pub use series::spread::{Spread, spread};
pub use summary::Summary;
pub use timeline::{MeanAndMax, Timeline, TimelineInterval};
pub use windows::{Lenience, Pass, Windows};
