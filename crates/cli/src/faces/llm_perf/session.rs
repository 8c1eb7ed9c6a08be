//! One run for each concurrency, and what was measured in each.

use super::args::{LlmPerfArgs, Protocol};
use super::figures::{Answered, LevelResult};
use super::plan::{self, EXPORT};
use super::wording::wording;
use super::{prompts, report};
use crate::console::Notes;
use crate::printer::Printer;
use crate::signals::{self, Signals};
use anyhow::{Context, Error, Result, anyhow, bail};
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use streamgauge_core::clock::Nanos;
use streamgauge_core::origin::Origins;
use streamgauge_core::prompt::{Content, Payload, Prompt};
use streamgauge_prompt::Tokenizer;
use streamgauge_report::RecordReader;
use streamgauge_report::artifacts::{RECORDS, write_whole};
use streamgauge_run::{GivenInputs, Preparation, RunSpec, Runner, Stage, StoredRun, Strategy, drive, usage};
use streamgauge_stats::{Grade, Summary};

/// The output of the model that is the text of its answer.
const TEXT_OUTPUT: &str = "text_output";
/// How often it is checked in a pause whether the user wants the end.
const PAUSE_CHECK: Duration = Duration::from_millis(100);

/// The user ended the run. What was measured of whole concurrencies is reported.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Measures every concurrency that `args` name, prints the report of each, and writes the file of all so far.
///
/// # Errors
/// When the prompts cannot be read, the server cannot be asked, or a request fails.
pub fn run(args: &LlmPerfArgs, origins: Origins, printer: &Printer) -> Result<()> {
    let texts = prompts::read(&args.input_data).map_err(usage)?;
    let count = u32::try_from(texts.len()).map_err(|_| usage(anyhow!("--input-data: there are too many prompts")))?;
    let mut spec = plan::spec(args, count).map_err(usage)?;
    spec.plan.asked = origins;
    let temporary = tempfile::tempdir().context("there is no place for the files of a run")?;
    spec.plan.output.artifacts = temporary.path().to_owned();
    let signals = OnceCell::new();
    let mut runner =
        Runner::new(Arc::new(Notes { printer: *printer, wording }), |plan| signals::control(&signals, plan, printer));
    let shared = runner.prepare(&spec)?;
    let tokens: Vec<u32> = texts.iter().map(|text| shared.tokenizer.count_with_special(text)).collect();
    let prompts = encoded(texts, &tokens, &spec, shared, printer)?;
    shared.given = Some(GivenInputs { prompts, streams: Vec::new() });
    printer.exactly(&report::heading(&args.url, args.protocol.name(), &args.model));
    let level = |(number, concurrency): (usize, &u32)| plan::level(&spec, number, *concurrency);
    let mut runs = Runs(args.concurrency.iter().enumerate().map(level).collect());
    let mut session = Session { args, tokens, concurrency: 0, levels: Vec::new(), signals: &signals, printer };
    drive(&mut runner, &mut runs, &mut session)
}

/// One run for each concurrency, in their order.
struct Runs(VecDeque<RunSpec>);

impl Strategy for Runs {
    fn next(&mut self, _last: Option<&StoredRun>) -> Option<RunSpec> {
        self.0.pop_front()
    }
}

/// What is done around each run.
struct Session<'a> {
    args: &'a LlmPerfArgs,
    /// The length of each prompt in tokens.
    tokens: Vec<u32>,
    /// The concurrency that is being measured.
    concurrency: u32,
    levels: Vec<LevelResult>,
    signals: &'a OnceCell<Signals>,
    printer: &'a Printer,
}

impl Stage for Session<'_> {
    fn before(&mut self, spec: RunSpec, runner: &mut Runner<'_>) -> Result<Option<RunSpec>> {
        if spec.position.level > 0 {
            pause(self.args.measurement_interval, self.signals)?;
        }
        self.concurrency = spec.plan.load.mode.most().unwrap_or_default();
        self.printer.exactly(&report::beginning(self.concurrency));
        runner.check_limits(&spec)?;
        Ok(Some(spec))
    }

    fn after(&mut self, mut run: StoredRun, shared: &mut Preparation) -> Result<Option<StoredRun>> {
        check(&mut run)?;
        let answered = answers(self.args.protocol, &run.directory, &self.tokens, &shared.tokenizer)?;
        let (concurrency, wall) = (self.concurrency, run.facts.ended - run.facts.started);
        let level = LevelResult { concurrency, payloads: self.tokens.len(), answered, wall };
        self.printer.exactly(&report::figures(&level));
        say_fidelity(&run.summary, self.printer);
        // A concurrency that is given twice has its last figures in the file, as in the tool's dictionary.
        self.levels.retain(|earlier| earlier.concurrency != concurrency);
        self.levels.push(level);
        let document = report::file(&self.levels);
        write_whole(self.args.profile_export_file.clone(), |out| out.write_all(document.to_string().as_bytes()))?;
        Ok(Some(run))
    }

    fn failed(&mut self, error: Error) -> Result<()> {
        Err(error)
    }
}

/// The prompts as inputs of the model. Each of the fixed parameters is sent if the model has such an input.
fn encoded(
    texts: Vec<String>,
    tokens: &[u32],
    spec: &RunSpec,
    shared: &mut Preparation,
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
    shared.endpoint.extra = sent.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let plan = shared.plan(spec);
    let model = plan.endpoint.models.first().cloned().unwrap_or_default();
    let complete = |(text, tokens): (String, &u32)| {
        // All parameters are among the extra inputs, the output length too.
        let content = Content::Texts(vec![text]);
        let (model, payload) = (model.clone(), Payload::FromContent);
        triton.complete(&plan, Prompt { content, tokens: *tokens, requested_output_tokens: None, model, payload })
    };
    texts.into_iter().zip(tokens).map(complete).collect()
}

/// Refuses a run in which a request failed, or that did not come to its end.
fn check(run: &mut StoredRun) -> Result<()> {
    run.has_files()?;
    let counts = run.counts;
    if let Some(group) = run.summary.failures.first().filter(|_| counts.failed > 0) {
        bail!(
            "{} of {} requests failed: {} ({}): {}",
            counts.failed,
            counts.requests,
            group.class,
            group.stage,
            group.sample
        );
    }
    if run.facts.interrupted {
        return Err(Interrupted.into());
    }
    if let Some(why) = &run.facts.ended_early {
        bail!("{why}");
    }
    Ok(())
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
