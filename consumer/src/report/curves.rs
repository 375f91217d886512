//! Latency by percentile, on the axis that HdrHistogram's users know: 1/(1 − p), each step of which leaves a tenth.

use hdrhistogram::Histogram;

use super::axis::Scale;
use super::format::{FEW, PERCENTILES, count_of, round_time, thousands, time};
use super::picture::{Anchor, Form, Ink, Picture, Shape, Stroke};
use super::plot::{Label, Plane, dot, key, names_beside, text, text_width};
use crate::hgrm;

/// More curves than this have no room for names beside them.
const NAMES_MAX: usize = 14;

/// A distribution as a line.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    label: Label,
    /// Those of the percentile distribution file, 1/(1 − p) and nanoseconds.
    points: Vec<(f64, f64)>,
    count: u64,
    /// What is marked: its name, 1/(1 − p), nanoseconds, and whether enough samples lie above.
    marks: Vec<(&'static str, f64, f64, bool)>,
}

impl Curve {
    /// The distribution of `histogram` (nanoseconds), as its file has it. `None` without a value.
    pub fn new(label: Label, histogram: &Histogram<u64>) -> Option<Self> {
        let count = histogram.len();
        let rows = hgrm::rows(histogram);
        let last = rows.last()?;
        let finite = rows.iter().filter(|row| row.level < 100.0);
        let mut points: Vec<_> =
            finite.map(|row| (100.0 / (100.0 - row.level), row.value_ns as f64)).collect();
        // The greatest value stands at 100 %, which is nowhere on this axis: it is drawn as far as one sample in all reaches.
        let end = points.last().map_or(1.0, |point| point.0).max(count as f64).max(2.0);
        points.push((end, last.value_ns as f64));
        let marks = PERCENTILES.map(|percentile| {
            let quantile = percentile.per_mille as f64 / 1_000.0;
            let value_ns = histogram.value_at_quantile(quantile) as f64;
            (percentile.name, 1.0 / (1.0 - quantile), value_ns, percentile.few_above(count).is_none())
        });
        let marks = marks.into_iter().filter(|mark| mark.1 <= end).collect();
        Some(Self { label, points, count, marks })
    }

    /// From here on, fewer than [`FEW`] samples lie above.
    fn trusted_until(&self) -> f64 {
        self.count as f64 / FEW as f64
    }
}

/// All `curves` in one picture.
pub(crate) fn picture(name: &'static str, title: &str, curves: &[Curve], form: Form) -> Picture {
    let labels: Vec<_> = curves.iter().map(|curve| curve.label.clone()).collect();
    let has_names = form == Form::Wide && curves.len() <= NAMES_MAX;
    let longest = labels.iter().map(|label| text_width(&label.name)).fold(0.0, f64::max);
    let (mut shapes, above) = if has_names { (Vec::new(), 14.0) } else { key(&labels, 0.0, form, true) };
    let top = above + 8.0;
    let plane = Plane {
        left: 58.0,
        right: form.width() - if has_names { longest + 12.0 } else { 12.0 },
        top,
        bottom: top + form.choose(330.0, 260.0),
        x: Scale::log(
            1.0,
            curves.iter().flat_map(|curve| curve.points.last()).fold(10.0, |max, point| max.max(point.0)),
        ),
        y: Scale::log_around(curves.iter().flat_map(|curve| &curve.points).map(|point| point.1)),
    };
    // With counts that are alike, the ground shows where the curves rest on too little.
    if let [first, rest @ ..] = curves
        && rest.iter().all(|curve| curve.count == first.count)
    {
        shapes.extend(untrusted(&plane, first));
    }
    shapes.extend(plane.axes(&percentile_ticks(&plane, form), round_time));
    let axis = form.choose(
        "percentile, by 1/(1 − p): each step leaves a tenth of the messages",
        "percentile, by 1/(1 − p)",
    );
    shapes.push(text(
        (plane.left + plane.right) / 2.0,
        plane.bottom + 40.0,
        Anchor::Middle,
        Ink::Muted,
        axis,
    ));
    for curve in curves {
        let has_values = form == Form::Wide && (curves.len() == 1 || curve.label.ink == Ink::Text);
        shapes.extend(draw(&plane, curve, has_values));
    }
    if has_names {
        let ends =
            curves.iter().filter_map(|curve| Some((plane.y(curve.points.last()?.1), curve.label.clone())));
        shapes.extend(names_beside(plane.right, plane.top, plane.bottom, &ends.collect::<Vec<_>>()));
    }
    let about = curves.iter().map(|curve| {
        let marks = curve.marks.iter().map(|(name, _, ns, _)| format!("{name} {}", time(*ns)));
        format!(
            "{}: {}, {}",
            curve.label.name,
            count_of(curve.count, "message"),
            marks.collect::<Vec<_>>().join(", ")
        )
    });
    let about = about.collect::<Vec<_>>().join("; ");
    Picture { name, title: title.to_owned(), about, form, height: plane.bottom + 48.0, shapes }
}

fn draw(plane: &Plane, curve: &Curve, has_values: bool) -> Vec<Shape> {
    let place = |(x, ns): &(f64, f64)| (plane.x(*x), plane.y(*ns));
    let until = plane.x(curve.trusted_until());
    // Through the marks as well, which stand between the file's steps.
    let mut points: Vec<_> =
        curve.points.iter().copied().chain(curve.marks.iter().map(|mark| (mark.1, mark.2))).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut trusted, mut faint): (Vec<_>, Vec<_>) =
        points.iter().map(place).partition(|point| point.0 <= until);
    // The line is cut where trust ends, between two points.
    if let (Some(last), Some(first)) = (trusted.last(), faint.first()) {
        let cut = (until, last.1 + (first.1 - last.1) * (until - last.0) / (first.0 - last.0));
        trusted.push(cut);
        faint.insert(0, cut);
    }
    let mut shapes = Vec::new();
    for (points, is_faint) in [(trusted, false), (faint, true)] {
        if points.len() > 1 {
            shapes.push(Shape::Line { points, stroke: Stroke { is_faint, ..curve.label.stroke() } });
        }
    }
    for (name, x, ns, is_trusted) in &curve.marks {
        let (x, y) = (plane.x(*x), plane.y(*ns));
        let doubt = if *is_trusted { "" } else { ", on few samples" };
        let tip = format!("{} {name}: {}{doubt}", curve.label.name, time(*ns));
        shapes.push(dot(x, y, curve.label.ink, *is_trusted, tip));
        if has_values {
            shapes.push(text(x - 6.0, y - 9.0, Anchor::End, Ink::Text, &time(*ns)));
        }
    }
    shapes
}

fn untrusted(plane: &Plane, curve: &Curve) -> Vec<Shape> {
    let from = plane.x(curve.trusted_until());
    if from >= plane.right - 1.0 {
        return Vec::new();
    }
    let (y, height, width) = (plane.top, plane.bottom - plane.top, plane.right - from);
    let words = format!("fewer than {FEW} of {} above", thousands(curve.count));
    let ground = Shape::Rect { x: from, y, width, height, ink: Ink::Shade, tip: words.clone() };
    let (x, y) = (plane.right - 6.0, plane.bottom - 10.0);
    vec![ground, text(x, y, Anchor::End, Ink::Muted, &words)]
}

/// 0 %, 50 %, 90 %, 99 % and so on, as far as the axis goes.
fn percentile_ticks(plane: &Plane, form: Form) -> Vec<(f64, String)> {
    let nines = (1..=15).map(|nines| {
        let name = match nines {
            1 => "90 %".to_owned(),
            2 => "99 %".to_owned(),
            more => format!("99.{} %", "9".repeat(more - 2)),
        };
        (10_f64.powi(nines as i32), name)
    });
    let first = [(1.0, "0 %".to_owned()), (2.0, "50 %".to_owned())];
    let mut right = f64::MIN;
    let all = first.into_iter().chain(nines).filter(|(x, _)| plane.x.at(*x) < 1.0 || *x == 1.0);
    let all = all.filter(|(x, name)| {
        // What would run into the one before is left out.
        let (middle, half) = (plane.x(*x), text_width(name) / 2.0);
        let fits = middle - half > right && middle + half <= form.width();
        right = if fits { middle + half + 4.0 } else { right };
        fits
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histograms::empty;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = empty();
        values.into_iter().for_each(|value| histogram.record(value).unwrap());
        histogram
    }

    fn curve(values: impl IntoIterator<Item = u64>) -> Curve {
        Curve::new(Label::new("sign", Ink::Text), &histogram(values)).unwrap()
    }

    #[test]
    fn a_curve_goes_through_the_points_of_its_file() {
        let histogram = histogram((1..=5_000).map(|i| i * 1_000));
        let mut file = Vec::new();
        hgrm::write(&histogram, &mut file).unwrap();
        let file = String::from_utf8(file).unwrap();
        let rows = file.lines().skip(2).filter(|line| !line.starts_with('#'));
        let rows: Vec<Vec<f64>> =
            rows.map(|row| row.split_whitespace().map(|x| x.parse().unwrap()).collect()).collect();
        let curve = Curve::new(Label::new("sign", Ink::Text), &histogram).unwrap();
        assert_eq!(curve.points.len(), rows.len());
        assert_eq!(curve.points.last(), Some(&(5_000.0, histogram.max() as f64)), "in the place of 100 %");
        for ((x, ns), row) in curve.points.iter().zip(&rows[..rows.len() - 1]) {
            assert!((ns / 1e3 - row[0]).abs() < 1e-6 && (x - row[3]).abs() <= 0.005, "{x} {ns}: {row:?}");
        }
        let marks: Vec<_> = curve.marks.iter().map(|mark| (mark.0, mark.2, mark.3)).collect();
        let p99_9 = histogram.value_at_quantile(0.999) as f64;
        assert_eq!((marks.len(), marks[3]), (4, ("p99.9", p99_9, false)), "5 of 5,000 lie above");
        assert!(marks[2].2);
    }

    #[test]
    fn each_step_on_the_axis_leaves_a_tenth() {
        let picture = picture("x", "x", &[curve((1..=100_000).map(|i| i * 10))], Form::Wide);
        let tick = |name: &str| {
            let found = picture.shapes.iter().find_map(|shape| match shape {
                Shape::Text { x, text, .. } if text == name => Some(*x),
                _ => None,
            });
            found.unwrap_or_else(|| panic!("no {name}"))
        };
        let step = tick("90 %") - tick("0 %");
        assert!(((tick("99 %") - tick("90 %")) - step).abs() < 1e-6);
        assert!(((tick("99.99 %") - tick("99.9 %")) - step).abs() < 1e-6);
        assert!(((tick("50 %") - tick("0 %")) / step - 2_f64.log10()).abs() < 1e-6);
    }

    #[test]
    fn what_rests_on_few_samples_is_faint_and_said_to_be_so() {
        let faint = |picture: &Picture| {
            picture
                .shapes
                .iter()
                .filter(|shape| matches!(shape, Shape::Line { stroke, .. } if stroke.is_faint))
                .count()
        };
        let few = picture("x", "x", &[curve(1..=50)], Form::Wide);
        assert_eq!(faint(&few), 1);
        assert!(few.in_page().contains("fewer than 10 of 50 above"));
        assert!(!few.in_page().contains("fewer than 10 of 51"));
    }

    #[test]
    fn nothing_one_value_and_many_curves_make_pictures_too() {
        assert!(Curve::new(Label::new("sign", Ink::Text), &histogram([])).is_none());
        for form in [Form::Wide, Form::Narrow] {
            for curves in [vec![], vec![curve([7])], vec![curve([0])], vec![curve(1..=99); 30]] {
                let svg = picture("x", "x", &curves, form).in_page();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }
}
