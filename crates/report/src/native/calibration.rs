//! Renders a calibration as text, and writes and reads its file.

use crate::artifacts::whole::replace;
use crate::text::numbers::{NOT_AVAILABLE, grouped_count};
use crate::text::table::Table;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::Path;
use streamgauge_stats::Grade;
use streamgauge_stats::calibration::{Agreement, Calibration, Good, Offered, Point, SCHEMA};

/// Writes the file under a temporary name and renames it, so that an earlier file is either replaced completely or left alone.
/// Creates the directory if it is missing.
///
/// # Errors
/// When the file or its directory cannot be created.
pub fn write(calibration: &Calibration, path: &Path) -> io::Result<()> {
    replace(path, |out| {
        serde_json::to_writer_pretty(&mut *out, calibration)?;
        out.write_all(b"\n")
    })
}

/// Reads a file back.
///
/// # Errors
/// When the file cannot be read, is not a calibration, or has a different schema.
pub fn read(path: &Path) -> io::Result<Calibration> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let json: serde_json::Value = serde_json::from_reader(BufReader::new(File::open(path)?))
        .map_err(|error| invalid(format!("it is not JSON ({error})")))?;
    match json.get("schema").and_then(serde_json::Value::as_u64) {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(schema) => return Err(invalid(format!("it has schema {schema}, and this version reads {SCHEMA}"))),
        None => return Err(invalid("it is not a calibration".to_owned())),
    }
    serde_json::from_value(json).map_err(|error| invalid(format!("it is not a calibration ({error})")))
}

const HEAD: [&str; 12] = [
    "Load", "TTFT p50", "TTFT p99", "ITL p50", "ITL p99", "lag p50", "lag p99", "shared", "sent", "CPU", "server",
    "verdict",
];

/// The calibration as text; every line ends with a newline.
pub fn render(calibration: &Calibration) -> String {
    let mut table = Table::new("Streamgauge | Calibration: reported minus true, in ms", HEAD.to_vec());
    for point in &calibration.points {
        table.row(&label(point), cells(point));
    }
    let mut text = table.render();
    let limit = calibration.limit_ms;
    let mut line = |words: std::fmt::Arguments<'_>| {
        // Writing to a `String` cannot fail.
        let _ = text.write_fmt(words);
        text.push('\n');
    };
    line(format_args!(
        "✓ accurate: no error over {limit} ms, verdict good, and each request matches one in the server's log"
    ));
    line(format_args!(
        "lag: read after the kernel's stamp, ms · shared: events in late shared reads, % · sent: lateness, p99, ms"
    ));
    line(format_args!(
        "CPU: busiest load thread, % · server: lateness of the simulated server, p99, ms (! if it changed the load)"
    ));
    line(format_args!("\nMeasured accurately on this machine"));
    for words in good(&calibration.good) {
        line(format_args!("  {words}"));
    }
    line(format_args!("\n{}", agreement(&calibration.points)));
    for (agreement, name) in [
        (Agreement::FalseGood, "false good"),
        (Agreement::FalseAlarm, "false alarm"),
        (Agreement::OfLoad, "doubtful load"),
    ] {
        for point in calibration.points.iter().filter(|point| point.agreement == agreement) {
            line(format_args!("  {name}, {}: {}", point.offered, why(point)));
        }
    }
    for point in &calibration.points {
        if let Some(unmatched) = &point.unmatched {
            line(format_args!("  unmatched requests, {}: {unmatched}", point.offered));
        }
    }
    text
}

fn label(point: &Point) -> String {
    let mark = if point.faithful { '✓' } else { '✗' };
    let load = match point.offered {
        Offered::Streams { streams, itl_ms } => format!("{} x {itl_ms} ms", grouped_count(streams.into())),
        Offered::Rate { per_second } => format!("{per_second} req/s"),
    };
    format!("{mark} {load}")
}

fn cells(point: &Point) -> Vec<String> {
    let shown = |value: Option<f64>, digits: usize| match value {
        Some(value) => format!("{value:.digits$}"),
        None => NOT_AVAILABLE.to_owned(),
    };
    let signed = |value: Option<f64>| value.map_or(NOT_AVAILABLE.to_owned(), |value| format!("{value:+.3}"));
    let error = point.errors;
    let server = if point.server_late { "!" } else { "" };
    vec![
        signed(error.map(|errors| errors.ttft_p50.error)),
        signed(error.map(|errors| errors.ttft_p99.error)),
        signed(error.map(|errors| errors.itl_p50.error)),
        signed(error.map(|errors| errors.itl_p99.error)),
        shown(point.client_lag_p50_ms, 3),
        shown(point.client_lag_p99_ms, 3),
        shown(point.late_shared_reads_percent, 2),
        // A closed loop has no schedule.
        point.send_lateness_p99_ms.map_or(String::new(), |late| format!("{late:.3}")),
        shown(point.load_thread_cpu_percent, 0),
        format!("{server}{}", shown(point.server_late_p99_ms, 2)),
        point.verdict.to_string(),
    ]
}

/// One line for the largest accurate load of each kind.
fn good(good: &Good) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for at in &good.streams {
        let beyond = match at.beyond {
            Some(beyond) => format!("not {}", grouped_count(beyond.into())),
            None => "nothing higher was tried".to_owned(),
        };
        let rate =
            at.tokens_per_second.map_or(String::new(), |rate| format!(", {} tokens/s", grouped_count(rate as u64)));
        lines.push(match at.streams {
            Some(streams) => {
                format!("{} ms per token: up to {} streams{rate} ({beyond})", at.itl_ms, grouped_count(streams.into()))
            }
            None => format!("{} ms per token: at none of the numbers of streams tried ({beyond})", at.itl_ms),
        });
    }
    if let Some(rate) = good.rate {
        let beyond = rate.beyond.map_or("nothing higher was tried".to_owned(), |beyond| format!("not {beyond}"));
        lines.push(match rate.per_second {
            Some(found) => format!("open loop: up to {found} requests/s ({beyond})"),
            None => format!("open loop: at none of the rates tried ({beyond})"),
        });
    }
    lines
}

fn agreement(points: &[Point]) -> String {
    let count = |agreement: Agreement| points.iter().filter(|point| point.agreement == agreement).count();
    let (good, alarm) = (count(Agreement::FalseGood), count(Agreement::FalseAlarm));
    let load = match count(Agreement::OfLoad) {
        0 => String::new(),
        some => format!(", {some} doubtful for the offered load only, not for these times"),
    };
    format!(
        "Fidelity verdict against real error: {} of {} points agree, {good} false good, {alarm} false alarm{}{load}",
        count(Agreement::Agrees),
        points.len(),
        if alarm == 1 { "" } else { "s" }
    )
}

/// Explains why the verdict of a point is doubtful.
fn why(point: &Point) -> String {
    let worst = point
        .errors
        .map_or("nothing to compare".to_owned(), |errors| format!("largest error {:.3} ms", errors.worst()));
    match point.verdict {
        Grade::Good => worst,
        verdict => format!("{worst}, and {verdict} for {}", point.caveats.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::calibration;
    use std::fs;

    #[test]
    fn the_largest_loads_and_the_false_verdicts_are_said_in_words() {
        let text = render(&calibration());
        let below = text.split_once("\nMeasured accurately").unwrap().1;
        let expected = " on this machine
  20 ms per token: up to 64 streams, 3,200 tokens/s (not 1,024)
  5 ms per token: at none of the numbers of streams tried (not 64)
  open loop: up to 500 requests/s (nothing higher was tried)

Fidelity verdict against real error: 2 of 4 points agree, 1 false good, 1 false alarm
  false good, 1024 streams at 20 ms per token: largest error 0.300 ms
  false alarm, 64 streams at 5 ms per token: largest error 0.010 ms, and degraded for load_thread_cpu
";
        assert_eq!(below, expected);
        assert!(text.contains("✓ 64 x 20 ms") && text.contains("✗ 1,024 x 20 ms") && text.contains("✓ 500 req/s"));
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 130, "{widest}\n{text}");
    }

    #[test]
    fn a_file_reads_back_and_replaces_the_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("calibration.json");
        let mut calibration = calibration();
        write(&calibration, &path).unwrap();
        calibration.points.pop();
        write(&calibration, &path).unwrap();
        assert_eq!(read(&path).unwrap(), calibration);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn another_schema_and_other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.json");
        for (text, why) in [
            ("{\"schema\": 2}", "schema 2"),
            ("{}", "not a calibration"),
            ("[", "not JSON"),
            ("{\"schema\": 1}", "machine"),
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
