//! One run for each concurrency, and what was measured in each.

use super::args::{LlmPerfArgs, Protocol};
use super::figures::{Answered, LevelResult};
use super::plan::{self, EXPORT};
use super::{prompts, report};
use crate::printer::Printer;
use crate::signals::{self, Signals};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::cell::OnceCell;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::prompt::{Content, Payload, Prompt};
use streamgauge_load::{Limits, forecast};
use streamgauge_prompt::Tokenizer;
use streamgauge_report::RecordReader;
use streamgauge_report::artifacts::{RECORDS, RunDirectory, write_whole};
use streamgauge_run::{GivenInputs, Listener, Measured, Preparation, RunSpec, measure, prepare, usage};
use streamgauge_stats::{Grade, Summary};

/// The output of the model that is the text of its answer.
const TEXT_OUTPUT: &str = "text_output";
/// How often it is checked in a pause whether the user wants the end.
const PAUSE_CHECK: Duration = Duration::from_millis(100);

/// The user ended the run. What was measured of whole concurrencies is reported.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Prints what is worth knowing on the way.
struct Notes(Printer);

impl Listener for Notes {
    fn note(&self, text: &str) {
        self.0.note(text);
    }
}

/// Measures every concurrency that `args` name, prints the report of each, and writes the file of all so far.
///
/// # Errors
/// When the prompts cannot be read, the server cannot be asked, or a request fails.
pub fn run(args: &LlmPerfArgs, printer: &Printer) -> Result<()> {
    let texts = prompts::read(&args.input_data).map_err(usage)?;
    let count = u32::try_from(texts.len()).map_err(|_| usage(anyhow!("--input-data: there are too many prompts")))?;
    let listener: Arc<dyn Listener> = Arc::new(Notes(*printer));
    let mut spec = plan::spec(args, count).map_err(usage)?;
    let mut shared = prepare(&mut spec, &listener)?;
    let tokens: Vec<u32> = texts.iter().map(|text| shared.tokenizer.count_with_special(text)).collect();
    let prompts = encoded(texts, &tokens, &mut spec, &shared, printer)?;
    shared.given = Some(GivenInputs { prompts, streams: Vec::new() });
    printer.exactly(&report::heading(&args.url, args.protocol.name(), &args.model));
    let temporary = tempfile::tempdir().context("there is no place for the files of a run")?;
    let signals = OnceCell::new();
    let mut levels: Vec<LevelResult> = Vec::new();
    for (number, concurrency) in args.concurrency.iter().copied().enumerate() {
        if number > 0 {
            pause(args.measurement_interval, &signals)?;
        }
        printer.exactly(&report::beginning(concurrency));
        let directory = temporary.path().join(number.to_string());
        let plan = plan::level(&spec.plan, concurrency, &directory);
        let (summary, wall) = one(plan, &spec, &mut shared, &signals, &listener, printer)?;
        let answered = answers(args.protocol, &directory, &tokens, &shared.tokenizer)?;
        let level = LevelResult { concurrency, payloads: tokens.len(), answered, wall };
        printer.exactly(&report::figures(&level));
        say_fidelity(&summary, printer);
        // A concurrency that is given twice has its last figures in the file, as in the tool's dictionary.
        levels.retain(|earlier| earlier.concurrency != concurrency);
        levels.push(level);
        let document = report::file(&levels);
        write_whole(args.profile_export_file.clone(), |out| out.write_all(document.to_string().as_bytes()))?;
    }
    Ok(())
}

/// The prompts as inputs of the model. Each of the fixed parameters is sent if the model has such an input.
fn encoded(
    texts: Vec<String>,
    tokens: &[u32],
    spec: &mut RunSpec,
    shared: &Preparation,
    printer: &Printer,
) -> Result<Vec<Prompt>> {
    let triton = shared.triton.as_ref().context("the server said nothing of its model")?;
    let has = |name: &str| triton.model.inputs.iter().any(|input| input.name == name);
    let (sent, left_out): (Vec<_>, Vec<_>) = plan::parameters().into_iter().partition(|(name, _)| has(name));
    if !left_out.is_empty() {
        let names: Vec<&str> = left_out.iter().map(|(name, _)| *name).collect();
        printer.note(&format!(
            "note: model {} has no inputs {}, which are left out",
            triton.model.name,
            names.join(", ")
        ));
    }
    let endpoint = &mut spec.plan.endpoint;
    endpoint.extra = sent.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let model = endpoint.models.first().cloned().unwrap_or_default();
    let complete = |(text, tokens): (String, &u32)| {
        // All parameters are among the extra inputs, the output length too.
        let content = Content::Texts(vec![text]);
        let (model, payload) = (model.clone(), Payload::FromContent);
        triton.complete(&spec.plan, Prompt { content, tokens: *tokens, requested_output_tokens: None, model, payload })
    };
    texts.into_iter().zip(tokens).map(complete).collect()
}

/// Runs one concurrency to its end, and returns what was measured and how long it took.
fn one(
    plan: RunPlan,
    spec: &RunSpec,
    shared: &mut Preparation,
    signals: &OnceCell<Signals>,
    listener: &Arc<dyn Listener>,
    printer: &Printer,
) -> Result<(Summary, Nanos)> {
    let notes = forecast(&plan, &shared.routes, &Limits::of_this_system()).map_err(usage)?;
    notes.iter().for_each(|note| printer.note(&format!("note: {note}")));
    let control = |plan: &RunPlan| signals::control(signals, plan, printer);
    let directory = RunDirectory::lock(&plan.output.artifacts)?;
    let Measured { recorded, facts, artifacts, .. } = measure(plan, directory, spec, shared, control, listener)?;
    if let Some(error) = recorded.write_error {
        return Err(error).context("the records cannot be written");
    }
    let counts = recorded.counts;
    artifacts.commit(counts.requests)?;
    if let Some(group) = recorded.summary.failures.first().filter(|_| counts.failed > 0) {
        bail!(
            "{} of {} requests failed: {} ({}): {}",
            counts.failed,
            counts.requests,
            group.class,
            group.stage,
            group.sample
        );
    }
    if facts.interrupted {
        return Err(Interrupted.into());
    }
    if let Some(why) = facts.ended_early {
        bail!("{why}");
    }
    Ok((recorded.summary, facts.ended - facts.started))
}

/// The requests of the run in `directory` with their answers. Both files of it have the requests in the same order.
fn answers(protocol: Protocol, directory: &Path, tokens: &[u32], tokenizer: &Tokenizer) -> Result<Vec<Answered>> {
    let open = |name: &str| {
        let path = directory.join(name);
        File::open(&path).map(BufReader::new).with_context(|| format!("{} cannot be read", path.display()))
    };
    let export: Value = serde_json::from_reader(open(EXPORT)?)?;
    let requests = export.pointer("/experiments/0/requests").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut requests = requests.iter();
    let mut answered = Vec::new();
    for record in RecordReader::new(open(RECORDS)?)? {
        let record = record?;
        let Some(sent) = record.sent else { continue };
        let request = requests.next().context("a request of the records is missing in the export")?;
        let output_text = output_text(request);
        let first = record.first_event.filter(|_| protocol == Protocol::Grpc);
        answered.push(Answered {
            ttft: first.map_or(-1.0, |first| (first - sent).as_secs_f64()),
            latency: (record.end - sent).as_secs_f64(),
            input_tokens: usize::try_from(record.prompt).ok().and_then(|index| tokens.get(index)).copied().unwrap_or(0),
            output_tokens: tokenizer.count_with_special(&output_text),
            output_text,
        });
    }
    Ok(answered)
}

/// The text of an answer: that of all its responses. An output of one element stands as that element, one of several as a list.
fn output_text(request: &Value) -> String {
    let responses = request.get("response_outputs").and_then(Value::as_array).into_iter().flatten();
    let outputs = responses.filter_map(|response| response.get(TEXT_OUTPUT));
    let texts = outputs.flat_map(|output| match output {
        Value::Array(texts) => texts.iter().collect(),
        text => vec![text],
    });
    texts.filter_map(Value::as_str).collect()
}

/// Waits, unless the user wants the end.
fn pause(length: Nanos, signals: &OnceCell<Signals>) -> Result<()> {
    let mut left = length.to_duration();
    while !left.is_zero() {
        if signals.get().is_some_and(Signals::have_come) {
            return Err(Interrupted.into());
        }
        let step = left.min(PAUSE_CHECK);
        std::thread::sleep(step);
        left -= step;
    }
    Ok(())
}

/// Says how far the figures of a concurrency can be trusted, unless that is all the way.
fn say_fidelity(summary: &Summary, printer: &Printer) {
    let fidelity = &summary.fidelity;
    if fidelity.verdict == Grade::Good {
        return;
    }
    printer.note(&format!("note: how far these figures can be trusted: {}", fidelity.verdict));
    for row in fidelity.rows.iter().filter(|row| row.grade > Grade::Good) {
        printer.note(&format!("note: {}: {}", row.title, row.value));
    }
}
