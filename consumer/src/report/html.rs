//! Bits of HTML.

/// `text` as it is, for HTML and SVG, in text and in quoted attributes. What can't be shown is shown to be so, and what
/// changes the direction of writing doesn't.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            c if c.is_control() => escaped.push('\u{FFFD}'),
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A cell of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    /// The element's attributes.
    attributes: String,
    html: String,
}

/// What stands where there is no value.
const NOTHING: &str = "–";

impl Cell {
    /// Text.
    pub fn text(text: &str) -> Self {
        Self { html: escape(text), ..Self::default() }
    }

    /// Text to the left.
    pub fn left(text: &str) -> Self {
        Self { attributes: " class=\"left\"".to_owned(), html: escape(text) }
    }

    /// A value of a file: `field` is its place there, as in `stages.sign.p50_ns`, and `shown` what people see.
    pub fn value(field: &str, value: Option<f64>, shown: impl Fn(f64) -> String) -> Self {
        let (text, json) =
            value.map_or((NOTHING.to_owned(), "null".to_owned()), |value| (shown(value), value.to_string()));
        Self {
            attributes: format!(" data-figure=\"{}\" data-value=\"{json}\"", escape(field)),
            html: escape(&text),
        }
    }

    /// With a warning that it is not to be trusted.
    pub fn with_note(mut self, note: Option<String>) -> Self {
        if let Some(note) = note {
            self.html += &format!("<small class=\"few\">{}</small>", escape(&note));
        }
        self
    }

    /// With something to know beside it.
    pub fn with_aside(mut self, aside: Option<String>) -> Self {
        if let Some(aside) = aside {
            self.html += &format!("<small class=\"aside\">{}</small>", escape(&aside));
        }
        self
    }

    fn head_of_row(&self) -> String {
        format!("<th scope=\"row\"{}>{}</th>", self.attributes, self.html)
    }

    fn data(&self) -> String {
        format!("<td{}>{}</td>", self.attributes, self.html)
    }

    /// As a value in a list of terms.
    pub fn description(&self) -> String {
        format!("<dd{}>{}</dd>", self.attributes, self.html)
    }
}

/// A table that is moved sideways where it doesn't fit. The first cell of each row heads it.
pub(crate) fn table(caption: &str, header: &[&str], rows: &[Vec<Cell>]) -> String {
    let caption = escape(caption);
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><caption>{caption}</caption><thead><tr>"
    );
    for title in header {
        html += &format!("<th scope=\"col\">{}</th>", escape(title));
    }
    html += "</tr></thead><tbody>";
    for row in rows {
        let (first, rest) = row.split_at(row.len().min(1));
        let cells: String = first.iter().map(Cell::head_of_row).chain(rest.iter().map(Cell::data)).collect();
        html += &format!("<tr>{cells}</tr>");
    }
    html + "</tbody></table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape("<a href='x'>&\"\n"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot; ");
        assert_eq!(escape("a\0b\u{1b}[31m\u{202e}c"), "a\u{FFFD}b\u{FFFD}[31m\u{FFFD}c");
        let html =
            table("<b>", &["<i>"], &[vec![Cell::text("<u>"), Cell::value("\"", None, |_| String::new())]]);
        assert!(!["<b>", "<i>", "<u>", "\"\"\""].iter().any(|evil| html.contains(evil)), "{html}");
        assert!(
            html.contains("<th scope=\"row\">&lt;u&gt;</th>") && html.contains("data-value=\"null\">–</td>"),
            "{html}"
        );
    }
}
