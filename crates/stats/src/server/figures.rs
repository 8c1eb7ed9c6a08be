//! The server's figures of a level of load: differences of what it had counted before and after.

use serde::{Deserialize, Serialize};
use streamgauge_core::Nanos;
use streamgauge_core::kserve::{ModelStatistics, Spent, Watched};
use streamgauge_core::record::ServerFacts;

/// Why there are no figures of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatisticsError {
    /// None of the model's versions had a request, and none was asked for.
    #[error("the server's statistics show no version of model `{0}` that had a request in the measured time")]
    NoVersion(String),
}

/// The server's figures of a level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFigures {
    /// The model that was asked, with those that it is composed of.
    pub model: ModelFigures,
    /// Whether that model or one that it is composed of may answer from the cache.
    pub cached: bool,
    /// Models without a version asked for of which several had requests: the highest is shown, and may not be all of it.
    pub ambiguous: Vec<String>,
}

/// What a model did in the measured time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFigures {
    /// The differences of all that the server counts, with the model's name and its version.
    pub counted: ModelStatistics,
    /// Whether its own answers may come from the cache.
    pub cached: bool,
    /// The models that it is composed of, by name and version.
    pub composing: Vec<ModelFigures>,
}

/// What became of a mean request's time in one model, in microseconds. Unlike Perf Analyzer's means, each of which has a count of
/// its own (an inference that the cache saved is in none of them), these are all of successful requests, so they add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestParts {
    /// From its arrival to its last response.
    pub request: u64,
    /// Waiting for a place.
    pub queue: u64,
    /// Preparing inputs; of an ensemble that of all its parts, each as often as it was asked, as with inference and output.
    pub compute_input: u64,
    /// Running the model.
    pub compute_infer: u64,
    /// Handing outputs on.
    pub compute_output: u64,
    /// Answers from the cache.
    pub cache_hit: u64,
    /// Looks into the cache in vain, and putting answers there.
    pub cache_miss: u64,
    /// What the server does not account for; 0 where parts that ran side by side took longer together than the request. Of an
    /// ensemble that is also what its parts waited, and of a decoupled model most of what lies between its responses.
    pub rest: u64,
}

impl ServerFigures {
    /// What the watched model did from `from` to `to`, by the counters that were taken around that time; none where there are no two
    /// of them.
    ///
    /// # Errors
    /// As [`ServerFigures::between`].
    pub fn over(server: &ServerFacts, from: Nanos, to: Nanos) -> Result<Option<ServerFigures>, StatisticsError> {
        let Some((before, after)) = server.around(from, to) else { return Ok(None) };
        ServerFigures::between(&before.models, &after.models, &server.watched).map(Some)
    }

    /// What `model` did between two looks at the server's statistics.
    ///
    /// # Errors
    /// When no version of the model itself is asked for and none had a request, unless the cache may have answered for it. A model
    /// that it is composed of may have had nothing to do.
    pub fn between(
        before: &[ModelStatistics],
        after: &[ModelStatistics],
        model: &Watched,
    ) -> Result<ServerFigures, StatisticsError> {
        let mut ambiguous = Vec::new();
        let figures = figures(before, after, model, model.cached, &mut ambiguous)?;
        Ok(ServerFigures { model: figures, cached: any_cached(model), ambiguous })
    }
}

fn any_cached(model: &Watched) -> bool {
    model.cached || model.composing.iter().any(any_cached)
}

fn figures(
    before: &[ModelStatistics],
    after: &[ModelStatistics],
    model: &Watched,
    may_rest: bool,
    ambiguous: &mut Vec<String>,
) -> Result<ModelFigures, StatisticsError> {
    let of_version = |all: &'_ [ModelStatistics], version: &str| {
        all.iter().find(|one| one.name == model.name && one.version == version).cloned().unwrap_or_default()
    };
    let version = match &model.version {
        Some(version) => Some(version.clone()),
        None => {
            let grown = |one: &&ModelStatistics| {
                one.name == model.name && one.queue.count > of_version(before, &one.version).queue.count
            };
            let mut versions: Vec<&str> = after.iter().filter(grown).map(|one| one.version.as_str()).collect();
            if versions.len() > 1 {
                ambiguous.push(model.name.clone());
            }
            // Versions are whole numbers.
            versions.sort_by_key(|version| (version.parse::<u64>().ok(), *version));
            versions.last().map(|version| (*version).to_owned())
        }
    };
    let mut counted = match &version {
        Some(version) => difference(&of_version(after, version), &of_version(before, version)),
        // An answer from the cache asks none of the models behind it, and a business-logic model asks whom it needs.
        None if may_rest => ModelStatistics::default(),
        None => return Err(StatisticsError::NoVersion(model.name.clone())),
    };
    counted.name = model.name.clone();
    counted.version = version.unwrap_or_else(|| "-1".to_owned());
    let composing = model.composing.iter().map(|part| figures(before, after, part, true, ambiguous));
    let mut composing = composing.collect::<Result<Vec<_>, _>>()?;
    composing.sort_by(|a, b| (&a.counted.name, &a.counted.version).cmp(&(&b.counted.name, &b.counted.version)));
    composing.dedup_by(|a, b| a.is_same_model(b));
    Ok(ModelFigures { counted, cached: model.cached, composing })
}

/// A server that was started anew in between counts from zero; what it counted since stands for all.
fn difference(after: &ModelStatistics, before: &ModelStatistics) -> ModelStatistics {
    let count = |after: u64, before: u64| after.checked_sub(before).unwrap_or(after);
    let spent =
        |after: Spent, before: Spent| match (after.count.checked_sub(before.count), after.ns.checked_sub(before.ns)) {
            (Some(count), Some(ns)) => Spent { count, ns },
            _ => after,
        };
    ModelStatistics {
        name: after.name.clone(),
        version: after.version.clone(),
        inference_count: count(after.inference_count, before.inference_count),
        execution_count: count(after.execution_count, before.execution_count),
        success: spent(after.success, before.success),
        fail: spent(after.fail, before.fail),
        queue: spent(after.queue, before.queue),
        compute_input: spent(after.compute_input, before.compute_input),
        compute_infer: spent(after.compute_infer, before.compute_infer),
        compute_output: spent(after.compute_output, before.compute_output),
        cache_hit: spent(after.cache_hit, before.cache_hit),
        cache_miss: spent(after.cache_miss, before.cache_miss),
    }
}

/// The mean of what was spent, in nanoseconds, cut off; 0 where nothing was.
fn mean_ns(spent: Spent) -> u64 {
    spent.ns.checked_div(spent.count).unwrap_or(0)
}

/// The same in microseconds.
fn mean_us(spent: Spent) -> u64 {
    mean_ns(spent) / 1000
}

/// A server's numbers may be anything; no sum of them goes round.
fn sum(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(0, u64::saturating_add)
}

impl ModelFigures {
    /// What became of a mean request's time in this model, from its own counters.
    pub fn request_parts(&self) -> RequestParts {
        let counted = &self.counted;
        let share = |ns: u64| ns.checked_div(counted.success.count).unwrap_or(0) / 1000;
        let parts = [
            counted.queue,
            counted.compute_input,
            counted.compute_infer,
            counted.compute_output,
            counted.cache_hit,
            counted.cache_miss,
        ]
        .map(|spent| spent.ns);
        let [queue, compute_input, compute_infer, compute_output, cache_hit, cache_miss] = parts.map(share);
        let rest = share(counted.success.ns.saturating_sub(sum(parts)));
        let request = share(counted.success.ns);
        RequestParts { request, queue, compute_input, compute_infer, compute_output, cache_hit, cache_miss, rest }
    }

    /// Mean time of a request in the server, in microseconds.
    pub fn request_us(&self) -> u64 {
        mean_us(self.counted.success)
    }

    /// Mean wait for a place, in microseconds; of a composed model the sum of its parts' means.
    pub fn queue_us(&self) -> u64 {
        self.sum_of_parts(ModelFigures::own_queue_us)
    }

    /// Mean time of input, inference and output together, in microseconds; of a composed model the sum of its parts' means.
    pub fn compute_us(&self) -> u64 {
        self.sum_of_parts(|model| mean_us(model.computed()))
    }

    /// Mean time of preparing inputs, in microseconds.
    pub fn compute_input_us(&self) -> u64 {
        mean_us(self.counted.compute_input)
    }

    /// Mean time of running the model, in microseconds.
    pub fn compute_infer_us(&self) -> u64 {
        mean_us(self.counted.compute_infer)
    }

    /// Mean time of handing outputs on, in microseconds.
    pub fn compute_output_us(&self) -> u64 {
        mean_us(self.counted.compute_output)
    }

    /// Mean time of an answer from the cache, in microseconds; of a composed model with those of its parts.
    pub fn cache_hit_us(&self) -> u64 {
        self.own_and_parts(ModelFigures::own_cache_hit_us)
    }

    /// Mean time of looking into the cache in vain and of putting the answer there, in microseconds; of a composed model with
    /// those of its parts.
    pub fn cache_miss_us(&self) -> u64 {
        self.own_and_parts(ModelFigures::own_cache_miss_us)
    }

    /// Mean time of getting an answer, be it computed or from the cache, in microseconds; of a composed model the sum of its
    /// parts' means.
    pub fn cache_or_compute_us(&self) -> u64 {
        self.sum_of_parts(|model| {
            let (computed, counted) = (model.computed(), &model.counted);
            mean_us(Spent {
                count: sum([computed.count, counted.cache_hit.count]),
                ns: sum([computed.ns, counted.cache_hit.ns, counted.cache_miss.ns]),
            })
        })
    }

    /// What is left of a request's time in the server, in microseconds; never below zero. `cached` is whether answers may come
    /// from the cache ([`ServerFigures::cached`]).
    pub fn overhead_us(&self, cached: bool) -> u64 {
        let work = if cached { self.cache_or_compute_us() } else { self.compute_us() };
        self.request_us().saturating_sub(self.queue_us()).saturating_sub(work)
    }

    /// Mean wait for a place of this model itself, in microseconds.
    pub fn own_queue_us(&self) -> u64 {
        mean_us(self.counted.queue)
    }

    /// Mean time of an answer from this model's own cache, in microseconds.
    pub fn own_cache_hit_us(&self) -> u64 {
        mean_us(self.counted.cache_hit)
    }

    /// Mean time of looking into this model's own cache in vain and of putting the answer there, in microseconds.
    pub fn own_cache_miss_us(&self) -> u64 {
        mean_us(self.counted.cache_miss)
    }

    /// Whether both are of one model in one version.
    pub fn is_same_model(&self, other: &ModelFigures) -> bool {
        (&self.counted.name, &self.counted.version) == (&other.counted.name, &other.counted.version)
    }

    /// What is left of a request's time in the server in nanoseconds, as the files of composing models have it: from its own means.
    pub fn rest_ns(&self) -> u64 {
        mean_ns(self.counted.success).saturating_sub(self.accounted_ns())
    }

    /// Successful requests of this model for each of `whole`; 0 where that had none.
    pub fn share_of(&self, whole: &ModelFigures) -> f64 {
        match whole.counted.success.count {
            0 => 0.0,
            requests => self.counted.success.count as f64 / requests as f64,
        }
    }

    /// Waiting, computing and the cache, from the model's own means.
    pub(crate) fn accounted_ns(&self) -> u64 {
        let counted = &self.counted;
        sum([counted.queue, self.computed(), counted.cache_hit, counted.cache_miss].map(mean_ns))
    }

    /// Input, inference and output together.
    fn computed(&self) -> Spent {
        let counted = &self.counted;
        let ns = sum([counted.compute_input.ns, counted.compute_infer.ns, counted.compute_output.ns]);
        Spent { count: counted.compute_input.count, ns }
    }

    fn sum_of_parts(&self, each: impl Fn(&ModelFigures) -> u64 + Copy) -> u64 {
        if self.composing.is_empty() {
            return each(self);
        }
        sum(self.composing.iter().map(|part| part.sum_of_parts(each)))
    }

    fn own_and_parts(&self, each: impl Fn(&ModelFigures) -> u64 + Copy) -> u64 {
        sum(self.composing.iter().map(|part| part.own_and_parts(each)).chain([each(self)]))
    }
}
