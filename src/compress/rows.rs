//! A parameter of any rank as the matrix that policies see, on its device.

use burn::tensor::Tensor;

use crate::format::WeightView;

/// `[out, in * kernel]`.
pub(super) fn to_rows<const D: usize>(weight: Tensor<D>, view: &WeightView) -> Tensor<2> {
    let shape = [view.rows(), view.columns()];
    match (view.output_axis(), view.groups()) {
        (0, _) => weight.reshape(shape),
        (axis, 1) => weight.swap_dims(0, axis).reshape(shape),
        (_, groups) => {
            let [inputs, outputs] = [view.inputs() / groups, view.rows() / groups];
            let weight = weight.reshape([groups, inputs, outputs, view.taps()]);
            weight.swap_dims(1, 2).reshape(shape)
        }
    }
}

/// `[groups, weights of a group]`: those that share each of these scales.
pub(super) fn in_groups(rows: Tensor<2>, scale: &Tensor<1>) -> Tensor<2> {
    let [height, width] = rows.dims();
    let [groups] = scale.dims();
    rows.reshape([groups, height * width / groups.max(1)])
}

/// Back to the weight's own dimensions.
pub(super) fn from_rows<const D: usize>(rows: Tensor<2>, view: &WeightView) -> Tensor<D> {
    let mut dims = [1; D];
    if view.groups() > 1 && view.output_axis() == 1 {
        let groups = view.groups();
        let [inputs, outputs] = [view.inputs() / groups, view.rows() / groups];
        let rows = rows.reshape([groups, outputs, inputs, view.taps()]);
        dims.copy_from_slice(view.dims());
        return rows.swap_dims(1, 2).reshape([view.len()]).reshape(dims);
    }
    dims.copy_from_slice(&view.output_first());
    let weight = rows.reshape(dims);
    match view.output_axis() {
        0 => weight,
        // Flattened, so that it lies in memory as a plain parameter does: products of a transposed
        // view round otherwise, and training would not see what is deployed.
        axis => {
            let weight = weight.swap_dims(0, axis);
            let dims = weight.dims();
            weight.reshape([view.len()]).reshape(dims)
        }
    }
}
