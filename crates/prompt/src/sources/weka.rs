//! Recorded sessions of coding agents in the format of the Weka traces, which InferenceX AgentX replays: an object for each session, with its
//! requests, their lengths, their blocks, and the requests of sub-agents within them.
//!
//! A session becomes a conversation. Each request of it carries the whole recorded context, of which most was said in the request before it,
//! so a turn says only what is new: the recorded answer before it, as a text of its length, and what followed. Sub-agents have contexts of
//! their own. Their requests stand among those of their parent in the order of their starts, one at a time.

use super::agents::AgentRules;
use super::hash_id::HashId;
use super::lines::{LONGEST_LINE, Lines};
use super::{
    Blocks, Conversation, Format, Input, Opened, Place, Sample, Source, SourceError, SourceOptions, Timing, Turn,
    tokens,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Number;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use streamgauge_core::Nanos;
use streamgauge_core::prompt::{Follows, History};
use streamgauge_core::setting::Setting;

/// The format.
pub const FORMAT: Format =
    Format { name: "weka_trace", aliases: &["weka"], has_times: true, takes_directories: true, recognises, open };

/// Tokens of a block where the session does not say it.
const BLOCK: u32 = 64;
/// The longest session over several lines, or in a file of its own, in bytes.
const LONGEST_SESSION: u64 = 4 * LONGEST_LINE;
/// The longest time in seconds: eleven days.
const LATEST: f64 = 1e6;

/// What a session looks like, for messages.
const EXAMPLE: &str = "expected a session such as {\"id\": \"a\", \"block_size\": 64, \"requests\": [{\"t\": 0, \"type\": \"n\", \"in\": 128, \"out\": 9, \"hash_ids\": [1, 2]}]}";

/// Members that describe the recording.
const OF_THE_RECORDING: [&str; 16] = [
    "agent_id",
    "duration_ms",
    "input_types",
    "models",
    "output_types",
    "status",
    "stop",
    "subagent_type",
    "system_tokens",
    "tool_tokens",
    "tool_use_count",
    "total_tokens",
    "totals",
    "ttft",
    "ttft_ms",
    "version",
];

#[derive(Deserialize)]
struct Session {
    id: Option<String>,
    block_size: Option<u32>,
    hash_id_scope: Option<String>,
    requests: Vec<Entry>,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// A request, or a sub-agent with requests of its own.
#[derive(Deserialize)]
struct Entry {
    t: f64,
    #[serde(rename = "type")]
    kind: Option<String>,
    model: Option<String>,
    #[serde(rename = "in")]
    input: Option<Number>,
    #[serde(rename = "out")]
    output: Option<Number>,
    #[serde(default)]
    hash_ids: Vec<HashId>,
    api_time: Option<f64>,
    think_time: Option<f64>,
    requests: Option<Vec<Entry>>,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// A request of a session, in seconds and tokens.
struct Call {
    /// Whose request it is: 0 is the agent, each sub-agent has a number of its own.
    agent: usize,
    start: f64,
    /// When it was answered, if that is recorded.
    end: Option<f64>,
    /// How long the agent waited before it, if that is recorded.
    wait: Option<f64>,
    input: u32,
    output: u32,
    ids: Vec<u64>,
}

struct Weka {
    files: Files,
    timing: Timing,
    rules: AgentRules,
    /// How many sessions were read.
    read: u64,
    seen: Seen,
}

/// Where sessions are read from.
enum Files {
    /// A session in each line.
    Lines(Lines),
    /// Sessions that were read whole and not handed out.
    Whole(VecDeque<Session>),
    /// Files with a session each.
    Directory(VecDeque<PathBuf>),
}

/// What the sessions hold that people should know of.
#[derive(Default)]
struct Seen {
    sub_agents: u64,
    cut_waits: u64,
    started_midway: u64,
    empty_answers: u64,
    has_shared_blocks: bool,
    models: BTreeSet<String>,
    others: BTreeSet<String>,
}

fn recognises(sample: &Sample) -> bool {
    if sample.is_directory {
        return files_of(&sample.path).first().is_some_and(|file| begins_a_session(&beginning(file)));
    }
    match &sample.first_row {
        Some(row) => row.get("requests").is_some_and(|requests| requests.is_array()),
        None => begins_a_session(sample.text()),
    }
}

fn begins_a_session(text: &str) -> bool {
    text.starts_with('{') && ["\"requests\"", "\"block_size\""].iter().all(|name| text.contains(name))
}

/// The beginning of a file, empty where it cannot be read.
fn beginning(file: &Path) -> String {
    let mut head = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(1 << 16).read_to_end(&mut head));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&head).trim_start().to_owned())
}

/// The files of a directory that hold JSON, by name.
fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    files
}

fn open(input: Input, options: &SourceOptions) -> Opened {
    let (sample, input) = input.sample()?;
    let files = if sample.is_directory {
        Files::Directory(files_of(&sample.path).into())
    } else if sample.first_row.is_some() {
        Files::Lines(input.lines())
    } else {
        Files::Whole(sessions_of(input.reader(), None)?)
    };
    Ok(Box::new(Weka { files, timing: options.timing, rules: options.agents, read: 0, seen: Seen::default() }))
}

/// The sessions of a text whose objects go over several lines.
fn sessions_of(reader: impl Read, file: Option<&Path>) -> Result<VecDeque<Session>, SourceError> {
    let mut text = Vec::new();
    reader.take(LONGEST_SESSION + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST_SESSION {
        let most = LONGEST_SESSION >> 20;
        return Err(SourceError::File(format!(
            "a session of several lines may have {most} MiB; give a session in each line"
        )));
    }
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    let sessions = serde_json::Deserializer::from_slice(text).into_iter();
    let place = |error: &serde_json::Error| Place { file: file.map(Path::to_owned), ..Place::line(error.line()) };
    sessions.map(|session| session.map_err(|error| no_session(place(&error), &error))).collect()
}

/// The error of a row that is no session.
fn no_session(place: Place, error: &serde_json::Error) -> SourceError {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    let place = place.at(Some(error.column().max(1)));
    SourceError::Row { place, reason: format!("{reason}; {EXAMPLE}") }
}

impl Weka {
    fn next_session(&mut self) -> Result<Option<(Place, Session)>, SourceError> {
        loop {
            return match &mut self.files {
                Files::Lines(lines) => {
                    let Some((line, text)) = lines.next_line()? else { return Ok(None) };
                    let place = Place::line(line);
                    let session = serde_json::from_str(text).map_err(|error| no_session(place.clone(), &error))?;
                    Ok(Some((place, session)))
                }
                Files::Whole(sessions) => Ok(sessions.pop_front().map(|session| (Place::line(1), session))),
                Files::Directory(files) => {
                    let Some(file) = files.pop_front() else { return Ok(None) };
                    let mut sessions = sessions_of(fs::File::open(&file)?, Some(&file))?;
                    let Some(session) = sessions.pop_front() else { continue };
                    let place = Place { file: Some(file), ..Place::line(1) };
                    match sessions.is_empty() {
                        true => Ok(Some((place, session))),
                        false => Err(SourceError::Row { place, reason: "there are several sessions in it; give a file for each, or a session in each line of one file".to_owned() }),
                    }
                }
            };
        }
    }

    fn conversation(&mut self, session: Session) -> Result<Option<Conversation>, String> {
        let number = self.read;
        self.read += 1;
        let size = session.block_size.unwrap_or(BLOCK);
        if size == 0 {
            return Err("`block_size` 0: a block has at least one token".to_owned());
        }
        self.seen.has_shared_blocks |= session.hash_id_scope.is_some_and(|scope| scope != "local");
        self.seen.others.extend(unknown(session.others));
        let mut calls = Vec::new();
        let mut agents = 1;
        self.collect(session.requests, 0, 0.0, &mut agents, &mut calls)?;
        calls.sort_by(|one: &Call, other| one.start.total_cmp(&other.start));
        complete_blocks(&mut calls, size);
        let begin = self.begin(&calls, number);
        // Blocks belong to their session. Two sessions have no beginning in common, so that a server's cache does not take one for the other.
        let scope = number.wrapping_add(1);
        let turns = self.turns(&calls, begin, scope, size);
        Ok((!turns.is_empty()).then_some(Conversation { id: session.id, turns }))
    }

    /// Adds the requests of an agent and of its sub-agents. `offset` is added to their times.
    fn collect(
        &mut self,
        entries: Vec<Entry>,
        agent: usize,
        offset: f64,
        agents: &mut usize,
        calls: &mut Vec<Call>,
    ) -> Result<(), String> {
        for entry in entries {
            let at = |name: &str, seconds: f64| match (0.0..=LATEST).contains(&seconds) {
                true => Ok(seconds),
                false => Err(format!("`{name}` {seconds} is not a number of seconds from 0 to {LATEST}")),
            };
            let start = at("t", entry.t)? + offset;
            self.seen.others.extend(unknown(entry.others));
            match entry.kind.as_deref() {
                Some("subagent") => {
                    let Some(requests) = entry.requests else {
                        return Err("a sub-agent has no `requests`".to_owned());
                    };
                    self.seen.sub_agents += 1;
                    let agent = *agents;
                    *agents += 1;
                    // A sub-agent cannot begin before it is started, so earlier times are counted from there.
                    let is_relative = requests.first().is_some_and(|first| first.t + offset < start);
                    self.collect(requests, agent, if is_relative { start } else { offset }, agents, calls)?;
                }
                None | Some("n" | "s") => {
                    let Some(input) = entry.input else { return Err("a request has no `in`".to_owned()) };
                    let output = entry.output.filter(|output| output.as_u64() != Some(0));
                    self.seen.empty_answers += u64::from(output.is_none());
                    self.seen.models.extend(entry.model);
                    calls.push(Call {
                        agent,
                        start,
                        end: entry.api_time.map(|time| at("api_time", time)).transpose()?.map(|time| start + time),
                        wait: entry.think_time.map(|time| at("think_time", time)).transpose()?,
                        input: tokens("in", &input)?,
                        output: output.map_or(Ok(1), |output| tokens("out", &output))?,
                        ids: entry.hash_ids.into_iter().map(|id| id.0).collect(),
                    });
                }
                Some(other) => {
                    return Err(format!("the `type` `{other}` of a request is not known; known are n, s and subagent"));
                }
            }
        }
        Ok(())
    }

    /// The index of the first request that is sent.
    fn begin(&mut self, calls: &[Call], number: u64) -> usize {
        let (Timing::Untimed, Some(part)) = (self.timing, self.rules.start_of(number)) else { return 0 };
        let (Some(first), Some(last)) = (calls.first(), calls.last()) else { return 0 };
        let point = first.start + part * (last.start - first.start);
        let begin = calls.partition_point(|call| call.start < point).min(calls.len() - 1);
        self.seen.started_midway += u64::from(begin > 0);
        begin
    }

    fn turns(&mut self, calls: &[Call], begin: usize, scope: u64, size: u32) -> Vec<Turn> {
        let mut turns: Vec<Turn> = Vec::new();
        // The last request of each agent, by its index.
        let mut last: HashMap<usize, usize> = HashMap::new();
        let mut answered: Option<f64> = None;
        for (index, call) in calls.iter().enumerate() {
            if index >= begin {
                let before = last.insert(call.agent, index).filter(|before| extends(call, &calls[*before], size));
                let mut turn = turn_of(call, before.map(|before| &calls[before]), scope, size);
                if let Some(before) = before {
                    let follows = match before + 1 == index {
                        true => Follows::Previous,
                        false => Follows::Turn((before - begin) as u32),
                    };
                    turn.history = History { follows, recorded_answer: true };
                }
                let wait = answered.map(|answered| call.start - answered).or(call.wait).unwrap_or(0.0);
                if index > begin {
                    let (wait, is_cut) = self.rules.wait(wait);
                    turn.delay = wait;
                    self.seen.cut_waits += u64::from(is_cut);
                }
                turn.at = (self.timing == Timing::Timed).then(|| Nanos::from_secs_f64(call.start));
                turns.push(turn);
            }
            // Without the time of an answer the next wait is the recorded one.
            answered = call.end.map(|end| answered.map_or(end, |answered| answered.max(end)));
        }
        turns
    }
}

/// The turn of a request: what it says beyond `before`, which it goes on from, or everything.
fn turn_of(call: &Call, before: Option<&Call>, scope: u64, size: u32) -> Turn {
    let start = before.map_or(0, |before| before.input);
    let new = call.input - start;
    let blocks = Blocks {
        scope,
        size,
        ids: call.ids.iter().skip((start / size) as usize).copied().collect(),
        skip: start % size,
        // The user says at least one token.
        answer_tokens: before.map_or(0, |before| before.output.min(new - 1)),
    };
    Turn {
        history: History { follows: Follows::Nothing, recorded_answer: false },
        input_tokens: Some(new),
        blocks: Some(blocks),
        requested_output_tokens: Some(call.output),
        ..Turn::default()
    }
}

/// Whether a request carries the whole context of the one before it, and more.
fn extends(call: &Call, before: &Call, size: u32) -> bool {
    let common = before.ids.len().min((before.input / size) as usize);
    call.input > before.input && call.ids.get(..common) == Some(&before.ids[..common])
}

/// Completes the blocks of requests. The last block of a context is recorded when it is full, which is in the next request.
fn complete_blocks(calls: &mut [Call], size: u32) {
    let mut next: HashMap<usize, usize> = HashMap::new();
    for index in (0..calls.len()).rev() {
        let (now, later) = calls.split_at_mut(index + 1);
        let call = &mut now[index];
        if let Some(next) = next.insert(call.agent, index).map(|next| &later[next - index - 1])
            && extends(next, call, size)
        {
            let needed = call.input.div_ceil(size) as usize;
            let missing = next.ids.iter().take(needed).skip(call.ids.len());
            call.ids.extend(missing);
        }
    }
}

/// The names of members that are not known.
fn unknown(members: BTreeMap<String, IgnoredAny>) -> impl Iterator<Item = String> {
    members.into_keys().filter(|name| !OF_THE_RECORDING.contains(&name.as_str()))
}

impl Source for Weka {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        while let Some((place, session)) = self.next_session()? {
            let conversation = self.conversation(session).map_err(|reason| SourceError::Row { place, reason })?;
            if conversation.is_some() {
                return Ok(conversation);
            }
        }
        Ok(None)
    }

    fn rows(&self) -> usize {
        usize::try_from(self.read).unwrap_or(usize::MAX)
    }

    fn has_agents(&self) -> bool {
        true
    }

    fn notes(&self) -> Vec<String> {
        let Seen { sub_agents, cut_waits, started_midway, empty_answers, has_shared_blocks, models, others } =
            &self.seen;
        let named =
            |names: &BTreeSet<String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let mut notes = vec![
            "its prompts hold the recorded answers, as texts of their lengths, in place of the server's".to_owned(),
        ];
        if *sub_agents > 0 {
            notes.push(format!("the requests of {sub_agents} sub-agent(s) are sent one at a time among those of their agents, in the order in which they started"));
        }
        if *cut_waits > 0 {
            notes.push(format!(
                "{cut_waits} wait(s) before a request are cut to {} s; {} sets the longest wait",
                self.rules.longest_wait.as_secs_f64(),
                Setting::TraceIdleGapCapSeconds
            ));
        }
        if *started_midway > 0 {
            notes.push(format!(
                "{started_midway} of the conversation(s) with which the load begins start at a random point; {} 0 starts them at their beginning",
                Setting::TrajectoryStartMaxRatio
            ));
        }
        if *empty_answers > 0 {
            notes.push(format!("{empty_answers} request(s) without an answer ask for one token"));
        }
        if *has_shared_blocks {
            notes.push("blocks are shared within a session only, so sessions have no beginnings in common".to_owned());
        }
        if !models.is_empty() {
            notes.push(format!(
                "the recorded models ({}) are not asked for: requests go to the models of the run",
                named(models)
            ));
        }
        if !others.is_empty() {
            notes.push(format!("{} of its sessions are not known and not sent", named(others)));
        }
        notes
    }
}

#[cfg(test)]
mod tests;
