//! One connection of HTTP/1.1: requests are answered one after another.

use super::http2;
use super::routes::Route;
use crate::faults::FaultKind;
use crate::http::request::{Inbox, Incoming, Message, Method};
use crate::http::{Buffers, End, Entry, Exchange, JSON, document};
use crate::kserve::{ID_PREFIX, InferPath, Target};
use crate::openai::Endpoint;
use crate::refusal::Refusal;
use crate::state::{Arrival, Begun, Server};
use std::io;
use std::rc::Rc;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::EndpointKind;
use streamgauge_net::StampedStream;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    server: Rc<Server>,
    io: StampedStream,
    number: u64,
    inbox: Inbox,
    buffers: Buffers,
}

impl Connection {
    pub(crate) fn new(server: Rc<Server>, io: StampedStream, number: u64) -> Connection {
        Connection { server, io, number, inbox: Inbox::default(), buffers: Buffers::default() }
    }

    /// Answers requests until either side has had enough. Errors of the socket end it: the client is gone.
    pub(crate) async fn serve(mut self) {
        let faults = self.server.connection_faults(self.number);
        let close_idle = faults.iter().find_map(|fault| match fault {
            FaultKind::CloseIdle(span) => Some(*span),
            _ => None,
        });
        let close_after = faults.iter().find_map(|fault| match fault {
            FaultKind::CloseAfter(requests) => Some(*requests),
            _ => None,
        });
        let mut served = 0;
        loop {
            let end = self.exchange(close_idle).await.unwrap_or(End::Close);
            if end == End::Http2 {
                let Inbox { mut bytes, filled, receipt } = self.inbox;
                bytes.truncate(filled);
                return http2::serve(self.server, self.io, self.number, bytes, receipt, &faults).await;
            }
            served += 1;
            match end {
                End::Keep if close_after.is_none_or(|most| served < most) => {}
                End::Reset => {
                    let _ = self.io.reset();
                    return;
                }
                End::Close | End::Keep | End::Http2 => return,
            }
        }
    }

    async fn exchange(&mut self, close_idle: Option<Nanos>) -> io::Result<End> {
        let message = match self.inbox.next(&mut self.io, close_idle).await? {
            Incoming::Closed => return Ok(End::Close),
            Incoming::Http2 => return Ok(End::Http2),
            Incoming::Refused(refusal) => {
                self.io.send_all(&document(refusal.status, JSON, &refusal.body(), true)).await?;
                return Ok(End::Close);
            }
            Incoming::Whole(message) => message,
        };
        let body = &self.inbox.bytes[message.body.clone()];
        let route = Route::of(&message.path);
        let output = match (&route, message.method) {
            (Route::Output(endpoint), Method::Post) => Some(OutputRequest::OpenAi(endpoint)),
            (Route::Kserve(Target::Infer(path)), Method::Post) => Some(OutputRequest::Infer(path)),
            _ => None,
        };
        let end = match output {
            Some(output) => {
                answer(&self.server, &mut self.io, &mut self.buffers, self.number, output, &message, body).await?
            }
            None => {
                let page = self.page(&route, &message, body);
                self.io.send_all(&page).await?;
                if message.close { End::Close } else { End::Keep }
            }
        };
        self.inbox.drop_to(message.body.end);
        Ok(end)
    }

    /// Answers everything that is not a request for output.
    fn page(&self, route: &Route, message: &Message, body: &[u8]) -> Vec<u8> {
        let close = message.close;
        let refused = |status, class, message: String| {
            document(status, JSON, &Refusal { status, class, message, param: None }.body(), close)
        };
        match (route, message.method) {
            (Route::Kserve(Target::Page(page)), Method::Get) => page.answer(&self.server, None, close),
            (Route::Kserve(Target::Page(page)), Method::Post) => page.answer(&self.server, Some(body), close),
            (Route::Kserve(Target::Unknown), _) => document(404, "text/plain", br#"{"error":"Not Found"}"#, close),
            (Route::Kserve(_), _) => document(405, JSON, br#"{"error":"Method Not Allowed"}"#, close),
            (Route::Health, Method::Get) => document(200, JSON, b"", close),
            (Route::Metrics, Method::Get) => document(200, "text/plain; version=0.0.4", &self.server.metrics(), close),
            (Route::Models, Method::Get) => document(200, JSON, &self.server.models(), close),
            (Route::ResetPrefixCache, Method::Post) => {
                self.server.reset_prefix_cache();
                document(200, JSON, b"", close)
            }
            (Route::Unknown, _) => refused(404, "NotFoundError", "there is nothing at this path".to_owned()),
            (Route::Output(_) | Route::ResetPrefixCache, _) => {
                refused(405, "MethodNotAllowed", "this path takes POST only".to_owned())
            }
            (Route::Health | Route::Metrics | Route::Models, _) => {
                refused(405, "MethodNotAllowed", "this path takes GET only".to_owned())
            }
        }
    }
}

/// A request for output, by the front that answers it.
#[derive(Clone, Copy, Debug)]
enum OutputRequest<'a> {
    /// A request to an OpenAI endpoint.
    OpenAi(&'static Endpoint),
    /// A request to a model of KServe v2.
    Infer(&'a InferPath),
}

impl OutputRequest<'_> {
    /// Its endpoint, and what the identifiers of the answers begin with.
    fn endpoint(self) -> (EndpointKind, &'static str) {
        match self {
            OutputRequest::OpenAi(endpoint) => (endpoint.kind, endpoint.id_prefix),
            OutputRequest::Infer(path) => (path.kind(), ID_PREFIX),
        }
    }
}

/// Answers a request for output that arrived on `io`.
async fn answer(
    server: &Server,
    io: &mut StampedStream,
    buffers: &mut Buffers,
    connection: u64,
    output: OutputRequest<'_>,
    message: &Message,
    body: &[u8],
) -> io::Result<End> {
    let (kind, id_prefix) = output.endpoint();
    let Message { received, kernel_stamp, .. } = *message;
    let Begun { request, faults, chance } =
        server.begin(Arrival { connection, kind, id_prefix, received, kernel_stamp });
    let number = request.number;
    let entry = Entry { log: &server.log, request: Some(request) };
    let mut exchange = Exchange { server, io, buffers, entry, faults, close: message.close, number, chance };
    let end = match output {
        OutputRequest::OpenAi(endpoint) => exchange.run(endpoint, message.received, body).await?,
        OutputRequest::Infer(path) => exchange.infer(path, message.received, message.json, body).await?,
    };
    exchange.entry.note(|request| request.complete = true);
    server.count(exchange.entry.request.as_ref());
    Ok(end)
}
