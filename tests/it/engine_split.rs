//! A network whose images are too large for several at once: its first layers run image by image, the
//! others together, by sixteens or by fours.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn_compress::engine::{EngineError, Options, Program, Tuning, TuningCache};
use burn_compress::graph::Graph;
use burn_compress::kernel::{Kernels, VectorBlock};
use burn_compress::network::Network;
use serde_json::json;

use super::backends::device::{device, leaves_out};
use super::backends::graph_models::randomized;
use super::backends::quantized::{How, input, quantized};
use super::runs::{images, isas, options};

const SIDE: usize = 336;

#[derive(Module, Debug)]
struct Large {
    pool: MaxPool2d,
    conv1: Conv2d,
    norm1: BatchNorm,
    conv2: Conv2d,
    conv3: Conv2d,
    conv4: Conv2d,
    mean: AdaptiveAvgPool2d,
    linear: Linear,
}

impl Large {
    fn new(device: &Device) -> Self {
        let conv = |channels: [usize; 2], stride: usize| {
            Conv2dConfig::new(channels, [3, 3])
                .with_stride([stride; 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        Self {
            pool: MaxPool2dConfig::new([8, 8]).with_strides([8, 8]).init(),
            conv1: conv([3, 9], 2),
            norm1: BatchNormConfig::new(9).init(device),
            conv2: conv([9, 9], 1),
            conv3: conv([9, 12], 2),
            conv4: conv([12, 6], 1),
            mean: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            linear: LinearConfig::new(6, 5).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(images);
        let x = relu(self.norm1.forward(self.conv1.forward(x)));
        let x = relu(self.conv2.forward(x.clone()) + x);
        let x = relu(self.conv4.forward(relu(self.conv3.forward(x))));
        self.linear.forward(self.mean.forward(x).flatten(1, 3))
    }
}

pub fn integers() -> Network {
    let device = device();
    let batches = [input([2, 3, SIDE, SIDE], 5, &device)];
    let module = randomized(Large::new(&device));
    let (quantized, _) = quantized(
        module,
        How::bits(8, 8).pruned(0.6),
        Large::forward,
        &batches,
    );
    quantized.to_integer().unwrap()
}

fn is_split(program: &Program) -> bool {
    assert_eq!(conversions(program, 1), 0, "one image is not converted");
    conversions(program, VectorBlock::LANES) > 0
}

fn conversions(program: &Program, batch: usize) -> usize {
    let rows = program.layers(batch).iter();
    rows.filter(|row| row.kernel == "layout conversion").count()
}

// From the first layer on.
fn images_of_passes(program: &Program) -> Vec<usize> {
    let rows = program.layers(VectorBlock::LANES).iter();
    let mut images: Vec<usize> = rows.map(|row| row.samples).collect();
    images.dedup();
    images
}

// The same, four images together instead of sixteen; and four first, then sixteen.
fn by_fours(model: &Network, program: &Program, options: Options) -> [Program; 2] {
    let mut choices = serde_json::to_value(program.tuning_cache()).unwrap();
    let first = &mut choices["many"][0];
    assert_eq!(first["samples"], json!(16));
    first["samples"] = json!(4);
    let cut = first["boundary"].as_u64().unwrap();
    let kept: TuningCache = serde_json::from_value(choices.clone()).unwrap();
    let four = Program::compile_with(model, options, &kept).unwrap();
    assert_eq!(four.tuning_cache(), &kept);
    assert_eq!([3, 4, 16].map(|batch| conversions(&four, batch)), [0, 1, 1]);
    // Somewhere behind that, one tensor alone goes on.
    let later = (1..9).find_map(|further| {
        let mut choices = choices.clone();
        let next = json!({ "samples": 16, "boundary": cut + further, "kernels": [] });
        choices["many"].as_array_mut().unwrap().push(next);
        let choices: TuningCache = serde_json::from_value(choices).unwrap();
        let program = Program::compile_with(model, options, &choices).unwrap();
        (conversions(&program, 16) == 2).then_some(program)
    });
    let both = later.unwrap();
    assert_eq!([3, 4, 15].map(|batch| conversions(&both, batch)), [0, 1, 1]);
    assert_eq!(
        [images_of_passes(&four), images_of_passes(&both)],
        [vec![1, 4], vec![1, 4, 16]]
    );
    let again = Program::compile_with(model, options, both.tuning_cache()).unwrap();
    assert_eq!(again.tuning_cache(), both.tuning_cache());
    [four, both]
}

#[test]
fn the_reference_bit_for_bit() {
    if leaves_out("the_reference_bit_for_bit") {
        return;
    }
    let model = integers();
    let input = images(&model, 35, 1);
    let (expected, _) = model.run(&input, 35).unwrap();
    let each = expected.len() / 35;
    let best = Kernels::detect().isa();
    for isa in isas() {
        // Large images take their time without optimization: the best set alone runs them all.
        let (threads, batches): (&[usize], &[usize]) = match isa == best {
            true => (&[1, 2, 3], &[5, 16, 35]),
            false => (&[2], &[19]),
        };
        for &threads in threads {
            let sixteen = Program::compile(&model, options(isa, threads)).unwrap();
            assert!(is_split(&sixteen));
            let [four, both] = by_fours(&model, &sixteen, options(isa, threads));
            for &batch in batches {
                let input = &input[..input.len() / 35 * batch];
                for program in [&sixteen, &four, &both] {
                    let found = program.run(input, batch).unwrap();
                    assert_eq!(found, expected[..each * batch], "{isa:?} {threads} {batch}");
                }
            }
        }
    }
}

#[test]
fn measured_and_kept_cuts() {
    if leaves_out("measured_and_kept_cuts") {
        return;
    }
    let model = integers();
    let program = Program::compile(&model, Options::default()).unwrap();
    let input = images(&model, 16, 2);
    let (expected, _) = model.run(&input, 16).unwrap();
    assert_eq!(program.run(&input, 16).unwrap(), expected);
    // Whether it pays is the machine's to say; every operation's time is told.
    assert!(
        program
            .layers(16)
            .iter()
            .all(|row| row.microseconds.is_some())
    );

    let estimated = Options {
        tuning: Tuning::Estimated,
        ..Options::default()
    };
    for options in [Options::default(), estimated] {
        let program = Program::compile(&model, options).unwrap();
        let kept = serde_json::to_string(program.tuning_cache()).unwrap();
        let kept: TuningCache = serde_json::from_str(&kept).unwrap();
        let again = Program::compile_with(&model, options, &kept).unwrap();
        assert_eq!(again.tuning_cache(), program.tuning_cache());
        assert_eq!(is_split(&again), is_split(&program));
        assert_eq!(again.run(&input, 16).unwrap(), expected);
    }
}

#[test]
fn floats_too() {
    let device = device();
    let module = randomized(Large::new(&device));
    let graph = Graph::capture(&module, [1, 3, SIDE, SIDE], Large::forward).unwrap();
    let model = graph.simplify().to_float_model(&module).unwrap();
    let program = Program::compile(&model, options(Kernels::detect().isa(), 2)).unwrap();
    assert!(is_split(&program));
    let [four, both] = by_fours(&model, &program, options(Kernels::detect().isa(), 2));
    let input = images(&model, 16, 3);
    let (expected, _) = model.run(&input, 16).unwrap();
    for program in [program, four, both] {
        let found = program.run(&input, 16).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0));
        }
    }
}

#[test]
fn what_is_not_finite_is_found() {
    if leaves_out("what_is_not_finite_is_found") {
        return;
    }
    let model = integers();
    let program = Program::compile(&model, options(Kernels::detect().isa(), 2)).unwrap();
    let [four, both] = by_fours(&model, &program, options(Kernels::detect().isa(), 2));
    let images = images(&model, 17, 4);
    // Among those that go together on one thread or on two, and alone.
    for image in [1, 6, 9, 13, 16] {
        let mut input = images.clone();
        let each = input.len() / 17;
        input[each * image + 1234] = f32::INFINITY;
        for program in [&program, &four, &both] {
            let found = program.run(&input, 17);
            match found {
                Err(EngineError::NotFinite {
                    sample, element, ..
                }) => assert_eq!((sample, element), (image, 1234)),
                other => panic!("{other:?}"),
            }
        }
        assert!(four.run(&images, 17).is_ok() && both.run(&images, 17).is_ok());
    }
}

#[test]
fn runs_at_once_share_the_threads() {
    if leaves_out("runs_at_once_share_the_threads") {
        return;
    }
    let model = integers();
    let program = Program::compile(&model, options(Kernels::detect().isa(), 2)).unwrap();
    let input = images(&model, 16, 6);
    let (expected, _) = model.run(&input, 16).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..2 {
                    assert_eq!(program.run(&input, 16).unwrap(), expected);
                }
            });
        }
    });
}
