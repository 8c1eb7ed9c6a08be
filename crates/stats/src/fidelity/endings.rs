//! Fidelity rows of runs with a stop rule: whether the rule was met.

use crate::awaited::Wanted;
use crate::fidelity::{Evidence, FidelityRow, Grade, hundredths, share_row, text_row};
use crate::intervals::Needed;
use crate::metrics::{Metric, Use};
use crate::thresholds::WINDOW_LATENCY_GOOD;
use crate::windows::AGREE;
use streamgauge_core::stop::Window;
use streamgauge_core::units::percent;
use streamgauge_core::{Setting, message};

/// Whether the last windows agree.
pub(crate) fn windows(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let rule = evidence.config.stability?;
    let within = percent(rule.within);
    let (value, grade) = match evidence.facts.window {
        Some(window) if window.stable => {
            (format!("the last {AGREE} of {} agree within {within}", window.windows), Grade::Good)
        }
        Some(window) if window.windows < AGREE as u32 => {
            (format!("{} before the end; {AGREE} must agree", window.windows), Grade::Degraded)
        }
        Some(window) => {
            (format!("the last {AGREE} of {} do not agree within {within}", window.windows), Grade::Degraded)
        }
        None => ("no complete window; the figures cover the whole run".to_owned(), Grade::Degraded),
    };
    let number = evidence.facts.window.map(|window| f64::from(window.windows));
    let row = text_row(value, grade);
    let row = FidelityRow { number, unit: (if number.is_some() { "windows" } else { "" }).into(), ..row };
    let enough = evidence.facts.window.is_some_and(|window| window.windows >= AGREE as u32);
    Some(row.remedy(match rule.window {
        _ if !enough => message!["the run ended before there were enough windows; let it end on its own"],
        Window::Time(_) => {
            message![
                "use longer windows (",
                Setting::MeasurementInterval,
                ") or more windows (",
                Setting::MaxTrials,
                ")"
            ]
        }
        Window::Requests(_) => message![
            "use longer windows (",
            Setting::MeasurementRequestCount,
            ") or more windows (",
            Setting::MaxTrials,
            ")"
        ],
    }))
}

/// Streams that move in step end in waves, and a window may contain one wave more or less than corresponds to its length.
pub(crate) fn window_length(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let window = evidence.facts.window.filter(|_| evidence.config.stability.is_some())?;
    let length = (window.to - window.from).as_millis_f64();
    let latency = evidence.distribution(Metric::RequestLatency)?.avg;
    let share = if length > 0.0 { latency / length } else { return None };
    let grade = if share <= WINDOW_LATENCY_GOOD { Grade::Good } else { Grade::Degraded };
    let value = format!("{length:.0} ms in total; mean latency is {} of that", hundredths(share));
    let row = FidelityRow { value, ..share_row(share, grade) };
    Some(row.remedy(message![
        "throughput may be off by about this share, because windows cut through waves of requests; use longer windows (",
        Setting::MeasurementInterval,
        ", ",
        Setting::MeasurementRequestCount,
        ")"
    ]))
}

/// Names the metrics that have no interval because the run is too short. This row is always good: a figure without an interval
/// is not wrong, and the reports mark it.
pub(crate) fn too_short(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    // Either the mean, and with it the whole metric, lacks an interval, or only p99 does, which depends on few values.
    let of = |needed: fn(&Needed) -> Option<f64>| -> Option<(String, f64)> {
        let lacking: Vec<(&str, f64)> = Metric::with_use(Use::Intervals)
            .filter_map(|metric| Some((metric.title(), needed(&evidence.distribution(metric)?.intervals.needed)?)))
            .collect();
        let longest = lacking.iter().map(|(_, needed)| *needed).reduce(f64::max)?;
        let titles: Vec<String> = lacking.iter().map(|(title, _)| title.to_lowercase()).collect();
        Some((format!("{} for {}", seconds(longest), titles.join(", ")), longest))
    };
    let whole = of(|needed| needed.avg);
    let tails = of(|needed| needed.percentiles[8].filter(|_| needed.avg.is_none()));
    let longest = whole.iter().chain(&tails).map(|(_, longest)| *longest).reduce(f64::max)?;
    let found: Vec<String> = whole
        .map(|(what, _)| format!("at least {what}"))
        .into_iter()
        .chain(tails.map(|(what, _)| format!("for p99 at least {what}")))
        .collect();
    let row = text_row(format!("too short for some intervals: {}", found.join("; ")), Grade::Good);
    Some(FidelityRow { number: Some(longest), unit: "s".into(), ..row })
}

/// Whether the figure that the run waited for is as precise as requested. A run that ended because it was is good: the requests
/// that were then in flight may still change the figure a little.
pub(crate) fn confidence(evidence: &Evidence<'_>) -> Option<FidelityRow> {
    let wanted = Wanted::of(evidence.config.confidence.as_ref()?).ok()?;
    let precision = evidence.awaited.and_then(|figure| figure.precision());
    let reached = precision.is_some_and(|precision| precision <= wanted.within);
    let grade = if reached || evidence.facts.satisfied.is_some() { Grade::Good } else { Grade::Degraded };
    let (name, within) = (wanted.name(), percent(wanted.within));
    let value = match precision {
        Some(precision) => format!("±{} of {name}; {within} was requested", hundredths(precision)),
        None => match evidence.awaited.and_then(|figure| figure.needed) {
            Some(needed) => format!(
                "no interval of {name}: its values depend on each other for so long that a run of at least {} is needed; {within} \
                 was requested",
                seconds(needed)
            ),
            None => format!("too few requests for an interval of {name}; {within} was requested"),
        },
    };
    let number = precision.map(|precision| precision * 100.0);
    let row = text_row(value, grade);
    let row = FidelityRow { number, unit: (if number.is_some() { "%" } else { "" }).into(), ..row };
    Some(row.remedy("the run ended before the figure was that precise; let it run longer, or request a wider interval"))
}

/// Formats a duration in whole seconds, which is enough for a rough lower bound.
fn seconds(needed: f64) -> String {
    format!("{} s", needed.ceil())
}
