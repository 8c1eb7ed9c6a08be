//! Describes the plan of a run in words, so that users can check that it is what they meant.

use crate::origins;
use std::fmt::{self, Display};
use streamgauge_core::clock::Nanos;
use streamgauge_core::load::Places;
use streamgauge_core::plan::{Balance, Cancel, ConnectionPolicy, Endpoint, HistorySource, LoadPlan, RunPlan, Warmup};
use streamgauge_core::setting::Wording;
use streamgauge_core::stop::{ConfidenceRule, StabilityRule, StopRule, Window};
use streamgauge_core::text::one_line;

/// Describes what `plan` does: where requests go, at what load, when the run ends, and what was asked for, one line for each.
pub fn describe(plan: &RunPlan, wording: Wording) -> String {
    let RunPlan { endpoint, load, transport, measure, .. } = plan;
    let LoadPlan { mode, prefill, stop, warmup, cancel, sequences: _, conversations } = load;
    let answers = if endpoint.streaming { "streams" } else { "whole answers" };
    let mut lines = vec![
        format!(
            "plan: {}{}, {answers} of {}",
            endpoint.target,
            endpoint.shown_path(),
            one_line(&endpoint.models.join(", "))
        ),
        format!("  load: {mode}{}, on {} load thread(s)", Prefill(*prefill), transport.threads),
    ];
    if let Some(warmup) = warmup {
        let then = match plan.hands_over() {
            true => "slots go over to the measured load one by one",
            false => "the measured load begins when all warm-up requests have ended",
        };
        lines.push(format!("  warm-up: {}; {then}", before(warmup)));
    }
    if !endpoint.others.is_empty() {
        lines.push(format!("  servers: {}", servers(endpoint)));
    }
    if !endpoint.others.is_empty() && !conversations.sticky {
        lines.push("  conversations: each turn goes to whichever server comes next".to_owned());
    }
    if let Some(header) = &conversations.header {
        lines.push(format!("  conversations: named in the header {}", one_line(header)));
    }
    if conversations.history == HistorySource::Recorded {
        lines.push("  conversations: later turns hold the recorded answers".to_owned());
    }
    match transport.connections {
        ConnectionPolicy::Reuse => {}
        ConnectionPolicy::New => lines.push("  connections: a new one for each request".to_owned()),
        ConnectionPolicy::Rotate(requests) => {
            lines.push(format!("  connections: a new one after {requests} request(s)"));
        }
    }
    if let Some(Cancel { share, delay }) = cancel {
        lines.push(format!(
            "  cancelled on purpose: {} of the requests, {} after they were sent",
            Percent(*share),
            Seconds(*delay)
        ));
    }
    lines.push(format!("  until: {}", ends(stop)));
    if measure.steady_state {
        lines.push("  also reported: the steady state, in which all slots are busy".to_owned());
    }
    if !plan.asked.is_empty() {
        lines.push(format!("  asked for: {}", one_line(&origins::describe(&plan.asked, wording, true))));
    }
    lines.join("\n")
}

fn before(warmup: &Warmup) -> String {
    let ends = of_phase(warmup.requests, warmup.duration, warmup.grace);
    format!("{}{}, until {}", warmup.load, Prefill(warmup.prefill), ends.join(", or "))
}

fn servers(endpoint: &Endpoint) -> String {
    let names: Vec<String> = endpoint.targets().map(ToString::to_string).collect();
    let how = match endpoint.balance {
        Balance::LeastInFlight => "each request goes to the one with the fewest in flight",
        Balance::RoundRobin => "in turn",
    };
    format!("{}, {how}", names.join(", "))
}

fn ends(stop: &StopRule) -> String {
    let StopRule { requests, duration, grace, failed_share, stability, confidence } = stop;
    let mut ends = of_phase(*requests, *duration, *grace);
    ends.extend(stability.map(windows));
    ends.extend(confidence.as_ref().map(interval));
    ends.extend(failed_share.map(|share| format!("more than {} of the requests have failed", Percent(share))));
    ends.join(", or ")
}

fn of_phase(requests: Option<u64>, duration: Option<Nanos>, grace: Nanos) -> Vec<String> {
    let requests = requests.map(|requests| format!("{requests} requests"));
    let duration =
        duration.map(|duration| format!("{} (and up to {} for those in flight)", Seconds(duration), Seconds(grace)));
    requests.into_iter().chain(duration).collect()
}

fn windows(rule: StabilityRule) -> String {
    let StabilityRule { window, within, percentile, most } = rule;
    let window = match window {
        Window::Requests(requests) => format!("{requests} requests"),
        Window::Time(time) => Seconds(time).to_string(),
    };
    let latency = percentile.map_or("mean".to_owned(), |percentile| format!("p{percentile}"));
    format!(
        "three windows of {window} agree within {} in throughput and {latency} latency, or {most} windows are over",
        Percent(within)
    )
}

fn interval(rule: &ConfidenceRule) -> String {
    let statistic = rule.percentile.map_or("mean".to_owned(), |percentile| format!("p{percentile}"));
    format!("the 95 % interval of {} ({statistic}) is within ±{}", rule.metric, Percent(rule.within))
}

/// The limit on requests without a first token, as a continuation of the load's text.
struct Prefill(Option<Places>);

impl Display for Prefill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |places| write!(f, ", at most {places} without a first token"))
    }
}

struct Seconds(Nanos);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

/// A share in percent, without digits that come from its binary representation.
struct Percent(f64);

impl Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", (self.0 * 1e8).round() / 1e6)
    }
}
