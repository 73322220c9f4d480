//! What the graph room costs, as ratios measured side by side in one run.
//!
//! ```text
//! cargo bench --bench graph [-- --steps 5 --batch 64]
//! ```
//!
//! A training step of ResNet-20 plain and as its quantized graph, with the statistics of the batch and
//! with frozen ones; calibration against the forward pass of the same batches; and the capture of
//! ResNet-50 with all passes.

use std::error::Error;
use std::time::Instant;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_compress::compress::{Plan, Quantization};
use burn_compress::format::Scheme;
use burn_compress::graph::{Activations, Calibration, Calibrator, Graph, Quantized};
use clap::Parser;

#[path = "../examples/support/device.rs"]
mod device;
#[path = "../examples/models/mod.rs"]
mod models;

use models::resnet::ResNet;
use models::resnet50::{ResNet50, ResNet50Config};

#[derive(Parser)]
struct Arguments {
    /// Where it runs
    #[arg(long, value_enum, default_value_t)]
    device: device::Backend,
    /// Timed rounds
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Images of a step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A training run of the plain module or of its quantized graph.
struct Run<M> {
    name: &'static str,
    model: Option<M>,
    optimizer: ModuleOptimizer,
    seconds: Vec<f64>,
}

trait Classify: Module {
    fn classify(&self, images: Tensor<4>) -> Result<Tensor<2>, Box<dyn Error>>;
}

impl Classify for ResNet {
    fn classify(&self, images: Tensor<4>) -> Result<Tensor<2>, Box<dyn Error>> {
        Ok(self.forward(images))
    }
}

impl Classify for Quantized<ResNet> {
    fn classify(&self, images: Tensor<4>) -> Result<Tensor<2>, Box<dyn Error>> {
        Ok(self.forward(images)?)
    }
}

impl<M: Classify> Run<M> {
    fn new(name: &'static str, model: M) -> Self {
        let momentum = MomentumConfig::new().with_momentum(0.9);
        Self {
            name,
            model: Some(model),
            optimizer: SgdConfig::new().with_momentum(Some(momentum)).init(),
            seconds: Vec::new(),
        }
    }

    fn step(&mut self, images: Tensor<4>, labels: Tensor<1, Int>) -> Result<(), Box<dyn Error>> {
        let device = images.device();
        let model = self.model.take().ok_or("the last step failed")?;
        let start = Instant::now();
        let loss = CrossEntropyLossConfig::new().init(&device);
        let gradients = loss.forward(model.classify(images)?, labels).backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        self.model = Some(self.optimizer.step(0.001, model, gradients));
        device.sync()?;
        self.seconds.push(start.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Sorted: the least, the median and the greatest.
fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    ]
}

fn show(name: &str, seconds: &[f64], plain: &[f64]) {
    let [least, middle, greatest] = spread(seconds.iter().zip(plain).map(|(a, b)| a / b).collect());
    let [fastest, median, _] = spread(seconds.to_vec());
    let of_fastest = fastest / spread(plain.to_vec())[0];
    println!(
        "  {name:42} {:8.1} ms, ratio to plain: median {middle:.3} ({least:.3} to {greatest:.3}), \
         of the fastest {of_fastest:.3}",
        median * 1e3,
    );
}

/// A network whose running statistics are those of its batches, as a trained one's are: ranges that are
/// calibrated by others would cut off half of all activations.
fn settled(device: &Device, images: &Tensor<4>) -> Result<ResNet, Box<dyn Error>> {
    let model = ResNet::new(20, device)?;
    let few = images.clone().narrow(0, 0, images.dims()[0].min(16));
    for _ in 0..30 {
        drop(model.forward(few.clone()));
    }
    Ok(model)
}

/// W8A8: a scale for each weight tensor, learned ones for activations.
fn quantized(model: ResNet, batches: &[Tensor<4>]) -> Result<Quantized<ResNet>, Box<dyn Error>> {
    let graph = Graph::capture(&model, [1, 3, 32, 32], ResNet::forward)?.simplify();
    let weights = Plan::new().quantize(Quantization::to(Scheme::symmetric(8)?));
    let (model, compression) = weights.attach(model)?;
    let activations = Activations::bits(8)?;
    let mut calibration = Calibration::new(graph, &model, &compression, activations)?;
    for batch in batches {
        calibration.observe(&model, batch.clone())?;
    }
    Ok(calibration.finish(model)?)
}

fn training_step(device: &Device, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let device = device.clone().autodiff();
    let batch = arguments.batch;
    let images = Tensor::<4>::random([batch, 3, 32, 32], Distribution::Default, &device);
    let labels = Tensor::<1, Int>::zeros([batch], &device);
    let model = || quantized(settled(&device, &images)?, std::slice::from_ref(&images));
    let mut plain = Run::new("plain", settled(&device, &images)?);
    let mut runs = [
        Run::new("quantized, statistics of the batch", model()?),
        Run::new("quantized, frozen statistics", model()?.freeze_statistics()),
    ];
    for round in 0..=arguments.steps {
        plain.step(images.clone(), labels.clone())?;
        for run in &mut runs {
            run.step(images.clone(), labels.clone())?;
        }
        if round == 0 {
            // Warms up.
            plain.seconds.clear();
            runs.iter_mut().for_each(|run| run.seconds.clear());
        }
    }
    println!(
        "training step of ResNet-20, batch {batch}, {} rounds:",
        arguments.steps
    );
    show(plain.name, &plain.seconds, &plain.seconds);
    for run in &runs {
        show(run.name, &run.seconds, &plain.seconds);
    }
    Ok(())
}

fn calibration(device: &Device, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let batch = arguments.batch;
    let images = Tensor::<4>::random([batch, 3, 32, 32], Distribution::Normal(0.0, 1.0), device);
    let model = ResNet::new(20, device)?;
    let graph = Graph::capture(&model, [1, 3, 32, 32], ResNet::forward)?.simplify();
    let weights = Plan::new().quantize(Quantization::to(Scheme::symmetric(8)?));
    let (compressed, compression) = weights.attach(model.clone())?;
    let calibrators = [
        ("least squares", Calibrator::LeastSquares),
        ("min-max", Calibrator::MinMax),
    ];
    let mut calibrations = Vec::new();
    for (name, calibrator) in calibrators {
        let activations = Activations {
            calibrator,
            ..Activations::bits(8)?
        };
        let calibration = Calibration::new(graph.clone(), &compressed, &compression, activations)?;
        calibrations.push((name, calibration, Vec::new()));
    }
    let (mut plain, mut simplified) = (Vec::new(), Vec::new());
    let time = |seconds: &mut Vec<f64>, run: &mut dyn FnMut() -> Result<(), Box<dyn Error>>| {
        let start = Instant::now();
        run()?;
        device.sync()?;
        seconds.push(start.elapsed().as_secs_f64());
        Ok::<(), Box<dyn Error>>(())
    };
    for round in 0..=2 * arguments.steps {
        time(&mut plain, &mut || {
            drop(model.forward(images.clone()).into_data());
            Ok(())
        })?;
        time(&mut simplified, &mut || {
            let output: Tensor<2> = graph.forward(&model, images.clone())?;
            drop(output.into_data());
            Ok(())
        })?;
        for (_, calibration, seconds) in &mut calibrations {
            time(seconds, &mut || {
                Ok(calibration.observe(&compressed, images.clone())?)
            })?;
        }
        if round == 0 {
            plain.clear();
            simplified.clear();
            calibrations.iter_mut().for_each(|(_, _, s)| s.clear());
        }
    }
    println!("calibration of ResNet-20, batch {batch}:");
    show("forward pass", &plain, &plain);
    show("forward pass of the simplified graph", &simplified, &plain);
    for (name, calibration, seconds) in &calibrations {
        show(&format!("observe, {name}"), seconds, &plain);
        let start = Instant::now();
        calibration.parameters()?;
        let elapsed = start.elapsed().as_secs_f64();
        println!(
            "    scales of all quantizers found in {:.1} ms",
            elapsed * 1e3
        );
    }
    Ok(())
}

fn capture(device: &Device) -> Result<(), Box<dyn Error>> {
    let model = ResNet50Config::new().init(device);
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        let start = Instant::now();
        let graph = Graph::capture(&model, [1, 3, 224, 224], ResNet50::forward)?;
        let captured = start.elapsed().as_secs_f64();
        let graph = graph.simplify();
        seconds[0].push(captured);
        seconds[1].push(start.elapsed().as_secs_f64());
        assert!(!graph.nodes().is_empty());
    }
    let [captured, all] = seconds.map(|values| spread(values).map(|seconds| seconds * 1e3));
    println!("capture and passes of ResNet-50:");
    println!(
        "  capture {:.0} ms, with all passes {:.0} ms ({:.0} to {:.0}; the first time makes the weights)",
        captured[1], all[1], all[0], all[2],
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let device = arguments.device.device()?;
    capture(&device)?;
    calibration(&device, &arguments)?;
    training_step(&device, &arguments)
}
