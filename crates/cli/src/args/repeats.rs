//! How often each level is run: the flags, and the strategy that they choose.

use crate::args::values::{share, whole};
use anyhow::{Result, bail};
use clap::Args;
use streamgauge_core::plan::RunPlan;
use streamgauge_core::stop::{ConfidenceRule, StopRule};
use streamgauge_run::campaign::{Levels, Strategy, UntilNarrow};
use streamgauge_stats::{Confidence, Figure, Metric, Statistic};

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct RepeatArgs {
    /// Run each level this many times, each time with different prompts, and report how much the runs differ
    #[arg(long, visible_alias = "num-profile-runs", value_name = "N", default_value = "1", value_parser = whole::<u32>(1, 100), help_heading = "Load")]
    pub repeat: u32,
    /// Run each level only until the ± of a figure's mean over its runs is no more than this share of the mean, such as 2%; --repeat is then the maximum number of runs, and 3 the minimum
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Load")]
    pub repeat_until_ci: Option<f64>,
    /// Figure for --repeat-until-ci: METRIC for each run's mean, or METRIC:pN for a percentile [default: request_latency]
    #[arg(long, value_name = "METRIC", requires = "repeat_until_ci", help_heading = "Load")]
    pub repeat_ci_metric: Option<String>,
}

/// How often each level is run.
#[derive(Clone, Debug, PartialEq)]
pub enum Repeats {
    /// So often, at least once.
    Times(u32),
    /// Until the interval of a figure's mean over the runs is narrow enough.
    UntilNarrow {
        /// The greatest number of runs.
        most: u32,
        /// The figure.
        figure: Figure,
        /// How far the interval may reach to each side, as a share of the mean.
        within: f64,
    },
}

impl RepeatArgs {
    /// What the flags mean for runs of `plan`.
    ///
    /// # Errors
    /// A sentence that names the flag and what is accepted.
    pub fn resolve(&self, plan: &RunPlan) -> Result<Repeats> {
        let Some(within) = self.repeat_until_ci else { return Ok(Repeats::Times(self.repeat)) };
        if within >= 1.0 {
            bail!("--repeat-until-ci: an interval as wide as the figure says nothing; give less than 100%");
        }
        if self.repeat < UntilNarrow::FEWEST {
            bail!(
                "--repeat-until-ci: --repeat must say how many runs of a level there may be at most; give at least {}, such as --repeat 10",
                UntilNarrow::FEWEST
            );
        }
        let figure = figure(self.repeat_ci_metric.as_deref().unwrap_or("request_latency"), plan)?;
        Ok(Repeats::UntilNarrow { most: self.repeat, figure, within })
    }
}

/// The figure that `text` names, if runs of `plan` have it.
fn figure(text: &str, plan: &RunPlan) -> Result<Figure> {
    let (key, statistic) = text.split_once(':').map_or((text, None), |(key, statistic)| (key, Some(statistic)));
    let percentile = match statistic {
        None | Some("avg" | "mean") => None,
        Some(statistic) => match statistic.strip_prefix('p').and_then(|p| p.parse::<u8>().ok()) {
            Some(percentile) => Some(percentile),
            None => bail!("--repeat-ci-metric {text}: give METRIC, METRIC:avg, or METRIC:pN with N from 1 to 99"),
        },
    };
    // A run has the figures that a run could wait for.
    let rule = ConfidenceRule { metric: key.to_owned(), percentile, within: 0.5 };
    let mut waiting = plan.clone();
    waiting.load.stop = StopRule { confidence: Some(rule), stability: None, ..waiting.load.stop };
    if let Err(error) = Confidence::of(&waiting) {
        bail!("--repeat-ci-metric {text}: it takes the figures that a run can wait for: {error}");
    }
    let Some(metric) = Metric::from_key(key) else { bail!("--repeat-ci-metric {text}: this is not a metric") };
    Ok(Figure { metric, statistic: percentile.map_or(Statistic::Avg, Statistic::Percentile) })
}

impl Repeats {
    /// The greatest number of runs of a level, and whether there may be fewer.
    pub fn most(&self) -> (u32, bool) {
        match self {
            Repeats::Times(times) => (*times, false),
            Repeats::UntilNarrow { most, .. } => (*most, true),
        }
    }

    /// The strategy that runs `levels` so often.
    pub fn strategy(&self, levels: Levels) -> Box<dyn Strategy> {
        match self {
            Repeats::Times(_) => Box::new(levels),
            Repeats::UntilNarrow { figure, within, .. } => Box::new(UntilNarrow::new(levels, *figure, *within)),
        }
    }
}
