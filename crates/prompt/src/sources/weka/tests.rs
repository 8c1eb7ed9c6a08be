use super::*;
use crate::sources::{Contents, read_text, source};
use proptest::prelude::*;
use serde_json::json;

/// A session of an agent that asks three times, and of a sub-agent that asks twice after the first time.
fn session() -> serde_json::Value {
    json!({
        "id": "trace_a1", "models": ["big"], "block_size": 64, "hash_id_scope": "local",
        "tool_tokens": 18, "system_tokens": 23,
        "requests": [
            {"t": 0.0, "type": "n", "model": "big", "in": 150, "out": 30, "hash_ids": [1, 2],
             "input_types": ["text"], "output_types": ["text"], "stop": "tool_use", "api_time": 4.0, "think_time": 0.0},
            {"t": 5.0, "type": "subagent", "agent_id": "x", "subagent_type": "Explore", "status": "completed",
             "duration_ms": 9000, "models": ["small"], "requests": [
                {"t": 5.0, "type": "s", "model": "small", "in": 70, "out": 8, "hash_ids": [1], "api_time": 1.0},
                {"t": 8.5, "type": "s", "model": "small", "in": 130, "out": 9, "hash_ids": [1, 9], "api_time": 1.5},
            ]},
            {"t": 9.0, "type": "s", "model": "big", "in": 200, "out": 5, "hash_ids": [1, 2, 3], "api_time": 2.0, "think_time": 1.0},
            {"t": 100.0, "type": "n", "model": "big", "in": 90, "out": 0, "hash_ids": [1], "api_time": 1.0, "colour": "red"},
        ],
    })
}

fn read(text: &str, options: SourceOptions) -> Contents {
    Contents::of(source(Input::text(text), &options).unwrap()).unwrap()
}

fn turns(contents: &Contents) -> Vec<(History, u32, Blocks)> {
    let turn = |turn: &Turn| (turn.history, turn.input_tokens.unwrap(), turn.blocks.clone().unwrap());
    contents.turns().map(turn).collect()
}

fn blocks(ids: &[u64], skip: u32, answer_tokens: u32) -> Blocks {
    Blocks { scope: 1, size: 64, ids: ids.to_vec(), skip, answer_tokens }
}

#[test]
fn a_session_is_a_conversation_whose_turns_say_what_is_new() {
    let contents = read(&session().to_string(), SourceOptions::default());
    assert_eq!(contents.conversations[0].id.as_deref(), Some("trace_a1"));
    let (nothing, previous) = (Follows::Nothing, Follows::Previous);
    let history = |follows, recorded_answer| History { follows, recorded_answer };
    assert_eq!(
        turns(&contents),
        [
            // Its third block is known from the request after it.
            (history(nothing, false), 150, blocks(&[1, 2, 3], 0, 0)),
            (history(nothing, false), 70, blocks(&[1, 9], 0, 0)),
            (history(previous, true), 60, blocks(&[9], 6, 8)),
            // The agent goes on from its own last request: 30 tokens of answer, then 20 tokens.
            (history(Follows::Turn(0), true), 50, blocks(&[3], 22, 30)),
            // A context that was cut short is a whole prompt.
            (history(nothing, false), 90, blocks(&[1], 0, 0)),
        ]
    );
    let delays: Vec<_> = contents.turns().map(|turn| turn.delay.as_secs_f64()).collect();
    assert_eq!(delays, [0.0, 1.0, 2.5, 0.0, 10.0], "from the end of an answer, and at most 10 s");
    let lengths: Vec<_> = contents.turns().map(|turn| turn.requested_output_tokens.unwrap()).collect();
    assert_eq!(lengths, [30, 8, 9, 5, 1]);
    let notes = [
        "its prompts hold the recorded answers",
        "the requests of 1 sub-agent(s) are sent one at a time",
        "1 wait(s) before a request are cut to 10 s; --trace-idle-gap-cap-seconds sets",
        "1 request(s) without an answer ask for one token",
        "the recorded models (`big`, `small`) are not asked for",
        "`colour` of its sessions are not known",
    ];
    assert_eq!(contents.notes.len(), notes.len(), "{:?}", contents.notes);
    assert!(
        contents.notes.iter().zip(notes).all(|(note, beginning)| note.starts_with(beginning)),
        "{:?}",
        contents.notes
    );
}

#[test]
fn sessions_are_lines_or_span_lines_and_share_no_blocks() {
    let lines = format!("{}\n{}\n", session(), session());
    let pretty = format!("{:#}\n{:#}", session(), session());
    let [lines, pretty] = [lines, pretty].map(|text| read(&text, SourceOptions::default()));
    assert_eq!(lines.conversations, pretty.conversations);
    let scopes: BTreeSet<_> = turns(&lines).into_iter().map(|(_, _, blocks)| blocks.scope).collect();
    assert_eq!(scopes, BTreeSet::from([1, 2]));
    assert_eq!(lines.counts.rows, 2);
}

#[test]
fn a_directory_has_a_session_in_each_file() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["b.json", "a.json"] {
        let mut session = session();
        session["id"] = name.into();
        fs::write(directory.path().join(name), format!("{session:#}")).unwrap();
    }
    fs::write(directory.path().join("notes.txt"), "no session").unwrap();
    let contents = Contents::read(directory.path(), &SourceOptions::default()).unwrap();
    let ids: Vec<_> = contents.conversations.iter().map(|conversation| conversation.id.as_deref()).collect();
    assert_eq!(ids, [Some("a.json"), Some("b.json")]);
    fs::write(directory.path().join("c.json"), "{\"block_size\": 64,\n \"requests\": 5}").unwrap();
    let error = Contents::read(directory.path(), &SourceOptions::default()).unwrap_err().to_string();
    assert!(error.contains("c.json: line 2, column 14: invalid type: integer `5`"), "{error}");
}

#[test]
fn the_first_sessions_start_where_they_are_under_way() {
    let agents = AgentRules { under_way: 1, start_from: 0.07, start_to: 0.08, ..AgentRules::default() };
    let text = format!("{}\n{}", session(), session());
    let contents = read(&text, SourceOptions { agents, ..SourceOptions::default() });
    // 7 % of 100 s: the second request of the sub-agent is the first that is sent, with its whole context.
    let lengths = |index: usize| {
        contents.conversations[index].turns.iter().map(|turn| turn.input_tokens.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((lengths(0), lengths(1)), (vec![130, 200, 90], vec![150, 70, 60, 50, 90]));
    assert!(contents.conversations[0].turns[..2].iter().all(|turn| turn.history.follows == Follows::Nothing));
    assert_eq!(contents.conversations[0].turns[0].delay, Nanos::ZERO);
    assert!(contents.notes.iter().any(|note| note.contains("start at a random point")), "{:?}", contents.notes);
    // At its own times a session is sent whole.
    let contents = read(&text, SourceOptions { agents, timing: Timing::Timed, ..SourceOptions::default() });
    let at: Vec<_> = contents.conversations[0].turns.iter().map(|turn| turn.at.unwrap().as_secs_f64()).collect();
    assert_eq!(at, [0.0, 5.0, 8.5, 9.0, 100.0]);
}

#[test]
fn times_of_a_sub_agent_may_count_from_its_start() {
    let mut session = session();
    for (index, t) in [(0, 0.0), (1, 3.5)] {
        session["requests"][1]["requests"][index]["t"] = t.into();
    }
    let contents = read(&session.to_string(), SourceOptions { timing: Timing::Timed, ..SourceOptions::default() });
    let at: Vec<_> = contents.turns().map(|turn| turn.at.unwrap().as_secs_f64()).collect();
    assert_eq!(at, [0.0, 5.0, 8.5, 9.0, 100.0]);
}

#[test]
fn what_is_no_session_is_refused_by_its_place() {
    let good = session().to_string();
    for (line, words) in [
        (r#"{"id": "a", "requests": [{"t": 0, "out": 1}]}"#, "line 2: a request has no `in`"),
        (r#"{"id": "a", "requests": [{"t": -1, "in": 5}]}"#, "line 2: `t` -1 is not a number of seconds"),
        (
            r#"{"id": "a", "requests": [{"t": 0, "in": 5, "type": "x"}]}"#,
            "the `type` `x` of a request is not known; known are n, s and subagent",
        ),
        (r#"{"id": "a", "requests": [{"t": 0, "type": "subagent"}]}"#, "a sub-agent has no `requests`"),
        (r#"{"id": "a", "block_size": 0, "requests": []}"#, "`block_size` 0"),
        (r#"{"id": "a", "requests": [{"in": 5}]}"#, "line 2, column 34: missing field `t`"),
        (r#"{"id": "a", "requests": ["#, "line 2, column 25: EOF while parsing a list; expected a session"),
        (r#"{"id": "a", "requests": [{"t": 0, "in": 5, "hash_ids": [0.5]}]}"#, "expected the id of a block"),
        (r#"{"id": "a", "requests": [{"t": 0, "in": 99999999}]}"#, "in 99999999: longer than any prompt"),
    ] {
        let error = read_text(&format!("{good}\n{line}"), Timing::Untimed).unwrap_err().to_string();
        assert!(error.contains(words), "{line}: {error}");
    }
    // A session without requests is none.
    assert!(matches!(read_text(r#"{"id": "a", "requests": []}"#, Timing::Untimed), Err(SourceError::Empty)));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in r#"(\{"requests": \[(\{"t": [0-9], "in": [0-9]{1,3}(, "hash_ids": \[[0-9]\])?\},?){0,3}\]\}|.|\n){0,5}"#) {
        for timing in [Timing::Timed, Timing::Untimed] {
            let options = SourceOptions { timing, format: Some(&FORMAT), ..SourceOptions::default() };
            let _ = source(Input::text(text.clone()), &options).and_then(Contents::of);
            let _ = read_text(&format!("{}\n{text}", session()), timing);
        }
    }

    #[test]
    fn turns_add_up_to_their_contexts(lengths in prop::collection::vec((1_u32..400, 1_u32..50), 1..8), size in 1_u32..70) {
        let request = |(index, (input, output)): (usize, &(u32, u32))| {
            json!({"t": index, "in": input, "out": output, "hash_ids": (0..input / size).collect::<Vec<_>>()})
        };
        let requests: Vec<_> = lengths.iter().enumerate().map(request).collect();
        let text = json!({"block_size": size, "requests": requests}).to_string();
        let contents = read_text(&text, Timing::Untimed).unwrap();
        let mut whole: Vec<u64> = Vec::new();
        for (index, (turn, (input, _))) in contents.turns().zip(&lengths).enumerate() {
            let before = turn.history.parent(index as u32).map_or(0, |parent| whole[parent as usize]);
            whole.push(before + u64::from(turn.input_tokens.unwrap()));
            prop_assert_eq!(whole[index], u64::from(*input));
            let blocks = turn.blocks.as_ref().unwrap();
            prop_assert_eq!((before % u64::from(size)) as u32, blocks.skip);
            prop_assert!(blocks.answer_tokens < turn.input_tokens.unwrap());
        }
    }
}
