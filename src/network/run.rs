//! Running a model.

use std::num::NonZero;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::kernel::share_out;
use crate::network::NetworkError;
use crate::network::{Dim, Value};

use super::shape;
use super::sink::{Operand, View, reserve};
use super::step::execute;
use super::{Grid, Network};

/// The elements of a tensor, the last axis fastest.
///
/// ```
/// use burn_compress::network::Elements;
/// assert_ne!(Elements::Codes(vec![1]), Elements::Values(vec![1.0]));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Elements {
    /// Centred codes.
    Codes(Vec<i32>),
    /// Floats.
    Values(Vec<f32>),
}

/// The result of a step.
///
/// ```
/// use burn_compress::network::{Elements, Traced};
/// let traced = Traced { dims: vec![1, 2], grid: None, elements: Elements::Values(vec![0.5, 1.5]) };
/// assert_eq!(traced.values(), [0.5, 1.5]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traced {
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// The grid of codes.
    pub grid: Option<Grid>,
    /// Its elements.
    pub elements: Elements,
}

impl Traced {
    /// The real values; of codes without a grid, the codes.
    pub fn values(&self) -> Vec<f32> {
        let value = |&code: &i32| match &self.grid {
            Some(grid) => grid.dequantize(code),
            None => code as f32,
        };
        match &self.elements {
            Elements::Codes(codes) => codes.iter().map(value).collect(),
            Elements::Values(values) => values.clone(),
        }
    }
}

/// What a run has seen.
///
/// ```
/// use burn_compress::network::Statistics;
/// let statistics = Statistics { inexact_sums: vec![0, 3] };
/// assert_eq!(statistics.inexact(), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Statistics {
    /// For each step, how many of its sums (or products of two codes) lie beyond 2^24, where `f32` does
    /// not hold each whole number: there a simulation in floats may differ.
    pub inexact_sums: Vec<u64>,
}

impl Statistics {
    /// Such sums of all steps.
    pub fn inexact(&self) -> u64 {
        self.inexact_sums.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        for (sum, other) in self.inexact_sums.iter_mut().zip(&other.inexact_sums) {
            *sum += other;
        }
    }
}

impl Network {
    /// The output for a batch of images, codes dequantized, on as many threads as the machine has
    /// processors.
    ///
    /// Fails with [`NetworkError::EmptyBatch`] where the batch is empty, with [`NetworkError::Input`] where
    /// the input has not the model's dimensions for it; with [`NetworkError::NotFinite`] for a NaN or an infinite number; and with
    /// [`NetworkError::Step`] where the memory does not suffice.
    pub fn run(&self, input: &[f32], batch: usize) -> Result<(Vec<f32>, Statistics), NetworkError> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        self.run_with(input, batch, threads)
    }

    /// The same on a number of threads (0: one), among which the images are shared out. The result is
    /// the same for any number. Where a step mixes images, the batch is run as one, on one thread.
    pub fn run_with(
        &self,
        input: &[f32],
        batch: usize,
        threads: usize,
    ) -> Result<(Vec<f32>, Statistics), NetworkError> {
        self.check_input(input, batch)?;
        if !self.apart {
            return self.run_as_one(input, batch);
        }
        let each = self.elements(&self.output_dims(), 1)?;
        let total = self.elements(&self.output_dims(), batch)?;
        let mut output = reserve(total).map_err(|what| self.output_error(what))?;
        output.resize(total, 0.0);
        let share = batch.div_ceil(threads.clamp(1, batch));
        let shares = output.chunks_mut(each * share);
        let read = input.len() / batch;
        let jobs: Vec<_> = shares.zip(input.chunks(read * share)).collect();
        let helpers = jobs.len().saturating_sub(1);
        let seen = share_out(jobs, helpers, |(output, input)| {
            self.run_one_by_one(input, output, input.len() / read)
        })?;
        let mut statistics = self.no_statistics();
        seen.iter().for_each(|seen| statistics.add(seen));
        Ok((output, statistics))
    }

    /// The result of each step.
    ///
    /// ```
    /// # use burn_compress::network::{Dim, Value};
    /// # use burn_compress::network::{Elements, Grid, Network, StepOp, Step};
    /// # use burn_compress::format::Scheme;
    /// # let quantize = Step {
    /// #     op: StepOp::Quantize,
    /// #     inputs: vec![Value::Input],
    /// #     grid: Some(Grid::new(Scheme::symmetric(8)?, 0.5, 0)?),
    /// #     dims: vec![Dim::Batch(1)],
    /// #     layer: "input".into(),
    /// # };
    /// # let model = Network::new(vec![Dim::Batch(1)], vec![], vec![quantize], Value::Node(0))?;
    /// let traced = model.trace(&[1.0, -0.5], 2)?;
    /// assert_eq!(traced[0].elements, Elements::Codes(vec![2, -1]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Fails as [`run`](Self::run) does.
    pub fn trace(&self, input: &[f32], batch: usize) -> Result<Vec<Traced>, NetworkError> {
        self.check_input(input, batch)?;
        let (results, _) = self.execute(input, batch, true)?;
        let traced = self
            .steps
            .iter()
            .zip(results)
            .map(|(step, elements)| Traced {
                dims: at(&step.dims, batch),
                grid: step.grid,
                elements: elements.unwrap_or(Elements::Values(Vec::new())),
            });
        Ok(traced.collect())
    }

    fn run_as_one(
        &self,
        input: &[f32],
        batch: usize,
    ) -> Result<(Vec<f32>, Statistics), NetworkError> {
        let (results, statistics) = self.execute(input, batch, false)?;
        let output = self.operand(self.output, input, &results, batch).values();
        let output = output.map_err(|what| self.output_error(what))?;
        Ok((output.into_owned(), statistics))
    }

    fn run_one_by_one(
        &self,
        input: &[f32],
        output: &mut [f32],
        images: usize,
    ) -> Result<Statistics, NetworkError> {
        let mut statistics = self.no_statistics();
        let (read, written) = (input.len() / images, output.len() / images);
        for (input, output) in input.chunks(read).zip(output.chunks_mut(written)) {
            let (result, seen) = self.run_as_one(input, 1)?;
            output.copy_from_slice(&result);
            statistics.add(&seen);
        }
        Ok(statistics)
    }

    /// The results of the steps, those that are kept (all, or those needed to the end).
    fn execute(
        &self,
        input: &[f32],
        batch: usize,
        keep: bool,
    ) -> Result<(Vec<Option<Elements>>, Statistics), NetworkError> {
        let mut results: Vec<Option<Elements>> = Vec::with_capacity(self.steps.len());
        let mut statistics = self.no_statistics();
        for (index, step) in self.steps.iter().enumerate() {
            let operand = |&value| self.operand(value, input, &results, batch);
            let operands: Vec<Operand> = step.inputs.iter().map(operand).collect();
            let error = |what| NetworkError::Step {
                layer: step.layer.clone(),
                what,
            };
            shape::elements(&step.dims, batch).ok_or_else(|| {
                error(format!(
                    "its result is too large for {batch} samples: run smaller batches"
                ))
            })?;
            let result = execute(step, &operands, &at(&step.dims, batch));
            let (elements, inexact) = result.map_err(error)?;
            results.push(Some(elements));
            statistics.inexact_sums[index] = inexact;
            if !keep {
                for &source in &self.released[index] {
                    results[source] = None;
                }
            }
        }
        Ok((results, statistics))
    }

    pub(super) fn operand<'a>(
        &'a self,
        value: Value,
        input: &'a [f32],
        results: &'a [Option<Elements>],
        batch: usize,
    ) -> Operand<'a> {
        let elements = match value {
            Value::Input => View::Values(input),
            Value::Node(index) => match results.get(index) {
                Some(Some(Elements::Codes(codes))) => View::Codes(codes),
                Some(Some(Elements::Values(values))) => View::Values(values),
                // Released after its last use, or not yet there: a checked model asks for neither.
                _ => View::Values(&[]),
            },
            Value::Constant(index) => match self.constants.get(index) {
                Some(constant) => View::Values(&constant.values),
                None => View::Values(&[]),
            },
            Value::Parameter(_) => View::Values(&[]),
        };
        Operand {
            dims: at(&self.dims(value), batch),
            grid: self.grid(value),
            elements,
        }
    }

    pub(super) fn check_input(&self, input: &[f32], batch: usize) -> Result<(), NetworkError> {
        if batch == 0 {
            return Err(NetworkError::EmptyBatch);
        }
        let expected = shape::elements(&self.input, batch);
        if expected != Some(input.len()) {
            let dims = at(&self.input, batch);
            return Err(NetworkError::Input {
                found: vec![input.len()],
                expected: match expected {
                    Some(count) => format!("{count} numbers: {dims:?} for {batch} samples"),
                    None => format!("no input as large as {dims:?} for {batch} samples"),
                },
            });
        }
        let each = (input.len() / batch).max(1);
        match input.iter().position(|x| !x.is_finite()) {
            Some(place) => Err(NetworkError::NotFinite {
                sample: place / each,
                element: place % each,
                value: input[place],
            }),
            None => Ok(()),
        }
    }

    fn elements(&self, dims: &[Dim], batch: usize) -> Result<usize, NetworkError> {
        shape::elements(dims, batch).ok_or_else(|| {
            self.output_error(format!(
                "{dims:?} are too large for {batch} samples: run smaller batches"
            ))
        })
    }

    fn output_error(&self, what: String) -> NetworkError {
        let layer = "output".to_string();
        NetworkError::Step { layer, what }
    }

    fn no_statistics(&self) -> Statistics {
        Statistics {
            inexact_sums: vec![0; self.steps.len()],
        }
    }
}

pub(super) fn at(dims: &[Dim], batch: usize) -> Vec<usize> {
    dims.iter().map(|dim| dim.at(batch)).collect()
}
