//! Pictures: shapes that are written as SVG, into the page or as a file, or painted (see [`raster`](super::raster)).

use std::fmt::Write;

use super::html::escape;

/// A colour by its role: the page has two for each, for light and for dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// What is read.
    Text,
    /// What is beside it.
    Muted,
    /// Lines that guide the eye.
    Grid,
    /// A ground apart.
    Shade,
    /// What is told apart by colour; beyond the last, they begin anew.
    Series(usize),
}

/// Colours that are told apart: name, light, dark. The last is for what is left.
const SERIES: [(&str, &str, &str); 8] = [
    ("s0", "#0b6bcb", "#5aa9ff"),
    ("s1", "#d1590b", "#ff9f5a"),
    ("s2", "#16855a", "#4fcf95"),
    ("s3", "#8a4bbf", "#c79bff"),
    ("s4", "#a07800", "#e3c04d"),
    ("s5", "#c2407c", "#ff86b3"),
    ("s6", "#2f8298", "#6fd0e6"),
    ("s7", "#8b939c", "#7d8894"),
];

impl Ink {
    /// For what is left over.
    pub const REST: Ink = Ink::Series(SERIES.len() - 1);
    /// How many series there are, the rest left out.
    pub const SERIES: usize = SERIES.len() - 1;

    fn colours(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Ink::Text => ("text", "#1b1f24", "#e8eaed"),
            Ink::Muted => ("muted", "#59636e", "#9aa4af"),
            Ink::Grid => ("grid", "#e1e4e8", "#31373e"),
            Ink::Shade => ("shade", "#f4f5f7", "#1d2126"),
            Ink::Series(i) => SERIES[i % SERIES.len()],
        }
    }

    /// The colour on white.
    pub fn light(self) -> &'static str {
        self.colours().1
    }

    /// The custom properties that pages write colours by: those for light, or those for dark.
    pub fn properties(is_dark: bool) -> String {
        let inks = [Ink::Text, Ink::Muted, Ink::Grid, Ink::Shade]
            .into_iter()
            .chain((0..SERIES.len()).map(Ink::Series));
        let declarations = inks.map(|ink| {
            let (name, light, dark) = ink.colours();
            format!("--{name}:{};", if is_dark { dark } else { light })
        });
        declarations.collect()
    }
}

/// Lengths of dashes and the spaces between; none for a line without a break.
pub(crate) const DASHES: [&[f32]; 4] = [&[], &[7.0, 4.0], &[2.0, 3.5], &[10.0, 3.0, 2.0, 3.0]];

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stroke {
    pub ink: Ink,
    pub width: f64,
    /// Of [`DASHES`].
    pub dash: usize,
    /// For what is not to be trusted.
    pub is_faint: bool,
}

/// Which point of a text stands where it is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// One thing in a picture. Places are in pixels from the upper left.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Line {
        points: Vec<(f64, f64)>,
        stroke: Stroke,
    },
    Rect {
        x: f64,
        y: f64,
        width: f64,
        height: f64,
        ink: Ink,
        tip: String,
    },
    /// A dot that is not filled is not to be trusted.
    Dot {
        x: f64,
        y: f64,
        ink: Ink,
        is_filled: bool,
        tip: String,
    },
    /// At its base line.
    Text {
        x: f64,
        y: f64,
        anchor: Anchor,
        ink: Ink,
        is_bold: bool,
        text: String,
    },
}

/// The size of text, in pixels.
pub(crate) const TEXT_PX: f64 = 12.5;

/// How far a dot reaches from its middle.
pub(crate) const DOT_PX: f64 = 3.5;

/// What a file has above the picture: its title.
pub(crate) const TITLE_PX: f64 = 36.0;

/// For which width a picture is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A screen or a sheet of paper; files too.
    Wide,
    /// A telephone.
    Narrow,
}

impl Form {
    /// In pixels.
    pub fn width(self) -> f64 {
        match self {
            Form::Wide => 860.0,
            Form::Narrow => 350.0,
        }
    }

    /// What is said here if it is wide, and there if it is narrow.
    pub fn choose<T>(self, wide: T, narrow: T) -> T {
        if self == Form::Wide { wide } else { narrow }
    }
}

/// A picture.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    /// Its file's name, without an ending.
    pub name: &'static str,
    /// In a few words.
    pub title: String,
    /// In a sentence, for who can't see it.
    pub about: String,
    pub form: Form,
    pub height: f64,
    pub shapes: Vec<Shape>,
}

impl Picture {
    /// As part of a page, whose colours and fonts it takes on.
    pub fn in_page(&self) -> String {
        let class = self.form.choose("wide", "narrow");
        let view_box = format!("0 0 {} {}", self.form.width(), self.height);
        self.svg(&format!("class=\"{class}\" viewBox=\"{view_box}\""), "", |ink| {
            format!("var(--{})", ink.colours().0)
        })
    }

    /// As a file: black on white, with its title.
    pub fn as_file(&self) -> String {
        let (width, height) = (self.form.width(), self.height + TITLE_PX);
        let attributes = format!(
            "xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 -{TITLE_PX} {width} {height}\" font-family=\"system-ui,'Segoe UI',Roboto,sans-serif\""
        );
        let heading = format!(
            "<rect y=\"-{TITLE_PX}\" width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\
             <text x=\"4\" y=\"-14\" font-size=\"15\" font-weight=\"600\" fill=\"{}\">{}</text>",
            Ink::Text.light(),
            escape(&self.title)
        );
        self.svg(&attributes, &heading, |ink| ink.light().to_owned())
    }

    fn svg(&self, attributes: &str, heading: &str, colour: impl Fn(Ink) -> String) -> String {
        let mut svg = format!(
            "<svg {attributes} role=\"img\" font-size=\"{TEXT_PX}\"><title>{}</title><desc>{}</desc>{heading}",
            escape(&self.title),
            escape(&self.about)
        );
        for shape in &self.shapes {
            write_shape(&mut svg, shape, &colour);
        }
        svg += "</svg>\n";
        svg
    }
}

/// Writing to a string never fails.
macro_rules! push {
    ($to:expr, $($what:tt)*) => { let _ = write!($to, $($what)*); };
}

fn write_shape(svg: &mut String, shape: &Shape, colour: &impl Fn(Ink) -> String) {
    match shape {
        Shape::Line { points, stroke } => {
            push!(
                svg,
                "<path fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"",
                colour(stroke.ink),
                stroke.width
            );
            if !DASHES[stroke.dash].is_empty() {
                let lengths: Vec<_> = DASHES[stroke.dash].iter().map(f32::to_string).collect();
                push!(svg, " stroke-dasharray=\"{}\"", lengths.join(" "));
            }
            if stroke.is_faint {
                svg.push_str(" opacity=\"0.4\"");
            }
            svg.push_str(" stroke-linejoin=\"round\" d=\"");
            for (i, (x, y)) in points.iter().enumerate() {
                push!(svg, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
            }
            svg.push_str("\"/>");
        }
        Shape::Rect { x, y, width, height, ink, tip } => {
            push!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\">",
                colour(*ink)
            );
            push!(svg, "{}</rect>", tip_of(tip));
        }
        Shape::Dot { x, y, ink, is_filled, tip } => {
            let colour = colour(*ink);
            let fill = if *is_filled { &colour } else { "none" };
            push!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{DOT_PX}\" fill=\"{fill}\" stroke=\"{colour}\""
            );
            push!(svg, " stroke-width=\"1.4\" pointer-events=\"all\">{}</circle>", tip_of(tip));
        }
        Shape::Text { x, y, anchor, ink, is_bold, text } => {
            push!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{}\"", colour(*ink));
            svg.push_str(match anchor {
                Anchor::Start => "",
                Anchor::Middle => " text-anchor=\"middle\"",
                Anchor::End => " text-anchor=\"end\"",
            });
            let weight = if *is_bold { " font-weight=\"600\"" } else { "" };
            push!(svg, "{weight}>{}</text>", escape(text));
        }
    }
}

fn tip_of(tip: &str) -> String {
    if tip.is_empty() { String::new() } else { format!("<title>{}</title>", escape(tip)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_files_stays_text() {
        let evil = "</svg><script>alert(1)</script>\" onload=\"";
        let text = Shape::Text {
            x: 0.0,
            y: 0.0,
            anchor: Anchor::Start,
            ink: Ink::Text,
            is_bold: false,
            text: evil.to_owned(),
        };
        let dot = Shape::Dot { x: 0.0, y: 0.0, ink: Ink::Series(9), is_filled: true, tip: evil.to_owned() };
        let picture = Picture {
            name: "x",
            title: evil.to_owned(),
            about: evil.to_owned(),
            form: Form::Wide,
            height: 10.0,
            shapes: vec![text, dot],
        };
        for svg in [picture.in_page(), picture.as_file()] {
            assert!(!svg.contains("<script") && !svg.contains("\" onload"), "{svg}");
            assert_eq!(
                svg.matches("&lt;script&gt;").count(),
                4 + usize::from(svg.contains("xmlns")),
                "{svg}"
            );
        }
    }

    #[test]
    fn a_file_brings_its_own_colours() {
        let shapes =
            vec![Shape::Rect { x: 0.0, y: 0.0, width: 1.0, height: 1.0, ink: Ink::Grid, tip: String::new() }];
        let picture = Picture {
            name: "x",
            title: String::new(),
            about: String::new(),
            form: Form::Wide,
            height: 10.0,
            shapes,
        };
        assert!(!picture.as_file().contains("var(") && picture.as_file().contains(Ink::Grid.light()));
        assert!(
            picture.in_page().contains("var(--grid)") && Ink::properties(true).contains("--grid:#31373e;")
        );
    }
}
