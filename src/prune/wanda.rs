use burn::tensor::Tensor;

use super::{Missing, Need, Pruner, Weight};

/// `|w| * ||x||_2`, compared within each output channel (Sun et al. 2024, "A Simple and Effective
/// Pruning Approach for Large Language Models"): for pruning without training.
///
/// The score is the weight's rank within its channel, as a share of the channel's weights. So each
/// channel of each layer loses the same share, in any [`Scope`](super::Scope). Sorting may wait for the
/// device. Needs no gradients.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::prune::{Missing, Pruner, Wanda, Weight};
/// let device = Device::default();
/// let weight = Weight::new("fc.weight", Tensor::from_data([[1.0, -2.0], [3.0, 5.0]], &device))
///     .with_input_norms(Tensor::from_data([[9.0, 2.0], [9.0, 2.0]], &device));
/// let scores = Wanda.score(weight)?; // of products 9 and 4, 27 and 10
/// assert_eq!(scores.into_data().to_vec::<f32>().unwrap(), [0.75, 0.25, 0.75, 0.25]);
/// # Ok::<(), Missing>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanda;

impl Pruner for Wanda {
    fn name(&self) -> &str {
        "wanda"
    }

    fn needs(&self) -> &[Need] {
        &[Need::InputNorms]
    }

    fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing> {
        let products = weight.input_norms()? * weight.values.abs();
        let [_, columns] = products.dims();
        // What is not finite must not hide behind a rank.
        let invalid = products.clone() * 0.0;
        // The place of each weight in the sorted order is what sorts that order.
        let rank = products.argsort(1).argsort(1).float();
        Ok((rank + 0.5) / columns as f64 + invalid)
    }
}
