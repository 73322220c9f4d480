mod support;
use burn::tensor::{Device, Distribution, Tensor};
use burn_compress::attach::{Plan, Quantization};
use burn_compress::format::Scheme;
use burn_compress::graph::*;
use support::resnet::ResNet;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex();
    let model = ResNet::load(
        20,
        "/work/shared/data/resnet_cifar10/resnet20-12fca82f.th".as_ref(),
        &device,
    )?;
    let t = std::time::Instant::now();
    let graph = Graph::capture(&model, [1, 3, 32, 32], |m, x: Tensor<4>| m.forward(x))?;
    println!("{:?}", t.elapsed());
    let n = graph.nodes().len();
    let graph = graph.simplify();
    println!("{n} -> {} {:?}", graph.nodes().len(), t.elapsed());
    for (i, node) in graph.nodes().iter().enumerate() {
        println!(
            "{i} {} {:?} {:?} {} b{} n{} a{:?} {:?}",
            node.op.name(),
            node.inputs,
            node.dims,
            node.layer,
            node.epilogue.bias.is_some(),
            node.epilogue.norm.is_some(),
            node.epilogue.add,
            node.epilogue.activation
        );
    }
    let x = Tensor::<4>::random([8, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
    let y = model.forward(x.clone());
    let z: Tensor<2> = graph.forward(&model, x.clone())?;
    println!("max difference {}", (y.clone() - z).abs().max());
    let (attached, compression) = Plan::new()
        .quantize(Quantization::to(Scheme::symmetric(8)?))
        .attach(model.clone())?;
    let mut calibration = Calibration::new(
        graph.clone(),
        &attached,
        &compression,
        Activations::bits(8)?,
    )?;
    let t = std::time::Instant::now();
    calibration.observe(&attached, x.clone())?;
    println!("calibrate {:?}", t.elapsed());
    let q = calibration.finish(attached)?;
    println!("{:?}", q.scales()?);
    for site in q.sites() {
        println!("{site:?}");
    }
    let t = std::time::Instant::now();
    let z: Tensor<2> = q.forward(x.clone())?;
    println!("sim {:?}", t.elapsed());
    println!(
        "max difference {} of {}",
        (y.clone() - z).abs().max(),
        y.abs().max()
    );
    Ok(())
}
