//! What each row is judged by, at and around its limits.

use crate::support::{config, facts, failure, row, stream, summary, summary_of};
use streamgauge_core::plan::{Stamps, TokenCount};
use streamgauge_core::record::{ConversationFacts, RunFacts, ThreadFacts, Unreadable, Waited};
use streamgauge_core::{Chunk, EarlyEnd, FailureClass, Nanos, Outcome, Record, Stage};
use streamgauge_stats::{AccumulatorConfig, Grade, Summary};

pub fn streams(count: u64) -> Vec<Record> {
    (0..count).map(|seq| stream(seq, 0, 10, 10)).collect()
}

pub fn grade(summary: &Summary, key: &str) -> Grade {
    row(summary, key).unwrap().grade
}

#[test]
fn an_ordinary_run_is_good() {
    let summary = summary(&streams(300));
    assert_eq!(summary.fidelity.verdict, Grade::Good);
    let keys: Vec<&str> = summary.fidelity.rows.iter().map(|row| row.key.as_ref()).collect();
    assert_eq!(
        keys,
        ["clock", "shared_reads", "client_lag", "load_thread_cpu", "failed_requests", "token_counts", "samples"]
    );
    assert!(summary.fidelity.rows.iter().all(|row| row.remedy.is_none()));
    assert_eq!(
        row(&summary, "client_lag").unwrap().value,
        "p50 0.020 ms, p99 0.020 ms, max 0.020 ms (not in the figures)"
    );
    assert_eq!(row(&summary, "samples").unwrap().value, "300, enough for every percentile");
}

/// A closed loop with all that rows are judged from, each well within its limits.
pub fn closed_loop() -> Vec<Record> {
    let record = |record| Record { turnaround: Some(Nanos(20_000)), requested_output_tokens: Some(10), ..record };
    streams(300).into_iter().map(record).collect()
}

/// The same of an open loop.
fn open_loop() -> Vec<Record> {
    let due = |record: Record| Record { due: record.sent.map(|sent| sent - Nanos(100_000)), ..record };
    closed_loop().into_iter().map(due).collect()
}

fn doubts(summary: &Summary) -> Vec<&str> {
    summary.fidelity.rows.iter().filter(|row| row.grade > Grade::Good).map(|row| row.key.as_ref()).collect()
}

#[test]
fn each_doubt_arises_alone_and_none_when_all_is_well() {
    type Change = fn(&mut Vec<Record>, &mut RunFacts);
    let cases: &[(&str, Change)] = &[
        ("successful_requests", |records, _| records.clear()),
        ("ended_early", |_, facts| facts.interrupted = true),
        ("clock", |_, facts| facts.kernel_stamps = false),
        ("backward_stamps", |records, _| {
            records[..9].iter_mut().for_each(|record| record.chunks[3].at = Nanos::from_millis(29));
        }),
        ("shared_reads", |records, _| records[..60].iter_mut().for_each(share_late_reads)),
        ("late_first_tokens", |records, _| records[..9].iter_mut().for_each(|record| share_late_read(record, 1))),
        ("late_reads_at_p99", |records, _| {
            records.iter_mut().step_by(10).enumerate().for_each(|(index, record)| stall(record, 20 + index as i64));
            records[1..4].iter_mut().for_each(|record| share_late_read(record, 4));
        }),
        ("events_together", |records, _| records[..80].iter_mut().for_each(bundle)),
        ("unreadable", |records, _| records[..9].iter_mut().for_each(|record| record.unreadable.output = 1)),
        ("turnaround", |records, _| {
            records.iter_mut().for_each(|record| record.turnaround = Some(Nanos::from_millis(2)));
        }),
        ("send_lateness", |records, _| {
            *records = open_loop();
            records[..9].iter_mut().for_each(|record| record.due = Some(Nanos::from_millis(-2)));
        }),
        ("prompt_waits", |_, facts| {
            let (longest, total) = (Nanos::from_millis(2), Nanos::from_millis(9));
            facts.prompt_waits = Some(Waited { count: 9, longest, total });
        }),
        ("follow_ups", |_, facts| {
            let making = Waited { count: 300, longest: Nanos::from_millis(3), total: Nanos::from_millis(60) };
            facts.conversations =
                Some(ConversationFacts { begun: 100, finished: 100, making, made_late: 9, ..Default::default() });
        }),
        ("failed_conversations", |_, facts| {
            let (failed, unsent_turns) = (9, 20);
            facts.conversations =
                Some(ConversationFacts { begun: 100, finished: 91, failed, unsent_turns, ..Default::default() });
        }),
        ("load_thread_cpu", |_, facts| facts.threads[0].cpu = Nanos(90)),
        ("failed_requests", |records, _| {
            records.extend((0..9).map(|seq| failure(300 + seq, 1, Stage::Body, FailureClass::Reset, "reset")));
        }),
        ("cut_off_requests", |records, _| {
            records[..9].iter_mut().for_each(|record| record.outcome = Outcome::CutOff);
        }),
        ("connections", |records, _| records[..9].iter_mut().for_each(|record| record.retries = 1)),
        ("output_length", |records, _| records.iter_mut().for_each(|record| record.requested_output_tokens = Some(11))),
        ("token_counts", |records, _| records[..30].iter_mut().for_each(|record| record.text_tokens = Some(11))),
        ("tokens_per_event", |records, _| {
            records.iter_mut().for_each(|record| record.chunks = record.chunks.iter().step_by(2).copied().collect());
        }),
        ("uncounted_requests", |records, _| {
            records[..9].iter_mut().for_each(|record| (record.usage, record.text_tokens) = (None, None));
        }),
        ("", |_, _| {}),
    ];
    for (key, change) in cases.iter().copied() {
        let (mut records, mut facts) = (closed_loop(), facts());
        change(&mut records, &mut facts);
        let summary = summary_of(config(), &facts, &records);
        let expected: &[&str] = match key {
            "" => &[],
            // So many late reads are in the p99 too.
            "shared_reads" | "late_first_tokens" => &[key, "late_reads_at_p99"],
            _ => &[key],
        };
        assert_eq!(doubts(&summary), expected);
        for row in &summary.fidelity.rows {
            assert_eq!(row.remedy.is_some(), row.grade > Grade::Good, "{row:?}");
        }
    }
    let known: Vec<&str> = cases.iter().map(|(key, _)| *key).chain(["client_lag", "samples", ""]).collect();
    for summary in [summary(&closed_loop()), summary(&open_loop())] {
        assert_eq!(doubts(&summary), [""; 0]);
        assert!(summary.fidelity.rows.iter().all(|row| known.contains(&row.key.as_ref())));
    }
}

/// Every second event but the first shared a read, for half a gap, with the one before it.
fn share_late_reads(record: &mut Record) {
    (2..10).step_by(2).for_each(|index| share_late_read(record, index));
}

/// This event shared a read, for half a gap, with the one before it.
fn share_late_read(record: &mut Record, index: usize) {
    record.chunks[index - 1].at = record.chunks[index].at;
    record.chunks[index] = Chunk { shared: true, lag: Some(Nanos::from_millis(5)), ..record.chunks[index] };
}

/// Nothing came for so long after the fifth event.
fn stall(record: &mut Record, ms: i64) {
    record.chunks[5..].iter_mut().for_each(|chunk| chunk.at += Nanos::from_millis(ms - 10));
}

/// Five events at a time, which the client read at once.
fn bundle(record: &mut Record) {
    for index in 0..10 {
        let at = record.chunks[index / 5 * 5 + 4].at;
        record.chunks[index] = Chunk { at, shared: index % 5 > 0, ..record.chunks[index] };
    }
}

/// The grades of a row as more and more of a thousand requests are changed.
fn grades<const N: usize>(key: &str, counts: [usize; N], change: fn(&mut Record)) -> [Grade; N] {
    counts.map(|count| {
        let mut records = streams(1_000);
        records[..count].iter_mut().for_each(change);
        grade(&summary(&records), key)
    })
}

#[test]
fn the_limits_of_shares_hold_on_both_sides() {
    let three = [Grade::Good, Grade::Degraded, Grade::Degraded, Grade::Invalid];
    let two = [Grade::Good, Grade::Degraded, Grade::Degraded];
    let of = grades::<4>;
    assert_eq!(of("backward_stamps", [10, 11, 100, 101], |it| it.sent = Some(Nanos::from_millis(11))), three);
    assert_eq!(of("late_first_tokens", [10, 11, 100, 101], |it| share_late_read(it, 1)), three);
    // Nine of ten events each.
    let all_late = |it: &mut Record| (1..10).rev().for_each(|index| share_late_read(it, index));
    assert_eq!(of("shared_reads", [11, 12, 111, 112], all_late), three);
    let fail = |it: &mut Record| it.outcome = failure(0, 1, Stage::Body, FailureClass::Reset, "reset").outcome;
    assert_eq!(of("failed_requests", [10, 11, 100, 101], fail), three);
    // A part that may have been output beside five events: 1,110 beside 10,000 are less than a tenth, 1,112 are more.
    let lose = |it: &mut Record| it.unreadable = Unreadable { output: 2, other: 0 };
    assert_eq!(of("unreadable", [10, 11, 555, 556], lose), three);
    let of = grades::<3>;
    // One of ten.
    assert_eq!(of("shared_reads", [100, 101, 1_000], |it| share_late_read(it, 4)), two);
    let unknown =
        |it: &mut Record| (1..10).for_each(|at| it.chunks[at] = Chunk { shared: true, lag: None, ..it.chunks[at] });
    assert_eq!(of("shared_reads", [11, 12, 1_000], unknown), two);
    // Eight of ten events of each.
    assert_eq!(of("events_together", [125, 126, 1_000], bundle), two);
    assert_eq!(of("cut_off_requests", [10, 11, 999], |it| it.outcome = Outcome::CutOff), two);
    assert_eq!(of("connections", [10, 11, 1_000], |it| it.retries = 1), two);
    assert_eq!(of("unreadable", [10, 11, 1_000], |it| it.unreadable.other = 9), two);
    let empty = |it: &mut Record| {
        it.chunks.clear();
        it.finish = Some("stop".to_owned());
    };
    assert_eq!(of("empty_replies", [10, 11, 999], empty), two);
    assert_eq!(of("token_counts", [50, 51, 1_000], |it| it.text_tokens = Some(11)), two);
    assert_eq!(of("uncounted_requests", [10, 11, 1_000], |it| (it.usage, it.text_tokens) = (None, None)), two);
}

#[test]
fn the_limits_of_quantities_hold_on_both_sides() {
    let turnaround = |nanos| {
        let record = |record| Record { turnaround: Some(Nanos(nanos)), ..record };
        grade(&summary(&streams(4).into_iter().map(record).collect::<Vec<_>>()), "turnaround")
    };
    // Of a latency of 100 ms.
    let three = [Grade::Good, Grade::Degraded, Grade::Degraded, Grade::Invalid];
    assert_eq!([1_000_000, 1_000_001, 5_000_000, 5_000_001].map(turnaround), three);
    let lateness = |nanos| {
        let due = |record: Record| Record { due: record.sent.map(|sent| sent - Nanos(nanos)), ..record };
        grade(&summary(&streams(300).into_iter().map(due).collect::<Vec<_>>()), "send_lateness")
    };
    assert_eq!([1_000_000, 1_000_001, 10_000_000, 10_000_001].map(lateness), three);
    let busy = |cpu| {
        let threads = vec![ThreadFacts { cpu: Nanos(cpu), wall: Nanos(1_000) }];
        grade(&summary_of(config(), &RunFacts { threads, ..facts() }, &streams(1)), "load_thread_cpu")
    };
    assert_eq!([800, 801, 950, 951].map(busy), three);
    let length = |tokens| {
        let record = Record { requested_output_tokens: Some(1_000), ..stream(0, 0, 10, tokens) };
        grade(&summary(&[record]), "output_length")
    };
    assert_eq!([950, 949, 1_050, 1_051].map(length), [Grade::Good, Grade::Degraded, Grade::Good, Grade::Degraded]);
    let counts = |ours| {
        let record = Record { text_tokens: Some(ours), ..stream(0, 0, 10, 50) };
        grade(&summary(&[record]), "token_counts")
    };
    assert_eq!([49, 51, 48, 52].map(counts), [Grade::Good, Grade::Good, Grade::Degraded, Grade::Degraded]);
}

#[test]
fn events_that_arrived_together_are_a_caveat_and_late_reads_are_not_among_them() {
    let mut records = streams(100);
    records.iter_mut().for_each(bundle);
    let found = row(&summary(&records), "events_together").unwrap().clone();
    assert_eq!(
        (found.value.as_str(), found.grade),
        ("80.00 % of 1000 events arrived with the previous one", Grade::Degraded)
    );
    assert!(found.remedy.unwrap().to_string().contains("buffering"));
    assert_eq!(grade(&summary(&records), "shared_reads"), Grade::Good);
    // A client that comes by every five tokens finds the newest of them anything up to a gap old: 19 in 20 are seen to be
    // late, and the twentieth is not taken for the server's.
    for (index, record) in records.iter_mut().enumerate() {
        let lag = Some(Nanos(250_000 + 500_000 * (index as i64 % 20)));
        record.chunks.iter_mut().for_each(|chunk| chunk.lag = lag);
    }
    assert_eq!(row(&summary(&records), "shared_reads").unwrap().value, "76.00 % of 1000 events");
    assert_eq!(row(&summary(&records), "events_together"), None);
    assert_eq!(row(&summary(&streams(10)), "events_together"), None);
}

#[test]
fn a_p99_that_may_be_made_of_late_reads_is_a_caveat() {
    // Of 9,000 gaps 190 are long, in steps of 0.1 ms from 100 ms up; p99 is the 90th from above.
    let with = |late: usize| {
        let mut records = streams(1_000);
        for (index, record) in records[..190].iter_mut().enumerate() {
            let longer = Nanos(90_000_000 + 100_000 * index as i64);
            record.chunks[5..].iter_mut().for_each(|chunk| chunk.at += longer);
        }
        records[500..500 + late].iter_mut().for_each(|record| share_late_read(record, 4));
        row(&summary(&records), "late_reads_at_p99").cloned()
    };
    assert_eq!(with(0), None);
    // Three late reads stand for a few more, each of which may hide a value from the tail.
    let few = with(3).unwrap();
    assert_eq!(
        (few.value.as_str(), few.grade),
        ("inter chunk latency 109.901 ms, 109.600 without late reads", Grade::Good)
    );
    // A hundredth of 110 ms are 11 ranks.
    assert_eq!((with(9).unwrap().grade, with(11).unwrap().grade), (Grade::Good, Grade::Degraded));
    assert!(with(11).unwrap().remedy.is_some());
    let mut records = streams(300);
    records[..9].iter_mut().for_each(|record| share_late_read(record, 1));
    let firsts = row(&summary(&records), "late_reads_at_p99").unwrap().value.clone();
    assert!(firsts.ends_with("; time to first token 20.000 ms, 10.000 without late reads"), "{firsts}");
}

#[test]
fn events_of_several_tokens_are_a_caveat() {
    let with = |tokens: u64, count: usize| {
        let mut records = streams(100);
        records[..count].iter_mut().for_each(|record| {
            record.usage.as_mut().unwrap().completion_tokens = Some(tokens);
            record.text_tokens = Some(tokens as u32);
        });
        row(&summary(&records), "tokens_per_event").cloned()
    };
    let four = with(40, 100).unwrap();
    assert_eq!((four.value.as_str(), four.number, four.grade), ("4.00 on average", Some(4.0), Grade::Degraded));
    assert!(four.remedy.unwrap().to_string().contains("inter token latency is about 7.69 % too low"));
    // The end token, which no event brings.
    assert_eq!((with(11, 100), with(9, 100)), (None, None));
    assert_eq!((with(12, 50).unwrap().grade, with(12, 51).unwrap().grade), (Grade::Good, Grade::Degraded));
    let fewer = with(5, 100).unwrap();
    assert_eq!((fewer.value.as_str(), fewer.grade), ("0.50 on average", Grade::Degraded));
    assert!(fewer.remedy.unwrap().to_string().contains("per counted token"));
    let by_chunks = AccumulatorConfig { token_count: TokenCount::Chunks, ..config() };
    let mut records = streams(10);
    records.iter_mut().for_each(|record| record.text_tokens = Some(40));
    assert_eq!(row(&summary_of(by_chunks, &facts(), &records), "tokens_per_event"), None);
}

#[test]
fn an_open_loop_is_judged_by_how_late_it_sent() {
    let with = |late: usize, lateness: Nanos| {
        let mut records = open_loop();
        records[..late].iter_mut().for_each(|record| record.due = record.sent.map(|sent| sent - lateness));
        summary(&records)
    };
    let verdict = |late, ms| grade(&with(late, Nanos::from_millis(ms)), "send_lateness");
    // Of 300 values, p99 lies a hundredth of the way from the 297th to the 298th.
    assert_eq!((verdict(300, 1), verdict(300, 10), verdict(300, 11)), (Grade::Good, Grade::Degraded, Grade::Invalid));
    assert_eq!((verdict(2, 400), verdict(3, 400), verdict(4, 400)), (Grade::Good, Grade::Degraded, Grade::Invalid));
    let some = with(2, Nanos(2_500_000));
    assert_eq!(some.counts.sent_late, 2);
    let found = row(&some, "send_lateness").unwrap();
    assert_eq!(found.value, "p99 0.100 ms, max 2.500 ms; 2 of 300 requests over 1 ms");
    let mut records = open_loop();
    records[0] = Record { sent: None, chunks: Vec::new(), outcome: Outcome::CutOff, ..records[0].clone() };
    let never = row(&summary(&records), "send_lateness").unwrap().value.clone();
    assert!(never.ends_with("; 1 of 300 requests over 1 ms, 1 of them never sent"), "{never}");
    assert!(with(300, Nanos::from_millis(11)).fidelity.rows.iter().all(|row| row.key != "turnaround"));
    assert_eq!(row(&summary(&closed_loop()), "send_lateness"), None);
}

#[test]
fn grades_are_ordered_and_shown_in_lower_case() {
    assert!(Grade::Good < Grade::Degraded && Grade::Degraded < Grade::Invalid);
    assert_eq!(Grade::Degraded.to_string(), "degraded");
    assert_eq!(serde_json::to_string(&Grade::Invalid).unwrap(), "\"invalid\"");
}

#[test]
fn nothing_measured_is_invalid() {
    let empty = summary(&[]);
    assert_eq!(empty.fidelity.verdict, Grade::Invalid);
    let failed = summary(&[failure(0, 1, Stage::Connect, FailureClass::Refused, "refused")]);
    assert_eq!(row(&failed, "successful_requests").unwrap().value, "none of 1");
    assert_eq!(grade(&failed, "failed_requests"), Grade::Invalid);
}

#[test]
fn stamps_of_the_read_are_a_caveat() {
    let without = RunFacts { kernel_stamps: false, ..facts() };
    let remedy = |stamps| {
        let summary = summary_of(AccumulatorConfig { stamps, ..config() }, &without, &streams(1));
        assert_eq!(summary.fidelity.verdict, Grade::Degraded);
        row(&summary, "clock").unwrap().remedy.clone().unwrap().to_string()
    };
    assert_eq!(remedy(Stamps::User), "use --clock kernel");
    assert!(remedy(Stamps::Kernel).contains("Linux"));
}

/// A hundred streams of ten events, of which so many shared a read that the client was so late to.
fn sharing(shared: usize, lag: Option<Nanos>) -> Summary {
    let mut records = streams(100);
    for record in records.iter_mut().take(shared) {
        let before = record.chunks[4].at;
        record.chunks[4] = Chunk { at: record.chunks[5].at, ..record.chunks[4] };
        record.chunks[5] = Chunk { lag, shared: true, ..record.chunks[5] };
        assert!(before < record.chunks[4].at);
    }
    summary(&records)
}

#[test]
fn late_shared_reads_are_judged_by_their_share() {
    let late = Some(Nanos::from_millis(4));
    assert_eq!(grade(&sharing(10, late), "shared_reads"), Grade::Good);
    assert_eq!(grade(&sharing(11, late), "shared_reads"), Grade::Degraded);
    assert_eq!(grade(&sharing(100, late), "shared_reads"), Grade::Degraded);
    assert_eq!(row(&sharing(11, late), "shared_reads").unwrap().value, "1.10 % of 1000 events");
    assert_eq!(grade(&sharing(100, Some(Nanos(50_000))), "shared_reads"), Grade::Good);
    assert_eq!(grade(&sharing(11, None), "shared_reads"), Grade::Degraded);
}

#[test]
fn every_event_of_every_stream_in_one_late_read_is_invalid() {
    let together = |record: Record| {
        let at = record.chunks[9].at;
        let late =
            |(index, chunk): (usize, &Chunk)| Chunk { at, shared: index > 0, lag: Some(Nanos(2_000_000)), ..*chunk };
        Record { chunks: record.chunks.iter().enumerate().map(late).collect(), ..record }
    };
    let summary = summary(&streams(5).into_iter().map(together).collect::<Vec<_>>());
    assert_eq!(row(&summary, "shared_reads").unwrap().value, "90.00 % of 50 events");
    assert_eq!(summary.fidelity.verdict, Grade::Invalid);
}

#[test]
fn stamps_in_the_wrong_order_are_told() {
    let mut records = streams(100);
    assert_eq!(row(&summary(&records), "backward_stamps"), None);
    records[0].sent = Some(Nanos::from_millis(11));
    assert_eq!(grade(&summary(&records), "backward_stamps"), Grade::Good);
    records[1].chunks[3].at = Nanos::from_millis(29);
    assert_eq!(grade(&summary(&records), "backward_stamps"), Grade::Degraded);
    assert_eq!(row(&summary(&records), "backward_stamps").unwrap().value, "2 of 100 successful requests");
}

#[test]
fn turnaround_is_judged_as_a_share_of_latency() {
    let with = |turnaround| {
        let records: Vec<Record> = streams(4).into_iter().map(|record| Record { turnaround, ..record }).collect();
        summary(&records)
    };
    assert_eq!(grade(&with(Some(Nanos::from_millis(1))), "turnaround"), Grade::Good);
    assert_eq!(grade(&with(Some(Nanos(1_000_001))), "turnaround"), Grade::Degraded);
    assert_eq!(grade(&with(Some(Nanos::from_millis(6))), "turnaround"), Grade::Invalid);
    assert_eq!(
        row(&with(Some(Nanos::from_millis(6))), "turnaround").unwrap().value,
        "6.000 ms, 6.00 % of mean latency"
    );
    assert_eq!(row(&with(None), "turnaround"), None);
}

#[test]
fn the_busiest_thread_counts() {
    let with = |cpu: &[i64]| {
        let threads = cpu.iter().map(|&cpu| ThreadFacts { cpu: Nanos(cpu), wall: Nanos(1_000) }).collect();
        let summary = summary_of(config(), &RunFacts { threads, ..facts() }, &streams(1));
        row(&summary, "load_thread_cpu").map(|row| (row.grade, row.value.clone()))
    };
    assert_eq!(with(&[100, 800]), Some((Grade::Good, "80.00 % of a processor; 2 threads in total".to_owned())));
    assert_eq!(with(&[801]), Some((Grade::Degraded, "80.10 % of a processor; 1 thread in total".to_owned())));
    assert_eq!(with(&[960, 10]).map(|(grade, _)| grade), Some(Grade::Invalid));
    assert_eq!(with(&[]), None);
}

#[test]
fn failures_count_and_cut_off_requests_are_no_failures() {
    let with = |ok, failed, cut_off| {
        let failures = (0..failed).map(|seq| failure(seq, 1, Stage::Body, FailureClass::Reset, "reset"));
        let cut = (0..cut_off).map(|seq| Record { outcome: Outcome::CutOff, ..stream(seq, 0, 10, 2) });
        summary(&streams(ok).into_iter().chain(failures).chain(cut).collect::<Vec<_>>())
    };
    assert_eq!(grade(&with(99, 1, 0), "failed_requests"), Grade::Good);
    assert_eq!(grade(&with(98, 2, 100), "failed_requests"), Grade::Degraded);
    assert_eq!(grade(&with(89, 11, 0), "failed_requests"), Grade::Invalid);
    assert_eq!(row(&with(98, 2, 100), "failed_requests").unwrap().value, "2 of 100 finished requests");
    assert_eq!(grade(&with(99, 0, 1), "cut_off_requests"), Grade::Good);
    assert_eq!(grade(&with(1, 0, 99), "cut_off_requests"), Grade::Degraded);
    assert_eq!(row(&with(1, 0, 0), "cut_off_requests"), None);
    // Where the run was ended early, more time would have changed nothing.
    let cut = [Record { outcome: Outcome::CutOff, ..stream(0, 0, 10, 2) }];
    let advice = |ended_early: Option<EarlyEnd>| {
        let facts = RunFacts { ended_early, ..facts() };
        row(&summary_of(config(), &facts, &cut), "cut_off_requests").unwrap().remedy.clone().unwrap().to_string()
    };
    assert!(advice(None).contains("--grace-period") && !advice(Some(EarlyEnd::Killed)).contains("--grace-period"));
}

#[test]
fn lost_connections_are_shown_and_retries_are_a_caveat() {
    let with = |retried: usize, replaced| {
        let mut records = streams(100);
        records.iter_mut().take(retried).for_each(|record| record.retries = 1);
        let summary = summary_of(config(), &RunFacts { connections_replaced: replaced, ..facts() }, &records);
        row(&summary, "connections").map(|row| (row.grade, row.value.clone()))
    };
    assert_eq!(with(0, 0), None);
    let shown = "1 request sent again, 7 connections replaced before use";
    assert_eq!(with(1, 7), Some((Grade::Good, shown.to_owned())));
    assert_eq!(with(2, 0).map(|(grade, _)| grade), Some(Grade::Degraded));
}

#[test]
fn output_length_is_a_caveat_with_the_remedy_that_is_left() {
    let with = |want, output_exact| {
        let records: Vec<Record> =
            streams(3).into_iter().map(|record| Record { requested_output_tokens: Some(want), ..record }).collect();
        let summary = summary_of(AccumulatorConfig { output_exact, ..config() }, &facts(), &records);
        row(&summary, "output_length").unwrap().clone()
    };
    assert_eq!((with(10, false).grade, with(10, false).number), (Grade::Good, Some(0.0)));
    assert_eq!((with(1_000, false).grade, with(1_000, false).number), (Grade::Degraded, Some(99.0)));
    assert!(with(20, false).remedy.unwrap().to_string().contains("--output-tokens-mean-deterministic"));
    assert!(with(20, true).remedy.unwrap().to_string().contains("does not honour"));
    assert_eq!(row(&summary(&streams(1)), "output_length"), None);
}

#[test]
fn disagreeing_and_missing_token_counts_are_caveats() {
    let mut records = streams(20);
    records[0].text_tokens = Some(30);
    assert_eq!(grade(&summary(&records), "token_counts"), Grade::Good);
    records.iter_mut().for_each(|record| record.text_tokens = Some(30));
    assert_eq!(summary(&records).fidelity.verdict, Grade::Degraded);
    records.iter_mut().for_each(|record| record.usage = None);
    let by_usage = AccumulatorConfig { token_count: TokenCount::Usage, ..config() };
    let missing = summary_of(by_usage, &facts(), &records);
    assert_eq!(row(&missing, "uncounted_requests").unwrap().value, "20 of 20 requests without that count");
    assert!(
        row(&missing, "uncounted_requests")
            .unwrap()
            .remedy
            .as_ref()
            .unwrap()
            .to_string()
            .contains("--token-count auto")
    );
    records.iter_mut().for_each(|record| record.text_tokens = None);
    assert_eq!(row(&summary(&records), "uncounted_requests").unwrap().value, "20 of 20 requests counted by chunks");
}

#[test]
fn few_samples_are_told_and_lower_no_verdict() {
    let summary = summary(&streams(29));
    let samples = row(&summary, "samples").unwrap();
    assert_eq!(samples.value, "29, too few for p1 p5 p95 p99 (marked ~); send more requests; ±avg needs 150");
    assert_eq!((samples.grade, samples.number), (Grade::Good, Some(29.0)));
}

#[test]
fn a_run_that_ended_early_says_why() {
    let why =
        |facts: RunFacts| row(&summary_of(config(), &facts, &streams(1)), "ended_early").map(|row| row.value.clone());
    assert_eq!(why(facts()), None);
    assert_eq!(why(RunFacts { interrupted: true, ..facts() }).as_deref(), Some("interrupted"));
    let end = EarlyEnd::AllFailed { requests: 20 };
    let shown = "the first 20 requests all failed";
    assert_eq!(why(RunFacts { ended_early: Some(end), ..facts() }).as_deref(), Some(shown));
}
