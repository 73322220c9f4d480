use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId, Reparameterization};
use burn::tensor::{Bool, Int, Tensor};

use super::{CompressError, CompressedWeight, groups};
use crate::format::WeightView;

/// A parameter of a module, as far as compression needs to know it.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let layers = burn_compress::compress::layers(&model)?;
/// assert_eq!(layers[0].path, "weight");
/// assert_eq!(layers[0].view.rows(), 2);
/// assert!(layers[0].is_weight && !layers[1].is_weight);
/// assert!(layers[0].trains && layers[0].groups_known);
/// # Ok::<(), burn_compress::compress::CompressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// Path in the module, such as `layer1.0.conv1.weight`.
    pub path: String,
    /// The parameter as a matrix of output channels: axis 0 of a convolution, axis 1 of burn-nn's linear
    /// layers and transposed convolutions. A parameter of neither counts axis 0, `[out, in]`, as
    /// `x.matmul(w.transpose())` uses it.
    pub view: WeightView,
    /// Whether it is the weight of a convolution or a linear layer: what is compressed by default.
    pub is_weight: bool,
    /// Whether it requires a gradient: not where it was frozen (`no_grad`, `freeze`). On a device
    /// without gradients, what it does once the module trains.
    pub trains: bool,
    /// Whether the groups of a transposed convolution are known: those that its bias has, or that its
    /// `Debug` prints as burn-nn's layers do. Where they are not, [`Selection::groups`] states them.
    ///
    /// [`Selection::groups`]: super::Selection::groups
    pub groups_known: bool,
}

/// The float parameters of a module, in the order in which it holds them. Fails where one already
/// carries a reparameterization.
pub fn layers<M: Module>(module: &M) -> Result<Vec<Layer>, CompressError> {
    let mut visitor = Collect::default();
    module.visit(&mut visitor);
    if let Some((layer, name)) = visitor.occupied {
        return Err(CompressError::Occupied { layer, name });
    }
    let Collect { found, biases, .. } = visitor;
    let layers = found.into_iter().map(|found| {
        let mut layer = found.layer;
        if !found.in_groups {
            return layer;
        }
        let dims = layer.view.dims().to_vec();
        // One input channel is one group.
        let groups = match (biases.get(&found.container), &dims[..]) {
            (_, [0 | 1, ..] | [_, 0, ..]) => Some(1),
            (Some(bias), [_, outputs, ..]) => bias.is_multiple_of(*outputs).then(|| bias / outputs),
            _ => groups::printed(module, found.id),
        };
        let view = groups.and_then(|groups| WeightView::grouped(dims, 1, groups).ok());
        layer.groups_known = view.is_some();
        if let Some(view) = view {
            layer.view = view;
        }
        layer
    });
    Ok(layers.collect())
}

#[derive(Default)]
struct Collect {
    path: Vec<String>,
    containers: Vec<String>,
    found: Vec<Found>,
    /// The length of the bias in each container, by the container's path.
    biases: HashMap<Vec<String>, usize>,
    occupied: Option<(String, String)>,
}

struct Found {
    layer: Layer,
    /// Path of what holds it.
    container: Vec<String>,
    id: ParamId,
    /// Whether its rows depend on groups that it does not show.
    in_groups: bool,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        if container_type == "Reparameterization" {
            self.occupied
                .get_or_insert((self.path.join("."), name.to_string()));
        }
        self.path.push(name.to_string());
        self.containers.push(container_type.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let container = self.containers.last().map_or("", String::as_str);
        let (name, within) = match self.path.split_last() {
            Some((name, within)) => (name.as_str(), within.to_vec()),
            None => ("", Vec::new()),
        };
        let kind = container.strip_prefix("Struct:").unwrap_or(container);
        let convolution = D > 2 && (kind.starts_with("Conv") || kind.starts_with("DeformConv"));
        let transposed = convolution && kind.starts_with("ConvTranspose");
        let linear = D == 2 && kind == "Linear";
        // Burn holds [out, in, …] in convolutions, [in, out, …] in linear layers and transposed
        // convolutions.
        let output_axis = usize::from(linear || transposed);
        // Not the lazy shape: a linear layer in column layout tells its own before it is transposed.
        let dims = param.shape().as_slice().to_vec();
        if let ([length], "bias") = (&dims[..], name) {
            self.biases.insert(within.clone(), *length);
        }
        // Rank 0 has no axis: such a scalar is never compressed.
        if let Ok(view) = WeightView::new(dims, output_axis) {
            self.found.push(Found {
                layer: Layer {
                    path: self.path.join("."),
                    view,
                    is_weight: name == "weight" && (convolution || linear),
                    trains: trains(param),
                    groups_known: true,
                },
                container: within,
                id: param.id,
                in_groups: transposed,
            });
        }
    }

    fn visit_int<const D: usize>(&mut self, _param: &Param<Tensor<D, Int>>) {}

    fn visit_bool<const D: usize>(&mut self, _param: &Param<Tensor<D, Bool>>) {}
}

// A parameter on a device without gradients keeps the setting for the change to training.
fn trains<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    let base = param.base();
    match base.is_autodiff() {
        true => base.is_require_grad(),
        false => param.clone().train().base().is_require_grad(),
    }
}

/// Splits the path of a parameter of a reparameterization of ours into its layer and its name.
pub(crate) fn attached_part(path: &str) -> Option<(&str, &str)> {
    let (rest, part) = path.rsplit_once('.')?;
    let (layer, name) = rest.rsplit_once('.').unwrap_or(("", rest));
    (name == CompressedWeight::NAME).then_some((layer, part))
}
