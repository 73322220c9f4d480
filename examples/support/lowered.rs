//! A network as the engine takes it, in integers or in floats.

use std::error::Error;

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use burn_compress::compress::{Plan, Pruning, Quantization};
use burn_compress::format::Scheme;
use burn_compress::graph::{Activations, Calibration, Graph};
use burn_compress::network::Network;

/// Images `[count, 3, side, side]` of noise.
pub fn images(count: usize, side: usize, device: &Device) -> Tensor<4> {
    Tensor::random(
        [count, 3, side, side],
        Distribution::Normal(0.0, 1.0),
        device,
    )
}

/// The lowered network and the bytes of its file: with `integers`, weights in 8 bits by output channel and
/// activations in 8.
pub fn lowered<M: Module>(
    model: M,
    side: usize,
    forward: fn(&M, Tensor<4>) -> Tensor<2>,
    integers: bool,
    device: &Device,
) -> Result<(Network, usize), Box<dyn Error>> {
    let graph = Graph::capture(&model, [1, 3, side, side], forward)?.simplify();
    let plan = Plan::new().prune(Pruning::existing());
    if !integers {
        let floats = graph.to_float_model(&model)?;
        return Ok((floats, plan.apply(model)?.archive().to_bytes()?.len()));
    }
    let plan = plan.quantize(Quantization::to(Scheme::symmetric(8)?));
    let (model, compression) = plan.attach(model)?;
    let mut calibration = Calibration::new(graph, &model, &compression, Activations::bits(8)?)?;
    for _ in 0..4 {
        calibration.observe(&model, images(2, side, device))?;
    }
    let integers = calibration.finish(model)?.to_integer()?;
    let bytes = integers.to_bytes()?.len();
    Ok((integers, bytes))
}
