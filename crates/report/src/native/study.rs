//! Renders a study, which is one latency over prompt lengths, as a table, a sentence and a chart.

use super::plot::{COLOURS, PlotError};
use crate::text::table::Table;
use plotters::prelude::*;
use streamgauge_stats::{Distribution, Grade};

/// The width and height of the chart, in pixels.
const SIZE: (u32, u32) = (800, 480);

/// The latency that is studied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The time to the first token.
    Prefill,
    /// The time from one token to the next.
    Generation,
}

/// The result for one prompt length.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyPoint {
    /// Mean length of the prompts, in tokens as the client's tokenizer counts them.
    pub input_tokens: f64,
    /// Successful requests.
    pub requests: u64,
    /// The latency in milliseconds.
    pub latency: Distribution,
    /// How far it can be trusted.
    pub fidelity: Grade,
}

impl Phase {
    /// The name of the latency in the tool that this study replaces.
    fn latency(self) -> &'static str {
        match self {
            Phase::Prefill => "first-token latency",
            Phase::Generation => "token-to-token latency",
        }
    }

    /// The name of the study on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Prefill => "prefill",
            Phase::Generation => "generation",
        }
    }
}

/// The sentence that the replaced tool prints for one prompt length: the mean latency, in seconds.
pub fn sentence(phase: Phase, point: &StudyPoint) -> String {
    format!("Average {}: {} s", phase.latency(), point.latency.avg / 1e3)
}

/// The table of all prompt lengths, in milliseconds.
pub fn render(phase: Phase, points: &[StudyPoint]) -> String {
    let title = format!("Streamgauge | {} over prompt lengths (ms)", phase.latency());
    let head = vec!["Input tokens", "Requests", "Mean", "±95 %", "p50", "p90", "p99", "Fidelity"];
    let mut table = Table::new(title, head);
    for point in points {
        let latency = &point.latency;
        let number = |value: f64| format!("{value:.3}");
        let around = latency.intervals.avg.map_or("n/a".to_owned(), |interval| number(interval.reach(latency.avg)));
        let percentile = |p: u8| {
            let mark = if latency.supports(p) { "" } else { "~" };
            format!("{mark}{}", number(latency.percentile(p)))
        };
        let cells = vec![
            point.requests.to_string(),
            number(latency.avg),
            around,
            percentile(50),
            percentile(90),
            percentile(99),
            point.fidelity.to_string(),
        ];
        table.row(&input_tokens(point), cells);
    }
    table.render()
}

fn input_tokens(point: &StudyPoint) -> String {
    format!("{:.0}", point.input_tokens)
}

/// Returns the chart as SVG: the mean, with a band from p50 to p99 behind it. Returns `None` if there are no points.
///
/// # Errors
/// When the drawing library fails.
pub fn svg(phase: Phase, points: &[StudyPoint]) -> Result<Option<String>, PlotError> {
    if points.is_empty() {
        return Ok(None);
    }
    let mut points: Vec<&StudyPoint> = points.iter().collect();
    points.sort_by(|a, b| a.input_tokens.total_cmp(&b.input_tokens));
    let mut text = String::new();
    draw(phase, &points, &mut text).map_err(|error| PlotError(error.to_string()))?;
    Ok(Some(text))
}

fn draw(phase: Phase, points: &[&StudyPoint], text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let own = |error: DrawingAreaErrorKind<std::io::Error>| -> Box<dyn std::error::Error> { error.to_string().into() };
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(own)?;
    let most = points.iter().map(|point| point.input_tokens).fold(1.0, f64::max) * 1.05;
    let tallest = points.iter().map(|point| point.latency.percentile(99).max(point.latency.avg)).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{} over prompt lengths", phase.latency()), ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..most, 0.0..(tallest * 1.15).max(1e-3))
        .map_err(own)?;
    chart
        .configure_mesh()
        .x_desc("input tokens")
        .y_desc(format!("{}, ms", phase.latency()))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(own)?;
    let at = |p: u8| points.iter().map(move |point| (point.input_tokens, point.latency.percentile(p)));
    let band: Vec<(f64, f64)> = at(99).chain(at(50).rev()).collect();
    chart
        .draw_series([Polygon::new(band, COLOURS[4].mix(0.3))])
        .map_err(own)?
        .label("p50 to p99")
        .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 20, y + 5)], COLOURS[4].mix(0.3).filled()));
    let means = points.iter().map(|point| (point.input_tokens, point.latency.avg));
    chart
        .draw_series(LineSeries::new(means.clone(), COLOURS[0].stroke_width(2)))
        .map_err(own)?
        .label("mean")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], COLOURS[0].stroke_width(2)));
    chart.draw_series(means.map(|mean| Circle::new(mean, 4, COLOURS[0].filled()))).map_err(own)?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()
        .map_err(own)?;
    root.present().map_err(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use streamgauge_core::Nanos;
    use streamgauge_stats::{Metric, Sampler};

    fn point(input_tokens: f64, millis: &[i64]) -> StudyPoint {
        let mut sampler = Sampler::of(Metric::TimeToFirstToken);
        millis.iter().for_each(|millis| sampler.add_nanos(Nanos::from_millis(*millis)));
        let latency = sampler.close().unwrap();
        StudyPoint { input_tokens, requests: millis.len() as u64, latency, fidelity: Grade::Good }
    }

    #[test]
    fn the_sentence_is_in_seconds() {
        let point = point(32.0, &[300, 310]);
        assert_eq!(sentence(Phase::Prefill, &point), "Average first-token latency: 0.305 s");
        assert_eq!(sentence(Phase::Generation, &point), "Average token-to-token latency: 0.305 s");
    }

    #[test]
    fn each_length_has_a_row_and_a_mark() {
        let points = [point(512.0, &[50, 60]), point(32.0, &[10, 20])];
        let table = render(Phase::Prefill, &points);
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('│')).collect();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].contains("512") && rows[0].contains("55.000") && rows[0].contains("good"), "{table}");
        let svg = svg(Phase::Prefill, &points).unwrap().unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("input tokens") && svg.contains("first-token latency, ms"));
        assert_eq!(super::svg(Phase::Prefill, &[]).unwrap(), None);
    }
}
