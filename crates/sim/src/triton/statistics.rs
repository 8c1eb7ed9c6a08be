//! The counters of each model, as its statistics and its metrics page show them.

use super::repository::{Place, Repository};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use streamgauge_core::clock::Nanos;
use streamgauge_core::kserve::{ModelStatistics, Spent};

/// The counters of all models.
#[derive(Debug)]
pub(crate) struct Statistics {
    /// By model and version.
    counted: RefCell<Vec<Vec<Counted>>>,
}

/// The counters of one version of a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) sums: ModelStatistics,
    /// Milliseconds since 1970.
    pub(crate) last_inference: i64,
    /// Input, infer and output of executions, by size of batch.
    pub(crate) batches: BTreeMap<u64, [Spent; 3]>,
    pending: u64,
}

/// The parts of a request's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passage {
    /// Inferences in it.
    pub(crate) batch: u64,
    /// Executions, all of that batch.
    pub(crate) executions: u64,
    pub(crate) queue: Nanos,
    pub(crate) input: Nanos,
    pub(crate) infer: Nanos,
    pub(crate) output: Nanos,
}

impl Statistics {
    pub(crate) fn new(repository: &Repository) -> Statistics {
        let counted = repository.models.iter().map(|model| {
            let version = |version: &&str| {
                let sums = ModelStatistics {
                    name: model.name.clone(),
                    version: (*version).to_owned(),
                    ..ModelStatistics::default()
                };
                Counted { sums, ..Counted::default() }
            };
            model.versions.iter().map(version).collect()
        });
        Statistics { counted: RefCell::new(counted.collect()) }
    }

    /// Counts a request that was answered; `wall` is nanoseconds since 1970.
    pub(crate) fn answered(&self, place: Place, passage: Passage, wall: i64) {
        self.change(place, |counted| {
            let Passage { batch, executions, queue, input, infer, output } = passage;
            counted.last_inference = wall / 1_000_000;
            let sums = &mut counted.sums;
            sums.inference_count += batch * executions;
            sums.execution_count += executions;
            add(&mut sums.success, executions, queue + input + infer + output);
            add(&mut sums.queue, executions, queue);
            add(&mut sums.compute_input, executions, input);
            add(&mut sums.compute_infer, executions, infer);
            add(&mut sums.compute_output, executions, output);
            let batches = counted.batches.entry(batch).or_default();
            for (sum, span) in batches.iter_mut().zip([input, infer, output]) {
                add(sum, executions, span);
            }
        });
    }

    /// Counts a request that the model failed to answer.
    pub(crate) fn failed(&self, place: Place, took: Nanos) {
        self.change(place, |counted| add(&mut counted.sums.fail, 1, took));
    }

    /// A request waits for its model (`true`), or no longer.
    pub(crate) fn pending(&self, place: Place, waits: bool) {
        self.change(place, |counted| {
            counted.pending = if waits { counted.pending + 1 } else { counted.pending.saturating_sub(1) };
        });
    }

    /// The counters of `models`, in their order.
    pub(crate) fn of(&self, places: impl Iterator<Item = Place>) -> Vec<Counted> {
        let counted = self.counted.borrow();
        places.filter_map(|place| counted.get(place.model)?.get(place.version).cloned()).collect()
    }

    fn change(&self, place: Place, change: impl FnOnce(&mut Counted)) {
        let mut counted = self.counted.borrow_mut();
        if let Some(counted) = counted.get_mut(place.model).and_then(|versions| versions.get_mut(place.version)) {
            change(counted);
        }
    }

    /// The metrics page's families, and those of fake GPUs.
    pub(crate) fn page(&self, repository: &Repository, gpus: u32, page: &mut String) {
        let counted = self.of(repository.places());
        let micros = |spent: Spent| spent.ns / 1_000;
        for (name, kind, help, value) in FAMILIES {
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for each in &counted {
                let sums = &each.sums;
                let (model, version) = (&sums.name, &sums.version);
                if *value == Family::Failures {
                    let backend = sums.fail.count;
                    for (reason, count) in [("OTHER", 0), ("BACKEND", backend), ("REJECTED", 0), ("CANCELED", 0)] {
                        let _ = writeln!(
                            page,
                            "{name}{{model=\"{model}\",reason=\"{reason}\",version=\"{version}\"}} {count}"
                        );
                    }
                    continue;
                }
                let value = match value {
                    Family::Failures => 0,
                    Family::Success => sums.success.count,
                    Family::Inferences => sums.inference_count,
                    Family::Executions => sums.execution_count,
                    Family::Duration => micros(sums.success) + micros(sums.fail),
                    Family::Queue => micros(sums.queue),
                    Family::Input => micros(sums.compute_input),
                    Family::Infer => micros(sums.compute_infer),
                    Family::Output => micros(sums.compute_output),
                    Family::Pending => each.pending,
                };
                let _ = writeln!(page, "{name}{{model=\"{model}\",version=\"{version}\"}} {value}");
            }
        }
        self::gpus(gpus, page);
    }
}

/// Simulated GPUs. Their values are fixed, so that a reader's arithmetic can be checked.
fn gpus(count: u32, page: &mut String) {
    if count == 0 {
        return;
    }
    for (name, help, base, step) in GPU_FAMILIES {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge");
        for gpu in 0..count {
            let value = base + step * f64::from(gpu);
            let _ = writeln!(page, "{name}{{gpu_uuid=\"GPU-{gpu:08x}-0000-0000-0000-000000000000\"}} {value:.6}");
        }
    }
}

fn add(sum: &mut Spent, count: u64, span: Nanos) {
    sum.count += count;
    sum.ns += u64::try_from(span.0).unwrap_or(0);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Duration,
    Executions,
    Failures,
    Infer,
    Inferences,
    Input,
    Output,
    Pending,
    Queue,
    Success,
}

/// Name, type, help text and counter, as in Triton 2.51.
#[rustfmt::skip]
const FAMILIES: &[(&str, &str, &str, Family)] = &[
    ("nv_inference_request_success", "counter", "Number of successful inference requests, all batch sizes", Family::Success),
    ("nv_inference_request_failure", "counter", "Number of failed inference requests, all batch sizes", Family::Failures),
    ("nv_inference_count", "counter", "Number of inferences performed (does not include cached requests)", Family::Inferences),
    ("nv_inference_exec_count", "counter", "Number of model executions performed (does not include cached requests)", Family::Executions),
    ("nv_inference_request_duration_us", "counter", "Cumulative inference request duration in microseconds (includes cached requests)", Family::Duration),
    ("nv_inference_queue_duration_us", "counter", "Cumulative inference queuing duration in microseconds (includes cached requests)", Family::Queue),
    ("nv_inference_compute_input_duration_us", "counter", "Cumulative compute input duration in microseconds (does not include cached requests)", Family::Input),
    ("nv_inference_compute_infer_duration_us", "counter", "Cumulative compute inference duration in microseconds (does not include cached requests)", Family::Infer),
    ("nv_inference_compute_output_duration_us", "counter", "Cumulative inference compute output duration in microseconds (does not include cached requests)", Family::Output),
    ("nv_inference_pending_request_count", "gauge", "Instantaneous number of pending requests awaiting execution per-model.", Family::Pending),
];

/// Name, help, the first GPU's value and by how much each further one has more.
const GPU_FAMILIES: &[(&str, &str, f64, f64)] = &[
    ("nv_gpu_utilization", "GPU utilization rate [0.0 - 1.0)", 0.5, 0.25),
    ("nv_gpu_memory_total_bytes", "GPU total memory, in bytes", 8_589_934_592.0, 0.0),
    ("nv_gpu_memory_used_bytes", "GPU used memory, in bytes", 1_073_741_824.0, 1_073_741_824.0),
    ("nv_gpu_power_usage", "GPU power usage in watts", 100.0, 50.0),
    ("nv_gpu_power_limit", "GPU power management limit in watts", 300.0, 0.0),
    ("nv_energy_consumption", "GPU energy consumption in joules since the Triton Server started", 1_000.0, 500.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_where_it_went() {
        let repository = Repository::new(&[]);
        let statistics = Statistics::new(&repository);
        let place = repository.find("add_sub", "2").unwrap().1;
        let passage = Passage {
            batch: 3,
            executions: 1,
            queue: Nanos(5),
            input: Nanos(1_000),
            infer: Nanos(70_000),
            output: Nanos(2),
        };
        statistics.answered(place, passage, 9_000_000);
        statistics.failed(place, Nanos(4_000));
        let counted = statistics.of([place].into_iter()).remove(0);
        assert_eq!((counted.sums.inference_count, counted.sums.execution_count, counted.last_inference), (3, 1, 9));
        assert_eq!(counted.sums.success, Spent { count: 1, ns: 71_007 });
        assert_eq!(counted.batches[&3][1], Spent { count: 1, ns: 70_000 });
        let mut page = String::new();
        statistics.page(&repository, 2, &mut page);
        assert!(page.contains("nv_inference_count{model=\"add_sub\",version=\"2\"} 3\n"));
        assert!(page.contains("nv_inference_compute_infer_duration_us{model=\"add_sub\",version=\"2\"} 70\n"));
        assert!(page.contains("nv_inference_request_duration_us{model=\"add_sub\",version=\"2\"} 75\n"));
        assert!(page.contains("nv_inference_request_failure{model=\"add_sub\",reason=\"BACKEND\",version=\"2\"} 1\n"));
        assert!(page.contains("nv_gpu_utilization{gpu_uuid=\"GPU-00000001-0000-0000-0000-000000000000\"} 0.750000\n"));
    }
}
