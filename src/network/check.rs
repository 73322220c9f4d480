//! What a model must hold to, so that running it cannot fail but for memory.

use crate::format::WeightView;
use crate::network::NetworkError;
use crate::network::{Dim, FloatOp, Op, Unary, Value};

use super::shape;
use super::{Arithmetic, Codes, Divide, Grid, Network, Over, Rescale, Step, StepOp, Weights};

type Result<T> = std::result::Result<T, String>;

pub(super) fn model(model: &Network) -> std::result::Result<(), NetworkError> {
    let at = |layer: &str| {
        let layer = layer.to_string();
        move |what| NetworkError::Step { layer, what }
    };
    shape::check(&model.input).map_err(at("input"))?;
    for (index, constant) in model.constants.iter().enumerate() {
        let place = format!("constant {index}");
        let dims = model.dims(Value::Constant(index));
        shape::check(&dims).map_err(at(&place))?;
        if shape::elements(&dims, 1) != Some(constant.values.len()) {
            let what = format!("{} values in {dims:?}", constant.values.len());
            return Err(at(&place)(what));
        }
        finite(&constant.values).map_err(at(&place))?;
    }
    for (index, step) in model.steps.iter().enumerate() {
        self::step(model, index).map_err(at(&step.layer))?;
        let reach = reach(model, step).map_err(at(&step.layer))?;
        if reach > i32::MAX as u64 {
            return Err(NetworkError::Activation {
                layer: step.layer.clone(),
                what: format!(
                    "sums of {} can reach {reach}, beyond 32 bits; use fewer bits",
                    step.op.name()
                ),
            });
        }
    }
    exists(model, model.output, model.steps.len()).map_err(at("output"))
}

fn exists(model: &Network, value: Value, before: usize) -> Result<()> {
    let exists = match value {
        Value::Input => true,
        Value::Node(index) => index < before,
        Value::Constant(index) => index < model.constants.len(),
        Value::Parameter(_) => false,
    };
    match exists {
        true => Ok(()),
        false => Err(format!("there is no {value:?} before it")),
    }
}

fn step(model: &Network, index: usize) -> Result<()> {
    let step = &model.steps[index];
    shape::check(&step.dims)?;
    for &input in &step.inputs {
        exists(model, input, index)?;
    }
    form_fits(&step.op)?;
    let mut inputs = step.inputs.clone();
    let residual = step.op.rescale().is_some_and(|r| r.residual.is_some());
    if residual {
        let added = inputs.pop().ok_or("no residual")?;
        if model.dims(added) != step.dims || model.grid(added).is_none() {
            return Err("the residual is no tensor of codes of its dimensions".to_string());
        }
    }
    let mut operands: Vec<_> = inputs.iter().map(|&input| model.dims(input)).collect();
    if let Some(weights) = step.op.weights() {
        operands.push(weights.dims.iter().copied().map(Dim::Fixed).collect());
    }
    let dims = shape::result(step.op.op(), &operands, &step.dims)?;
    if dims != step.dims {
        return Err(format!("its result is {dims:?}, not {:?}", step.dims));
    }
    operands_fit(model, step, &inputs)?;
    numbers(step)
}

/// Whether the form is one that the operation within has.
fn form_fits(of: &StepOp) -> Result<()> {
    let (fits, form) = match of {
        StepOp::Product { op, weights, .. } => {
            let held = match (op.has_weights(), weights) {
                (true, None) => return Err(format!("{} has no weights", op.name())),
                (false, Some(_)) => return Err(format!("{} holds no weights", op.name())),
                _ => op.is_product(),
            };
            (held, "product")
        }
        StepOp::Sum { op, divide, .. } => {
            let fits = match op.sums() {
                // The factor of a sum over axes divides.
                Some((Over::Axes(_), of)) => (of, *divide) == (Divide::None, Divide::None),
                sums => sums.is_some(),
            };
            (fits, "sum")
        }
        StepOp::Move(op) => (op.is_move(), "movement"),
        StepOp::Float(op) => (!op.is_move(), "step in floats"),
        _ => (true, ""),
    };
    match fits {
        true => Ok(()),
        false => Err(format!("{} is no {form}", of.name())),
    }
}

/// Which operands are codes and which are floats.
fn operands_fit(model: &Network, step: &Step, inputs: &[Value]) -> Result<()> {
    let grids: Vec<Option<Grid>> = inputs.iter().map(|&input| model.grid(input)).collect();
    let fit = match (&step.op, &grids[..]) {
        (StepOp::Quantize, [None]) => step.grid.is_some(),
        (StepOp::Dequantize, [Some(_)]) => step.grid.is_none(),
        (StepOp::Table(_), [Some(_)]) => step.grid.is_some(),
        (StepOp::Arithmetic { how, .. }, grids) if how.has_constant() => {
            matches!(grids, [Some(_), None]) && matches!(inputs[1], Value::Constant(_))
        }
        (StepOp::Move(op), grids) => {
            let moves = match op {
                Op::Pad { value, .. } => {
                    value.is_finite() && (*value == 0.0 || step.grid.is_none())
                }
                _ => true,
            };
            // What is joined keeps its codes: what reads the whole makes up for their scales.
            let joins = matches!(op, Op::Concatenate { .. });
            let fits = |grid: &Option<Grid>| match (grid, step.grid) {
                (Some(grid), Some(of)) if joins => grid.has_codes_of(&of),
                (grid, of) => *grid == of,
            };
            moves && grids.iter().all(fits)
        }
        (StepOp::Float(op), _) => match op {
            Op::Unary(unary) => unary_fits(*unary),
            Op::Float(FloatOp::Gather { axis }) => places_exist(model, inputs, *axis),
            _ => true,
        },
        (StepOp::Quantize | StepOp::Dequantize | StepOp::Table(_), _) => false,
        (_, grids) => grids.iter().all(Option::is_some),
    };
    match fit {
        true => Ok(()),
        false => Err(format!(
            "{} does not take or give these codes and floats",
            step.op.name()
        )),
    }
}

/// Weights and factors.
fn numbers(step: &Step) -> Result<()> {
    if let Some(rescale) = step.op.rescale() {
        let channels = match (step.op.op(), &step.op) {
            (op, StepOp::Product { .. }) if !op.has_weights() => None,
            (op, StepOp::Product { .. }) => step.dims.get(op.channel_axis(step.dims.len())),
            _ => step.dims.get(1),
        };
        let channels = channels.map(|dim| match dim {
            Dim::Fixed(length) => *length,
            Dim::Batch(_) => 1,
        });
        factors(rescale, channels.unwrap_or(1))?;
    }
    if let Some(super::Activation::Clamp { min, max }) = step.op.activation() {
        bounds(min, max)?;
    }
    match &step.op {
        StepOp::Product {
            weights: Some(weights),
            ..
        } => {
            let count = weights
                .dims
                .iter()
                .try_fold(1usize, |n, &d| n.checked_mul(d));
            if count != Some(weights.codes.len()) {
                let (codes, dims) = (weights.codes.len(), &weights.dims);
                return Err(format!("{codes} weights in {dims:?}"));
            }
            within(&weights.codes)
        }
        StepOp::Arithmetic { how, .. } => finite(&how.factors()),
        StepOp::Sum { multiplier, .. } => finite(&[*multiplier]),
        _ => Ok(()),
    }
}

fn factors(rescale: &Rescale, channels: usize) -> Result<()> {
    let offset = rescale.offset.as_deref();
    for factors in [Some(&rescale.multiplier[..]), offset]
        .into_iter()
        .flatten()
    {
        if factors.len() != 1 && factors.len() != channels {
            return Err(format!("{} factors for {channels} channels", factors.len()));
        }
        finite(factors)?;
    }
    finite(&[rescale.residual.unwrap_or(0.0)])
}

fn finite(values: &[f32]) -> Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("{value} is not finite")),
        None => Ok(()),
    }
}

fn bounds(min: f32, max: f32) -> Result<()> {
    match min <= max {
        true => Ok(()),
        false => Err(format!("bounds {min} and {max}")),
    }
}

/// Whether the second operand is a constant of places on an axis of the first.
fn places_exist(model: &Network, inputs: &[Value], axis: usize) -> bool {
    let (Some(&input), Some(Value::Constant(places))) = (inputs.first(), inputs.get(1)) else {
        return false;
    };
    let dims = model.dims(input);
    let length = match dims.get(axis) {
        Some(Dim::Fixed(length)) => *length,
        _ => return false,
    };
    let exists = |place: &f32| place.fract() == 0.0 && *place >= 0.0 && (*place as usize) < length;
    model.constants[*places].values.iter().all(exists)
}

fn unary_fits(unary: Unary) -> bool {
    match unary {
        Unary::Clamp { min, max } => min <= max,
        Unary::LeakyRelu { slope: c }
        | Unary::AddScalar(c)
        | Unary::MulScalar(c)
        | Unary::Power(c) => c.is_finite(),
        Unary::HardSigmoid { alpha, beta } => alpha.is_finite() && beta.is_finite(),
        _ => true,
    }
}

/// The greatest absolute value that a sum of the step can have.
fn reach(model: &Network, step: &Step) -> Result<u64> {
    let grid = |index: usize| {
        let input = step.inputs.get(index);
        input.and_then(|&input| model.grid(input))
    };
    let code = |index| grid(index).map_or(0, |grid| grid.reach());
    let terms = match &step.op {
        StepOp::Product {
            op,
            weights: Some(weights),
            ..
        } => {
            let layout = op.weight_layout(&weights.dims);
            heaviest(weights, &layout.ok_or("no weights")?, code(0))
        }
        StepOp::Product { weights: None, .. } => {
            let inner = model.dims(step.inputs[0]).last().map_or(1, |dim| dim.at(1));
            (inner as u64).saturating_mul(code(1))
        }
        StepOp::Arithmetic {
            how: Arithmetic::Multiply { .. },
            ..
        } => code(1),
        StepOp::Sum { op, .. } => {
            let (over, _) = op.sums().ok_or("no sum")?;
            over.most(&model.dims(step.inputs[0]), &step.dims)?
        }
        StepOp::Table(table) => {
            // No sum: each code of the operand has an entry, and each entry is a code.
            let (from, to) = (grid(0).ok_or("no grid")?, step.grid.ok_or("no grid")?);
            let fits = table.len() as i64 == i64::from(from.high()) - i64::from(from.low()) + 1
                && table
                    .iter()
                    .all(|code| (to.low()..=to.high()).contains(code));
            return match fits {
                true => Ok(0),
                false => Err(format!("a table of {} codes", table.len())),
            };
        }
        _ => 1,
    };
    Ok(terms.saturating_mul(code(0)))
}

/// Whether the weights can be centred codes of 16 bits.
fn within(codes: &Codes) -> Result<()> {
    let Codes::I32(codes) = codes else {
        return Ok(());
    };
    match codes.iter().find(|code| code.unsigned_abs() > 65_535) {
        Some(code) => Err(format!("a weight of {code} has more than 16 bits")),
        None => Ok(()),
    }
}

/// The greatest sum of absolute weights of an output channel, or more than that where even so no sum of
/// products with codes up to `code` leaves 32 bits.
fn heaviest(weights: &Weights, layout: &WeightView, code: u64) -> u64 {
    // If all weights were the greatest, which takes no look at them.
    let greatest = match weights.codes {
        Codes::I8(_) => i8::MIN.unsigned_abs().into(),
        Codes::I16(_) => i16::MIN.unsigned_abs().into(),
        Codes::I32(_) => u64::from(i32::MIN.unsigned_abs()),
    };
    let most = (layout.columns() as u64).saturating_mul(greatest);
    if most.saturating_mul(code) <= i32::MAX as u64 {
        return most;
    }
    match &weights.codes {
        Codes::I8(codes) => heaviest_of(codes, layout, |code| code.unsigned_abs().into()),
        Codes::I16(codes) => heaviest_of(codes, layout, |code| code.unsigned_abs().into()),
        Codes::I32(codes) => heaviest_of(codes, layout, |code| code.unsigned_abs().into()),
    }
}

fn heaviest_of<T: Copy>(codes: &[T], layout: &WeightView, absolute: impl Fn(T) -> u64) -> u64 {
    let mut sums = vec![0u64; layout.rows()];
    for (kernel, codes) in codes.chunks(layout.taps().max(1)).enumerate() {
        let sum: u64 = codes.iter().copied().map(&absolute).sum();
        sums[layout.channels(kernel).1] += sum;
    }
    sums.into_iter().max().unwrap_or(0)
}

/// Whether the axis of images comes first everywhere and no step mixes them.
pub(super) fn keeps_samples_apart(model: &Network) -> bool {
    let leads = |dims: &[Dim]| match dims {
        [Dim::Batch(_), rest @ ..] => rest.iter().all(|dim| matches!(dim, Dim::Fixed(_))),
        _ => false,
    };
    // Steps of constants alone are the same for each image.
    let mut constant: Vec<bool> = Vec::new();
    for step in &model.steps {
        let from_constants = step.inputs.iter().all(|input| match input {
            Value::Node(index) => constant[*index],
            input => matches!(input, Value::Constant(_)),
        });
        let same = from_constants && step.dims.iter().all(|dim| matches!(dim, Dim::Fixed(_)));
        constant.push(same);
        let apart = match step.op.op() {
            Op::Softmax { axis } | Op::Concatenate { axis } => *axis > 0,
            Op::Permute { axes } => axes.first() == Some(&0),
            Op::LayerNorm { .. } => step.dims.len() > 1,
            Op::Float(op) => op.axis() != Some(0),
            _ => true,
        };
        let mixes = !apart || !leads(&step.dims);
        if !same && mixes {
            return false;
        }
    }
    let output = match model.output {
        Value::Node(index) => !constant[index],
        value => value == Value::Input,
    };
    leads(&model.input) && output
}
