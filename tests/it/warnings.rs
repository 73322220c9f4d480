//! What no error says: each warning is provoked, and a healthy network has none.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Tensor, TensorData, activation::relu};
use burn_compress::compress::{Compressed, Plan, Pruning, Quantization, Selection};
use burn_compress::engine::{Options, Program, Tuning};
use burn_compress::format::{Granularity, Mapping, Scheme};
use burn_compress::graph::{Activations, Calibration, Calibrator, Fallback, Graph};
use burn_compress::network::Network;
use burn_compress::recipe::{ActivationLevels, PruneLevels, QuantizeLevels, RangeMethod, Recipe};
use burn_compress::report::{Report, Row};
use burn_compress::{Study, Warning};

use super::backends::device::{device, leaves_out};
use super::backends::engine::resnet;
use super::backends::models::{Net, Toy, batch, spread, trained, values};
use super::backends::quantized::{How, calibrated, input, quantized};
use super::quantized_study::Task;
use super::runs::images;

pub fn linear(inputs: usize, weights: Vec<f32>) -> Linear {
    let outputs = weights.len() / inputs;
    let layer = LinearConfig::new(inputs, outputs).init(&device());
    // Burn holds [in, out]; these are rows of outputs.
    let turned = (0..weights.len()).map(|i| weights[i % outputs * inputs + i / outputs]);
    let data = TensorData::new(turned.collect::<Vec<f32>>(), [inputs, outputs]);
    Linear {
        weight: Param::from_data(data, &device()),
        ..layer
    }
}

pub fn noise(count: usize, salt: usize) -> Vec<f32> {
    (0..count).map(|i| spread(salt * 977 + i) - 0.5).collect()
}

fn symmetric(bits: u32, granularity: Granularity) -> Plan {
    let scheme = Scheme::new(bits, Mapping::Symmetric, granularity).unwrap();
    Plan::new().quantize(Quantization::to(scheme))
}

#[track_caller]
pub fn says(warning: &Warning, words: &[&str]) {
    let text = warning.to_string();
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    // One sentence, which its teller ends.
    assert!(!text.ends_with('.'), "{text}");
    let json = serde_json::to_string(warning).unwrap();
    assert_eq!(&serde_json::from_str::<Warning>(&json).unwrap(), warning);
}

#[test]
fn a_layer_without_a_weight() {
    let existing = |layer: Linear| Plan::new().prune(Pruning::existing()).apply(layer).unwrap();
    let compressed = existing(linear(8, vec![0.0; 32]));
    let emptied = Warning::Emptied {
        layer: "weight".into(),
        weights: 32,
    };
    assert_eq!(compressed.warnings(), [emptied]);
    says(
        &compressed.warnings()[0],
        &["All 32 weights", "`weight`", "lower level"],
    );
    // Of four channels one.
    let mut weights = noise(32, 3);
    weights[8..16].fill(0.0);
    let compressed = existing(linear(8, weights.clone()));
    let dead = Warning::DeadChannels {
        layer: "weight".into(),
        dead: 1,
        channels: 4,
    };
    assert_eq!(compressed.warnings(), [dead]);
    says(
        &compressed.warnings()[0],
        &["1 of the 4", "`weight`", "lower level"],
    );
    weights[9] = 0.25;
    assert!(existing(linear(8, weights)).warnings().is_empty());
}

#[test]
fn weights_of_few_codes() {
    // Whole channels go where all their weights are rounded to zero.
    let of_codes = |compressed: &Compressed<Linear>| {
        let mut warnings = compressed.warnings().iter().cloned();
        warnings.find(|warning| matches!(warning, Warning::UnusedCodes { .. }))
    };
    let few = |compressed: &Compressed<Linear>| match of_codes(compressed) {
        Some(Warning::UnusedCodes { used, codes, .. }) => Some((used, codes)),
        _ => None,
    };
    let mut weights = noise(1024, 5);
    let plain = linear(64, weights.clone());
    // One weight that is a thousand times as large as the others.
    weights[77] = 500.0;
    let outlier = linear(64, weights.clone());
    for (bits, codes) in [(8, 255), (4, 15)] {
        let plan = symmetric(bits, Granularity::Tensor);
        assert_eq!(few(&plan.apply(plain.clone()).unwrap()), None);
        let compressed = plan.apply(outlier.clone()).unwrap();
        assert_eq!(few(&compressed), Some((2, codes)));
        let words = ["`weight`", "2 of the", "a scale for each channel"];
        says(&of_codes(&compressed).unwrap(), &words);
        // The same while it trains.
        let (model, compression) = plan.attach(outlier.clone()).unwrap();
        let finished = compression.finish(model).unwrap();
        assert_eq!(finished.warnings(), compressed.warnings());
    }
    // What the warning says helps.
    let plan = symmetric(8, Granularity::Channel);
    assert_eq!(few(&plan.apply(outlier).unwrap()), None);
    // Weights of three values are exact in any number of bits.
    let three = weights.iter().map(|weight| weight.signum() * 0.5);
    let three = linear(64, three.collect());
    let plan = symmetric(8, Granularity::Tensor);
    assert_eq!(few(&plan.apply(three).unwrap()), None);
}

type Forward = fn(&Linear, Tensor<2>) -> Tensor<2>;
const FORWARD: Forward = |layer, x| layer.forward(relu(layer.forward(x)));

// Two products in whole numbers, calibrated on this batch.
fn network(layer: Linear, seen: Tensor<2>) -> Network {
    let (quantized, _) = quantized(layer, How::bits(8, 8), FORWARD, &[seen]);
    quantized.to_integer().unwrap()
}

#[test]
fn activations_that_leave_their_range() {
    let layer = linear(16, noise(256, 9));
    let seen = input([64, 16], 3, &device());
    let model = network(layer, seen.clone());
    let on = |scale: f32| model.inspect(&values(seen.clone() * scale), 64).unwrap();
    assert_eq!(on(1.0), []);
    let warnings = on(3.0);
    let shares = |layer: &str| {
        let mut of = warnings
            .iter()
            .filter(|warning| warning.layer() == Some(layer));
        match of.next() {
            Some(Warning::Saturated { share, .. }) => *share,
            other => panic!("{other:?}"),
        }
    };
    // Values spread evenly from -3 to 3, where codes reach to 1 and half a code beyond.
    let beyond = values(seen.clone() * 3.0);
    let clipped = beyond.iter().filter(|x| x.abs() > 1.0).count() as f64;
    let expected = clipped / beyond.len() as f64;
    assert!((shares("input") - expected).abs() < 0.02, "{expected}");
    says(
        &warnings[0],
        &["% of the values", "`input`", "`Calibrator::MinMax`"],
    );
    // Whatever the samples are shared out to.
    let whole = values(seen.clone() * 3.0);
    for (input, batch) in [(&whole[..16 * 5], 5), (&whole[..16], 1)] {
        assert!(!model.inspect(input, batch).unwrap().is_empty());
    }
    assert!(model.inspect(&whole, 63).is_err());
}

#[test]
fn activations_of_few_codes() {
    let layer = linear(16, noise(256, 9));
    let rest = values(input([256, 16], 3, &device()));
    let with = |first: f32| {
        let mut numbers = rest.clone();
        numbers[0] = first;
        let data = TensorData::new(numbers, [256, 16]);
        Tensor::<2>::from_data(data, &device())
    };
    let warnings = |seen: Tensor<2>| {
        let model = network(layer.clone(), seen.clone());
        model.inspect(&values(seen), 256).unwrap()
    };
    assert_eq!(warnings(with(0.5)), []);
    // A sample that no other is like.
    let found = warnings(with(3000.0));
    let of_input = found
        .iter()
        .find(|warning| warning.layer() == Some("input"));
    let Some(warning @ Warning::UnusedActivationCodes { used, codes, .. }) = of_input else {
        panic!("{found:?}");
    };
    assert!(*used <= 3 && *codes == 256, "{used} of {codes}");
    says(
        warning,
        &["`input`", "of the 256 codes", "`Calibrator::Percentile`"],
    );
    // What it is told to do helps.
    let graph = Graph::capture(&layer, [1, 16], FORWARD).unwrap();
    let activations = Activations {
        calibrator: Calibrator::Percentile { outside: 0.001 },
        ..Activations::bits(8).unwrap()
    };
    let plan = symmetric(8, Granularity::Channel);
    let (quantized, _) = calibrated(graph, layer.clone(), plan, activations, &[with(3000.0)]);
    let model = quantized.to_integer().unwrap();
    let found = model.inspect(&values(with(0.5)), 256).unwrap();
    // Of the input; sixteen values of the layer behind are as large, and more than a thousandth.
    assert!(found.iter().all(|warning| warning.layer() != Some("input")));
}

#[test]
fn channels_that_do_not_change() {
    let layer = linear(16, noise(256, 9));
    let bias = layer.bias.clone().unwrap();
    // Below zero whatever the input: nothing is left behind the activation.
    let low = bias.map(|bias| {
        let mut numbers = values(bias);
        numbers[3..5].fill(-1000.0);
        Tensor::from_data(&numbers[..], &device())
    });
    let dead = Linear {
        bias: Some(low),
        ..layer.clone()
    };
    let seen = input([64, 16], 3, &device());
    let of = |layer: Linear| network(layer, seen.clone()).inspect(&values(seen.clone()), 64);
    assert_eq!(of(layer).unwrap(), []);
    let found = of(dead).unwrap();
    let [
        warning @ Warning::ConstantChannels {
            constant: 2,
            channels: 16,
            ..
        },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    says(
        warning,
        &["2 of the 16 channels", "kept one code", "more inputs"],
    );
}

/// A convolution that integers compute, one in floats, and a transposed one, which runs plainly.
#[derive(Module, Debug)]
struct Mixed {
    integer: Conv2d,
    float: Conv2d,
    up: ConvTranspose2d,
}

impl Mixed {
    fn new() -> Self {
        let conv = || {
            Conv2dConfig::new([8, 8], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(&device())
        };
        let up = ConvTranspose2dConfig::new([8, 8], [2, 2]).with_stride([2, 2]);
        Self {
            integer: conv(),
            float: conv(),
            up: up.init(&device()),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.float.forward(relu(self.integer.forward(x)));
        self.up.forward(x).sin()
    }
}

fn mixed() -> Network {
    let forward = |model: &Mixed, x: Tensor<4>| model.forward(x);
    let model = Mixed::new();
    let shape = [1, 8, 12, 12];
    let graph = Graph::capture_with(&model, shape, Fallback::Float, forward).unwrap();
    let plan = symmetric(8, Granularity::Channel).select(Selection::only(["integer.weight"]));
    let (model, compression) = plan.attach(model).unwrap();
    let activations = Activations::bits(8).unwrap();
    let mut calibration =
        Calibration::new(graph.simplify(), &model, &compression, activations).unwrap();
    calibration
        .observe(&model, input(shape, 3, &device()))
        .unwrap();
    calibration.finish(model).unwrap().to_integer().unwrap()
}

#[test]
fn steps_that_are_slow() {
    if leaves_out("steps_that_are_slow") {
        return;
    }
    let model = mixed();
    let options = |tuning| Options {
        threads: Some(1),
        tuning,
        ..Options::default()
    };
    let estimated = Program::compile(&model, options(Tuning::Estimated)).unwrap();
    for batch in [1, 16] {
        let found = estimated.warnings(batch);
        let plain = found
            .iter()
            .find(|w| matches!(w, Warning::Plain { .. }))
            .unwrap();
        says(plain, &["`sin` at", "plainly"]);
        assert!(!plain.to_string().contains("% of the time"));
        let float = found
            .iter()
            .find(|w| matches!(w, Warning::InFloat { .. }))
            .unwrap();
        assert_eq!(float.layer(), Some("float"));
        says(
            float,
            &["at `float` runs in floats", "quantize its weights"],
        );
        assert!(
            !found
                .iter()
                .any(|warning| warning.layer() == Some("integer"))
        );
    }
    // With its time, which is that of the table.
    let measured = Program::compile(&model, options(Tuning::Measured)).unwrap();
    let rows = measured.layers(1);
    let time = |row: &burn_compress::engine::LayerProfile| row.microseconds.unwrap();
    let all: f64 = rows.iter().map(time).sum();
    let sine = rows.iter().filter(|row| row.kernel == "plain sin");
    let sine: f64 = sine.map(time).sum();
    let found = measured.warnings(1);
    let Some(
        warning @ Warning::Plain {
            share: Some(share), ..
        },
    ) = found.iter().find(|w| matches!(w, Warning::Plain { .. }))
    else {
        panic!("{found:?}");
    };
    assert!((share - sine / all).abs() < 1e-9);
    says(warning, &["% of the time"]);

    // In floats throughout nothing is left in floats.
    let forward = |model: &Mixed, x: Tensor<4>| model.forward(x);
    let module = Mixed::new();
    let graph = Graph::capture(&module, [1, 8, 12, 12], forward).unwrap();
    let floats = graph.simplify().to_float_model(&module).unwrap();
    let program = Program::compile(&floats, options(Tuning::Estimated)).unwrap();
    let found = program.warnings(1);
    assert!(!found.is_empty());
    for warning in &found {
        assert!(matches!(warning, Warning::Plain { operation, .. } if operation == "sin"));
    }
}

#[test]
fn a_healthy_network_has_none() {
    let net = trained(30, &device()).valid();
    for bits in [8, 4] {
        let plan = symmetric(bits, Granularity::Channel);
        let compressed = plan
            .clone()
            .prune(Pruning::to(0.5))
            .apply(net.clone())
            .unwrap();
        assert_eq!(compressed.warnings(), []);
        let forward = |net: &Net, x: Tensor<4>| net.forward(x);
        let batches: Vec<_> = (20..24).map(|number| batch(number, &device()).0).collect();
        let how = How::bits(bits, bits);
        let (quantized, _) = quantized(net.clone(), how, forward, &batches);
        let integers = quantized.to_integer().unwrap();
        let (images, _) = batch(20, &device());
        assert_eq!(integers.inspect(&values(images), 8).unwrap(), []);
    }
    if leaves_out("a_healthy_network_has_none") {
        return;
    }
    let model = resnet();
    let program = Program::compile(&model, Options::default()).unwrap();
    assert_eq!(program.warnings(1), []);
    assert_eq!(program.warnings(16), []);
    assert!(program.run(&images(&model, 1, 3), 1).is_ok());
}

fn recipe() -> Recipe {
    Recipe {
        max_drop: 20.0,
        learning_rate: 0.01,
        epochs: 0,
        refine_epochs: 0,
        seeds: vec![3],
        timed_passes: 3,
        prune: Some(PruneLevels {
            every: 1,
            ..PruneLevels::from([0.5, 0.98])
        }),
        quantize: Some(QuantizeLevels {
            every: 1,
            ranges: RangeMethod::MinMax,
            activations: Some(ActivationLevels {
                bits: 8,
                ..ActivationLevels::default()
            }),
            ..QuantizeLevels::from([8])
        }),
        ..Recipe::default()
    }
}

#[test]
fn a_study_tells_of_each_model() {
    let folder = tempfile::tempdir().unwrap();
    let net = trained(30, &device()).valid();
    let study = || Study::of(recipe()).folder(folder.path());
    let outcome = study()
        .run_quantized(net.clone(), &mut Task::new())
        .unwrap();
    let rows = outcome.report().rows();
    let has = |row: &Row, of: fn(&Warning) -> bool| row.warnings.iter().any(of);
    let lost = |warning: &Warning| {
        matches!(
            warning,
            Warning::DeadChannels { .. } | Warning::Emptied { .. }
        )
    };
    let pruned = |level: f64| move |row: &&Row| row.level == level;
    assert!(rows.iter().filter(pruned(0.98)).all(|row| has(row, lost)));
    assert!(!rows.iter().filter(pruned(0.5)).any(|row| has(row, lost)));
    assert!(!has(&rows[0], lost));

    // Each once, with the models that have it, in every form of the report.
    let report = outcome.report();
    assert_eq!(outcome.warnings(), report.warnings());
    let known = report
        .warnings()
        .iter()
        .find(|warned| lost(&warned.warning));
    let warned = known.unwrap();
    for &row in &warned.rows {
        let mut of = rows[row].warnings.iter();
        assert!(of.any(|warning| warning.is_like(&warned.warning)));
    }
    assert!(rows[warned.worst].warnings.contains(&warned.warning));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(
        json["warnings"].as_array().unwrap().len(),
        report.warnings().len()
    );
    assert_eq!(&Report::from_json(&report.to_json()).unwrap(), report);
    let page = report.to_html().unwrap();
    assert!(page.contains("<h2>Warnings</h2>"));
    assert!(page.contains(&warned.warning.to_string()));

    // An interrupted study finds them again.
    let again = study().run_quantized(net, &mut Task::new()).unwrap();
    assert_eq!(again.report(), report);
}

#[test]
fn a_study_of_weights_tells_of_them_too() {
    let recipe = Recipe {
        quantize: None,
        ..recipe()
    };
    let net = trained(30, &device()).valid();
    let outcome = Study::of(recipe)
        .run(net, &mut Toy::new(&device()))
        .unwrap();
    let lost = |warning: &Warning| {
        matches!(
            warning,
            Warning::DeadChannels { .. } | Warning::Emptied { .. }
        )
    };
    assert!(
        outcome
            .warnings()
            .iter()
            .any(|warned| lost(&warned.warning))
    );
}

fn row(mode: &str, drop: f64, warnings: &str) -> String {
    format!(
        r#"{{"stage":"prune","mode":"{mode}","refined":false,"sparsity":0.9,"weight_bits":32,
             "score":{},"drop":{drop},"bytes":10,"macs":1,"ms":0.5,"seed":1,"warnings":[{warnings}]}}"#,
        90.0 - drop
    )
}

#[test]
fn a_report_tells_of_the_chosen_model_first() {
    let clipped = |layer: &str, share: f64| {
        format!(r#"{{"kind":"saturated","layer":"{layer}","share":{share}}}"#)
    };
    let both = [clipped("conv1", 0.04), clipped("conv<2>", 0.02)].join(",");
    let rows = [
        row("post", 0.5, &both),
        row("aware", 0.1, &clipped("conv1", 0.03)),
    ];
    let rows: Vec<Row> = serde_json::from_str(&format!("[{}]", rows.join(","))).unwrap();
    let report = Report::new(rows, 0.2).unwrap();
    let told: Vec<_> = report
        .warnings()
        .iter()
        .map(|w| (w.worst, w.rows.clone()))
        .collect();
    assert_eq!(told, [(0, vec![0, 1]), (0, vec![0])]);
    // The aware model is chosen: its own share, and that another has more.
    let table = report.table().replace('\n', " ");
    assert!(
        table.contains("! 3.0 % of the values of the activation at `conv1`"),
        "{table}"
    );
    assert!(
        table.contains("One more warning is about other models"),
        "{table}"
    );
    let page = report.to_html().unwrap();
    assert!(page.contains("4.0 % of the values of the activation at `conv1`"));
    assert!(page.contains("(Worst of 2 models: 90 %, post)"));
    assert!(page.contains("conv&lt;2&gt;") && !page.contains("conv<2>"));
    // None where there is none.
    let rows: Vec<Row> = serde_json::from_str(&format!("[{}]", row("post", 0.1, ""))).unwrap();
    let report = Report::new(rows, 0.2).unwrap();
    assert!(report.warnings().is_empty() && !report.table().contains("\n!"));
    assert!(!report.to_html().unwrap().contains("Warnings"));
}

#[test]
fn those_that_others_know_of() {
    for (warning, words) in [
        (
            Warning::NoGradient {
                layer: "fc1.weight".into(),
            },
            vec!["`fc1.weight`", "not pruned", "no gradient", "select it"],
        ),
        (
            Warning::Guarded {
                layer: "fc1.weight".into(),
                kept: 3,
                weights: 64,
            },
            vec!["`fc1.weight`", "3 of its 64", "lower level"],
        ),
        (
            Warning::Unfinished {
                step: 95,
                end: Some(100),
                level: 0.75,
            },
            vec!["step 95 of the 100", "75.0 %", "`Compression::step`"],
        ),
        (
            Warning::Unfinished {
                step: 0,
                end: None,
                level: 0.0,
            },
            vec!["step 0", "0.0 %"],
        ),
    ] {
        says(&warning, &words);
    }
}
