//! Warns before the load if a plan exceeds what a stored calibration found to be accurate.

use crate::printer::Printer;
use streamgauge_core::load::Load;
use streamgauge_run::calibrated::{self, Stored};
use streamgauge_stats::calibration::{Calibration, GoodStreams};

/// Prints a note if a load exceeds what the calibration found this machine to measure accurately. Prints nothing without a calibration.
pub fn say(load: &Load, verbose: bool, printer: &Printer) {
    match calibrated::stored(&|name| std::env::var_os(name)) {
        Stored::Nothing => {}
        Stored::Unreadable(why) => printer.note(&format!("note: {why}; run `streamgauge calibrate` again")),
        Stored::OfAnother(why) if verbose => printer.note(&format!("the calibration is not used: {why}")),
        Stored::OfAnother(_) => {}
        Stored::Here(calibration) => {
            if let Some(advice) = advice(&calibration, load.most(), load.peak_rate()) {
                printer.note(&format!("note: {advice}"));
            }
        }
    }
}

/// A warning about a load of at most `most` requests in flight and `asked` per second (0 for a closed loop), if the calibration found
/// less than that to be accurate.
fn advice(calibration: &Calibration, most: Option<u32>, asked: f64) -> Option<String> {
    let good = &calibration.good;
    let too_many = good.slowest().zip(most).filter(|(slowest, most)| *most > slowest.streams.unwrap_or(0));
    if let Some((slowest, most)) = too_many {
        let (found, remedy) = streams(slowest);
        return Some(format!(
            "{most} concurrent requests exceed what the calibration found accurate on this machine: {found}; {remedy}"
        ));
    }
    let rate = good.rate?;
    if asked <= rate.per_second.unwrap_or(0.0) {
        return None;
    }
    let found = match rate.per_second {
        Some(found) => format!("up to {found} requests/s"),
        None => "no rate that was tried".to_owned(),
    };
    let remedy = remedy(rate.beyond.is_some(), "--request-rate");
    Some(format!("{asked} requests/s exceed what the calibration found accurate on this machine: {found}; {remedy}"))
}

fn streams(slowest: &GoodStreams) -> (String, String) {
    let itl = slowest.itl_ms;
    let found = match slowest.streams {
        Some(streams) => format!("up to {streams} streams at {itl} ms per token"),
        None => format!("no number of streams at {itl} ms per token"),
    };
    (found, remedy(slowest.beyond.is_some(), "--concurrency"))
}

/// What to do about it. `limited` says whether the calibration reached the limit of the machine, and not only the end of its grid.
fn remedy(limited: bool, flag: &str) -> String {
    match limited {
        true => {
            format!("lower {flag}, give the client more processors, or check the fidelity block of the result")
        }
        false => "nothing higher was tried; run `streamgauge calibrate` with a larger grid".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_stats::calibration::{Good, GoodRate, Machine, SCHEMA};

    fn calibration(good: Good) -> Calibration {
        let machine = Machine { cpu: "c".into(), processors: 2, kernel: "k".into(), version: "v".into() };
        Calibration {
            schema: SCHEMA,
            machine,
            taken: String::new(),
            limit_ms: 0.1,
            point_seconds: 1.0,
            good,
            points: vec![],
        }
    }

    fn up_to(streams: Option<u32>, beyond: Option<u32>, rate: Option<GoodRate>) -> Calibration {
        let at = |itl_ms, streams| GoodStreams { itl_ms, streams, tokens_per_second: None, beyond };
        calibration(Good { streams: vec![at(50.0, streams), at(5.0, Some(1))], rate })
    }

    #[test]
    fn nothing_is_said_within_what_was_good() {
        let rate = Some(GoodRate { per_second: Some(500.0), beyond: None });
        let calibration = up_to(Some(64), None, rate);
        assert_eq!(advice(&calibration, Some(64), 0.0), None);
        assert_eq!(advice(&calibration, None, 500.0), None);
        assert_eq!(advice(&calibration, None, 0.0), None);
        assert_eq!(advice(&super::tests::calibration(Good::default()), Some(9), 9.0), None);
    }

    #[test]
    fn more_streams_than_were_good_are_named_with_the_remedy() {
        assert_eq!(
            advice(&up_to(Some(64), Some(256), None), Some(65), 0.0).unwrap(),
            "65 concurrent requests exceed what the calibration found accurate on this machine: up to 64 streams at 50 ms per \
             token; lower --concurrency, give the client more processors, or check the fidelity block of the result"
        );
        let end_of_grid = advice(&up_to(Some(64), None, None), Some(65), 0.0).unwrap();
        assert!(end_of_grid.ends_with("run `streamgauge calibrate` with a larger grid"), "{end_of_grid}");
        let none = advice(&up_to(None, Some(8), None), Some(1), 0.0).unwrap();
        assert!(none.contains("no number of streams at 50 ms per token"), "{none}");
    }

    #[test]
    fn a_rate_beyond_is_named_and_a_cap_comes_first() {
        let rate = Some(GoodRate { per_second: Some(500.0), beyond: Some(2_000.0) });
        let calibration = up_to(Some(64), Some(256), rate);
        let text = advice(&calibration, Some(10), 501.5).unwrap();
        assert!(
            text.starts_with("501.5 requests/s exceed") && text.contains("up to 500 requests/s; lower --request-rate")
        );
        assert!(advice(&calibration, None, f64::INFINITY).unwrap().starts_with("inf requests/s"));
        assert!(advice(&calibration, Some(100), 900.0).unwrap().starts_with("100 concurrent requests"));
    }
}
