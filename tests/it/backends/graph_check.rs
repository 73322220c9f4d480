//! Compares a captured pass with the pass itself.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use burn_compress::graph::{Graph, GraphError};

use super::device::{device, name};

/// Numbers that no two elements share, the same on every device.
pub fn numbers<const D: usize>(dims: [usize; D], seed: usize, device: &Device) -> Tensor<D> {
    let count: usize = dims.iter().product();
    let value = |i: usize| ((i * 7 + seed * 13 + 3) as f32 * 0.61).sin() * 1.7;
    let values: Vec<f32> = (0..count).map(value).collect();
    Tensor::<1>::from_data(values.as_slice(), device).reshape(dims)
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[track_caller]
pub fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    // What is summed is near one: where it cancels, an error of 1e-7 is that of one rounding, which a GPU
    // makes elsewhere than a CPU.
    let least = if name() == "wgpu" { 1e-2f32 } else { 1e-3 };
    let largest = expected.iter().fold(least, |most, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs();
        assert!(error <= 1e-5 * largest, "{found} instead of {expected}");
    }
}

/// Captures a pass, compares the graph's output with the pass's at several batch sizes, and gives the
/// names of its operations.
#[track_caller]
pub fn check<M: Module, const D: usize, const E: usize>(
    module: &M,
    shape: [usize; D],
    forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
) -> (Graph, Vec<&'static str>) {
    let graph = Graph::capture(module, shape, &forward).unwrap();
    for batch in [1, 2, 5] {
        let mut dims = shape;
        dims[0] = batch;
        let input = numbers(dims, 0, &device());
        let expected = forward(module, input.clone());
        let found: Tensor<E> = graph.forward(module, input).unwrap();
        assert_eq!(found.dims(), expected.dims());
        assert_close(&values(found), &values(expected));
    }
    let names = graph.nodes().iter().map(|node| node.op.name()).collect();
    (graph, names)
}

/// The same without parameters.
#[track_caller]
pub fn plain<const D: usize, const E: usize>(
    shape: [usize; D],
    forward: impl Fn(Tensor<D>) -> Tensor<E>,
) -> Vec<&'static str> {
    check(&Vec::<Linear>::new(), shape, |_, x| forward(x)).1
}

/// The error of a pass without parameters.
#[track_caller]
pub fn refused<const D: usize, const E: usize>(
    shape: [usize; D],
    forward: impl Fn(Tensor<D>) -> Tensor<E>,
) -> GraphError {
    Graph::capture(&Vec::<Linear>::new(), shape, |_, x| forward(x)).unwrap_err()
}

/// A module with parameters that are all different.
pub fn filled<M: Module>(module: M) -> M {
    struct Fill(usize);
    impl burn::module::ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            let seed = self.0;
            // Positive, so that they serve as variances too.
            param.map(|tensor| {
                let (dims, device) = (tensor.dims(), tensor.device());
                let required = tensor.is_require_grad();
                let tensor = numbers(dims, seed, &device).powi_scalar(2) * 0.4 + 0.1;
                tensor.detach().set_require_grad(required)
            })
        }
    }
    module.map(&mut Fill(0))
}
