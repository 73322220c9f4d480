use super::columns::Column;
use super::plot::{Figure, Key, Marker, Shape, Stroke, figures};
use super::units::{Unit, compression, percent1, significant, variant};
use super::{Choice, Report, ReportError, Stage, Summary};
use std::fmt::Write;

impl Report {
    /// The report as one HTML page that stands alone: no scripts, no requests, readable in light
    /// and dark, its plots inline. Needs feature `plots`.
    ///
    /// ```
    /// # use burn_compress::report::Report;
    /// # let rows = serde_json::from_str(r#"[{"stage":"baseline","mode":"none","refined":false,
    /// #   "sparsity":0,"weight_bits":32,"score":98.2,"drop":0,"bytes":1,"macs":1,"ms":0.5,"seed":1}]"#)?;
    /// let page = Report::new(rows, 0.5)?.to_html()?;
    /// assert!(page.starts_with("<!DOCTYPE html>"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the plotting library fails.
    pub fn to_html(&self) -> Result<String, ReportError> {
        let figures = figures(self)?;
        let mut page = String::with_capacity(1 << 16);
        page.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        page.push_str("<title>Compression report</title>\n<style>\n");
        page.push_str(include_str!("page.css"));
        page.push_str("</style>\n</head>\n<body>\n<main>\n<h1>Compression report</h1>\n");
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(page, "<p class=\"headline\">{}</p>", tied(&self.headline()));
        tiles(self, &mut page);
        notes(self, &mut page);
        if !figures.is_empty() {
            page.push_str("<h2>Plots</h2>\n<div class=\"plots\">\n");
            for item in &figures {
                figure(item, &mut page);
            }
            page.push_str("</div>\n");
        }
        table(self, &mut page);
        warnings(self, &mut page);
        in_float(self, &mut page);
        let recipe = serde_json::to_string_pretty(self.recipe())?;
        let _ = writeln!(
            page,
            "<details>\n<summary>Recipe that reproduces this study</summary>\n<pre>{}</pre>\n</details>",
            escape(&recipe)
        );
        page.push_str("</main>\n</body>\n</html>\n");
        Ok(page)
    }
}

/// Text as it may stand in an element or an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(letter),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// Escaped text whose numbers stay on the line of their unit.
fn tied(text: &str) -> String {
    let text = escape(text);
    [" %", " bit", " kB", " MB", " ms"]
        .iter()
        .fold(text, |text, unit| {
            text.replace(unit, &unit.replace(' ', "\u{a0}"))
        })
}

fn tile(page: &mut String, title: &str, value: &str, detail: &str) {
    let _ = writeln!(
        page,
        "<div class=\"tile\"><span>{}</span><b>{}</b><span>{}</span></div>",
        escape(title),
        escape(value),
        escape(detail)
    );
}

fn tiles(report: &Report, page: &mut String) {
    page.push_str("<div class=\"tiles\">\n");
    if let Some((trial, within)) = report.best_trial() {
        measures(report, trial, within, page);
    } else if let Some(base) = report.baseline() {
        let digits = report.digits();
        tile(
            page,
            report.score_name(),
            &digits.show(base.mean_score),
            "baseline",
        );
    }
    page.push_str("</div>\n");
    let best = report.best();
    if best.overall.is_none() {
        return;
    }
    page.push_str("<div class=\"tiles\">\n");
    for (title, choice) in [
        ("Best pruning", &best.prune),
        ("Best quantization", &best.quantize),
        ("Best combination", &best.combined),
    ] {
        if let Some(choice) = choice {
            stage_tile(report, title, choice, page);
        }
    }
    page.push_str("</div>\n");
}

/// The best model against the baseline.
fn measures(report: &Report, trial: &Summary, within: bool, page: &mut String) {
    let digits = report.digits();
    let base = report.baseline();
    let verdict = if within { "within" } else { "beyond" };
    tile(
        page,
        report.score_name(),
        &digits.show(trial.mean_score),
        &format!(
            "{}, {verdict} the budget of {}",
            digits.change(-trial.mean_drop),
            report.budget()
        ),
    );
    let against = |of: fn(&Summary) -> f64, show: &dyn Fn(f64) -> String| {
        base.map_or_else(String::new, |base| {
            format!("{} of {}", share(of(trial), of(base)), show(of(base)))
        })
    };
    let bytes = |v: f64| Unit::bytes(v).with_name(v);
    let count = |v: f64| Unit::count(v).with_name(v);
    let ms = |v: f64| format!("{} ms", significant(v));
    tile(
        page,
        "Size of the file",
        &bytes(trial.mean_bytes),
        &against(|c| c.mean_bytes, &bytes),
    );
    tile(
        page,
        "Multiply-adds per example",
        &count(trial.mean_macs),
        &against(|c| c.mean_macs, &count),
    );
    tile(
        page,
        "One forward pass",
        &ms(trial.mean_ms),
        &match base.is_some_and(|base| base.timed == trial.timed) {
            true => against(|c| c.mean_ms, &ms),
            false => String::new(),
        },
    );
}

fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 {
        format!("{} %", percent1(part / whole))
    } else {
        "–".to_owned()
    }
}

fn stage_tile(report: &Report, title: &str, choice: &Choice, page: &mut String) {
    let Some(trial) = report.trial_of(Some(choice)) else {
        return;
    };
    let verdict = if choice.within_budget {
        ""
    } else {
        ", beyond the budget"
    };
    tile(
        page,
        title,
        &compression(trial.stage, trial.level, trial.pattern, trial.weight_bits),
        &format!(
            "{}: {}{verdict}",
            variant(trial.mode, trial.refined),
            report.digits().change(-trial.mean_drop)
        ),
    );
}

fn notes(report: &Report, page: &mut String) {
    let notes: Vec<String> = report
        .notes()
        .map(|note| format!("<li>{}</li>\n", escape(note)))
        .collect();
    if !notes.is_empty() {
        let _ = writeln!(page, "<ul class=\"notes\">\n{}</ul>", notes.concat());
    }
}

fn figure(figure: &Figure, page: &mut String) {
    let class = if figure.wide { " class=\"wide\"" } else { "" };
    let _ = writeln!(page, "<figure{class}>\n<h3>{}</h3>", escape(&figure.title));
    if !figure.keys.is_empty() {
        page.push_str("<ul class=\"keys\">\n");
        for key in &figure.keys {
            let _ = writeln!(page, "<li>{}{}</li>", sample(key), escape(&key.text));
        }
        page.push_str("</ul>\n");
    }
    let _ = writeln!(page, "<div class=\"draw\">\n{}</div>", figure.svg);
    if !figure.caption.is_empty() {
        let _ = writeln!(page, "<figcaption>{}</figcaption>", tied(&figure.caption));
    }
    page.push_str("</figure>\n");
}

/// The line and marker of a legend's entry.
fn sample(key: &Key) -> String {
    let colour = key.paint.css();
    let line = match key.line {
        Stroke::None => String::new(),
        Stroke::Solid => line_sample(colour, ""),
        Stroke::Dashed => line_sample(colour, " stroke-dasharray=\"5 4\""),
    };
    let marker = key.marker.map_or_else(String::new, |marker| {
        let fill = if marker.filled { colour } else { "var(--card)" };
        marker_sample(marker, fill, colour)
    });
    format!("<svg viewBox=\"0 0 30 14\" aria-hidden=\"true\">{line}{marker}</svg>")
}

fn line_sample(colour: &str, dashes: &str) -> String {
    format!(
        "<line x1=\"0\" y1=\"7\" x2=\"30\" y2=\"7\" stroke-width=\"2\"{dashes} style=\"stroke:{colour}\"/>"
    )
}

fn marker_sample(marker: Marker, fill: &str, stroke: &str) -> String {
    let style = format!("style=\"fill:{fill};stroke:{stroke};stroke-width:1.5\"");
    match marker.shape {
        Shape::Circle => format!("<circle cx=\"15\" cy=\"7\" r=\"3.5\" {style}/>"),
        Shape::Square => {
            format!("<rect x=\"11.5\" y=\"3.5\" width=\"7\" height=\"7\" {style}/>")
        }
        Shape::Triangle => format!("<polygon points=\"15,2.5 19.5,10.5 10.5,10.5\" {style}/>"),
        Shape::Diamond => format!("<polygon points=\"15,2 20,7 15,12 10,7\" {style}/>"),
    }
}

fn table(report: &Report, page: &mut String) {
    let columns = report.columns();
    page.push_str("<h2>Every model</h2>\n<div class=\"scroll\">\n<table>\n<thead>\n<tr>");
    let class = |column: &Column| if column.text { " class=\"text\"" } else { "" };
    for column in &columns {
        let unit = if column.unit.is_empty() {
            String::new()
        } else {
            format!("<small>{}</small>", escape(&column.unit))
        };
        let _ = write!(
            page,
            "<th scope=\"col\"{}>{}{unit}</th>",
            class(column),
            escape(column.name)
        );
    }
    page.push_str("<th></th></tr>\n</thead>\n<tbody>\n");
    let mut stage = None;
    for (line, trial) in report.summaries().iter().enumerate() {
        let (mut classes, mark) = match report.is_best(trial) {
            Some(true) => (vec!["best"], "best"),
            Some(false) => (vec!["good"], "best of stage"),
            None if trial.stage == Stage::Baseline => (vec!["base"], ""),
            None => (Vec::new(), ""),
        };
        if stage.is_some_and(|stage| stage != trial.stage) {
            classes.push("split");
        }
        stage = Some(trial.stage);
        let _ = write!(page, "<tr class=\"{}\">", classes.join(" "));
        for column in &columns {
            let value = column.values.get(line).map_or("", String::as_str);
            let _ = write!(page, "<td{}>{}</td>", class(column), escape(value));
        }
        let mark = if mark.is_empty() {
            String::new()
        } else {
            format!("<span class=\"mark\">{mark}</span>")
        };
        let _ = writeln!(page, "<td class=\"text\">{mark}</td></tr>");
    }
    page.push_str("</tbody>\n</table>\n</div>\n");
    let _ = writeln!(page, "<p class=\"legend\">{}</p>", escape(&report.legend()));
}

fn warnings(report: &Report, page: &mut String) {
    let lines = report.told_of_all();
    if lines.is_empty() {
        return;
    }
    page.push_str("<h2>Warnings</h2>\n<ul class=\"notes\">\n");
    for line in lines {
        let _ = writeln!(page, "<li>{}</li>", escape(&line));
    }
    page.push_str("</ul>\n");
}

// What is computed in floats where activations are quantized, each layer once.
fn in_float(report: &Report, page: &mut String) {
    let mut layers: Vec<&str> = Vec::new();
    for layer in report.rows().iter().flat_map(|row| &row.in_float) {
        if !layers.contains(&layer.as_str()) {
            layers.push(layer);
        }
    }
    if layers.is_empty() {
        return;
    }
    page.push_str("<h2>Left in float</h2>\n");
    page.push_str("<p class=\"legend\">Layers that compute in floating point although activations are quantized, with their operation.</p>\n");
    page.push_str("<ul class=\"notes\">\n");
    for layer in layers {
        let _ = writeln!(page, "<li>{}</li>", escape(layer));
    }
    page.push_str("</ul>\n");
}
