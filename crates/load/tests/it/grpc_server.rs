//! A gRPC server that does exactly what a test tells it: HTTP/2 by h2, each call a task that runs the script.

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use prost::Message;
use rustls::ServerConfig;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use streamgauge_core::plan::Target;
use streamgauge_wire::grpc::{Messages, framed};
use streamgauge_wire::proto::infer_parameter::ParameterChoice;
use streamgauge_wire::proto::model_infer_response::InferOutputTensor;
use streamgauge_wire::proto::{InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;

/// A running script. It ends when dropped.
pub struct GrpcServer {
    addr: SocketAddr,
    counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    calls: AtomicUsize,
}

/// A call as the script sees it.
pub struct Call {
    /// Of its connection, from 0, in the order in which they were accepted.
    pub connection: usize,
    /// Its own, from 0, over all connections.
    pub number: usize,
    pub path: String,
    pub headers: HeaderMap,
    body: RecvStream,
    messages: Messages,
    unread: Vec<Vec<u8>>,
    respond: SendResponse<Bytes>,
    send: Option<SendStream<Bytes>>,
    orders: mpsc::UnboundedSender<Order>,
}

/// What a call may do to its connection.
enum Order {
    /// No more streams; those that are there go on.
    GoAway,
    /// It ends at once, with this reason.
    Abrupt(Reason),
    /// It ends without a word.
    Drop,
}

/// Serves `script` on a free port of the loopback.
pub fn serve_grpc<F: Future<Output = ()> + 'static>(script: impl Fn(Call) -> F + Send + 'static) -> GrpcServer {
    serve(None, server::Builder::new(), script)
}

/// The same with Nagle's algorithm on.
pub fn serve_with_nagle<F: Future<Output = ()> + 'static>(script: impl Fn(Call) -> F + Send + 'static) -> GrpcServer {
    serve_as(None, server::Builder::new(), false, script)
}

/// The same with settings of HTTP/2, and over TLS where there is a configuration of it.
pub fn serve<F: Future<Output = ()> + 'static>(
    tls: Option<Arc<ServerConfig>>,
    builder: server::Builder,
    script: impl Fn(Call) -> F + Send + 'static,
) -> GrpcServer {
    serve_as(tls, builder, true, script)
}

fn serve_as<F: Future<Output = ()> + 'static>(
    tls: Option<Arc<ServerConfig>>,
    builder: server::Builder,
    no_delay: bool,
    script: impl Fn(Call) -> F + Send + 'static,
) -> GrpcServer {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (addr, counts, (stop, stopped)) =
        (listener.local_addr().unwrap(), Arc::<Counts>::default(), oneshot::channel());
    let counted = counts.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let listener = TcpListener::from_std(listener).unwrap();
            let script = Rc::new(script);
            let accept = async {
                loop {
                    let (tcp, _) = listener.accept().await.unwrap();
                    tcp.set_nodelay(no_delay).unwrap();
                    let number = counted.accepted.fetch_add(1, Ordering::SeqCst);
                    let (builder, script, counted) = (builder.clone(), script.clone(), counted.clone());
                    let tls = tls.clone();
                    spawn_local(async move {
                        match tls {
                            None => connection(tcp, builder, number, counted, script).await,
                            Some(tls) => {
                                let Ok(stream) = TlsAcceptor::from(tls).accept(tcp).await else { return };
                                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                                connection(stream, builder, number, counted, script).await;
                            }
                        }
                    });
                }
            };
            tokio::select! { () = accept => {}, _ = stopped => {} }
        });
    });
    GrpcServer { addr, counts, stop: Some(stop), thread: Some(thread) }
}

async fn connection<T: AsyncRead + AsyncWrite + Unpin, F: Future<Output = ()> + 'static>(
    tcp: T,
    builder: server::Builder,
    connection: usize,
    counts: Arc<Counts>,
    script: Rc<impl Fn(Call) -> F + 'static>,
) {
    let Ok(mut http) = builder.handshake::<_, Bytes>(tcp).await else { return };
    let (orders, mut ordered) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            accepted = http.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let (parts, body) = request.into_parts();
                spawn_local(script(Call {
                    connection,
                    number: counts.calls.fetch_add(1, Ordering::SeqCst),
                    path: parts.uri.path().to_owned(),
                    headers: parts.headers,
                    body,
                    messages: Messages::new(None),
                    unread: Vec::new(),
                    respond,
                    send: None,
                    orders: orders.clone(),
                }));
            }
            Some(order) = ordered.recv() => match order {
                Order::GoAway => http.graceful_shutdown(),
                Order::Abrupt(reason) => http.abrupt_shutdown(reason),
                Order::Drop => return,
            }
        }
    }
}

impl GrpcServer {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// This server by `name`, over TLS.
    pub fn https(&self, name: &str) -> Target {
        Target { tls: true, host: name.to_owned(), port: self.addr.port() }
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.counts.calls.load(Ordering::SeqCst)
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

impl Call {
    /// The next request; none when the client has no more, or is gone.
    pub async fn request(&mut self) -> Option<ModelInferRequest> {
        while self.unread.is_empty() {
            let bytes = self.body.data().await?.ok()?;
            let _ = self.body.flow_control().release_capacity(bytes.len());
            let unread = &mut self.unread;
            self.messages
                .feed(&bytes, &mut |message| {
                    unread.push(message.to_vec());
                    true
                })
                .unwrap();
        }
        Some(ModelInferRequest::decode(self.unread.remove(0).as_slice()).unwrap())
    }

    /// Begins the answer.
    pub fn head(&mut self) {
        self.head_of(200, &[("content-type", "application/grpc")]);
    }

    pub fn head_of(&mut self, status: u16, headers: &[(&str, &str)]) {
        let response = response(status, headers);
        self.send = self.respond.send_response(response, false).ok();
    }

    /// Sends bytes in one frame. A client that is gone is no concern of the script's.
    pub fn send(&mut self, bytes: impl Into<Bytes>) {
        if self.send.is_none() {
            self.head();
        }
        if let Some(send) = &mut self.send {
            let _ = send.send_data(bytes.into(), false);
        }
    }

    /// Sends a message in one frame.
    pub fn message(&mut self, message: &impl Message) {
        self.send(framed(&message.encode_to_vec()));
    }

    /// Ends the call with a status of gRPC.
    pub fn end(&mut self, status: &str, message: &str) {
        let ending = [("grpc-status", status), ("grpc-message", message)];
        match &mut self.send {
            Some(send) => {
                let trailers = response(200, &ending).headers().clone();
                let _ = send.send_trailers(trailers);
            }
            None => {
                let all = [&[("content-type", "application/grpc")][..], &ending].concat();
                let _ = self.respond.send_response(response(200, &all), true);
            }
        }
    }

    pub fn reset(&mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }

    pub fn go_away(&self) {
        let _ = self.orders.send(Order::GoAway);
    }

    pub fn abrupt(&self, reason: Reason) {
        let _ = self.orders.send(Order::Abrupt(reason));
    }

    pub fn drop_connection(&self) {
        let _ = self.orders.send(Order::Drop);
    }

    /// Says nothing more until the client gives the call up.
    pub async fn hang(mut self) {
        while self.request().await.is_some() {}
        let Some(send) = &mut self.send else { return };
        let _ = std::future::poll_fn(|cx| send.poll_reset(cx)).await;
    }
}

fn response(status: u16, headers: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

/// Long enough for the other side to have read what was sent before, on a slow machine too.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

/// A response to request `id` with this text.
pub fn text(id: &str, text: &str) -> ModelInferResponse {
    let mut raw = (text.len() as u32).to_le_bytes().to_vec();
    raw.extend_from_slice(text.as_bytes());
    ModelInferResponse {
        id: id.to_owned(),
        outputs: vec![InferOutputTensor {
            name: "text_output".to_owned(),
            datatype: "BYTES".to_owned(),
            shape: vec![1],
            ..InferOutputTensor::default()
        }],
        raw_output_contents: vec![raw.into()],
        ..ModelInferResponse::default()
    }
}

/// An empty response to request `id`.
pub fn empty(id: &str) -> ModelInferResponse {
    ModelInferResponse { id: id.to_owned(), ..ModelInferResponse::default() }
}

/// `response` on a stream, the last one or not.
pub fn streamed(mut response: ModelInferResponse, is_final: bool) -> ModelStreamInferResponse {
    let choice = Some(ParameterChoice::BoolParam(is_final));
    response.parameters.insert("triton_final_response".to_owned(), InferParameter { parameter_choice: choice });
    ModelStreamInferResponse { infer_response: Some(response), ..ModelStreamInferResponse::default() }
}

/// Answers request `id` on a stream by three texts and an empty final response.
pub fn answer(call: &mut Call, id: &str) {
    for part in ["a", " b", " c"] {
        call.message(&streamed(text(id, part), false));
    }
    call.message(&streamed(empty(id), true));
}

/// Answers whatever comes on a call.
pub async fn answer_all(mut call: Call) {
    while let Some(request) = call.request().await {
        answer(&mut call, &request.id);
    }
    call.end("0", "");
}
