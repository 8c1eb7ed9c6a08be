//! The values of every metric that is a distribution, collected request by request.

use super::entry::{OfRequest, Pool};
use super::{Kind, Metric, Seen};
use crate::distribution::{Distribution, Sampler};

/// The values of one metric so far, with the function that computes them.
type Values<F> = (Metric, F, Sampler);

/// The values of every distribution so far. The function that computes a metric is looked up once and not for each request.
#[derive(Clone, Debug)]
pub(crate) struct Collected {
    per_request: Vec<Values<OfRequest>>,
    pooled: Vec<Values<Pool>>,
}

impl Collected {
    /// Returns a collection without values.
    pub fn new() -> Collected {
        let (mut per_request, mut pooled) = (Vec::new(), Vec::new());
        for metric in Metric::ALL {
            match metric.kind() {
                Kind::PerRequest(value) => per_request.push((metric, value, Sampler::of(metric))),
                Kind::Pooled(collect) => pooled.push((metric, collect, Sampler::of(metric))),
                Kind::Rate(_) | Kind::Count(_) => {}
            }
        }
        Collected { per_request, pooled }
    }

    /// Adds the values of a measured request, however it ended.
    pub fn add(&mut self, seen: &Seen<'_>) {
        if let Some(answer) = seen.answer {
            for (_, value, sampler) in &mut self.per_request {
                if let Some(value) = value(answer) {
                    sampler.add_at(value, answer.sent);
                }
            }
        }
        for (_, collect, sampler) in &mut self.pooled {
            collect(seen, sampler);
        }
    }

    /// Adds the values of other requests.
    pub fn merge(&mut self, other: Collected) {
        for ((_, _, sampler), (_, _, other)) in self.per_request.iter_mut().zip(other.per_request) {
            sampler.merge(other);
        }
        for ((_, _, sampler), (_, _, other)) in self.pooled.iter_mut().zip(other.pooled) {
            sampler.merge(other);
        }
    }

    /// The values of a metric so far, or `None` if the metric is not a distribution.
    pub fn sampler(&self, metric: Metric) -> Option<&Sampler> {
        let per_request = self.per_request.iter().map(|(known, _, sampler)| (known, sampler));
        let mut all = per_request.chain(self.pooled.iter().map(|(known, _, sampler)| (known, sampler)));
        all.find(|(known, _)| **known == metric).map(|(_, sampler)| sampler)
    }

    /// The statistics of every metric that has values, in the order of reports.
    pub fn close(self) -> Vec<(Metric, Distribution)> {
        let per_request = self.per_request.into_iter().map(|(metric, _, sampler)| (metric, sampler));
        let all = per_request.chain(self.pooled.into_iter().map(|(metric, _, sampler)| (metric, sampler)));
        let mut closed: Vec<(Metric, Distribution)> =
            all.filter_map(|(metric, sampler)| Some((metric, sampler.close()?))).collect();
        closed.sort_by_key(|&(metric, _)| metric);
        closed
    }
}
