//! Fidelity rows about the client: its clock, late reads, late sends, and how busy its load threads were.

use crate::counts::Counts;
use crate::fidelity::sharing::Sharing;
use crate::fidelity::{Evidence, FidelityRow, Grade, caveat, counted, graded, hundredths, share, share_row, text_row};
use crate::metrics::Metric;
use crate::thresholds as limit;
use streamgauge_core::plan::Stamps;
use streamgauge_core::{Setting, message, setting::Part};

pub(super) fn clock(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let (value, grade) = match evidence.facts.kernel_stamps {
        true => ("kernel receive stamps", Grade::Good),
        false => ("stamped when the client read; its lateness is unknown", Grade::Degraded),
    };
    let remedy = match evidence.config.stamps {
        Stamps::User => message!["use ", Setting::Clock, " kernel"],
        Stamps::Kernel => message!["run the client on Linux, where the kernel can stamp received data"],
    };
    Some(text_row(value.to_owned(), grade).remedy(remedy))
}

/// The kernel stamps with the wall clock. If that clock is set while bytes wait to be read, their stamp is wrong. This row counts the
/// cases that can be detected: stamps before `sent` or before the previous event.
pub(super) fn backward_stamps(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let share = share(evidence.backward, evidence.counts.ok).filter(|_| evidence.backward > 0)?;
    let grade = graded(share, limit::BACKWARD_GOOD, limit::BACKWARD_DEGRADED);
    let value = format!("{} of {}", evidence.backward, counted(evidence.counts.ok, "successful request"));
    let row = share_row(share, grade);
    let remedy = message![
        "the machine's wall clock was set during the run; run again while the clock is stable, or use ",
        Setting::Clock,
        " user"
    ];
    Some(FidelityRow { value, ..row }.remedy(remedy))
}

/// Without kernel stamps, any event that shared a read may be late, but none is known to be. More than a few of them degrade
/// the run and never make it invalid.
pub(super) fn shared_reads(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let sharing = evidence.sharing;
    let late = share(sharing.late, sharing.events)?;
    let unknown = share(sharing.unknown, sharing.events)?;
    let doubtful = if late + unknown <= limit::SHARED_GOOD { Grade::Good } else { Grade::Degraded };
    let grade = graded(late, limit::SHARED_GOOD, limit::SHARED_DEGRADED).max(doubtful);
    let found = if sharing.unknown > 0 { "events (all shared reads, late or not)" } else { "events" };
    let value = format!("{} of {} {found}", hundredths(late + unknown), sharing.events);
    let row = FidelityRow { value, ..share_row(late + unknown, grade) };
    Some(row.remedy(message![
        "times to first token and between tokens are uncertain by as much as the client was late; raise ",
        Setting::Threads,
        ", lower ",
        Setting::Concurrency,
        " or give the client more processors"
    ]))
}

/// A long stream has one first token among many events, so many first tokens may be wrong while the share of all
/// events is small. First tokens are therefore graded separately.
pub(super) fn late_firsts(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let sharing = evidence.sharing;
    let share = share(sharing.late_firsts, sharing.streams).filter(|_| sharing.late_firsts > 0)?;
    let grade = graded(share, limit::SHARED_GOOD, limit::SHARED_DEGRADED);
    let value = format!("{} of {}", hundredths(share), counted(sharing.streams, "stream"));
    let row = FidelityRow { value, ..share_row(share, grade) };
    Some(row.remedy(
        message!["these times to first token are too long by up to the gap to the next token; give the client more processors, raise ", Setting::Threads, " or lower ", Setting::Concurrency],
    ))
}

/// A p99 rests on few values, so late reads can dominate it even where the two rows above count few of them.
pub(super) fn late_tails(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let mut worst: Option<f64> = None;
    let mut found = Vec::new();
    for tail in evidence.late_tails {
        let reported = evidence.distribution(tail.metric)?.percentile(99);
        let least = tail.least.min(reported);
        let share = if reported > 0.0 { (reported - least) / reported } else { 0.0 };
        worst = Some(worst.unwrap_or(0.0).max(share));
        let title = tail.metric.title().to_lowercase();
        found.push(format!("{title} {reported:.3} ms, {least:.3} without late reads"));
    }
    let (share, value) = (worst?, found.join("; "));
    let row = share_row(share, caveat(share, limit::LATE_TAIL_GOOD));
    Some(FidelityRow { value, ..row }.remedy(message![
        "this p99 may come from late reads by the client; give the client more processors, raise ",
        Setting::Threads,
        " or lower ",
        Setting::Concurrency
    ]))
}

/// Events that arrived together have correct stamps, but the model did not produce them at that time. A client cannot distinguish a server
/// that writes several events at once from a proxy that buffers them, so this row degrades a run and never makes it invalid.
pub(super) fn events_together(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let Sharing { events, together, late_unseen, .. } = *evidence.sharing;
    // Late reads that the lag does not reveal look the same, so their estimated number is subtracted.
    let share = share(together.saturating_sub(late_unseen.div_ceil(1_000_000)), events).filter(|&share| share > 0.0)?;
    let value = format!("{} of {events} events arrived with the previous one", hundredths(share));
    let row = share_row(share, caveat(share, limit::TOGETHER_GOOD));
    Some(FidelityRow { value, ..row }.remedy(
        "the server, or a proxy that buffers, sends several events at once: inter chunk latencies are those of the bundles, and \
         first tokens waited for the rest of their bundle; turn buffering off to measure the model's own times",
    ))
}

/// This row is for information: with kernel stamps no figure contains the lag, and the row of shared reads shows where lag did
/// harm.
pub(super) fn client_lag(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let lag = evidence.distribution(Metric::ClientLag)?;
    let (p50, p99) = (lag.percentile(50), lag.percentile(99));
    let value = format!("p50 {p50:.3} ms, p99 {p99:.3} ms, max {:.3} ms (not in the figures)", lag.max);
    let row = text_row(value, Grade::Good);
    Some(FidelityRow { number: Some(p99), unit: "ms".into(), ..row })
}

pub(super) fn turnaround(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let turnaround = evidence.distribution(Metric::Turnaround)?.avg;
    let latency = evidence.distribution(Metric::RequestLatency)?.avg;
    let share = if latency > 0.0 { turnaround / latency } else { return None };
    let grade = graded(share, limit::TURNAROUND_GOOD, limit::TURNAROUND_DEGRADED);
    let value = format!("{turnaround:.3} ms, {} of mean latency", hundredths(share));
    let row = FidelityRow { value, ..share_row(share, grade) };
    Some(row.remedy(message![
        "the server had fewer concurrent requests than the load asks for, so throughput is too low by about this share; raise ",
        Setting::Threads,
        " or lower ",
        Setting::Concurrency
    ]))
}

pub(super) fn send_lateness(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let lateness = evidence.distribution(Metric::SendLateness)?;
    let p99 = lateness.percentile(99);
    let (good, degraded) = (limit::SEND_LATENESS_GOOD.as_millis_f64(), limit::SEND_LATENESS_DEGRADED.as_millis_f64());
    let grade = graded(p99, good, degraded);
    let Counts { sent_late, never_sent, .. } = evidence.counts;
    let of = counted(lateness.count, "request");
    let never = if never_sent > 0 { format!(", {never_sent} of them never sent") } else { String::new() };
    let value = format!("p99 {p99:.3} ms, max {:.3} ms; {sent_late} of {of} over {good} ms{never}", lateness.max);
    let row = text_row(value, grade);
    Some(FidelityRow { number: Some(p99), unit: "ms".into(), ..row }.remedy(message![
        "requests were sent later than scheduled, which latencies from sent do not include",
        // Not every front end has latencies from due, a limit on concurrency with a rate, and users.
        Part::only_where(Setting::NumUsers, ": use the latencies from due"),
        "; raise ",
        Part::only_where(
            Setting::NumUsers,
            "the limit on concurrency or the number of users if one is set, otherwise ",
        ),
        Setting::Threads,
        ", or lower the rate",
    ]))
}

pub(super) fn load_thread_cpu(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let threads = &evidence.facts.threads;
    let shares =
        threads.iter().filter(|thread| thread.wall.0 > 0).map(|thread| thread.cpu.0 as f64 / thread.wall.0 as f64);
    let busiest = shares.reduce(f64::max)?;
    let grade = graded(busiest, limit::CPU_GOOD, limit::CPU_DEGRADED);
    let value = format!("{} of a processor; {} in total", hundredths(busiest), counted(threads.len() as u64, "thread"));
    let row = FidelityRow { value, ..share_row(busiest, grade) };
    Some(row.remedy(message![
        "raise ",
        Setting::Threads,
        ", lower ",
        Setting::Concurrency,
        " or give the client more processors"
    ]))
}
