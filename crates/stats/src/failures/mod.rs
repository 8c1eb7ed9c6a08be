//! Groups failures by kind: the stage of the request, the class of failure, the status, and the server's message.

mod with_failures;

pub(crate) use with_failures::Unfinished;
pub use with_failures::WithFailures;

use crate::distribution::{Distribution, Sampler};
use crate::metrics::Metric;
use crate::thresholds::FAILURE_KINDS;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use streamgauge_core::{Failure, FailureClass, Nanos, Record, Stage};

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailureGroup {
    /// The stage that the requests had reached.
    pub stage: Stage,
    /// The class of failure.
    pub class: FailureClass,
    /// The HTTP status, if it is the reason for the failure.
    pub status: Option<u16>,
    /// The number of failures.
    pub count: u64,
    /// The message of the earliest failure.
    pub sample: String,
    /// Whether failures with different messages are in this group, because there were more kinds than are kept apart.
    pub mixed: bool,
    /// The time from issue to failure, in milliseconds.
    pub time_to_failure: Distribution,
}

/// The key of a kind of failure. A kind without a message collects the kinds for which there was no room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    stage: Stage,
    class: FailureClass,
    status: Option<u16>,
    message: Option<String>,
}

/// The failures of one kind so far.
#[derive(Debug)]
struct Failures {
    count: u64,
    first: u64,
    sample: String,
    times: Sampler,
}

impl Failures {
    fn merge(&mut self, other: Failures) {
        self.count += other.count;
        self.times.merge(other.times);
        if other.first < self.first {
            (self.first, self.sample) = (other.first, other.sample);
        }
    }
}

/// All failures of a run so far.
#[derive(Debug, Default)]
pub(crate) struct FailureKinds(BTreeMap<Kind, Failures>);

impl FailureKinds {
    /// Counts a failure of `record`.
    pub fn add(&mut self, record: &Record, failure: &Failure) {
        let time = record.end - record.issued;
        self.enter(record.seq, record.status, (record.issued, time), failure);
    }

    fn enter(&mut self, seq: u64, status: Option<u16>, (issued, after): (Nanos, Nanos), failure: &Failure) {
        let kind = self.kind(status, failure);
        let failures = self.0.entry(kind).or_insert_with(|| Failures {
            count: 0,
            first: u64::MAX,
            sample: String::new(),
            times: Sampler::of(Metric::TimeToFailure),
        });
        failures.count += 1;
        failures.times.add_nanos_at(after, issued);
        // The earliest by sequence number, so that the sample does not depend on the order of records.
        if seq < failures.first {
            failures.first = seq;
            failures.sample.clone_from(&failure.message);
        }
    }

    /// Adds the failures of other requests. Above [`FAILURE_KINDS`] kinds, which of them are kept apart depends on the order in
    /// which failures are counted, and therefore on how they were split. The number of failures with each status does not.
    pub fn merge(&mut self, other: FailureKinds) {
        for (kind, failures) in other.0 {
            let kind = self.with_room(kind);
            match self.0.entry(kind) {
                Entry::Vacant(entry) => {
                    entry.insert(failures);
                }
                Entry::Occupied(mut entry) => entry.get_mut().merge(failures),
            }
        }
    }

    /// The kind under which a failure is counted: its own, or the collective kind if there is no room.
    fn kind(&self, status: Option<u16>, failure: &Failure) -> Kind {
        let Failure { stage, class, ref message } = *failure;
        let status = status.filter(|_| class == FailureClass::Status);
        // Messages of the system or of this program are either the same for a class or an excerpt that differs every time.
        let says_why = matches!(class, FailureClass::Status | FailureClass::InBand | FailureClass::Io);
        let own = Kind { stage, class, status, message: Some(if says_why { pattern(message) } else { String::new() }) };
        self.with_room(own)
    }

    /// Returns `own` if there is room for it, otherwise the collective kind.
    fn with_room(&self, own: Kind) -> Kind {
        if self.0.len() < FAILURE_KINDS || self.0.contains_key(&own) {
            return own;
        }
        let of_status = Kind { message: None, ..own };
        if self.0.len() < 2 * FAILURE_KINDS || self.0.contains_key(&of_status) {
            return of_status;
        }
        Kind { status: None, ..of_status }
    }

    /// The kinds, the most frequent first.
    pub fn close(self) -> Vec<FailureGroup> {
        let group = |(kind, failures): (Kind, Failures)| {
            let time_to_failure = failures.times.close()?;
            let Kind { stage, class, status, message } = kind;
            let Failures { count, sample, .. } = failures;
            Some(FailureGroup { stage, class, status, count, sample, mixed: message.is_none(), time_to_failure })
        };
        let mut groups: Vec<FailureGroup> = self.0.into_iter().filter_map(group).collect();
        groups.sort_by_key(|group| Reverse(group.count));
        groups
    }
}

/// Replaces the parts of a message that change from request to request with `#`: every word that contains a digit, which may be a number, a
/// time, an address or an identifier.
fn pattern(message: &str) -> String {
    let mut pattern = String::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let joins = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let length = rest.find(|c| !joins(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        pattern.push_str(if word.contains(|c: char| c.is_ascii_digit()) { "#" } else { word });
        let between = after.find(joins).unwrap_or(after.len());
        pattern.push_str(&after[..between]);
        rest = &after[between..];
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(seq: u64, status: u16, class: FailureClass, message: &str) -> (u64, u16, Failure) {
        (seq, status, Failure { stage: Stage::Body, class, message: message.to_owned() })
    }

    fn groups(failures: &[(u64, u16, Failure)]) -> Vec<(Option<u16>, u64, String, bool)> {
        let mut kinds = FailureKinds::default();
        for (seq, status, failure) in failures {
            kinds.enter(*seq, Some(*status), (Nanos::ZERO, Nanos::from_millis(2)), failure);
        }
        let of = |group: FailureGroup| (group.status, group.count, group.sample, group.mixed);
        kinds.close().into_iter().map(of).collect()
    }

    #[test]
    fn a_message_is_known_again_by_its_words() {
        assert_eq!(
            pattern("429 (Retry-After: 7): id cmpl-9f3e_1, 2 of 10 tokens"),
            "# (Retry-After: #): id #, # of # tokens"
        );
        assert_eq!(pattern("at 10.0.0.1:8000 ünd"), "at #.#.#.#:# ünd");
        assert_eq!((pattern(""), pattern("…: ")), (String::new(), "…: ".into()));
    }

    #[test]
    fn statuses_and_messages_are_kinds_of_their_own() {
        use FailureClass::{InBand, Status, Truncated};
        let failures = [
            failed(4, 429, Status, "429 (Retry-After: 2): slow down, request 17"),
            failed(2, 429, Status, "429 (Retry-After: 1): slow down, request 9"),
            failed(3, 500, Status, "500: out of memory"),
            failed(5, 500, Status, "500: the engine died"),
            failed(6, 200, InBand, "out of memory"),
            failed(7, 200, Truncated, "one"),
            failed(8, 200, Truncated, "other"),
        ];
        let expected = [
            (Some(429), 2, "429 (Retry-After: 1): slow down, request 9", false),
            (None, 2, "one", false),
            (Some(500), 1, "500: out of memory", false),
            (Some(500), 1, "500: the engine died", false),
            (None, 1, "out of memory", false),
        ];
        let expected = expected.map(|(status, count, sample, mixed)| (status, count, sample.to_owned(), mixed));
        let mut found = groups(&failures);
        found.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(groups(&failures)[0].1, 2);
    }

    #[test]
    fn a_server_that_never_says_the_same_twice_has_a_bounded_number_of_kinds() {
        let letters =
            |number: u64| number.to_string().chars().map(|c| char::from(c as u8 - b'0' + b'a')).collect::<String>();
        let found = |statuses: u64| {
            let status = |seq: u64| u16::try_from(400 + seq % statuses).unwrap();
            let failures: Vec<_> =
                (0..2_000).map(|seq| failed(seq, status(seq), FailureClass::Status, &letters(seq))).collect();
            groups(&failures)
        };
        // What there is no room for is told apart by its status, and by nothing where there are too many of those.
        let few = found(2);
        assert_eq!(few.len(), FAILURE_KINDS + 2);
        assert_eq!([(few[0].1, few[0].3), (few[1].1, few[1].3)], [(900, true); 2]);
        let many = found(600);
        assert_eq!(many.len(), 2 * FAILURE_KINDS + 1);
        assert!(many[0].3 && many[0].0.is_none());
        assert_eq!(many.iter().map(|group| group.1).sum::<u64>(), 2_000);
    }
}
