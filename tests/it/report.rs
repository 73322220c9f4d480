//! The report: its data, its choice, and each of its forms.

use burn_compress::prune::Pattern;
use burn_compress::report::{
    LayerRow, Mode, Report, ReportError, Row, Stage, Timed, choose, half_width, pareto_front,
    summaries,
};
use proptest::prelude::*;

fn row(stage: Stage, mode: Mode, level: f64, bits: u32, drop: f64) -> Row {
    Row {
        stage,
        mode,
        refined: false,
        steered: false,
        level,
        pattern: Pattern::Unstructured,
        sparsity: level,
        weight_bits: bits,
        activation_bits: 32,
        in_float: Vec::new(),
        score: 90.0 - drop,
        drop,
        bytes: (1e5 * (1.0 - level) * f64::from(bits) / 32.0) as u64,
        entropy_bytes: 0,
        macs: 1000,
        bit_operations: 0,
        ms: 1.5,
        ms_range: [0.0, 0.0],
        timed: Timed::Module,
        seconds: 0.0,
        seed: 1,
        layers: Vec::new(),
        warnings: Vec::new(),
    }
}

fn baseline() -> Row {
    row(Stage::Baseline, Mode::None, 0.0, 32, 0.0)
}

fn prune(level: f64, drop: f64) -> Row {
    row(Stage::Prune, Mode::Aware, level, 32, drop)
}

fn quantize(bits: u32, drop: f64) -> Row {
    row(Stage::Quantize, Mode::Post, 0.0, bits, drop)
}

fn combined(level: f64, bits: u32, drop: f64) -> Row {
    row(Stage::Combined, Mode::Aware, level, bits, drop)
}

/// A study with every stage, some of it collapsed, as real ones have.
fn study() -> Vec<Row> {
    let mut rows = vec![
        baseline(),
        prune(0.5, 0.1),
        prune(0.9, 0.4),
        prune(0.95, 60.0),
        quantize(8, 0.0),
        quantize(4, 0.3),
        quantize(2, 79.0),
        combined(0.9, 4, 0.5),
    ];
    for row in &mut rows {
        row.layers = vec![LayerRow {
            path: "conv1.weight".into(),
            weights: 432,
            sparsity: row.sparsity,
            bits: row.weight_bits,
            macs: 100,
            distortion: 0.25,
        }];
    }
    rows
}

/// The same with each pruning level in blocks of four too, which lose less.
fn with_blocks() -> Vec<Row> {
    let mut rows = study();
    let pruned = rows.clone().into_iter().filter(|row| row.level > 0.0);
    rows.extend(pruned.map(|row| Row {
        pattern: Pattern::Block { channels: 4 },
        drop: row.drop / 2.0,
        score: 90.0 - row.drop / 2.0,
        ..row
    }));
    rows
}

fn report(rows: Vec<Row>) -> Report {
    Report::new(rows, 0.5).unwrap()
}

// The data.

#[test]
fn json_round_trips_and_has_the_promised_keys() {
    let report = report(study())
        .with_score_name("accuracy, %")
        .with_recipe(serde_json::json!({"epochs": 3}))
        .with_note("a note");
    let text = report.to_json();
    assert_eq!(Report::from_json(&text).unwrap(), report);
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);

    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let row = &json["rows"][1];
    assert_eq!(row["stage"], "prune");
    assert_eq!(row["mode"], "aware");
    assert_eq!(row["refined"], false);
    for key in [
        "sparsity",
        "weight_bits",
        "score",
        "drop",
        "bytes",
        "macs",
        "ms",
        "seed",
    ] {
        assert!(row[key].is_number(), "{key}");
    }
    assert_eq!(json["best"]["prune"]["sparsity"], 0.9);
    assert_eq!(json["best"]["prune"]["within_budget"], true);
    assert_eq!(json["best"]["overall"]["stage"], "combined");
    assert_eq!(json["recipe"]["epochs"], 3);
}

#[test]
fn only_the_required_keys_of_a_row_are_required() {
    let text = r#"{"budget": 1, "rows": [{"stage":"prune","mode":"post","refined":true,
        "sparsity":0.7,"weight_bits":32,"score":9.5,"drop":0.5,"bytes":10,"macs":20,"ms":1,"seed":3}]}"#;
    let report = Report::from_json(text).unwrap();
    assert_eq!(report.rows()[0].layers, []);
    assert_eq!(report.rows()[0].pattern, Pattern::Unstructured);
    // A row that does not say what was asked for counts as asked for what it reached.
    assert_eq!(report.summaries()[0].level, 0.7);
    for key in ["stage", "sparsity", "score", "bytes"] {
        let without = text.replace(&format!("\"{key}\""), "\"other\"");
        let error = Report::from_json(&without).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_forged_choice_is_not_believed() {
    let forged = report(study())
        .to_json()
        .replace("\"within_budget\": true", "\"within_budget\": false");
    assert_eq!(Report::from_json(&forged).unwrap(), report(study()));
}

#[test]
fn csv_parses_back() {
    let mut rows = study();
    rows[1].ms_range = [1.25, 2.5];
    let csv = report(rows.clone()).to_csv().unwrap();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let column = |record: &csv::StringRecord, name: &str| {
        let at = headers.iter().position(|header| header == name).unwrap();
        record[at].to_owned()
    };
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), rows.len());
    for (record, row) in records.iter().zip(&rows) {
        assert_eq!(column(record, "stage"), row.stage.to_string());
        assert_eq!(column(record, "mode"), row.mode.to_string());
        assert_eq!(column(record, "score").parse(), Ok(row.score));
        assert_eq!(column(record, "sparsity").parse(), Ok(row.sparsity));
        assert_eq!(column(record, "bytes").parse(), Ok(row.bytes));
        assert_eq!(column(record, "ms_max").parse(), Ok(row.ms_range[1]));
    }
}

// Means and intervals.

#[test]
fn seeds_become_means_with_a_student_interval() {
    let mut rows = vec![
        prune(0.5, 1.0),
        prune(0.5, 2.0),
        prune(0.5, 3.0),
        prune(0.7, 4.0),
    ];
    for (seed, row) in rows.iter_mut().enumerate() {
        row.seed = seed as u64;
    }
    let trials = summaries(&rows);
    assert_eq!(trials.len(), 2);
    let trial = &trials[0];
    assert_eq!((trial.n, trial.mean_score, trial.mean_drop), (3, 88.0, 2.0));
    assert_eq!(trial.rows, [0, 1, 2]);
    // Two degrees of freedom: t = 4.3027; deviation 1.
    assert!((trial.half_width.unwrap() - 4.3027 / 3f64.sqrt()).abs() < 1e-4);
    assert_eq!(trials[1].half_width, None);
    assert!(report(rows).table().contains("88.00 ± 2.48"));
}

#[test]
fn the_interval_follows_the_t_table() {
    // Of n values ±1 in equal number, the deviation is sqrt(n / (n - 1)).
    for (n, t) in [
        (2, 12.706),
        (10, 2.2622),
        (30, 2.0452),
        (62, 1.9996),
        (122, 1.9798),
    ] {
        let values: Vec<f64> = (0..n)
            .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        let expected = t / f64::from(n - 1).sqrt();
        let half = half_width(&values).unwrap();
        assert!((half - expected).abs() < 1e-3 * expected, "n = {n}: {half}");
    }
    assert_eq!(half_width(&[]), None);
}

#[test]
fn patterns_are_trials_of_their_own() {
    let rows = with_blocks();
    let trials = summaries(&rows);
    assert_eq!(trials.len(), rows.len());
    // Side by side at each level.
    let pruned = trials.iter().filter(|trial| trial.stage == Stage::Prune);
    let pruned: Vec<_> = pruned.map(|c| (c.level, c.pattern.to_string())).collect();
    let expected = [0.5, 0.9, 0.95].map(|level| {
        let names = ["unstructured", "block4"].into_iter();
        names.map(move |name| (level, name.to_owned()))
    });
    assert_eq!(pruned, expected.into_iter().flatten().collect::<Vec<_>>());
    let report = report(rows);
    let best = report.best();
    let block = Pattern::Block { channels: 4 };
    assert_eq!(best.prune.as_ref().unwrap().row.pattern, block);
    assert_eq!(best.combined.as_ref().unwrap().row.pattern, block);
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
    let csv = report.to_csv().unwrap();
    assert_eq!(csv.matches(",block4,").count(), 4);
    assert_eq!(csv.matches(",unstructured,").count(), 8);
}

// The choice.

#[test]
fn the_strongest_within_the_budget_is_chosen() {
    let best = choose(&study(), 0.5).unwrap();
    assert_eq!(best.prune.unwrap().row.level, 0.9);
    assert_eq!(best.quantize.unwrap().row.weight_bits, 4);
    // The drop equals the budget, which is within it.
    assert!(best.combined.unwrap().within_budget);
    assert_eq!(best.overall.unwrap().row.stage, Stage::Combined);
    assert!(best.notes.is_empty());
}

#[test]
fn of_patterns_the_fastest_is_chosen_where_the_engine_timed_them() {
    let block = Pattern::Block { channels: 4 };
    let trial = |level: f64, drop: f64, pattern: Pattern, ms: f64, timed: Timed| {
        let mut row = prune(level, drop);
        (row.pattern, row.ms, row.timed) = (pattern, ms, timed);
        row.ms_range = [ms, ms];
        row
    };
    let rows = |timed: Timed| {
        [
            trial(0.8, 0.1, Pattern::Unstructured, 0.30, timed),
            trial(0.9, 0.3, Pattern::Unstructured, 0.20, timed),
            trial(0.7, 0.2, block, 0.15, timed),
            trial(0.8, 0.4, block, 0.10, timed),
            trial(0.9, 1.5, block, 0.05, timed),
        ]
    };
    let chosen = |rows: &[Row], budget: f64| {
        let row = choose(rows, budget).unwrap().prune.unwrap().row;
        (row.level, row.pattern)
    };
    assert_eq!(chosen(&rows(Timed::Engine), 0.5), (0.8, block));
    // Burn computes densely: its times say nothing of what is left.
    assert_eq!(
        chosen(&rows(Timed::Module), 0.5),
        (0.9, Pattern::Unstructured)
    );
    // Only one pattern has a level that keeps the budget; none has one.
    assert_eq!(
        chosen(&rows(Timed::Engine), 0.15),
        (0.8, Pattern::Unstructured)
    );
    assert_eq!(
        chosen(&rows(Timed::Engine), 0.05),
        (0.8, Pattern::Unstructured)
    );
    // Blocks that are slower than single weights are not.
    let mut slow = rows(Timed::Engine);
    slow[3].ms = 0.25;
    slow[3].ms_range = [0.25; 2];
    assert_eq!(chosen(&slow, 0.5), (0.9, Pattern::Unstructured));
}

#[test]
fn rounding_does_not_break_the_budget() {
    let drop = 90.04 - 89.74;
    assert!(drop > 0.3);
    assert!(
        choose(&[quantize(4, drop)], 0.3)
            .unwrap()
            .quantize
            .unwrap()
            .within_budget
    );
}

#[test]
fn equal_levels_are_told_apart_by_their_drop() {
    let mut refined = prune(0.9, 0.2);
    refined.refined = true;
    let mut post = prune(0.9, 0.3);
    post.mode = Mode::Post;
    let best = choose(&[prune(0.9, 0.4), refined.clone(), post], 0.5).unwrap();
    assert_eq!(best.prune.unwrap().row, refined);
}

#[test]
fn without_one_in_the_budget_the_least_loss_is_chosen_and_said() {
    let best = choose(
        &[
            baseline(),
            prune(0.5, 3.0),
            prune(0.9, 2.0),
            quantize(8, 0.1),
        ],
        0.5,
    )
    .unwrap();
    let choice = best.prune.unwrap();
    assert_eq!((choice.row.level, choice.within_budget), (0.9, false));
    assert_eq!(best.notes.len(), 1);
    assert!(best.notes[0].contains("pruning") && best.notes[0].contains("90 %"));
    assert_eq!(best.overall.unwrap().row.stage, Stage::Quantize);
    assert!(best.combined.is_none());

    let none = report(vec![baseline(), prune(0.5, 3.0)]);
    assert!(!none.best().overall.as_ref().unwrap().within_budget);
    assert!(
        none.table()
            .starts_with("Nothing stays within the budget of 0.5 points.")
    );
    assert!(
        none.table()
            .contains("No pruning level stays within the budget")
    );
}

#[test]
fn means_are_chosen_not_lucky_seeds() {
    let rows = [
        prune(0.9, 0.4),
        prune(0.9, 1.4),
        prune(0.9, 0.8),
        prune(0.5, 0.1),
    ];
    let best = choose(&rows, 0.5).unwrap();
    assert_eq!(best.prune.unwrap().row.level, 0.5);
    // Of the seeds, the one nearest the mean stands for the trial.
    let choice = choose(&rows[..3], 0.5).unwrap().prune.unwrap();
    assert_eq!((choice.index, choice.runs), (2, 3));
}

// Bad input.

#[test]
fn values_that_are_not_numbers_are_refused_with_their_row() {
    let mut rows = study();
    rows[2].score = f64::NAN;
    let error = Report::new(rows, 0.5).unwrap_err();
    assert!(matches!(&error, ReportError::BadValue { row: 2, field, .. } if field == "score"));
    assert!(error.to_string().contains("90 %, aware"), "{error}");

    let mut rows = study();
    rows[1].layers[0].distortion = f64::INFINITY;
    let error = Report::new(rows, 0.5).unwrap_err().to_string();
    assert!(error.contains("conv1.weight: distortion is inf"), "{error}");

    let mut rows = study();
    rows[1].sparsity = 1.5;
    assert!(matches!(
        choose(&rows, 0.5),
        Err(ReportError::BadValue { .. })
    ));
    for budget in [f64::NAN, f64::INFINITY, -0.1] {
        assert!(matches!(
            Report::new(study(), budget),
            Err(ReportError::BadBudget(_))
        ));
    }
    assert!(matches!(
        Report::new(Vec::new(), 0.5),
        Err(ReportError::NoRows)
    ));
    assert!(matches!(
        Report::from_json(r#"{"rows":[],"budget":0.5}"#),
        Err(ReportError::NoRows)
    ));
}

#[test]
fn extreme_but_finite_studies_are_reported() {
    for (scale, budget) in [(1e-12, 0.0), (1e90, 0.5), (-1e-3, 1e-6), (0.0, 0.0)] {
        let mut rows = study();
        for row in &mut rows {
            row.score *= scale;
            row.drop *= scale;
            row.ms *= scale.abs();
        }
        rows[3].bytes = u64::MAX;
        rows[3].macs = u64::MAX;
        rows[4].bytes = 0;
        let report = Report::new(rows, budget).unwrap();
        assert!(!report.table().is_empty());
        #[cfg(feature = "plots")]
        {
            let page = report.to_html().unwrap();
            assert!(!page.contains("NaN") && !page.contains("inf,"));
        }
    }
}

// The table.

#[test]
fn the_table_fits_a_terminal_and_marks_the_best() {
    for (mut rows, drop) in [(study(), "0.50"), (with_blocks(), "0.25")] {
        for row in &mut rows {
            row.entropy_bytes = row.bytes;
            row.bit_operations = 123_456_789;
            row.ms_range = [1.25, 12.5];
            row.seconds = 1234.5;
        }
        let mut again = rows.clone();
        again.iter_mut().for_each(|row| row.score -= 0.1);
        rows.extend(again);
        let table = report(rows).with_note("word ".repeat(100)).to_string();
        let widest = table.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "{table}");
        let best = table.lines().find(|line| line.starts_with("* ")).unwrap();
        assert!(best.contains("combined") && best.contains("90") && best.contains(drop));
        let good = table.lines().filter(|line| line.starts_with("+ "));
        assert_eq!(good.count(), 2);
    }
}

#[test]
fn patterns_are_told_where_there_are_some() {
    let table = report(with_blocks()).table();
    assert!(
        table.starts_with("90 % sparse in blocks of 4 channels at 4 bits (aware)"),
        "{table}"
    );
    assert_eq!(table.matches("block4").count(), 4);
    assert!(table.contains("Pattern"));
    assert!(table.lines().all(|line| line.chars().count() <= 120));
    let table = report(study()).table();
    assert!(!table.contains("Pattern") && !table.contains("unstructured"));

    let mut rows = with_blocks();
    rows[8].score = f64::NAN;
    let error = Report::new(rows, 0.5).unwrap_err().to_string();
    assert!(error.contains("50 % block4, aware"), "{error}");
}

// The page and the files.

#[cfg(feature = "plots")]
mod page {
    use super::*;

    #[test]
    fn it_stands_alone() {
        let page = report(study()).to_html().unwrap();
        for request in [
            "http://", "https://", "src=", "href=", "@import", "url(", "<script",
        ] {
            assert!(!page.contains(request), "{request}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
        assert_eq!(page.matches("<figure").count(), 5);
        // Every colour of a plot comes from the style sheet.
        let body = page.split("</style>").nth(1).unwrap();
        assert!(!body.contains("=\"#"));
    }

    #[test]
    fn each_pattern_has_its_plot_of_levels() {
        let page = report(with_blocks()).to_html().unwrap();
        assert_eq!(page.matches("<figure").count(), 6);
        let title = "<h3>Score against pruning level";
        assert_eq!(page.matches(&format!("{title}</h3>")).count(), 1);
        assert_eq!(page.matches(&format!("{title}, block4</h3>")).count(), 1);
        assert!(page.contains("aware 95\u{a0}% block4 (60.00)."));
    }

    #[test]
    fn collapsed_points_are_named_not_hidden() {
        let page = report(study()).to_html().unwrap();
        assert!(page.contains("1 point below the axis: aware 95\u{a0}% (30.00)."));
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut rows = study();
        for row in &mut rows {
            row.layers[0].path = "<script>alert('&\"')</script>\0".into();
        }
        let page = report(rows)
            .with_score_name("<b>\"score\"</b>")
            .with_note("<img src=x onerror=alert(1)>")
            .with_recipe(serde_json::json!({"</pre><script>": "</details>"}))
            .to_html()
            .unwrap();
        for tag in ["<script", "<b>\"", "<img", "</pre><script>", "\0"] {
            assert!(!page.contains(tag), "{tag}");
        }
        assert!(page.contains("&lt;script&gt;alert("));
        assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
    }

    #[test]
    fn what_stays_in_float_is_listed_once() {
        let mut rows = study();
        for row in rows.iter_mut().filter(|row| row.weight_bits < 32) {
            row.activation_bits = 8;
            row.in_float = vec!["encoder.0 (layer_norm)".into(), "after <i>x (where)".into()];
        }
        let page = report(rows).to_html().unwrap();
        let list = page.split("<h2>Left in float</h2>").nth(1).unwrap();
        let list = list.split("</ul>").next().unwrap();
        let items: Vec<&str> = list
            .lines()
            .filter(|line| line.starts_with("<li>"))
            .collect();
        assert_eq!(
            items,
            [
                "<li>encoder.0 (layer_norm)</li>",
                "<li>after &lt;i&gt;x (where)</li>"
            ]
        );
        assert!(!report(study()).to_html().unwrap().contains("Left in float"));
    }

    #[test]
    fn a_lone_baseline_has_a_page() {
        let page = report(vec![baseline()]).to_html().unwrap();
        assert!(page.contains("nothing was compressed") && !page.contains("<figure"));
    }
}

#[test]
fn files_appear_whole_and_replace_older_ones() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("new/folder");
    let report = report(study());
    report.save(&inside, "report").unwrap();
    let paths = report.save(&inside, "report").unwrap();
    for path in &paths {
        assert!(std::fs::metadata(path).unwrap().len() > 100);
    }
    let text = std::fs::read_to_string(&paths[0]).unwrap();
    assert_eq!(Report::from_json(&text).unwrap(), report);
    // Nothing else is left behind.
    assert_eq!(std::fs::read_dir(&inside).unwrap().count(), paths.len());
}

#[test]
fn saving_where_it_cannot_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let error = report(study()).save(&file, "report").unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
    for stem in ["", "..", "a/b", "/etc/passwd"] {
        let result = report(study()).save(folder.path(), stem);
        assert!(matches!(result, Err(ReportError::BadStem(_))), "{stem}");
    }
}

// The Pareto front.

fn brute_force(points: &[(f64, f64)]) -> Vec<usize> {
    let beats = |a: (f64, f64), b: (f64, f64)| a.0 <= b.0 && a.1 >= b.1 && a != b;
    (0..points.len())
        .filter(|&i| !points.iter().any(|&other| beats(other, points[i])))
        .collect()
}

proptest! {
    #[test]
    fn the_front_equals_brute_force(
        // Few distinct values, so that ties are common.
        points in prop::collection::vec((0u8..8, 0u8..8), 0..40)
    ) {
        let points: Vec<(f64, f64)> = points
            .iter()
            .map(|&(cost, score)| (f64::from(cost), f64::from(score)))
            .collect();
        let front = pareto_front(&points);
        prop_assert!(front.windows(2).all(|pair| points[pair[0]].0 <= points[pair[1]].0));
        let mut sorted = front;
        sorted.sort_unstable();
        prop_assert_eq!(sorted, brute_force(&points));
    }

    #[test]
    fn any_study_has_a_report(
        trials in prop::collection::vec((0usize..4, 0.0..=1.0f64, 1u32..=32, -10.0..100.0f64), 1..20)
    ) {
        let rows: Vec<Row> = trials
            .iter()
            .map(|&(kind, level, bits, drop)| match kind {
                0 => baseline(),
                1 => prune(level, drop),
                2 => quantize(bits, drop),
                _ => combined(level, bits, drop),
            })
            .collect();
        let report = report(rows);
        prop_assert_eq!(&Report::from_json(&report.to_json()).unwrap(), &report);
        prop_assert!(report.table().lines().all(|line| line.chars().count() <= 120));
        #[cfg(feature = "plots")]
        prop_assert!(!report.to_html().unwrap().contains("NaN"));
    }
}
