//! Layers whose weights are all equal, or all zero: a box filter, a branch that begins at zero.

use burn::module::{Module, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn_compress::compress::{Plan, Quantization, load};
use burn_compress::format::{Granularity, Mapping, Payload, Scheme};
use burn_compress::quantize::{LeastSquares, MinMax, Percentile, Quantizer};

use super::device::device;
use super::models::values;
use super::quantized::{How, assert_simulates, input, quantized};

/// A box filter, and beside it a branch of zeros.
#[derive(Module, Debug)]
struct Boxes {
    blur: Conv2d,
    branch: Conv2d,
}

impl Boxes {
    fn new(value: f32) -> Self {
        let conv = |value: f32| {
            let conv = Conv2dConfig::new([2, 2], [3, 3])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(&device());
            let weight = Tensor::full([2, 2, 3, 3], value, &device());
            Conv2d {
                weight: Param::from_tensor(weight),
                ..conv
            }
        };
        Self {
            blur: conv(value),
            branch: conv(0.0),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let blurred = relu(self.blur.forward(x));
        blurred.clone() + self.branch.forward(blurred)
    }
}

fn quantizers() -> Vec<Box<dyn Fn(Quantization) -> Quantization>> {
    fn by(quantizer: impl Quantizer + Copy + 'static) -> Box<dyn Fn(Quantization) -> Quantization> {
        Box::new(move |quantization| quantization.by(quantizer))
    }
    vec![by(MinMax), by(LeastSquares), by(Percentile::default())]
}

#[test]
fn weights_that_are_all_equal_have_exact_codes() {
    for value in [1.0f32 / 9.0, -0.25, 3e-5] {
        for by in quantizers() {
            for (bits, mapping, granularity) in [
                (8, Mapping::Symmetric, Granularity::Channel),
                (2, Mapping::Symmetric, Granularity::Tensor),
                (4, Mapping::Affine, Granularity::Channel),
                (8, Mapping::Affine, Granularity::Group(9)),
            ] {
                let scheme = Scheme::new(bits, mapping, granularity).unwrap();
                let plan = Plan::new().quantize(by(Quantization::to(scheme)));
                let compressed = plan.apply(Boxes::new(value)).unwrap();
                let blur = values(compressed.module.blur.weight.val());
                let close = |found: &f32| (found - value).abs() <= 1e-6 * value.abs();
                assert!(
                    blur.iter().all(close),
                    "{scheme:?}: {}, not {value}",
                    blur[0]
                );
                assert!(
                    values(compressed.module.branch.weight.val())
                        .iter()
                        .all(|w| *w == 0.0)
                );

                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("boxes.bcm");
                compressed.save(&path).unwrap();
                let loaded = load(&path, Boxes::new(0.5)).unwrap();
                assert_eq!(values(loaded.blur.weight.val()), blur);
                let entry = compressed.archive().entries.iter();
                let entry = entry
                    .clone()
                    .find(|entry| entry.path == "branch.weight")
                    .unwrap();
                let Payload::Quantized(zeros) = &entry.payload else {
                    panic!("{:?}", entry.payload)
                };
                let points = zeros.zero_points();
                let length = zeros.codes().len() / points.len();
                for (codes, point) in zeros.codes().chunks(length).zip(points) {
                    assert!(codes.iter().all(|code| code == point));
                }
            }
        }
    }
}

#[test]
fn integers_and_the_engine_compute_with_them() {
    for value in [1.0f32 / 9.0, -0.25] {
        let model = Boxes::new(value);
        let batches = [input([2, 2, 6, 6], 5, &device())];
        let (quantized, _) = quantized(model.clone(), How::bits(8, 8), Boxes::forward, &batches);
        assert!(quantized.in_float().is_empty());
        let integers = assert_simulates::<_, 4, 4>(&quantized, [1, 2, 6, 6], "boxes");
        let (found, _) = integers.run(&values(batches[0].clone()), 2).unwrap();
        let expected = values(model.forward(batches[0].clone()));
        let largest = expected.iter().fold(0.0f32, |max, x| max.max(x.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= 0.02 * largest,
                "{found}, not {expected}"
            );
        }
    }
    // Zeros alone.
    let batches = [input([2, 2, 6, 6], 5, &device())];
    let (quantized, _) = quantized(Boxes::new(0.0), How::bits(8, 8), Boxes::forward, &batches);
    assert_simulates::<_, 4, 4>(&quantized, [1, 2, 6, 6], "zeros");
}
