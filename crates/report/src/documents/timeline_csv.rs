//! `timeline.csv`: the figures of a run in each interval of its time, one row per interval.
//!
//! Times are counted from the start of the measured phase, as in the JSON summary. A cell is empty if no value falls into its interval.

use super::{DocumentKind, Results};
use csv::Writer;
use std::io::{self, Write};
use streamgauge_core::Nanos;
use streamgauge_stats::MeanAndMax;

pub(super) static DOCUMENT: DocumentKind = DocumentKind { file_name: |_| "timeline.csv".to_owned(), write };

const HEAD: [&str; 16] = [
    "from_s",
    "to_s",
    "sent",
    "ok",
    "failed",
    "output_tokens",
    "concurrency",
    "request_latency_count",
    "request_latency_mean_ms",
    "request_latency_max_ms",
    "time_to_first_token_count",
    "time_to_first_token_mean_ms",
    "time_to_first_token_max_ms",
    "send_lateness_count",
    "send_lateness_mean_ms",
    "send_lateness_max_ms",
];

fn write(out: &mut dyn Write, results: &Results<'_>) -> io::Result<()> {
    let mut rows = Writer::from_writer(out);
    rows.write_record(HEAD)?;
    let timeline = &results.summary.timeline;
    for interval in &timeline.intervals {
        let from = interval.from - results.facts.started;
        let mut row = vec![seconds(from), seconds(from + timeline.interval)];
        row.extend([interval.sent, interval.ok, interval.failed, interval.tokens].map(|count| count.to_string()));
        row.push(interval.concurrency.to_string());
        row.extend(cells(interval.request_latency));
        row.extend(cells(interval.time_to_first_token));
        row.extend(cells(interval.send_lateness));
        rows.write_record(row)?;
    }
    rows.flush()
}

/// The seconds of a time with all its nanoseconds, so that neighbouring intervals meet exactly.
fn seconds(Nanos(nanos): Nanos) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

fn cells(values: Option<MeanAndMax>) -> [String; 3] {
    match values {
        Some(MeanAndMax { count, mean, max }) => [count.to_string(), mean.to_string(), max.to_string()],
        None => ["0".to_owned(), String::new(), String::new()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{empty_summary, facts, plan};
    use streamgauge_core::plan::EndpointKind;
    use streamgauge_stats::{Timeline, TimelineInterval};

    #[test]
    fn each_interval_is_a_row_from_the_start_of_the_measured_phase() {
        let mut summary = empty_summary();
        summary.timeline = Timeline {
            interval: Nanos(67_108_864),
            intervals: vec![
                TimelineInterval { from: Nanos(0), sent: 3, concurrency: 1.5, ..TimelineInterval::default() },
                TimelineInterval {
                    from: Nanos(67_108_864),
                    ok: 2,
                    failed: 1,
                    tokens: 12,
                    request_latency: Some(MeanAndMax { count: 2, mean: 50.25, max: 60.0 }),
                    time_to_first_token: Some(MeanAndMax { count: 1, mean: 20.0, max: 20.0 }),
                    ..TimelineInterval::default()
                },
            ],
        };
        let (plan, facts) = (plan(EndpointKind::Chat), facts());
        let mut text = Vec::new();
        write(&mut text, &Results { plan: &plan, facts: &facts, summary: &summary }).unwrap();
        // The run's clock was at 5 ns when the measured phase began.
        let expected = format!(
            "{}\n-0.000000005,0.067108859,3,0,0,0,1.5,0,,,0,,,0,,\n\
             0.067108859,0.134217723,0,2,1,12,0,2,50.25,60,1,20,20,0,,\n",
            HEAD.join(",")
        );
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
