//! How the measured part of a run follows its warm-up: whether slots go over to it one by one, and which of its requests are
//! sent at once because they do not.

use crate::load::{Load, Places};
use crate::plan::{RunPlan, Warmup};
use crate::stop::StopRule;

impl RunPlan {
    /// Whether slots go on from the warm-up to the measured requests one by one, each as its last warm-up request ends, so that
    /// the server never runs empty in between. Otherwise the measured part begins when the last warm-up request has ended.
    ///
    /// Slots go over where the plan asks for it ([`Warmup::hands_over`]) and both parts are closed loops that can follow each
    /// other without a break. They cannot where
    ///
    /// - the measured load has a ramp, which begins with an idle server;
    /// - the warm-up has more slots than the measured part, whose first requests would then be sent into more load than
    ///   the plan's, or so few requests that its own slots are never all busy, so that most of the measured requests would meet
    ///   a cold server;
    /// - the limits on requests without a first output differ, since both parts would have to keep one limit together;
    /// - the run ends by windows, since a window counts what ends in it and the first one would miss what the warm-up sent;
    /// - the server is a KServe server, whose own counters are read as the measured part begins and whose sequences must be
    ///   closed before their ids are used again.
    pub fn hands_over(&self) -> bool {
        let follows = |warmup: &Warmup| follows_on(warmup, &self.load.mode, self.load.prefill, &self.load.stop);
        !self.endpoint.kind.is_kserve() && self.load.warmup.as_ref().is_some_and(follows)
    }

    /// The number of requests that a closed loop sends together as its measured phase begins: the first request of each slot that did not
    /// go over from a warm-up. It is 0 if slots begin one after another, or if there is only one.
    pub fn opening_burst(&self) -> u32 {
        let Load::Concurrency(Places { most, ramp: None }) = self.load.mode else { return 0 };
        let before = self.load.warmup.as_ref().filter(|_| self.hands_over()).and_then(|warmup| warmup.load.most());
        Some(most - before.unwrap_or(0).min(most)).filter(|burst| *burst > 1).unwrap_or(0)
    }
}

/// Whether the slots of `warmup` can go on with requests of `load` without a break.
fn follows_on(warmup: &Warmup, load: &Load, prefill: Option<Places>, stop: &StopRule) -> bool {
    let (Load::Concurrency(before), Load::Concurrency(after)) = (&warmup.load, load) else { return false };
    let fills_its_slots = warmup.requests.is_none_or(|requests| requests >= u64::from(before.most));
    let one_limit = warmup.prefill == prefill && prefill.is_none_or(|places| places.ramp.is_none());
    warmup.hands_over
        && after.ramp.is_none()
        && before.most <= after.most
        && fills_its_slots
        && one_limit
        && stop.stability.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrival::{Arrival, Rate};
    use crate::clock::Nanos;
    use crate::load::{Ramp, RampShape};
    use crate::stop::{StabilityRule, Window};

    fn warmup(slots: u32, requests: Option<u64>) -> Warmup {
        let load = Load::concurrency(slots);
        Warmup { load, prefill: None, requests, duration: None, grace: Nanos::ZERO, hands_over: true }
    }

    fn follows(warmup: &Warmup, load: &Load) -> bool {
        follows_on(warmup, load, None, &StopRule::after(10))
    }

    #[test]
    fn a_closed_loop_follows_on_from_one_that_is_not_larger_and_was_full() {
        let four = Load::concurrency(4);
        let cases = [(4, Some(4)), (4, None), (2, Some(2)), (4, Some(3)), (5, Some(50))];
        let found = cases.map(|(slots, requests)| follows(&warmup(slots, requests), &four));
        assert_eq!(found, [true, true, true, false, false]);
        assert!(!follows(&Warmup { hands_over: false, ..warmup(4, None) }, &four));
    }

    #[test]
    fn other_loads_and_ramps_begin_with_an_idle_server() {
        let ramp = Some(Ramp { time: Nanos::from_millis(100), shape: RampShape::Linear });
        let ramped = Load::Concurrency(Places { most: 4, ramp });
        assert!(!follows(&warmup(4, None), &ramped));
        // The warm-up's own ramp is over when its last request is out.
        assert!(follows(&Warmup { load: ramped, ..warmup(4, None) }, &Load::concurrency(4)));
        let open = Load::rate(Rate::try_new(10.0).unwrap(), Arrival::Constant);
        assert!(!follows(&warmup(4, None), &open));
        assert!(!follows(&Warmup { load: open, ..warmup(4, None) }, &Load::concurrency(4)));
    }

    #[test]
    fn limits_and_windows_that_cannot_be_shared_keep_the_parts_apart() {
        let (limit, four) = (Some(Places::all(2)), Load::concurrency(4));
        let limited = Warmup { prefill: limit, ..warmup(4, None) };
        let stop = StopRule::after(10);
        assert!(follows_on(&limited, &four, limit, &stop));
        assert!(!follows_on(&limited, &four, None, &stop) && !follows_on(&limited, &four, Some(Places::all(3)), &stop));
        let window = Window::Requests(10);
        let windows = StopRule {
            stability: Some(StabilityRule { window, within: 0.1, percentile: None, most: 10 }),
            ..StopRule::after(10)
        };
        assert!(!follows_on(&warmup(4, None), &four, None, &windows));
    }
}
