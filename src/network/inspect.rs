//! What the activations of a model do on some inputs.

use std::thread;

use crate::Warning;
use crate::kernel::share_out;
use crate::network::Dim;
use crate::network::NetworkError;

use super::run::at;
use super::sink::{Operand, reserve};
use super::step::execute;
use super::{Elements, Grid, Network, Step, StepOp};

/// The share of its codes below which an activation uses few.
const SMALL_PART: usize = 4;
/// The share of a value by which rounding changes it where its code is coarse.
const COARSE: f32 = 0.1;
/// Values for each code, or of each channel, from which on what did not occur tells something.
const VALUES: u64 = 4;
const OF_CHANNEL: u64 = 32;

// The share of clipped values from which on it is more than what the best range for so few bits clips,
// about twice that of a normal distribution.
fn much_clipped(bits: u32) -> f64 {
    (0.4 / f64::from(bits).exp2()).max(0.01)
}

/// What was seen of a step's result.
#[derive(Clone)]
struct Seen {
    values: u64,
    clipped: u64,
    /// Whether each code occurred, the least first.
    codes: Vec<bool>,
    /// Values that are not zero, and those of them that rounding changed much.
    some: u64,
    coarse: u64,
    /// Of a product, the least and the greatest code of each channel.
    channels: Vec<(i32, i32)>,
}

impl Seen {
    fn nothing(grid: Grid, channels: usize) -> Self {
        Self {
            values: 0,
            clipped: 0,
            codes: vec![false; (grid.high() - grid.low() + 1) as usize],
            some: 0,
            coarse: 0,
            channels: vec![(i32::MAX, i32::MIN); channels],
        }
    }

    // A number in units of the grid's scale, and its code.
    fn see(&mut self, grid: &Grid, t: f32, code: i32) {
        let (low, high) = (grid.low(), grid.high());
        self.values += 1;
        self.clipped += u64::from(t < low as f32 - 0.5 || t > high as f32 + 0.5);
        self.codes[(code - low) as usize] = true;
        let within = t.clamp(low as f32, high as f32);
        let changed = (within - code as f32).abs();
        self.some += u64::from(within != 0.0);
        self.coarse += u64::from(changed > COARSE * within.abs());
    }

    fn add(&mut self, other: &Self) {
        self.values += other.values;
        self.clipped += other.clipped;
        self.some += other.some;
        self.coarse += other.coarse;
        let codes = self.codes.iter_mut().zip(&other.codes);
        codes.for_each(|(seen, other)| *seen |= other);
        for (seen, other) in self.channels.iter_mut().zip(&other.channels) {
            *seen = (seen.0.min(other.0), seen.1.max(other.1));
        }
    }

    fn warnings(&self, step: &Step, grid: &Grid) -> Vec<Warning> {
        let layer = || step.layer.clone();
        let bits = grid.scheme().bits();
        let mut warnings = Vec::new();
        let share = self.clipped as f64 / self.values.max(1) as f64;
        if share > much_clipped(bits) {
            warnings.push(Warning::Saturated {
                layer: layer(),
                share,
            });
        }
        let codes = self.codes.len();
        let used = self.codes.iter().filter(|seen| **seen).count();
        let enough = self.values >= VALUES * codes as u64;
        let coarse = 2 * self.coarse > self.some;
        if enough && coarse && used * SMALL_PART < codes {
            warnings.push(Warning::UnusedActivationCodes {
                layer: layer(),
                used,
                codes,
                bits,
            });
        }
        let channels = self.channels.len();
        let constant = self.channels.iter().filter(|(low, high)| low == high);
        let constant = constant.count();
        if constant > 0 && self.values >= OF_CHANNEL * channels as u64 {
            warnings.push(Warning::ConstantChannels {
                layer: layer(),
                constant,
                channels,
            });
        }
        warnings
    }
}

// The axis of a product's output channels.
fn channel_axis(step: &Step) -> Option<usize> {
    let rank = step.dims.len();
    match &step.op {
        StepOp::Product {
            op,
            weights: Some(_),
            ..
        } => Some(op.channel_axis(rank)),
        _ => None,
    }
}

// The grid of a step that rounds: others move codes, or look them up.
fn rounds(step: &Step) -> Option<Grid> {
    match step.op {
        StepOp::Move(_) | StepOp::Table(_) => None,
        _ => step.grid,
    }
}

impl Network {
    /// What of the activations should be known, on these inputs: values that are clipped, codes that do
    /// not occur, and output channels that stay at one code. A few dozen samples as the model will meet
    /// them tell most; each takes about what a [`run`](Self::run) of it does.
    ///
    /// ```
    /// use burn_compress::format::Scheme;
    /// use burn_compress::network::{Grid, Network, StepOp, Step};
    /// use burn_compress::network::{Dim, Value};
    /// let quantize = Step {
    ///     op: StepOp::Quantize,
    ///     inputs: vec![Value::Input],
    ///     grid: Some(Grid::new(Scheme::symmetric(8)?, 0.01, 0)?), // up to 1.27
    ///     dims: vec![Dim::Batch(1), Dim::Fixed(4)],
    ///     layer: "input".into(),
    /// };
    /// let input = vec![Dim::Batch(1), Dim::Fixed(4)];
    /// let model = Network::new(input, vec![], vec![quantize], Value::Node(0))?;
    /// assert!(model.inspect(&[1.0, 0.5, -0.25, 0.0], 1)?.is_empty());
    /// let warnings = model.inspect(&[9.0, 0.5, -0.25, 0.0], 1)?;
    /// assert!(warnings[0].to_string().starts_with("25.0 % of the values"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Fails as [`run`](Self::run) does.
    pub fn inspect(&self, input: &[f32], batch: usize) -> Result<Vec<Warning>, NetworkError> {
        self.check_input(input, batch)?;
        let each = input.len() / batch;
        let samples = if self.apart { batch } else { 1 };
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let share = samples.div_ceil(threads.clamp(1, samples));
        let one = batch / samples;
        let jobs: Vec<_> = input.chunks((each * one * share).max(1)).collect();
        let found = share_out(jobs, threads - 1, |inputs| {
            let mut seen = self.nothing_seen();
            for input in inputs.chunks((each * one).max(1)) {
                self.look(input, one, &mut seen)?;
            }
            Ok::<_, NetworkError>(seen)
        })?;
        let mut all = self.nothing_seen();
        for found in found {
            for (all, found) in all.iter_mut().zip(found) {
                if let (Some(all), Some(found)) = (all, found) {
                    all.add(&found);
                }
            }
        }
        let steps = self.steps.iter().zip(all);
        let warnings = steps.flat_map(|(step, seen)| match (seen, step.grid) {
            (Some(seen), Some(grid)) => seen.warnings(step, &grid),
            _ => Vec::new(),
        });
        Ok(warnings.collect())
    }

    fn nothing_seen(&self) -> Vec<Option<Seen>> {
        let seen = self.steps.iter().map(|step| {
            let channels = channel_axis(step).map_or(0, |axis| match step.dims.get(axis) {
                Some(Dim::Fixed(length)) => *length,
                _ => 0,
            });
            rounds(step).map(|grid| Seen::nothing(grid, channels))
        });
        seen.collect()
    }

    // Runs the model, with each step as it is before its numbers become codes.
    fn look(
        &self,
        input: &[f32],
        batch: usize,
        seen: &mut [Option<Seen>],
    ) -> Result<(), NetworkError> {
        let mut results: Vec<Option<Elements>> = Vec::with_capacity(self.steps.len());
        for (index, step) in self.steps.iter().enumerate() {
            let operand = |&value| self.operand(value, input, &results, batch);
            let operands: Vec<Operand> = step.inputs.iter().map(operand).collect();
            let dims = at(&step.dims, batch);
            let error = |what| NetworkError::Step {
                layer: step.layer.clone(),
                what,
            };
            let elements = match (&mut seen[index], step.grid) {
                (Some(seen), Some(grid)) => {
                    let before = Step {
                        grid: None,
                        ..step.clone()
                    };
                    let (before, _) = execute(&before, &operands, &dims).map_err(error)?;
                    let Elements::Values(values) = before else {
                        return Err(error("codes without a grid".to_string()));
                    };
                    codes(step, &grid, values, &dims, seen).map_err(error)?
                }
                _ => execute(step, &operands, &dims).map_err(error)?.0,
            };
            results.push(Some(elements));
            for &source in &self.released[index] {
                results[source] = None;
            }
        }
        Ok(())
    }
}

fn codes(
    step: &Step,
    grid: &Grid,
    values: Vec<f32>,
    dims: &[usize],
    seen: &mut Seen,
) -> Result<Elements, String> {
    // These give real numbers, others units of the scale.
    let real = matches!(step.op, StepOp::Quantize | StepOp::Float(_));
    let channel = channel_axis(step).map(|axis| {
        let inner: usize = dims[axis + 1..].iter().product();
        (inner.max(1), dims[axis].max(1))
    });
    let mut codes = reserve(values.len())?;
    for (place, value) in values.into_iter().enumerate() {
        let t = if real { value / grid.scale() } else { value };
        let code = grid.centred(t);
        seen.see(grid, t, code);
        if let Some((inner, channels)) = channel
            && let Some(range) = seen.channels.get_mut(place / inner % channels)
        {
            *range = (range.0.min(code), range.1.max(code));
        }
        codes.push(code);
    }
    Ok(Elements::Codes(codes))
}
