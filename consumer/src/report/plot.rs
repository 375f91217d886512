//! What the pictures have in common: axes, names beside lines, and a key where there is no room for these.

use super::axis::Scale;
use super::picture::{Anchor, DOT_PX, Form, Ink, Shape, Stroke, TEXT_PX};

/// Between the base lines of two names.
const LINE_PX: f64 = 16.0;

/// How far a line in a key goes.
const SAMPLE_PX: f64 = 20.0;

/// How a series is told from the others.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub name: String,
    pub ink: Ink,
    /// Of [`DASHES`](super::picture::DASHES).
    pub dash: usize,
}

impl Label {
    pub fn new(name: &str, ink: Ink) -> Self {
        Self { name: name.to_owned(), ink, dash: 0 }
    }

    /// A line of this series.
    pub fn stroke(&self) -> Stroke {
        Stroke { ink: self.ink, width: 2.0, dash: self.dash, is_faint: false }
    }
}

/// A plane with two axes, in pixels.
pub(crate) struct Plane {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    pub x: Scale,
    pub y: Scale,
}

impl Plane {
    /// The pixel of `value` on the horizontal axis.
    pub fn x(&self, value: f64) -> f64 {
        self.left + (self.right - self.left) * self.x.at(value)
    }

    /// The pixel of `value` on the vertical axis.
    pub fn y(&self, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * self.y.at(value)
    }

    /// The axes, with `x_ticks` and their names, and `y_name` for a value on the vertical one.
    pub fn axes(&self, x_ticks: &[(f64, String)], y_name: impl Fn(f64) -> String) -> Vec<Shape> {
        let mut shapes = Vec::new();
        for tick in self.y.ticks() {
            let y = self.y(tick);
            shapes.push(line(vec![(self.left, y), (self.right, y)], Ink::Grid, 1.0));
            shapes.push(text(self.left - 8.0, y + 4.0, Anchor::End, Ink::Muted, &y_name(tick)));
        }
        for (tick, name) in x_ticks {
            let x = self.x(*tick);
            shapes.push(line(vec![(x, self.top), (x, self.bottom + 5.0)], Ink::Grid, 1.0));
            shapes.push(text(x, self.bottom + 19.0, Anchor::Middle, Ink::Muted, name));
        }
        shapes.push(line(vec![(self.left, self.bottom), (self.right, self.bottom)], Ink::Muted, 1.0));
        shapes
    }
}

/// The names of lines that end at these heights, to the right of `x`: as near to them as they stand without touching.
pub(crate) fn names_beside(x: f64, top: f64, bottom: f64, ends: &[(f64, Label)]) -> Vec<Shape> {
    let mut ends: Vec<_> = ends.iter().collect();
    ends.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut heights: Vec<f64> = Vec::with_capacity(ends.len());
    for (y, _) in &ends {
        let least = heights.last().map_or(top, |above| above + LINE_PX);
        heights.push(y.max(least));
    }
    // Those that were pushed out below push the others up again.
    let mut most = bottom;
    for height in heights.iter_mut().rev() {
        *height = height.min(most);
        most = *height - LINE_PX;
    }
    let names = ends.iter().zip(&heights);
    names.map(|((_, label), y)| text(x + 8.0, y + 4.0, Anchor::Start, label.ink, &label.name)).collect()
}

/// A key of `labels` from `left` on, in as many lines as it takes, and the height of all that.
pub(crate) fn key(labels: &[Label], left: f64, form: Form, is_line: bool) -> (Vec<Shape>, f64) {
    let (mut x, mut y) = (left, TEXT_PX);
    let mut shapes = Vec::new();
    for label in labels {
        let width = SAMPLE_PX + 6.0 + text_width(&label.name);
        if x > left && x + width > form.width() {
            (x, y) = (left, y + LINE_PX + 2.0);
        }
        if is_line {
            shapes.push(Shape::Line {
                points: vec![(x, y - 4.0), (x + SAMPLE_PX, y - 4.0)],
                stroke: label.stroke(),
            });
        } else {
            let (ink, tip) = (label.ink, String::new());
            shapes.push(Shape::Rect { x: x + 6.0, y: y - 10.0, width: 12.0, height: 12.0, ink, tip });
        }
        shapes.push(text(x + SAMPLE_PX + 6.0, y, Anchor::Start, Ink::Text, &label.name));
        x += width + 18.0;
    }
    (shapes, if labels.is_empty() { 0.0 } else { y + 12.0 })
}

/// About how wide `text` is: fonts differ.
pub(crate) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * TEXT_PX * 0.58
}

pub(crate) fn text(x: f64, y: f64, anchor: Anchor, ink: Ink, text: &str) -> Shape {
    Shape::Text { x, y, anchor, ink, is_bold: false, text: text.to_owned() }
}

pub(crate) fn line(points: Vec<(f64, f64)>, ink: Ink, width: f64) -> Shape {
    Shape::Line { points, stroke: Stroke { ink, width, dash: 0, is_faint: false } }
}

/// A dot that doesn't reach over the plane's edges more than it must.
pub(crate) fn dot(x: f64, y: f64, ink: Ink, is_filled: bool, tip: String) -> Shape {
    debug_assert!(x >= -DOT_PX && y >= -DOT_PX, "a dot outside its picture");
    Shape::Dot { x, y, ink, is_filled, tip }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_order_and_never_touch() {
        let ends: Vec<_> = (0..12)
            .map(|i| (100.0 + f64::from(i), Label::new(&i.to_string(), Ink::Series(i as usize))))
            .collect();
        let shapes = names_beside(0.0, 10.0, 300.0, &ends);
        let heights: Vec<_> = shapes
            .iter()
            .map(|shape| match shape {
                Shape::Text { y, text, .. } => (*y, text.parse::<i32>().unwrap()),
                _ => panic!("{shape:?}"),
            })
            .collect();
        assert_eq!(heights.len(), 12);
        assert!(
            heights.windows(2).all(|pair| pair[1].0 - pair[0].0 >= LINE_PX && pair[0].1 < pair[1].1),
            "{heights:?}"
        );
        assert!(heights.iter().all(|(y, _)| (10.0..=305.0).contains(y)), "{heights:?}");
    }

    #[test]
    fn a_key_breaks_before_the_edge() {
        let labels = vec![Label::new("wasmtime schnorr", Ink::Text); 12];
        let (shapes, height) = key(&labels, 0.0, Form::Narrow, true);
        assert!(height > 5.0 * LINE_PX, "{height}");
        for shape in shapes {
            if let Shape::Text { x, text, .. } = shape {
                assert!(x + text_width(&text) <= Form::Narrow.width());
            }
        }
    }
}
