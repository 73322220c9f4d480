use burn::tensor::{Tensor, TensorData};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Missing, Need, Weight};

/// A criterion: how much each weight matters. The lowest scores are removed first.
///
/// Object-safe, so that an application can bring its own. One that looks at more than weights names it in
/// [`needs`](Self::needs) and finds it in the [`Weight`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::prune::{Missing, Pruner, Weight};
/// /// Prefers large weights in rows that are large as a whole.
/// struct RowNorm;
/// impl Pruner for RowNorm {
///     fn name(&self) -> &str {
///         "row_norm"
///     }
///     fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing> {
///         let size = weight.values.abs();
///         Ok(size.clone() * size.sum_dim(1))
///     }
/// }
/// let values = Tensor::<2>::from_data([[1.0, -2.0]], &Device::default());
/// let scores = RowNorm.score(Weight::new("fc.weight", values))?;
/// assert_eq!(scores.into_data().to_vec::<f32>().unwrap(), [3.0, 6.0]);
/// # Ok::<(), Missing>(())
/// ```
pub trait Pruner: Send + Sync {
    /// The name that a recipe and a report show.
    fn name(&self) -> &str;

    /// The observations that [`score`](Self::score) reads; none by default, which costs nothing.
    fn needs(&self) -> &[Need] {
        &[]
    }

    /// A finite score for each weight, of the same shape and on the same device. Fails with the
    /// [`Missing`] observation of the weight's methods.
    fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing>;
}

/// Small weights go first: the score is the absolute value (Han et al. 2015, "Learning both Weights
/// and Connections for Efficient Neural Networks").
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::prune::{Magnitude, Pruner, Weight};
/// let values = Tensor::<2>::from_data([[1.0, -2.0]], &Device::default());
/// let scores = Magnitude.score(Weight::new("fc.weight", values))?;
/// assert_eq!(scores.into_data().to_vec::<f32>().unwrap(), [1.0, 2.0]);
/// # Ok::<(), burn_compress::prune::Missing>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Magnitude;

impl Pruner for Magnitude {
    fn name(&self) -> &str {
        "magnitude"
    }

    fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing> {
        Ok(weight.values.abs())
    }
}

/// Any weight may go: the control that every criterion has to beat.
///
/// The score depends on the seed, the path and the place alone, so that the weights removed at a
/// level are among those removed at a higher one.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_compress::prune::{Pruner, Random, Weight};
/// let values = Tensor::<2>::ones([2, 2], &Device::default());
/// let score = |path| Random { seed: 1 }.score(Weight::new(path, values.clone()));
/// score("a")?.into_data().assert_eq(&score("a")?.into_data(), true);
/// # Ok::<(), burn_compress::prune::Missing>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Random {
    /// Seed of the scores.
    pub seed: u64,
}

impl Pruner for Random {
    fn name(&self) -> &str {
        "random"
    }

    fn score(&self, weight: Weight<'_>) -> Result<Tensor<2>, Missing> {
        let path = u64::from(crc32fast::hash(weight.path.as_bytes()));
        let mut random = StdRng::seed_from_u64(self.seed ^ (path << 32));
        let [rows, columns] = weight.values.dims();
        let scores: Vec<f32> = (0..rows * columns).map(|_| random.random()).collect();
        Ok(Tensor::from_data(
            TensorData::new(scores, [rows, columns]),
            &weight.values.device(),
        ))
    }
}
