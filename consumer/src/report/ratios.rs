//! Runs side by side: what signing or verifying a message takes, as dots, because factors have no bar to begin at.

use super::axis::Scale;
use super::format::{count_of, decimal, round_time};
use super::picture::{Anchor, Form, Ink, Picture};
use super::plot::{Plane, dot, line, text, text_width};
use crate::compare::{NATIVE, Work};

const ROW_PX: f64 = 21.0;

/// Work of one kind in several runs, and what each is held against.
pub(crate) struct Ratios<'a> {
    works: &'a [Option<Work>],
}

impl<'a> Ratios<'a> {
    /// The same kind of work in each run; `None` where nothing is known of it.
    pub fn new(works: &'a [Option<Work>]) -> Self {
        Self { works }
    }

    /// What the ratios are to, in words.
    pub fn base(&self) -> &'static str {
        if self.works.iter().flatten().any(|work| work.by == NATIVE) { "native" } else { "the first" }
    }

    /// How often as long a message takes in run `i` as in the run that it is held against: native's with the same method, or,
    /// where there is no native one at all, the first with the same method.
    pub fn ratio(&self, i: usize) -> Option<f64> {
        let work = self.works.get(i)?.as_ref()?;
        let has_native = self.base() == NATIVE;
        let mut others = self.works.iter().flatten();
        let base = others.find(|other| other.method == work.method && (!has_native || other.by == NATIVE))?;
        // Where neither took any time there is no ratio.
        Some(work.us_per_message()? / base.us_per_message()?).filter(|ratio| ratio.is_finite())
    }
}

/// A row for each run that is known of, `names` being theirs, and those of a method together.
pub(crate) fn picture(
    name: &'static str,
    title: &str,
    names: &[String],
    works: &[Option<Work>],
    form: Form,
) -> Picture {
    let ratios = Ratios::new(works);
    let mut known: Vec<_> = works
        .iter()
        .zip(names)
        .enumerate()
        .filter_map(|(i, (work, name))| Some((i, work.as_ref()?, name)))
        .collect();
    // Stable: within a method the runs stay in their order.
    let order = |method: &str| known_methods(works).iter().position(|known| known == method);
    known.sort_by_key(|(_, work, _)| order(&work.method));
    let longest = known.iter().map(|row| text_width(row.2)).fold(0.0, f64::max);
    let values = known.iter().filter_map(|(_, work, _)| Some(1e3 * work.us_per_message()?));
    let is_wide = form == Form::Wide;
    let row_px = if is_wide { ROW_PX } else { ROW_PX + 15.0 };
    let breaks = known.chunk_by(|one, next| one.1.method == next.1.method).count().saturating_sub(1) as f64;
    let top = 8.0;
    let plane = Plane {
        left: if is_wide { longest + 16.0 } else { 10.0 },
        right: form.width() - if is_wide { 150.0 } else { 14.0 },
        top,
        bottom: top + row_px * known.len() as f64 + 10.0 * breaks + 4.0,
        x: Scale::log_around(values),
        y: Scale::linear(0.0, 1.0),
    };
    let mut shapes = Vec::new();
    for tick in plane.x.ticks() {
        shapes.push(line(
            vec![(plane.x(tick), plane.top), (plane.x(tick), plane.bottom + 4.0)],
            Ink::Grid,
            1.0,
        ));
        shapes.push(text(plane.x(tick), plane.bottom + 18.0, Anchor::Middle, Ink::Muted, &round_time(tick)));
    }
    let (mut y, mut about, mut before) = (top + 10.0, Vec::new(), None);
    for (i, work, name) in known {
        if before.is_some_and(|method| method != &work.method) {
            y += 10.0;
        }
        before = Some(&work.method);
        let Some(us) = work.us_per_message() else { continue };
        let ratio = ratios.ratio(i).map_or(String::new(), |ratio| format!("  × {}", decimal(ratio, 2)));
        let said = format!("{} µs{ratio}", decimal(us, 1));
        let tip = format!(
            "{name}: {} ms for {}, {said}",
            decimal(work.busy_ns as f64 / 1e6, 1),
            count_of(work.messages, "message")
        );
        let at = if is_wide { y } else { y + 15.0 };
        shapes.push(line(vec![(plane.left, at), (plane.x(1e3 * us), at)], Ink::Grid, 3.0));
        shapes.push(dot(plane.x(1e3 * us), at, Ink::Series(0), true, tip.clone()));
        let (left, right, anchor) = if is_wide {
            (plane.left - 12.0, plane.right + 12.0, Anchor::End)
        } else {
            (plane.left - 8.0, form.width(), Anchor::Start)
        };
        shapes.push(text(left, y + 4.0, anchor, Ink::Text, name));
        // On a wide picture these are columns.
        let values = if is_wide {
            vec![(right + 70.0, format!("{} µs", decimal(us, 1))), (form.width(), ratio.trim().to_owned())]
        } else {
            vec![(right, said)]
        };
        shapes.extend(values.iter().map(|(x, words)| text(*x, y + 4.0, Anchor::End, Ink::Text, words)));
        about.push(tip);
        y += row_px;
    }
    Picture {
        name,
        title: title.to_owned(),
        about: about.join("; "),
        form,
        height: plane.bottom + 26.0,
        shapes,
    }
}

/// The methods, in the order in which they occur.
fn known_methods(works: &[Option<Work>]) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    for work in works.iter().flatten() {
        if !methods.contains(&work.method) {
            methods.push(work.method.clone());
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(by: &str, method: &str, us: u64) -> Option<Work> {
        Some(Work { by: by.to_owned(), method: method.to_owned(), messages: 10, busy_ns: us * 10_000 })
    }

    #[test]
    fn a_run_is_held_against_native_and_without_one_against_the_first() {
        let works =
            [work("wasmtime", "ecdsa", 30), work("native", "ecdsa", 20), work("native", "schnorr", 10), None];
        let ratios = Ratios::new(&works);
        assert_eq!(
            (ratios.base(), [0, 1, 2, 3].map(|i| ratios.ratio(i))),
            ("native", [Some(1.5), Some(1.0), Some(1.0), None])
        );
        let works =
            [work("wasmtime", "ecdsa", 30), work("wasmtime", "schnorr", 5), work("wasmtime", "ecdsa", 60)];
        let ratios = Ratios::new(&works);
        assert_eq!(
            (ratios.base(), [0, 1, 2].map(|i| ratios.ratio(i))),
            ("the first", [Some(1.0), Some(1.0), Some(2.0)])
        );
    }

    #[test]
    fn runs_of_a_method_stand_together() {
        let works =
            [work("native", "ecdsa", 20), work("native", "schnorr", 10), None, work("wasmi", "ecdsa", 900)];
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        for form in [Form::Wide, Form::Narrow] {
            let svg = picture("x", "x", &names, &works, form).in_page();
            let places: Vec<_> =
                ["a", "d", "b"].map(|name| svg.find(&format!(">{name}</text>")).unwrap()).into();
            assert!(places.is_sorted() && !svg.contains(">c<"), "{svg}");
        }
        assert!(!picture("x", "x", &[], &[], Form::Wide).in_page().contains("NaN"));
    }
}
