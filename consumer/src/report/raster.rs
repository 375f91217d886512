//! Pictures as PNG, painted with a font of our own: a machine that signs has none.

use epaint_default_fonts::UBUNTU_LIGHT;
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform,
};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use super::picture::{Anchor, DASHES, DOT_PX, Ink, Picture, Shape, TEXT_PX, TITLE_PX};

/// Pixels of the file for one of the picture.
const ZOOM: f32 = 2.0;

/// How much thicker than its font text is drawn, in pixels: the font is a light one.
const REGULAR_PX: f32 = 0.25;
const BOLD_PX: f32 = 0.9;

/// `picture` as a PNG file: black on white, with its title.
///
/// # Errors
/// It is too large, or the font is broken.
pub(crate) fn png(picture: &Picture) -> Result<Vec<u8>, String> {
    let (width, height) = (picture.form.width() as f32, (picture.height + TITLE_PX) as f32);
    let pixmap = Pixmap::new((width * ZOOM) as u32, (height * ZOOM).ceil() as u32);
    let mut canvas = Canvas {
        pixmap: pixmap.ok_or("it is too large")?,
        transform: Transform::from_scale(ZOOM, ZOOM).pre_translate(0.0, TITLE_PX as f32),
        face: Face::parse(UBUNTU_LIGHT, 0).map_err(|error| format!("the font: {error}"))?,
    };
    canvas.pixmap.fill(Color::WHITE);
    canvas.text(4.0, -14.0, 15.0, BOLD_PX, Anchor::Start, Ink::Text, &picture.title);
    for shape in &picture.shapes {
        canvas.draw(shape);
    }
    canvas.pixmap.encode_png().map_err(|error| error.to_string())
}

struct Canvas {
    pixmap: Pixmap,
    transform: Transform,
    face: Face<'static>,
}

impl Canvas {
    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Line { points, stroke } => {
                let mut path = PathBuilder::new();
                for (i, (x, y)) in points.iter().enumerate() {
                    let (x, y) = (*x as f32, *y as f32);
                    if i == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
                }
                let opacity = if stroke.is_faint { 0.4 } else { 1.0 };
                self.stroke(path, stroke.ink, opacity, stroke.width as f32, DASHES[stroke.dash]);
            }
            Shape::Rect { x, y, width, height, ink, .. } => {
                if let Some(rect) = Rect::from_xywh(*x as f32, *y as f32, *width as f32, *height as f32) {
                    self.pixmap.fill_rect(rect, &paint(*ink, 1.0), self.transform, None);
                }
            }
            Shape::Dot { x, y, ink, is_filled, .. } => {
                let mut path = PathBuilder::new();
                path.push_circle(*x as f32, *y as f32, DOT_PX as f32);
                if *is_filled {
                    self.fill(path.clone(), *ink);
                }
                self.stroke(path, *ink, 1.0, 1.4, &[]);
            }
            Shape::Text { x, y, anchor, ink, is_bold, text } => {
                let thicker = if *is_bold { BOLD_PX } else { REGULAR_PX };
                self.text(*x as f32, *y as f32, TEXT_PX as f32, thicker, *anchor, *ink, text);
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "text has that many sides")]
    fn text(&mut self, x: f32, y: f32, px: f32, thicker: f32, anchor: Anchor, ink: Ink, text: &str) {
        let scale = px / f32::from(self.face.units_per_em());
        let glyph = |c| self.face.glyph_index(c).or_else(|| self.face.glyph_index('?')).unwrap_or_default();
        let glyphs: Vec<GlyphId> = text.chars().map(glyph).collect();
        let advance = |glyph: &GlyphId| f32::from(self.face.glyph_hor_advance(*glyph).unwrap_or(0)) * scale;
        let width: f32 = glyphs.iter().map(advance).sum();
        let mut pen = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        let mut outline = Outline { path: PathBuilder::new(), x: pen, y, scale };
        for glyph in &glyphs {
            outline.x = pen;
            // A space has none.
            let _ = self.face.outline_glyph(*glyph, &mut outline);
            pen += advance(glyph);
        }
        self.fill(outline.path.clone(), ink);
        self.stroke(outline.path, ink, 1.0, thicker, &[]);
    }

    fn fill(&mut self, path: PathBuilder, ink: Ink) {
        // Nothing to draw makes no path.
        if let Some(path) = path.finish() {
            self.pixmap.fill_path(&path, &paint(ink, 1.0), FillRule::Winding, self.transform, None);
        }
    }

    fn stroke(&mut self, path: PathBuilder, ink: Ink, opacity: f32, width: f32, dashes: &[f32]) {
        let dash = StrokeDash::new(dashes.to_vec(), 0.0);
        let (line_cap, line_join) = (LineCap::Butt, LineJoin::Round);
        if let Some(path) = path.finish() {
            let stroke = Stroke { width, dash, line_cap, line_join, ..Stroke::default() };
            self.pixmap.stroke_path(&path, &paint(ink, opacity), &stroke, self.transform, None);
        }
    }
}

fn paint(ink: Ink, opacity: f32) -> Paint<'static> {
    let mut paint = Paint::default();
    let [_, r, g, b] =
        u32::from_str_radix(ink.light().trim_start_matches('#'), 16).unwrap_or(0).to_be_bytes();
    paint.set_color_rgba8(r, g, b, (opacity * 255.0) as u8);
    paint
}

/// Glyphs as a path: fonts have their heights upwards.
struct Outline {
    path: PathBuilder,
    x: f32,
    y: f32,
    scale: f32,
}

impl Outline {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, self.y - y * self.scale)
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::picture::Form;

    #[test]
    fn a_png_holds_the_shapes_and_text_without_a_font_on_the_machine() {
        let rect = Shape::Rect {
            x: 100.0,
            y: 10.0,
            width: 50.0,
            height: 20.0,
            ink: Ink::Series(0),
            tip: String::new(),
        };
        let text = |text: &str| Shape::Text {
            x: 10.0,
            y: 20.0,
            anchor: Anchor::Start,
            ink: Ink::Text,
            is_bold: false,
            text: text.to_owned(),
        };
        let picture = |shapes| Picture {
            name: "x",
            title: String::new(),
            about: String::new(),
            form: Form::Wide,
            height: 40.0,
            shapes,
        };
        let image = Pixmap::decode_png(&png(&picture(vec![rect, text("µ × 99 %")])).unwrap()).unwrap();
        let at = |x: u32, y: u32| image.pixel(x * 2, (y + TITLE_PX as u32) * 2).unwrap();
        let blue = at(120, 20);
        assert_eq!((blue.red(), blue.green(), blue.blue()), (0x0b, 0x6b, 0xcb));
        assert_eq!(at(200, 20).green(), 255);
        let dark = |left, right| {
            (left..right).flat_map(|x| (8..22).map(move |y| (x, y))).filter(|(x, y)| at(*x, *y).green() < 128)
        };
        assert!(dark(10, 60).count() > 20, "text was drawn");
        assert!(png(&picture(vec![text("\u{1F600}")])).is_ok(), "a glyph that the font lacks");
    }
}
