//! A real server's answers to questions.

use crate::capture::{folder, load};
use std::fs;
use streamgauge_core::kserve::{ModelInfo, Spent};
use streamgauge_core::tensor::{Datatype, TensorSpec};
use streamgauge_wire::kserve::{
    KserveError, Protocol, model_info, model_info_of_metadata, ready, server_info, statistics,
};
use streamgauge_wire::proto::{ModelConfig, ModelConfigResponse};

/// The body of a capture over HTTP.
fn http(name: &str) -> Vec<u8> {
    let bytes = fs::read(folder().join("tests/fixtures/wire").join(name)).unwrap();
    let end = bytes.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
    bytes[end + 4..].to_vec()
}

fn grpc(name: &str) -> Vec<u8> {
    let (mut messages, status) = load(name);
    assert_eq!((messages.len(), &status[..]), (1, "OK"));
    messages.remove(0)
}

fn spec(name: &str, datatype: Datatype, shape: &[i64], optional: bool) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: shape.to_vec(), optional, is_shape: false }
}

#[test]
fn the_server_says_the_same_over_both() {
    let info = server_info(Protocol::Http, &http("triton-server.txt")).unwrap();
    assert_eq!((&info.name[..], &info.version[..]), ("triton", "2.51.0"));
    assert!(info.extensions.contains(&"statistics".to_owned()));
    assert_eq!(info.extensions.len(), 13);
    assert_eq!(server_info(Protocol::Grpc, &grpc("triton-grpc-server.txt")), Ok(info));
}

#[test]
fn an_ensemble_over_http_and_its_metadata_over_grpc() {
    let ensemble = ModelInfo {
        name: "ensemble".into(),
        versions: vec!["1".into()],
        platform: "ensemble".into(),
        max_batch_size: 64,
        decoupled: true,
        sequence_batching: false,
        response_cache: false,
        inputs: vec![
            spec("text_input", Datatype::Bytes, &[1], false),
            spec("max_tokens", Datatype::Int32, &[1], false),
            spec("stream", Datatype::Bool, &[1], true),
            spec("end_id", Datatype::Int32, &[1], true),
        ],
        outputs: vec![
            spec("text_output", Datatype::Bytes, &[-1], false),
            spec("sequence_length", Datatype::Int32, &[-1], false),
        ],
        composing: ["preprocessing", "tensorrt_llm", "postprocessing"].map(|name| (name.to_owned(), -1)).to_vec(),
        without_config: false,
    };
    let info = model_info(Protocol::Http, &http("triton-model.txt"), &http("triton-model-config.txt")).unwrap();
    assert_eq!(info, ensemble);
    // Of this model the metadata alone were captured over gRPC; another's configuration says nothing of its inputs.
    let info = model_info(Protocol::Grpc, &grpc("triton-grpc-model.txt"), &grpc("triton-grpc-config.txt")).unwrap();
    assert_eq!(info.inputs[0], spec("text_input", Datatype::Bytes, &[-1, 1], false));
    assert_eq!(info.inputs[2], spec("stream", Datatype::Bool, &[-1, 1], true));
    assert_eq!((info.max_batch_size, info.decoupled), (0, true));
}

#[test]
fn metadata_alone_make_a_model_of_single_answers() {
    let info = model_info_of_metadata(Protocol::Grpc, &grpc("triton-grpc-model.txt")).unwrap();
    assert_eq!(info.inputs[0], spec("text_input", Datatype::Bytes, &[-1, 1], false));
    assert_eq!((info.max_batch_size, info.decoupled, info.without_config), (0, false, true));
    // MLServer's of a model whose settings say nothing of tensors.
    let bare = br#"{"name":"m","versions":[],"platform":"","inputs":[],"outputs":[],"parameters":{}}"#;
    let info = model_info_of_metadata(Protocol::Http, bare).unwrap();
    assert_eq!((info.inputs.len(), info.outputs.len()), (0, 0));
    assert_eq!(model_info_of_metadata(Protocol::Http, br#"{"name":"m"}"#).unwrap().name, "m");
}

#[test]
fn what_a_configuration_says_besides() {
    let metadata = br#"{"name":"m","inputs":[{"name":"S","datatype":"INT64","shape":[-1,2]}],"outputs":[]}"#;
    let config = br#"{"max_batch_size":8,"input":[{"name":"S","is_shape_tensor":true}],"sequence_batching":{},"response_cache":{"enable":true}}"#;
    let info = model_info(Protocol::Http, metadata, config).unwrap();
    assert!(info.sequence_batching && info.response_cache && info.inputs[0].is_shape && !info.decoupled);
    assert_eq!(info.inputs[0].shape, [2]);
    // Without any member there is nothing special.
    assert_eq!(model_info(Protocol::Http, metadata, b"{}").unwrap().inputs[0].shape, [-1, 2]);
}

#[test]
fn sequences_ensembles_and_caches_over_grpc() {
    use prost::Message;
    use streamgauge_wire::proto::model_config::SchedulingChoice;
    use streamgauge_wire::proto::{ModelEnsembling, ModelResponseCache, ModelSequenceBatching, model_ensembling::Step};
    let info = |choice| {
        let response_cache = Some(ModelResponseCache { enable: true });
        let config = ModelConfig { scheduling_choice: Some(choice), response_cache, ..ModelConfig::default() };
        let config = ModelConfigResponse { config: Some(config) }.encode_to_vec();
        model_info(Protocol::Grpc, &grpc("triton-grpc-model.txt"), &config).unwrap()
    };
    let sequences = info(SchedulingChoice::SequenceBatching(ModelSequenceBatching::default()));
    assert!(sequences.sequence_batching && sequences.response_cache && sequences.composing.is_empty());
    let step = Step { model_name: "a".into(), model_version: -1, ..Step::default() };
    let ensemble =
        info(SchedulingChoice::EnsembleScheduling(ModelEnsembling { step: vec![step], max_inflight_requests: 0 }));
    assert!(!ensemble.sequence_batching);
    assert_eq!(ensemble.composing, [("a".to_owned(), -1)]);
}

#[test]
fn statistics_over_both() {
    let [over_http] = &statistics(Protocol::Http, &http("triton-stats.txt")).unwrap()[..] else { panic!() };
    assert_eq!((&over_http.name[..], &over_http.version[..]), ("tensorrt_llm", "1"));
    assert_eq!((over_http.inference_count, over_http.execution_count), (10, 10));
    assert_eq!(over_http.success, Spent { count: 10, ns: 157_746_395 });
    assert_eq!(over_http.queue.ns, 1_653_828);
    assert_eq!(over_http.compute_infer.ns, 155_586_044);
    let [over_grpc] = &statistics(Protocol::Grpc, &grpc("triton-grpc-statistics.txt")).unwrap()[..] else { panic!() };
    assert_eq!(over_grpc.success, Spent { count: 16, ns: 163_888_660 });
    assert_eq!(over_grpc.compute_input.ns, 638_911);
    assert_eq!(over_grpc.compute_output.ns, 98_355);
    assert_eq!((over_grpc.fail, over_grpc.cache_hit), (Spent::default(), Spent::default()));
    assert_eq!(statistics(Protocol::Http, &http("triton-stats-addsub.txt")).unwrap()[0].version, "2");
}

#[test]
fn readiness() {
    assert_eq!(ready(Protocol::Http, 200, b""), Ok(true));
    assert_eq!(ready(Protocol::Http, 400, br#"{"error":"Model version not ready"}"#), Ok(false));
    assert_eq!(ready(Protocol::Http, 503, b""), Ok(false));
    assert_eq!(ready(Protocol::Grpc, 200, &[8, 1]), Ok(true));
    assert_eq!(ready(Protocol::Grpc, 200, &[]), Ok(false));
    let error = ready(Protocol::Http, 500, br#"{"error":"broken"}"#).unwrap_err().to_string();
    assert_eq!(error, "not an answer to whether something is ready: status 500, broken");
    assert!(ready(Protocol::Grpc, 200, b"\xff").is_err());
}

#[test]
fn what_is_no_answer_is_refused_in_a_sentence() {
    let error = |result: Result<ModelInfo, KserveError>| result.unwrap_err().to_string();
    let of = |metadata: &[u8], config: &[u8]| error(model_info(Protocol::Http, metadata, config));
    assert_eq!(of(b"{}", b"{}"), "not a model's metadata: `name` is missing");
    let good = br#"{"name":"m","inputs":[],"outputs":[]}"#;
    assert!(
        of(good, b"[]")
            .starts_with("not a model's configuration: a value of a type that may not stand there, at column ")
    );
    let tensor = |datatype: &str, shape: &str| {
        format!(r#"{{"name":"m","inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape}}}],"outputs":[]}}"#)
    };
    assert_eq!(
        of(tensor("FP8", "[1]").as_bytes(), b"{}"),
        "x of model m has the datatype `FP8`, which KServe v2 does not have"
    );
    assert_eq!(
        of(tensor("FP32", "[]").as_bytes(), br#"{"max_batch_size":4}"#),
        "x of model m has no dimension for the batch, though max_batch_size is 4"
    );
    let none = error(model_info(Protocol::Grpc, &grpc("triton-grpc-model.txt"), b""));
    assert_eq!(none, "not a model's configuration: there is none in it");
    assert!(server_info(Protocol::Grpc, b"\xff\xff").unwrap_err().to_string().starts_with("not a server's metadata: "));
    assert!(statistics(Protocol::Http, b"no").is_err());
}
