//! Static drawings: the only place that knows plotters.
//!
//! Its SVG backend is used without fonts: text is placed by anchor and never measured, so a
//! drawing has the same bytes on every machine.

use super::colour::Rgb;
use super::html::{Html, Markup, visible};
use plotters::prelude::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontFamily, FontStyle, RGBAColor, RGBColor, ShapeStyle, TextStyle};
use std::collections::BTreeMap;

/// plotters divides font sizes by this on their way into the SVG.
const FONT_SCALE: f64 = 1.24;

#[derive(Debug, Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Debug, Clone)]
enum Shape {
    Rect([i32; 4], Rgb, f64),
    Line([i32; 4], Rgb, f64),
    Circle([i32; 2], u32, Rgb),
    Diamond([i32; 2], i32, Rgb),
    Text([i32; 2], Anchor, f64, Rgb, String),
    /// Boxes (x, y, width, height) of one colour.
    Cells(Vec<[i32; 4]>, Rgb, f64),
}

/// A drawing in pixels, origin in the upper left.
#[derive(Debug, Default)]
pub struct Drawing {
    width: u32,
    height: u32,
    shapes: Vec<Shape>,
}

impl Drawing {
    pub fn new(width: u32, height: u32) -> Drawing {
        Drawing {
            width,
            height,
            shapes: Vec::new(),
        }
    }

    pub fn rect(&mut self, x: i32, y: i32, width: i32, height: i32, fill: Rgb, alpha: f64) {
        self.shapes
            .push(Shape::Rect([x, y, x + width, y + height], fill, alpha));
    }

    /// Many boxes (x, y, width, height) in any order: those of one colour become one element,
    /// which a browser reads some ten times as fast.
    pub fn cells(&mut self, cells: impl Iterator<Item = ([i32; 4], Rgb, f64)>) {
        let mut by_colour = BTreeMap::<(Rgb, u64), Vec<[i32; 4]>>::new();
        for (cell, fill, alpha) in cells {
            by_colour
                .entry((fill, alpha.to_bits()))
                .or_default()
                .push(cell);
        }
        let shapes = by_colour.into_iter();
        self.shapes.extend(
            shapes.map(|((fill, alpha), cells)| Shape::Cells(cells, fill, f64::from_bits(alpha))),
        );
    }

    pub fn line(&mut self, from: (i32, i32), to: (i32, i32), colour: Rgb, alpha: f64) {
        self.shapes
            .push(Shape::Line([from.0, from.1, to.0, to.1], colour, alpha));
    }

    pub fn circle(&mut self, x: i32, y: i32, radius: u32, fill: Rgb) {
        self.shapes.push(Shape::Circle([x, y], radius, fill));
    }

    pub fn diamond(&mut self, x: i32, y: i32, radius: i32, fill: Rgb) {
        self.shapes.push(Shape::Diamond([x, y], radius, fill));
    }

    pub fn text(&mut self, x: i32, y: i32, anchor: Anchor, size: f64, colour: Rgb, text: &str) {
        self.shapes
            .push(Shape::Text([x, y], anchor, size, colour, visible(text)));
    }

    /// Inline SVG with presentation attributes only, so that it is drawn under any policy.
    /// `title` and `desc` are what a screen reader says.
    pub fn finish(&self, title: &str, desc: &str) -> Result<Markup, super::ReportError> {
        let is_cells = |shape: &Shape| matches!(shape, Shape::Cells(..));
        let runs = self.shapes.chunk_by(|a, b| is_cells(a) == is_cells(b));
        let body: Result<String, String> = runs.map(|run| self.draw(run)).collect();
        let body = body.map_err(super::ReportError::Draw)?;
        let (width, height) = (self.width.to_string(), self.height.to_string());
        let mut html = Html::new();
        html.open(
            "svg",
            &[
                ("class", "static"),
                ("role", "img"),
                ("width", &width),
                ("height", &height),
                ("viewBox", &format!("0 0 {width} {height}")),
                ("xmlns", "http://www.w3.org/2000/svg"),
            ],
        );
        html.leaf("title", &[], title).leaf("desc", &[], desc);
        // What is the default anyway is a third of the bytes of a heatmap.
        let body = body
            .replace(" opacity=\"1\"", "")
            .replace(" stroke=\"none\"", "");
        html.markup(&Markup::trusted(body + "</svg>\n"));
        Ok(html.finish())
    }

    /// Some of the shapes, without what stands around a drawing.
    fn draw(&self, shapes: &[Shape]) -> Result<String, String> {
        let mut svg = String::new();
        let mut backend = SVGBackend::with_string(&mut svg, (self.width, self.height));
        let mut paths = String::new();
        for shape in shapes {
            match shape {
                &Shape::Rect([x0, y0, x1, y1], fill, alpha) => {
                    backend.draw_rect((x0, y0), (x1, y1), &style(fill, alpha), true)
                }
                &Shape::Line([x0, y0, x1, y1], colour, alpha) => {
                    backend.draw_line((x0, y0), (x1, y1), &style(colour, alpha))
                }
                &Shape::Circle([x, y], radius, fill) => {
                    backend.draw_circle((x, y), radius, &style(fill, 1.0), true)
                }
                &Shape::Diamond([x, y], r, fill) => {
                    let corners = [(x, y - r), (x + r, y), (x, y + r), (x - r, y)];
                    backend.fill_polygon(corners, &style(fill, 1.0))
                }
                Shape::Text([x, y], anchor, size, colour, text) => {
                    let font = plotters::style::FontDesc::new(
                        FontFamily::SansSerif,
                        size * FONT_SCALE,
                        FontStyle::Normal,
                    );
                    let h = match anchor {
                        Anchor::Start => HPos::Left,
                        Anchor::Middle => HPos::Center,
                        Anchor::End => HPos::Right,
                    };
                    let ink = RGBColor(colour.0, colour.1, colour.2);
                    let style = TextStyle::from(font)
                        .color(&ink)
                        .pos(Pos::new(h, VPos::Center));
                    backend.draw_text(text, &style, (*x, *y))
                }
                Shape::Cells(cells, fill, alpha) => {
                    paths += &path(cells, *fill, *alpha);
                    Ok(())
                }
            }
            .map_err(|e| e.to_string())?;
        }
        backend.present().map_err(|e| e.to_string())?;
        drop(backend);
        let body = svg.split_once(">\n").map_or("", |(_, body)| body);
        Ok(paths + body.strip_suffix("</svg>\n").unwrap_or(body))
    }
}

fn path(cells: &[[i32; 4]], (r, g, b): Rgb, alpha: f64) -> String {
    let boxes = cells
        .iter()
        .map(|[x, y, width, height]| format!("M{x} {y}h{width}v{height}h-{width}z"));
    let boxes: String = boxes.collect();
    format!("<path opacity=\"{alpha}\" fill=\"#{r:02X}{g:02X}{b:02X}\" d=\"{boxes}\"/>\n")
}

fn style((r, g, b): Rgb, alpha: f64) -> ShapeStyle {
    ShapeStyle {
        color: RGBAColor(r, g, b, alpha),
        filled: true,
        stroke_width: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_one_colour_are_one_element_between_what_lies_below_and_above() {
        let mut drawing = Drawing::new(40, 20);
        drawing.rect(0, 0, 40, 20, (255, 255, 255), 1.0);
        let red = (255, 0, 0);
        let cells = [
            ([1, 2, 3, 4], red, 1.0),
            ([5, 2, 3, 4], (0, 0, 255), 0.5),
            ([9, 2, 3, 4], red, 1.0),
        ];
        drawing.cells(cells.into_iter());
        drawing.rect(1, 1, 2, 2, (0, 0, 0), 1.0);
        let svg = drawing.finish("a", "b").unwrap();
        let body = svg.as_str().split_once("</desc>").unwrap().1;
        assert_eq!(
            body,
            concat!(
                "<rect x=\"0\" y=\"0\" width=\"40\" height=\"20\" fill=\"#FFFFFF\"/>\n",
                "<path opacity=\"0.5\" fill=\"#0000FF\" d=\"M5 2h3v4h-3z\"/>\n",
                "<path fill=\"#FF0000\" d=\"M1 2h3v4h-3zM9 2h3v4h-3z\"/>\n",
                "<rect x=\"1\" y=\"1\" width=\"2\" height=\"2\" fill=\"#000000\"/>\n</svg>\n"
            )
        );
    }

    #[test]
    fn a_drawing_names_itself_and_escapes_its_text() {
        let mut drawing = Drawing::new(40, 20);
        drawing.rect(1, 2, 3, 4, (255, 0, 0), 1.0);
        drawing.text(5, 6, Anchor::Start, 10.0, (0, 0, 0), "<b>\u{202e}");
        let svg = drawing.finish("a \"title\"", "what is seen").unwrap();
        assert_eq!(
            svg.as_str(),
            concat!(
                "<svg class=\"static\" role=\"img\" width=\"40\" height=\"20\" viewBox=\"0 0 40 20\" ",
                "xmlns=\"http://www.w3.org/2000/svg\"><title>a &quot;title&quot;</title>",
                "<desc>what is seen</desc>",
                "<rect x=\"1\" y=\"2\" width=\"3\" height=\"4\" fill=\"#FF0000\"/>\n",
                "<text x=\"5\" y=\"6\" dy=\"0.5ex\" text-anchor=\"start\" font-family=\"sans-serif\" ",
                "font-size=\"10\" fill=\"#000000\">\n&lt;b&gt;\\u{202e}\n</text>\n</svg>\n"
            )
        );
    }
}
