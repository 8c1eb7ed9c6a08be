//! A client of gRPC that is no gRPC library: calls over a bare HTTP/2 connection, messages taken apart by hand.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;
use streamgauge_sim::Sim;
use streamgauge_wire::proto;
use streamgauge_wire::proto::infer_parameter::ParameterChoice;
use streamgauge_wire::proto::model_infer_request::InferInputTensor;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Nothing here takes this long on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Grpc {
    runtime: Runtime,
    send: SendRequest<Bytes>,
}

/// What became of a call.
#[derive(Debug, Default)]
pub struct Reply {
    /// Messages, decompressed by nobody: with the flag that says whether they are.
    pub messages: Vec<(u8, Vec<u8>)>,
    pub head: HeaderMap,
    /// `grpc-status`; none when the call did not end in order.
    pub status: Option<u32>,
    pub message: String,
    /// What ended it instead.
    pub error: String,
}

/// A call that goes on.
pub struct Open {
    send: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    head: HeaderMap,
    bytes: Vec<u8>,
}

impl Grpc {
    pub fn connect(sim: &Sim) -> Grpc {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let addr = sim.addr();
        let send = runtime.block_on(async {
            let tcp = TcpStream::connect(addr).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let (send, connection) = h2::client::handshake(tcp).await.unwrap();
            tokio::spawn(connection);
            send
        });
        Grpc { runtime, send }
    }

    /// Begins a call of `method`.
    pub fn open(&mut self, method: &str, fields: &[(&str, &str)]) -> Open {
        let Grpc { runtime, send } = self;
        runtime.block_on(async {
            let mut ready = send.clone().ready().await.unwrap();
            let path = format!("http://x/inference.GRPCInferenceService/{method}");
            let mut request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let (response, send) = ready.send_request(request.body(()).unwrap(), false).unwrap();
            Open { send, response: Some(response), body: None, head: HeaderMap::new(), bytes: Vec::new() }
        })
    }

    /// Sends bytes of the body as they are.
    pub fn send(&mut self, call: &mut Open, bytes: Vec<u8>, end: bool) {
        let Grpc { runtime, .. } = self;
        runtime.block_on(async {
            call.send.send_data(bytes.into(), end).unwrap();
            tokio::task::yield_now().await;
        });
    }

    /// The next message, if another comes.
    pub fn next(&mut self, call: &mut Open) -> Option<Vec<u8>> {
        let next = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, call.next()).await });
        next.unwrap().unwrap().map(|(_, message)| message)
    }

    /// Waits until the server has closed the connection.
    pub fn closed(&mut self) {
        let closed = async {
            while self.send.clone().ready().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, closed).await }).unwrap();
    }

    /// The next response of a stream.
    pub fn response(&mut self, call: &mut Open) -> proto::ModelStreamInferResponse {
        proto::ModelStreamInferResponse::decode(&*self.next(call).unwrap()).unwrap()
    }

    /// What comes until the call ends.
    pub fn finish(&mut self, mut call: Open) -> Reply {
        self.runtime.block_on(async {
            let mut reply = Reply::default();
            let ended = loop {
                match tokio::time::timeout(PATIENCE, call.next()).await.unwrap() {
                    Ok(Some(message)) => reply.messages.push(message),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            let trailers = match call.body.as_mut().filter(|_| ended.is_ok()) {
                Some(body) => body.trailers().await.unwrap_or(None),
                None => None,
            };
            reply.error = ended.err().map(|error| error.to_string()).unwrap_or_default();
            let trailers = trailers.unwrap_or_else(|| call.head.clone());
            let text = |name: &str| trailers.get(name).map(|value| value.to_str().unwrap().to_owned());
            reply.status = text("grpc-status").map(|status| status.parse().unwrap());
            reply.message = text("grpc-message").unwrap_or_default();
            reply.head = call.head;
            reply
        })
    }

    /// A call with one message.
    pub fn call(&mut self, method: &str, message: &impl Message) -> Reply {
        let mut call = self.open(method, &[]);
        self.send(&mut call, framed(&message.encode_to_vec()), true);
        self.finish(call)
    }

    /// The one answer to a call.
    pub fn ask<A: Message + Default>(&mut self, method: &str, message: &impl Message) -> A {
        let reply = self.call(method, message);
        assert_eq!((reply.status, reply.messages.len()), (Some(0), 1), "{method}: {reply:?}");
        A::decode(&*reply.messages[0].1).unwrap()
    }

    /// Status and message of a call that fails.
    pub fn refusal(&mut self, method: &str, message: &impl Message) -> (u32, String) {
        let reply = self.call(method, message);
        assert!(reply.messages.is_empty(), "{reply:?}");
        (reply.status.unwrap(), reply.message)
    }

    /// The responses to these requests, sent at once on one stream that is then closed.
    pub fn stream(&mut self, requests: &[proto::ModelInferRequest]) -> Reply {
        let mut call = self.open("ModelStreamInfer", &[]);
        for (index, request) in requests.iter().enumerate() {
            self.send(&mut call, framed(&request.encode_to_vec()), index + 1 == requests.len());
        }
        self.finish(call)
    }
}

impl Reply {
    /// The messages of a stream.
    pub fn responses(&self) -> Vec<proto::ModelStreamInferResponse> {
        self.messages.iter().map(|(_, message)| proto::ModelStreamInferResponse::decode(&**message).unwrap()).collect()
    }
}

impl Open {
    async fn next(&mut self) -> Result<Option<(u8, Vec<u8>)>, h2::Error> {
        if let Some(response) = self.response.take() {
            let (head, body) = response.await?.into_parts();
            self.head = head.headers;
            self.body = Some(body);
        }
        let Some(body) = &mut self.body else { return Ok(None) };
        loop {
            if let Some((prefix, rest)) = self.bytes.split_first_chunk::<5>() {
                let len = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
                if rest.len() >= len {
                    let message = (prefix[0], rest[..len].to_vec());
                    self.bytes.drain(..5 + len);
                    return Ok(Some(message));
                }
            }
            match body.data().await {
                None => {
                    assert!(self.bytes.is_empty(), "part of a message");
                    return Ok(None);
                }
                Some(bytes) => {
                    let bytes = bytes?;
                    body.flow_control().release_capacity(bytes.len()).unwrap();
                    self.bytes.extend_from_slice(&bytes);
                }
            }
        }
    }
}

/// A message with its prefix.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

pub fn boolean(value: bool) -> proto::InferParameter {
    proto::InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(value)) }
}

pub fn number(value: i64) -> proto::InferParameter {
    proto::InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(value)) }
}

pub fn text(value: &str) -> proto::InferParameter {
    proto::InferParameter { parameter_choice: Some(ParameterChoice::StringParam(value.to_owned())) }
}

pub fn parameters<const N: usize>(
    parameters: [(&str, proto::InferParameter); N],
) -> BTreeMap<String, proto::InferParameter> {
    parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A request of raw inputs: name, datatype, shape and data.
pub fn request(model: &str, id: &str, inputs: &[(&str, &str, &[i64], &[u8])]) -> proto::ModelInferRequest {
    let tensor = |(name, datatype, shape, _): &(&str, &str, &[i64], &[u8])| InferInputTensor {
        name: (*name).to_owned(),
        datatype: (*datatype).to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    };
    proto::ModelInferRequest {
        model_name: model.to_owned(),
        id: id.to_owned(),
        inputs: inputs.iter().map(tensor).collect(),
        raw_input_contents: inputs.iter().map(|(.., data)| Bytes::copy_from_slice(data)).collect(),
        ..proto::ModelInferRequest::default()
    }
}

/// One string as the data of a BYTES tensor.
pub fn string(text: &str) -> Vec<u8> {
    let mut data = (text.len() as u32).to_le_bytes().to_vec();
    data.extend_from_slice(text.as_bytes());
    data
}

/// A request for a stream of so many tokens that says when it is over.
pub fn ensemble(id: &str, tokens: i32) -> proto::ModelInferRequest {
    let (prompt, tokens) = (string("the cat"), tokens.to_le_bytes());
    let inputs: [(&str, &str, &[i64], &[u8]); 3] = [
        ("text_input", "BYTES", &[1, 1], &prompt),
        ("max_tokens", "INT32", &[1, 1], &tokens),
        ("stream", "BOOL", &[1, 1], &[1]),
    ];
    let parameters = parameters([("triton_enable_empty_final_response", boolean(true))]);
    proto::ModelInferRequest { parameters, ..request("ensemble", id, &inputs) }
}

/// A request to vLLM's model.
pub fn vllm(id: &str, sampling: &str) -> proto::ModelInferRequest {
    let (prompt, sampling) = (string("the cat"), string(sampling));
    let inputs: [(&str, &str, &[i64], &[u8]); 3] = [
        ("text_input", "BYTES", &[1], &prompt),
        ("sampling_parameters", "BYTES", &[1], &sampling),
        ("stream", "BOOL", &[1], &[1]),
    ];
    request("vllm_model", id, &inputs)
}

/// A request for sum and difference.
pub fn add_sub(id: &str) -> proto::ModelInferRequest {
    let floats = |floats: [f32; 4]| floats.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let (a, b) = (floats([1.0, 2.0, 3.0, 4.0]), floats([1.0, 1.0, 1.0, 1.0]));
    request("add_sub", id, &[("INPUT0", "FP32", &[1, 4], &a), ("INPUT1", "FP32", &[1, 4], &b)])
}

/// What a response says of whether it is the last.
pub fn is_final(response: &proto::ModelInferResponse) -> Option<bool> {
    match response.parameters.get("triton_final_response")?.parameter_choice {
        Some(ParameterChoice::BoolParam(value)) => Some(value),
        _ => None,
    }
}
