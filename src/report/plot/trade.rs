use super::axis::{Axis, Scores};
use super::canvas::{Canvas, Drawn, Frame, UNITS, picture, text_style};
use super::{Figure, Key, Marker, Paint, Shape, Stroke};
use crate::report::units::{Unit, compression};
use crate::report::{Report, ReportError, Stage, Summary, pareto_front};
use plotters::style::text_anchor::{HPos, VPos};

const SIZE: (i32, i32) = (560, 380);
const LEFT: i32 = 66;

/// Score against the size of the file.
pub(super) fn size(report: &Report) -> Result<Option<Figure>, ReportError> {
    let largest = report.summaries().iter().map(|c| c.mean_bytes);
    let unit = Unit::bytes(largest.fold(0.0, f64::max));
    figure(
        report,
        "Score against size",
        &format!("size of the file, {}", unit.name),
        |trial| unit.scale(trial.mean_bytes),
        "",
    )
}

/// Score against run-time.
pub(super) fn time(report: &Report) -> Result<Option<Figure>, ReportError> {
    figure(
        report,
        "Score against run-time",
        "time of one forward pass, ms",
        |trial| trial.mean_ms,
        "Times are medians; points closer than their spread (in the table) are equally fast.",
    )
}

fn figure(
    report: &Report,
    title: &str,
    axis: &str,
    cost: impl Fn(&Summary) -> f64,
    remark: &str,
) -> Result<Option<Figure>, ReportError> {
    let trials: Vec<&Summary> = report.summaries().iter().collect();
    if trials.len() < 2 {
        return Ok(None);
    }
    let greatest = trials.iter().map(|c| c.mean_score).fold(f64::MIN, f64::max);
    let baseline = report.baseline().map_or(greatest, |c| c.mean_score);
    let scores = Scores::new(report.score_name(), &trials, baseline, report.budget());
    // Points that are not shown do not stretch the axis either.
    let shown: Vec<(&Summary, f64)> = trials
        .iter()
        .filter(|trial| !scores.below(trial))
        .map(|trial| (*trial, cost(trial)))
        .collect();
    let costs: Vec<f64> = shown.iter().map(|point| point.1).collect();
    let mut x = Axis::for_costs(axis, &costs);
    x.thin(f64::from(SIZE.0 - LEFT - 16));
    let points: Vec<(f64, f64)> = shown
        .iter()
        .map(|(c, cost)| (*cost, c.mean_score))
        .collect();
    let front = pareto_front(&points);
    let svg = picture(title, SIZE, |area| {
        let frame = Frame {
            left: LEFT,
            y_lines: true,
            x_lines: true,
        };
        let canvas = Canvas::new(area, &x, &scores.axis, &frame)?;
        canvas.level(baseline - report.budget(), Paint::Budget, Stroke::Dashed)?;
        draw(&canvas, &shown, &front)
    })?;
    let left_out: Option<String> = super::levels::below(report, &trials, &scores, false)
        .map(|text| text.replacen("▼ ", "", 1));
    let caption = [
        "Filled: on the Pareto front, no other model is both cheaper and better.",
        remark,
        left_out.as_deref().unwrap_or_default(),
    ];
    Ok(Some(Figure {
        title: title.to_owned(),
        svg,
        keys: keys(report, &trials),
        caption: caption.join(" ").trim().to_owned(),
        wide: false,
    }))
}

fn look(stage: Stage) -> (Paint, Shape) {
    match stage {
        Stage::Baseline => (Paint::Ink, Shape::Diamond),
        Stage::Prune => (Paint::First, Shape::Circle),
        Stage::Quantize => (Paint::Second, Shape::Square),
        Stage::Combined => (Paint::Third, Shape::Triangle),
    }
}

fn draw(canvas: &Canvas<'_, '_>, shown: &[(&Summary, f64)], front: &[usize]) -> Drawn {
    let pixels: Vec<(i32, i32)> = shown
        .iter()
        .map(|(trial, cost)| canvas.pixel(*cost, trial.mean_score))
        .collect();
    let on_front = || {
        front
            .iter()
            .filter_map(|&i| Some((shown.get(i)?.0, *pixels.get(i)?)))
    };
    // Between two points of the front nothing better was measured, so it is a staircase.
    let mut stairs: Vec<(i32, i32)> = Vec::new();
    for (_, at) in on_front() {
        if let Some(last) = stairs.last().copied() {
            stairs.push((at.0, last.1));
        }
        stairs.push(at);
    }
    canvas.line(stairs, Paint::Muted, 3, Stroke::Solid)?;
    for (index, (trial, _)) in shown.iter().enumerate() {
        if let Some(&at) = pixels.get(index).filter(|_| !front.contains(&index)) {
            let (paint, shape) = look(trial.stage);
            let marker = Marker {
                shape,
                filled: false,
            };
            canvas.mark(at, marker, paint, 7)?;
        }
    }
    for (trial, at) in on_front() {
        let (paint, shape) = look(trial.stage);
        let marker = Marker {
            shape,
            filled: true,
        };
        canvas.mark(at, marker, paint, 11)?;
    }
    let named: Vec<(String, (i32, i32))> = on_front()
        .map(|(trial, at)| {
            (
                compression(trial.stage, trial.level, trial.pattern, trial.weight_bits),
                at,
            )
        })
        .collect();
    name_points(canvas, &named, &pixels)
}

/// Left, top, right and bottom.
type Box4 = (i32, i32, i32, i32);

fn overlap(a: Box4, b: Box4) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}

/// Writes each name near its point where it hides nothing, or leaves it out.
fn name_points(
    canvas: &Canvas<'_, '_>,
    named: &[(String, (i32, i32))],
    points: &[(i32, i32)],
) -> Drawn {
    const HEIGHT: i32 = 14 * UNITS;
    let around = |&(x, y): &(i32, i32)| (x - 9, y - 9, x + 9, y + 9);
    let mut taken: Vec<Box4> = points.iter().map(around).collect();
    for (text, (x, y)) in named {
        let width = text.chars().count() as i32 * 13;
        let gap = 7 * UNITS;
        // Left and above first: no point can be there.
        let spots = [
            (x - gap - width, y - gap - HEIGHT / 2),
            (x - width / 2, y - gap - HEIGHT),
            (x - gap - width, y - HEIGHT / 2),
            (x + gap, y - HEIGHT / 2),
            (x + gap, y + gap / 2),
            (x - width / 2, y + gap),
        ];
        let free = spots
            .into_iter()
            .map(|(left, top)| (left, top, left + width, top + HEIGHT))
            .find(|spot| {
                spot.0 > canvas.across.start + 4
                    && spot.2 < canvas.across.end
                    && spot.1 > canvas.down.start - 8
                    && spot.3 < canvas.down.end - 4
                    && !taken.iter().any(|other| overlap(*spot, *other))
            });
        if let Some(spot) = free {
            taken.push(spot);
            let style = text_style(12, Paint::Ink, HPos::Center, VPos::Center);
            let middle = ((spot.0 + spot.2) / 2, (spot.1 + spot.3) / 2);
            canvas.write(text, middle, &style)?;
        }
    }
    Ok(())
}

fn keys(report: &Report, trials: &[&Summary]) -> Vec<Key> {
    let stages = [
        Stage::Baseline,
        Stage::Prune,
        Stage::Quantize,
        Stage::Combined,
    ];
    let mut keys: Vec<Key> = stages
        .into_iter()
        .filter(|stage| trials.iter().any(|c| c.stage == *stage))
        .map(|stage| {
            let (paint, shape) = look(stage);
            Key {
                text: stage.to_string(),
                paint,
                line: Stroke::None,
                marker: Some(Marker {
                    shape,
                    filled: true,
                }),
            }
        })
        .collect();
    keys.push(Key {
        text: "Pareto front".to_owned(),
        paint: Paint::Muted,
        line: Stroke::Solid,
        marker: None,
    });
    keys.push(Key {
        text: format!("budget: {} points below", report.budget()),
        paint: Paint::Budget,
        line: Stroke::Dashed,
        marker: None,
    });
    keys
}
