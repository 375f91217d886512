//! What happened when: latency and throughput in the intervals of the log.

use super::axis::Scale;
use super::format::{count_of, decimal, rate, round, round_time, time};
use super::picture::{Anchor, Form, Ink, Picture, Shape, Stroke};
use super::plot::{Label, Plane, dot, key, line, names_beside, text, text_width};
use crate::hlog_reader::Span;

/// Of fewer samples than this, one in a hundred is fewer than [`FEW`](super::format::FEW).
const P99_SAMPLES: u64 = 1_000;

/// More spans than this have no dots: these would touch.
const DOTS_MAX: usize = 60;

/// A value as time goes by.
pub(crate) struct Series<'a> {
    pub label: Label,
    pub spans: &'a [Span],
    /// Of a span: nanoseconds, or messages a second.
    pub value: fn(&Span) -> f64,
    /// Whether a span may have too few samples for it.
    pub needs_many: bool,
}

/// `series` of end-to-end latencies, over each other.
pub(crate) fn latency(name: &'static str, title: &str, series: &[Series<'_>], form: Form) -> Picture {
    let values = series.iter().flat_map(|series| series.spans.iter().map(series.value));
    let (plane, mut shapes) = plane(series, Scale::log_around(values), round_time, form);
    let mut ends = Vec::new();
    for series in series {
        for run in unbroken(series.spans) {
            let place = |at: f64, span| (plane.x(at), plane.y((series.value)(span)));
            let points = match run {
                // Alone, it is as long as its time.
                [span] => vec![place(span.from_s, span), place(span.to_s, span)],
                spans => spans.iter().map(|span| place(middle(span), span)).collect(),
            };
            shapes.push(Shape::Line { points, stroke: series.label.stroke() });
        }
        for span in series.spans.iter().filter(|_| series.spans.len() <= DOTS_MAX) {
            let is_trusted = !series.needs_many || span.count >= P99_SAMPLES;
            let tip = format!("{}: {} {}", when(span), series.label.name, time((series.value)(span)));
            shapes.push(dot(
                plane.x(middle(span)),
                plane.y((series.value)(span)),
                series.label.ink,
                is_trusted,
                tip,
            ));
        }
        ends.extend(series.spans.last().map(|span| (plane.y((series.value)(span)), series.label.clone())));
    }
    if form == Form::Wide {
        shapes.extend(names_beside(plane.right, plane.top, plane.bottom, &ends));
    }
    finish(name, title, series, plane, shapes, form, time)
}

/// Messages a second of one run, with the rate that was asked for.
pub(crate) fn throughput(spans: &[Span], offered: Option<f64>, form: Form) -> Picture {
    let label = Label::new("messages a second", Ink::Series(0));
    let series = [Series { label, spans, value: per_second, needs_many: false }];
    let most = spans.iter().map(per_second).chain(offered).fold(0.0, f64::max);
    let (plane, mut shapes) = plane(&series, Scale::linear(0.0, most * 1.08), round, form);
    for span in spans {
        let (left, right, top) = (plane.x(span.from_s), plane.x(span.to_s), plane.y(per_second(span)));
        let width = (right - left - 1.5).max(1.5);
        let tip = format!("{}: {}, {}", when(span), count_of(span.count, "message"), rate(per_second(span)));
        shapes.push(Shape::Rect {
            x: left,
            y: top,
            width,
            height: plane.bottom - top,
            ink: Ink::Series(0),
            tip,
        });
    }
    if let Some(offered) = offered {
        let y = plane.y(offered);
        let stroke = Stroke { ink: Ink::Text, width: 1.5, dash: 1, is_faint: false };
        shapes.push(Shape::Line { points: vec![(plane.left, y), (plane.right, y)], stroke });
        let words = form.choose(format!("offered {}", rate(offered)), "offered".to_owned());
        let place =
            form.choose((plane.right + 8.0, y + 4.0, Anchor::Start), (plane.right, y - 6.0, Anchor::End));
        shapes.push(text(place.0, place.1, place.2, Ink::Text, &words));
    }
    finish("throughput", "Throughput over time", &series, plane, shapes, form, rate)
}

/// Messages a second in `span`.
fn per_second(span: &Span) -> f64 {
    span.count as f64 / (span.to_s - span.from_s).max(0.001)
}

fn middle(span: &Span) -> f64 {
    f64::midpoint(span.from_s, span.to_s)
}

fn when(span: &Span) -> String {
    format!("{} to {} s", decimal(span.from_s, 1), decimal(span.to_s, 1))
}

/// The stretches in which something came all the time.
fn unbroken(spans: &[Span]) -> impl Iterator<Item = &[Span]> {
    spans.chunk_by(|one, next| next.from_s - one.to_s < 0.1)
}

/// A plane for `series` with its axes.
fn plane(series: &[Series<'_>], y: Scale, y_name: fn(f64) -> String, form: Form) -> (Plane, Vec<Shape>) {
    let labels: Vec<_> = series.iter().map(|series| series.label.clone()).collect();
    let has_key = form == Form::Narrow && labels.len() > 1;
    let (mut shapes, above) = if has_key { key(&labels, 0.0, form, true) } else { (Vec::new(), 0.0) };
    let longest = labels.iter().map(|label| text_width(&label.name)).fold(0.0, f64::max);
    let top = above + 10.0;
    let end = series.iter().flat_map(|series| series.spans).fold(0.0, |end, span| span.to_s.max(end));
    let plane = Plane {
        left: 58.0,
        // The same in all of a page's pictures, so that what happened at a time stands in line.
        right: form.width() - form.choose(longest.max(118.0) + 12.0, 12.0),
        top,
        bottom: top + form.choose(210.0, 180.0),
        x: Scale::linear(0.0, end),
        y,
    };
    let ticks: Vec<_> =
        plane.x.ticks().into_iter().map(|tick| (tick, format!("{} s", round(tick)))).collect();
    shapes.extend(plane.axes(&ticks, y_name));
    (plane, shapes)
}

fn finish(
    name: &'static str,
    title: &str,
    series: &[Series<'_>],
    plane: Plane,
    mut shapes: Vec<Shape>,
    form: Form,
    say: fn(f64) -> String,
) -> Picture {
    // Over the bars.
    shapes.push(line(vec![(plane.left, plane.bottom), (plane.right, plane.bottom)], Ink::Muted, 1.0));
    let words = series.iter().filter_map(|series| {
        let values = || series.spans.iter().map(series.value);
        let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
        let spans = count_of(series.spans.len() as u64, "interval");
        (!series.spans.is_empty())
            .then(|| format!("{}: from {} to {} in {spans}", series.label.name, say(least), say(most)))
    });
    let about = words.collect::<Vec<_>>().join("; ");
    Picture { name, title: title.to_owned(), about, form, height: plane.bottom + 28.0, shapes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from_s: f64, to_s: f64, count: u64) -> Span {
        Span { from_s, to_s, count, p50_ns: 1_000, p99_ns: 2_000, max_ns: 9_000 }
    }

    fn p99(spans: &[Span]) -> Series<'_> {
        let label = Label::new("p99", Ink::Series(1));
        Series { label, spans, value: |span| span.p99_ns as f64, needs_many: true }
    }

    #[test]
    fn a_bar_is_as_high_as_its_rate_and_a_short_interval_counts_by_its_length() {
        let picture =
            throughput(&[span(0.0, 1.0, 100), span(1.0, 1.5, 50), span(1.5, 2.5, 50)], None, Form::Wide);
        let heights = picture.shapes.iter().filter_map(|shape| match shape {
            Shape::Rect { height, .. } => Some(*height),
            _ => None,
        });
        let heights: Vec<_> = heights.collect();
        assert_eq!(heights.len(), 3);
        assert!(
            (heights[0] - heights[1]).abs() < 0.01 && (heights[0] / heights[2] - 2.0).abs() < 0.01,
            "{heights:?}"
        );
    }

    #[test]
    fn lines_break_where_nothing_came_and_doubtful_dots_are_hollow() {
        let spans = [span(0.0, 1.0, 5_000), span(1.0, 2.0, 999), span(4.0, 5.0, 1_000)];
        let picture = latency("x", "x", &[p99(&spans)], Form::Wide);
        let lines = picture.shapes.iter().filter_map(|shape| match shape {
            Shape::Line { points, stroke } if stroke.width == 2.0 => Some(points.len()),
            _ => None,
        });
        assert_eq!(lines.collect::<Vec<_>>(), [2, 2]);
        let dots = picture.shapes.iter().filter_map(|shape| match shape {
            Shape::Dot { is_filled, .. } => Some(*is_filled),
            _ => None,
        });
        assert_eq!(dots.collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn nothing_and_no_time_make_pictures_too() {
        for spans in [vec![], vec![span(0.0, 0.0, 1)]] {
            for form in [Form::Wide, Form::Narrow] {
                let pictures = [latency("x", "x", &[p99(&spans)], form), throughput(&spans, Some(1.0), form)];
                assert!(pictures.iter().all(|picture| !picture.in_page().contains("NaN")));
            }
        }
    }
}
