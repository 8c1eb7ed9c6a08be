//! A series of runs, which are grouped by level: the tables over them ([`console`]) and the two files
//! ([`files`]). Every number is a figure of a run or a mean over runs.

pub mod console;
pub mod files;

use crate::genai::names::subject;
use std::fmt;
use std::path::PathBuf;
use streamgauge_core::load::{Level, Load};
use streamgauge_core::seed::Seed;
use streamgauge_core::{EarlyEnd, RunPlan};
use streamgauge_stats::{Across, Metric, Statistic, Summary};

/// A series, possibly unfinished.
#[derive(Clone, Debug)]
pub struct Series {
    /// Whether answers came as streams.
    pub streaming: bool,
    /// How often each level is to be run.
    pub repeat: u32,
    /// The levels that were run, in order.
    pub levels: Vec<LevelRuns>,
    /// The planned levels that were not run.
    pub not_run: Vec<Load>,
    /// Why the series ended before all planned runs were made.
    pub ended_early: Option<SeriesEnd>,
}

/// Why a series ended before all planned runs were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeriesEnd {
    /// The user interrupted the series.
    Interrupted,
    /// The last run had no successful request, and the server is unreachable or fails every request.
    NoneAnswered,
    /// The last run could not be made, for this reason.
    RunFailed(String),
}

impl fmt::Display for SeriesEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SeriesEnd::Interrupted => "interrupted",
            SeriesEnd::NoneAnswered => "no request was answered",
            SeriesEnd::RunFailed(why) => why,
        })
    }
}

/// The runs of one level, at least one.
#[derive(Clone, Debug)]
pub struct LevelRuns {
    /// The load of the level.
    pub load: Load,
    /// The runs, in order.
    pub runs: Vec<OneRun>,
}

/// One run of a series.
#[derive(Clone, Debug)]
pub struct OneRun {
    /// The run's directory, relative to the files of the series.
    pub directory: PathBuf,
    /// The seed of the run's prompts and schedule.
    pub seed: Seed,
    /// The number of the run's distinct prompts.
    pub prompts: u32,
    /// The number of those prompts that an earlier run of the series also had.
    pub prompts_known: u32,
    /// All figures of the run.
    pub summary: Summary,
    /// Whether the user interrupted the run.
    pub interrupted: bool,
    /// Why the run ended early, if it did.
    pub ended_early: Option<EarlyEnd>,
}

impl LevelRuns {
    /// Combines the figures of the level's runs.
    pub fn across(&self) -> Across {
        Across::of(&self.runs.iter().map(|run| &run.summary).collect::<Vec<_>>())
    }
}

/// The maximum number of levels that are listed individually in the file names of a series.
const NAMED_LEVELS: usize = 12;

/// The common beginning of the file names of a series: the name of a level's directory with all levels in place of one
/// (`m-openai-chat-concurrency1,4,8`), or with the first level, the last level and the number of levels (`concurrency1-64x20`), then
/// `-repeat3` if each level is run three times. Two different series in one directory therefore have different files.
pub fn file_stem(plans: &[RunPlan], repeat: u32) -> String {
    let loads: Vec<Vec<(&str, String)>> = plans.iter().map(|plan| plan.load.mode.stimulus()).collect();
    let first = loads.first().map_or(&[][..], Vec::as_slice);
    let levels = |index: usize| loads.iter().map(move |load| load.get(index).map_or("", |(_, level)| level.as_str()));
    let differs = |index: &usize| levels(*index).any(|level| level != first[*index].1);
    // Identical levels are listed too.
    let listed = (0..first.len()).find(differs).unwrap_or(first.len().saturating_sub(1));
    let mut stem = plans.first().map_or(String::new(), subject);
    for (index, (name, level)) in first.iter().enumerate() {
        stem.push_str(name);
        if index == listed || differs(&index) {
            stem.push_str(&list(&levels(index).collect::<Vec<_>>()));
        } else {
            stem.push_str(level);
        }
    }
    if repeat > 1 {
        stem.push_str(&format!("-repeat{repeat}"));
    }
    stem
}

/// The levels as they appear in a file name.
fn list(levels: &[&str]) -> String {
    match levels {
        [first, .., last] if levels.len() > NAMED_LEVELS => format!("{first}-{last}x{}", levels.len()),
        levels => levels.join(","),
    }
}

/// Returns the heading of the tables' first column and the label of each level: a plain number if the levels differ in nothing else.
fn names(loads: &[&Load]) -> (&'static str, Vec<String>) {
    let concurrency = |load: &&Load| match load.level() {
        Level::Concurrency(most) => Some(most.to_string()),
        Level::Rate(_) => None,
    };
    let rate = |load: &&Load| load.one_rate().map(|rate| rate.to_string());
    let cap = |load: &&Load| load.cap().map(|most| most.to_string());
    let all = |name: &dyn Fn(&&Load) -> Option<String>| loads.iter().map(name).collect::<Option<Vec<String>>>();
    let differ = |names: &Vec<String>| (1..names.len()).all(|index| !names[..index].contains(&names[index]));
    if let Some(names) = all(&concurrency) {
        return ("Concurrency", names);
    }
    if let Some(names) = all(&rate).filter(differ) {
        return ("Requested\nreq/s", names);
    }
    if let Some(names) = all(&cap).filter(differ) {
        return ("Maximum\nconcurrency", names);
    }
    ("Load", loads.iter().map(|load| load.to_string()).collect())
}

/// The figures in the latency columns: from due if there was a schedule, because that is what a user waits; otherwise from sent.
fn latencies(scheduled: bool) -> [(Metric, Statistic); 6] {
    let (first, whole) = match scheduled {
        true => (Metric::TimeToFirstTokenFromDue, Metric::RequestLatencyFromDue),
        false => (Metric::TimeToFirstToken, Metric::RequestLatency),
    };
    let (p50, p99) = (Statistic::Percentile(50), Statistic::Percentile(99));
    [
        (first, p50),
        (first, p99),
        (Metric::InterTokenLatency, p50),
        (Metric::InterTokenLatency, p99),
        (whole, p50),
        (whole, p99),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::{distribution, empty_summary, plan};
    use streamgauge_core::arrival::Arrival;
    use streamgauge_core::load::{Arrivals, Places};
    use streamgauge_core::plan::EndpointKind;
    use streamgauge_stats::{Grade, Interval};

    /// A run whose times are `ms` ± `within`, or ± twice `within` at p99, and whose rates are `1000 / ms`.
    pub(crate) fn run(directory: &str, seed: u64, ms: f64, within: f64) -> OneRun {
        let mut summary = empty_summary();
        for metric in [Metric::TimeToFirstToken, Metric::RequestLatency, Metric::InterTokenLatency] {
            let mut d = distribution([ms, ms, ms, 0.0], |p| if p == 99 { 2.0 * ms } else { ms });
            let around = |at: f64| Interval { low: at - within * at / ms, high: at + within * at / ms };
            d.intervals.percentiles = d.percentiles.map(|at| Some(around(at)));
            summary.distributions.push((metric, d));
        }
        summary
            .distributions
            .push((Metric::OutputTokenThroughputPerUser, distribution([1e3 / ms, 1.0, 1.0, 0.0], |_| 1e3 / ms)));
        summary.scalars = vec![(Metric::OutputTokenThroughput, 1e4 / ms), (Metric::RequestThroughput, 1e3 / ms)];
        summary.fidelity.verdict = Grade::Good;
        OneRun {
            directory: directory.into(),
            seed: Seed(seed),
            prompts: 100,
            prompts_known: 0,
            summary,
            interrupted: false,
            ended_early: None,
        }
    }

    /// Two levels, each run once.
    pub(crate) fn two_levels() -> Series {
        let level = |n: u32, ms| LevelRuns {
            load: Load::concurrency(n),
            runs: vec![run(&format!("tinychat-openai-chat-concurrency{n}"), u64::from(n), ms, 1.0)],
        };
        Series {
            streaming: true,
            repeat: 1,
            levels: vec![level(1, 10.0), level(4, 12.5)],
            not_run: Vec::new(),
            ended_early: None,
        }
    }

    fn plans(loads: impl IntoIterator<Item = Load>) -> Vec<RunPlan> {
        let of_load = |load| {
            let mut plan = plan(EndpointKind::Chat);
            plan.load.mode = load;
            plan
        };
        loads.into_iter().map(of_load).collect()
    }

    fn open(rate: &str, cap: Option<u32>) -> Load {
        Load::Open { arrivals: Arrivals::steady(rate.parse().unwrap(), Arrival::Constant), cap: cap.map(Places::all) }
    }

    #[test]
    fn files_are_named_after_every_level() {
        let stem = |loads: Vec<Load>, repeat| file_stem(&plans(loads), repeat);
        let streams = |all: &[u32]| all.iter().copied().map(Load::concurrency).collect::<Vec<_>>();
        assert_eq!(stem(streams(&[1, 4, 8]), 1), "tinychat-openai-chat-concurrency1,4,8");
        assert_eq!(stem(streams(&[1, 10, 16]), 2), "tinychat-openai-chat-concurrency1,10,16-repeat2");
        assert_eq!(stem(streams(&[16]), 3), "tinychat-openai-chat-concurrency16-repeat3");
        assert_eq!(stem(streams(&(1..=64).collect::<Vec<_>>()), 1), "tinychat-openai-chat-concurrency1-64x64");
        let rates = |cap| vec![open("10", cap), open("12.5", cap), open("100", cap)];
        assert_eq!(stem(rates(None), 1), "tinychat-openai-chat-request_rate10.0,12.5,100.0");
        assert_eq!(stem(rates(Some(8)), 1), "tinychat-openai-chat-concurrency8-request_rate10.0,12.5,100.0");
        let caps = vec![open("10", Some(8)), open("10", Some(80))];
        assert_eq!(stem(caps, 1), "tinychat-openai-chat-concurrency8,80-request_rate10.0");
        assert_eq!(stem(vec![open("10", None), open("inf", None)], 1), "tinychat-openai-chat-request_rate10.0,inf");
        assert_eq!(stem(streams(&[4, 4]), 1), "tinychat-openai-chat-concurrency4,4");
        assert_eq!(stem(vec![open("10", Some(8)); 2], 1), "tinychat-openai-chat-concurrency8-request_rate10.0,10.0");
        assert_eq!(stem(streams(&[1, 4, 1]), 1), "tinychat-openai-chat-concurrency1,4,1");
    }

    #[test]
    fn levels_are_named_by_what_differs() {
        let names_of = |loads: &[Load]| names(&loads.iter().collect::<Vec<_>>());
        assert_eq!(
            names_of(&[Load::concurrency(1), Load::concurrency(4)]),
            ("Concurrency", vec!["1".into(), "4".into()])
        );
        let (head, rows) = names_of(&[open("10", Some(8)), open("20", Some(8))]);
        assert_eq!((head, rows), ("Requested\nreq/s", vec!["10.0".into(), "20.0".into()]));
        let (head, rows) = names_of(&[open("10", Some(8)), open("10", Some(9))]);
        assert_eq!((head, rows), ("Maximum\nconcurrency", vec!["8".into(), "9".into()]));
        let (head, rows) = names_of(&[open("10", None), Load::concurrency(2)]);
        assert_eq!((head, rows.len(), rows[1].as_str()), ("Load", 2, "concurrency 2"));
    }
}
