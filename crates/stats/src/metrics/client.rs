//! Metrics of the client's own delays, and of failed requests.

use super::entry::{Better, Entry, Kind, Need, Use};
use crate::answer::{Answer, lateness};
use streamgauge_core::Nanos;

/// [`Metric::SendLateness`](super::Metric::SendLateness).
pub(super) const SEND_LATENESS: Entry = Entry {
    key: "send_lateness",
    title: "Send Lateness",
    unit: "ms",
    definition: "sent, or the run's end for one never sent, - when the schedule wanted it sent; of all requests, \
                     failed ones too (Streamgauge)",
    kind: Kind::Pooled(|seen, values| {
        if let Some(lateness) = lateness(seen.record) {
            values.add_nanos_at(lateness.late, lateness.due);
        }
    }),
    better: Better::Lower,
    needs: &[Need::Schedule],
    uses: &[Use::Console, Use::Levels],
};

/// [`Metric::ClientLag`](super::Metric::ClientLag).
pub(super) const CLIENT_LAG: Entry = Entry {
    key: "client_lag",
    title: "Client Lag",
    unit: "ms",
    definition: "this client's read of an output event - its receipt by the kernel, pooled over requests; \
                     in no other figure (Streamgauge)",
    kind: Kind::Pooled(|seen, values| {
        for (lag, at) in seen.answer.into_iter().flat_map(Answer::lags) {
            values.add_nanos_at(lag, at);
        }
    }),
    better: Better::Lower,
    needs: &[Need::KernelStamps],
    uses: &[],
};

/// [`Metric::Turnaround`](super::Metric::Turnaround).
pub(super) const TURNAROUND: Entry = Entry {
    key: "turnaround",
    title: "Turnaround",
    unit: "ms",
    definition: "sent - end of the slot's previous reply, in a closed loop (Streamgauge)",
    kind: Kind::PerRequest(|answer| answer.turnaround().map(Nanos::as_millis_f64)),
    better: Better::Lower,
    needs: &[Need::ClosedLoop],
    uses: &[],
};

/// [`Metric::ConnectTime`](super::Metric::ConnectTime).
pub(super) const CONNECT_TIME: Entry = Entry {
    key: "connect_time",
    title: "Connect Time",
    unit: "ms",
    definition: "address, TCP and TLS, of the requests that opened a connection; before sent, so in no latency \
                     but those from due (Streamgauge)",
    kind: Kind::PerRequest(|answer| answer.connect_time().map(Nanos::as_millis_f64)),
    better: Better::Lower,
    needs: &[],
    uses: &[],
};

/// [`Metric::TimeToFailure`](super::Metric::TimeToFailure).
pub(super) const TIME_TO_FAILURE: Entry = Entry {
    key: "time_to_failure",
    title: "Time To Failure",
    unit: "ms",
    definition: "when a failed request was given up - when it was issued (Streamgauge)",
    kind: Kind::Pooled(|seen, values| {
        if seen.failed {
            values.add_nanos_at(seen.record.end - seen.record.issued, seen.record.issued);
        }
    }),
    better: Better::Neither,
    needs: &[Need::Failures],
    uses: &[],
};
