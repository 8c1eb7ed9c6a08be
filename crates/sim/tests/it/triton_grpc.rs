//! KServe v2 over gRPC: each call, each refusal, streams and their faults, and the log.

use crate::client::{faulty, instant, paced, start};
use crate::grpc::{
    Grpc, Reply, add_sub, boolean, ensemble, framed, is_final, number, parameters, request, string, text, vllm,
};
use prost::Message as _;
use std::io::{Read, Write};
use streamgauge_core::clock::{Clock, Nanos};
use streamgauge_core::plan::EndpointKind;
use streamgauge_sim::{Service, Sim, SimConfig};
use streamgauge_wire::proto;

/// The text and the final flag of each response of a stream; an error's message in the place of the text.
fn told(reply: &Reply) -> Vec<(String, Option<bool>)> {
    let told = |response: proto::ModelStreamInferResponse| {
        let infer = response.infer_response.unwrap_or_default();
        let place = infer.outputs.iter().position(|output| output.name == "text_output");
        let text = place.map(|place| String::from_utf8(infer.raw_output_contents[place][4..].to_vec()).unwrap());
        let message = Some(response.error_message.clone()).filter(|message| !message.is_empty());
        (message.or(text).unwrap_or_default(), is_final(&infer))
    };
    reply.responses().into_iter().map(told).collect()
}

fn flags(reply: &Reply) -> Vec<Option<bool>> {
    told(reply).into_iter().map(|(_, flag)| flag).collect()
}

/// Waits for the log to have so many entries, since answers that end badly may be entered after the client knows.
fn log_of(sim: &Sim, requests: usize) -> Vec<streamgauge_sim::RequestLog> {
    loop {
        let log = sim.log();
        if log.len() >= requests {
            return log;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn the_server_describes_itself() {
    let sim = start(instant());
    let mut grpc = Grpc::connect(&sim);
    assert!(grpc.ask::<proto::ServerLiveResponse>("ServerLive", &proto::ServerLiveRequest {}).live);
    assert!(grpc.ask::<proto::ServerReadyResponse>("ServerReady", &proto::ServerReadyRequest {}).ready);
    let server: proto::ServerMetadataResponse = grpc.ask("ServerMetadata", &proto::ServerMetadataRequest {});
    assert_eq!((server.name.as_str(), server.version.as_str()), ("triton", "2.51.0"));
    assert!(server.extensions.contains(&"statistics".to_owned()));
    let index: proto::RepositoryIndexResponse = grpc.ask("RepositoryIndex", &proto::RepositoryIndexRequest::default());
    let rows: Vec<_> =
        index.models.iter().map(|row| (row.name.as_str(), row.version.as_str(), row.state.as_str())).collect();
    assert_eq!(rows[..3], [("add_sub", "1", "READY"), ("add_sub", "2", "READY"), ("echo_text", "1", "READY")]);
    for name in ["ensemble", "identity", "sequence_sum", "sim-model", "tensorrt_llm_bls", "vllm_model"] {
        assert!(rows.contains(&(name, "1", "READY")), "{name}");
        let asked = proto::ModelReadyRequest { name: name.to_owned(), version: String::new() };
        assert!(grpc.ask::<proto::ModelReadyResponse>("ModelReady", &asked).ready);
    }
    let asked = proto::ModelReadyRequest { name: "nope".to_owned(), version: String::new() };
    assert!(!grpc.ask::<proto::ModelReadyResponse>("ModelReady", &asked).ready);
    let settings = proto::TraceSettingRequest::default();
    assert!(grpc.ask::<proto::TraceSettingResponse>("TraceSetting", &settings).settings.is_empty());
    let settings = proto::LogSettingsRequest::default();
    assert!(grpc.ask::<proto::LogSettingsResponse>("LogSettings", &settings).settings.is_empty());
    assert_eq!(grpc.refusal("CudaSharedMemoryStatus", &settings).0, 12);
}

#[test]
fn models_are_described_as_triton_describes_them() {
    let sim = start(instant());
    let mut grpc = Grpc::connect(&sim);
    let of = |name: &str| proto::ModelMetadataRequest { name: name.to_owned(), version: String::new() };
    let ensemble: proto::ModelMetadataResponse = grpc.ask("ModelMetadata", &of("ensemble"));
    assert_eq!((ensemble.platform.as_str(), &*ensemble.versions), ("ensemble", &["1".to_owned()][..]));
    let input = &ensemble.inputs[0];
    assert_eq!((input.name.as_str(), input.datatype.as_str(), &*input.shape), ("text_input", "BYTES", &[-1, 1][..]));
    let vllm: proto::ModelMetadataResponse = grpc.ask("ModelMetadata", &of("vllm_model"));
    assert_eq!((vllm.platform.as_str(), &*vllm.inputs[0].shape), ("python", &[1][..]));
    assert_eq!(
        grpc.refusal("ModelMetadata", &of("nope")),
        (5, "Request for unknown model: 'nope' is not found".to_owned())
    );

    let mut config = |name: &str| {
        let asked = proto::ModelConfigRequest { name: name.to_owned(), version: String::new() };
        grpc.ask::<proto::ModelConfigResponse>("ModelConfig", &asked).config.unwrap()
    };
    let ensemble = config("ensemble");
    assert!(ensemble.model_transaction_policy.unwrap().decoupled && ensemble.max_batch_size == 64);
    let Some(proto::model_config::SchedulingChoice::EnsembleScheduling(steps)) = ensemble.scheduling_choice else {
        panic!("no steps");
    };
    let parts: Vec<&str> = steps.step.iter().map(|step| step.model_name.as_str()).collect();
    assert_eq!(parts, ["preprocessing", "tensorrt_llm", "postprocessing"]);
    let add_sub = config("add_sub");
    assert_eq!((add_sub.model_transaction_policy, add_sub.max_batch_size), (None, 8));
    assert_eq!((add_sub.input[0].data_type(), &*add_sub.input[0].dims), (proto::DataType::TypeFp32, &[4][..]));
    assert!(matches!(
        config("sequence_sum").scheduling_choice,
        Some(proto::model_config::SchedulingChoice::SequenceBatching(_))
    ));
    assert_eq!(config("identity").input.iter().filter(|input| input.optional).count(), 14);
}

#[test]
fn an_ordinary_model_answers_once() {
    let sim = start(instant());
    let mut grpc = Grpc::connect(&sim);
    let answer: proto::ModelInferResponse = grpc.ask("ModelInfer", &add_sub("u1"));
    let expected = proto::ModelInferResponse {
        model_name: "add_sub".to_owned(),
        model_version: "2".to_owned(),
        id: "u1".to_owned(),
        outputs: ["OUTPUT0", "OUTPUT1"]
            .map(|name| proto::model_infer_response::InferOutputTensor {
                name: name.to_owned(),
                datatype: "FP32".to_owned(),
                shape: vec![1, 4],
                ..Default::default()
            })
            .to_vec(),
        raw_output_contents: [[2.0_f32, 3.0, 4.0, 5.0], [0.0, 1.0, 2.0, 3.0]]
            .map(|floats| floats.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into())
            .to_vec(),
        ..Default::default()
    };
    assert_eq!(answer, expected);
    // Typed contents, another version, one output.
    let mut typed = proto::ModelInferRequest { model_version: "1".to_owned(), ..add_sub("") };
    typed.raw_input_contents.clear();
    for input in &mut typed.inputs {
        input.contents = Some(proto::InferTensorContents { fp32_contents: vec![1.0; 4], ..Default::default() });
    }
    typed.outputs = vec![proto::model_infer_request::InferRequestedOutputTensor {
        name: "OUTPUT1".to_owned(),
        ..Default::default()
    }];
    let answer: proto::ModelInferResponse = grpc.ask("ModelInfer", &typed);
    assert_eq!((answer.model_version.as_str(), answer.outputs.len()), ("1", 1));
    assert_eq!(*answer.raw_output_contents[0], [0; 16]);
    // Every datatype that was given, and no other.
    let inputs: [(&str, &str, &[i64], &[u8]); 2] =
        [("INPUT_FP16", "FP16", &[2], &[1, 2, 3, 4]), ("INPUT_BOOL", "BOOL", &[1], &[1])];
    let answer: proto::ModelInferResponse = grpc.ask("ModelInfer", &request("identity", "", &inputs));
    let names: Vec<&str> = answer.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["OUTPUT_BOOL", "OUTPUT_FP16"]);
    assert_eq!(*answer.raw_output_contents[1], [1, 2, 3, 4]);
}

#[test]
fn requests_that_cannot_be_answered_are_refused() {
    let sim = start(instant());
    let mut grpc = Grpc::connect(&sim);
    let mut refused = |request: &proto::ModelInferRequest| grpc.refusal("ModelInfer", request);
    let unknown = proto::ModelInferRequest { model_name: "nope".to_owned(), ..add_sub("") };
    assert_eq!(refused(&unknown), (5, "Request for unknown model: 'nope' is not found".to_owned()));
    assert_eq!(
        refused(&ensemble("1", 3)),
        (12, "ModelInfer RPC doesn't support models with decoupled transaction policy".to_owned())
    );
    let mut shape = add_sub("u1");
    shape.inputs[1].shape = vec![1, 3];
    let (status, message) = refused(&shape);
    assert_eq!(status, 3);
    assert!(
        message.starts_with(
            "[request id: u1] unexpected shape for input 'INPUT1' for model 'add_sub'. Expected [-1,4], got [1,3]. NOTE: "
        ),
        "{message}"
    );
    let mut missing = add_sub("u1");
    missing.raw_input_contents.pop();
    assert_eq!(refused(&missing).0, 3);
    let data = string("fail");
    let fail = request("echo_text", "", &[("text_input", "BYTES", &[1], &data)]);
    assert_eq!(refused(&fail), (13, "asked to fail".to_owned()));
    let part = request(
        "preprocessing",
        "",
        &[("QUERY", "BYTES", &[1, 1], &data), ("REQUEST_OUTPUT_LEN", "INT32", &[1, 1], &[1; 4])],
    );
    assert_eq!(refused(&part).0, 14);
    let mut call = grpc.open("ModelInfer", &[]);
    grpc.send(&mut call, framed(&[0x0f, 0xff]), true);
    assert_eq!(grpc.finish(call).status, Some(13));
}

#[test]
fn a_decoupled_model_answers_token_by_token_and_says_when_it_is_over() {
    let sim = start(instant());
    let mut grpc = Grpc::connect(&sim);
    let reply = grpc.stream(&[ensemble("7", 3)]);
    assert_eq!((reply.status, flags(&reply)), (Some(0), vec![Some(false), Some(false), Some(false), Some(true)]));
    let last = reply.responses().pop().unwrap().infer_response.unwrap();
    assert!(last.outputs.is_empty() && last.id == "7" && last.model_version.is_empty());
    let first = reply.responses().remove(0).infer_response.unwrap();
    let names: Vec<&str> = first.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["sequence_length", "text_output"]);
    assert_eq!(*first.raw_output_contents[0], 1_i32.to_le_bytes());
    assert!(first.parameters.contains_key("sequence_id"));

    let quiet = proto::ModelInferRequest { parameters: Default::default(), ..ensemble("7", 3) };
    assert_eq!(flags(&grpc.stream(&[quiet])), [Some(false); 3]);
    let mut whole = ensemble("7", 3);
    whole.inputs.pop();
    whole.raw_input_contents.pop();
    let reply = grpc.stream(&[whole]);
    assert_eq!(flags(&reply), [Some(true)]);
    assert_eq!(*reply.responses()[0].infer_response.as_ref().unwrap().raw_output_contents[0], 3_i32.to_le_bytes());
    // vLLM's backend has the flag on its last text.
    let reply = grpc.stream(&[vllm("7", r#"{"max_tokens":"3"}"#)]);
    assert_eq!(flags(&reply), [Some(false), Some(false), Some(true)]);
    assert!(told(&reply).iter().all(|(text, _)| !text.is_empty()));
    // A model that is not decoupled has one response on a stream too.
    assert_eq!(flags(&grpc.stream(&[add_sub("7")])), [Some(true)]);
}

#[test]
fn errors_of_a_stream_are_messages_and_the_stream_goes_on() {
    let sim = start(instant());
    let mut grpc = Grpc::connect(&sim);
    let mut call = grpc.open("ModelStreamInfer", &[]);
    let mut ask = |request: proto::ModelInferRequest| {
        grpc.send(&mut call, framed(&request.encode_to_vec()), false);
        let response = grpc.response(&mut call);
        let infer = response.infer_response.unwrap();
        (response.error_message, infer.id.clone(), is_final(&infer))
    };
    let unknown = proto::ModelInferRequest { model_name: "nope".to_owned(), ..add_sub("1") };
    assert_eq!(ask(unknown), ("Request for unknown model: 'nope' is not found".to_owned(), "1".to_owned(), None));
    let mut missing = ensemble("2", 3);
    missing.inputs.truncate(1);
    missing.raw_input_contents.truncate(1);
    let (message, id, flag) = ask(missing);
    assert_eq!((id.as_str(), flag), ("2", None));
    assert!(
        message.starts_with(
            "[request id: 2] expected number of inputs between 2 and 13 but got 1 inputs for model 'ensemble'. Got input(s) \
             ['text_input'], but missing required input(s) ['max_tokens']."
        ),
        "{message}"
    );
    assert_eq!(
        ask(ensemble("3", 0)),
        ("in ensemble 'ensemble', request_output_len must be > 0".to_owned(), "3".to_owned(), Some(true))
    );
    assert_eq!(ask(add_sub("4")), (String::new(), "4".to_owned(), Some(true)));
    let reply = grpc.stream(&[vllm("5", r#"{"max_tokens":5,"fail_after":2}"#)]);
    assert_eq!(told(&reply)[2], ("engine failed after 2 tokens".to_owned(), Some(true)));
    assert_eq!((reply.status, reply.messages.len()), (Some(0), 3));
}

#[test]
fn requests_of_a_stream_overlap() {
    let sim = start(paced(Nanos::from_millis(5), Nanos::from_millis(5)));
    let mut grpc = Grpc::connect(&sim);
    let reply = grpc.stream(&[ensemble("long", 12), ensemble("short", 2)]);
    let ids: Vec<String> = reply.responses().into_iter().map(|each| each.infer_response.unwrap().id).collect();
    assert_eq!(ids.iter().filter(|id| *id == "long").count(), 13);
    let last_short = ids.iter().rposition(|id| id == "short").unwrap();
    assert!(ids[..last_short].contains(&"long".to_owned()), "{ids:?}");
    assert_eq!(ids.last().unwrap(), "long");
}

#[test]
fn messages_may_be_compressed_and_cut_anywhere() {
    use streamgauge_core::kserve::Compression;
    use streamgauge_wire::grpc::{Messages, compressed};
    let sim = start(instant());
    let mut grpc = Grpc::connect(&sim);
    for (name, compression) in [("gzip", Compression::Gzip), ("deflate", Compression::Deflate)] {
        let mut call = grpc.open("ModelStreamInfer", &[("grpc-encoding", name)]);
        let bytes = compressed(&ensemble("1", 2).encode_to_vec(), compression);
        for (index, piece) in bytes.chunks(7).enumerate() {
            grpc.send(&mut call, piece.to_vec(), (index + 1) * 7 >= bytes.len());
        }
        let reply = grpc.finish(call);
        assert_eq!((reply.head["grpc-encoding"].to_str().unwrap(), reply.messages.len()), (name, 3));
        for (flag, message) in &reply.messages {
            let mut body = framed(message);
            body[0] = *flag;
            let mut plain = Vec::new();
            let fed = Messages::new(Some(name)).feed(&body, &mut |message: &[u8]| {
                plain = message.to_vec();
                true
            });
            assert_eq!((*flag, fed), (1, Ok(())));
            assert!(proto::ModelStreamInferResponse::decode(&*plain).unwrap().infer_response.is_some());
        }
    }
    let mut call = grpc.open("ModelInfer", &[]);
    grpc.send(&mut call, framed(&add_sub("").encode_to_vec())[..20].to_vec(), true);
    assert_eq!(grpc.finish(call).status, Some(13));
}

#[test]
fn sequences_are_summed() {
    let sim = start(instant());
    let mut grpc = Grpc::connect(&sim);
    let step = |id: i64, start: bool, end: bool, value: i32| proto::ModelInferRequest {
        parameters: parameters([
            ("sequence_id", number(id)),
            ("sequence_start", boolean(start)),
            ("sequence_end", boolean(end)),
        ]),
        ..request("sequence_sum", "", &[("INPUT", "INT32", &[1, 1], &value.to_le_bytes())])
    };
    let mut sum = |request: &proto::ModelInferRequest| {
        let answer: proto::ModelInferResponse = grpc.ask("ModelInfer", request);
        i32::from_le_bytes((*answer.raw_output_contents[0]).try_into().unwrap())
    };
    let sums = [step(5, true, false, 1), step(6, true, true, 10), step(5, false, false, 2), step(5, false, true, 3)];
    assert_eq!(sums.each_ref().map(&mut sum), [1, 10, 3, 6]);
    let (status, message) = grpc.refusal("ModelInfer", &step(5, false, false, 4));
    assert_eq!(status, 3);
    assert!(message.contains("must specify the START flag on the first request of the sequence"), "{message}");
}

#[test]
#[cfg(target_os = "linux")]
fn tensors_may_lie_in_shared_memory() {
    let key = format!("/streamgauge-sim-test-{}", std::process::id());
    let path = format!("/dev/shm{key}");
    let inputs: Vec<u8> = [5.0_f32; 8].into_iter().flat_map(f32::to_le_bytes).collect();
    std::fs::write(&path, [inputs, vec![0; 32]].concat()).unwrap();
    let sim = start(instant());
    let mut grpc = Grpc::connect(&sim);
    let region = |bytes| proto::SystemSharedMemoryRegisterRequest {
        name: "r".to_owned(),
        key: key.clone(),
        offset: 0,
        byte_size: bytes,
    };
    assert_eq!(grpc.refusal("SystemSharedMemoryRegister", &region(65)).0, 13);
    grpc.ask::<proto::SystemSharedMemoryRegisterResponse>("SystemSharedMemoryRegister", &region(64));
    assert_eq!(
        grpc.refusal("SystemSharedMemoryRegister", &region(64)),
        (3, "shared memory region 'r' already in manager".to_owned())
    );
    let status: proto::SystemSharedMemoryStatusResponse =
        grpc.ask("SystemSharedMemoryStatus", &proto::SystemSharedMemoryStatusRequest::default());
    assert_eq!((status.regions["r"].key.as_str(), status.regions["r"].byte_size), (key.as_str(), 64));
    let place = |offset: i64| {
        parameters([
            ("shared_memory_region", text("r")),
            ("shared_memory_byte_size", number(16)),
            ("shared_memory_offset", number(offset)),
        ])
    };
    let mut shared = add_sub("");
    shared.raw_input_contents.clear();
    for (input, offset) in shared.inputs.iter_mut().zip([0, 16]) {
        input.parameters = place(offset);
    }
    let output = |name: &str, offset| proto::model_infer_request::InferRequestedOutputTensor {
        name: name.to_owned(),
        parameters: place(offset),
    };
    shared.outputs = vec![output("OUTPUT0", 32), output("OUTPUT1", 48)];
    let answer: proto::ModelInferResponse = grpc.ask("ModelInfer", &shared);
    assert!(answer.outputs.len() == 2 && answer.raw_output_contents.iter().all(|data| data.is_empty()));
    let after = std::fs::read(&path).unwrap();
    assert_eq!(after[32..48], [10.0_f32; 4].map(f32::to_le_bytes).concat());
    assert_eq!(after[48..], [0; 16]);
    shared.inputs[0].parameters = place(60);
    assert_eq!(
        grpc.refusal("ModelInfer", &shared),
        (3, "Invalid offset + byte size for shared memory region: 'r'".to_owned())
    );
    let gone = proto::SystemSharedMemoryUnregisterRequest { name: "r".to_owned() };
    grpc.ask::<proto::SystemSharedMemoryUnregisterResponse>("SystemSharedMemoryUnregister", &gone);
    assert_eq!(grpc.refusal("ModelInfer", &shared), (5, "Unable to find shared memory region: 'r'".to_owned()));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn statistics_count_the_model_and_its_parts() {
    let sim = start(paced(Nanos::from_millis(4), Nanos::from_millis(2)));
    let mut grpc = Grpc::connect(&sim);
    grpc.stream(&[ensemble("1", 3), ensemble("2", 5)]);
    grpc.stream(&[ensemble("3", 0)]);
    let mut of = |name: &str| {
        let asked = proto::ModelStatisticsRequest { name: name.to_owned(), version: String::new() };
        grpc.ask::<proto::ModelStatisticsResponse>("ModelStatistics", &asked).model_stats
    };
    let ensemble = of("ensemble").remove(0);
    let stats = ensemble.inference_stats.unwrap();
    assert_eq!((ensemble.inference_count, ensemble.execution_count), (2, 2));
    assert_eq!((stats.success.unwrap().count, stats.fail.unwrap().count), (2, 1));
    // The first of 3 tokens and the last of 5 at their times: 8 and 12 ms at least.
    assert!(stats.compute_infer.unwrap().ns >= 20_000_000, "{stats:?}");
    assert!(ensemble.last_inference > 0);
    let counts = |part: &proto::ModelStatistics| (part.inference_count, part.execution_count);
    assert_eq!(counts(&of("preprocessing")[0]), (2, 2));
    assert_eq!(counts(&of("postprocessing")[0]), (8, 8));
    let part = of("tensorrt_llm").remove(0);
    assert_eq!(counts(&part), (2, 2));
    assert_eq!((part.batch_stats[0].batch_size, part.batch_stats[0].compute_infer.unwrap().count), (1, 2));
    assert_eq!(of("add_sub").len(), 2);
    assert!(of("").len() > 10);
    let nope = proto::ModelStatisticsRequest { name: "nope".to_owned(), version: String::new() };
    assert_eq!(grpc.refusal("ModelStatistics", &nope), (3, "requested model 'nope' is not available".to_owned()));
}

#[test]
fn waiting_for_a_place_is_counted_as_such() {
    let config = paced(Nanos::from_millis(30), Nanos::from_millis(30));
    let service = Service { max_batch: 1, ..config.service };
    let sim = start(SimConfig { service, ..config });
    let mut grpc = Grpc::connect(&sim);
    let mut queue_after = |requests: &[proto::ModelInferRequest]| {
        grpc.stream(requests);
        let asked = proto::ModelStatisticsRequest { name: "ensemble".to_owned(), version: String::new() };
        let stats = grpc.ask::<proto::ModelStatisticsResponse>("ModelStatistics", &asked).model_stats.remove(0);
        stats.inference_stats.unwrap().queue.unwrap()
    };
    assert_eq!(queue_after(&[ensemble("1", 1)]), proto::StatisticDuration { count: 1, ns: 0 });
    // The second of two waits for the first, which takes 90 ms.
    let queue = queue_after(&[ensemble("1", 3), ensemble("2", 1)]);
    assert!(queue.count == 3 && queue.ns > 0, "{queue:?}");
}

#[test]
fn the_log_brackets_every_response() {
    let (ttft, itl) = (Nanos::from_millis(5), Nanos::from_millis(3));
    let sim = start(paced(ttft, itl));
    let mut grpc = Grpc::connect(&sim);
    let mut call = grpc.open("ModelStreamInfer", &[]);
    for turn in 0..3 {
        let before = sim.clock().now();
        grpc.send(&mut call, framed(&ensemble("1", 4).encode_to_vec()), false);
        let mut seen = Vec::new();
        while grpc.response(&mut call).infer_response.is_some_and(|infer| is_final(&infer) == Some(false)) {
            seen.push(sim.clock().now());
        }
        let log = sim.log();
        assert_eq!(log.len(), turn + 1);
        let request = &log[turn];
        assert_eq!((request.number, request.kind, request.status), (turn as u64, EndpointKind::KserveGrpc, 200));
        assert_eq!((request.complete, request.prompt_tokens, request.output_tokens), (true, 2, 4));
        assert!(before <= request.received && request.received <= request.writes[0].at);
        // A late server may write two at once.
        let stamps = request.writes.iter().flat_map(|write| std::iter::repeat_n(write.at, write.events as usize));
        let stamps: Vec<Nanos> = stamps.collect();
        assert_eq!((stamps.len(), seen.len()), (4, 4));
        for (token, at) in stamps.into_iter().enumerate() {
            assert!(at >= request.received + ttft + Nanos(itl.0 * token as i64), "token {token} came early");
            assert!(at <= seen[token], "token {token} was seen before it was written");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn receive_stamps_are_the_kernels() {
    let sim = start(paced(Nanos::from_millis(1), Nanos::ZERO));
    let mut grpc = Grpc::connect(&sim);
    // The kernel turns its stamping on some time after the first socket has asked for it.
    let stamped = (0..200).any(|_| {
        grpc.call("ModelInfer", &add_sub(""));
        sim.log().last().unwrap().kernel_stamp
    });
    assert!(stamped);
}

#[test]
fn a_saturated_answer_is_few_writes_and_all_of_it_comes() {
    let sim = start(instant());
    let mut grpc = Grpc::connect(&sim);
    let reply = grpc.stream(&[ensemble("1", 3000)]);
    assert_eq!(reply.messages.len(), 3001);
    let log = sim.log();
    assert_eq!(log[0].writes.iter().map(|write| write.events).sum::<u32>(), 3000);
    assert!(log[0].writes.len() < 100 && log[0].complete, "{}", log[0].writes.len());
    assert!(log[0].writes.is_sorted_by_key(|write| write.at));
}

#[test]
fn a_client_that_gives_up_leaves_an_incomplete_entry() {
    let sim = start(paced(Nanos::from_millis(1), Nanos::from_millis(1)));
    let mut grpc = Grpc::connect(&sim);
    let mut call = grpc.open("ModelStreamInfer", &[]);
    grpc.send(&mut call, framed(&ensemble("1", 100_000).encode_to_vec()), false);
    grpc.response(&mut call);
    drop(call);
    // The connection has to be driven for the reset to go out.
    assert_eq!(grpc.call("ModelInfer", &add_sub("")).status, Some(0));
    let log = log_of(&sim, 2);
    let stream = log.iter().find(|request| request.output_tokens == 100_000).unwrap();
    assert!(!stream.complete && stream.writes.len() < 100_000);
    // And so does one whose connection is gone.
    let mut call = grpc.open("ModelStreamInfer", &[]);
    grpc.send(&mut call, framed(&ensemble("1", 100_000).encode_to_vec()), false);
    grpc.response(&mut call);
    drop((grpc, call));
    assert!(!log_of(&sim, 3)[2].complete);
}

#[test]
fn a_stop_keeps_what_was_in_flight() {
    let sim = start(paced(Nanos::from_millis(1), Nanos::from_millis(60_000)));
    let mut grpc = Grpc::connect(&sim);
    let mut call = grpc.open("ModelStreamInfer", &[]);
    grpc.send(&mut call, framed(&ensemble("1", 5).encode_to_vec()), false);
    grpc.response(&mut call);
    let log = sim.stop().unwrap();
    assert_eq!((log.len(), log[0].complete, log[0].writes.len()), (1, false, 1));
}

#[test]
fn faults_of_a_stream() {
    let stream = |fault: &str| {
        let sim = faulty(&[fault]);
        let reply = Grpc::connect(&sim).stream(&[ensemble("7", 4)]);
        let log = log_of(&sim, 1);
        assert_eq!(log[0].faults, [fault.split('=').next().unwrap()]);
        (reply, log[0].clone())
    };
    let (reply, log) = stream("status=503");
    assert_eq!((reply.status, reply.message.as_str()), (Some(14), "simulated fault: status 503"));
    assert_eq!((log.status, log.complete, log.writes.len()), (503, true, 1));
    let (reply, log) = stream("reset-headers");
    assert!(reply.status.is_none() && !reply.error.is_empty() && !log.complete, "{reply:?}");
    let (reply, log) = stream("reset-stream");
    assert!(reply.status.is_none() && !reply.error.is_empty() && !log.complete, "{reply:?}");
    let (reply, log) = stream("truncate");
    assert_eq!((reply.status, flags(&reply), log.complete), (Some(0), vec![Some(false); 2], true));
    let (reply, _) = stream("error-event");
    assert_eq!(told(&reply)[2], ("simulated fault: the engine died".to_owned(), Some(true)));
    let (reply, _) = stream("malformed");
    let broken =
        reply.messages.iter().filter(|(_, message)| proto::ModelStreamInferResponse::decode(&**message).is_err());
    assert_eq!((broken.count(), reply.messages.len()), (1, 6));
    let (reply, log) = stream("no-final");
    assert_eq!((flags(&reply), log.complete), (vec![Some(false); 4], true));
    let (reply, _) = stream("unknown-id");
    let ids: Vec<String> = reply.responses().into_iter().map(|each| each.infer_response.unwrap().id).collect();
    assert_eq!(ids, ["7", "7", "7-unknown", "7", "7", "7"]);
    let (reply, _) = stream("extra-response");
    assert_eq!(flags(&reply)[3..], [Some(false), Some(true), Some(false)]);
    let (reply, _) = stream("multi-token=3");
    assert_eq!(reply.messages.len(), 3);
    let (reply, log) = stream("split-writes");
    assert_eq!((reply.messages.len(), flags(&reply)[4]), (5, Some(true)));
    assert!(log.writes.len() >= 3 && log.writes.iter().map(|write| write.events).sum::<u32>() == 4, "{log:?}");
}

#[test]
fn stalls_hold_a_stream_up() {
    let sim = faulty(&["stall-first=20ms", "stall-stream=30ms"]);
    let mut grpc = Grpc::connect(&sim);
    assert_eq!(grpc.stream(&[ensemble("7", 4)]).messages.len(), 5);
    let log = sim.log();
    let gaps: Vec<Nanos> = log[0].writes.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(log[0].writes[0].at >= log[0].received + Nanos::from_millis(20));
    assert!(gaps.len() == 1 && gaps[0] >= Nanos::from_millis(30), "{gaps:?}");
}

#[test]
fn connections_are_closed_after_requests_and_when_idle() {
    let sim = faulty(&["close-after=2"]);
    let mut grpc = Grpc::connect(&sim);
    assert_eq!(grpc.call("ModelInfer", &add_sub("")).status, Some(0));
    assert_eq!(grpc.call("ModelInfer", &add_sub("")).status, Some(0));
    grpc.closed();
    let sim = faulty(&["close-idle=20ms"]);
    let mut grpc = Grpc::connect(&sim);
    assert_eq!(grpc.call("ModelInfer", &add_sub("")).status, Some(0));
    grpc.closed();
}

#[test]
fn http_2_is_known_by_its_first_bytes_however_they_come() {
    let sim = start(instant());
    let mut tcp = std::net::TcpStream::connect(sim.addr()).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    for piece in [b"P".as_slice(), b"RI * HTTP/2.0\r\n\r\nSM", b"\r\n\r\n", &settings] {
        tcp.write_all(piece).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut header = [0; 9];
    tcp.read_exact(&mut header).unwrap();
    assert_eq!((header[3], &header[5..]), (4, &[0; 4][..]), "settings come first");
    // What only begins like it is HTTP/1.1, and refused as such.
    let mut tcp = std::net::TcpStream::connect(sim.addr()).unwrap();
    tcp.write_all(b"PRI * HTTP/1.1\r\n\r\n").unwrap();
    tcp.read_exact(&mut header).unwrap();
    assert_eq!(&header, b"HTTP/1.1 ");
}
