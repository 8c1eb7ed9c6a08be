//! Fidelity rows about how requests ended and about their connections.

use crate::counts::Counts;
use crate::fidelity::{Evidence, FidelityRow, Grade, caveat, counted, graded, share, share_row, text_row};
use crate::thresholds as limit;
use streamgauge_core::EarlyEnd;
use streamgauge_core::plan::Acknowledge;
use streamgauge_core::record::DelayedAcks;
use streamgauge_core::{Setting, message};

pub(super) fn no_success(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let Counts { requests, ok, .. } = evidence.counts;
    (ok == 0).then(|| {
        let row = text_row(format!("none of {requests}"), Grade::Invalid);
        row.remedy(message![
            "look at the failures first, or let the run go on for longer (",
            Setting::BenchmarkDuration,
            ", ",
            Setting::GracePeriod,
            ")"
        ])
    })
}

pub(super) fn ended_early(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let facts = evidence.facts;
    let why = match &facts.ended_early {
        Some(why) => why.to_string(),
        None if facts.interrupted => "interrupted".to_owned(),
        None => return None,
    };
    let row = text_row(why, Grade::Degraded);
    Some(row.remedy(match &facts.ended_early {
        Some(EarlyEnd::Prompts { .. }) => {
            message![
                "the figures cover only the part that ran; correct the row that the reason names in ",
                Setting::InputFile
            ]
        }
        _ => message!["the figures cover only the part that ran; let the run finish before you compare it with others"],
    }))
}

pub(super) fn failed(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let Counts { ok, failed, .. } = evidence.counts;
    let share = share(failed, ok + failed)?;
    let grade = graded(share, limit::FAILED_GOOD, limit::FAILED_DEGRADED);
    let value = format!("{failed} of {}", counted(ok + failed, "finished request"));
    let row = FidelityRow { value, ..share_row(share, grade) };
    Some(row.remedy(message![
        "the figures cover successful requests only; see the list of failures, and if the server is overloaded, lower ",
        Setting::Concurrency
    ]))
}

pub(super) fn cut_off(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let Counts { requests, cut_off, .. } = evidence.counts;
    let share = share(cut_off, requests).filter(|_| cut_off > 0)?;
    let grade = caveat(share, limit::CUT_OFF_GOOD);
    let value = format!("{cut_off} of {}", counted(requests, "request"));
    let row = FidelityRow { value, ..share_row(share, grade) };
    Some(row.remedy(match evidence.facts.ended_early {
        Some(_) => {
            message!["the longest of the requests in flight at the early end are missing from the figures"]
        }
        None => message![
            "the longest requests are missing from the figures; raise ",
            Setting::GracePeriod,
            " or ",
            Setting::BenchmarkDuration
        ],
    }))
}

/// Replies that the model ended at once are successful answers. They are fast and have no first token.
pub(super) fn empty_replies(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let share = share(evidence.empty, evidence.counts.ok).filter(|_| evidence.empty > 0)?;
    let value = format!("{} of {}", evidence.empty, counted(evidence.counts.ok, "successful request"));
    let row = share_row(share, caveat(share, limit::EMPTY_GOOD));
    Some(FidelityRow { value, ..row }.remedy(
        message!["the model ended these replies at once: they count with zero output tokens, lower the mean latency and have no time to first token; request full answers with ", Setting::OutputTokensMeanDeterministic, " if the server honours it"],
    ))
}

pub(super) fn connections(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let Counts { requests, retried, .. } = evidence.counts;
    let replaced = evidence.facts.connections_replaced;
    let share = share(retried, requests).filter(|_| retried + replaced > 0)?;
    let grade = caveat(share, limit::RETRIED_GOOD);
    let value =
        format!("{} sent again, {} replaced before use", counted(retried, "request"), counted(replaced, "connection"));
    let row = FidelityRow { value, ..share_row(share, grade) };
    Some(row.remedy("the server, or a proxy before it, closes connections under load; raise its keep-alive limits"))
}

/// Shows the delay that an ordinary client would see and these figures exclude or, with delayed acknowledgements, include.
pub(super) fn acknowledgements(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let delayed = evidence.config.acknowledge == Acknowledge::Delayed;
    let Some(DelayedAcks { late, at_once }) = evidence.facts.delayed_acks else {
        let value = format!("sent when the kernel chooses ({})", Setting::DelayedAcks);
        return delayed.then(|| text_row(value, Grade::Good));
    };
    let difference = (late - at_once).as_millis_f64();
    let (late, at_once) = (late.as_millis_f64(), at_once.as_millis_f64());
    let value = format!(
        "first event {late:.1} ms after the head of the answer; {at_once:.1} ms if the head is acknowledged at once"
    );
    let row = FidelityRow { number: Some(difference), unit: "ms".into(), ..text_row(value, Grade::Degraded) };
    Some(match delayed {
        true => row.remedy(message![
            format!(
                "the server waits for the client's acknowledgement (Nagle's algorithm), so on kept connections first tokens arrive about \
                 {difference:.0} ms after the server could send them; leave out "
            ),
            Setting::DelayedAcks,
            " to measure the server's own times, or set TCP_NODELAY on the server",
        ]),
        false => row.remedy(message![
            format!(
                "the server waits for the client's acknowledgement (Nagle's algorithm): an ordinary client on a kept connection sees \
                 first tokens about {difference:.0} ms later than these figures; set TCP_NODELAY on the server, or measure it with "
            ),
            Setting::DelayedAcks,
        ]),
    })
}
