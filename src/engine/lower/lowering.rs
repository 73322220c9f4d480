//! What lowering knows of a network while it goes through its steps.

use super::shape::{Kind, Shape, spatial};
use crate::network::{Network, Op, Over, Step, StepOp, Value, Window};

/// Numbers beyond these might end in NaN, which the kernels know nothing of.
const LARGEST: f32 = 1e25;

pub(in crate::engine) struct Lowering<'a> {
    pub model: &'a Network,
    /// How often each step's result is used, the model's output included.
    pub uses: Vec<usize>,
    /// Steps that were joined to one before them.
    pub joined: Vec<bool>,
}

impl Lowering<'_> {
    /// Whether one step alone needs a tensor.
    pub fn is_used_once(&self, value: Value) -> bool {
        match value {
            Value::Node(index) => self.uses[index] == 1,
            _ => false,
        }
    }

    /// Whether vector blocks hold the codes of a tensor.
    pub fn codes(&self, value: Value) -> Option<()> {
        match Shape::of(self.model, value)?.kind {
            Kind::Codes { .. } => Some(()),
            Kind::Floats => None,
        }
    }

    /// Whether all operands have the dimensions of the result, and its kind.
    pub fn same(&self, step: &Step) -> Option<()> {
        let kind = Kind::of(step.grid)?;
        let alike = step.inputs.iter().all(|&value| {
            let shape = Shape::of(self.model, value);
            self.model.dims(value) == step.dims
                && shape.is_some_and(|shape| shape.kind.unit() == kind.unit())
        });
        alike.then_some(())
    }

    /// The operands of a step on two tensors, the one of the result's dimensions first: the other has them too,
    /// or one place for each channel. Both are of the result's kind.
    pub fn pair(&self, step: &Step) -> Option<[Value; 2]> {
        let unit = Kind::of(step.grid)?.unit();
        let [a, b] = step.inputs[..] else {
            return None;
        };
        let shape =
            |value: Value| Shape::of(self.model, value).filter(|shape| shape.kind.unit() == unit);
        let (first, second) = (shape(a)?, shape(b)?);
        let whole = |value: Value| self.model.dims(value) == step.dims;
        let one = |value: Value, shape: Shape, other: Shape| {
            let same_rank = self.model.dims(value).len() == step.dims.len();
            same_rank && shape.channels == other.channels && [shape.rows, shape.columns] == [1, 1]
        };
        if whole(a) && (whole(b) || one(b, second, first)) {
            return Some([a, b]);
        }
        (whole(b) && one(a, first, second)).then_some([b, a])
    }

    /// What a linear layer reads: through a reshaping that only flattens channels, rows and columns.
    pub fn linear_source(&self, value: Value) -> Option<Value> {
        if let Value::Node(index) = value {
            let step = &self.model.steps()[index];
            if let (StepOp::Move(Op::Reshape), Some([channels, rows, columns]), [source]) = (
                &step.op,
                spatial(&self.model.dims(step.inputs[0])),
                &step.inputs[..],
            ) {
                let flat = spatial(&step.dims) == Some([channels * rows * columns, 1, 1]);
                if flat && step.dims.len() == 2 {
                    return Some(*source);
                }
            }
        }
        (self.model.dims(value).len() == 2).then_some(value)
    }

    /// The window of sums; none where each is over all rows and columns.
    pub fn window(&self, value: Value, over: Over) -> Option<Option<Window>> {
        let [_, rows, columns] = spatial(&self.model.dims(value))?;
        let side_by_side = |kernel: [usize; 2]| Window {
            kernel,
            stride: kernel,
            ..Window::default()
        };
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
            Over::Axes([2]) if self.model.dims(value).len() == 4 => {
                Some(Some(side_by_side([rows, 1])))
            }
            Over::Axes([3]) => Some(Some(side_by_side([1, columns]))),
            Over::Axes(axes) => self.all_places(value, axes).map(|()| None),
            Over::Windows { .. } => None,
        }
    }

    /// Whether axes are all rows and columns of a tensor.
    fn all_places(&self, value: Value, axes: &[usize]) -> Option<()> {
        let rank = self.model.dims(value).len();
        spatial(&self.model.dims(value))?;
        (rank > 2 && axes.iter().copied().eq(2..rank)).then_some(())
    }
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
