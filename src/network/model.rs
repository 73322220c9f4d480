use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::network::NetworkError;
use crate::network::{Constant, Dim, Value};

use super::file::{Packed, unpack};
use super::step_op::Stored;
use super::{Codes, Grid, StepOp, check};

/// One step of an [`Network`].
///
/// ```
/// use burn_compress::network::{Dim, Value};
/// use burn_compress::network::{Grid, StepOp, Step};
/// use burn_compress::format::Scheme;
/// let step = Step {
///     op: StepOp::Quantize,
///     inputs: vec![Value::Input],
///     grid: Some(Grid::new(Scheme::symmetric(8)?, 0.1, 0)?),
///     dims: vec![Dim::Batch(1), Dim::Fixed(3)],
///     layer: "input".into(),
/// };
/// # let _ = step;
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it does.
    pub op: StepOp,
    /// Its operands: the input, constants, results of steps before it (by [`Value::Node`]).
    pub inputs: Vec<Value>,
    /// The codes of the result; none for a float tensor.
    pub grid: Option<Grid>,
    /// Dimensions of the result.
    pub dims: Vec<Dim>,
    /// Path of the layer, for errors and reports.
    pub layer: String,
}

/// A quantized graph in whole numbers, checked: its dimensions fit each other, and no sum can overflow.
///
/// ```
/// use burn_compress::format::{Granularity, Mapping, Scheme};
/// use burn_compress::network::{Grid, Network, Op, StepOp, Rescale, Step, Weights};
/// use burn_compress::network::{Dim, Value};
///
/// let affine = Scheme::new(8, Mapping::Affine, Granularity::Tensor)?;
/// let quantize = Step {
///     op: StepOp::Quantize,
///     inputs: vec![Value::Input],
///     grid: Some(Grid::new(affine, 0.5, 128)?),
///     dims: vec![Dim::Batch(1), Dim::Fixed(3)],
///     layer: "input".into(),
/// };
/// let linear = Step {
///     op: StepOp::Product {
///         op: Op::Linear,
///         weights: Some(Weights { dims: vec![3, 2], codes: vec![1, 0, -7, 3, 0, 2].into() }),
///         rescale: Rescale::by(0.5 * 0.1), // scale of the input times that of the weights
///     },
///     inputs: vec![Value::Node(0)],
///     grid: None, // the result is a float tensor
///     dims: vec![Dim::Batch(1), Dim::Fixed(2)],
///     layer: "fc".into(),
/// };
/// let input = vec![Dim::Batch(1), Dim::Fixed(3)];
/// let model = Network::new(input, vec![], vec![quantize, linear], Value::Node(1))?;
///
/// let (output, statistics) = model.run(&[1.0, -0.25, 3.2], 1)?; // codes 2, 0 and 6
/// assert_eq!(output, [2.0 * 0.05, 12.0 * 0.05]);
/// assert_eq!(statistics.inexact(), 0);
/// assert!(model.run(&[1.0, f32::NAN, 3.2], 1).is_err());
///
/// let restored = Network::from_bytes(&model.to_bytes()?)?;
/// assert_eq!(restored, model);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Network {
    pub(super) input: Vec<Dim>,
    pub(super) constants: Vec<Constant>,
    pub(super) steps: Vec<Step>,
    pub(super) output: Value,
    /// Whether no step mixes images, so that they can be run one by one.
    pub(super) apart: bool,
    /// The steps whose results are not needed after each step.
    pub(super) released: Vec<Vec<usize>>,
}

/// What a model is made of, before it is checked.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename = "Network", deny_unknown_fields)]
pub(super) struct Unchecked {
    pub(super) input: Vec<Dim>,
    pub(super) constants: Vec<Constant>,
    pub(super) steps: Vec<Step>,
    pub(super) output: Value,
    /// Constants that lie in a file in fewer bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) packed: Vec<Packed>,
}

impl TryFrom<Unchecked> for Network {
    type Error = NetworkError;

    fn try_from(mut model: Unchecked) -> Result<Self, NetworkError> {
        unpack(&mut model)?;
        Self::new(model.input, model.constants, model.steps, model.output)
    }
}

impl From<Network> for Unchecked {
    fn from(model: Network) -> Self {
        Self {
            input: model.input,
            constants: model.constants,
            steps: model.steps,
            output: model.output,
            packed: Vec::new(),
        }
    }
}

impl Network {
    /// A model of steps, each after those it uses.
    ///
    /// Fails with [`NetworkError::Step`] where a step uses what is not there, its dimensions, grid, weights
    /// or factors do not fit its operation, or a number is not finite; and with
    /// [`NetworkError::Activation`] where a sum could overflow.
    pub fn new(
        input: Vec<Dim>,
        constants: Vec<Constant>,
        steps: Vec<Step>,
        output: Value,
    ) -> Result<Self, NetworkError> {
        let mut model = Self {
            input,
            constants,
            steps,
            output,
            apart: false,
            released: Vec::new(),
        };
        check::model(&model)?;
        model.share_codes();
        model.apart = check::keeps_samples_apart(&model);
        model.released = model.last_uses();
        Ok(model)
    }

    /// Dimensions of the input, a float tensor.
    pub fn input(&self) -> &[Dim] {
        &self.input
    }

    /// The float tensors that steps use.
    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// The steps, each after those it uses.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Where the output comes from.
    pub fn output(&self) -> Value {
        self.output
    }

    /// Dimensions of the output.
    pub fn output_dims(&self) -> Vec<Dim> {
        self.dims(self.output)
    }

    /// Lets go of the values of constants that are not needed: what reads them has a copy of its own.
    pub(crate) fn keep_constants(&mut self, needed: &HashSet<usize>) {
        let others = self.constants.iter_mut().enumerate();
        for (_, constant) in others.filter(|(index, _)| !needed.contains(index)) {
            constant.values = Vec::new();
        }
    }

    /// Whether no step mixes images.
    pub(crate) fn keeps_samples_apart(&self) -> bool {
        self.apart
    }

    /// Dimensions of a tensor; none of one that is not there.
    pub(crate) fn dims(&self, value: Value) -> Vec<Dim> {
        match value {
            Value::Input => Some(self.input.clone()),
            Value::Node(index) => self.steps.get(index).map(|step| step.dims.clone()),
            Value::Constant(index) => self.constants.get(index).map(|constant| {
                let dims = constant.dims.iter();
                dims.copied().map(Dim::Fixed).collect()
            }),
            Value::Parameter(_) => None,
        }
        .unwrap_or_default()
    }

    /// The grid of a tensor of codes.
    pub(crate) fn grid(&self, value: Value) -> Option<Grid> {
        match value {
            Value::Node(index) => self.steps.get(index).and_then(|step| step.grid),
            _ => None,
        }
    }

    // Weights of one layer that is called again and again are in memory once.
    fn share_codes(&mut self) {
        let mut alike: HashMap<Vec<usize>, Vec<Codes>> = HashMap::new();
        for step in &mut self.steps {
            for (_, stored) in step.op.stored() {
                let Stored::Weights(weights) = stored else {
                    continue;
                };
                let firsts = alike.entry(weights.dims.clone()).or_default();
                match firsts.iter().find(|first| **first == weights.codes) {
                    Some(first) => weights.codes = first.clone(),
                    None => firsts.push(weights.codes.clone()),
                }
            }
        }
    }

    fn last_uses(&self) -> Vec<Vec<usize>> {
        let mut last: Vec<usize> = (0..self.steps.len()).collect();
        for (index, step) in self.steps.iter().enumerate() {
            for input in &step.inputs {
                if let Value::Node(source) = input {
                    last[*source] = index;
                }
            }
        }
        let mut released = vec![Vec::new(); self.steps.len()];
        for (source, last) in last.into_iter().enumerate() {
            if self.output != Value::Node(source) {
                released[last].push(source);
            }
        }
        released
    }
}
