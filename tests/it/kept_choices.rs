//! Tuning caches that do not fit: a program chooses anew, and computes the same.

use std::sync::OnceLock;

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn_compress::engine::{Options, Program, Tuning, TuningCache};
use burn_compress::graph::Graph;
use burn_compress::kernel::Kernels;
use burn_compress::network::Network;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::backends::device::{device, leaves_out};
use super::backends::graph_models::randomized;
use super::backends::quantized::{How, input, quantized};
use super::engine_split;
use super::runs::{images, options};

const CHANNELS: usize = 16;

#[derive(Module, Debug)]
pub struct Two {
    first: Conv2d,
    second: Conv2d,
}

// The second layer in so many groups; other paths, and numbers of layers, stay.
impl Two {
    fn new(groups: usize) -> Self {
        let conv = |channels: [usize; 2], groups: usize| {
            let config = Conv2dConfig::new(channels, [3, 3]).with_groups(groups);
            let config = config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
            config.init(&device())
        };
        randomized(Self {
            first: conv([3, CHANNELS], 1),
            second: conv([CHANNELS; 2], groups),
        })
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        self.second.forward(relu(self.first.forward(images)))
    }

    pub fn integers(groups: usize) -> Network {
        let batches = [input([2, 3, 16, 16], 5, &device())];
        let (model, _) = quantized(
            Self::new(groups),
            How::bits(8, 8).pruned(0.6),
            Self::forward,
            &batches,
        );
        model.to_integer().unwrap()
    }

    fn floats(groups: usize) -> Network {
        let model = Self::new(groups);
        let graph = Graph::capture(&model, [1, 3, 16, 16], Self::forward).unwrap();
        graph.simplify().to_float_model(&model).unwrap()
    }
}

fn estimated(threads: usize) -> Options {
    options(Kernels::detect().isa(), threads)
}

fn measured(threads: usize) -> Options {
    Options {
        tuning: Tuning::Measured,
        ..estimated(threads)
    }
}

fn altered(choices: &TuningCache, alter: impl FnOnce(&mut Value)) -> TuningCache {
    let mut value = serde_json::to_value(choices).unwrap();
    alter(&mut value);
    serde_json::from_value(value).unwrap()
}

// All kernels of one image and of several.
fn kernels(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    let Value::Object(choices) = value else {
        panic!("{value}");
    };
    let lists = choices
        .iter_mut()
        .flat_map(|(name, value)| match &name[..] {
            "one" => vec![value],
            "many" => value
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .map(|many| &mut many["kernels"])
                .collect(),
            _ => vec![],
        });
    lists.flat_map(|list| list.as_array_mut().unwrap())
}

#[test]
fn a_layer_that_changed_its_groups() {
    for (integers, groups) in [
        (true, 8),
        (true, 16),
        (true, 4),
        (false, 8),
        (false, 16),
        (false, 2),
    ] {
        let model = if integers { Two::integers } else { Two::floats };
        let (old, new) = (model(1), model(groups));
        let input = images(&new, 17, 1);
        let (expected, _) = new.run(&input, 17).unwrap();
        let size = expected.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        for options in [estimated(2), measured(1)] {
            let old = Program::compile(&old, options).unwrap();
            for kernel in ["sparse", "dense", "tiled", "winograd 2x2", "winograd 4x4"] {
                let kept = altered(old.tuning_cache(), |value| {
                    kernels(value).for_each(|kept| kept["kernel"] = json!(kernel));
                });
                let again = Program::compile_with(&new, options, &kept).unwrap();
                for batch in [1, 17] {
                    let [input, expected] =
                        [&input, &expected].map(|of| &of[..of.len() / 17 * batch]);
                    let found = again.run(input, batch).unwrap();
                    let near =
                        |(found, expected): (&f32, &f32)| (found - expected).abs() <= 1e-4 * size;
                    match integers {
                        true => assert_eq!(found, expected),
                        false => assert!(found.iter().zip(expected).all(near)),
                    }
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_chosen_as_without_it() {
    let model = Two::integers(1);
    let fresh = Program::compile(&model, estimated(2)).unwrap();
    let same = |alter: &dyn Fn(&mut Value)| {
        let kept = altered(fresh.tuning_cache(), alter);
        assert_ne!(&kept, fresh.tuning_cache());
        let again = Program::compile_with(&model, estimated(2), &kept).unwrap();
        assert_eq!(again.tuning_cache(), fresh.tuning_cache());
    };
    for name in [
        "nonsense",
        "amx2",
        "",
        "winograd 6x6",
        "winograd 2x2",
        "Dense",
    ] {
        same(&|value| kernels(value).for_each(|kept| kept["kernel"] = json!(name)));
        same(&|value| value["one"][1]["kernel"] = json!(name));
    }
    same(&|value| kernels(value).for_each(|kept| kept["layer"] = json!("other")));
    same(&|value| value["one"] = json!([]));
    same(&|value| value["one"].as_array_mut().unwrap().reverse());
    same(&|value| value["many"] = json!([]));
    same(&|value| value["threads"] = json!(7));
    // Whether one image runs alone was tried with other threads.
    same(&|value| {
        value["threads"] = json!(1);
        value["alone"] = json!(true);
    });
    let alone = altered(fresh.tuning_cache(), |value| value["alone"] = json!(true));
    let again = Program::compile_with(&model, estimated(2), &alone).unwrap();
    assert_eq!(again.tuning_cache(), &alone);
}

#[test]
fn levels_that_do_not_fit_are_chosen_as_without_them() {
    if leaves_out("levels_that_do_not_fit_are_chosen_as_without_them") {
        return;
    }
    let model = engine_split::integers();
    let fresh = Program::compile(&model, estimated(2)).unwrap();
    let boundary =
        serde_json::to_value(fresh.tuning_cache()).unwrap()["many"][0]["boundary"].clone();
    let level = |images: usize, boundary: &Value| json!({ "samples": images, "boundary": boundary, "kernels": [] });
    let later = json!(boundary.as_u64().unwrap() + 1);
    for many in [
        json!([level(16, &json!(0))]),
        json!([level(16, &json!(u64::MAX))]),
        json!([level(1, &boundary)]),
        json!([level(0, &boundary)]),
        json!([level(5, &boundary)]),
        // Each level has more images than the one before it.
        json!([level(16, &boundary), level(4, &later)]),
        json!([level(16, &boundary), level(16, &later)]),
        json!([level(4, &boundary), level(16, &boundary)]),
    ] {
        let kept = altered(fresh.tuning_cache(), |value| value["many"] = many.clone());
        let again = Program::compile_with(&model, estimated(2), &kept).unwrap();
        assert_eq!(again.tuning_cache(), fresh.tuning_cache(), "{many}");
    }
    // Measured: although the kernels of one image are known.
    let kept = altered(fresh.tuning_cache(), |value| {
        value["many"] = json!([level(3, &boundary)])
    });
    let again = Program::compile_with(&model, measured(2), &kept).unwrap();
    assert!(
        again
            .layers(16)
            .iter()
            .all(|row| row.microseconds.is_some())
    );
}

/// A model, what it gives, and the choices of programs of it.
struct Base {
    model: Network,
    batches: Vec<(usize, Vec<f32>, Vec<f32>)>,
    kept: Vec<Value>,
}

impl Base {
    fn new(model: Network, batches: &[usize]) -> Self {
        let batches = batches.iter().map(|&batch| {
            let input = images(&model, batch, 7);
            let (expected, _) = model.run(&input, batch).unwrap();
            (batch, input, expected)
        });
        let kept = [estimated(1), estimated(2), measured(2)].map(|options| {
            let program = Program::compile(&model, options).unwrap();
            serde_json::to_value(program.tuning_cache()).unwrap()
        });
        Self {
            batches: batches.collect(),
            model,
            kept: kept.into(),
        }
    }

    fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Base>> = OnceLock::new();
        ALL.get_or_init(|| {
            vec![
                Self::new(Two::integers(1), &[1, 2, 19]),
                Self::new(Two::integers(8), &[1, 2, 19]),
                // One whose levels are kept, too.
                Self::new(engine_split::integers(), &[16]),
            ]
        })
    }
}

// So many values, itself first.
fn count(value: &Value) -> usize {
    let inner: usize = match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    };
    1 + inner
}

fn at(value: &mut Value, mut place: usize) -> &mut Value {
    if place == 0 {
        return value;
    }
    place -= 1;
    let inner: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => panic!("no such place"),
    };
    for value in inner {
        match count(value) {
            all if place < all => return at(value, place),
            all => place -= all,
        }
    }
    panic!("no such place");
}

// Another value of the same kind, or one from elsewhere.
fn mutate(value: &mut Value, [place, what, which]: [usize; 3], other: &Value) {
    const WORDS: [&str; 12] = [
        "sparse",
        "dense",
        "tiled",
        "winograd 2x2",
        "winograd 4x4",
        "",
        "amx2",
        "portable",
        "avx2",
        "conv1",
        "linear",
        "first",
    ];
    const NUMBERS: [u64; 12] = [0, 1, 2, 3, 4, 5, 8, 16, 17, 64, 1 << 33, u64::MAX];
    let all = count(value);
    let target = at(value, place % all);
    match target {
        Value::Array(items) if !items.is_empty() => {
            let [one, two] = [which % items.len(), which / 7 % items.len()];
            match what % 6 {
                0 => drop(items.remove(one)),
                1 => items.insert(one, items[two].clone()),
                2 => items.swap(one, two),
                3 => items.reverse(),
                4 => items.clear(),
                _ => {
                    let mut other = other.clone();
                    let all = count(&other);
                    items[one] = at(&mut other, which % all).clone();
                }
            }
        }
        Value::Number(number) => {
            let now = number.as_u64().unwrap();
            *target = json!(match what % 3 {
                0 => NUMBERS[which % NUMBERS.len()],
                1 => now.saturating_add(1),
                _ => now.saturating_sub(1),
            });
        }
        Value::String(_) => *target = json!(WORDS[which % WORDS.len()]),
        Value::Bool(is) => *is = !*is,
        // The blocking of a kernel.
        Value::Object(fields) if fields.len() == 1 => {
            let name = ["positions", "channels"][what % 2];
            *target = json!({ name: NUMBERS[which % NUMBERS.len()] });
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_choices_give_the_same_bits(
        (base, from, of) in (prop_oneof![4 => 0..2usize, 1 => 2..3usize], 0..4usize, 0..3usize),
        mutations in prop::collection::vec(any::<[usize; 3]>(), 1..6),
        (threads, is_measured) in (1..4usize, prop::bool::weighted(0.1)),
    ) {
        if leaves_out("any_choices_give_the_same_bits") {
            return Ok(());
        }
        let all = Base::all();
        // Mostly its own; else those of another model.
        let other = &all[(base + 1) % all.len()];
        let base = &all[base];
        let mut kept = if from == 1 { other.kept[of].clone() } else { base.kept[of].clone() };
        for mutation in mutations {
            let before = kept.clone();
            mutate(&mut kept, mutation, &other.kept[of]);
            // What does not parse is no choices.
            if serde_json::from_value::<TuningCache>(kept.clone()).is_err() {
                kept = before;
            }
        }
        let choices: TuningCache = serde_json::from_value(kept).unwrap();
        let options = if is_measured { measured(threads) } else { estimated(threads) };
        let program = Program::compile_with(&base.model, options, &choices).unwrap();
        for (batch, input, expected) in &base.batches {
            let found = program.run(input, *batch).unwrap();
            prop_assert!(found == *expected, "batch {batch}: {choices:?}");
        }
    }
}
