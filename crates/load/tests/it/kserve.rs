//! KServe v2 against the simulated server: questions, requests over both protocols, and what it can do wrong.

use crate::grpc::prompt;
use crate::grpc_server::serve_grpc;
use crate::trial::{Ended, Trial, failure};
use crate::truth::{quick, sim};
use crate::words::LIMIT;
use streamgauge_core::clock::Nanos;
use streamgauge_core::event::OutputKind;
use streamgauge_core::kserve::{Compression, Kserve, TensorFormat};
use streamgauge_core::plan::{EndpointKind, Header, HeaderValue};
use streamgauge_core::prompt::{Payload, Prompt};
use streamgauge_core::record::{FailureClass, Stage};
use streamgauge_core::tensor::{Datatype, Tensor};
use streamgauge_load::{AskError, Client};
use streamgauge_sim::{Service, Sim};
use streamgauge_wire::endpoints::spec;
use streamgauge_wire::kserve::Call;
use streamgauge_wire::proto::ModelMetadataResponse;
use streamgauge_wire::proto::model_metadata_response::TensorMetadata;

/// Answers of so many tokens, each a response.
fn tokens(count: i32) -> Prompt {
    let mut prompt = Prompt { model: "ensemble".to_owned(), ..prompt("the quick fox") };
    if let Payload::Tensors { inputs, .. } = &mut prompt.payload {
        let shape = vec![1, 1];
        let data = count.to_le_bytes().to_vec();
        let length = Tensor { name: "max_tokens".to_owned(), datatype: Datatype::Int32, shape: shape.clone(), data };
        let stream = Tensor { name: "stream".to_owned(), datatype: Datatype::Bool, shape, data: vec![1] };
        inputs.extend([length, stream]);
    }
    prompt
}

/// A sum of two vectors.
fn sum() -> Prompt {
    let vector = |name: &str, of: f32| Tensor {
        name: name.to_owned(),
        datatype: Datatype::Fp32,
        shape: vec![1, 4],
        data: [of; 4].iter().flat_map(|number| number.to_le_bytes()).collect(),
    };
    let (inputs, expected) = (vec![vector("INPUT0", 1.5), vector("INPUT1", 2.0)], vec![vector("OUTPUT0", 3.5)]);
    Prompt { model: "add_sub".to_owned(), payload: Payload::Tensors { inputs, expected }, ..prompt("") }
}

fn at(server: &Sim, kind: EndpointKind, streaming: bool, prompt: Prompt) -> Trial {
    let mut trial = Trial::at(server.addr()).kind(kind).streaming(streaming);
    trial.plan.endpoint.path = spec(kind).default_path(&prompt.model, None, streaming);
    let kserve = Kserve {
        decoupled: prompt.model == "ensemble",
        text_output: (prompt.model == "ensemble").then(|| "text_output".to_owned()),
        ..Kserve::default()
    };
    trial.plan.endpoint.kserve = kserve;
    trial.prompts(vec![prompt])
}

fn streams(server: &Sim) -> Trial {
    at(server, EndpointKind::KserveGrpc, true, tokens(12))
}

#[test]
fn a_model_is_streamed_over_grpc() {
    let server = sim(quick(), &[]);
    for (slots, share, compression) in
        [(1, 1, Compression::None), (4, 4, Compression::None), (3, 2, Compression::Gzip), (2, 1, Compression::Deflate)]
    {
        let mut trial = streams(&server).slots(slots).requests(24).threads(1);
        trial.plan.transport.channels.streams_per_channel = share;
        trial.plan.endpoint.kserve.compression = compression;
        let ended = trial.run();
        ended.all_ok(24);
        assert_eq!(ended.facts.connections_opened, u64::from(slots.div_ceil(share)));
        for finished in &ended.finished {
            assert_eq!(finished.record.chunks.len(), 12);
            assert!(finished.record.chunks.iter().all(|chunk| chunk.kind == OutputKind::Text));
            assert!(!finished.received.texts[0].text.is_empty());
        }
    }
}

#[test]
fn a_server_without_configurations_is_taken_at_its_metadata_s_word() {
    let server = serve_grpc(|mut call| async move {
        if call.path.ends_with("/ModelMetadata") {
            let input = TensorMetadata { name: "x".into(), datatype: "FP32".into(), shape: vec![-1, 4] };
            call.message(&ModelMetadataResponse { name: "m".into(), inputs: vec![input], ..Default::default() });
            call.end("0", "");
        } else {
            call.end("12", "Method not found!");
        }
    });
    let trial = Trial::at(server.addr()).kind(EndpointKind::KserveGrpc);
    let mut client = Client::new(&trial.plan.endpoint, &trial.routes().unwrap(), trial.clock, LIMIT).unwrap();
    let model = client.model("m", None).unwrap();
    assert_eq!((model.without_config, model.max_batch_size, model.decoupled), (true, 0, false));
    assert_eq!(model.inputs[0].shape, [-1, 4]);
}

#[test]
fn a_plain_model_answers_over_both_protocols_and_is_checked() {
    let server = sim(Service::instant(), &[]);
    for (kind, input, output) in [
        (EndpointKind::KserveGrpc, TensorFormat::Binary, TensorFormat::Binary),
        (EndpointKind::KserveHttp, TensorFormat::Binary, TensorFormat::Binary),
        (EndpointKind::KserveHttp, TensorFormat::Json, TensorFormat::Json),
        (EndpointKind::KserveHttp, TensorFormat::Binary, TensorFormat::Json),
    ] {
        let mut trial = at(&server, kind, false, sum()).slots(2).requests(10);
        let kserve = &mut trial.plan.endpoint.kserve;
        (kserve.input_format, kserve.output_format) = (input, output);
        let ended = trial.clone().run();
        ended.all_ok(10);
        assert!(ended.records().iter().all(|record| record.chunks.len() == 1 && record.written.is_some()));
        assert!(ended.records().iter().all(|record| record.chunks[0].kind == OutputKind::Tensors));
        // An answer that is not the expected one is none.
        if let Payload::Tensors { expected, .. } = &mut trial.prompts[0].payload {
            expected[0].data[0] ^= 1;
        }
        let ended = trial.requests(2).run();
        assert!(ended.records().iter().all(|record| !record.is_ok()), "{:?}", ended.records());
    }
}

#[test]
fn the_generate_extension_answers_at_once_and_in_events() {
    let server = sim(quick(), &[]);
    let of = |streaming| {
        let prompt = Prompt { requested_output_tokens: Some(12), payload: Payload::FromContent, ..tokens(12) };
        at(&server, EndpointKind::Generate, streaming, prompt).requests(3).run()
    };
    let streamed = of(true);
    streamed.all_ok(3);
    assert!(streamed.records().iter().all(|record| record.chunks.len() == 12));
    // Where the model answers by one response.
    of(false).all_ok(3);
}

/// The first stream's failure, where the server does this wrong on it.
fn wrong(fault: &str) -> (Stage, FailureClass, String) {
    let server = sim(quick(), &[fault]);
    let ended: Ended = streams(&server).requests(3).timeouts(|limits| limits.idle = Nanos::from_millis(1_500)).run();
    assert_eq!(ended.finished.len(), 3);
    let failed = ended.records().into_iter().find(|record| !record.is_ok()).expect("nothing went wrong");
    let (stage, class, message) = failure(failed);
    (stage, class, message.to_owned())
}

#[test]
fn what_a_server_does_wrong_on_a_stream_is_put_down() {
    let (stage, class, message) = wrong("unknown-id:every=2");
    assert_eq!((stage, class), (Stage::Body, FailureClass::Malformed), "{message}");
    let (stage, class, message) = wrong("no-final:every=2");
    assert_eq!((stage, class), (Stage::Body, FailureClass::Timeout), "{message}");
    let (stage, class, message) = wrong("extra-response:every=2");
    assert_eq!(class, FailureClass::Malformed, "{stage:?} {message}");
}

fn client(server: &Sim, kind: EndpointKind) -> Client {
    client_of(&at(server, kind, false, sum()))
}

fn client_of(trial: &Trial) -> Client {
    Client::new(&trial.plan.endpoint, &trial.routes().unwrap(), trial.clock, LIMIT).unwrap()
}

#[test]
fn a_server_answers_questions_over_both_protocols() {
    let server = sim(quick(), &[]);
    at(&server, EndpointKind::KserveGrpc, false, sum()).requests(5).run().all_ok(5);
    let mut answers = Vec::new();
    for kind in [EndpointKind::KserveGrpc, EndpointKind::KserveHttp] {
        let mut client = client(&server, kind);
        let (model, version) = ("add_sub", None);
        for call in [Call::ServerLive, Call::ServerReady, Call::ModelReady { model, version }] {
            assert!(client.is_ready(&call).unwrap(), "{kind:?} {call:?}");
        }
        assert!(!client.is_ready(&Call::ModelReady { model: "nobody", version: None }).unwrap_or(false));
        let (add_sub, ensemble) = (client.model("add_sub", None).unwrap(), client.model("ensemble", None).unwrap());
        assert!(!add_sub.decoupled && ensemble.decoupled && !ensemble.composing.is_empty());
        assert_eq!(add_sub.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["INPUT0", "INPUT1"]);
        let statistics = client.statistics(Some("add_sub"), None).unwrap();
        assert_eq!(statistics.iter().map(|of| of.success.count).sum::<u64>(), 5);
        answers.push((client.server().unwrap(), add_sub, ensemble, statistics));
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_question_about_nothing_is_refused_in_the_servers_words() {
    let server = sim(quick(), &[]);
    for (kind, expected) in
        [(EndpointKind::KserveGrpc, ["NOT_FOUND", "INVALID_ARGUMENT"]), (EndpointKind::KserveHttp, ["404", "400"])]
    {
        let AskError::Refused { status, message } = client(&server, kind).model("nobody", None).unwrap_err() else {
            panic!("not refused")
        };
        assert!(expected.contains(&status.as_str()) && message.contains("nobody"), "{status} {message}");
    }
}

#[test]
fn a_client_finds_its_way_back_to_a_server_that_was_away() {
    for kind in [EndpointKind::KserveGrpc, EndpointKind::KserveHttp] {
        let server = sim(quick(), &["close-after=1"]);
        let mut client = client(&server, kind);
        for _ in 0..3 {
            assert!(client.is_ready(&Call::ServerLive).unwrap());
        }
        drop(server);
        assert!(matches!(client.server(), Err(AskError::Failed(_))));
    }
}

#[test]
fn headers_that_http2_does_not_have_are_refused_by_name() {
    let server = sim(quick(), &[]);
    let mut trial = at(&server, EndpointKind::KserveGrpc, false, sum());
    let header = Header { name: "Transfer-Encoding".to_owned(), value: HeaderValue::Plain("chunked".to_owned()) };
    trial.plan.endpoint.headers = vec![header];
    let routes = trial.routes().unwrap();
    let error = Client::new(&trial.plan.endpoint, &routes, trial.clock, LIMIT).err().unwrap();
    assert_eq!(error.to_string(), "header `Transfer-Encoding` cannot be sent: HTTP/2 has no such header");
}
