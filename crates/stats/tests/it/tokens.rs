//! Whose count of tokens is used.

use crate::support::{config, facts, stream, summary, summary_of};
use streamgauge_core::plan::TokenCount;
use streamgauge_core::{Record, Usage};
use streamgauge_stats::{AccumulatorConfig, Metric, TokenSource, TokenSources, output_tokens};

fn counted(usage: Option<u64>, text: Option<u32>) -> Record {
    let usage = usage.map(|count| Usage { completion_tokens: Some(count), ..Usage::default() });
    Record { usage, text_tokens: text, ..stream(0, 0, 10, 5) }
}

#[test]
fn auto_takes_the_best_count_that_fits() {
    let auto = |usage, text| output_tokens(&counted(usage, text), TokenCount::Auto);
    assert_eq!(auto(Some(7), Some(6)), Some((7, TokenSource::Usage)));
    assert_eq!(auto(Some(0), Some(6)), Some((6, TokenSource::Tokenizer)));
    assert_eq!(auto(None, Some(6)), Some((6, TokenSource::Tokenizer)));
    assert_eq!(auto(Some(0), None), Some((5, TokenSource::Chunks)));
    let silent = Record { chunks: Vec::new(), ..counted(Some(0), Some(6)) };
    assert_eq!(output_tokens(&silent, TokenCount::Auto), Some((0, TokenSource::Usage)));
}

#[test]
fn a_named_count_is_that_count_or_none() {
    let record = counted(Some(7), Some(6));
    assert_eq!(output_tokens(&record, TokenCount::Usage), Some((7, TokenSource::Usage)));
    assert_eq!(output_tokens(&record, TokenCount::Tokenizer), Some((6, TokenSource::Tokenizer)));
    assert_eq!(output_tokens(&record, TokenCount::Chunks), Some((5, TokenSource::Chunks)));
    assert_eq!(output_tokens(&counted(None, Some(6)), TokenCount::Usage), None);
    assert_eq!(output_tokens(&counted(Some(7), None), TokenCount::Tokenizer), None);
}

#[test]
fn a_request_without_the_count_is_in_no_figure_of_tokens() {
    let config = AccumulatorConfig { token_count: TokenCount::Usage, ..config() };
    let summary = summary_of(config, &facts(), &[counted(Some(5), Some(5)), counted(None, Some(5))]);
    assert_eq!(summary.tokens, TokenSources { by_usage: 1, missing: 1, compared: 1, ..TokenSources::default() });
    assert_eq!(summary.distribution(Metric::OutputSequenceLength).unwrap().count, 1);
    assert_eq!(summary.distribution(Metric::InterTokenLatency).unwrap().count, 1);
    assert_eq!(summary.distribution(Metric::RequestLatency).unwrap().count, 2);
    assert_eq!(summary.scalar(Metric::OutputTokenThroughput), Some(100.0));
}

#[test]
fn counts_disagree_from_beyond_two_percent() {
    let pairs = [(100, 98), (100, 97), (0, 3), (8, 8), (8, 9)];
    let records: Vec<Record> = pairs.iter().map(|&(usage, text)| counted(Some(usage), Some(text))).collect();
    let tokens = summary(&records).tokens;
    // A count of zero beside output is none.
    assert_eq!((tokens.disagree, tokens.compared), (2, 4));
    assert_eq!((tokens.by_usage, tokens.by_tokenizer), (4, 1));
}

#[test]
fn a_sample_of_the_counts_is_stated() {
    let mut records: Vec<Record> = (0..15).map(|_| counted(Some(5), None)).collect();
    records.push(counted(Some(5), Some(5)));
    // Without the server's count, or with far fewer events than it says, there is nothing that could be left out.
    records.extend([counted(None, None), counted(Some(50), None)]);
    let summary = summary(&records);
    assert_eq!((summary.tokens.compared, summary.tokens.not_compared), (1, 15));
    let row = summary.fidelity.rows.iter().find(|row| row.key == "token_counts").unwrap();
    assert_eq!(
        row.value,
        "0 of 1 request differ by more than 2.00 %; a sample, since counting fell behind: 15 were not compared"
    );
    let config = AccumulatorConfig { token_count: TokenCount::Usage, ..config() };
    assert_eq!(summary_of(config, &facts(), &records).tokens.not_compared, 0, "it was not to be compared");
}

#[test]
fn tpot_is_that_of_the_serving_benchmarks() {
    let tpot = |config: AccumulatorConfig, record: Record| {
        let summary = summary_of(config, &facts(), &[record]);
        summary.distribution(Metric::TimePerOutputToken).map(|tpot| tpot.avg)
    };
    // The first of five events 10 ms after sending, the last 40 ms after that.
    assert_eq!(tpot(config(), counted(Some(9), None)), Some(5.0));
    assert_eq!(tpot(config(), counted(Some(2), None)), Some(40.0));
    // A request of one token has none.
    assert_eq!(tpot(config(), counted(Some(1), None)), None);
    assert_eq!(tpot(AccumulatorConfig { streaming: false, ..config() }, counted(Some(9), None)), None);
    // Several tokens in one event took no time after the first, by the definition of those tools.
    let one_event = Record { usage: counted(Some(9), None).usage, ..stream(0, 0, 10, 1) };
    assert_eq!(tpot(config(), one_event), Some(0.0));
    // A run that TensorRT-LLM reported as 1.594 ms: 1643.44 ms, TTFT 12.83 ms, 1024 tokens.
    let mut long = stream(0, 0, 10, 2);
    long.chunks[0].at = streamgauge_core::Nanos(12_830_000);
    long.chunks[1].at = streamgauge_core::Nanos(1_643_440_000);
    let long = Record { usage: counted(Some(1_024), None).usage, ..long };
    assert!((tpot(config(), long).unwrap() - 1.594).abs() < 5e-4);
}
