//! Where time goes: bars of parts, each as long as its share.

use super::format::{decimal, time};
use super::picture::{Anchor, Form, Ink, Picture, Shape};
use super::plot::{Label, key, text, text_width};

const BAR_PX: f64 = 20.0;

/// A bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub name: String,
    /// Parts of the whole, in nanoseconds, in the order of the labels.
    pub parts: Vec<f64>,
    /// What the whole is, in words.
    pub whole: String,
}

impl Bar {
    fn sum(&self) -> f64 {
        self.parts.iter().sum()
    }

    /// The share of each part, 0 to 1.
    pub fn shares(&self) -> Vec<f64> {
        let sum = self.sum();
        self.parts.iter().map(|part| if sum > 0.0 { part / sum } else { 0.0 }).collect()
    }
}

/// `bars` under each other, whose parts are `labels`.
pub(crate) fn picture(
    name: &'static str,
    title: &str,
    labels: &[Label],
    bars: &[Bar],
    form: Form,
) -> Picture {
    let (mut shapes, mut y) = key(labels, -6.0, form, false);
    // With the figures in the key, nobody needs them again.
    let has_figures = labels.iter().any(|label| label.name.contains('%'));
    let (names, wholes) = (widest(bars, |bar| &bar.name), widest(bars, |bar| &bar.whole));
    let (left, right) = match form {
        Form::Wide if names > 0.0 => (names + 14.0, form.width() - wholes - 14.0),
        _ => (0.0, form.width()),
    };
    y += 6.0;
    let mut about = Vec::new();
    for bar in bars {
        if left == 0.0 {
            shapes.push(text(0.0, y + 10.0, Anchor::Start, Ink::Text, &bar.name));
            shapes.push(text(form.width(), y + 10.0, Anchor::End, Ink::Muted, &bar.whole));
            y += 16.0;
        } else {
            shapes.push(text(left - 10.0, y + 14.5, Anchor::End, Ink::Text, &bar.name));
            shapes.push(text(right + 12.0, y + 14.5, Anchor::Start, Ink::Muted, &bar.whole));
        }
        let mut x = left;
        let mut said = Vec::new();
        for ((label, part), share) in labels.iter().zip(&bar.parts).zip(bar.shares()) {
            let figures = format!(" {}, {} %", time(*part), decimal(100.0 * share, 1));
            let words = label.name.clone() + if has_figures { "" } else { &figures };
            let width = share * (right - left);
            if width > 0.0 {
                let (ink, tip) = (label.ink, words.clone());
                shapes.push(Shape::Rect { x, y, width: (width - 1.0).max(0.5), height: BAR_PX, ink, tip });
            }
            x += width;
            said.push(words);
        }
        about.push(format!("{}: {}", bar.name, said.join(", ")).trim_start_matches(": ").to_owned());
        y += BAR_PX + form.choose(8.0, 10.0);
    }
    Picture { name, title: title.to_owned(), about: about.join("; "), form, height: y + 2.0, shapes }
}

fn widest(bars: &[Bar], of: fn(&Bar) -> &String) -> f64 {
    bars.iter().map(|bar| text_width(of(bar))).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_their_bar_and_an_empty_one_stays_empty() {
        let labels = [Label::new("queue", Ink::Series(0)), Label::new("other", Ink::REST)];
        let bar =
            |parts: &[f64]| Bar { name: "run".to_owned(), parts: parts.to_vec(), whole: "all".to_owned() };
        let widths = |bar: Bar| -> Vec<f64> {
            let picture = picture("x", "x", &labels, &[bar], Form::Narrow);
            let rects = picture.shapes.iter().filter_map(|shape| match shape {
                Shape::Rect { width, height, .. } if *height == BAR_PX => Some(*width + 1.0),
                _ => None,
            });
            rects.collect()
        };
        assert_eq!(bar(&[3.0, 1.0]).shares(), [0.75, 0.25]);
        let drawn = widths(bar(&[3.0, 1.0]));
        assert!((drawn[0] - 0.75 * Form::Narrow.width()).abs() < 1e-9 && drawn.len() == 2, "{drawn:?}");
        assert!(widths(bar(&[0.0, 0.0])).is_empty());
    }
}
