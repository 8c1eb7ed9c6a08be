//! Plots a calibration: the error of p99 against the number of streams, with one line for each time between tokens.

use plotters::coord::combinators::BindKeyPoints;
use plotters::prelude::*;
use streamgauge_stats::calibration::{Calibration, Errors, Offered, Point};

/// The width and height of the plot, with both panels, in pixels.
const SIZE: (u32, u32) = (1_000, 480);

/// The lower end of the axis, in ms. Smaller errors are drawn there: it is a microsecond, less than two clock readings are apart.
const LEAST: f64 = 0.001;

/// Colours that remain distinguishable with red-green colour blindness (Okabe and Ito 2008) and in greyscale.
pub(crate) const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];
const LIMIT: RGBColor = RGBColor(213, 94, 0);

/// The plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the plot cannot be drawn: {0}")]
pub struct PlotError(pub(crate) String);

/// Returns the plot as SVG, or `None` if no point has both streams and errors.
///
/// # Errors
/// When the drawing library fails.
pub fn svg(calibration: &Calibration) -> Result<Option<String>, PlotError> {
    let lines = lines(&calibration.points);
    if lines.is_empty() {
        return Ok(None);
    }
    let mut text = String::new();
    draw(calibration, &lines, &mut text).map_err(|error| PlotError(error.to_string()))?;
    Ok(Some(text))
}

/// The points with one time between tokens, in ascending order of their streams.
struct Line<'a> {
    itl_ms: f64,
    points: Vec<(u32, Errors, &'a Point)>,
}

fn lines(points: &[Point]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for point in points {
        let (Offered::Streams { streams, itl_ms }, Some(errors)) = (point.offered, point.errors) else { continue };
        let at = match lines.iter().position(|line| line.itl_ms == itl_ms) {
            Some(at) => at,
            None => {
                lines.push(Line { itl_ms, points: Vec::new() });
                lines.len() - 1
            }
        };
        lines[at].points.push((streams, errors, point));
    }
    lines.iter_mut().for_each(|line| line.points.sort_by_key(|(streams, ..)| *streams));
    lines.sort_by(|a, b| b.itl_ms.total_cmp(&a.itl_ms));
    lines
}

/// The figure of a point that a panel shows.
type Figure = fn(&Errors) -> f64;

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(calibration: &Calibration, lines: &[Line<'_>], text: &mut String) -> Drawn {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(own)?;
    let machine = &calibration.machine;
    let processors = format!("{} processor{}", machine.processors, if machine.processors == 1 { "" } else { "s" });
    let title = format!("{}, {processors}, {} (filled: accurate, hollow: not)", machine.cpu, calibration.taken);
    let root = root.titled(&title, ("sans-serif", 16)).map_err(own)?;
    let panels = root.split_evenly((1, 2));
    let kinds: [(&str, Figure); 2] =
        [("Error of TTFT p99", |errors| errors.ttft_p99.error), ("Error of ITL p99", |errors| errors.itl_p99.error)];
    for ((name, error), panel) in kinds.into_iter().zip(&panels) {
        draw_panel(name, error, calibration.limit_ms, lines, panel)?;
    }
    root.present().map_err(own)
}

/// Converts an error of the library, which borrows the drawing area, into an owned one.
fn own(error: impl std::error::Error) -> Box<dyn std::error::Error> {
    error.to_string().into()
}

fn draw_panel(
    name: &str,
    error: Figure,
    limit: f64,
    lines: &[Line<'_>],
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> Drawn {
    let height = |errors: &Errors| error(errors).abs().max(LEAST);
    let all = || lines.iter().flat_map(|line| &line.points);
    let most = all().map(|(streams, ..)| f64::from(*streams)).fold(1.0, f64::max);
    let least = all().map(|(streams, ..)| f64::from(*streams)).fold(most, f64::min);
    let mut counts: Vec<f64> = all().map(|(streams, ..)| f64::from(*streams)).collect();
    counts.sort_by(f64::total_cmp);
    counts.dedup();
    let worst = all().map(|(_, errors, _)| height(errors)).fold(limit, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .caption(name, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        // An axis needs two distinct ends even if there is only one number of streams.
        .build_cartesian_2d(
            (least / 1.5..most * 1.5).log_scale().with_key_points(counts),
            (LEAST / 2.0..worst * 4.0).log_scale(),
        )
        .map_err(own)?;
    chart
        .configure_mesh()
        .x_desc("concurrent streams")
        .y_desc("|reported minus true|, ms")
        .x_label_formatter(&|x| format!("{x}"))
        .y_label_formatter(&|y| format!("{y}"))
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(own)?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let at = |(streams, errors, _): &(u32, Errors, &Point)| (f64::from(*streams), height(errors));
        chart
            .draw_series(LineSeries::new(line.points.iter().map(at), colour.stroke_width(2)))
            .map_err(own)?
            .label(format!("{} ms per token", line.itl_ms))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        let marks = line.points.iter().map(|point| {
            let style = if point.2.faithful { colour.filled() } else { colour.stroke_width(2) };
            Circle::new(at(point), 4, style)
        });
        chart.draw_series(marks).map_err(own)?;
    }
    let ends = [(least / 1.5, limit), (most * 1.5, limit)];
    chart
        .draw_series(DashedLineSeries::new(ends, 6, 4, LIMIT.stroke_width(2)))
        .map_err(own)?
        .label(format!("limit, {limit} ms"))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], LIMIT.stroke_width(2)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()
        .map_err(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::calibration;

    #[test]
    fn a_line_for_each_pace_and_the_limit_in_both_panels() {
        let svg = svg(&calibration()).unwrap().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["20 ms per token", "5 ms per token", "limit, 0.1 ms", "concurrent streams"] {
            assert_eq!(svg.matches(text).count(), 2, "{text}");
        }
        assert!(svg.contains("Error of TTFT p99") && svg.contains("Error of ITL p99"));
        // Three points in each panel, the open loop's not among them; a filled one is one circle, a hollow one too.
        assert_eq!(svg.matches("<circle").count(), 6);
    }

    #[test]
    fn one_point_and_an_error_of_nothing_still_have_axes() {
        let mut calibration = calibration();
        calibration.points.truncate(1);
        calibration.points[0].errors.as_mut().unwrap().ttft_p99.error = 0.0;
        assert!(svg(&calibration).unwrap().unwrap().contains("<circle"));
    }

    #[test]
    fn without_streams_there_is_nothing_to_draw() {
        let mut calibration = calibration();
        calibration.points.drain(..3);
        assert!(svg(&calibration).unwrap().is_none());
    }
}
