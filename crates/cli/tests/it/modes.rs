//! What shapes a load beside its rate, through the real binary: ramps, the cap on prefills, users, requests given up on purpose,
//! and the warm-up.

use crate::context::{Records, Run, TestContext, most_at_once, nanos, wait_until};
use serde_json::{Value, json};
use std::fs;
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::{Places, Ramp, RampShape};
use streamgauge_core::plan::Cancel;
use streamgauge_core::seed::Seed;

const SMALL: &str = "--streaming --isl 10 --osl 2";

fn number(record: &Value, name: &str) -> u64 {
    record[name].as_u64().unwrap_or_else(|| panic!("no {name} in {record}"))
}

/// From when a request was sent to its end.
fn in_flight(record: &Value) -> (i64, i64) {
    (nanos(record, "sent_ns"), nanos(record, "end_ns"))
}

/// From when a request was sent to its first output.
fn without_output(record: &Value) -> (i64, i64) {
    let sent = nanos(record, "sent_ns");
    (sent, sent + record["at_ns"][0].as_i64().unwrap())
}

/// No slot had a request before its place was there.
#[track_caller]
fn hold_the_ramp(records: &Records, phase: &str, places: Places, started: i64) {
    for record in records.of_phase(phase) {
        let place = u32::try_from(number(record, "slot")).unwrap();
        assert!(nanos(record, "issued_ns") >= started + places.opens(place).0, "{record}");
    }
}

#[test]
fn a_closed_loop_gets_its_places_one_by_one() {
    let context = TestContext::new();
    for (shape, name) in [(RampShape::Linear, "linear"), (RampShape::Exponential, "exponential")] {
        let ramp = Some(Ramp { time: Nanos::from_millis(300), shape });
        let args = "--concurrency 4 --concurrency-ramp-duration 0.3 --benchmark-duration 0.6";
        let run = context.profile(&format!("{SMALL} {args} --ramp-shape {name} --threads 1")).expect(0);
        let records = run.records();
        let started = nanos(&records.run, "started");
        hold_the_ramp(&records, "profiling", Places { most: 4, ramp }, started);
        let firsts = |slot| records.all.iter().find(|record| number(record, "slot") == slot);
        assert!((0..4).all(|slot| firsts(slot).is_some()), "each place is used");
        // The wait for the ramp is the plan's, not the client's.
        assert!(firsts(3).unwrap().get("turnaround_ns").is_none());
    }
}

#[test]
fn levels_have_each_a_ramp_and_each_repeat_its_own() {
    let context = TestContext::new();
    let ramp = Some(Ramp { time: Nanos::from_millis(150), shape: RampShape::Linear });
    let args = "--concurrency 2,3 --repeat 2 --concurrency-ramp-duration 0.15 --benchmark-duration 0.5";
    context.profile(&format!("{SMALL} {args}")).expect(0);
    for most in [2, 3] {
        for run in [1, 2] {
            let path = format!("artifacts/sim-model-openai-chat-concurrency{most}/run-{run}/records.jsonl");
            let records = Records::read(&fs::read_to_string(context.path().join(path)).unwrap());
            let started = nanos(&records.run, "started");
            hold_the_ramp(&records, "profiling", Places { most, ramp }, started);
            assert_eq!(records.all.iter().map(|record| number(record, "slot")).max(), Some(u64::from(most) - 1));
        }
    }
}

#[test]
fn no_more_than_the_cap_are_without_a_first_token() {
    // So slow that without the cap all eight would wait at once.
    let context = TestContext::with(|config| config.service.ttft = Nanos::from_millis(15));
    for threads in [1, 2] {
        let args = format!("--concurrency 8 --request-count 40 --prefill-concurrency 2 --threads {threads}");
        let run = context.profile(&format!("--streaming --isl 10 --osl 60 {args}")).expect(0);
        let records = run.records();
        assert_eq!(records.ended("ok").len(), 40);
        assert_eq!(most_at_once(records.all.iter().map(without_output)), 2);
        assert!(most_at_once(records.all.iter().map(in_flight)) > 2, "they go on beside each other");
    }
    // On the server's side too: a request that came while two others were not answered yet would be the third.
    let spans = context.requests().into_iter().map(|request| (request.received.0, request.writes[0].at.0));
    assert_eq!(most_at_once(spans), 2);
}

#[test]
fn users_keep_to_dues_of_their_own_and_send_one_at_a_time() {
    let context = TestContext::new();
    for threads in [1, 2] {
        let args = format!("--user-centric-rate 150 --num-users 4 --request-count 24 --threads {threads}");
        let run = context.profile(&format!("{SMALL} {args}")).expect(0);
        assert_eq!(run.dues(), (0..24).map(|seq| (f64::from(seq) / 150.0 * 1e9).round() as i64).collect::<Vec<i64>>());
        let records = run.records();
        for record in &records.all {
            assert_eq!(number(record, "slot"), number(record, "seq") % 4);
        }
        assert_eq!(records.run["connections_opened"], 4);
        assert_eq!(run.dir().file_name().unwrap(), "sim-model-openai-chat-users4-request_rate150.0");
    }
}

#[test]
fn a_user_waits_for_an_answer_and_leaves_no_request_out() {
    // Each answer takes longer than a user's pause of 10 ms.
    let context = TestContext::with(|config| config.service.ttft = Nanos::from_millis(40));
    let run = context.profile(&format!("{SMALL} --user-centric-rate 200 --num-users 2 --request-count 12")).expect(0);
    let dues = run.dues();
    assert_eq!(dues, (0..12).map(|seq| seq * 5_000_000).collect::<Vec<i64>>(), "late answers move no due");
    let records = run.records();
    for user in 0..2 {
        let own = records.in_order("profiling").into_iter().filter(|record| number(record, "slot") == user);
        let own: Vec<&Value> = own.collect();
        assert_eq!(own.len(), 6);
        assert_eq!(most_at_once(own.iter().map(|record| in_flight(record))), 1);
    }
    assert_eq!(most_at_once(records.all.iter().map(in_flight)), 2);
}

#[test]
fn a_run_whose_requests_are_all_given_up_says_so_and_has_measured_nothing() {
    let context = TestContext::with(|config| config.service.ttft = Nanos::from_millis(500));
    let args = format!("{SMALL} --no-probe --request-cancellation-rate 100 --request-count 12 --concurrency 2");
    let run = context.profile(&args).expect(1);
    assert!(run.stdout.contains("\nRequests: 0 ok, 0 failed, 0 cut off, 12 cancelled, 0 retried"), "{}", run.stdout);
    assert!(!run.stdout.contains("Failures"), "{}", run.stdout);
    let records = run.records();
    assert_eq!(records.ended("cancelled").len(), 12);
    assert_eq!(records.run["ended_early"], Value::Null);
    // Given up only once it was written: the server had each of them, whole.
    wait_until("the server's log", || context.requests().len() == 12);
    let summary = run.summary();
    let requests = ["measured", "ok", "failed", "cut_off", "cancelled"].map(|name| summary["requests"][name].clone());
    assert_eq!(requests, [12, 0, 0, 0, 12].map(|count| json!(count)));
    assert_eq!(summary.get("request_latency"), None);
    assert_eq!(summary["errors"], json!([]));
}

#[test]
fn the_seed_gives_up_the_same_requests_on_any_number_of_threads() {
    let context = TestContext::with(|config| config.service.ttft = Nanos::from_millis(100));
    let cancelled = |args: &str| -> (Run, Vec<u64>) {
        let args = format!("{SMALL} --request-cancellation-rate 50 --concurrency 4 --request-count 40 {args}");
        let run = context.profile(&args).expect(0);
        let mut numbers: Vec<u64> = run.records().ended("cancelled").iter().map(|it| number(it, "seq")).collect();
        numbers.sort_unstable();
        (run, numbers)
    };
    let (run, first) = cancelled("--random-seed 3 --threads 1");
    let rule = Cancel { share: 0.5, delay: Nanos::ZERO };
    assert_eq!(first, (0..40).filter(|seq| rule.picks(Seed(3), *seq)).collect::<Vec<u64>>());
    let summary = run.summary();
    assert_eq!(summary["requests"]["cancelled"], first.len());
    assert_eq!(summary["requests"]["ok"], 40 - first.len());
    assert_eq!(summary["request_count"]["avg"], (40 - first.len()) as f64);
    assert!(run.stdout.contains(&format!("0 cut off, {} cancelled,", first.len())), "{}", run.stdout);
    // No failure, so none of the gates shuts.
    let gates = "--random-seed 3 --threads 3 --failed-request-threshold 1% --warmup-request-count 8";
    let (run, again) = cancelled(gates);
    assert_eq!(first, again);
    assert_eq!(run.records().of_phase("warmup").iter().filter(|it| it["outcome"] == "ok").count(), 8);
    assert_ne!(first, cancelled("--random-seed 4").1);
}

/// Every request of the warm-up had ended before the first measured one was sent.
#[track_caller]
fn over_before_load(records: &Records) {
    let last = records.of_phase("warmup").into_iter().map(|record| nanos(record, "end_ns")).max().unwrap();
    let first = records.of_phase("profiling").into_iter().map(|record| nanos(record, "issued_ns")).min().unwrap();
    assert!(last <= first && last <= nanos(&records.run, "started"), "{last} {first}");
}

/// Every request of the warm-up had ended before its slot's first measured one was sent, and the measured part began when the
/// first slot went over.
#[track_caller]
fn over_before_its_slot_s_load(records: &Records) {
    let warmup = records.of_phase("warmup");
    for record in records.of_phase("profiling") {
        assert!(nanos(record, "issued_ns") >= nanos(&records.run, "started"), "{record}");
        let same_slot = warmup.iter().filter(|warm| number(warm, "slot") == number(record, "slot"));
        assert!(same_slot.into_iter().all(|warm| nanos(warm, "end_ns") <= nanos(record, "issued_ns")), "{record}");
    }
}

#[test]
fn a_warm_up_has_a_load_and_an_end_of_its_own() {
    let context = TestContext::with(|config| config.service.ttft = Nanos::from_millis(5));
    let run = |args: &str| {
        let _ = fs::remove_dir_all(context.path().join("artifacts"));
        let run = context.profile(&format!("--streaming --isl 10 --osl 20 --request-count 10 {args}")).expect(0);
        let records = run.records();
        assert_eq!(records.ended("ok").len(), 10);
        // Of these only two slots before three can go over one by one.
        if args.contains("--warmup-concurrency 2") {
            over_before_its_slot_s_load(&records);
        } else {
            over_before_load(&records);
        }
        let told = format!("(and {} in the warm-up)", records.of_phase("warmup").len());
        assert!(run.stdout.contains(&told), "{}", run.stdout);
        assert_eq!(run.summary()["requests"]["warmup"], records.of_phase("warmup").len());
        records
    };
    let at_once = |records: &Records, phase| most_at_once(records.of_phase(phase).into_iter().map(in_flight));

    let records = run("--concurrency 2 --warmup-concurrency 5 --warmup-request-count 20");
    assert_eq!((at_once(&records, "warmup"), at_once(&records, "profiling")), (5, 2));
    assert_eq!(records.in_order("warmup").len(), 20);

    // None is issued after its time; those in flight then are answered.
    let records = run("--concurrency 3 --warmup-concurrency 2 --warmup-duration 0.15");
    let warmup = records.in_order("warmup");
    assert!(warmup.iter().all(|record| record["outcome"] == "ok"));
    let began = warmup.iter().map(|record| nanos(record, "issued_ns")).min().unwrap();
    assert!(warmup.iter().all(|record| nanos(record, "issued_ns") <= began + 150_000_000));
    assert_eq!((at_once(&records, "warmup"), at_once(&records, "profiling")), (2, 3));

    let records = run("--warmup-request-rate 100 --warmup-request-count 6 --warmup-concurrency 4");
    let warmup = records.in_order("warmup");
    let first = nanos(warmup[0], "due_ns");
    let dues: Vec<i64> = warmup.iter().map(|record| nanos(record, "due_ns") - first).collect();
    assert_eq!(dues, (0..6).map(|seq| seq * 10_000_000).collect::<Vec<i64>>());
    assert!(records.of_phase("profiling").iter().all(|record| record.get("due_ns").is_none()));

    let records = run("--concurrency 6 --warmup-request-count 12 --warmup-prefill-concurrency 1");
    let warmup = records.of_phase("warmup").into_iter();
    assert_eq!(most_at_once(warmup.map(without_output)), 1);
}

#[test]
fn a_closed_loop_says_what_its_opening_burst_did_unless_a_warm_up_goes_before() {
    let context = TestContext::new();
    let args = "--streaming --isl 10 --osl 4 --concurrency 4 --request-count 40";
    let row = context.profile(args).expect(0).fidelity_row("opening_burst").unwrap();
    let value = row["value"].as_str().unwrap();
    assert!(value.contains(" without the 4 requests sent together at the start"), "{value}");
    assert_eq!((&row["unit"], &row["grade"]), (&"%".into(), &"good".into()));
    for (warmup, rest) in
        [("--warmup-request-count 8", None), ("--warmup-request-count 8 --warmup-concurrency 2", Some(2))]
    {
        let row = context.profile(&format!("{args} {warmup}")).expect(0).fidelity_row("opening_burst");
        let said = rest.map(|rest| format!(" without the {rest} requests"));
        assert_eq!(row.is_some(), said.is_some(), "{warmup}");
        assert!(said.is_none_or(|said| row.unwrap()["value"].as_str().unwrap().contains(&said)), "{warmup}");
    }
}

#[test]
fn what_a_warm_up_leaves_unanswered_is_cut_off_before_load() {
    // Every answer of the warm-up hangs until its grace is over; the measured ones are cut off too, as their time is as short.
    let context = TestContext::with(|config| config.service.ttft = Nanos::from_millis(60_000));
    let args = "--no-probe --concurrency 2 --warmup-duration 0.1 --warmup-grace-period 0.1";
    let run = context.profile(&format!("{SMALL} {args} --benchmark-duration 0.1 --grace-period 0.05")).expect(1);
    let records = run.records();
    over_before_its_slot_s_load(&records);
    for phase in ["warmup", "profiling"] {
        let cut_off = records.of_phase(phase).into_iter().filter(|record| record["outcome"] == "cut_off");
        assert_eq!(cut_off.count(), 2, "{phase}");
    }
}

#[test]
fn the_whole_plan_is_told() {
    let context = TestContext::new();
    let args = "--concurrency 3 --concurrency-ramp-duration 0.1 --prefill-concurrency 2 --threads 1 \
                --warmup-request-count 4 --warmup-duration 5 --warmup-concurrency 2 --connections rotate:3 \
                --request-cancellation-rate 12.5 --request-cancellation-delay 30s --until-ci 50% \
                --ci-metric time_to_first_token:p50 --failed-request-threshold 5% --request-count 12 \
                --benchmark-duration 20 --grace-period 2 --steady-state";
    let run = context.profile(&format!("-v {SMALL} {args}")).expect(0);
    let expected = format!(
        "plan: {}/v1/chat/completions, streams of sim-model
  load: concurrency 3 (reached in 0.1 s, linear), at most 2 without a first token, on 1 load thread(s)
  warm-up: concurrency 2, at most 2 without a first token, until 4 requests, or 5 s (and up to 2 s for those in flight); the measured load begins when all warm-up requests have ended
  connections: a new one after 3 request(s)
  cancelled on purpose: 12.5 % of the requests, 30 s after they were sent
  until: 12 requests, or 20 s (and up to 2 s for those in flight), or the 95 % interval of time_to_first_token (p50) is within ±50 %, or more than 5 % of the requests have failed
  also reported: the steady state, in which all slots are busy
",
        context.url()
    );
    assert!(run.stderr.contains(&expected), "{}", run.stderr);
    let args = "--measurement-mode count_windows --measurement-request-count 4 --percentile 90 -s 999 --max-trials 3";
    let run = context.profile(&format!("-v --isl 10 --osl 2 {args}"));
    let expected = "whole answers of sim-model\n  load: concurrency 1, on 1 load thread(s)\n  until: three windows of 4 requests agree within 999 % in throughput and p90 latency, or 3 windows are over\n";
    assert!(run.stderr.contains(expected), "{}", run.stderr);
    let run = context.profile("--isl 10 --osl 2").expect(0);
    assert!(!run.stderr.contains("plan:"), "{}", run.stderr);
}

#[test]
fn what_would_do_nothing_is_refused() {
    let context = TestContext::new();
    fs::write(context.path().join("t"), "{\"timestamp\": 0}\n").unwrap();
    fs::write(context.path().join("g"), "1000\n").unwrap();
    let trace = "--fixed-schedule --input-file t";
    let users = "--user-centric-rate 100 --num-users 2";
    for (args, words) in [
        ("--request-rate 50 --num-users 3", "--num-users does nothing without --user-centric-rate"),
        (
            &format!("{users} --concurrency-ramp-duration 1"),
            "--concurrency-ramp-duration does nothing without --concurrency",
        ),
        (
            &format!("{trace} --request-rate-ramp-duration 1"),
            "--request-rate-ramp-duration does nothing without --request-rate",
        ),
        ("--request-rate-series 0:5 --request-rate-ramp-duration 1", "--request-rate-ramp-duration does nothing"),
        ("--request-intervals g --replay-speedup 2", "--replay-speedup does nothing without --fixed-schedule"),
        ("--request-rate 5 --fixed-schedule-auto-offset", "--fixed-schedule-auto-offset does nothing"),
        ("--request-rate 5 --fixed-schedule-start-offset 1", "--fixed-schedule-start-offset does nothing"),
        ("--fixed-schedule-end-offset 1", "--fixed-schedule-end-offset does nothing"),
        ("--concurrency 4 --ramp-shape linear", "--ramp-shape: there is no ramp"),
        (
            &format!("{trace} --num-prompts 4"),
            "--num-dataset-entries 4: --input-file has a prompt in each of its lines",
        ),
        (&format!("{trace} --warmup-request-count 1"), "warm-up: say at what load"),
        (&format!("{trace} --arrival-pattern poisson"), "--arrival-pattern: only a rate"),
        (&format!("{trace} --batch-size 2 --endpoint-type completions"), "--batch-size 2: a request of --input-file"),
        ("--request-intervals g --arrival-smoothness 2", "--arrival-smoothness: only a rate"),
        (&format!("{users} --request-count 1"), "--request-count 1 is less than --num-users 2"),
        (&format!("{users} --request-rate 5"), "--request-rate"),
        (&format!("{users} --concurrency 5"), "--concurrency"),
        (&format!("{users} --steady-state"), "--steady-state: only a closed loop"),
        ("--streaming --concurrency 2 --prefill-concurrency 3", "--prefill-concurrency 3: there are never more than 2"),
        (
            "--streaming --concurrency 4 --warmup-request-count 4 --warmup-concurrency 2 --warmup-prefill-concurrency 3",
            "--warmup-prefill-concurrency 3: there are never more than 2",
        ),
        (
            "--warmup-request-count 2 --warmup-concurrency 3",
            "--warmup-request-count 2 is less than --warmup-concurrency 3",
        ),
        (
            "--warmup-request-count 3 --warmup-request-rate inf --warmup-request-rate-ramp-duration 1",
            "--warmup-request-rate-ramp-duration: --warmup-request-rate inf is never reached",
        ),
        ("--warmup-request-rate 5", "--warmup-request-rate: say how long to warm up"),
        (
            "--concurrency 4 --concurrency-ramp-duration 10 --benchmark-duration 2",
            "--concurrency-ramp-duration: 10 s are longer than the 2 s that there are (--benchmark-duration)",
        ),
        (
            "--request-rate 4 --request-rate-ramp-duration 3 -p 2000",
            "--request-rate-ramp-duration: 3 s are longer than the 2 s that there are (--measurement-interval)",
        ),
        (
            "--warmup-concurrency 4 --warmup-concurrency-ramp-duration 3 --warmup-duration 2",
            "--warmup-concurrency-ramp-duration: 3 s are longer than the 2 s that there are (--warmup-duration)",
        ),
        (
            "--request-rate-series 0:100,1:0 --request-count 51",
            "--request-count 51: --request-rate-series falls to 0 after 50 requests",
        ),
        ("--concurrency 1 --concurrency-ramp-duration 1", "--concurrency-ramp-duration: --concurrency 1 is there from"),
        (
            "--streaming --concurrency 4 --prefill-concurrency 2 --prefill-concurrency-ramp-duration 7",
            "the load changes until 7 s: say when to end",
        ),
        ("--url-strategy round_robin", "--url-strategy: there is only one server"),
    ] {
        let run = context.profile(&format!("--isl 10 --osl 2 {args}")).expect(2);
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains(words), "{args}: {}", run.stderr);
    }
    assert!(context.requests().is_empty());
    // A level below the cap beside one above it, and a count that the rate just brings, are no mistakes.
    let caps = "--prefill-concurrency 2 --warmup-prefill-concurrency 3 --warmup-request-count 3";
    context.profile(&format!("--isl 10 --osl 2 --streaming --concurrency 1,3 {caps}")).expect(0);
    let run = context.profile("--isl 10 --osl 2 --request-rate-series 0:200,0.2:0 --request-count 20").expect(0);
    assert!(run.stdout.contains("Requests: 20 ok"), "{}", run.stdout);
}
