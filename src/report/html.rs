//! The one door through which text enters the page.
//!
//! Names of functions, maps, files and hosts hold whatever a binary or a recording says. They are
//! escaped here, and characters that would be invisible or reorder the line are spelled out.

use std::fmt::Write as _;

/// Markup that is safe to put into the page as it is: only [`Html`] and [`super::svg`] make it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For markup that is built from constants and escaped text only.
    pub(super) fn trusted(markup: String) -> Markup {
        Markup(markup)
    }
}

/// Writes elements; text and attribute values are escaped, names of elements are constants.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    pub fn new() -> Html {
        Html::default()
    }

    pub fn open(&mut self, element: &'static str, attrs: &[(&'static str, &str)]) -> &mut Html {
        self.0.push('<');
        self.0.push_str(element);
        for (name, value) in attrs {
            self.attr(name, value);
        }
        self.0.push('>');
        self
    }

    fn attr(&mut self, name: &'static str, value: &str) {
        self.0.push(' ');
        self.0.push_str(name);
        self.0.push_str("=\"");
        escape_into(&mut self.0, value);
        self.0.push('"');
    }

    pub fn close(&mut self, element: &'static str) -> &mut Html {
        self.0.push_str("</");
        self.0.push_str(element);
        self.0.push('>');
        if matches!(
            element,
            "tr" | "p" | "section" | "table" | "li" | "div" | "dd" | "h2" | "h3"
        ) {
            self.0.push('\n');
        }
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Html {
        escape_into(&mut self.0, text);
        self
    }

    /// An element that holds text only.
    pub fn leaf(
        &mut self,
        element: &'static str,
        attrs: &[(&'static str, &str)],
        text: &str,
    ) -> &mut Html {
        self.open(element, attrs).text(text).close(element)
    }

    pub fn markup(&mut self, markup: &Markup) -> &mut Html {
        self.0.push_str(&markup.0);
        self
    }

    pub fn finish(self) -> Markup {
        Markup(self.0)
    }
}

fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if hidden(c) => spell(out, c),
            c => out.push(c),
        }
    }
}

/// Characters that a reader cannot see, or that reorder what stands around them.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0x00ad
                | 0x061c
                | 0x180e
                | 0x200b..=0x200f
                | 0x2028..=0x202e
                | 0x2060..=0x206f
                | 0xfeff
                | 0xfff9..=0xfffb
                | 0xe0000..=0xe007f
        )
}

fn spell(out: &mut String, c: char) {
    // Writing to a String does not fail.
    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
}

/// `text` with hidden characters spelled out as `\u{202e}`; not yet escaped for HTML.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            spell(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON that can stand inside a `<script>` element: `<` cannot close it, U+2028/2029 cannot end a
/// line of script, and an editor that shows the file shows it in its order.
pub fn script_json(json: &str) -> Markup {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            c if hidden(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    Markup(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_are_escaped_and_hidden_characters_spelled_out() {
        let mut html = Html::new();
        html.leaf(
            "b",
            &[("title", "\"'><x a=\u{202e}")],
            "</script>&\u{0}\u{2028}",
        );
        assert_eq!(
            html.finish().as_str(),
            "<b title=\"&quot;&#39;&gt;&lt;x a=\\u{202e}\">&lt;/script&gt;&amp;\\u{0}\\u{2028}</b>"
        );
    }

    #[test]
    fn json_cannot_leave_its_script_element() {
        assert_eq!(
            script_json("[\"</script>\u{2028}\u{202e}\u{e0001}\"]").as_str(),
            "[\"\\u003c/script>\\u2028\\u202e\\udb40\\udc01\"]"
        );
    }
}
