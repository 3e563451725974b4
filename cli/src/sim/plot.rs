//! What a scenario has shown, as a picture.

use core::error::Error;
use core::time::Duration;

use plotters::chart::SeriesLabelPosition;
use plotters::prelude::*;
use waylane_sim::scenario::{FlowOutcome, Outcome, Scenario};
use waylane_sim::workload::Samples;

use super::table::name;

/// A line of a chart.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    /// A percentile that few messages reach is drawn more faintly.
    faint: bool,
}

/// An SVG: latencies, the longest queue, and what was sent and delivered, over time.
pub(super) fn draw(scenario: &Scenario, outcome: &Outcome) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let seconds = scenario.duration.0.as_secs_f64();
        let [top, middle, bottom] = root.split_evenly((3, 1)).try_into().map_err(|_| "three")?;
        chart(
            &top,
            "one-way time of messages, median and p99 (faint), ms",
            seconds,
            latencies(scenario, outcome),
        )?;
        chart(&middle, "waiting at the fullest bottleneck, ms", seconds, vec![queue(outcome)])?;
        chart(
            &bottom,
            "sent with all headers, delivered as messages, Mbit/s",
            seconds,
            rates(scenario, outcome),
        )?;
        root.present()?;
    }
    Ok(svg)
}

fn chart<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    caption: &str,
    seconds: f64,
    lines: Vec<Line>,
) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let highest = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(25)
        .y_label_area_size(55)
        .build_cartesian_2d(0.0..seconds, 0.0..(highest * 1.1).max(1e-3))?;
    chart.configure_mesh().light_line_style(WHITE).x_desc("s").draw()?;
    for (n, line) in lines.into_iter().enumerate() {
        // Median and 99th percentile of a flow have the same colour.
        let colour = Palette99::pick(if line.name.is_empty() { n.saturating_sub(1) } else { n });
        let colour = colour.mix(if line.faint { 0.35 } else { 1.0 });
        let drawn = chart.draw_series(LineSeries::new(line.points, colour.stroke_width(1)))?;
        if !line.name.is_empty() {
            let legend = move |(x, y)| PathElement::new([(x, y), (x + 15, y)], colour);
            drawn.label(line.name).legend(legend);
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

/// For each flow its median, then its 99th percentile.
fn latencies(scenario: &Scenario, outcome: &Outcome) -> Vec<Line> {
    let flows = scenario.send.iter().zip(&outcome.flows);
    let lines = flows.flat_map(|(send, flow)| {
        let at = |percent: f64| {
            over_time(scenario, outcome, flow, |messages| {
                let latency: Samples = messages.iter().map(|m| m.at.since(m.sent)).collect();
                (!latency.is_empty()).then(|| latency.percentile(percent).as_secs_f64() * 1e3)
            })
        };
        [
            Line { name: name(send), points: at(50.0), faint: false },
            Line { name: String::new(), points: at(99.0), faint: true },
        ]
    });
    lines.collect()
}

fn queue(outcome: &Outcome) -> Line {
    let points = outcome.samples.iter();
    let points = points.map(|sample| (sample.at.as_secs_f64(), sample.queue.as_secs_f64() * 1e3));
    Line { name: "queue".into(), points: points.collect(), faint: false }
}

fn rates(scenario: &Scenario, outcome: &Outcome) -> Vec<Line> {
    let mut before = Duration::ZERO;
    let points = outcome.samples.iter().filter_map(|sample| {
        let span = sample.at.saturating_sub(core::mem::replace(&mut before, sample.at));
        let rate = sample.bytes as f64 * 8.0 / 1e6 / span.as_secs_f64();
        (!span.is_zero()).then_some((sample.at.as_secs_f64(), rate))
    });
    let mut lines =
        vec![Line { name: "sent by all".into(), points: points.collect(), faint: true }];
    for (send, flow) in scenario.send.iter().zip(&outcome.flows) {
        let points = over_time(scenario, outcome, flow, |messages| {
            let bytes: usize = messages.iter().map(|message| message.size).sum();
            Some(bytes as f64 * 8.0 / 1e6 / STEP)
        });
        lines.push(Line { name: name(send), points, faint: false });
    }
    lines
}

/// A figure of what arrived in each half second.
fn over_time(
    scenario: &Scenario,
    outcome: &Outcome,
    flow: &FlowOutcome,
    figure: impl Fn(&[waylane_sim::workload::Arrived]) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let starts = outcome.starts;
    let steps = (scenario.duration.0.as_secs_f64() / STEP).ceil() as usize;
    let mut rest = flow.messages.as_slice();
    let mut points = Vec::new();
    for step in 1..=steps {
        let end = starts + Duration::from_secs_f64(step as f64 * STEP);
        let (now, later) = rest.split_at(rest.partition_point(|message| message.at < end));
        rest = later;
        points.extend(figure(now).map(|y| ((step as f64 - 0.5) * STEP, y)));
    }
    points
}

const SIZE: (u32, u32) = (1000, 900);
/// Seconds that a point stands for.
const STEP: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_a_line_for_each_flow() {
        let scenario: Scenario = r#"
            duration = "3s"
            link = { delay = "10ms", rate = "1M" }
            player = [{}, {}]
            send = [
                { from = 0, to = 1, channel = 3, size = 100, rate = 30 },
                { from = 1, to = 0, channel = 4, reliable = true, size = 40, rate = 6 },
            ]
        "#
        .parse()
        .unwrap();
        let svg = draw(&scenario, &scenario.run()).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("</svg>"));
        assert!(svg.contains("0 → 1, 3 unreliable") && svg.contains("1 → 0, 4 reliable"));
        assert!(svg.matches("<polyline").count() >= 8, "{svg}");
    }
}
