use super::axis::Axis;
use super::{Marker, Shape, Stroke};
use crate::report::ReportError;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(super) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Units of the picture for a pixel of the page. The backend knows whole units only; two make
/// lines and places finer.
pub(super) const UNITS: i32 = 2;

/// A colour by its role; the page's style sheet says what it looks like in light and dark.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Paint {
    Ink,
    Muted,
    Grid,
    Page,
    Budget,
    First,
    Second,
    Third,
}

impl Paint {
    const ALL: [Self; 8] = [
        Self::Ink,
        Self::Muted,
        Self::Grid,
        Self::Page,
        Self::Budget,
        Self::First,
        Self::Second,
        Self::Third,
    ];

    /// The CSS variable.
    pub(in crate::report) fn css(self) -> &'static str {
        match self {
            Self::Ink => "var(--ink)",
            Self::Muted => "var(--muted)",
            Self::Grid => "var(--grid)",
            Self::Page => "var(--card)",
            Self::Budget => "var(--budget)",
            Self::First => "var(--first)",
            Self::Second => "var(--second)",
            Self::Third => "var(--third)",
        }
    }

    /// A colour that stands for the role until the picture is done.
    fn stand_in(self) -> RGBColor {
        RGBColor(0xAB, 0xCD, self as u8)
    }

    /// The same for a dashed line: the backend has no dashes, but the style sheet has.
    fn dashed_stand_in(self) -> RGBColor {
        RGBColor(0xAB, 0xCE, self as u8)
    }
}

/// Sets up a picture of this many pixels, lets `draw` fill it and gives the SVG.
pub(super) fn picture(
    title: &str,
    (width, height): (i32, i32),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<String, ReportError> {
    let mut svg = String::new();
    let size = (
        (width * UNITS).unsigned_abs(),
        (height * UNITS).unsigned_abs(),
    );
    let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    draw(&root)
        .and_then(|()| root.present())
        .map_err(|error| ReportError::Plot {
            plot: title.to_owned(),
            reason: error.to_string(),
        })?;
    drop(root);
    Ok(themed(&svg, title, width))
}

/// Puts CSS variables in place of the stand-ins, and lets the page set size and font.
fn themed(svg: &str, title: &str, width: i32) -> String {
    let head_end = svg.find('>').map_or(0, |at| at + 1);
    let view = format!(
        "<svg role=\"img\" aria-label=\"{}\" style=\"--width:{width}px\" viewBox=",
        crate::report::html::escape(title)
    );
    let head = svg.get(..head_end).unwrap_or_default();
    let sizes = head
        .split_once("viewBox=")
        .and_then(|(_, rest)| rest.split_once(" xmlns"))
        .map_or("\"0 0 1 1\"", |(sizes, _)| sizes);
    let mut body = svg
        .get(head_end..)
        .unwrap_or_default()
        .replace(" font-family=\"sans-serif\"", "")
        .replace(" opacity=\"1\"", "");
    for paint in Paint::ALL {
        let css = paint.css();
        let plain = hex(paint.stand_in());
        let dashed = hex(paint.dashed_stand_in());
        for (from, to) in [
            (format!("fill=\"{plain}\""), format!("style=\"fill:{css}\"")),
            (
                format!("stroke=\"{plain}\""),
                format!("style=\"stroke:{css}\""),
            ),
            (
                format!("stroke=\"{dashed}\""),
                format!("style=\"stroke:{css};stroke-dasharray:10 8\""),
            ),
        ] {
            body = body.replace(&from, &to);
        }
    }
    format!("{view}{sizes}>{body}")
}

fn hex(RGBColor(r, g, b): RGBColor) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// An axis as the plotting library asks for it, with exactly our ticks.
impl Ranged for &Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let share = (value - self.low) / (self.high - self.low);
        (f64::from(start) + f64::from(end - start) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|tick| tick.0).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for &Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.0 == *value);
        tick.map_or_else(String::new, |tick| tick.1.clone())
    }
}

/// Text of this many pixels, at its place by this anchor.
pub(super) fn text_style(
    pixels: i32,
    paint: Paint,
    horizontal: HPos,
    vertical: VPos,
) -> TextStyle<'static> {
    // The backend divides by 1.24, taking the size for that of a line.
    ("sans-serif", f64::from(pixels * UNITS) * 1.24)
        .into_font()
        .color(&paint.stand_in())
        .pos(Pos::new(horizontal, vertical))
}

/// What of a frame is drawn.
pub(super) struct Frame {
    /// Pixels for the labels left of the y axis.
    pub(super) left: i32,
    pub(super) y_lines: bool,
    pub(super) x_lines: bool,
}

/// A drawing area with axes.
pub(super) struct Canvas<'a, 'b> {
    area: &'a Area<'b>,
    x: &'a Axis,
    y: &'a Axis,
    /// Pixels between which the axes run.
    pub(super) across: std::ops::Range<i32>,
    pub(super) down: std::ops::Range<i32>,
}

impl<'a, 'b> Canvas<'a, 'b> {
    /// Draws the axes.
    pub(super) fn new(
        area: &'a Area<'b>,
        x: &'a Axis,
        y: &'a Axis,
        frame: &Frame,
    ) -> Result<Self, DrawingAreaErrorKind<std::io::Error>> {
        let mut chart = ChartBuilder::on(area)
            .margin_top(10 * UNITS)
            .margin_right(16 * UNITS)
            .x_label_area_size(46 * UNITS)
            .y_label_area_size(frame.left * UNITS)
            .build_cartesian_2d(x, y)?;
        let mut mesh = chart.configure_mesh();
        if !frame.x_lines {
            mesh.disable_x_mesh();
        }
        if !frame.y_lines {
            mesh.disable_y_mesh();
        }
        let label = text_style(12, Paint::Muted, HPos::Center, VPos::Top);
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(Paint::Grid.stand_in().stroke_width(2))
            .axis_style(Paint::Muted.stand_in().stroke_width(2))
            .set_all_tick_mark_size(4 * UNITS)
            .label_style(label)
            .axis_desc_style(text_style(13, Paint::Ink, HPos::Center, VPos::Top))
            .x_desc(x.title.as_str())
            .y_desc(y.title.as_str())
            .draw()?;
        let (across, down) = chart.plotting_area().get_pixel_range();
        let (left, top) = area.get_base_pixel();
        Ok(Self {
            area,
            x,
            y,
            across: across.start - left..across.end - left,
            down: down.start - top..down.end - top,
        })
    }

    /// The pixel of a pair of values.
    pub(super) fn pixel(&self, x: f64, y: f64) -> (i32, i32) {
        (
            self.x
                .map(&self.x.place(x), (self.across.start, self.across.end)),
            self.y
                .map(&self.y.place(y), (self.down.end, self.down.start)),
        )
    }

    /// A line through pixels.
    pub(super) fn line(
        &self,
        pixels: Vec<(i32, i32)>,
        paint: Paint,
        width: u32,
        stroke: Stroke,
    ) -> Drawn {
        let colour = match stroke {
            Stroke::None => return Ok(()),
            Stroke::Solid => paint.stand_in(),
            Stroke::Dashed => paint.dashed_stand_in(),
        };
        let style = colour.stroke_width(width);
        self.area.draw(&PathElement::new(pixels, style))
    }

    /// A horizontal line across the picture.
    pub(super) fn level(&self, y: f64, paint: Paint, stroke: Stroke) -> Drawn {
        let at = self.pixel(0.0, y).1;
        let ends = vec![(self.across.start, at), (self.across.end, at)];
        self.line(ends, paint, 3, stroke)
    }

    /// A marker of this radius.
    pub(super) fn mark(&self, at: (i32, i32), marker: Marker, paint: Paint, radius: i32) -> Drawn {
        let inner = if marker.filled { paint } else { Paint::Page };
        // The outer shape in colour, then the inner one; where both meet, a hollow marker.
        self.shape(at, marker.shape, paint, radius)?;
        self.shape(at, marker.shape, inner, radius - 3)
    }

    fn shape(&self, (x, y): (i32, i32), shape: Shape, paint: Paint, r: i32) -> Drawn {
        let style = paint.stand_in().filled();
        let corners = match shape {
            Shape::Circle => return self.area.draw(&Circle::new((x, y), r, style)),
            Shape::Square => vec![
                (x - r, y - r),
                (x + r, y - r),
                (x + r, y + r),
                (x - r, y + r),
            ],
            Shape::Triangle => vec![
                (x, y - r * 5 / 4),
                (x + r * 5 / 4, y + r),
                (x - r * 5 / 4, y + r),
            ],
            Shape::Diamond => {
                let r = r * 4 / 3;
                vec![(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
            }
        };
        self.area.draw(&Polygon::new(corners, style))
    }

    /// A sign on the lower edge: the point lies below.
    pub(super) fn mark_below(&self, x: i32, paint: Paint) -> Drawn {
        let (r, y) = (4 * UNITS, self.down.end - 6 * UNITS);
        let corners = vec![(x - r, y - r), (x + r, y - r), (x, y + r)];
        let style = paint.stand_in().filled();
        self.area.draw(&Polygon::new(corners, style))
    }

    pub(super) fn bar(&self, from: (i32, i32), to: (i32, i32), paint: Paint) -> Drawn {
        let style = paint.stand_in().filled();
        self.area.draw(&Rectangle::new([from, to], style))
    }

    pub(super) fn write(&self, text: &str, at: (i32, i32), style: &TextStyle<'_>) -> Drawn {
        self.area.draw_text(text, style, at)
    }
}
