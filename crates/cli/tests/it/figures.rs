//! Every figure of a run, computed once more: from the lines of `records.jsonl` as plain JSON, by formulas written down
//! here, and with nothing of the program's own code. What the program wrote is held against it.

use crate::arithmetic::{half_to_even, mean, narrowest, product_limit, statistic, student};
use crate::context::{Records, Run};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PERCENTILES: [u32; 9] = [1, 5, 10, 25, 50, 75, 90, 95, 99];

/// Members of the summary that are no metrics.
const NO_METRICS: [&str; 9] =
    ["input_config", "samples", "intervals", "with_failures", "requests", "errors", "token_counts", "run", "fidelity"];

/// What a run comes to.
#[derive(Default)]
struct Figures {
    /// Values of each metric, by key.
    values: BTreeMap<&'static str, Vec<f64>>,
    /// The figures of the whole run, by key.
    totals: BTreeMap<&'static str, f64>,
    /// Times to failure by stage and class.
    failures: BTreeMap<(String, String), Vec<f64>>,
    ok: u64,
    failed: u64,
    cut_off: u64,
    retried: u64,
    /// Sent over a millisecond after they were due.
    sent_late: u64,
    /// Due and not sent before the run was over.
    never_sent: u64,
    /// Values of requests that did not succeed, by waiting time.
    waits: BTreeMap<&'static str, Waits>,
    duration_s: f64,
    sources: Sources,
    turnarounds: Vec<f64>,
    /// Output length against the length asked for: sum of the differences, and of the lengths.
    length: (f64, f64),
}

/// What the requests that did not succeed add to a waiting time.
#[derive(Debug, Default)]
struct Waits {
    failed: u64,
    /// Known although the request was cut off.
    known: Vec<f64>,
    /// Only known to be longer.
    open: Vec<f64>,
}

/// Whose counts were used, in requests.
#[derive(Debug, Default, PartialEq)]
struct Sources {
    usage: u64,
    tokenizer: u64,
    chunks: u64,
    missing: u64,
    compared: u64,
    disagree: u64,
}

/// Holds everything that the run wrote as figures against its records.
#[track_caller]
pub fn verify(run: &Run) {
    let records = run.records();
    let figures = Figures::of(&records);
    let summary = run.summary();
    figures.verify_metrics(&summary);
    figures.verify_intervals(&summary);
    figures.verify_with_failures(&summary);
    figures.verify_counts(&summary, &records);
    figures.verify_fidelity(&summary);
    let streaming = records.header["plan"]["endpoint"]["streaming"] == true;
    figures.verify_csv(&run.file("profile_export_genai_perf.csv"), &summary, streaming);
}

/// Where slots went over from a warm-up one by one: how long one was at measured requests on average, in seconds. All of the plans
/// here that have a warm-up in a closed loop have one that slots go over from.
fn slot_time(records: &Records) -> Option<f64> {
    let slots = records.header["plan"]["load"]["concurrency"]["most"].as_u64()?;
    let mut times = BTreeMap::<u64, (Option<i64>, i64, i64)>::new();
    for record in records.of_phase("warmup") {
        let time = times.entry(record["slot"].as_u64().unwrap()).or_insert((None, i64::MAX, i64::MIN));
        time.0 = time.0.max(Some(int(&record["end_ns"])));
    }
    if times.is_empty() {
        return None;
    }
    for record in records.of_phase("profiling") {
        let time = times.entry(record["slot"].as_u64().unwrap()).or_insert((None, i64::MAX, i64::MIN));
        (time.1, time.2) = (time.1.min(int(&record["issued_ns"])), time.2.max(int(&record["end_ns"])));
    }
    let measured = times.values().filter(|(_, _, to)| *to > i64::MIN);
    let sum: i64 = measured.map(|(handed_over, from, to)| to - handed_over.unwrap_or(*from)).sum();
    // In whole nanoseconds, as every time is.
    Some((sum / slots as i64) as f64 / 1e9)
}

impl Figures {
    fn of(records: &Records) -> Figures {
        let plan = &records.header["plan"];
        let streaming = plan["endpoint"]["streaming"] == true;
        let policy = plan["token_count"].as_str().unwrap();
        let limits = plan["goodput"].as_array().unwrap();
        let mut figures = Figures::default();
        let (mut tokens, mut good, mut counted) = (0.0, 0.0, false);
        let (mut first_sent, mut last_event) = (i64::MAX, i64::MIN);
        for record in records.of_phase("profiling") {
            figures.retried += u64::from(record.get("retries").is_some());
            // What was never sent is as late as the run saw it be.
            let never = record["sent_ns"].is_null() && record["outcome"] == "cut_off";
            let left = record[if never { "end_ns" } else { "sent_ns" }].as_i64();
            if let (Some(due), Some(left)) = (record["due_ns"].as_i64(), left) {
                figures.values.entry("send_lateness").or_default().push((left - due) as f64 / 1e6);
                figures.sent_late += u64::from(left - due > 1_000_000);
                figures.never_sent += u64::from(never);
            }
            match record["outcome"].as_str().unwrap() {
                "cut_off" => {
                    figures.cut_off += 1;
                    figures.add_waits(record, streaming);
                }
                "failed" => {
                    figures.add_failure(record);
                    figures.add_waits(record, streaming);
                }
                _ => {
                    let own = of_request(record, streaming, policy);
                    figures.add_sources(record, policy);
                    if let Some(output) = own.get("output_sequence_length") {
                        tokens += output;
                        counted = true;
                        if let Some(asked) = record["want_out"].as_f64() {
                            figures.length.0 += (output - asked).abs();
                            figures.length.1 += asked;
                        }
                    }
                    good += f64::from(u8::from(limits.iter().all(|limit| keeps(&own, limit))));
                    first_sent = first_sent.min(int(&record["sent_ns"]));
                    last_event = last_event.max(int(&record["sent_ns"]) + last_of(record));
                    own.into_iter().for_each(|(key, value)| figures.values.entry(key).or_default().push(value));
                    figures.add_pooled(record, streaming);
                    figures.ok += 1;
                }
            }
        }
        figures.turnarounds = figures.values.get("turnaround").cloned().unwrap_or_default();
        figures.totals.insert("request_count", figures.ok as f64);
        if figures.ok > 0 {
            figures.duration_s = slot_time(records).unwrap_or((last_event - first_sent) as f64 / 1e9);
            figures.totals.insert("request_throughput", figures.ok as f64 / figures.duration_s);
            if counted {
                figures.totals.insert("output_token_throughput", tokens / figures.duration_s);
            }
            if !limits.is_empty() {
                figures.totals.insert("request_goodput", good / figures.duration_s);
            }
        }
        figures
    }

    fn add_failure(&mut self, record: &Value) {
        let time = (int(&record["end_ns"]) - int(&record["issued_ns"])) as f64 / 1e6;
        let name = |key: &str| record[key].as_str().unwrap().to_owned();
        self.failures.entry((name("stage"), name("class"))).or_default().push(time);
        self.values.entry("time_to_failure").or_default().push(time);
        self.failed += 1;
    }

    /// A failure is endless. What was cut off is known where what it waited for had come, else that it took longer.
    fn add_waits(&mut self, record: &Value, streaming: bool) {
        for (key, first, from) in [
            ("time_to_first_token", true, "sent_ns"),
            ("time_to_first_token_from_due", true, "due_ns"),
            ("request_latency", false, "sent_ns"),
            ("request_latency_from_due", false, "due_ns"),
        ] {
            let from_due = from == "due_ns";
            let start = record[from].as_i64();
            let ms = |at: i64| start.map(|start| (at - start) as f64 / 1e6);
            let waits = self.waits.entry(key).or_default();
            if record["outcome"] == "failed" {
                waits.failed += u64::from(start.is_some() || !from_due);
            } else if first && streaming && !stamps(record).is_empty() {
                waits.known.extend(ms(int(&record["sent_ns"]) + stamps(record)[0]));
            } else {
                waits.open.extend(ms(int(&record["end_ns"])));
            }
        }
    }

    /// Values of which a request has many.
    fn add_pooled(&mut self, record: &Value, streaming: bool) {
        let at = stamps(record);
        if streaming && at.len() > 1 {
            let gaps = at.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6);
            self.values.entry("inter_chunk_latency").or_default().extend(gaps);
        }
        if let Some(lags) = record["lag_ns"].as_array() {
            let lags = lags.iter().filter_map(Value::as_f64).map(|lag| lag / 1e6);
            self.values.entry("client_lag").or_default().extend(lags);
        }
    }

    fn add_sources(&mut self, record: &Value, policy: &str) {
        // Zero beside output is no count, and an answer without output has nothing to count.
        let is_empty = stamps(record).is_empty();
        let usage = record["usage"]["completion_tokens"].as_f64().filter(|count| *count > 0.0 || is_empty);
        let ours = record["text_tokens"].as_f64();
        if let (Some(usage), Some(ours), false) = (usage, ours, is_empty) {
            self.sources.compared += 1;
            self.sources.disagree += u64::from((usage - ours).abs() > 0.02 * usage);
        }
        match (policy, usage, ours) {
            ("usage", Some(_), _) => self.sources.usage += 1,
            ("auto", Some(_), _) => self.sources.usage += 1,
            ("tokenizer" | "auto", _, Some(_)) => self.sources.tokenizer += 1,
            ("chunks" | "auto", ..) => self.sources.chunks += 1,
            _ => self.sources.missing += 1,
        }
    }

    #[track_caller]
    fn verify_metrics(&self, summary: &Value) {
        let written = summary.as_object().unwrap();
        let keys: Vec<&String> = written.keys().filter(|key| !NO_METRICS.contains(&key.as_str())).collect();
        for key in &keys {
            let known = self.values.contains_key(key.as_str()) || self.totals.contains_key(key.as_str());
            assert!(known, "{key} is not to be found in the records");
        }
        assert_eq!(keys.len(), self.values.len() + self.totals.len(), "{keys:?}");
        for (key, total) in &self.totals {
            same(&written[*key]["avg"], *total, key);
            assert_eq!(written[*key].as_object().unwrap().len(), 2, "{key} has a unit and one number");
        }
        for (key, values) in &self.values {
            verify_statistics(&written[*key], values, key);
            assert_eq!(summary["samples"][*key]["count"], values.len(), "{key}");
            assert_eq!(summary["samples"][*key]["exact"], true, "{key}");
        }
    }

    #[track_caller]
    fn verify_intervals(&self, summary: &Value) {
        let written = summary["intervals"].as_object().unwrap();
        let mut known = 0;
        for (key, values) in &self.values {
            let intervals = &summary["intervals"][*key];
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            for p in PERCENTILES {
                let thin =
                    summary["samples"][*key]["too_few_for"].as_array().unwrap().contains(&json!(format!("p{p}")));
                let found = &intervals[format!("p{p}")];
                let longer = !summary["samples"][*key]["needed_s"][format!("p{p}")].is_null();
                assert_eq!(found.is_null(), thin || longer, "p{p} of {key}");
                let narrowest = narrowest(sorted.len(), f64::from(p) / 100.0);
                assert!(thin || longer || !narrowest.is_empty(), "p{p} of {key}");
                // At least as wide as of independent values, and between two of the values. Equal values may have lost a last bit.
                let is_value =
                    |end: &str| sorted.iter().any(|value| (found[end].as_f64().unwrap() - value).abs() < 1e-9);
                let covers = |(low, high): &(usize, usize)| {
                    found["low"].as_f64().unwrap() < sorted[*low] + 1e-9
                        && found["high"].as_f64().unwrap() > sorted[*high] - 1e-9
                };
                let given = !found.is_null();
                assert!(!given || is_value("low") && is_value("high"), "p{p} of {key}: {found}");
                assert!(!given || narrowest.iter().any(covers), "p{p} of {key}: {found}");
            }
            // A mean takes 150 values, and is no narrower than that of independent ones.
            let longer = !summary["samples"][*key]["needed_s"]["avg"].is_null();
            assert_eq!(intervals["avg"].is_null(), longer || values.len() < 150, "{key}");
            let effective = summary["samples"][*key]["effective"].as_f64().unwrap();
            assert!(0.0 < effective && effective <= values.len() as f64 + 1e-9, "{key}: {effective}");
            if !intervals["avg"].is_null() {
                let freedom = (values.len() - 1) as f64;
                let reach = student(freedom) * statistic(values, "std") / freedom.sqrt();
                let end = |name: &str| intervals["avg"][name].as_f64().unwrap();
                let (below, above) = (mean(values) - end("low"), end("high") - mean(values));
                let least = reach * (values.len() as f64 / effective).sqrt() * (1.0 - 1e-4) - 1e-9;
                assert!(below >= least && above >= least, "{key}: {reach} against {}", intervals["avg"]);
            }
            known += usize::from(!intervals.is_null());
        }
        let latency = self.values.get("request_latency").map_or(0.0, |values| mean(values) / 1e3);
        for (key, rate) in self.totals.iter().filter(|(key, _)| **key != "request_count") {
            let interval = &summary["intervals"][*key]["avg"];
            // Eight blocks that are no shorter than a mean latency, and made of bins of a millisecond or so.
            let short = self.duration_s < 9.0 * (latency + 0.003);
            // Of 8 to 64 blocks that are all alike there is none.
            let sum = (rate * self.duration_s).round() as u64;
            let alike = (8..=64).any(|blocks| sum.is_multiple_of(blocks));
            assert!(!interval.is_null() || short || alike, "{key}");
            assert!(interval.is_null() || self.duration_s >= 7.0 * latency, "{key}");
            if !interval.is_null() {
                let (low, high) = (interval["low"].as_f64().unwrap(), interval["high"].as_f64().unwrap());
                assert!(low < high, "{key}: {interval}");
                assert!(0.0 <= low && low <= rate * (1.0 + 1e-9) && *rate <= high * (1.0 + 1e-9), "{key}: {interval}");
                known += 1;
            }
        }
        assert_eq!(written.len(), known, "{written:?}");
    }

    #[track_caller]
    fn verify_with_failures(&self, summary: &Value) {
        let failing: Vec<_> = self.waits.iter().filter(|(_, waits)| waits.failed > 0).collect();
        let Some(written) = summary.get("with_failures") else {
            assert!(failing.is_empty(), "{failing:?}");
            return;
        };
        assert_eq!(written.as_object().unwrap().len(), failing.len());
        for (key, waits) in failing {
            let mut known = self.values.get(key).cloned().unwrap_or_default();
            known.extend(&waits.known);
            let requests = (known.len() + waits.open.len()) as u64 + waits.failed;
            let written = &written[*key];
            assert_eq!((&written["requests"], &written["failed"]), (&json!(requests), &json!(waits.failed)), "{key}");
            assert_eq!(written["cut_off"], waits.open.len(), "{key}");
            for p in PERCENTILES {
                let written = &written[format!("p{p}")];
                match product_limit(&known, &waits.open, waits.failed, f64::from(p) / 100.0) {
                    Some(expected) => same(written, expected, key),
                    None => assert!(written.is_null(), "p{p} of {key}: {written}"),
                }
            }
        }
    }

    #[track_caller]
    fn verify_counts(&self, summary: &Value, records: &Records) {
        let Figures { ok, failed, cut_off, retried, sent_late, never_sent, sources, .. } = self;
        let measured = ok + failed + cut_off;
        let warmup = records.of_phase("warmup").len();
        let requests = json!({"measured": measured, "ok": ok, "failed": failed, "cut_off": cut_off,
                              "retried": retried, "sent_late": sent_late, "never_sent": never_sent, "warmup": warmup});
        assert_eq!(summary["requests"], requests);
        let counts = &summary["token_counts"];
        let written = ["by_usage", "by_tokenizer", "by_chunks", "missing", "compared", "disagree"]
            .map(|key| counts[key].as_u64().unwrap());
        let Sources { usage, tokenizer, chunks, missing, compared, disagree } = sources;
        assert_eq!(written, [*usage, *tokenizer, *chunks, *missing, *compared, *disagree]);
        same(&summary["run"]["duration_s"], self.duration_s, "duration");
        let errors = summary["errors"].as_array().unwrap();
        assert_eq!(errors.len(), self.failures.len());
        for error in errors {
            let name = |key: &str| error[key].as_str().unwrap().to_owned();
            let times = &self.failures[&(name("stage"), name("class"))];
            assert_eq!(error["count"], times.len());
            verify_statistics(&error["time_to_failure"], times, "time to failure of a kind");
            assert!(records.ended("failed").iter().any(|record| record["message"] == error["sample"]));
        }
        assert!(errors.windows(2).all(|pair| pair[0]["count"].as_u64() >= pair[1]["count"].as_u64()));
    }

    /// The rows that are shares of what is in the records.
    #[track_caller]
    fn verify_fidelity(&self, summary: &Value) {
        let rows = summary["fidelity"]["rows"].as_array().unwrap();
        let latency = self.values.get("request_latency").map(|values| mean(values));
        let turnaround = Some(&self.turnarounds).filter(|values| !values.is_empty()).map(|values| mean(values));
        let of = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let shares = [
            ("turnaround", turnaround.zip(latency).map(|(turnaround, latency)| turnaround / latency)),
            ("failed_requests", of(self.failed, self.ok + self.failed)),
            ("cut_off_requests", of(self.cut_off, self.ok + self.failed + self.cut_off).filter(|share| *share > 0.0)),
            ("output_length", (self.length.1 > 0.0).then(|| self.length.0 / self.length.1)),
            ("token_counts", of(self.sources.disagree, self.sources.compared)),
        ];
        for (key, share) in shares {
            match (rows.iter().find(|row| row["key"] == key), share) {
                (Some(row), Some(share)) => same(&row["number"], share * 100.0, key),
                (row, share) => assert!(row.is_none() && share.is_none(), "{key}: {row:?} {share:?}"),
            }
        }
        let lateness = self.values.get("send_lateness").map(|values| statistic(values, "p99"));
        let row = rows.iter().find(|row| row["key"] == "send_lateness");
        assert_eq!(row.is_some(), lateness.is_some());
        if let (Some(row), Some(p99)) = (row, lateness) {
            same(&row["number"], p99, "send lateness");
            let grade = ["good", "degraded", "invalid"][usize::from(p99 > 1.0) + usize::from(p99 > 10.0)];
            assert_eq!(row["grade"], grade, "{row}");
            assert!(row["value"].as_str().unwrap().contains(&format!("; {} of ", self.sent_late)), "{row}");
        }
        let worst = |grade: &Value| ["good", "degraded", "invalid"].iter().position(|known| grade == known).unwrap();
        let verdict = rows.iter().map(|row| worst(&row["grade"])).max().unwrap();
        assert_eq!(worst(&summary["fidelity"]["verdict"]), verdict);
    }

    #[track_caller]
    fn verify_csv(&self, text: &str, summary: &Value, streaming: bool) {
        let (distributions, numbers) = text.split_once("\r\n\r\n").unwrap();
        let label = |key: &str| label(key, summary[key]["unit"].as_str().unwrap());
        let mut rows = table(distributions);
        let head = rows.remove(0);
        assert_eq!(head.join(","), "Metric,avg,min,max,p99,p95,p90,p75,p50,p25,p10,p5,p1");
        // Without a stream the first token is the whole answer.
        let mut shown: Vec<_> =
            self.values.iter().filter(|(key, _)| streaming || !key.starts_with("time_to_first_token")).collect();
        for row in &rows {
            let at = shown.iter().position(|(key, _)| label(key) == row[0]).unwrap_or_else(|| panic!("{row:?}"));
            let (_, values) = shown.remove(at);
            for (column, cell) in head.iter().zip(row).skip(1) {
                rounded(cell, statistic(values, column), &row[0]);
            }
        }
        assert!(shown.is_empty(), "the CSV lacks {shown:?}");
        let mut rows = table(numbers);
        assert_eq!(rows.remove(0), ["Metric", "Value"]);
        let (totals, ours) = rows.split_at(self.totals.len());
        for row in totals {
            let (_, total) = self.totals.iter().find(|(key, _)| label(key) == row[0]).unwrap();
            rounded(&row[1], *total, &row[0]);
        }
        let counts = [
            ("Failed Requests (count)", self.failed),
            ("Cut Off Requests (count)", self.cut_off),
            ("Retried Requests (count)", self.retried),
            ("Warmup Requests (count)", summary["requests"]["warmup"].as_u64().unwrap()),
        ];
        assert_eq!(ours.len(), counts.len() + 1);
        for (row, (name, count)) in ours.iter().zip(counts) {
            assert_eq!(row[0], name);
            rounded(&row[1], count as f64, name);
        }
        assert_eq!(ours[counts.len()], ["Fidelity", summary["fidelity"]["verdict"].as_str().unwrap()]);
    }
}

/// When an answer ended: with its last output, or by itself without any. Counted from `sent_ns`.
fn last_of(record: &Value) -> i64 {
    stamps(record).last().copied().unwrap_or_else(|| int(&record["end_ns"]) - int(&record["sent_ns"]))
}

/// What one successful request measured, by metric: a request has a metric or has it not.
fn of_request(record: &Value, streaming: bool, policy: &str) -> BTreeMap<&'static str, f64> {
    let at = stamps(record);
    let last = last_of(record);
    let first = if streaming { at.first().copied() } else { at.last().copied() };
    let ms = |ns: i64| ns as f64 / 1e6;
    let usage = record["usage"]["completion_tokens"].as_f64().filter(|count| *count > 0.0 || at.is_empty());
    let ours = record["text_tokens"].as_f64();
    let output = match policy {
        "usage" => usage,
        "tokenizer" => ours,
        "chunks" => Some(at.len() as f64),
        _ => usage.or(ours).or(Some(at.len() as f64)),
    };
    let output = output.map(|count| if at.is_empty() { 0.0 } else { count });
    let mut own = BTreeMap::from([
        ("request_latency", ms(last)),
        ("input_sequence_length", record["input_tokens"].as_f64().unwrap()),
    ]);
    let mut put = |key, value: Option<f64>| own.extend(value.map(|value| (key, value)));
    put("time_to_first_token", first.map(ms));
    put("output_sequence_length", output);
    put("time_to_second_token", (streaming && at.len() > 1).then(|| ms(at[1] - at[0])));
    let several = output.filter(|count| streaming && at.len() > 1 && *count > 1.0);
    let itl = several.map(|count| half_to_even((last - first.unwrap()) as f64 / (count - 1.0)));
    put("inter_token_latency", itl.map(|ns| ns / 1e6));
    let counted = output.filter(|count| streaming && *count > 1.0);
    put("time_per_output_token", counted.and_then(|count| Some(ms(last - first?) / (count - 1.0))));
    put("output_token_throughput_per_user", itl.filter(|ns| *ns > 0.0).map(|ns| 1e9 / ns));
    put("time_to_first_byte", record["first_byte_ns"].as_i64().map(|ns| ms(ns - int(&record["sent_ns"]))));
    let prompt = record["usage"]["prompt_tokens"].as_f64().filter(|count| *count > 0.0);
    put("prompt_tokens_by_server", prompt);
    put("template_tokens", prompt.map(|count| count - record["input_tokens"].as_f64().unwrap()));
    // A slot of an open loop waits for what is due next, which is no time of the client's own.
    put("turnaround", record["turnaround_ns"].as_i64().filter(|_| record.get("due_ns").is_none()).map(ms));
    let lateness = record["due_ns"].as_i64().map(|due| int(&record["sent_ns"]) - due);
    put("time_to_first_token_from_due", lateness.and_then(|late| first.map(|first| ms(first + late))));
    put("request_latency_from_due", lateness.map(|late| ms(last + late)));
    put("connect_time", record["connect_ns"].as_i64().map(ms));
    own
}

/// Whether a request keeps a limit; one that lacks the metric does not.
fn keeps(own: &BTreeMap<&str, f64>, limit: &Value) -> bool {
    let (key, limit) = (limit[0].as_str().unwrap(), limit[1].as_f64().unwrap());
    let is_rate = key.contains("throughput");
    own.get(key).is_some_and(|value| if is_rate { *value >= limit } else { *value <= limit })
}

/// Stamps of the output events after `sent`; a request without any has no list of them.
fn stamps(record: &Value) -> Vec<i64> {
    record["at_ns"].as_array().into_iter().flatten().map(int).collect()
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

#[track_caller]
fn verify_statistics(written: &Value, values: &[f64], what: &str) {
    let percentiles = PERCENTILES.iter().map(|p| format!("p{p}"));
    let names: Vec<String> =
        ["avg".to_owned()].into_iter().chain(percentiles).chain(["min", "max", "std"].map(String::from)).collect();
    let keys: Vec<&String> = written.as_object().unwrap().keys().skip(1).collect();
    assert_eq!(keys, names.iter().collect::<Vec<_>>(), "{what}");
    for name in &names {
        same(&written[name], statistic(values, name), &format!("{name} of {what}"));
    }
}

/// Equal but for the last bits. The deviation of equal values is made of nothing but those: hence a bound below which
/// nothing is told apart, a picosecond.
#[track_caller]
fn same(written: &Value, expected: f64, what: &str) {
    let written = written.as_f64().unwrap_or_else(|| panic!("{what}: {written} is no number"));
    let off = (written - expected).abs();
    assert!(off <= 1e-9 * expected.abs() || off < 1e-9, "{what}: {written} is written, {expected} is right");
}

/// A cell with two decimals and commas.
#[track_caller]
fn rounded(cell: &str, expected: f64, what: &str) {
    let written: f64 = cell.replace(',', "").parse().unwrap();
    assert!((written - expected).abs() <= 0.005 + 1e-9 * expected.abs(), "{what}: {cell} for {expected}");
    assert_eq!(cell.rsplit_once('.').unwrap().1.len(), 2, "{cell}");
}

/// A metric's name in tables.
fn label(key: &str, unit: &str) -> String {
    let words: Vec<String> = key.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
    format!("{} ({})", words.join(" "), if unit == "requests/sec" { "per sec" } else { unit })
}

/// The cells of a CSV text; those with commas in them are quoted.
fn table(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        let mut cells = vec![String::new()];
        let mut quoted = false;
        for letter in line.chars() {
            match letter {
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                _ => cells.last_mut().unwrap().push(letter),
            }
        }
        cells
    };
    text.lines().map(cells).collect()
}
