//! The accuracy of a classifier.

use burn::tensor::{Device, Tensor};

use super::Dataset;

/// The percentage of `data` that `forward` gives the right label.
///
/// `device` is the plain one: evaluation needs no gradients, and batch norm its running statistics.
pub fn accuracy(
    data: &impl Dataset,
    device: &Device,
    forward: impl Fn(Tensor<4>) -> Tensor<2>,
) -> f64 {
    const BATCH: usize = 250;
    assert!(
        !device.is_autodiff(),
        "evaluate on a device without autodiff"
    );
    let indices: Vec<usize> = (0..data.len()).collect();
    let right: i64 = (indices.chunks(BATCH))
        .map(|indices| {
            let (images, labels) = data.batch(indices, device);
            let guesses = forward(images).argmax(1).squeeze_dim::<1>(1);
            guesses.equal(labels).int().sum().into_scalar::<i64>()
        })
        .sum();
    100.0 * right as f64 / data.len() as f64
}
