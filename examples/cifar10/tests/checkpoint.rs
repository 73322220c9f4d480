//! The published ResNets: captured, quantized and compiled, they give what their module gives.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use burn_compress::compress::{Plan, Quantization};
use burn_compress::engine::{Options, Program};
use burn_compress::format::Scheme;
use burn_compress::graph::{Activations, Calibration, Graph};
use cifar10::checkpoint;
use cifar10::models::resnet::ResNet;

const FOLDER: &str = "../../../shared/data/resnet_cifar10";

fn images(count: usize, device: &Device) -> Tensor<4> {
    let wave = |place: usize| 2.0 * (place as f32 * 0.37).sin();
    let values: Vec<f32> = (0..count * 3 * 32 * 32).map(wave).collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape([count, 3, 32, 32])
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

#[test]
fn published_networks() {
    let device = Device::default();
    for (depth, file) in [(20, "resnet20-12fca82f.th"), (32, "resnet32-d509ac18.th")] {
        let path = Path::new(FOLDER).join(file);
        if !path.exists() {
            eprintln!("skipped: {} is not here", path.display());
            continue;
        }
        let model = checkpoint::load(depth, &path, &device).unwrap();
        let batch = images(3, &device);
        let wanted = numbers(model.forward(batch.clone()));
        let graph = Graph::capture(&model, [1, 3, 32, 32], |model: &ResNet, x: Tensor<4>| {
            model.forward(x)
        });
        let graph = graph.unwrap().simplify();
        let largest = wanted.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
        let found = numbers(graph.forward::<_, 4, 2>(&model, batch.clone()).unwrap());
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!(
                (found - wanted).abs() <= 1e-4 * largest,
                "{found}, not {wanted}"
            );
        }

        let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(8).unwrap()));
        let (model, compression) = plan.attach(model).unwrap();
        let activations = Activations::bits(8).unwrap();
        let mut calibration = Calibration::new(graph, &model, &compression, activations).unwrap();
        calibration.observe(&model, batch.clone()).unwrap();
        let quantized = calibration.finish(model).unwrap();
        let simulated = numbers(quantized.forward::<4, 2>(batch.clone()).unwrap());
        let network = quantized.to_integer().unwrap();
        let input = numbers(batch);
        let (reference, statistics) = network.run(&input, 3).unwrap();
        let program = Program::compile(&network, Options::default()).unwrap();
        assert_eq!(program.run(&input, 3).unwrap(), reference);
        if statistics.inexact() == 0 {
            assert_eq!(simulated, reference);
        }
        for (found, wanted) in reference.iter().zip(&wanted) {
            assert!(
                (found - wanted).abs() <= 0.1 * largest,
                "{found}, not {wanted}"
            );
        }
    }
}
