mod support;
use burn::tensor::{Device, Tensor};
use burn_compress::attach::{Plan, Pruning, Quantization};
use burn_compress::format::Scheme;
use burn_compress::graph::*;
use support::{Dataset, cifar::Cifar, evaluate::accuracy, resnet::ResNet};
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let n: usize = args[1].parse()?;
    let bits: u32 = args[2].parse()?;
    let abits: u32 = args[3].parse()?;
    let method: Calibrator = serde_json::from_str(&args[4])?;
    let device = Device::flex();
    let model = ResNet::load(
        20,
        "/work/shared/data/resnet_cifar10/resnet20-12fca82f.th".as_ref(),
        &device,
    )?;
    let (train, test) = Cifar::load("/work/cifar".as_ref(), Some(1024), Some(n))?;
    let graph = Graph::capture(&model, [1, 3, 32, 32], |m, x: Tensor<4>| m.forward(x))?.simplify();
    println!("{} nodes", graph.nodes().len());
    let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(bits)?));
    let plan = if args.len() > 5 {
        plan.prune(Pruning::to(args[5].parse()?))
    } else {
        plan
    };
    let (attached, compression) = plan.attach(model.clone())?;
    let mut calibration = Calibration::new(
        graph.clone(),
        &attached,
        &compression,
        Activations {
            calibrator: method,
            ..Activations::bits(abits)?
        },
    )?;
    let t = std::time::Instant::now();
    for b in 0..4 {
        let idx: Vec<usize> = (b * 256..b * 256 + 256).collect();
        calibration.observe(&attached, train.batch(&idx, &device).0)?;
    }
    println!("calibrate {:?}", t.elapsed());
    let t = std::time::Instant::now();
    for b in 0..4 {
        let idx: Vec<usize> = (b * 256..b * 256 + 256).collect();
        attached.forward(train.batch(&idx, &device).0);
    }
    println!("forward {:?}", t.elapsed());
    let q = calibration.finish(attached)?;
    let t = std::time::Instant::now();
    println!(
        "sim {} {:?}",
        accuracy(&test, &device, |x| q.forward::<4, 2>(x).unwrap()),
        t.elapsed()
    );
    let t = std::time::Instant::now();
    println!(
        "float {} {:?}",
        accuracy(&test, &device, |x| model.forward(x)),
        t.elapsed()
    );
    let integer = q.to_integer()?;
    println!("{} bytes", integer.to_bytes()?.len());
    let t = std::time::Instant::now();
    let inexact = std::cell::Cell::new(0);
    println!(
        "integer {} {:?}",
        accuracy(&test, &device, |x| {
            let [b, ..] = x.dims();
            let sim: Vec<f32> = q
                .forward::<4, 2>(x.clone())
                .unwrap()
                .into_data()
                .to_vec()
                .unwrap();
            let v: Vec<f32> = x.into_data().to_vec().unwrap();
            let (y, s) = integer.run(&v, b).unwrap();
            inexact.set(inexact.get() + s.inexact());
            let differ = sim
                .iter()
                .zip(&y)
                .filter(|(a, b)| a.to_bits() != b.to_bits())
                .count();
            if differ > 0 {
                println!("{differ} differ");
            }
            Tensor::<1>::from_data(y.as_slice(), &device).reshape([b, 10])
        }),
        t.elapsed()
    );
    println!("inexact {}", inexact.get());
    Ok(())
}
