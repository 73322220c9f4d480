//! What a quantized module computes on its way, to be compared with its integer form.

use burn::module::Module;
use burn::tensor::Tensor;

use super::super::GraphError;
use super::super::tensor::AnyTensor;
use super::{Pass, Quantized, float};
use crate::network::Value;
use crate::network::{Elements, Grid, Traced};

impl<M: Module> Quantized<M> {
    /// The input and the result of each node, as codes where they are quantized, by the running
    /// statistics of batch norms. Reads all of them from the device.
    ///
    /// The tensors of codes are, in this order, those that
    /// [`Network::trace`](crate::network::Network::trace) gives, equal in every code.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
    /// use burn_compress::{compress::{Plan, Quantization}, format::Scheme};
    /// use burn_compress::graph::{Activations, Calibration, Graph};
    /// use burn_compress::network::Elements;
    ///
    /// let device = Device::default();
    /// let model = LinearConfig::new(2, 1).init(&device);
    /// let graph = Graph::capture(&model, [1, 2], |model, x: Tensor<2>| model.forward(x))?;
    /// let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(8)?));
    /// let (model, compression) = plan.attach(model)?;
    /// let mut calibration =
    ///     Calibration::new(graph.simplify(), &model, &compression, Activations::bits(8)?)?;
    /// calibration.observe(&model, Tensor::<2>::from_data([[0.0, 2.55]], &device))?;
    /// let quantized = calibration.finish(model)?;
    ///
    /// let trace = quantized.trace(Tensor::<2>::from_data([[9.0, -1.0]], &device))?;
    /// assert_eq!(trace.len(), 2); // the input and the linear layer
    /// assert_eq!(trace[0].elements, Elements::Codes(vec![255, 0]));
    /// assert!(trace[1].grid.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trace<const D: usize>(&self, input: Tensor<D>) -> Result<Vec<Traced>, GraphError> {
        let config = self.config();
        let weights = self.weights()?;
        let scales = self.quantizer_scales();
        let host_scales = self.scales()?;
        let mut results = Vec::with_capacity(config.placement.graph.nodes.len() + 1);
        let mut pass = Pass::new(config, &weights, scales, self.correction(), false);
        pass.trace(float::any(input)?, |value, tensor| {
            results.push((value, tensor.clone()));
        })?;
        let traced = results.into_iter().map(|(value, tensor)| {
            let grid = config.placement.grid(value, &host_scales)?;
            self.traced(value, tensor, grid)
        });
        traced.collect()
    }

    fn traced(
        &self,
        value: Value,
        tensor: AnyTensor,
        grid: Option<Grid>,
    ) -> Result<Traced, GraphError> {
        let dims = tensor.dims();
        let values = tensor.read(match value {
            Value::Node(index) => &self.graph().nodes[index].layer,
            _ => "the input",
        })?;
        let elements = match grid {
            Some(_) => Elements::Codes(values.into_iter().map(|code| code as i32).collect()),
            None => Elements::Values(values),
        };
        Ok(Traced {
            dims,
            grid,
            elements,
        })
    }
}
