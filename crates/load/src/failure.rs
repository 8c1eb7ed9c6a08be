//! Classifies errors of the system and of libraries: each becomes one class of failure, with a message for people.

use std::error::Error;
use std::io;
use streamgauge_core::clock::Nanos;
use streamgauge_core::record::{Failure, FailureClass, Outcome, Stage};

/// Why an exchange did not come to its end.
pub(crate) enum Ended {
    Cancelled,
    CutOff,
    Failed(Failed),
}

/// A failure of an exchange, with what decides whether its request may be sent again.
pub struct Failed {
    /// The failure.
    pub failure: Failure,
    /// Whether the server is known to have read the request.
    pub was_read: bool,
}

impl Ended {
    /// The same, at another stage.
    pub fn at(self, stage: Stage) -> Ended {
        match self {
            Ended::Failed(failed) => Ended::Failed(failed.at(stage)),
            ended => ended,
        }
    }
}

impl Failed {
    /// A failure that HTTP/2 reports for the stream of a call at `stage`. A server that resets a stream has read the request, unless it says
    /// that it has done nothing with it (RFC 9113, section 8.7).
    pub fn of_stream(stage: Stage, error: &h2::Error) -> Failed {
        let was_reset = error.get_io().is_none() && error.is_remote() && !error.is_go_away();
        let was_read = was_reset && error.reason() != Some(h2::Reason::REFUSED_STREAM);
        Failed { failure: from_h2(stage, error), was_read }
    }

    /// The same, at another stage.
    pub fn at(self, stage: Stage) -> Failed {
        Failed { failure: Failure { stage, ..self.failure }, ..self }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        Failed { failure, was_read: false }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        failed.failure
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Ended {
        Ended::Failed(failure.into())
    }
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Ended {
        Ended::Failed(failed)
    }
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Outcome {
        match ended {
            Ended::Cancelled => Outcome::Cancelled,
            Ended::CutOff => Outcome::CutOff,
            Ended::Failed(failed) => Outcome::Failed(failed.failure),
        }
    }
}

/// A failure of the system at `stage`.
pub fn from_io(stage: Stage, error: &io::Error) -> Failure {
    Failure { stage, class: class_of(error), message: error.to_string() }
}

/// A failure that hyper reports at `stage`.
pub fn from_hyper(stage: Stage, error: &hyper::Error) -> Failure {
    let cause = source_io(error);
    let class = match cause {
        Some(error) => class_of(error),
        None if error.is_incomplete_message() => FailureClass::Truncated,
        None if error.is_canceled() || error.is_closed() => FailureClass::Reset,
        None if error.is_parse() => FailureClass::Malformed,
        None => FailureClass::Io,
    };
    let message = match cause {
        Some(cause) => cause.to_string(),
        None => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    };
    Failure { stage, class, message }
}

/// A failure that HTTP/2 reports at `stage`.
pub fn from_h2(stage: Stage, error: &h2::Error) -> Failure {
    let reason = || error.reason().map_or("no reason", reason_name);
    let (class, message) = match error.get_io() {
        // Not the system's: h2's word for a connection that ended below its streams.
        Some(io) if io.kind() == io::ErrorKind::BrokenPipe && io.raw_os_error().is_none() => {
            (FailureClass::Truncated, "the connection ended before the answer did".to_owned())
        }
        Some(io) => (class_of(io), io.to_string()),
        None if error.is_remote() && error.is_go_away() => {
            (FailureClass::Reset, format!("the server ended the connection: {}", reason()))
        }
        None if error.is_remote() => (FailureClass::Reset, format!("the server reset the stream: {}", reason())),
        None if error.is_library() => (FailureClass::Malformed, format!("not HTTP/2: {}", reason())),
        None => (FailureClass::Io, error.to_string()),
    };
    Failure { stage, class, message }
}

/// HTTP/2's name of an error code (RFC 9113, section 7).
fn reason_name(reason: h2::Reason) -> &'static str {
    match u32::from(reason) {
        0 => "NO_ERROR",
        1 => "PROTOCOL_ERROR",
        2 => "INTERNAL_ERROR",
        3 => "FLOW_CONTROL_ERROR",
        4 => "SETTINGS_TIMEOUT",
        5 => "STREAM_CLOSED",
        6 => "FRAME_SIZE_ERROR",
        7 => "REFUSED_STREAM",
        8 => "CANCEL",
        9 => "COMPRESSION_ERROR",
        10 => "CONNECT_ERROR",
        11 => "ENHANCE_YOUR_CALM",
        12 => "INADEQUATE_SECURITY",
        13 => "HTTP_1_1_REQUIRED",
        _ => "an unknown reason",
    }
}

/// A time limit that ran out at `stage`.
pub fn timeout(stage: Stage, limit: streamgauge_core::Nanos, what: &str) -> Failure {
    let message = format!("{what} took longer than {} s", limit.as_secs_f64());
    Failure { stage, class: FailureClass::Timeout, message }
}

/// Whether the connection itself was lost, in contrast to an error in the protocol on it.
pub fn is_loss(failure: &Failure) -> bool {
    matches!(failure.class, FailureClass::Reset | FailureClass::Truncated | FailureClass::Io)
}

/// How long after the write of a request the loss of its kept connection counts as a race, in which the server closed the idle connection
/// while the request was under way. The end or the reset is then also under way and arrives within a round trip; the rest is the time for
/// this client to notice it. A server that has worked on a request and ended takes longer.
pub const CLOSING_RACE: Nanos = Nanos::from_millis(10);

/// Whether a request may be sent again after its kept connection was lost before any byte of the answer. It may if the server cannot have
/// received all of it, or if the connection was lost so soon that it was being closed anyway. `written` is when the kernel had the whole
/// request, `lost` when the loss was noticed, and `race` the maximum difference of the two, including a round trip.
pub fn may_be_sent_again(failed: &Failed, written: Option<Nanos>, lost: Nanos, race: Nanos) -> bool {
    is_loss(&failed.failure) && !failed.was_read && written.is_none_or(|written| lost - written <= race)
}

fn source_io(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        source = error.source();
    }
    None
}

/// The class of a failure that the system reports.
pub fn class_of(error: &io::Error) -> FailureClass {
    if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        return FailureClass::Tls;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FailureClass::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            FailureClass::Reset
        }
        io::ErrorKind::UnexpectedEof => FailureClass::Truncated,
        io::ErrorKind::TimedOut => FailureClass::Timeout,
        io::ErrorKind::AddrNotAvailable => FailureClass::Exhausted,
        // Not the system's: hyper's, about chunks that are none.
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput if error.raw_os_error().is_none() => {
            FailureClass::Malformed
        }
        _ if is_out_of_descriptors(error) => FailureClass::Exhausted,
        _ => FailureClass::Io,
    }
}

#[cfg(unix)]
fn is_out_of_descriptors(error: &io::Error) -> bool {
    // EMFILE and ENFILE: the same numbers on every Unix.
    matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(not(unix))]
fn is_out_of_descriptors(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_have_a_class() {
        let class = |kind: io::ErrorKind| from_io(Stage::Connect, &kind.into()).class;
        assert_eq!(class(io::ErrorKind::ConnectionRefused), FailureClass::Refused);
        assert_eq!(class(io::ErrorKind::BrokenPipe), FailureClass::Reset);
        assert_eq!(class(io::ErrorKind::AddrNotAvailable), FailureClass::Exhausted);
        assert_eq!(from_io(Stage::Connect, &io::Error::from_raw_os_error(24)).class, FailureClass::Exhausted);
        assert_eq!(class(io::ErrorKind::ConnectionReset), FailureClass::Reset);
        assert_eq!(class(io::ErrorKind::PermissionDenied), FailureClass::Io);
        let unreachable = from_io(Stage::Body, &io::Error::from_raw_os_error(113));
        assert_eq!((unreachable.stage, unreachable.class), (Stage::Body, FailureClass::Io));
    }

    #[test]
    fn only_what_fits_the_race_of_a_closing_connection_is_sent_again() {
        let lost = |class| Failed::from(Failure { stage: Stage::FirstByte, class, message: "gone".to_owned() });
        let again = |failed: &Failed, after: Option<i64>| {
            let written = after.map(|_| Nanos::from_millis(100));
            let at = Nanos::from_millis(100 + after.unwrap_or(0));
            may_be_sent_again(failed, written, at, CLOSING_RACE)
        };
        for class in [FailureClass::Reset, FailureClass::Truncated] {
            let failure = lost(class);
            assert_eq!([0, 10, 11, 1_000].map(|after| again(&failure, Some(after))), [true, true, false, false]);
            // The server cannot have read a request that was never written.
            assert!(again(&failure, None));
        }
        for class in [FailureClass::Timeout, FailureClass::Status, FailureClass::Malformed] {
            assert!(!again(&lost(class), Some(0)));
        }
        let read = Failed { was_read: true, ..lost(FailureClass::Reset) };
        assert!(again(&lost(FailureClass::Reset), Some(1)) && !again(&read, Some(1)));
    }
}
