//! gRPC: requests over streams and calls, and each way in which they go wrong, against a scripted server.

use crate::grpc_server::{Call, GrpcServer, answer, answer_all, empty, serve, serve_grpc, settle, streamed, text};
use crate::trial::{Ended, Trial, failure};
use crate::words::LIMIT;
use h2::{Reason, server};
use std::time::Duration;
use streamgauge_core::clock::Nanos;
use streamgauge_core::event::OutputKind;
use streamgauge_core::kserve::{KeepAlive, Kserve};
use streamgauge_core::plan::EndpointKind;
use streamgauge_core::prompt::{Content, Payload, Prompt};
use streamgauge_core::record::{FailureClass, Outcome, Stage};
use streamgauge_core::tensor::{Datatype, Tensor};
use streamgauge_wire::endpoints::spec;
use streamgauge_wire::proto::{ModelInferResponse, ModelStreamInferResponse};

/// A request with one input of text.
pub fn prompt(words: &str) -> Prompt {
    let mut data = Vec::new();
    Tensor::push_string(&mut data, words.as_bytes());
    let input = Tensor { name: "text_input".to_owned(), datatype: Datatype::Bytes, shape: vec![1, 1], data };
    Prompt {
        content: Content::Texts(vec![words.to_owned()]),
        tokens: 2,
        requested_output_tokens: None,
        model: "model".to_owned(),
        payload: Payload::Tensors { inputs: vec![input], expected: Vec::new() },
    }
}

/// A run over gRPC streams of a decoupled model.
pub fn streams(server: &GrpcServer) -> Trial {
    let kserve = Kserve { decoupled: true, text_output: Some("text_output".to_owned()), ..Kserve::default() };
    let mut trial = Trial::at(server.addr()).kind(EndpointKind::KserveGrpc).prompts(vec![prompt("two words")]);
    trial.plan.endpoint.path = spec(EndpointKind::KserveGrpc).default_path("", None, true);
    trial.plan.endpoint.kserve = kserve;
    trial
}

/// A run of calls, each with one answer.
pub fn calls(server: &GrpcServer) -> Trial {
    let mut trial = streams(server).streaming(false);
    trial.plan.endpoint.path = spec(EndpointKind::KserveGrpc).default_path("", None, false);
    trial.plan.endpoint.kserve.decoupled = false;
    trial
}

/// Connections opened and replaced.
pub fn connections(ended: &Ended) -> (u64, u64) {
    (ended.facts.connections_opened, ended.facts.connections_replaced)
}

#[test]
fn requests_follow_each_other_on_one_stream() {
    let server = serve_grpc(answer_all);
    let ended = streams(&server).requests(5).run();
    ended.all_ok(5);
    assert_eq!((server.accepted(), server.calls(), connections(&ended)), (1, 1, (1, 0)));
    for finished in &ended.finished {
        let record = &finished.record;
        assert_eq!((record.status, record.chunks.len(), record.connect), (Some(200), 3, None));
        assert!(record.chunks.iter().all(|chunk| chunk.kind == OutputKind::Text));
        assert_eq!(finished.received.texts[0].text, "a b c");
        assert!(record.sent <= record.written && record.written.is_some(), "{record:?}");
    }
    assert!(ended.records()[1..].iter().all(|record| record.turnaround.is_some()));
}

#[test]
fn calls_have_an_answer_each() {
    let server = serve_grpc(async |mut call: Call| {
        assert_eq!(call.path, "/inference.GRPCInferenceService/ModelInfer");
        assert_eq!(
            (&call.headers["te"], &call.headers["content-type"]),
            (&"trailers".parse().unwrap(), &"application/grpc".parse().unwrap())
        );
        let request = call.request().await.unwrap();
        assert!(call.request().await.is_none(), "the client's side is not closed");
        call.message(&text(&request.id, "a b"));
        call.end("0", "");
    });
    let ended = calls(&server).requests(4).run();
    ended.all_ok(4);
    assert_eq!((server.accepted(), server.calls(), connections(&ended)), (1, 4, (1, 0)));
    for finished in &ended.finished {
        assert_eq!((finished.record.chunks.len(), finished.received.texts[0].text.as_str()), (1, "a b"));
        assert!(finished.record.written >= finished.record.sent && finished.record.sent.is_some());
    }
}

/// The first request is answered by `wrong`, all others well; three requests.
fn spoilt<F: Future<Output = ()>>(wrong: impl Fn(Call, String) -> F + Clone + Send + 'static) -> (Ended, GrpcServer) {
    let server = serve_grpc(move |mut call: Call| {
        let wrong = wrong.clone();
        async move {
            if call.number > 0 {
                return answer_all(call).await;
            }
            let request = call.request().await.unwrap();
            wrong(call, request.id).await;
        }
    });
    let ended = streams(&server).requests(3).timeouts(|limits| limits.idle = Nanos::from_millis(1_500)).run();
    assert_eq!(ended.finished.len(), 3);
    assert!(ended.records()[1..].iter().all(|record| record.is_ok()), "{:?}", ended.records());
    (ended, server)
}

fn first(ended: &Ended) -> (Stage, FailureClass, &str) {
    failure(ended.records()[0])
}

#[test]
fn a_response_to_another_request_is_malformed() {
    let (ended, server) = spoilt(async |mut call, id| {
        call.message(&streamed(text(&id, "a"), false));
        call.message(&streamed(text("nobody", "b"), false));
        call.hang().await;
    });
    let (stage, class, message) = first(&ended);
    assert_eq!((stage, class), (Stage::Body, FailureClass::Malformed));
    assert!(message.contains("request `nobody`"), "{message}");
    assert_eq!(ended.records()[0].chunks.len(), 1);
    // The stream is given up, and its connection is not.
    assert_eq!((server.accepted(), server.calls(), connections(&ended)), (1, 2, (1, 0)));
}

#[test]
fn more_after_the_final_response_is_malformed_where_it_came_with_it() {
    let (ended, _server) = spoilt(async |mut call, id| {
        let mut both = streamgauge_wire::grpc::framed(&prost::Message::encode_to_vec(&streamed(text(&id, "a"), true)));
        both.extend(streamgauge_wire::grpc::framed(&prost::Message::encode_to_vec(&streamed(text(&id, "b"), true))));
        call.send(both);
        call.hang().await;
    });
    let (_, class, message) = first(&ended);
    assert_eq!(class, FailureClass::Malformed);
    assert!(message.contains("after the last one"), "{message}");
}

#[test]
fn a_part_of_a_message_behind_the_final_response_is_not_the_next_answers() {
    let (ended, server) = spoilt(async |mut call, id| {
        let mut bytes = streamgauge_wire::grpc::framed(&prost::Message::encode_to_vec(&streamed(text(&id, "a"), true)));
        bytes.extend([0, 0, 0]);
        call.send(bytes);
        call.hang().await;
    });
    assert_eq!(first(&ended).1, FailureClass::Malformed, "{:?}", ended.records()[0]);
    assert_eq!((server.accepted(), server.calls()), (1, 2));
}

#[test]
fn a_stream_without_its_final_response_runs_out_of_time() {
    let (ended, server) = spoilt(async |mut call, id| {
        call.message(&streamed(text(&id, "a"), false));
        call.hang().await;
    });
    let said = (Stage::Body, FailureClass::Timeout, "the next piece of the answer took longer than 1.5 s");
    assert_eq!((first(&ended), ended.records()[0].chunks.len()), (said, 1));
    assert_eq!((server.accepted(), server.calls()), (1, 2));
}

#[test]
fn an_error_message_fails_its_request_alone() {
    let (ended, server) = spoilt(async |mut call, id| {
        let error =
            ModelStreamInferResponse { error_message: "no such model".to_owned(), infer_response: Some(empty(&id)) };
        call.message(&error);
        call.hang().await;
    });
    assert_eq!(first(&ended), (Stage::Body, FailureClass::InBand, "no such model"));
    assert_eq!((server.accepted(), server.calls()), (1, 2));
}

#[test]
fn a_status_after_some_responses() {
    let (ended, server) = spoilt(async |mut call, id| {
        call.message(&streamed(text(&id, "a"), false));
        call.end("14", "model%20unloaded");
    });
    assert_eq!(first(&ended), (Stage::Body, FailureClass::Status, "UNAVAILABLE: model unloaded"));
    assert_eq!((ended.records()[0].status, server.accepted(), server.calls()), (Some(200), 1, 2));
}

#[test]
fn a_status_and_nothing_else() {
    let (ended, server) = spoilt(async |mut call, _| call.end("3", "unexpected input"));
    assert_eq!(first(&ended), (Stage::Body, FailureClass::Status, "INVALID_ARGUMENT: unexpected input"));
    let record = ended.records()[0];
    assert!(record.status == Some(200) && record.first_byte.is_some());
    assert_eq!((server.accepted(), server.calls()), (1, 2));
}

#[test]
fn a_stream_that_is_reset() {
    let (ended, server) = spoilt(async |mut call, id| {
        call.message(&streamed(text(&id, "a"), false));
        settle().await;
        call.reset(Reason::INTERNAL_ERROR);
    });
    assert_eq!(first(&ended), (Stage::Body, FailureClass::Reset, "the server reset the stream: INTERNAL_ERROR"));
    assert_eq!((ended.records()[0].chunks.len(), server.accepted(), server.calls()), (1, 1, 2));
    let (ended, _server) = spoilt(async |mut call, _| call.reset(Reason::REFUSED_STREAM));
    assert_eq!(first(&ended), (Stage::FirstByte, FailureClass::Reset, "the server reset the stream: REFUSED_STREAM"));
}

#[test]
fn a_connection_that_ends_under_a_stream() {
    let (ended, server) = spoilt(async |mut call, id| {
        call.message(&streamed(text(&id, "a"), false));
        settle().await;
        call.drop_connection();
        call.hang().await;
    });
    let (stage, class, message) = first(&ended);
    assert_eq!(stage, Stage::Body);
    assert!(matches!(class, FailureClass::Truncated | FailureClass::Reset), "{class:?} {message}");
    assert_eq!((ended.records()[0].chunks.len(), server.accepted()), (1, 2));
    assert!(ended.records()[1].connect.is_some());
}

#[test]
fn a_server_that_ends_the_connection_with_a_reason() {
    let (ended, server) = spoilt(async |mut call, id| {
        call.message(&streamed(text(&id, "a"), false));
        settle().await;
        call.abrupt(Reason::ENHANCE_YOUR_CALM);
        call.hang().await;
    });
    let said = (Stage::Body, FailureClass::Reset, "the server ended the connection: ENHANCE_YOUR_CALM");
    assert_eq!((first(&ended), server.accepted()), (said, 2));
}

#[test]
fn a_server_that_takes_no_more_streams_finishes_the_one_it_has() {
    let server = serve_grpc(async |mut call: Call| {
        if call.connection > 0 {
            return answer_all(call).await;
        }
        let request = call.request().await.unwrap();
        call.go_away();
        settle().await;
        answer(&mut call, &request.id);
        // The next request is on its way, and nobody reads it.
        settle().await;
        call.end("0", "");
    });
    let ended = streams(&server).requests(3).run_as_races();
    ended.all_ok(3);
    assert_eq!((server.accepted(), ended.facts.connections_opened), (2, 2));
    assert_eq!(ended.records().iter().map(|record| record.retries).collect::<Vec<_>>(), [0, 1, 0]);
}

#[test]
fn a_stream_that_ended_between_requests_is_opened_again() {
    let server = serve_grpc(async |mut call: Call| {
        let request = call.request().await.unwrap();
        answer(&mut call, &request.id);
        call.end("0", "");
    });
    let pause = Trial::rate(streams(&server), 5.0, streamgauge_core::arrival::Arrival::Constant, Some(1));
    let ended = pause.requests(3).run();
    ended.all_ok(3);
    assert_eq!((server.accepted(), server.calls()), (1, 3));
    assert_eq!(connections(&ended), (1, 2));
    assert!(ended.records().iter().all(|record| record.retries == 0));
}

#[test]
fn a_stream_that_ends_under_a_request_without_a_word_costs_one_retry() {
    let server = serve_grpc(async |mut call: Call| {
        let request = call.request().await.unwrap();
        answer(&mut call, &request.id);
        if call.number > 0 {
            return answer_all(call).await;
        }
        call.request().await.unwrap();
        call.end("0", "");
    });
    let ended = streams(&server).requests(3).run_as_races();
    ended.all_ok(3);
    assert_eq!(ended.records().iter().map(|record| record.retries).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!((server.accepted(), server.calls()), (1, 2));
}

#[test]
fn a_stream_that_ends_while_the_server_works_is_a_failure_and_latency_counts_from_the_first_send() {
    let serve = |dies: bool| {
        serve_grpc(move |call: Call| async move {
            let mut call = call;
            let request = call.request().await.unwrap();
            answer(&mut call, &request.id);
            if call.number > 0 {
                return answer_all(call).await;
            }
            call.request().await.unwrap();
            settle().await;
            if dies { call.drop_connection() } else { call.end("0", "") }
        })
    };
    let server = serve(true);
    let ended = streams(&server).requests(3).run();
    let records = ended.records();
    assert!(records[0].is_ok() && records[2].is_ok());
    assert_eq!((failure(records[1]).0, records[1].retries), (Stage::FirstByte, 0));
    let server = serve(false);
    let ended = streams(&server).requests(3).run_as_races();
    ended.all_ok(3);
    let again = ended.records()[1];
    // The server waited this long before the connection was lost.
    assert!(again.retries == 1 && again.written.unwrap() - again.sent.unwrap() >= Nanos::from_millis(140), "{again:?}");
}

#[test]
fn a_stream_that_ends_in_order_before_its_final_response_is_truncated() {
    let (ended, _server) = spoilt(async |mut call, id| {
        call.message(&streamed(text(&id, "a"), false));
        call.end("0", "");
    });
    let said = "the server ended the stream before its final response";
    assert_eq!(first(&ended), (Stage::Body, FailureClass::Truncated, said));
}

#[test]
fn responses_are_read_however_they_are_cut() {
    let server = serve_grpc(async |mut call: Call| {
        while let Some(request) = call.request().await {
            let responses = [streamed(text(&request.id, "a"), false), streamed(text(&request.id, " b"), true)];
            let bytes: Vec<u8> = responses
                .iter()
                .flat_map(|response| streamgauge_wire::grpc::framed(&prost::Message::encode_to_vec(response)))
                .collect();
            for piece in bytes.chunks(7) {
                call.send(piece.to_vec());
                tokio::task::yield_now().await;
            }
        }
    });
    let ended = streams(&server).requests(3).run();
    ended.all_ok(3);
    assert!(ended.finished.iter().all(|finished| finished.received.texts[0].text == "a b"));
}

#[test]
fn a_call_without_an_answer_is_malformed_and_one_that_is_refused_says_why() {
    let server = serve_grpc(async |mut call: Call| {
        call.request().await.unwrap();
        match call.number {
            0 => call.head(),
            1 => return call.end("12", "ModelInfer RPC doesn't support models with decoupled transaction policy"),
            _ => return call.head_of(503, &[("content-type", "text/plain")]),
        }
        call.end("0", "");
    });
    let ended = calls(&server).requests(3).run();
    let records = ended.records();
    assert_eq!(failure(records[0]), (Stage::Body, FailureClass::Malformed, "the answer is empty"));
    let (stage, class, message) = failure(records[1]);
    assert_eq!((stage, class), (Stage::Body, FailureClass::Status));
    assert!(message.starts_with("UNIMPLEMENTED: ModelInfer RPC"), "{message}");
    assert_eq!(records[2].status.map(|_| failure(records[2]).1), Some(FailureClass::Reset), "{:?}", records[2]);
    assert_eq!(server.accepted(), 1);
}

#[test]
fn an_answer_that_is_no_grpc_has_its_status_and_its_words() {
    for streaming in [true, false] {
        let server = serve_grpc(async |mut call: Call| {
            call.request().await.unwrap();
            call.head_of(503, &[("content-type", "text/plain")]);
            call.send("no upstream");
            call.end("14", "");
        });
        let ended = if streaming { streams(&server) } else { calls(&server) }.requests(2).run();
        for record in ended.records() {
            assert_eq!(failure(record), (Stage::Body, FailureClass::Status, "503: no upstream"), "{record:?}");
            assert_eq!(record.status, Some(503));
        }
    }
}

#[test]
fn a_server_that_does_not_speak_http2() {
    let server = crate::script::serve(|peer| {
        peer.glance();
        peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        peer.hang();
    });
    let mut trial = streams(&serve_grpc(answer_all)).requests(1);
    trial.plan.endpoint.target.port = server.addr().port();
    let ended = trial.run();
    let (stage, class, message) = failure(&ended.only().record);
    assert_eq!((stage, class), (Stage::Connect, FailureClass::Malformed), "{message}");
    assert!(message.starts_with("not HTTP/2"), "{message}");
}

#[test]
fn a_server_that_resets_the_connection_before_it_says_anything() {
    let server = crate::script::serve(|peer| {
        peer.reset_at_end();
        peer.glance();
    });
    let mut trial = streams(&serve_grpc(answer_all));
    trial.plan.endpoint.target.port = server.addr().port();
    let ended = trial.run();
    let (stage, class, message) = failure(&ended.only().record);
    assert_eq!((stage, class), (Stage::Connect, FailureClass::Reset), "{message}");
    assert!(ended.only().record.connect.is_some() && ended.only().record.sent.is_none());
}

#[test]
fn a_server_that_never_says_how_many_streams_it_takes_is_not_connected_to() {
    let server = crate::script::serve(crate::script::Peer::hang);
    let mut trial = streams(&serve_grpc(answer_all)).timeouts(|limits| limits.connect = Nanos::from_millis(300));
    trial.plan.endpoint.target.port = server.addr().port();
    let ended = trial.run();
    let said = (Stage::Connect, FailureClass::Timeout, "opening the connection took longer than 0.3 s");
    assert_eq!(failure(&ended.only().record), said);
}

#[test]
fn large_requests_wait_for_the_servers_windows() {
    let server = serve(None, server::Builder::new().initial_window_size(10_000).clone(), async |mut call: Call| {
        let request = call.request().await.unwrap();
        let size = request.raw_input_contents[0].len();
        call.message(&text(&request.id, &size.to_string()));
        call.end("0", "");
    });
    let words = "x".repeat(3_000_000);
    let ended = calls(&server).prompts(vec![prompt(&words)]).requests(2).run();
    ended.all_ok(2);
    for finished in &ended.finished {
        assert_eq!(finished.received.texts[0].text, (words.len() + 4).to_string());
        let record = &finished.record;
        assert!(record.sent < record.written, "{record:?}");
    }
}

#[test]
fn large_answers_are_taken_whole() {
    let server = serve_grpc(async |mut call: Call| {
        let request = call.request().await.unwrap();
        call.message(&text(&request.id, &"y".repeat(20_000_000)));
        call.end("0", "");
    });
    let ended = calls(&server).requests(2).run();
    ended.all_ok(2);
    assert!(ended.finished.iter().all(|finished| finished.received.texts[0].text.len() == 20_000_000));
}

#[test]
fn a_server_that_answers_no_ping_is_given_up() {
    // It reads nothing after the first request.
    let server = serve_grpc(async |mut call: Call| {
        call.request().await.unwrap();
        call.head();
        // The runtime of this server is the only one that could answer.
        std::thread::sleep(Duration::from_millis(1_500));
        call.drop_connection();
        call.hang().await;
    });
    let mut trial = streams(&server);
    let ms = Nanos::from_millis;
    trial.plan.transport.channels.keep_alive = Some(KeepAlive { every: ms(100), timeout: ms(200) });
    let ended = trial.timeouts(|limits| (limits.idle, limits.first_byte) = (LIMIT, LIMIT)).run();
    let (stage, class, message) = failure(&ended.only().record);
    assert_eq!(class, FailureClass::Timeout, "{stage:?} {message}");
    assert_eq!(message, "no answer to a keep-alive ping within 0.2 s");
}

#[test]
fn a_server_that_answers_pings_may_take_its_time() {
    let server = serve_grpc(async |mut call: Call| {
        let request = call.request().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        answer(&mut call, &request.id);
        answer_all(call).await;
    });
    let mut trial = streams(&server).requests(2);
    let ms = Nanos::from_millis;
    trial.plan.transport.channels.keep_alive = Some(KeepAlive { every: ms(100), timeout: ms(30_000) });
    trial.run().all_ok(2);
}

#[test]
fn a_request_that_is_given_up_costs_its_stream_and_not_the_connection() {
    let server = serve_grpc(async |mut call: Call| {
        while let Some(request) = call.request().await {
            call.message(&streamed(text(&request.id, "a"), false));
        }
    });
    let ended = streams(&server).requests(3).cancel(1.0, Nanos::from_millis(60)).run();
    assert_eq!(ended.finished.len(), 3);
    assert!(ended.records().iter().all(|record| record.outcome == Outcome::Cancelled), "{:?}", ended.records());
    assert_eq!((server.accepted(), server.calls(), connections(&ended)), (1, 3, (1, 0)));
}

#[test]
fn outputs_without_text_are_chunks_too() {
    let server = serve_grpc(async |mut call: Call| {
        let request = call.request().await.unwrap();
        let mut response: ModelInferResponse = text(&request.id, "abcd");
        response.outputs[0].name = "OUTPUT0".to_owned();
        call.message(&response);
        call.end("0", "");
    });
    let ended = calls(&server).run();
    ended.all_ok(1);
    assert_eq!(ended.only().record.chunks[0].kind, OutputKind::Tensors);
}
