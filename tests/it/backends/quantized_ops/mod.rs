//! Each operation between two quantized products, so that it is computed in integers: the simulation
//! gives the integer form's numbers, at every number of bits and for every input.

mod elements;
mod products;
mod windows;

use burn::module::{Module, ModuleDisplay};
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::Tensor;
use burn_compress::format::{Granularity, Mapping};
use burn_compress::graph::Quantized;
use burn_compress::network::Network;

use super::device::device;
use super::graph_models::randomized;
use super::models::values;
use super::quantized::{How, assert_simulates, float_steps, input, quantized, steps};

/// A layer between two linear ones, which give and take codes: on the last axis, and on all elements of
/// an image.
#[derive(Module, Debug)]
struct Between<L: Module + ModuleDisplay> {
    before: Linear,
    layer: L,
    after: Linear,
}

impl<L: Module + ModuleDisplay> Between<L> {
    fn forward<const D: usize, const E: usize>(
        &self,
        x: Tensor<D>,
        layer: &impl Fn(&L, Tensor<D>) -> Tensor<E>,
    ) -> Tensor<2> {
        let y = layer(&self.layer, self.before.forward(x));
        let images = y.dims()[0];
        let each = y.dims().iter().skip(1).product();
        self.after.forward(y.reshape([images, each]))
    }
}

fn between<L: Module + ModuleDisplay, const D: usize, const E: usize>(
    layer: L,
    shape: [usize; D],
    forward: &impl Fn(&L, Tensor<D>) -> Tensor<E>,
) -> Between<L> {
    let device = device();
    let output = forward(&layer, Tensor::zeros(shape, &device)).dims();
    let each = output.iter().skip(1).product();
    randomized(Between {
        before: LinearConfig::new(shape[D - 1], shape[D - 1]).init(&device),
        layer,
        after: LinearConfig::new(each, 3).init(&device),
    })
}

fn hows() -> Vec<How> {
    use Granularity::{Channel, Tensor};
    use Mapping::{Affine, Symmetric};
    vec![
        How::new((8, Symmetric, Channel), (8, Affine)),
        How::new((8, Affine, Tensor), (8, Symmetric)),
        How::new((7, Affine, Channel), (6, Affine)).pruned(0.5),
        How::new((5, Symmetric, Tensor), (5, Symmetric)),
        How::new((4, Symmetric, Channel), (4, Affine)).pruned(0.3),
        How::new((3, Affine, Channel), (3, Affine)),
        How::new((2, Symmetric, Channel), (2, Affine)),
        How::new((2, Affine, Tensor), (2, Symmetric)),
    ]
}

// Where sums of codes of 16 bits stay within the integers that floats hold.
fn wide() -> How {
    let weights = (2, Mapping::Symmetric, Granularity::Channel);
    How::new(weights, (16, Mapping::Affine))
}

fn of<L: Module + ModuleDisplay, const D: usize, const E: usize>(
    layer: L,
    shape: [usize; D],
    how: How,
    forward: &impl Fn(&L, Tensor<D>) -> Tensor<E>,
) -> Quantized<Between<L>> {
    let mut two = shape;
    two[0] = 2;
    let batches = [input(two, 21, &device()), input(shape, 22, &device())];
    let module = between(layer, shape, forward);
    let run = |module: &Between<L>, x| module.forward(x, forward);
    quantized(module, how, run, &batches).0
}

/// In integers, and equal, however it is quantized. Gives the steps.
#[track_caller]
fn check<L: Module + ModuleDisplay, const D: usize, const E: usize>(
    layer: L,
    shape: [usize; D],
    forward: impl Fn(&L, Tensor<D>) -> Tensor<E>,
) -> Vec<&'static str> {
    check_at(&hows(), layer, shape, forward)
}

#[track_caller]
fn check_at<L: Module + ModuleDisplay, const D: usize, const E: usize>(
    hows: &[How],
    layer: L,
    shape: [usize; D],
    forward: impl Fn(&L, Tensor<D>) -> Tensor<E>,
) -> Vec<&'static str> {
    let mut names = Vec::new();
    for &how in hows {
        let quantized = of(layer.clone(), shape, how, &forward);
        let what = format!("{how:?}");
        assert!(
            quantized.in_float().is_empty(),
            "{what}: {:?}",
            quantized.in_float()
        );
        let integers: Network = assert_simulates::<_, D, 2>(&quantized, shape, &what);
        assert_eq!(float_steps(&integers), [""; 0], "{what}");
        names = steps(&integers);
    }
    assert_faithful(layer, shape, &forward);
    names
}

/// At 8 bits it answers about as the module in float: simulation and integer form could agree on
/// something else.
#[track_caller]
fn assert_faithful<L: Module + ModuleDisplay, const D: usize, const E: usize>(
    layer: L,
    shape: [usize; D],
    forward: &impl Fn(&L, Tensor<D>) -> Tensor<E>,
) {
    let how = How::new(
        (8, Mapping::Symmetric, Granularity::Channel),
        (8, Mapping::Affine),
    );
    let integers = of(layer.clone(), shape, how, forward).to_integer().unwrap();
    let mut two = shape;
    two[0] = 2;
    // As calibration saw it.
    let input = input(two, 21, &device());
    let (found, _) = integers.run(&values(input.clone()), 2).unwrap();
    let expected = values(between(layer, shape, forward).forward(input, forward));
    let largest = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    let error: f32 = found
        .iter()
        .zip(&expected)
        .map(|(a, b)| (a - b).abs())
        .sum();
    let error = error / found.len() as f32 / largest;
    assert!(error < 0.03, "{error}: {found:?}, not {expected:?}");
}

/// The same of a function of its own.
#[track_caller]
fn check_function<const D: usize, const E: usize>(
    shape: [usize; D],
    function: impl Fn(Tensor<D>) -> Tensor<E>,
) -> Vec<&'static str> {
    check(Vec::<Linear>::new(), shape, |_, x| function(x))
}

fn same2(padding: [usize; 4]) -> PaddingConfig2d {
    let [top, left, bottom, right] = padding;
    PaddingConfig2d::Explicit(top, left, bottom, right)
}

fn conv2d(config: Conv2dConfig) -> Conv2d {
    config.init(&device())
}

fn conv1d(config: Conv1dConfig) -> Conv1d {
    config.init(&device())
}
