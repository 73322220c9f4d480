use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};

use super::super::simulate::{Reads, weights};
use super::super::{Graph, GraphError, Parameter};
use super::pairs::{Found, find};
use super::scaling::Values;
use crate::compress::{Attached, Compression};

/// Two products that were equalized.
///
/// ```
/// # use burn_compress::graph::repair::Pair;
/// fn show(pair: &Pair) -> String {
///     format!("{} and {}", pair.first, pair.second)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The layer whose output channels were rescaled.
    pub first: String,
    /// The layer that undoes it.
    pub second: String,
}

/// A module whose weights are equalized, and where.
///
/// ```
/// # use burn_compress::graph::repair::Equalized;
/// fn count<M>(equalized: &Equalized<M>) -> usize {
///     equalized.pairs.len()
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Equalized<M> {
    /// The module, which computes the same as before.
    pub module: M,
    /// The pairs that were equalized, in the order of the forward pass.
    pub pairs: Vec<Pair>,
}

/// Cross-layer equalization (Nagel et al. 2019, section 4.1): where one convolution or linear layer
/// feeds another, each channel between them is divided by a factor in the first and multiplied by it in
/// the second, so that its weights have the same range in both: `√(r1 r2)` for the ranges `r1`, `r2`.
/// The module computes the same; channels that share a scale, as those of an activation do, and those of
/// weights quantized per tensor, then lose less to rounding.
///
/// Ranges are those of the effective weights, `w gamma / sqrt(variance + epsilon)` where a batch norm
/// follows; the factor goes into that norm's gamma and beta, or else into weight and bias. Chains, such
/// as depthwise convolutions between pointwise ones, are gone through until nothing moves any more.
///
/// `graph` is one of this module. A pair is left as it is where anything else reads what is between, a
/// parameter is used twice, or a function is between that does not scale with its argument (a ReLU and a
/// pooling do; a ReLU6, a sigmoid or a normalization that was not folded do not). Channels of which one
/// side is all zero are left, too.
///
/// Equalize before anything is attached. Fails with [`GraphError::Parameter`] where the module is not
/// the graph's or carries a compression, or where a weight is not finite.
///
/// ```
/// use burn::module::Module;
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor, activation::relu};
/// use burn_compress::graph::{Graph, repair::equalize};
///
/// #[derive(Module, Debug)]
/// struct Two {
///     one: Linear,
///     two: Linear,
/// }
/// let device = Device::default();
/// let (one, two) = (LinearConfig::new(4, 8), LinearConfig::new(8, 2));
/// let model = Two { one: one.init(&device), two: two.init(&device) };
/// let forward = |model: &Two, x: Tensor<2>| model.two.forward(relu(model.one.forward(x)));
/// let graph = Graph::capture(&model, [1, 4], forward)?;
/// let equalized = equalize(&graph, model)?;
/// assert_eq!((equalized.pairs[0].first.as_str(), equalized.pairs.len()), ("one", 1));
/// # Ok::<(), burn_compress::graph::GraphError>(())
/// ```
pub fn equalize<M: Module>(graph: &Graph, module: M) -> Result<Equalized<M>, GraphError> {
    let graph = graph.clone().simplify();
    let pairs = find(&graph);
    // Shares no running statistics with a clone that the caller keeps.
    let module = Compression::snapshot(&module);
    let before = read(&graph, &module)?;
    let mut values = Values(before.clone());
    for _ in 0..SWEEPS {
        let mut greatest = 0.0f64;
        for pair in &pairs {
            greatest = greatest.max(balance(&graph, &mut values, *pair));
        }
        if greatest < SETTLED {
            break;
        }
    }
    let parameters = graph.parameters.iter().zip(before).zip(values.0);
    let changed = parameters.filter(|((_, before), after)| before != after);
    let mut put = Put {
        path: Vec::new(),
        values: changed
            .map(|((parameter, _), after)| (parameter.path.clone(), held(parameter, after)))
            .collect(),
    };
    let module = module.map(&mut put);
    let layer = |index: usize| graph.nodes[index].layer.clone();
    let pairs = pairs.iter().map(|pair| Pair {
        first: layer(pair.first),
        second: layer(pair.second),
    });
    Ok(Equalized {
        module,
        pairs: pairs.collect(),
    })
}

// Most times that all pairs are gone through, and the logarithm of a factor that no longer counts.
const SWEEPS: usize = 100;
const SETTLED: f64 = 1e-6;

// Equalizes a pair; the greatest logarithm of a factor.
fn balance(graph: &Graph, values: &mut Values, Found { first, second }: Found) -> f64 {
    let ranges = values.ranges(graph, first, false);
    let factors: Vec<f64> = ranges
        .into_iter()
        .zip(values.ranges(graph, second, true))
        .map(|(one, two)| {
            let factor = (one / two).sqrt();
            match factor.is_normal() {
                true => factor,
                false => 1.0,
            }
        })
        .collect();
    let inverse: Vec<f64> = factors.iter().map(|factor| factor.recip()).collect();
    values.scale_outputs(graph, first, &inverse);
    values.scale_inputs(graph, second, &factors);
    let sizes = factors.iter().map(|factor| factor.ln().abs());
    sizes.fold(0.0, f64::max)
}

fn read<M: Module>(graph: &Graph, module: &M) -> Result<Vec<Vec<f64>>, GraphError> {
    let plain = module.valid();
    let weights = weights(graph, &plain, &Attached::default(), &Reads::default())?;
    let parameters = graph.parameters.iter().zip(weights);
    parameters
        .map(|(parameter, weight)| {
            let values = weight.values().read(&parameter.path)?;
            if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                return Err(GraphError::Parameter {
                    path: parameter.path.clone(),
                    what: format!("it holds {value}"),
                });
            }
            Ok(values.into_iter().map(f64::from).collect())
        })
        .collect()
}

// Values as the graph reads them, in the order in which the module holds them.
fn held(parameter: &Parameter, values: Vec<f64>) -> Vec<f64> {
    match (parameter.transposed, parameter.dims.as_slice()) {
        (true, &[rows, columns]) => (0..values.len())
            .map(|place| values[place % columns * rows + place / columns])
            .collect(),
        _ => values,
    }
}

// Puts values in place; parameters train on as before.
struct Put {
    path: Vec<String>,
    values: HashMap<String, Vec<f64>>,
}

impl ModuleMapper for Put {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.values.remove(&self.path.join(".")) else {
            return param;
        };
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        param.map(|old| {
            let data = TensorData::new(values, old.dims());
            let new = Tensor::from_data(data, (&old.device(), old.dtype()));
            new.set_require_grad(old.is_require_grad())
        })
    }
}
