//! The original and the compressed network, side by side, node by node.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::compress::{Attached, Rows};
use crate::graph::{
    AnyTensor, Graph, GraphError, Pass, Reads, Setting, Walk, Weight, along, weights,
};
use crate::network::{Binary, Value};

/// A network with the batches on their way through it.
pub(super) struct Network<'a> {
    setting: &'a Setting,
    graph: &'a Graph,
    last_uses: Vec<Option<usize>>,
    weights: Vec<Weight>,
    walks: Vec<Walk>,
}

impl<'a> Network<'a> {
    /// All batches at the input of a module's graph.
    pub fn new<M: Module>(
        graph: &'a Graph,
        setting: &'a Setting,
        module: &M,
        batches: &[AnyTensor],
    ) -> Result<Self, GraphError> {
        let weights = weights(graph, module, &Attached::default(), &Reads::default())?;
        let mut pass = Pass::new(setting, &weights, Vec::new(), None, false);
        let walks = batches.iter().map(|batch| pass.start(batch.clone()));
        Ok(Self {
            walks: walks.collect::<Result<_, _>>()?,
            last_uses: graph.last_uses(),
            setting,
            graph,
            weights,
        })
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.walks.len()
    }

    fn pass(&self) -> Pass<'_> {
        Pass::new(self.setting, &self.weights, Vec::new(), None, false)
    }

    /// What a batch's next node reads.
    pub fn operand(&self, batch: usize, value: Value) -> AnyTensor {
        self.pass().operand(&self.walks[batch], value)
    }

    /// The next node of a batch without its epilogue.
    pub fn bare(&self, batch: usize, node: usize) -> AnyTensor {
        self.pass().bare(&self.walks[batch], node)
    }

    /// Computes the next node of all batches.
    pub fn advance(&mut self, node: usize) -> Result<(), GraphError> {
        let mut pass = Pass::new(self.setting, &self.weights, Vec::new(), None, false);
        let mut walks = self.walks.iter_mut();
        walks.try_for_each(|walk| pass.advance(walk, node, &self.last_uses))
    }

    /// A parameter's or a constant's values, as the graph reads them.
    pub fn values(&self, value: Value) -> Result<Vec<f32>, GraphError> {
        match value {
            Value::Parameter(index) => {
                let path = &self.graph.parameters()[index].path;
                self.weights[index].values().read(path)
            }
            Value::Constant(index) => Ok(self.graph.constants()[index].values.clone()),
            _ => Ok(Vec::new()),
        }
    }

    /// Puts values in place of a parameter's, in its own layout.
    pub fn put(&mut self, parameter: usize, values: &[f32]) {
        let known = &self.graph.parameters()[parameter];
        let device = self.weights[parameter].device();
        let tensor = AnyTensor::from_values(values, &known.dims, &device);
        let tensor = match known.transposed {
            true => tensor.permute(&[1, 0]),
            false => tensor,
        };
        self.weights[parameter] = Weight::of(tensor);
    }

    /// Puts the weights of a layer in place.
    pub fn put_rows(&mut self, parameter: usize, rows: &Rows) {
        self.put(parameter, &rows.layer.view.from_rows(&rows.values));
    }

    /// The factor of each channel in a node's epilogue; ones where there is no batch norm.
    pub fn factors(&self, node: usize, channels: usize) -> Result<Vec<f64>, GraphError> {
        let Some(norm) = self.graph.nodes()[node].epilogue.norm else {
            return Ok(vec![1.0; channels]);
        };
        let gamma = self.values(norm.gamma)?;
        let variance = self.values(norm.variance)?;
        let factors = gamma
            .iter()
            .zip(variance)
            .map(|(gamma, variance)| f64::from(*gamma) / f64::from(variance + norm.epsilon).sqrt());
        Ok(factors.collect())
    }
}

/// A tensor with each channel multiplied.
pub(super) fn times(tensor: AnyTensor, factors: &[f64], axis: usize) -> AnyTensor {
    let values: Vec<f32> = factors.iter().map(|factor| *factor as f32).collect();
    let rank = tensor.dims().len();
    let factors = Tensor::<1>::from_data(values.as_slice(), &tensor.device());
    tensor.binary(along(factors.into(), axis, rank), Binary::Multiply)
}
