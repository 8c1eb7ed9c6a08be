//! Conversations: a turn is sent when the turn before it has been answered, and holds what was said before it.

use crate::script::{Server, serve};
use crate::trial::{Ended, Trial};
use crate::words::{chunk, delta, document, finish, prompt, stream};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use streamgauge_core::arrival::Arrival;
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::Arrivals;
use streamgauge_core::plan::EndpointKind;
use streamgauge_core::prompt::{Content, Follows, History, Message, Prompt};
use streamgauge_core::record::Outcome;
use streamgauge_load::Finished;

/// The bodies of requests in the order in which they came.
pub type Bodies = Arc<Mutex<Vec<Value>>>;

/// A server that answers each request with `answer N`, where N is the number of the messages in it.
pub fn server() -> (Server, Bodies) {
    let bodies = Bodies::default();
    let seen = bodies.clone();
    let server = serve(move |peer| {
        while let Some(request) = peer.request() {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let messages = body["messages"].as_array().map_or(0, Vec::len);
            seen.lock().unwrap().push(body);
            peer.send(&stream(&["answer ", &messages.to_string()]));
        }
    });
    (server, bodies)
}

/// Turns that say `texts`.
pub fn turns(texts: &[&str]) -> Vec<Prompt> {
    let turn = |text: &&str| Prompt { content: Content::Messages(vec![Message::text("user", *text)]), ..prompt(5) };
    texts.iter().map(turn).collect()
}

/// The messages of a body: who says what.
pub fn said(body: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let messages = body["messages"].as_array().unwrap();
    messages.iter().map(|message| (text(&message["role"]), text(&message["content"]))).collect()
}

pub fn messages(texts: &[&str]) -> Vec<(String, String)> {
    let roles = ["user", "assistant"].into_iter().cycle();
    roles.zip(texts).map(|(role, text)| (role.to_owned(), (*text).to_owned())).collect()
}

/// The number, conversation and turn of each record.
fn places(ended: &Ended) -> Vec<(u64, u64, u32)> {
    let place = |record: &streamgauge_core::Record| {
        let conversation = record.conversation.unwrap();
        (record.seq, conversation.number, conversation.turn)
    };
    ended.finished.iter().map(|finished| place(&finished.record)).collect()
}

#[test]
fn a_turn_holds_the_answers_to_the_turns_before_it() {
    let (server, bodies) = server();
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b", "c", "d", "e"])).requests(5);
    let ended = trial.run_in_conversations(&[3, 2], Nanos::ZERO);
    ended.all_ok(5);
    assert_eq!(places(&ended), [(0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 1, 0), (4, 1, 1)]);
    let expected = [
        &["a"][..],
        &["a", "answer 1", "b"],
        &["a", "answer 1", "b", "answer 3", "c"],
        &["d"],
        &["d", "answer 1", "e"],
    ];
    let bodies = bodies.lock().unwrap();
    assert_eq!(bodies.iter().map(said).collect::<Vec<_>>(), expected.map(messages));
    assert!(ended.finished.iter().all(|finished| finished.record.due.is_none()), "a closed loop has no schedule");
}

#[test]
fn a_branch_holds_what_was_said_up_to_the_turn_that_it_follows() {
    let (server, bodies) = server();
    let histories = [
        (Follows::Previous, false),
        (Follows::Nothing, false),
        (Follows::Previous, false),
        (Follows::Turn(0), false),
        (Follows::Turn(0), true),
        (Follows::Previous, true),
    ];
    let histories = histories.map(|(follows, recorded_answer)| History { follows, recorded_answer });
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b", "c", "d", "e", "f"])).requests(6);
    let ended = trial.run_in_branches(&[6], &histories, Nanos::ZERO);
    ended.all_ok(6);
    let texts = |body: &Value| said(body).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", ");
    let expected = ["a", "b", "b, answer 1, c", "a, answer 1, d", "a, e", "a, e, f"];
    assert_eq!(bodies.lock().unwrap().iter().map(texts).collect::<Vec<_>>(), expected);
    let recorded = ended.finished.iter().map(|finished| finished.record.conversation.unwrap().history);
    assert!(recorded.eq(histories));
}

#[test]
fn conversations_go_round_and_end_with_the_count_of_requests() {
    let (server, bodies) = server();
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b", "c"])).requests(5);
    let ended = trial.run_in_conversations(&[1, 2], Nanos::ZERO);
    ended.all_ok(5);
    let texts: Vec<_> = bodies.lock().unwrap().iter().map(|body| said(body).pop().unwrap().1).collect();
    assert_eq!(texts, ["a", "b", "c", "a", "b"]);
}

#[test]
fn a_slot_holds_one_conversation_at_a_time() {
    let (server, bodies) = server();
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b", "c"])).slots(3).threads(2).requests(30);
    let ended = trial.run_in_conversations(&[3], Nanos::ZERO);
    ended.all_ok(30);
    for finished in &ended.finished {
        let conversation = finished.record.conversation.unwrap();
        assert_eq!(finished.record.seq, conversation.number * 3 + u64::from(conversation.turn));
        let first = &ended.finished[conversation.number as usize * 3].record;
        assert_eq!((finished.record.slot, finished.record.thread), (first.slot, first.thread));
    }
    assert_eq!(bodies.lock().unwrap().iter().filter(|body| said(body).len() == 5).count(), 10);
}

#[test]
fn in_an_open_loop_later_turns_are_due_after_their_delay() {
    let (server, _bodies) = server();
    let delay = Nanos::from_millis(40);
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b"])).rate(50.0, Arrival::Constant, None).requests(8);
    let ended = trial.run_in_conversations(&[2], delay);
    ended.all_ok(8);
    for pair in ended.finished.chunks(2) {
        let [first, second] = [&pair[0].record, &pair[1].record];
        assert_eq!(second.due, Some(first.end + delay));
        assert!(second.sent >= second.due);
    }
    let starts: Vec<Nanos> = ended.finished.iter().step_by(2).filter_map(|finished| finished.record.due).collect();
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == Nanos::from_millis(20)), "{starts:?}");
}

#[test]
fn a_closed_loop_waits_for_the_delay_too() {
    let (server, _bodies) = server();
    let delay = Nanos::from_millis(30);
    let ended = Trial::at(server.addr()).prompts(turns(&["a", "b"])).requests(2).run_in_conversations(&[2], delay);
    ended.all_ok(2);
    let [first, second] = [&ended.finished[0].record, &ended.finished[1].record];
    assert!(second.issued >= first.end + delay);
    assert!(second.turnaround.unwrap() < delay, "the pause is the plan's and not the client's");
}

#[test]
fn a_turn_that_fails_ends_its_conversation() {
    let server = serve(|peer| {
        while let Some(request) = peer.request() {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let fails = said(&body).first().is_some_and(|(_, text)| text == "a");
            let answer = if fails { document(400, "text/plain", "no") } else { stream(&["yes"]) };
            peer.send(&answer);
        }
    });
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b", "c", "d"])).requests(4);
    let ended = trial.run_in_conversations(&[2, 2], Nanos::ZERO);
    assert_eq!(places(&ended), [(0, 0, 0), (2, 1, 0), (3, 1, 1)]);
    assert!(matches!(ended.finished[0].record.outcome, Outcome::Failed(_)));
    assert!(ended.finished[1..].iter().all(|finished| finished.record.is_ok()));
}

#[test]
fn failed_conversations_and_the_turns_that_they_lack_are_counted() {
    let server = serve(|peer| {
        while let Some(request) = peer.request() {
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let fails = said(&body).first().is_some_and(|(_, text)| text == "a");
            let answer = if fails { document(400, "text/plain", "no") } else { stream(&["yes"]) };
            peer.send(&answer);
        }
    });
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b", "c", "d", "e"])).requests(5);
    let facts = trial.run_in_conversations(&[3, 2], Nanos::ZERO).facts.conversations.unwrap();
    assert_eq!((facts.begun, facts.finished, facts.failed, facts.unsent_turns), (2, 1, 1, 2));
    assert_eq!(facts.making.count, 1);
    assert!(facts.making.longest > Nanos::ZERO);
}

#[test]
fn in_a_schedule_a_turn_waits_for_its_own_time_and_for_its_delay() {
    let (server, _bodies) = server();
    let at = Nanos::from_millis;
    let dues: Arc<[Nanos]> = [Nanos::ZERO, at(20)].into();
    let arrivals = Arrivals::Trace { file: "t".into(), speedup: 1.0, dues };
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b", "c", "d"])).arrivals(arrivals).requests(4);
    let mut times = [(None, 0), (Some(at(120)), 0), (None, 0), (Some(at(21)), 90)].into_iter();
    let ended = trial.run_in_turns(&[2, 2], |turn| {
        let (at, delay) = times.next().unwrap();
        (turn.at, turn.delay) = (at, Nanos::from_millis(delay));
    });
    ended.all_ok(4);
    let zero = ended.finished[0].record.due.unwrap();
    let due = |seq: usize| ended.finished[seq].record.due.unwrap();
    assert_eq!([due(1) - zero, due(2) - zero], [at(120), at(20)], "the answer came long before");
    assert_eq!(due(3), ended.finished[2].record.end + at(90), "its own time was over by then");
}

#[test]
fn turns_stay_with_the_server_that_answered_the_first_one_unless_they_may_not() {
    for sticky in [true, false] {
        let (first, _) = server();
        let (second, _) = server();
        let trial = Trial::at(first.addr()).and_at(&[second.addr()]).prompts(turns(&["a", "b", "c"])).requests(12);
        let trial = trial.conversations(|rules| rules.sticky = sticky);
        let ended = trial.run_in_conversations(&[3], Nanos::ZERO);
        ended.all_ok(12);
        let targets = |conversation: &[Finished]| -> Vec<u16> {
            conversation.iter().map(|finished| finished.record.target).collect()
        };
        let conversations: Vec<_> = ended.finished.chunks(3).map(targets).collect();
        assert!(
            conversations.iter().any(|targets| targets[0] == 0) && conversations.iter().any(|targets| targets[0] == 1)
        );
        let stays = conversations.iter().all(|targets| targets.iter().all(|target| *target == targets[0]));
        assert_eq!(stays, sticky, "{conversations:?}");
    }
}

#[test]
fn a_header_names_the_conversation_of_each_request() {
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = names.clone();
    let server = serve(move |peer| {
        while let Some(request) = peer.request() {
            let name = request.head.lines().find_map(|line| line.strip_prefix("x-session: ")).unwrap();
            seen.lock().unwrap().push(name.to_owned());
            peer.send(&stream(&["yes"]));
        }
    });
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b", "c"])).requests(6).warmup(1);
    let trial = trial.conversations(|rules| rules.header = Some("X-Session".into()));
    trial.run_in_conversations(&[2, 1], Nanos::ZERO).all_ok(6);
    let names = names.lock().unwrap();
    let [warmup, a, b, c, d, e, f] = &names[..] else { panic!("{names:?}") };
    assert!(a == b && d == e, "{names:?}");
    let different: std::collections::BTreeSet<_> = [warmup, a, c, d, f].into();
    assert_eq!(different.len(), 5, "a conversation that comes again is another one: {names:?}");
}

#[test]
fn recorded_answers_stand_in_the_history_and_their_tokens_are_known() {
    let (server, bodies) = server();
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b", "c"])).requests(3);
    let mut answers = [Some("x"), Some("y"), None].into_iter();
    let ended = trial.run_in_turns(&[3], |turn| {
        turn.answer = answers.next().flatten().map(|text| (Message::text("assistant", text), 7));
    });
    ended.all_ok(3);
    assert_eq!(said(&bodies.lock().unwrap()[2]), messages(&["a", "x", "b", "y", "c"]));
    let tokens = ended.finished.iter().map(|finished| finished.record.conversation.unwrap().history_tokens);
    assert_eq!(tokens.collect::<Vec<_>>(), [None, Some(10), Some(20)], "of prompts with 3 tokens each");
}

#[test]
fn reasoning_stays_out_of_the_history() {
    let bodies = Bodies::default();
    let seen = bodies.clone();
    let server = serve(move |peer| {
        while let Some(request) = peer.request() {
            seen.lock().unwrap().push(serde_json::from_slice(&request.body).unwrap());
            let events = [delta(0, r#""reasoning_content":"hm""#), delta(0, r#""content":"so""#), finish(0, "stop")];
            let chunks: String = events.iter().map(|event| chunk(event)).collect();
            let done = chunk(crate::words::DONE);
            peer.send(&format!("{}{chunks}{done}{}", crate::words::STREAM_HEAD, crate::words::LAST_CHUNK));
        }
    });
    let trial = Trial::at(server.addr()).prompts(turns(&["a", "b"])).requests(2);
    trial.run_in_conversations(&[2], Nanos::ZERO).all_ok(2);
    let last = bodies.lock().unwrap()[1]["messages"].clone();
    let [user, assistant] = ["user", "assistant"];
    let expected =
        [(user, "a"), (assistant, "so"), (user, "b")].map(|(role, text)| json!({"role": role, "content": text}));
    assert_eq!(last, json!(expected));
}

#[test]
fn an_endpoint_without_messages_is_sent_all_that_was_said_as_one_text() {
    let bodies = Bodies::default();
    let seen = bodies.clone();
    let server = serve(move |peer| {
        while let Some(request) = peer.request() {
            seen.lock().unwrap().push(serde_json::from_slice(&request.body).unwrap());
            peer.send(&document(
                200,
                "application/json",
                r#"{"choices":[{"index":0,"text":"so","finish_reason":"stop"}]}"#,
            ));
        }
    });
    let trial = Trial::at(server.addr()).kind(EndpointKind::Completions).streaming(false);
    let trial = trial.prompts(turns(&["a", "b"])).requests(2);
    trial.run_in_conversations(&[2], Nanos::ZERO).all_ok(2);
    assert_eq!(bodies.lock().unwrap()[1]["prompt"], "a\nso\nb");
}
