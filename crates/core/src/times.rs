//! The form of a schedule's times in a stored plan: integers in the largest unit of which all of them are multiples, so that a trace in
//! milliseconds takes few characters per request.

use crate::clock::Nanos;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::sync::Arc;

/// Times as they are stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// The unit in nanoseconds, at least 1.
    unit_ns: i64,
    /// The times in that unit, 0 or more each.
    times: Vec<i64>,
}

/// Time spans that are serialized individually. For `#[serde(with)]`.
pub(crate) mod spans {
    use super::*;

    pub fn serialize<S: Serializer>(spans: &Arc<[Nanos]>, serializer: S) -> Result<S::Ok, S::Error> {
        stored(spans.iter().map(|span| span.0)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[Nanos]>, D::Error> {
        Ok(read(Stored::deserialize(deserializer)?)?.into_iter().map(Nanos).collect())
    }
}

/// Moments in their order, each as the time since the one before it. For `#[serde(with)]`.
pub(crate) mod moments {
    use super::*;

    pub fn serialize<S: Serializer>(moments: &Arc<[Nanos]>, serializer: S) -> Result<S::Ok, S::Error> {
        let before = std::iter::once(0).chain(moments.iter().map(|moment| moment.0));
        let since = moments.iter().zip(before).map(|(moment, before)| moment.0.saturating_sub(before));
        stored(since).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[Nanos]>, D::Error> {
        let mut moment = 0_i64;
        let since = |span: i64| {
            moment = moment.saturating_add(span);
            Nanos(moment)
        };
        Ok(read(Stored::deserialize(deserializer)?)?.into_iter().map(since).collect())
    }
}

fn stored(times: impl Iterator<Item = i64> + Clone) -> Stored {
    let unit_ns = times.clone().fold(0, divisor).max(1);
    Stored { unit_ns, times: times.map(|time| time / unit_ns).collect() }
}

/// The times in nanoseconds, of a file that may say anything.
fn read<E: de::Error>(stored: Stored) -> Result<Vec<i64>, E> {
    let Stored { unit_ns, times } = stored;
    if unit_ns < 1 || times.iter().any(|time| *time < 0) {
        return Err(E::custom("the times of a schedule are whole numbers from 0, in a unit of at least 1 ns"));
    }
    Ok(times.into_iter().map(|time| time.saturating_mul(unit_ns)).collect())
}

/// The greatest common divisor.
fn divisor(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.saturating_abs(), b.saturating_abs());
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Serialize, Deserialize)]
    struct Both {
        #[serde(with = "spans")]
        spans: Arc<[Nanos]>,
        #[serde(with = "moments")]
        moments: Arc<[Nanos]>,
    }

    #[test]
    fn times_come_back_as_they_were() {
        for times in [&[][..], &[0], &[0, 0], &[1, 1, 5], &[100_000_000, 150_000_000, 220_500_000], &[i64::MAX]] {
            let times: Arc<[Nanos]> = times.iter().map(|time| Nanos(*time)).collect();
            let text = serde_json::to_string(&Both { spans: times.clone(), moments: times.clone() }).unwrap();
            let Both { spans, moments } = serde_json::from_str(&text).unwrap();
            assert_eq!((spans, moments), (times.clone(), times));
        }
    }

    #[test]
    fn times_are_short_and_what_is_no_time_is_refused() {
        let times: Arc<[Nanos]> = [100, 150, 220].map(Nanos::from_millis).into();
        let value = serde_json::to_value(Both { spans: times.clone(), moments: times }).unwrap();
        assert_eq!(value["spans"], json!({"unit_ns": 10_000_000, "times": [10, 15, 22]}));
        assert_eq!(value["moments"], json!({"unit_ns": 10_000_000, "times": [10, 5, 7]}));
        for odd in [json!({"unit_ns": 0, "times": []}), json!({"unit_ns": 1, "times": [-1]}), json!([])] {
            assert!(serde_json::from_value::<Both>(json!({"spans": odd, "moments": value["moments"]})).is_err());
        }
        let huge = json!({"unit_ns": i64::MAX, "times": [i64::MAX, i64::MAX]});
        let both: Both = serde_json::from_value(json!({"spans": huge, "moments": huge})).unwrap();
        assert_eq!(both.moments[1], Nanos(i64::MAX));
    }
}
