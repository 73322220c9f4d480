use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor};

use super::{AttachError, CompressedWeight};
use crate::format::WeightView;
use burn::module::Reparameterization;

/// A parameter of a module, as far as compression needs to know it.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let layers = burn_compress::attach::layers(&model)?;
/// assert_eq!(layers[0].path, "weight");
/// assert_eq!(layers[0].view.rows(), 2);
/// assert!(layers[0].is_weight && !layers[1].is_weight);
/// # Ok::<(), burn_compress::attach::AttachError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Path in the module, such as `layer1.0.conv1.weight`.
    pub path: String,
    /// The parameter as a matrix of output channels: axis 0 of a convolution, axis 1 of burn-nn's linear
    /// layers and transposed convolutions. A parameter of neither counts axis 0, `[out, in]`, as
    /// `x.matmul(w.transpose())` uses it.
    pub view: WeightView,
    /// Whether it is the weight of a convolution or a linear layer: what is compressed by default.
    pub is_weight: bool,
}

/// The float parameters of a module, in the order in which it holds them. Fails where one already
/// carries a reparameterization.
pub fn layers<M: Module>(module: &M) -> Result<Vec<Layer>, AttachError> {
    let mut visitor = Collect::default();
    module.visit(&mut visitor);
    match visitor.occupied {
        Some((layer, name)) => Err(AttachError::Occupied { layer, name }),
        None => Ok(visitor.layers),
    }
}

#[derive(Default)]
struct Collect {
    path: Vec<String>,
    containers: Vec<String>,
    layers: Vec<Layer>,
    occupied: Option<(String, String)>,
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
        let name = self.path.last().map_or("", String::as_str);
        let kind = container.strip_prefix("Struct:").unwrap_or(container);
        let convolution = D > 2 && (kind.starts_with("Conv") || kind.starts_with("DeformConv"));
        let linear = D == 2 && kind == "Linear";
        // Burn holds [out, in, …] in convolutions, [in, out, …] in linear layers and transposed
        // convolutions.
        let output_axis = usize::from(linear || convolution && kind.starts_with("ConvTranspose"));
        // Not the lazy shape: a linear layer in column layout tells its own before it is transposed.
        let dims = param.shape().as_slice().to_vec();
        // Rank 0 has no axis: such a scalar is never compressed.
        if let Ok(view) = WeightView::new(dims, output_axis) {
            self.layers.push(Layer {
                path: self.path.join("."),
                view,
                is_weight: name == "weight" && (convolution || linear),
            });
        }
    }

    fn visit_int<const D: usize>(&mut self, _param: &Param<Tensor<D, Int>>) {}

    fn visit_bool<const D: usize>(&mut self, _param: &Param<Tensor<D, Bool>>) {}
}

/// Splits the path of a parameter of a reparameterization of ours into its layer and its name.
pub(crate) fn attached_part(path: &str) -> Option<(&str, &str)> {
    let (rest, part) = path.rsplit_once('.')?;
    let (layer, name) = rest.rsplit_once('.').unwrap_or(("", rest));
    (name == CompressedWeight::NAME).then_some((layer, part))
}
