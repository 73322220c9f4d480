use super::axis::Axis;
use super::canvas::{Canvas, Drawn, Frame, UNITS, picture, text_style};
use super::{Figure, Paint};
use crate::report::units::{describe, percent1};
use crate::report::{Best, Choice, LayerRow, Report, ReportError, Sensitivity};
use plotters::style::text_anchor::{HPos, VPos};

const WIDTH: i32 = 1160;
const PER_LAYER: i32 = 20;
/// Longer paths lose their middle.
const LONGEST: usize = 40;

/// What is shown of each layer, side by side.
struct Panel {
    title: String,
    paint: Paint,
    values: Vec<f64>,
    show: fn(f64) -> String,
    /// The end of the axis where the quantity has one.
    end: Option<f64>,
}

/// Sparsity and distortion of each layer, for the best model.
pub(super) fn figure(report: &Report) -> Result<Option<Figure>, ReportError> {
    let Some(choice) = best_with_layers(report.best()) else {
        return Ok(None);
    };
    let row = &choice.row;
    let layers = &row.layers;
    let panels = panels(layers, report.sensitivity());
    let names: Vec<String> = layers.iter().map(|layer| short(&layer.path)).collect();
    let widest = names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
    let left = widest as i32 * 7 + 24;
    let title = "Sparsity and sensitivity of each layer".to_owned();
    let rows = i32::try_from(layers.len()).unwrap_or(1000);
    let height = rows.saturating_mul(PER_LAYER).min(40_000) + 70;
    let svg = picture(&title, (WIDTH, height), |area| {
        let count = i32::try_from(panels.len()).unwrap_or(1);
        let width = (WIDTH - left) / count;
        let mut rest = area.clone();
        for (index, panel) in panels.iter().enumerate() {
            // The first panel has the names beside it.
            let names = if index == 0 { Some(&names[..]) } else { None };
            let label = if index == 0 { left } else { 12 };
            let (own, after) = rest.split_horizontally((width + label) * UNITS);
            rest = after;
            draw(&own, panel, names, label, layers.len(), count)?;
        }
        Ok(())
    })?;
    let model = describe(row);
    let caption = format!(
        "The model {model}, seed {}. Distortion: root mean square of the change of a layer's \
         weights over that of the weights. Points lost: what the score loses when this layer alone \
         is compressed, without training.",
        row.seed
    );
    Ok(Some(Figure {
        title,
        svg,
        keys: Vec::new(),
        caption,
        wide: true,
    }))
}

fn best_with_layers(best: &Best) -> Option<&Choice> {
    [&best.overall, &best.combined, &best.prune, &best.quantize]
        .into_iter()
        .flatten()
        .find(|choice| !choice.row.layers.is_empty())
}

fn panels(layers: &[LayerRow], sensitivity: &[Sensitivity]) -> Vec<Panel> {
    let mut panels = Vec::new();
    if layers.iter().any(|layer| layer.sparsity > 0.0) {
        panels.push(Panel {
            title: "sparsity, %".to_owned(),
            paint: Paint::First,
            values: layers.iter().map(|layer| layer.sparsity * 100.0).collect(),
            show: |value| percent1(value / 100.0),
            end: Some(100.0),
        });
    }
    panels.push(Panel {
        title: "distortion of weights (RMS)".to_owned(),
        paint: Paint::Second,
        values: layers.iter().map(|layer| layer.distortion).collect(),
        show: |value| format!("{value:.3}"),
        end: None,
    });
    let mut alone = |what: String, drop: fn(&Sensitivity) -> Option<f64>| {
        let known = |layer: &LayerRow| sensitivity.iter().find(|s| s.path == layer.path);
        let drops: Vec<f64> = layers.iter().filter_map(|l| drop(known(l)?)).collect();
        if drops.len() == layers.len() {
            panels.push(Panel {
                title: format!("points lost, alone {what}"),
                paint: Paint::Third,
                values: drops,
                show: |value| format!("{value:.2}"),
                end: None,
            });
        }
    };
    if let Some(first) = sensitivity.first() {
        alone(format!("{} % sparse", percent1(first.level)), |s| {
            s.prune_drop
        });
        alone(format!("at {} bits", first.weight_bits), |s| {
            s.quantize_drop
        });
    }
    panels
}

fn draw(
    area: &plotters::drawing::DrawingArea<
        plotters::backend::SVGBackend<'_>,
        plotters::coord::Shift,
    >,
    panel: &Panel,
    names: Option<&[String]>,
    left: i32,
    count: usize,
    panels: i32,
) -> Drawn {
    let largest = panel.values.iter().copied().fold(0.0, f64::max);
    // Room for the figure at the end of the longest bar: the more panels, the narrower each.
    let end = panel
        .end
        .unwrap_or(if largest > 0.0 { largest } else { 1.0 });
    let mut x = Axis::exact(panel.title.clone(), 0.0, end);
    x.high = end * (1.0 + 0.07 * f64::from(panels.max(2)));
    let place = |index: usize| (count - 1 - index) as f64;
    let ticks = names.unwrap_or_default().iter().enumerate();
    let mut y = Axis::at(
        String::new(),
        ticks.map(|(i, name)| (place(i), name.clone())).collect(),
    );
    (y.low, y.high) = (-0.7, count as f64 - 0.3);
    let frame = Frame {
        left,
        y_lines: false,
        x_lines: true,
    };
    let canvas = Canvas::new(area, &x, &y, &frame)?;
    let figure = text_style(12, Paint::Ink, HPos::Left, VPos::Center);
    for (index, value) in panel.values.iter().enumerate() {
        let from = canvas.pixel(0.0, place(index));
        // A layer that gains has no bar to the left: its figure tells.
        let to = canvas.pixel(value.max(0.0), place(index));
        let half = PER_LAYER * UNITS * 3 / 10;
        canvas.bar((from.0, from.1 - half), (to.0, to.1 + half), panel.paint)?;
        canvas.write(&(panel.show)(*value), (to.0 + 4 * UNITS, to.1), &figure)?;
    }
    Ok(())
}

/// A path short enough to stand beside its bar, without control characters.
fn short(path: &str) -> String {
    let letters: Vec<char> = path
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if letters.len() <= LONGEST {
        return letters.into_iter().collect();
    }
    let (head, tail) = (LONGEST / 2, LONGEST - LONGEST / 2 - 1);
    let start = letters.iter().take(head);
    let end = letters.iter().skip(letters.len() - tail);
    start.chain(&['…']).chain(end).collect()
}
