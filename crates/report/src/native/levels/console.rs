//! Renders the tables of a series: the levels side by side, and how much the runs of one level differ.

use super::{LevelRuns, Series, latencies, names};
use crate::text::numbers::{NOT_AVAILABLE, grouped, grouped_count};
use crate::text::table::Table;
use crate::text::{label, put};
use streamgauge_core::Setting;
use streamgauge_stats::{Across, Figure, FigureAcross, Metric, Need, Statistic};

/// Returns the heading of a run's report. `may_be_fewer` says that the given number of runs is a maximum.
pub fn heading(name: &str, level: (usize, usize), run: (u32, u32), may_be_fewer: bool) -> String {
    let of = |what: &str, of: &str, (number, all): (u64, u64)| {
        if all > 1 { format!("{what}{number} {of} {all}") } else { String::new() }
    };
    let level = of("", "of", (level.0 as u64, level.1 as u64));
    let run = of("run ", if may_be_fewer { "of at most" } else { "of" }, (run.0.into(), run.1.into()));
    let place = [level, run].into_iter().filter(|place| !place.is_empty()).collect::<Vec<_>>().join(", ");
    format!("\n━━━ {name} ({place}) ━━━\n")
}

/// Renders how much the runs of one level differ, figure by figure. Returns an empty text for a single run.
pub fn between_runs(level: &LevelRuns, streaming: bool) -> String {
    let across = level.across();
    if across.runs < 2 {
        return String::new();
    }
    let title = format!("{} | {} Runs", level.load, across.runs);
    let mut table = Table::new(title, vec!["Statistic", "mean", "std", "CV %", "min", "max", "±mean", "± of\none run"]);
    let shown = |figure: &&FigureAcross| streaming || !figure.figure.metric.needs(Need::Stream);
    for FigureAcross { figure, spread, within, .. } in across.figures.iter().filter(shown) {
        let reach = spread.interval.map(|interval| interval.reach(spread.mean));
        let numbers = [spread.mean, spread.std, 100.0 * spread.cv, spread.min, spread.max];
        let mut cells: Vec<String> = numbers.into_iter().map(grouped).collect();
        cells.extend([reach, *within].map(|reach| reach.map_or(NOT_AVAILABLE.into(), grouped)));
        table.row(&row_label(*figure), cells);
    }
    let mut text = format!("\n{}", table.render());
    text.push_str("±mean: 95 % interval of the mean over the runs (Student's t)\n");
    text.push_str("± of one run: mean of the ± that the runs report individually\n");
    for FigureAcross { figure, spread, .. } in across.figures.iter().filter(shown) {
        if spread.runs < across.runs {
            put(&mut text, format_args!("{}: from {} of the runs only\n", row_label(*figure), spread.runs));
        }
    }
    let beyond = across.figures.iter().filter(shown).filter(|figure| figure.beyond);
    let beyond: Vec<String> = beyond.map(|figure| row_label(figure.figure)).collect();
    if !beyond.is_empty() {
        put(
            &mut text,
            format_args!(
                "! the runs differ more than the ± of one run allows (at the 1 % level), so that ± is too small for\n  {}\n",
                beyond.join(", ")
            ),
        );
    }
    text
}

fn row_label(figure: Figure) -> String {
    match figure.statistic {
        Statistic::Avg => label(figure.metric),
        Statistic::Percentile(_) => {
            format!("{} {} ({})", figure.metric.title(), figure.name(), figure.metric.row_unit())
        }
    }
}

/// Renders the levels side by side.
pub fn render(series: &Series) -> String {
    let loads: Vec<_> = series.levels.iter().map(|level| &level.load).collect();
    let (head, names) = names(&loads);
    let levels: Vec<(String, Across)> = names.into_iter().zip(series.levels.iter().map(LevelRuns::across)).collect();
    let streaming = series.streaming;
    let scheduled = levels
        .iter()
        .any(|(_, across)| across.figure(Metric::RequestLatencyFromDue, Statistic::Percentile(50)).is_some());
    let repeated = levels.iter().any(|(_, across)| across.runs > 1);

    let mut text = String::from("\n");
    text += &throughputs(head, &levels, streaming, repeated).render();
    text += &times(head, &levels, streaming, scheduled, repeated).render();
    if repeated {
        text.push_str("Values are means over the runs of a level, ± their 95 % confidence interval (Student's t); request counts are totals over all runs\n");
    }
    if levels.iter().any(|(_, across)| across.figures.iter().any(|figure| !figure.supported)) {
        text.push_str("~: too few samples in a run to trust this percentile (no two-sided 95 % interval)\n");
    }
    if levels.iter().any(|(_, across)| across.counts.failed > 0) {
        text.push_str(
            "failed requests are not in these times and throughputs; the reports above show percentiles that include them\n",
        );
    }
    unusual(&mut text, series);
    text
}

fn throughputs(head: &'static str, levels: &[(String, Across)], streaming: bool, repeated: bool) -> Table {
    let goodput = levels.iter().any(|(_, across)| across.figure(Metric::RequestGoodput, Statistic::Avg).is_some());
    let columns = [
        (true, (Metric::RequestThroughput, Statistic::Avg), "Requests\nper sec"),
        (goodput, (Metric::RequestGoodput, Statistic::Avg), "Good\nrequests\nper sec"),
        (true, (Metric::OutputTokenThroughput, Statistic::Avg), "Tokens\nper sec"),
        (
            streaming,
            (Metric::OutputTokenThroughputPerUser, Statistic::Percentile(50)),
            "Tokens\nper sec\nper user\np50",
        ),
    ];
    let columns: Vec<((Metric, Statistic), &str)> =
        columns.into_iter().filter(|(shown, ..)| *shown).map(|(_, figure, name)| (figure, name)).collect();
    let mut names = vec![head, "Requests\nok", "Failed"];
    names.extend(columns.iter().map(|(_, name)| *name));
    names.push("Fidelity");
    let mut table = Table::new("Streamgauge | Levels", names);
    for (name, across) in levels {
        let figures: Vec<_> =
            columns.iter().map(|((metric, statistic), _)| across.figure(*metric, *statistic)).collect();
        let counts = [across.counts.ok, across.counts.failed].map(grouped_count);
        let mut cells = counts.to_vec();
        cells.extend(figures.iter().map(|figure| value(*figure)));
        cells.push(across.verdict.to_string());
        table.row(name, cells);
        if repeated {
            let reaches = figures.iter().map(|figure| reach(*figure));
            table.below(counts.map(|_| String::new()).into_iter().chain(reaches).collect());
        }
    }
    table
}

fn times(head: &'static str, levels: &[(String, Across)], streaming: bool, scheduled: bool, repeated: bool) -> Table {
    let columns = latencies(scheduled).into_iter().zip(match scheduled {
        false => ["TTFT\np50", "TTFT\np99", "ITL\np50", "ITL\np99", "Latency\np50", "Latency\np99"],
        true => [
            "TTFT\nfrom due\np50",
            "TTFT\nfrom due\np99",
            "ITL\np50",
            "ITL\np99",
            "Latency\nfrom due\np50",
            "Latency\nfrom due\np99",
        ],
    });
    let columns: Vec<((Metric, Statistic), &str)> =
        columns.filter(|((metric, _), _)| streaming || !metric.needs(Need::Stream)).collect();
    let names = std::iter::once(head).chain(columns.iter().map(|(_, name)| *name)).collect();
    let mut table = Table::new("Times (ms)", names);
    for (name, across) in levels {
        let figures: Vec<_> =
            columns.iter().map(|((metric, statistic), _)| across.figure(*metric, *statistic)).collect();
        table.row(name, figures.iter().map(|figure| value(*figure)).collect());
        if repeated {
            table.below(figures.iter().map(|figure| reach(*figure)).collect());
        }
    }
    table
}

fn value(figure: Option<&FigureAcross>) -> String {
    figure.map_or(NOT_AVAILABLE.into(), |figure| {
        format!("{}{}", if figure.supported { "" } else { "~" }, grouped(figure.spread.mean))
    })
}

/// Returns the `±` of the mean over the runs, or an empty text for a single run.
fn reach(figure: Option<&FigureAcross>) -> String {
    let interval = figure.and_then(|figure| Some(figure.spread.interval?.reach(figure.spread.mean)));
    interval.map_or(String::new(), |reach| format!("±{}", grouped(reach)))
}

/// Writes warnings about the series without which its tables could be misread.
fn unusual(text: &mut String, series: &Series) {
    for (number, level) in series.levels.iter().enumerate() {
        // Runs are missing only if the series ended early, and then only from its last level.
        let may_lack_runs = series.ended_early.is_some() && number + 1 == series.levels.len();
        if may_lack_runs && level.runs.len() < series.repeat as usize {
            put(text, format_args!("! {}: {} of {} runs\n", level.load, level.runs.len(), series.repeat));
        }
        for (index, run) in level.runs.iter().enumerate() {
            let name = match series.repeat {
                1 => level.load.to_string(),
                _ => format!("{}, run {}", level.load, index + 1),
            };
            if run.summary.counts.ok == 0 {
                put(text, format_args!("! {name}: nothing was measured\n"));
            }
            if run.prompts_known > 0 {
                let (known, all) = (grouped_count(run.prompts_known.into()), grouped_count(run.prompts.into()));
                put(
                    text,
                    format_args!(
                        "! {name}: {known} of its {all} prompts had been sent by an earlier run: a server with a prefix cache\n  answers those from the cache\n"
                    ),
                );
            }
            match &run.ended_early {
                Some(why) => put(text, format_args!("! {name}: ended early: {why}\n")),
                None if run.interrupted => put(text, format_args!("! {name}: interrupted\n")),
                None => {}
            }
        }
    }
    let runs = || series.levels.iter().flat_map(|level| level.runs.iter().map(move |run| (&level.load, run)));
    let sent = |run: &super::OneRun| {
        let counts = run.summary.counts;
        counts.requests + counts.outside + counts.warmup
    };
    let mut round: Vec<String> =
        runs().filter(|(_, run)| sent(run) > u64::from(run.prompts)).map(|(load, _)| load.to_string()).collect();
    round.dedup();
    if let (false, Some(most)) = (round.is_empty(), runs().map(|(_, run)| sent(run)).max()) {
        put(
            text,
            format_args!(
                "! prompts were sent more than once at {}: a server with a prefix cache answers repeats from the cache;\n  {} {most} is enough to send each prompt once\n",
                round.join("; "),
                Setting::NumPrompts
            ),
        );
    }
    if let Some(why) = &series.ended_early {
        let rest: Vec<String> = series.not_run.iter().map(ToString::to_string).collect();
        let rest = if rest.is_empty() { String::new() } else { format!("; not run: {}", rest.join("; ")) };
        put(text, format_args!("! the series ended early: {why}{rest}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::SeriesEnd;
    use super::super::tests::{run, two_levels};
    use super::*;
    use streamgauge_core::load::Load;

    #[test]
    fn a_heading_says_what_there_are_several_of() {
        assert_eq!(heading("concurrency 4", (2, 3), (1, 1), false), "\n━━━ concurrency 4 (2 of 3) ━━━\n");
        assert_eq!(heading("concurrency 4", (2, 3), (2, 5), false), "\n━━━ concurrency 4 (2 of 3, run 2 of 5) ━━━\n");
        let at_most = heading("concurrency 4", (2, 3), (2, 5), true);
        assert_eq!(at_most, "\n━━━ concurrency 4 (2 of 3, run 2 of at most 5) ━━━\n");
        assert_eq!(heading("concurrency 4", (1, 1), (2, 5), false), "\n━━━ concurrency 4 (run 2 of 5) ━━━\n");
    }

    #[test]
    fn levels_stand_side_by_side() {
        let text = render(&two_levels());
        let expected = "
                             Streamgauge | Levels
┏━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━┓
┃ Concurrency ┃ Requests ┃ Failed ┃ Requests ┃   Tokens ┃   Tokens ┃ Fidelity ┃
┃             ┃       ok ┃        ┃  per sec ┃  per sec ┃  per sec ┃          ┃
┃             ┃          ┃        ┃          ┃          ┃ per user ┃          ┃
┃             ┃          ┃        ┃          ┃          ┃      p50 ┃          ┃
┡━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━┩
│           1 │        8 │      0 │   100.00 │ 1,000.00 │   100.00 │     good │
│           4 │        8 │      0 │    80.00 │   800.00 │    80.00 │     good │
└─────────────┴──────────┴────────┴──────────┴──────────┴──────────┴──────────┘
                            Times (ms)
┏━━━━━━━━━━━━━┳━━━━━━━┳━━━━━━━┳━━━━━━━┳━━━━━━━┳━━━━━━━━━┳━━━━━━━━━┓
┃ Concurrency ┃  TTFT ┃  TTFT ┃   ITL ┃   ITL ┃ Latency ┃ Latency ┃
┃             ┃   p50 ┃   p99 ┃   p50 ┃   p99 ┃     p50 ┃     p99 ┃
┡━━━━━━━━━━━━━╇━━━━━━━╇━━━━━━━╇━━━━━━━╇━━━━━━━╇━━━━━━━━━╇━━━━━━━━━┩
│           1 │ 10.00 │ 20.00 │ 10.00 │ 20.00 │   10.00 │   20.00 │
│           4 │ 12.50 │ 25.00 │ 12.50 │ 25.00 │   12.50 │   25.00 │
└─────────────┴───────┴───────┴───────┴───────┴─────────┴─────────┘
";
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn what_is_unusual_is_said() {
        let mut series = two_levels();
        series.levels[0].runs[0].summary.counts.ok = 0;
        series.levels[1].runs[0].summary.counts.requests = 101;
        series.levels[1].runs[0].summary.counts.failed = 2;
        series.levels[1].runs[0].interrupted = true;
        series.levels[1].runs[0].prompts_known = 7;
        series.levels[1].runs[0].summary.distributions[0].1.count = 59;
        series.not_run = vec![Load::concurrency(8)];
        series.ended_early = Some(SeriesEnd::Interrupted);
        let text = render(&series);
        for line in [
            "! concurrency 1: nothing was measured\n",
            "! concurrency 4: interrupted\n",
            "! concurrency 4: 7 of its 100 prompts had been sent by an earlier run: a server",
            "! prompts were sent more than once at concurrency 4: a server",
            "--num-prompts 101 is enough",
            "! the series ended early: interrupted; not run: concurrency 8\n",
            "failed requests are not in these times",
            "│ ~25.00 │",
            "~: too few samples",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn repeats_show_their_spread_and_when_one_run_understates_it() {
        let level = |within| LevelRuns {
            load: Load::concurrency(4),
            runs: vec![run("a", 0, 10.0, within), run("b", 1, 12.0, within), run("c", 2, 14.0, within)],
        };
        // As the statistics' own test: deviations of 8 are within ± 1.9 of one run, and beyond ± 1.7.
        let text = between_runs(&level(1.9), true);
        assert!(!text.contains('!'), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        let row = text.lines().find(|line| line.contains("Time To First Token p50 (ms)")).unwrap();
        let cells: Vec<&str> = row.trim_matches('│').split('│').map(str::trim).collect();
        assert_eq!(cells[1..], ["12.00", "2.00", "16.67", "10.00", "14.00", "4.97", "1.90"]);
        let text = between_runs(&level(1.7), true);
        let told = "that ± is too small for\n  Time To First Token p50 (ms), Time To First Token p99 (ms), Inter";
        assert!(text.contains(told), "{text}");
        let mut series = two_levels();
        assert_eq!(between_runs(&series.levels[0], true), "");
        series.repeat = 3;
        series.levels = vec![level(1.9)];
        let text = render(&series);
        assert!(text.contains("│           4 │ 12.00 │") && text.contains("│             │ ±4.97 │"), "{text}");
        assert!(text.contains("│       24 │"), "the requests of all runs: {text}");
        assert!(text.contains("Values are means over the runs of a level"));
    }

    #[test]
    fn a_schedule_is_timed_from_due_and_answers_in_one_piece_have_no_gaps() {
        let mut series = two_levels();
        for level in &mut series.levels {
            let distributions = &mut level.runs[0].summary.distributions;
            for (from, to) in [
                (Metric::TimeToFirstToken, Metric::TimeToFirstTokenFromDue),
                (Metric::RequestLatency, Metric::RequestLatencyFromDue),
            ] {
                let mut d = distributions.iter().find(|(metric, _)| *metric == from).unwrap().1.clone();
                d.percentiles = d.percentiles.map(|value| value + 700.0);
                distributions.push((to, d));
            }
        }
        let text = render(&series);
        assert!(text.contains("from due") && text.contains("│   710.00 │   720.00 │ 10.00 │"), "{text}");
        series.streaming = false;
        let text = render(&series);
        assert!(!text.contains("TTFT") && !text.contains("per user") && text.contains("Latency"), "{text}");
    }
}
