//! Transposed convolutions, as convolutions.
//!
//! Of stride `s`, every `s`-th row of the result, from a first one on, reads the same taps of the kernel at the
//! same distance: it is the result of a convolution of stride 1 with these taps alone. These are the phases of
//! the result, `s` times `s` of them, and the result is their rows and columns in turns.
//!
//! All phases are the filters of one convolution. Its window holds the taps of all; those that a phase lacks are
//! zeros, which cost nothing. In groups, each phase is a convolution of its own.

use super::Rewriting;
use super::phases::Transposed;
use crate::network::{
    Binary, Codes, Constant, Dim, Op, Rescale, Step, StepOp, Value, Weights, Window,
};

// What is multiplied.
enum Source<'a> {
    Codes(&'a Weights, &'a Rescale),
    Floats(&'a Constant),
}

impl Rewriting<'_> {
    /// A transposed convolution as movements of convolutions; none of another step, or one whose residual or
    /// weights are made otherwise.
    pub fn transposed(&mut self, index: usize) -> Option<Value> {
        let model = self.model;
        let step = &model.steps()[index];
        let (op, source) = match &step.op {
            StepOp::Product {
                op,
                weights: Some(weights),
                rescale,
            } => (op, Source::Codes(weights, rescale)),
            StepOp::Float(op) => match step.inputs[..] {
                [_, Value::Constant(weights)] => {
                    (op, Source::Floats(model.constants().get(weights)?))
                }
                _ => return None,
            },
            _ => return None,
        };
        let Op::TransposedConvolution {
            rank,
            window,
            groups,
            ..
        } = op
        else {
            return None;
        };
        let sizes = |dims: &[Dim]| {
            let lengths: Vec<usize> = dims.iter().map(|dim| dim.at(1)).collect();
            match lengths[..] {
                [_, channels, columns] => Some((channels, [1, columns])),
                [_, channels, rows, columns] => Some((channels, [rows, columns])),
                _ => None,
            }
        };
        let (channels, input) = sizes(&model.dims(step.inputs[0]))?;
        let (filters, output) = sizes(&step.dims)?;
        let of = Transposed {
            rank: *rank,
            window,
            groups: *groups,
            channels,
            filters: filters / groups,
            input,
            output,
        };
        let residual = match source {
            Source::Codes(_, rescale) => rescale.residual.is_some(),
            Source::Floats(_) => false,
        };
        if residual && of.groups > 1 {
            return None;
        }
        let mut made = match of.groups {
            1 => self.together(step, &of, &source),
            _ => self.one_by_one(step, &of, &source),
        };
        let mut last = index;
        if let (Source::Floats(_), 1, None) = (source, of.groups, step.grid) {
            (made, last) = self.what_follows(index, &of, made);
        }
        let result = self.interleaved(made, &of, &model.steps()[last]);
        self.results[last] = Some(result);
        Some(match last == index {
            true => result,
            // Nothing else reads it.
            false => made,
        })
    }

    // The phases as filters of one convolution.
    fn together(&mut self, step: &Step, of: &Transposed<'_>, source: &Source<'_>) -> Value {
        let phases = of.phases();
        let spans = [0, 1].map(|axis| of.span(axis, 0..phases[axis]));
        let window = of.window(spans, of.results());
        let all = (0..phases[0]).flat_map(|row| (0..phases[1]).map(move |column| [row, column]));
        let times = phases[0] * phases[1];
        let weights = match source {
            Source::Codes(weights, _) => {
                let codes = weights.codes.widened();
                PhaseWeights::Codes(
                    all.flat_map(|phase| of.weights(&codes, phase, spans))
                        .collect(),
                )
            }
            Source::Floats(weights) => {
                let values = &weights.values;
                PhaseWeights::Floats(
                    all.flat_map(|phase| of.weights(values, phase, spans))
                        .collect(),
                )
            }
        };
        let mut inputs = vec![self.value(step.inputs[0])];
        if let Source::Codes(
            _,
            Rescale {
                residual: Some(_), ..
            },
        ) = source
            && let Some(&residual) = step.inputs.last()
        {
            let residual = self.value(residual);
            inputs.push(self.taken_apart(residual, of, window, step));
        }
        self.convolution(step, of, source, (window, weights, times), inputs)
    }

    // Each phase as a convolution, one after the other.
    fn one_by_one(&mut self, step: &Step, of: &Transposed<'_>, source: &Source<'_>) -> Value {
        let phases = of.phases();
        let input = self.value(step.inputs[0]);
        let mut results = of.results();
        let windows = |results: [usize; 2]| {
            let all =
                (0..phases[0]).flat_map(|row| (0..phases[1]).map(move |column| [row, column]));
            all.map(move |phase| {
                let spans = [0, 1].map(|axis| of.span(axis, phase[axis]..phase[axis] + 1));
                (phase, spans, of.window(spans, results))
            })
        };
        // All of as many results as the largest.
        for (_, _, window) in windows(results) {
            let made = window.output(of.input).unwrap_or(results);
            results = [0, 1].map(|axis| results[axis].max(made[axis]));
        }
        let mut parts = Vec::new();
        for (phase, spans, window) in windows(results) {
            let weights = match source {
                Source::Codes(weights, _) => {
                    PhaseWeights::Codes(of.weights(&weights.codes.widened(), phase, spans))
                }
                Source::Floats(weights) => {
                    PhaseWeights::Floats(of.weights(&weights.values, phase, spans))
                }
            };
            parts.push(self.convolution(step, of, source, (window, weights, 1), vec![input]));
        }
        let mut dims = self.dims(parts[0]);
        let grid = self.grid(parts[0]);
        dims[1] = Dim::Fixed(parts.len() * of.groups * of.filters);
        let op = StepOp::Move(Op::Concatenate { axis: 1 });
        self.push(op, parts, grid, dims, step)
    }

    // A convolution with `times` times the filters.
    fn convolution(
        &mut self,
        step: &Step,
        of: &Transposed<'_>,
        source: &Source<'_>,
        (window, weights, times): (Window, PhaseWeights, usize),
        mut inputs: Vec<Value>,
    ) -> Value {
        let filters = of.groups * of.filters * times;
        let size = window.output(of.input).unwrap_or([1, 1]);
        let from = 2 - of.rank;
        let dims = [
            &[step.dims[0], Dim::Fixed(filters)],
            &size.map(Dim::Fixed)[from..],
        ]
        .concat();
        let of_weights = [&[filters, of.channels / of.groups], &window.kernel[from..]].concat();
        let op = Op::Convolution {
            rank: of.rank,
            window,
            groups: of.groups,
        };
        match (weights, source) {
            (PhaseWeights::Codes(codes), Source::Codes(_, rescale)) => {
                let repeated = |factors: &[f32]| match factors {
                    [one] => vec![*one],
                    factors => factors.repeat(times),
                };
                let op = StepOp::Product {
                    op,
                    weights: Some(Weights {
                        dims: of_weights,
                        codes: Codes::from(codes),
                    }),
                    rescale: Rescale {
                        multiplier: repeated(&rescale.multiplier),
                        offset: rescale.offset.as_deref().map(repeated),
                        ..**rescale
                    },
                };
                self.push(op, inputs, step.grid, dims, step)
            }
            (PhaseWeights::Floats(values), _) => {
                inputs.push(self.constant(of_weights, values));
                let of = Step {
                    dims,
                    ..step.clone()
                };
                self.in_floats(&of, &op, inputs)
            }
            // Weights are of their source's kind.
            (PhaseWeights::Codes(_), Source::Floats(_)) => inputs[0],
        }
    }

    // Phases with what follows the result alone: functions, and constants for each channel. Gives the last step
    // that was taken.
    fn what_follows(&mut self, index: usize, of: &Transposed<'_>, phases: Value) -> (Value, usize) {
        let model = self.model;
        let (mut made, mut last) = (phases, index);
        while self.uses[last] == 1 {
            let mut rest = last + 1..model.steps().len();
            let reads = |&next: &usize| model.steps()[next].inputs.contains(&Value::Node(last));
            let Some(next) = rest.find(reads) else {
                break;
            };
            let step = &model.steps()[next];
            let (StepOp::Float(op), None) = (&step.op, step.grid) else {
                break;
            };
            if step.dims != model.steps()[last].dims {
                break;
            }
            let inputs = match (op, &step.inputs[..]) {
                (Op::Unary(_), [_]) => vec![made],
                (Op::Binary(Binary::Add | Binary::Multiply), [_, Value::Constant(constant)]) => {
                    let Some(constant) = self.repeated(*constant, of, step.dims.len()) else {
                        break;
                    };
                    vec![made, constant]
                }
                _ => break,
            };
            let dims = self.dims(made);
            made = self.push(StepOp::Float(op.clone()), inputs, None, dims, step);
            self.results[next] = Some(made);
            last = next;
        }
        (made, last)
    }

    // A number for each channel, for the channels of all phases.
    fn repeated(&mut self, constant: usize, of: &Transposed<'_>, rank: usize) -> Option<Value> {
        let Constant { dims, values } = self.model.constants().get(constant)?;
        if values.len() == 1 {
            return Some(Value::Constant(constant));
        }
        let axis = (dims.len() + 1).checked_sub(rank)?;
        let by_channel = dims.get(axis) == Some(&of.filters) && values.len() == of.filters;
        let values = by_channel.then(|| values.repeat(of.phases().iter().product()))?;
        let mut of_all = vec![1; rank];
        of_all[1] = values.len();
        Some(self.constant(of_all, values))
    }

    // The phases' rows and columns in turns.
    fn interleaved(&mut self, made: Value, of: &Transposed<'_>, step: &Step) -> Value {
        let dims = self.dims(made);
        let batch = dims[0];
        let size = self.phase_size(made);
        let filters = of.groups * of.filters;
        let fixed = |lengths: &[usize]| -> Vec<Dim> {
            let lengths = lengths.iter().copied().map(Dim::Fixed);
            std::iter::once(batch).chain(lengths).collect()
        };
        let mut made = made;
        let [down, right] = of.phases();
        let whole = [size[0] * down, size[1] * right];
        if [down, right] != [1, 1] {
            let (apart, axes, turned) = match of.rank {
                1 => (
                    vec![right, filters, size[1]],
                    vec![0, 2, 3, 1],
                    vec![filters, size[1], right],
                ),
                _ => (
                    vec![down, right, filters, size[0], size[1]],
                    vec![0, 3, 4, 1, 5, 2],
                    vec![filters, size[0], down, size[1], right],
                ),
            };
            let together = fixed(&[&[filters], &whole[2 - of.rank..]].concat());
            made = self.moved(Op::Reshape, made, fixed(&apart), step);
            made = self.moved(Op::Permute { axes }, made, fixed(&turned), step);
            made = self.moved(Op::Reshape, made, together, step);
        }
        if self.dims(made) != step.dims {
            let ends = step.dims.iter().map(|dim| match dim {
                Dim::Fixed(length) => (0, Some(*length), 1),
                Dim::Batch(_) => (0, None, 1),
            });
            let ranges = ends.collect();
            made = self.moved(Op::Slice { ranges }, made, step.dims.clone(), step);
        }
        made
    }

    // The way back: of a tensor of the result's dimensions its phases, as filters.
    fn taken_apart(
        &mut self,
        value: Value,
        of: &Transposed<'_>,
        window: Window,
        step: &Step,
    ) -> Value {
        let batch = step.dims[0];
        let size = window.output(of.input).unwrap_or([1, 1]);
        let [down, right] = of.phases();
        let fixed = |lengths: &[usize]| -> Vec<Dim> {
            let lengths = lengths.iter().copied().map(Dim::Fixed);
            std::iter::once(batch).chain(lengths).collect()
        };
        let whole = [size[0] * down, size[1] * right];
        let mut padding = vec![(0, 0); 2];
        let axes = 2 - of.rank..2;
        padding.extend(axes.map(|axis| (0, whole[axis] - of.output[axis])));
        let filters = of.filters;
        let (apart, axes, turned) = match of.rank {
            1 => (
                vec![filters, size[1], right],
                vec![0, 3, 1, 2],
                vec![right, filters, size[1]],
            ),
            _ => (
                vec![filters, size[0], down, size[1], right],
                vec![0, 3, 5, 1, 2, 4],
                vec![down, right, filters, size[0], size[1]],
            ),
        };
        let from = 2 - of.rank;
        let padded = fixed(&[&[filters], &whole[from..]].concat());
        let together = fixed(&[&[down * right * filters], &size[from..]].concat());
        let op = Op::Pad {
            padding,
            value: 0.0,
        };
        let made = self.moved(op, value, padded, step);
        let made = self.moved(Op::Reshape, made, fixed(&apart), step);
        let made = self.moved(Op::Permute { axes }, made, fixed(&turned), step);
        self.moved(Op::Reshape, made, together, step)
    }

    fn phase_size(&self, made: Value) -> [usize; 2] {
        let lengths: Vec<usize> = self.dims(made).iter().map(|dim| dim.at(1)).collect();
        match lengths[..] {
            [_, _, columns] => [1, columns],
            [_, _, rows, columns] => [rows, columns],
            _ => [1, 1],
        }
    }
}

enum PhaseWeights {
    Codes(Vec<i32>),
    Floats(Vec<f32>),
}
