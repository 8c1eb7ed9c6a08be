//! One request and its answer on a connection.

use super::Slot;
use super::drains::rest_of_body;
use super::in_flight::InFlight;
use super::watchdog::Limit;
use crate::connection::{BodyStep, Connection};
use crate::failure::Ended;
use crate::prepared::Prepared;
use crate::request::Outgoing;
use streamgauge_core::record::{BodyEnd, Failure, FailureClass, Stage};
use streamgauge_core::tensor::Tensor;
use streamgauge_wire::{AnswerContext, AnswerHead};

impl Slot {
    /// Sends one request and reads its answer on the connection to its server. The connection is kept unless the server said that it ends
    /// or the plan wants it closed. If the server closes it anyway, the next request finds out.
    pub(super) async fn exchange(&mut self, input: &Prepared, request: &mut InFlight<'_>) -> Result<(), Ended> {
        let target = request.target();
        let Some(mut connection) = self.connections[target].take() else {
            return Err(
                Failure { stage: Stage::Connect, class: FailureClass::Io, message: "no connection".into() }.into()
            );
        };
        let job = self.job.clone();
        let outgoing = job.outgoing(target, input, &request.tag, request.named.clone());
        self.watchdog.cancel(request.cancel.map(|delay| (delay, connection.written())));
        let read = self.read_answer(outgoing, &input.expected, &mut connection, request).await;
        self.watchdog.cancel(None);
        let record = request.record();
        record.sent = record.sent.or(connection.sent());
        record.first_byte = connection.first_byte();
        record.written = connection.written_at();
        request.round_trip = connection.round_trip();
        if request.record().body_end == Some(BodyEnd::Late) {
            connection.finish();
            let serves_again = !request.ends_connection && !connection.is_spent(self.job.plan.transport.connections);
            self.tally.drains.take(target, connection, serves_again);
            return Ok(request.transcript.verdict()?);
        }
        // Bytes after a failed answer on the same stream would be mistaken for the next answer.
        let transcript = &request.transcript;
        let is_clean = transcript.is_whole() && (!transcript.has_failed() || !connection.goes_on());
        if is_clean && !request.ends_connection {
            connection.finish();
            if connection.is_spent(self.job.plan.transport.connections) {
                connection.close().await;
            } else {
                self.connections[target] = Some(connection);
            }
        } else if !request.ends_connection && connection.abandon().await {
            self.connections[target] = Some(connection);
        }
        read?;
        Ok(request.transcript.verdict()?)
    }

    async fn read_answer(
        &mut self,
        outgoing: Outgoing<'_>,
        expected: &[Tensor],
        connection: &mut Connection,
        request: &mut InFlight<'_>,
    ) -> Result<(), Ended> {
        self.watchdog.expect(Limit::FirstByte).map_err(|ended| ended.at(Stage::Send))?;
        let answer = self.watchdog.guard(connection.answer(outgoing)).await;
        let answer = answer.map_err(|ended| {
            let written = connection.written_at().is_some();
            ended.at(if written { Stage::FirstByte } else { Stage::Send })
        })??;
        request.ends_connection = answer.ends_connection;
        let header_length = answer.header("inference-header-content-length").and_then(|text| text.parse().ok());
        let to =
            AnswerContext { id: request.tag.id, expected, header_length, encoding: answer.header("grpc-encoding") };
        if answer.status.is_redirection() {
            self.location = answer.location();
        }
        let decoder = self.job.codec.decoder(answer.header("content-type"), to);
        let advice = if answer.status.is_success() { String::new() } else { answer.advice() };
        let head = AnswerHead { status: answer.status.as_u16(), unpacker: answer.unpacker(), advice };
        request.transcript.begin(head, decoder);
        if request.transcript.has_failed() {
            return Ok(());
        }
        // The head lies in the connection's read buffer. As long as it exists, the next read needs another buffer.
        drop(answer);
        loop {
            self.watchdog.expect(Limit::Idle)?;
            let piece = match self.watchdog.guard(connection.piece()).await?? {
                BodyStep::Piece(piece) => piece,
                BodyStep::End(stamp) => {
                    request.transcript.end(stamp);
                    return Ok(());
                }
            };
            request.piece(&piece.bytes, piece.stamp);
            let transcript = &request.transcript;
            let is_enough = self.first_output_is_enough && transcript.outputs() > 0;
            if transcript.has_failed() || is_enough {
                return Ok(());
            }
            if transcript.is_complete() && connection.goes_on() {
                request.transcript.end(piece.stamp);
                return Ok(());
            }
            if transcript.is_done() && !connection.goes_on() {
                self.end_of_body(connection, request).await;
                return Ok(());
            }
        }
    }

    /// Waits a moment for the end of the body of an answer that has said that it is complete, so that the connection can serve again. Most
    /// servers write the end together with the answer or right behind it.
    async fn end_of_body(&mut self, connection: &mut Connection, request: &mut InFlight<'_>) {
        let rest = match self.watchdog.expect(Limit::BodyEnd) {
            Ok(()) => self.watchdog.guard(rest_of_body(connection)).await,
            Err(over) => Err(over),
        };
        let end = match rest {
            Ok(Ok(())) => None,
            Ok(Err(failure)) if failure.class != FailureClass::Malformed => Some(BodyEnd::Cut),
            Ok(Err(_)) | Err(_) => Some(BodyEnd::Late),
        };
        request.transcript.end_behind_answer(end);
    }
}
