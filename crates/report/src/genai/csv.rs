//! `profile_export_genai_perf.csv`: one block of distributions, a blank line, one block of single numbers. Ours follow
//! theirs in each block.

use crate::text::label;
use crate::text::numbers::grouped;
use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};
use std::io::{self, Write};
use streamgauge_stats::{Distribution, Metric, Summary, Use, Wait};

/// Writes the summary of a run. `streaming` says whether answers came as a stream: without one the first token is the
/// whole answer, and GenAI-Perf leaves its row out.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(mut out: impl Write, streaming: bool, summary: &Summary) -> io::Result<()> {
    let mut block = writer(&mut out);
    let head: Vec<String> =
        ["Metric", "avg", "min", "max"].map(String::from).into_iter().chain(percentile_names()).collect();
    block.write_record(head)?;
    let mut theirs = Metric::of_genai_perf();
    // This file has them in the order of reports, and not in that of the JSON file.
    theirs.sort();
    for &metric in theirs.iter().chain(&Metric::beyond_genai_perf()) {
        let first = metric.has_use(Use::WithFailures(Wait::FirstEvent));
        if let Some(d) = summary.distribution(metric).filter(|_| streaming || !first) {
            block.write_record(distribution_row(metric, d))?;
        }
    }
    block.flush()?;
    drop(block);
    out.write_all(b"\r\n")?;
    let mut block = writer(&mut out);
    block.write_record(["Metric", "Value"])?;
    for metric in theirs {
        if let Some(value) = summary.scalar(metric) {
            block.write_record([label(metric), grouped(value)])?;
        }
    }
    let counts = &summary.counts;
    for (name, count, always) in [
        ("Failed Requests (count)", counts.failed, true),
        ("Cut Off Requests (count)", counts.cut_off, true),
        ("Cancelled Requests (count)", counts.cancelled, false),
        ("Retried Requests (count)", counts.retried, true),
        ("Requests Outside Of Windows (count)", counts.outside, false),
        ("Warmup Requests (count)", counts.warmup, true),
    ] {
        if always || count > 0 {
            block.write_record([name, &grouped(count as f64)])?;
        }
    }
    block.write_record(["Fidelity", &summary.fidelity.verdict.to_string()])?;
    block.flush()?;
    drop(block);
    out.flush()
}

/// Percentiles in that tool's order of columns.
const COLUMNS: [u8; 9] = [99, 95, 90, 75, 50, 25, 10, 5, 1];

fn percentile_names() -> impl Iterator<Item = String> {
    COLUMNS.iter().map(|p| format!("p{p}"))
}

fn distribution_row(metric: Metric, d: &Distribution) -> Vec<String> {
    let mut row = vec![label(metric), grouped(d.avg), grouped(d.min), grouped(d.max)];
    row.extend(COLUMNS.iter().map(|&p| grouped(d.percentile(p))));
    row
}

/// Python's `csv` module: quotes where needed, CR LF at every line's end.
fn writer<W: Write>(out: W) -> Writer<W> {
    WriterBuilder::new().terminator(Terminator::CRLF).quote_style(QuoteStyle::Necessary).flexible(true).from_writer(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{add_ours, golden_runs, golden_summary};

    fn written(streaming: bool, summary: &Summary) -> String {
        let mut out = Vec::new();
        write(&mut out, streaming, summary).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn real_files_come_back_byte_for_byte_and_ours_follows_in_each_block() {
        let files = [
            include_str!("../../tests/golden/chat/profile_export_genai_perf.csv"),
            include_str!("../../tests/golden/completions/profile_export_genai_perf.csv"),
            include_str!("../../tests/golden/trtllm/profile_export_genai_perf.csv"),
            include_str!("../../tests/golden/vllm/profile_export_genai_perf.csv"),
        ];
        for ((plan, json), golden) in golden_runs().into_iter().zip(files) {
            let mut summary = golden_summary(json);
            add_ours(&mut summary);
            let text = written(plan.endpoint.streaming, &summary);
            let (theirs, their_numbers) = golden.split_once("\r\n\r\n").unwrap();
            let (rows, numbers) = text.split_once("\r\n\r\n").unwrap();
            let ours = rows.strip_prefix(theirs).unwrap();
            assert!(ours.starts_with("\r\nInter Chunk Latency (ms),4.99,"), "{ours}");
            assert_eq!(ours.lines().count(), 5);
            let expected = "Failed Requests (count),0.00\r\nCut Off Requests (count),0.00\r\n\
                            Retried Requests (count),0.00\r\nWarmup Requests (count),0.00\r\nFidelity,degraded\r\n";
            assert_eq!(numbers.strip_prefix(their_numbers).unwrap(), expected);
        }
    }

    #[test]
    fn what_an_ordinary_run_has_none_of_stands_there_when_there_was_some() {
        let mut summary = golden_summary(golden_runs()[0].1);
        (summary.counts.cancelled, summary.counts.outside) = (3, 1_200);
        let text = written(true, &summary);
        assert!(text.contains("\r\nCancelled Requests (count),3.00\r\nRetried Requests"), "{text}");
        assert!(text.contains("\r\nRequests Outside Of Windows (count),\"1,200.00\"\r\nWarmup"), "{text}");
    }

    #[test]
    fn thousands_are_quoted() {
        let mut summary = golden_summary(golden_runs()[0].1);
        summary.scalars = vec![(Metric::OutputTokenThroughput, 12_345.678)];
        summary.distributions.retain(|(metric, _)| *metric == Metric::RequestLatency);
        summary.distributions[0].1.max = 1_000.0;
        let text = written(true, &summary);
        assert!(text.contains("Request Latency (ms),65.45,65.34,\"1,000.00\",65.59,"), "{text}");
        assert!(text.contains("\r\nOutput Token Throughput (tokens/sec),\"12,345.68\"\r\n"));
    }
}
