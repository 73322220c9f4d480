//! What lowering knows of a network while it goes through its steps.

use super::axes::{Axes, Role};
use super::shape::{Kind, Shape};
use super::viewed::Viewed;
use crate::network::{Constant, Op, Over, Step, StepOp, Value, Window};

/// Numbers beyond these might end in NaN, which the kernels know nothing of.
const LARGEST: f32 = 1e25;

pub(in crate::engine) struct Lowering<'a> {
    pub model: &'a Viewed<'a>,
    /// How often each step's result is used, the model's output included.
    pub uses: Vec<usize>,
    /// Steps that were joined to one before them.
    pub joined: Vec<bool>,
}

impl<'m> Lowering<'m> {
    /// Whether one step alone needs a tensor.
    pub fn is_used_once(&self, value: Value) -> bool {
        match value {
            Value::Node(index) => self.uses[index] == 1,
            _ => false,
        }
    }

    /// The one step that reads the result of another one, where nothing else does.
    pub fn only_reader(&self, index: usize) -> Option<(usize, &'m Step)> {
        let steps = self.model.network().steps();
        let mut later = steps.iter().enumerate().skip(index + 1);
        let reads = |step: &Step| step.inputs.contains(&Value::Node(index));
        let (next, step) = later.find(|(_, step)| reads(step))?;
        (self.uses[index] == 1 && !self.joined[next]).then_some((next, step))
    }

    /// The numbers of a constant.
    pub fn constant(&self, value: Option<&Value>) -> Option<&'m Constant> {
        match value {
            Some(Value::Constant(index)) => self.model.network().constants().get(*index),
            _ => None,
        }
    }

    /// Whether vector blocks hold the codes of a tensor.
    pub fn codes(&self, value: Value) -> Option<()> {
        match Shape::of(self.model, value)?.kind {
            Kind::Codes { .. } => Some(()),
            Kind::Floats => None,
        }
    }

    /// Whether a tensor's channels are in front.
    pub fn images(&self, value: Value) -> Option<()> {
        let axes = self.model.axes(value)?;
        axes.is_images(&self.model.dims(value)).then_some(())
    }

    /// Whether a tensor lies as the result of a step, element by element.
    pub fn lies_like(&self, value: Value, step: usize) -> bool {
        let made = Value::Node(step);
        let axes = |value: Value| self.model.axes(value);
        let alike = axes(value)
            .zip(axes(made))
            .is_some_and(|(a, b)| a.is_like(&b));
        alike && self.model.dims(value) == self.model.dims(made)
    }

    /// Whether all operands have the dimensions of the result, and its kind.
    pub fn same(&self, index: usize, step: &Step) -> Option<()> {
        let kind = Kind::of(step.grid)?;
        let alike = step.inputs.iter().all(|&value| {
            let shape = Shape::of(self.model, value);
            self.lies_like(value, index)
                && shape.is_some_and(|shape| shape.kind.unit() == kind.unit())
        });
        alike.then_some(())
    }

    /// The operands of a step on two tensors, the one of the result's dimensions first: the other has them too,
    /// or one place for each channel. Both are of the result's kind.
    pub fn pair(&self, index: usize, step: &Step) -> Option<[Value; 2]> {
        let unit = Kind::of(step.grid)?.unit();
        let [a, b] = step.inputs[..] else {
            return None;
        };
        let shape =
            |value: Value| Shape::of(self.model, value).filter(|shape| shape.kind.unit() == unit);
        let (first, second) = (shape(a)?, shape(b)?);
        let whole = |value: Value| self.lies_like(value, index);
        let one = |shape: Shape, other: Shape| {
            let same = other.axes.covers(&shape.axes);
            same && shape.channels == other.channels && shape.size() == [1, 1]
        };
        if whole(a) && (whole(b) || one(second, first)) {
            return Some([a, b]);
        }
        (whole(b) && one(first, second)).then_some([b, a])
    }

    /// What a linear layer reads, and with which window: of tokens each position alone, or all that a reshaping
    /// only flattens to channels.
    pub fn linear_source(&self, value: Value) -> Option<LinearSource> {
        let dims = self.model.dims(value);
        if dims.len() > 2 {
            let shape = Shape::of(self.model, value)?;
            return shape.axes.is_tokens(&dims).then(|| LinearSource {
                value,
                shape,
                window: Window::default(),
                order: None,
            });
        }
        let flattened = match value {
            Value::Node(index) => {
                let step = &self.model.steps()[index];
                let source = match (&step.op, &step.inputs[..]) {
                    (StepOp::Move(Op::Reshape), [source]) => Some(*source),
                    _ => None,
                };
                let shape = source.and_then(|source| Shape::of(self.model, source));
                let axes = self.model.axes(value).map(|axes| axes.channels());
                let flat =
                    |shape: &Shape| Some(shape.channels * shape.rows * shape.columns) == axes;
                source.zip(shape.filter(flat))
            }
            _ => None,
        };
        let (value, shape) = match flattened {
            Some(flattened) => flattened,
            None => (value, Shape::of(self.model, value)?),
        };
        Some(LinearSource {
            value,
            window: whole(&shape),
            order: order(&shape.axes),
            shape,
        })
    }

    /// The window of sums; none where each is over all rows and columns.
    pub fn window(&self, value: Value, over: Over) -> Option<Option<Window>> {
        if let Over::Axes(axes) = over
            && self.all_places(value, axes).is_some()
        {
            return Some(None);
        }
        let [rows, columns] = Shape::of(self.model, value)?.size();
        let side_by_side = |kernel: [usize; 2]| Window {
            kernel,
            stride: kernel,
            ..Window::default()
        };
        if let Over::Axes([axis]) = over
            && *axis > 0
            && self.model.dims(value).len() > 3
        {
            return match self.model.axes(value)?.role(*axis) {
                Role::Row => Some(Some(side_by_side([rows, 1]))),
                Role::Column => Some(Some(side_by_side([1, columns]))),
                Role::Channel | Role::Batch => None,
            };
        }
        self.images(value)?;
        match over {
            Over::Windows {
                window,
                ceil: false,
                ..
            } => Some(Some(window)),
            Over::Shares { output: [1, 1], .. } => Some(None),
            Over::Shares { output, .. } => {
                let even = rows.is_multiple_of(output[0]) && columns.is_multiple_of(output[1]);
                even.then(|| Some(side_by_side([rows / output[0], columns / output[1]])))
            }
            Over::Axes(_) | Over::Windows { .. } => None,
        }
    }

    /// Whether axes are all rows and columns of a tensor.
    fn all_places(&self, value: Value, axes: &[usize]) -> Option<()> {
        let of = self.model.axes(value)?;
        let fits = (1..of.rank()).all(|axis| {
            let place = of.role(axis) != Role::Channel;
            of.length(axis) == 1 || place == axes.contains(&axis)
        });
        (of.rank() > 2 && fits && !axes.contains(&0)).then_some(())
    }
}

/// What a linear layer reads.
pub(in crate::engine) struct LinearSource {
    pub value: Value,
    pub shape: Shape,
    pub window: Window,
    /// Which of the layer's weights is the first of a filter, and so on; none: they are in order.
    order: Option<Vec<usize>>,
}

impl LinearSource {
    /// Weights `[out, in]` in the order of channels, rows and columns.
    pub fn ordered<T: Copy>(&self, weights: Vec<T>) -> Vec<T> {
        match &self.order {
            None => weights,
            Some(order) => {
                let filters = weights.chunks_exact(order.len().max(1));
                let of = |filter: &[T]| order.iter().map(|&at| filter[at]).collect::<Vec<_>>();
                filters.flat_map(of).collect()
            }
        }
    }
}

/// The place of each element of a sample by channel, row and column; none where they are in this order.
pub(in crate::engine) fn order(axes: &Axes) -> Option<Vec<usize>> {
    let strides = axes.strides();
    let mut order = Vec::new();
    for first in strides.channels {
        for row in 0..axes.rows() {
            let first = first + row * strides.row;
            order.extend((0..axes.columns()).map(|column| first + column * strides.column));
        }
    }
    let sorted = order.is_sorted();
    (!sorted).then_some(order)
}

/// A number that no sum of products makes infinite.
pub(in crate::engine) fn small(value: f32) -> Option<f32> {
    (value.abs() <= LARGEST).then_some(value)
}

/// All rows and columns of a tensor.
pub(in crate::engine) fn whole(shape: &Shape) -> Window {
    Window {
        kernel: [shape.rows, shape.columns],
        ..Window::default()
    }
}

/// `[in, out]` as `[out, in]`.
pub(in crate::engine) fn turned<T: Copy + Default>(weights: &[T], outputs: usize) -> Vec<T> {
    // Rows at a time: a line of the cache that is read gives its next columns soon, and one that is
    // written is written whole.
    const ROWS: usize = 64;
    let rows: Vec<&[T]> = weights.chunks_exact(outputs.max(1)).collect();
    let mut turned = vec![T::default(); weights.len()];
    for (block, from) in rows.chunks(ROWS).enumerate() {
        for (column, to) in turned.chunks_exact_mut(rows.len()).enumerate() {
            let to = &mut to[block * ROWS..][..from.len()];
            to.iter_mut()
                .zip(from)
                .for_each(|(to, row)| *to = row[column]);
        }
    }
    turned
}
