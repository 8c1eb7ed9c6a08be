//! AIPerf's `dag_jsonl`: conversations that branch, a line of JSON each. A fork goes on from what was said before it, and a spawn starts from
//! nothing.
//!
//! The branches of a conversation are its turns too, each after the turn that it branches from. They are sent one after another: a slot
//! has one request at a time.

use super::messages::messages;
use super::object::{Fault, Object};
use super::turns::{delay, session};
use super::{Conversation, Format, Input, Opened, Place, Source, SourceError, SourceOptions, Timing, Turn, tokens};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use streamgauge_core::prompt::{Content, Follows, History};

/// The format.
pub const FORMAT: Format = Format {
    name: "dag_jsonl",
    aliases: &["dag"],
    has_times: false,
    takes_directories: false,
    recognises: |sample| {
        let Some(Value::Array(turns)) = sample.first_row.as_ref().and_then(|row| row.get("turns")) else {
            return false;
        };
        let branches = |turn: &Value| BRANCHES.iter().any(|name| turn.get(name).is_some());
        turns.iter().any(branches) || sample.has(&["pre_session_spawns", "orchestrator"])
    },
    open,
};

/// Members of a turn that name branches.
const BRANCHES: [&str; 2] = ["forks", "spawns"];
/// The most text of a file. A branch may stand anywhere in it, so it is held whole.
const LARGEST: usize = 64 << 20;
/// The most turns of a conversation with its branches.
const MOST_TURNS: usize = 100_000;
/// How deep branches may lie within each other.
const DEEPEST: usize = 64;

struct Dag {
    nodes: Vec<Node>,
    names: HashMap<String, usize>,
    /// The conversations that are no branches, in the order of the file.
    roots: std::vec::IntoIter<usize>,
    rows: usize,
    branches: u64,
    has_times: bool,
}

/// A conversation of the file.
struct Node {
    place: Place,
    id: String,
    /// Branches before its first turn.
    before: Vec<String>,
    turns: Vec<NodeTurn>,
}

struct NodeTurn {
    turn: Turn,
    forks: Vec<String>,
    spawns: Vec<String>,
}

fn open(input: Input, options: &SourceOptions) -> Opened {
    let mut objects = input.objects()?;
    let (mut nodes, mut names, mut held) = (Vec::new(), HashMap::new(), 0);
    while let Some((place, mut object)) = objects.next_object()? {
        held += object.text().len();
        if held > LARGEST {
            return Err(SourceError::File(format!(
                "a file of conversations that branch is read whole, and may have {} MiB",
                LARGEST >> 20
            )));
        }
        let node = node(&place, &mut object).map_err(|fault| fault.at_place(&place, object.text()))?;
        if names.insert(node.id.clone(), nodes.len()).is_some() {
            let reason = format!("there are two conversations `{}`", node.id);
            return Err(SourceError::Row { place, reason });
        }
        nodes.push(node);
    }
    let mut targets = HashSet::new();
    let mut forked = HashSet::new();
    for node in &nodes {
        let wrong = |reason: String| SourceError::Row { place: node.place.clone(), reason };
        let forks = node.turns.iter().flat_map(|turn| &turn.forks);
        if let Some(fork) = forks.into_iter().find(|fork| !forked.insert(*fork)) {
            return Err(wrong(format!("`{fork}` is forked twice; a fork goes on from one turn")));
        }
        for target in node.branches() {
            if !names.contains_key(target) {
                return Err(wrong(format!("there is no conversation `{target}` to branch to")));
            }
            targets.insert(target.clone());
        }
    }
    let roots: Vec<usize> = (0..nodes.len()).filter(|index| !targets.contains(&nodes[*index].id)).collect();
    if let (Some(node), true) = (nodes.first(), roots.is_empty()) {
        let reason = "every conversation is a branch of another one, so none begins".to_owned();
        return Err(SourceError::Row { place: node.place.clone(), reason });
    }
    let rows = nodes.len();
    let has_times = options.timing == Timing::Timed;
    Ok(Box::new(Dag { nodes, names, roots: roots.into_iter(), rows, branches: 0, has_times }))
}

fn node(place: &Place, object: &mut Object) -> Result<Node, Fault> {
    for name in ["orchestrator", "rounds"] {
        if object.has(name) {
            return Err(object.fault(name, format!("`{name}` is not available: a conversation has turns of its own")));
        }
    }
    let Some(id) = session(object)? else { return Err(Fault::new("there is no `session_id`")) };
    let is_whole = match object.take("context_mode") {
        None => false,
        Some(Value::String(mode)) if mode == "deltas_without_responses" => false,
        Some(Value::String(mode)) if mode == "message_array_with_responses" => true,
        Some(other) => {
            let reason = format!(
                "context_mode {other} is not available; give deltas_without_responses or message_array_with_responses"
            );
            return Err(object.fault("context_mode", reason));
        }
    };
    let before = targets(object, "pre_session_spawns")?;
    let Some(Value::Array(list)) = object.take("turns") else {
        return Err(object.fault("turns", "there is no `turns`, a list of objects with `messages` each"));
    };
    if list.is_empty() {
        return Err(object.fault("turns", "`turns` is empty; give at least one"));
    }
    if let Some(name) = object.take_rest().keys().next() {
        let reason = format!(
            "`{name}` is not known beside the turns; known are session_id, turns, pre_session_spawns and context_mode"
        );
        return Err(object.fault(name, reason));
    }
    let last = list.len() - 1;
    let mut turns = Vec::new();
    for (index, members) in list.into_iter().enumerate() {
        let wrong = |reason: &str| object.fault("turns", format!("turn {}: {reason}", index + 1));
        let Value::Object(members) = members else { return Err(wrong("it is not an object")) };
        let turn = node_turn(&mut Object::of_members(members), is_whole, index == last)
            .map_err(|fault| wrong(fault.reason()))?;
        turns.push(turn);
    }
    Ok(Node { place: place.clone(), id, before, turns })
}

fn node_turn(object: &mut Object, is_whole: bool, is_last: bool) -> Result<NodeTurn, Fault> {
    let Some(list) = object.take("messages") else { return Err(Fault::new("there are no `messages`")) };
    let content = Some(Content::Messages(messages(list).map_err(Fault::new)?));
    let model = match object.take("model") {
        None => None,
        Some(Value::String(model)) => Some(model),
        Some(other) => return Err(Fault::new(format!("model {other}: not a text"))),
    };
    let requested_output_tokens = match object.take("max_tokens") {
        None => None,
        Some(Value::Number(length)) => Some(tokens("max_tokens", &length).map_err(Fault::new)?),
        Some(other) => return Err(Fault::new(format!("max_tokens {other}: not a whole number of tokens"))),
    };
    let delay = delay(object)?;
    let mut members = match object.take("extra") {
        None => Map::new(),
        Some(Value::Object(extra)) => extra,
        Some(other) => return Err(Fault::new(format!("extra {other}: not an object of members of the body"))),
    };
    members.extend(object.take("tools").map(|tools| ("tools".to_owned(), tools)));
    let forks = object.take("forks");
    let goes_on = |fork: &Value| fork.get("background").is_some_and(|background| background == true);
    let ends = forks.as_ref().and_then(Value::as_array).is_some_and(|forks| !forks.iter().all(goes_on));
    if ends && !is_last {
        return Err(Fault::new(
            "a fork ends its conversation and there are turns after it; give {\"child\": .., \"background\": true} if they are to follow",
        ));
    }
    let forks = targets_in(object, "forks", forks)?;
    let spawns = targets(object, "spawns")?;
    if let Some(name) = object.take_rest().keys().next() {
        return Err(Fault::new(format!(
            "`{name}` is not known; known are messages, model, max_tokens, tools, extra, forks, spawns and delay (ms), and `extra` holds other members of the body"
        )));
    }
    let history =
        History { follows: if is_whole { Follows::Nothing } else { Follows::Previous }, ..History::default() };
    let turn = Turn { delay, history, content, model, requested_output_tokens, members, ..Turn::default() };
    Ok(NodeTurn { turn, forks, spawns })
}

/// The names of the conversations that a member branches to: texts, or objects with a `child` or `children`.
fn targets(object: &mut Object, name: &'static str) -> Result<Vec<String>, Fault> {
    let list = object.take(name);
    targets_in(object, name, list)
}

fn targets_in(object: &Object, name: &str, list: Option<Value>) -> Result<Vec<String>, Fault> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let wrong = || object.fault(name, format!("`{name}` is not a list of session ids"));
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
    let mut names = Vec::new();
    for entry in list.as_array().ok_or_else(wrong)? {
        match entry {
            Value::Object(entry) => match (entry.get("child"), entry.get("children")) {
                (Some(child), None) => names.push(text(child)?),
                (None, Some(Value::Array(children))) => {
                    names.extend(children.iter().map(text).collect::<Result<Vec<_>, _>>()?);
                }
                _ => return Err(wrong()),
            },
            entry => names.push(text(entry)?),
        }
    }
    Ok(names)
}

impl Node {
    /// The names of its branches.
    fn branches(&self) -> impl Iterator<Item = &String> {
        self.before.iter().chain(self.turns.iter().flat_map(|turn| turn.forks.iter().chain(&turn.spawns)))
    }
}

impl Dag {
    /// Adds the turns of a conversation and of its branches. `parent` is the turn that it goes on from.
    fn add(
        &self,
        index: usize,
        parent: Option<u32>,
        path: &mut Vec<usize>,
        turns: &mut Vec<Turn>,
    ) -> Result<u64, String> {
        let node = &self.nodes[index];
        if path.contains(&index) || path.len() == DEEPEST {
            return Err(format!("the branches of `{}` go round, or lie more than {DEEPEST} deep", node.id));
        }
        path.push(index);
        let mut branches = 0;
        let mut branch = |name: &String, parent: Option<u32>, turns: &mut Vec<Turn>| {
            // Checked when the file was read.
            let Some(child) = self.names.get(name) else { return Ok(()) };
            branches += 1 + self.add(*child, parent, path, turns)?;
            Ok::<_, String>(())
        };
        for name in &node.before {
            branch(name, None, turns)?;
        }
        let mut parent = parent;
        for NodeTurn { turn, forks, spawns } in &node.turns {
            if turns.len() == MOST_TURNS {
                return Err(format!("`{}` has more than {MOST_TURNS} turns with its branches", node.id));
            }
            let number = turns.len() as u32;
            let mut turn = turn.clone();
            turn.history.follows = match (turn.history.follows, parent) {
                (Follows::Nothing, _) | (_, None) => Follows::Nothing,
                (_, Some(parent)) if parent + 1 == number => Follows::Previous,
                (_, Some(parent)) => Follows::Turn(parent),
            };
            turns.push(turn);
            parent = Some(number);
            for name in forks {
                branch(name, parent, turns)?;
            }
            for name in spawns {
                branch(name, None, turns)?;
            }
        }
        path.pop();
        Ok(branches)
    }
}

impl Source for Dag {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        let Some(root) = self.roots.next() else { return Ok(None) };
        let mut turns = Vec::new();
        let branches = self.add(root, None, &mut Vec::new(), &mut turns);
        let node = &self.nodes[root];
        self.branches += branches.map_err(|reason| SourceError::Row { place: node.place.clone(), reason })?;
        Ok(Some(Conversation { id: Some(node.id.clone()), turns }))
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.branches > 0 {
            notes.push(format!(
                "{} branch(es) are sent one after another, each after the turn that it branches from",
                self.branches
            ));
        }
        if self.has_times {
            notes.push("its conversations have no times".to_owned());
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Contents, read_text};
    use proptest::prelude::*;

    const ROWS: [&str; 4] = [
        r#"{"session_id":"root","turns":[{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"a"}],"max_tokens":9,"spawns":["side",{"children":["side"],"join_at":1}]},{"messages":[{"role":"user","content":"b"}],"forks":["branch-a","branch-b"],"delay":20}]}"#,
        r#"{"session_id":"branch-a","turns":[{"messages":[{"role":"user","content":"c"}],"extra":{"temperature":0}},{"messages":[{"role":"user","content":"d"}]}]}"#,
        r#"{"session_id":"branch-b","turns":[{"messages":[{"role":"user","content":"e"}]}]}"#,
        r#"{"session_id":"side","context_mode":"message_array_with_responses","turns":[{"messages":[{"role":"user","content":"x"}]},{"messages":[{"role":"user","content":"y"}]}]}"#,
    ];

    fn read(rows: &[&str]) -> Result<Contents, SourceError> {
        read_text(&rows.join("\n"), Timing::Untimed)
    }

    #[test]
    fn branches_are_turns_that_go_on_from_the_turn_that_they_branch_from() {
        let contents = read(&ROWS).unwrap();
        assert_eq!(contents.conversations.len(), 1);
        let turns = &contents.conversations[0].turns;
        let said = |turn: &Turn| match &turn.content {
            Some(Content::Messages(messages)) => {
                messages.iter().flat_map(|message| message.texts()).collect::<String>()
            }
            _ => String::new(),
        };
        let all: Vec<_> = turns.iter().map(|turn| (said(turn), turn.history.follows)).collect();
        let expected = [
            ("sa", Follows::Nothing),
            ("x", Follows::Nothing),
            ("y", Follows::Nothing),
            ("x", Follows::Nothing),
            ("y", Follows::Nothing),
            ("b", Follows::Turn(0)),
            ("c", Follows::Previous),
            ("d", Follows::Previous),
            ("e", Follows::Turn(5)),
        ];
        assert!(all.iter().map(|(said, follows)| (said.as_str(), *follows)).eq(expected), "{all:?}");
        assert_eq!((turns[0].requested_output_tokens, turns[0].model.as_deref()), (Some(9), Some("m")));
        assert_eq!(turns[5].delay.as_millis_f64(), 20.0);
        assert_eq!(Value::Object(turns[6].members.clone()).to_string(), r#"{"temperature":0}"#);
        assert_eq!(
            contents.notes,
            ["4 branch(es) are sent one after another, each after the turn that it branches from"]
        );
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_its_place() {
        let turn = r#"{"messages":[{"role":"user","content":"c"}]}"#;
        for (row, words) in [
            (
                r#"{"session_id":"x","turns":[{"messages":[{"role":"user","content":"c"}],"forks":["none"]}]}"#
                    .to_owned(),
                "there is no conversation `none` to branch to",
            ),
            (r#"{"session_id":"branch-a","turns":[]}"#.to_owned(), "`turns` is empty"),
            (format!(r#"{{"session_id":"branch-b","turns":[{turn}]}}"#), "there are two conversations `branch-b`"),
            (
                r#"{"session_id":"x","orchestrator":true,"spawns":["side"]}"#.to_owned(),
                "`orchestrator` is not available",
            ),
            (
                r#"{"session_id":"x","turns":[{"messages":[{"role":"user","content":"c"}],"forks":["branch-a"]}]}"#
                    .to_owned(),
                "`branch-a` is forked twice",
            ),
            (
                r#"{"session_id":"x","turns":[{"messages":[{"role":"user","content":"c"}],"max_token":3}]}"#.to_owned(),
                "turn 1: `max_token` is not known; known are messages",
            ),
            (
                format!(
                    r#"{{"session_id":"x","turns":[{{"messages":[{{"role":"user","content":"c"}}],"forks":["side"]}},{turn}]}}"#
                ),
                "turn 1: a fork ends its conversation",
            ),
            (format!(r#"{{"turns":[{turn}]}}"#), "there is no `session_id`"),
            (r#"{"session_id":"x","turns":[{}]}"#.to_owned(), "turn 1: there are no `messages`"),
        ] {
            let rows: Vec<&str> = ROWS.iter().copied().chain([row.as_str()]).collect();
            let error = read(&rows).unwrap_err().to_string();
            assert!(error.starts_with("line 5") && error.contains(words), "{row}: {error}");
        }
        let round = [
            format!(r#"{{"session_id":"a","turns":[{turn}],"pre_session_spawns":["b"]}}"#),
            format!(r#"{{"session_id":"b","turns":[{turn}],"pre_session_spawns":["b"]}}"#),
        ];
        let error = read(&round.each_ref().map(String::as_str)).unwrap_err().to_string();
        assert!(error.contains("the branches of `b` go round"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in r#"(\{"session_id": "[a-c]", "turns": \[\{"messages": \[\{"role": "user"\}\], "(forks|spawns)": \["[a-c]"\]\}\]\}\n|.{0,30}|\n){0,5}"#,
        ) {
            let _ = read_text(&text, Timing::Untimed);
            let options = SourceOptions { format: Some(&FORMAT), ..SourceOptions::default() };
            let _ = crate::sources::source(Input::text(text), &options).and_then(Contents::of);
        }
    }
}
