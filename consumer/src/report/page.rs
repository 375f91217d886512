//! One file of it all: no other file, no network, no script.

use super::html::escape;
use super::picture::{Form, Ink, Picture};

const STYLE: &str = include_str!("style.css");

/// A picture in both its forms, with what is to be known about it.
pub(crate) struct Illustration {
    wide: Picture,
    narrow: Picture,
    note: String,
}

impl Illustration {
    /// What `draw` makes of each form.
    pub fn new(note: &str, draw: impl Fn(Form) -> Picture) -> Self {
        Self { wide: draw(Form::Wide), narrow: draw(Form::Narrow), note: note.to_owned() }
    }
}

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Something to know.
    Note,
    /// All is well.
    Good,
    /// Something went wrong.
    Bad,
}

/// A page in the making.
pub(crate) struct Page {
    title: String,
    html: String,
    pictures: Vec<Picture>,
}

impl Page {
    /// A page about `subject`, that begins with `headline`.
    pub fn new(subject: &str, headline: &str) -> Self {
        let html = format!(
            "<header><p class=\"subject\">Ringseal · {}</p><h1>{}</h1></header>\n",
            escape(subject),
            escape(headline)
        );
        Self { title: format!("{subject} · Ringseal"), html, pictures: Vec::new() }
    }

    /// What went well or wrong, the worst first.
    pub fn remarks(&mut self, remarks: &[(Weight, String)]) {
        let mut remarks: Vec<_> = remarks.iter().collect();
        remarks.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        self.html += "<ul class=\"remarks\">";
        for (weight, text) in remarks {
            let (class, mark) = match weight {
                Weight::Good => ("good", "✓"),
                Weight::Note => ("note", "·"),
                Weight::Bad => ("bad", "✗"),
            };
            self.html += &format!("<li class=\"{class}\"><span>{mark}</span> {}</li>", escape(text));
        }
        self.html += "</ul>\n";
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        self.html += &format!("<h2>{}</h2>\n", escape(text));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.html += &format!("<p>{}</p>\n", escape(text));
    }

    /// HTML that is made with care.
    pub fn push(&mut self, html: &str) {
        self.html += html;
    }

    /// A picture under its title.
    pub fn illustrate(&mut self, illustration: Illustration) {
        let Illustration { wide, narrow, note } = illustration;
        self.html += &format!("<figure><figcaption><h2>{}</h2>", escape(&wide.title));
        if !note.is_empty() {
            self.html += &format!("<p>{}</p>", escape(&note));
        }
        self.html += &format!("</figcaption>\n{}{}</figure>\n", wide.in_page(), narrow.in_page());
        self.pictures.push(wide);
    }

    /// The pictures, each as a file would have it.
    pub fn pictures(&self) -> &[Picture] {
        &self.pictures
    }

    /// The page as a file.
    pub fn html(&self) -> String {
        let (light, dark) = (Ink::properties(false), Ink::properties(true));
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>{}</title>\
             <link rel=\"icon\" href=\"data:,\">\
             <style>\n:root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{STYLE}</style></head>\n\
             <body><main>\n{}</main></body></html>\n",
            escape(&self.title),
            self.html
        )
    }
}
