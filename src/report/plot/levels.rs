use super::axis::{Axis, Scores};
use super::canvas::{Canvas, Drawn, Frame, UNITS, picture};
use super::{Figure, Key, Marker, Paint, Shape, Stroke};
use crate::prune::Pattern;
use crate::report::units::{compression, percent, variant};
use crate::report::{Mode, Report, ReportError, Stage, Summary};

const SIZE: (i32, i32) = (560, 380);
const LEFT: i32 = 66;

/// One line of the picture: a mode, refined or not.
struct Series<'a> {
    mode: Mode,
    refined: bool,
    trials: Vec<&'a Summary>,
}

impl Series<'_> {
    fn paint(&self) -> Paint {
        match self.mode {
            Mode::None | Mode::Reconstructed => Paint::Third,
            Mode::Post => Paint::First,
            Mode::Aware => Paint::Second,
        }
    }

    fn stroke(&self) -> Stroke {
        if self.refined {
            Stroke::Solid
        } else {
            Stroke::Dashed
        }
    }

    fn marker(&self) -> Marker {
        Marker {
            shape: match self.mode {
                Mode::None | Mode::Post => Shape::Circle,
                Mode::Reconstructed => Shape::Triangle,
                Mode::Aware => Shape::Square,
            },
            filled: self.refined,
        }
    }
}

/// Score against the level of pruning in a pattern, or of quantization, a line for each way of doing
/// it.
pub(super) fn figure(
    report: &Report,
    stage: Stage,
    pattern: Pattern,
) -> Result<Option<Figure>, ReportError> {
    let of_stage = report.summaries().iter().filter(|c| c.stage == stage);
    let of_stage: Vec<&Summary> = of_stage.collect();
    let trials = of_stage.iter().copied().filter(|c| c.pattern == pattern);
    let trials: Vec<&Summary> = trials.collect();
    let Some(first) = trials.first() else {
        return Ok(None);
    };
    let baseline = report
        .baseline()
        .map_or(first.mean_score + first.mean_drop, |c| c.mean_score);
    let series = series(&trials);
    let (title, mut x) = x_axis(stage, pattern, &trials);
    x.thin(f64::from(SIZE.0 - LEFT - 16));
    // The same axis for every pattern, so that they compare.
    let scores = Scores::new(report.score_name(), &of_stage, baseline, report.budget());
    let place = |trial: &Summary| -> f64 {
        match stage {
            Stage::Quantize => bits_place(&trials, trial.weight_bits),
            _ => trial.level * 100.0,
        }
    };
    let svg = picture(&title, SIZE, |area| {
        let frame = Frame {
            left: LEFT,
            y_lines: true,
            x_lines: false,
        };
        let canvas = Canvas::new(area, &x, &scores.axis, &frame)?;
        canvas.level(baseline, Paint::Ink, Stroke::Dashed)?;
        canvas.level(baseline - report.budget(), Paint::Budget, Stroke::Dashed)?;
        for (index, line) in series.iter().enumerate() {
            // Side by side, so that intervals and equal points do not hide each other.
            let aside = (2 * index as i32 + 1 - series.len() as i32) * 3;
            draw(&canvas, line, &scores, aside, &place)?;
        }
        Ok(())
    })?;
    Ok(Some(Figure {
        title,
        svg,
        keys: keys(report, &series),
        caption: caption(report, &trials, &scores),
        wide: false,
    }))
}

fn series<'a>(trials: &[&'a Summary]) -> Vec<Series<'a>> {
    let mut kinds: Vec<(Mode, bool)> = trials.iter().map(|c| (c.mode, c.refined)).collect();
    kinds.sort();
    kinds.dedup();
    kinds
        .into_iter()
        .map(|(mode, refined)| Series {
            mode,
            refined,
            trials: trials
                .iter()
                .copied()
                .filter(|c| (c.mode, c.refined) == (mode, refined))
                .collect(),
        })
        .collect()
}

fn x_axis(stage: Stage, pattern: Pattern, trials: &[&Summary]) -> (String, Axis) {
    let mut ticks: Vec<(f64, String)> = Vec::new();
    for trial in trials {
        let tick = match stage {
            Stage::Quantize => (
                bits_place(trials, trial.weight_bits),
                trial.weight_bits.to_string(),
            ),
            _ => (trial.level * 100.0, percent(trial.level)),
        };
        if ticks.iter().all(|known| known.0 != tick.0) {
            ticks.push(tick);
        }
    }
    ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
    match stage {
        Stage::Quantize => (
            "Score against bits".to_owned(),
            Axis::at("bits of a weight".to_owned(), ticks),
        ),
        _ => (
            match pattern.shown() {
                None => "Score against pruning level".to_owned(),
                Some(name) => format!("Score against pruning level, {name}"),
            },
            Axis::at("weights pruned, %".to_owned(), ticks),
        ),
    }
}

/// Bits stand in equal steps, the strongest compression on the right, as in the pruning plot.
fn bits_place(trials: &[&Summary], bits: u32) -> f64 {
    let mut more: Vec<u32> = trials
        .iter()
        .map(|c| c.weight_bits)
        .filter(|b| *b > bits)
        .collect();
    more.sort_unstable();
    more.dedup();
    more.len() as f64
}

fn draw(
    canvas: &Canvas<'_, '_>,
    line: &Series<'_>,
    scores: &Scores,
    aside: i32,
    place: &dyn Fn(&Summary) -> f64,
) -> Drawn {
    let paint = line.paint();
    let pixel = |trial: &Summary, score: f64| {
        let (x, y) = canvas.pixel(place(trial), score);
        (x + aside, y)
    };
    let bottom = canvas.down.end;
    for pair in line.trials.windows(2) {
        if let [a, b] = pair {
            let ends = (pixel(a, a.mean_score), pixel(b, b.mean_score));
            if let Some((from, to)) = above(ends, bottom) {
                canvas.line(vec![from, to], paint, 4, line.stroke())?;
            }
        }
    }
    for trial in &line.trials {
        let at = pixel(trial, trial.mean_score);
        if scores.below(trial) {
            canvas.mark_below(at.0, paint)?;
            continue;
        }
        if let Some(half) = trial.half_width {
            let low = pixel(trial, trial.mean_score - half).1.min(bottom);
            let high = pixel(trial, trial.mean_score + half).1;
            canvas.line(vec![(at.0, low), (at.0, high)], paint, 3, Stroke::Solid)?;
            for y in [low, high] {
                let cap = vec![(at.0 - 5, y), (at.0 + 5, y)];
                canvas.line(cap, paint, 3, Stroke::Solid)?;
            }
        }
        canvas.mark(at, line.marker(), paint, 4 * UNITS)?;
    }
    Ok(())
}

type Pixel = (i32, i32);

/// The part of a line that is above the lower edge.
fn above((a, b): (Pixel, Pixel), bottom: i32) -> Option<(Pixel, Pixel)> {
    let cut = |inside: Pixel, outside: Pixel| {
        let share = f64::from(bottom - inside.1) / f64::from(outside.1 - inside.1);
        let x = f64::from(inside.0) + f64::from(outside.0 - inside.0) * share;
        (x.round() as i32, bottom)
    };
    match (a.1 <= bottom, b.1 <= bottom) {
        (true, true) => Some((a, b)),
        (true, false) => Some((a, cut(a, b))),
        (false, true) => Some((cut(b, a), b)),
        (false, false) => None,
    }
}

fn keys(report: &Report, series: &[Series<'_>]) -> Vec<Key> {
    let mut keys: Vec<Key> = series
        .iter()
        .map(|line| Key {
            text: variant(line.mode, line.refined),
            paint: line.paint(),
            line: line.stroke(),
            marker: Some(line.marker()),
        })
        .collect();
    let rule = |text: String, paint| Key {
        text,
        paint,
        line: Stroke::Dashed,
        marker: None,
    };
    keys.push(rule("baseline".to_owned(), Paint::Ink));
    let budget = format!("budget: {} points below", report.budget());
    keys.push(rule(budget, Paint::Budget));
    keys
}

fn caption(report: &Report, trials: &[&Summary], scores: &Scores) -> String {
    let mut sentences = Vec::new();
    if trials.iter().any(|c| c.half_width.is_some()) {
        sentences.push("Bars: 95 % interval of the mean over the seeds.".to_owned());
    }
    sentences.extend(below(report, trials, scores, true));
    sentences.join(" ")
}

/// Names the points that lie below the axis, with their scores.
pub(super) fn below(
    report: &Report,
    trials: &[&Summary],
    scores: &Scores,
    each: bool,
) -> Option<String> {
    let digits = report.digits();
    let low: Vec<String> = trials
        .iter()
        .filter(|trial| scores.below(trial))
        .map(|trial| {
            format!(
                "{} {} ({})",
                variant(trial.mode, trial.refined),
                compression(trial.stage, trial.level, trial.pattern, trial.weight_bits),
                digits.show(trial.mean_score)
            )
        })
        .collect();
    let count = low.len();
    let noun = if count == 1 { "point" } else { "points" };
    match count {
        0 => None,
        1..=8 if each => Some(format!(
            "▼ {count} {noun} below the axis: {}.",
            low.join("; ")
        )),
        _ => Some(format!("▼ {count} {noun} below the axis; see the table.")),
    }
}
