//! The server's figures of a level of load: the differences between its counters before and after.

use serde::{Deserialize, Serialize};
use streamgauge_core::Nanos;
use streamgauge_core::kserve::{ModelStatistics, Spent, Watched};
use streamgauge_core::record::ServerFacts;

/// Why a server has no figures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatisticsError {
    /// No version was requested, and no version of the model had a request.
    #[error("the server's statistics show no version of model `{0}` that had a request in the measured time")]
    NoVersion(String),
}

/// The server's figures of a level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFigures {
    /// The measured model, with the models that it is composed of.
    pub model: ModelFigures,
    /// Whether that model, or a model that it is composed of, may answer from the cache.
    pub cached: bool,
    /// Models without a requested version of which several versions had requests. Only the highest version is reported.
    pub ambiguous: Vec<String>,
}

/// The work of a model in the measured time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFigures {
    /// The differences of the server's counters, with the model's name and version.
    pub counted: ModelStatistics,
    /// Whether the model's own answers may come from the cache.
    pub cached: bool,
    /// The models that the model is composed of, by name and version.
    pub composing: Vec<ModelFigures>,
}

/// The parts of the mean time of a request in one model, in microseconds. Perf Analyzer divides each part by its own count (an inference that
/// the cache avoided is in none of them). These parts are all divided by the number of successful requests, so they add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestParts {
    /// From the request's arrival to its last response.
    pub request: u64,
    /// Waiting in the queue.
    pub queue: u64,
    /// Preparing inputs. For an ensemble, this part and the next two are sums over its models, each as often as it was called.
    pub compute_input: u64,
    /// Running the model.
    pub compute_infer: u64,
    /// Delivering outputs.
    pub compute_output: u64,
    /// Answers from the cache.
    pub cache_hit: u64,
    /// Cache misses, and insertions into the cache.
    pub cache_miss: u64,
    /// Time that the server does not account for; 0 if concurrent parts took longer in total than the request. For an
    /// ensemble it includes the queueing of its models, and for a decoupled model most of the time between its responses.
    pub rest: u64,
}

impl ServerFigures {
    /// The work of the watched model from `from` to `to`, by the samples of the counters around that time. Returns `None` unless there are two
    /// of them.
    ///
    /// # Errors
    /// As [`ServerFigures::between`].
    pub fn over(server: &ServerFacts, from: Nanos, to: Nanos) -> Result<Option<ServerFigures>, StatisticsError> {
        let Some((before, after)) = server.around(from, to) else { return Ok(None) };
        ServerFigures::between(&before.models, &after.models, &server.watched).map(Some)
    }

    /// The work of `model` between two samples of the server's statistics.
    ///
    /// # Errors
    /// When no version of the model is requested and none had a request, unless the cache may have answered. A model
    /// that it is composed of may have had no requests.
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
            // Versions are integers.
            versions.sort_by_key(|version| (version.parse::<u64>().ok(), *version));
            versions.last().map(|version| (*version).to_owned())
        }
    };
    let mut counted = match &version {
        Some(version) => difference(&of_version(after, version), &of_version(before, version)),
        // An answer from the cache calls none of the composing models, and a business-logic model calls only those it needs.
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

/// The difference of two samples. A server that was restarted in between counts from zero, and its counts since then are used.
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

/// The mean time spent, in nanoseconds, truncated, or 0 if the count is 0.
fn mean_ns(spent: Spent) -> u64 {
    spent.ns.checked_div(spent.count).unwrap_or(0)
}

/// The mean time spent, in microseconds, truncated.
fn mean_us(spent: Spent) -> u64 {
    mean_ns(spent) / 1000
}

/// A sum that saturates, because a server's numbers are not trusted.
fn sum(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(0, u64::saturating_add)
}

impl ModelFigures {
    /// The parts of the mean time of a request in this model, from the model's own counters.
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

    /// Mean time in the queue, in microseconds; for a composed model the sum over its models.
    pub fn queue_us(&self) -> u64 {
        self.sum_of_parts(ModelFigures::own_queue_us)
    }

    /// Mean time of input, inference and output together, in microseconds; for a composed model the sum over its models.
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

    /// Mean time of delivering outputs, in microseconds.
    pub fn compute_output_us(&self) -> u64 {
        mean_us(self.counted.compute_output)
    }

    /// Mean time of an answer from the cache, in microseconds; for a composed model including its models.
    pub fn cache_hit_us(&self) -> u64 {
        self.own_and_parts(ModelFigures::own_cache_hit_us)
    }

    /// Mean time of a cache miss with the insertion of the answer, in microseconds; for a composed model including
    /// its models.
    pub fn cache_miss_us(&self) -> u64 {
        self.own_and_parts(ModelFigures::own_cache_miss_us)
    }

    /// Mean time of obtaining an answer, computed or from the cache, in microseconds; for a composed model the sum over its
    /// models.
    pub fn cache_or_compute_us(&self) -> u64 {
        self.sum_of_parts(|model| {
            let (computed, counted) = (model.computed(), &model.counted);
            mean_us(Spent {
                count: sum([computed.count, counted.cache_hit.count]),
                ns: sum([computed.ns, counted.cache_hit.ns, counted.cache_miss.ns]),
            })
        })
    }

    /// The time of a request in the server that no part accounts for, in microseconds, at least 0. `cached` says whether answers may come
    /// from the cache ([`ServerFigures::cached`]).
    pub fn overhead_us(&self, cached: bool) -> u64 {
        let work = if cached { self.cache_or_compute_us() } else { self.compute_us() };
        self.request_us().saturating_sub(self.queue_us()).saturating_sub(work)
    }

    /// Mean time in this model's own queue, in microseconds.
    pub fn own_queue_us(&self) -> u64 {
        mean_us(self.counted.queue)
    }

    /// Mean time of an answer from this model's own cache, in microseconds.
    pub fn own_cache_hit_us(&self) -> u64 {
        mean_us(self.counted.cache_hit)
    }

    /// Mean time of a miss in this model's own cache with the insertion of the answer, in microseconds.
    pub fn own_cache_miss_us(&self) -> u64 {
        mean_us(self.counted.cache_miss)
    }

    /// Whether both are figures of the same model and version.
    pub fn is_same_model(&self, other: &ModelFigures) -> bool {
        (&self.counted.name, &self.counted.version) == (&other.counted.name, &other.counted.version)
    }

    /// The time of a request that no part of this model accounts for, in nanoseconds, as in Perf Analyzer's files of composing models.
    pub fn rest_ns(&self) -> u64 {
        mean_ns(self.counted.success).saturating_sub(self.accounted_ns())
    }

    /// Successful requests of this model per request of `whole`, or 0 if that had none.
    pub fn share_of(&self, whole: &ModelFigures) -> f64 {
        match whole.counted.success.count {
            0 => 0.0,
            requests => self.counted.success.count as f64 / requests as f64,
        }
    }

    /// The accounted time: queue, computation and cache, from the model's own means.
    pub(crate) fn accounted_ns(&self) -> u64 {
        let counted = &self.counted;
        sum([counted.queue, self.computed(), counted.cache_hit, counted.cache_miss].map(mean_ns))
    }

    /// The sum of input, inference and output.
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
