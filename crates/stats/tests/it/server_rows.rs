//! Rows about what the server does that the client alone would not show: late acknowledgements, bodies that go on, hidden tokens,
//! streams in one go, and prompts from a cache.

use crate::fidelity::{closed_loop, grade, streams};
use crate::support::{config, facts, row, stream, summary, summary_of};
use streamgauge_core::plan::{Acknowledge, TokenCount};
use streamgauge_core::record::{BodyEnd, ConversationTurn, DelayedAcks, RunFacts};
use streamgauge_core::{Nanos, Record, Usage};
use streamgauge_stats::{AccumulatorConfig, Grade, Metric};

#[test]
fn what_late_acknowledgements_change_is_told() {
    let found = DelayedAcks { late: Nanos(41_900_000), at_once: Nanos(20_600_000) };
    let facts = RunFacts { delayed_acks: Some(found), ..facts() };
    let at_once = summary_of(config(), &facts, &closed_loop());
    let told = row(&at_once, "acknowledgements").unwrap();
    assert_eq!(
        told.value,
        "first event 41.9 ms after the head of the answer; 20.6 ms if the head is acknowledged at once"
    );
    assert_eq!((told.number.map(f64::round), told.unit.as_ref(), told.grade), (Some(21.0), "ms", Grade::Degraded));
    let remedy = told.remedy.as_ref().unwrap().to_string();
    assert!(remedy.contains("about 21 ms later than these figures") && remedy.contains("TCP_NODELAY"), "{remedy}");
    let as_usual = AccumulatorConfig { acknowledge: Acknowledge::Delayed, ..config() };
    let delayed = summary_of(as_usual.clone(), &facts, &closed_loop());
    let remedy = row(&delayed, "acknowledgements").unwrap().remedy.as_ref().unwrap().to_string();
    assert!(remedy.contains("leave out --delayed-acks"), "{remedy}");
    // Without such a server the setting is named, and nothing is doubted.
    let facts = RunFacts { delayed_acks: None, ..facts };
    let untouched = summary_of(as_usual, &facts, &closed_loop());
    let told = row(&untouched, "acknowledgements").unwrap();
    assert_eq!((told.value.as_str(), told.grade), ("sent when the kernel chooses (--delayed-acks)", Grade::Good));
    assert!(row(&summary_of(config(), &facts, &closed_loop()), "acknowledgements").is_none());
}

#[test]
fn bodies_that_go_on_after_their_answers_are_told() {
    let told = |late: usize, cut: usize, bodies_abandoned: u64| {
        let mut records = closed_loop();
        records[..late].iter_mut().for_each(|record| record.body_end = Some(BodyEnd::Late));
        records[late..late + cut].iter_mut().for_each(|record| record.body_end = Some(BodyEnd::Cut));
        let summary = summary_of(config(), &RunFacts { bodies_abandoned, ..facts() }, &records);
        row(&summary, "body_ends").map(|row| (row.value.clone(), row.grade))
    };
    assert_eq!(told(0, 0, 0), None);
    let few = "2 bodies continued for over 2 ms, 1 connection closed without the last chunk".to_owned();
    assert_eq!(told(2, 1, 0), Some((few, Grade::Good)));
    let many =
        "4 bodies continued for over 2 ms, 2 connections closed by this client because the body did not end".to_owned();
    assert_eq!(told(4, 0, 2), Some((many, Grade::Degraded)));
}

#[test]
fn hidden_reasoning_is_in_no_time_between_tokens() {
    let hides = |seq: u64| Record {
        usage: Some(Usage { completion_tokens: Some(108), reasoning_tokens: Some(100), ..Usage::default() }),
        requested_output_tokens: None,
        ..stream(seq, seq as i64, 10, 8)
    };
    let records: Vec<Record> = (0..5).map(hides).collect();
    let found = summary(&records);
    let avg = |metric| found.distribution(metric).unwrap().avg;
    assert_eq!(avg(Metric::InterTokenLatency), 10.0);
    assert_eq!(avg(Metric::OutputTokenThroughputPerUser), 100.0);
    assert_eq!(avg(Metric::OutputSequenceLength), 108.0);
    let throughput = found.scalar(Metric::OutputTokenThroughput).unwrap();
    assert!((throughput * found.duration.as_secs_f64() - 540.0).abs() < 1e-6, "{throughput}");
    let hidden = row(&found, "hidden_tokens").unwrap();
    assert_eq!(hidden.value, "92.59 % of 540 output tokens, in 5 of 5 requests");
    assert_eq!(hidden.grade, Grade::Degraded);
    assert!(hidden.remedy.as_ref().unwrap().to_string().contains("output token throughput all of them"), "{hidden:?}");
    // The shown ones came one an event, and the server's count of them is ours.
    assert_eq!(row(&found, "tokens_per_event"), None);
    assert_eq!(row(&found, "token_counts").unwrap().grade, Grade::Good);
    let ours = summary_of(AccumulatorConfig { token_count: TokenCount::Tokenizer, ..config() }, &facts(), &records);
    assert_eq!(row(&ours, "hidden_tokens"), None);
    assert_eq!(ours.distribution(Metric::OutputSequenceLength).unwrap().avg, 8.0);
    assert_eq!(row(&summary(&streams(5)), "hidden_tokens"), None);
}

#[test]
fn a_stream_in_one_go_does_not_make_what_users_got() {
    // Nine streams of 10 ms per token, and one whose ten tokens came within 9 µs.
    let at_once = |records: &mut Vec<Record>| {
        records[9].chunks.iter_mut().zip(0..).for_each(|(chunk, index)| chunk.at = Nanos(100_000_000 + index * 1_000));
    };
    let mut records = streams(10);
    assert_eq!(row(&summary(&records), "throughput_per_user"), None);
    at_once(&mut records);
    let found = summary(&records);
    let rates = found.distribution(Metric::OutputTokenThroughputPerUser).unwrap();
    assert!((rates.avg - 100_090.0).abs() < 1e-6 && rates.percentile(50) == 100.0, "{rates:?}");
    let spoiled = row(&found, "throughput_per_user").unwrap();
    // Ninety tokens after the first ones in 810.009 ms.
    let value = "111.11 tokens/sec/user over all streams; the mean of the per-request rates is 100090.00";
    assert_eq!(
        (spoiled.value.as_str(), spoiled.grade, spoiled.unit.as_ref()),
        (value, Grade::Degraded, "tokens/sec/user")
    );
    assert!((spoiled.number.unwrap() - 90.0 / 0.810_009).abs() < 1e-9);
    assert!(spoiled.remedy.as_ref().unwrap().to_string().contains("median"), "{spoiled:?}");
    let without = AccumulatorConfig { streaming: false, ..config() };
    assert_eq!(row(&summary_of(without, &facts(), &records), "throughput_per_user"), None);
}

#[test]
fn prompts_from_a_cache_are_a_figure_and_a_caveat_with_the_seed() {
    let with = |cached: Option<u64>| {
        move |seq: u64| Record {
            usage: Some(Usage {
                prompt_tokens: Some(40),
                completion_tokens: Some(10),
                cached_tokens: cached,
                ..Usage::default()
            }),
            ..stream(seq, 0, 10, 10)
        }
    };
    let of = |cached| summary(&(0..10).map(with(cached)).collect::<Vec<_>>());
    let warm = of(Some(32));
    assert_eq!(warm.distribution(Metric::CachedPromptTokens).unwrap().avg, 32.0);
    let found = row(&warm, "cached_prompts").unwrap();
    assert_eq!((found.value.as_str(), found.grade), ("80.00 % of 400 prompt tokens", Grade::Degraded));
    let remedy = found.remedy.as_ref().unwrap().to_string();
    assert!(remedy.contains("the same seed sends the same prompts") && remedy.contains("(this one had 0)"), "{remedy}");
    // A chat template is always there.
    assert_eq!(grade(&of(Some(4)), "cached_prompts"), Grade::Good);
    assert_eq!((row(&of(Some(0)), "cached_prompts"), row(&of(None), "cached_prompts")), (None, None));
    assert_eq!(of(None).distribution(Metric::CachedPromptTokens), None);
    assert_eq!(of(Some(0)).distribution(Metric::CachedPromptTokens).unwrap().max, 0.0);
    // More than there is, is all of it.
    assert_eq!(row(&of(Some(99)), "cached_prompts").unwrap().value, "100.00 % of 400 prompt tokens");
    assert_eq!(warm.distribution(Metric::CachedPromptShare).unwrap().avg, 80.0);
    assert!(remedy.contains("--reset-prefix-cache"), "{remedy}");
    // Prompts that go round meet themselves.
    let records: Vec<Record> = (0..10).map(with(Some(32))).collect();
    let few = summary_of(AccumulatorConfig { prompts: 4, ..config() }, &facts(), &records);
    let remedy = row(&few, "cached_prompts").unwrap().remedy.as_ref().unwrap().to_string();
    assert!(remedy.contains("The 4 prompts went to 10 requests: give --num-prompts 10"), "{remedy}");
    // What a conversation has said before is in the cache on purpose.
    let later = |turn: u32| {
        let turn = ConversationTurn { number: 0, turn, turns: 2, history: Default::default(), history_tokens: None };
        let records: Vec<Record> =
            (0..10).map(with(Some(32))).map(|record| Record { conversation: Some(turn), ..record }).collect();
        summary_of(config(), &facts(), &records)
    };
    assert_eq!(grade(&later(0), "cached_prompts"), Grade::Degraded);
    assert_eq!(row(&later(1), "cached_prompts"), None);
    // Prefixes are shared on purpose.
    let records: Vec<Record> = (0..10).map(with(Some(32))).collect();
    let wanted = AccumulatorConfig { shared_prefixes: true, ..config() };
    assert_eq!(grade(&summary_of(wanted, &facts(), &records), "cached_prompts"), Grade::Good);
}
