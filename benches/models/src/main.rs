//! Real models of others: floats, 8 bits, and 80 % pruned in blocks of four, in turns with Burn's CPU
//! backend and, where Python has it, ONNX Runtime.
//!
//! ```text
//! MODELS=/path/to/models cargo run --release -- --models /path/to/models
//! ```
//!
//! The folder is made by `../shared/models`: `onnx/NAME.onnx`, `onnx/NAME.int8.onnx`, `data/NAME.calib`,
//! `data/NAME.test` and its `.npy`.

mod peer;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use burn_compress::graph::{Fallback, Graph};
use burn_compress::prune::Pattern;
use burn_compress::{
    Activations, Network, Options, Plan, Program, Pruning, Quantization, Scheme, Warning,
};
use clap::Parser;
use comfy_table::{Table, presets};
use peer::Peer;

include!(concat!(env!("OUT_DIR"), "/list.rs"));

/// Times models of ONNX files.
#[derive(Parser)]
struct Arguments {
    /// The folder of models and inputs
    #[arg(long)]
    models: PathBuf,
    /// Names; all, if none is given
    names: Vec<String>,
    /// Threads of the engine and of ONNX Runtime
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Each is timed so often, in turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// A Python with numpy and onnxruntime
    #[arg(long, default_value = "python3")]
    python: String,
    /// Show the steps of this network: floats, integers or blocks
    #[arg(long)]
    table: Option<String>,
    /// Show the steps of this network as the graph gives them
    #[arg(long)]
    steps: Option<String>,
    /// Do not time pruned networks
    #[arg(long)]
    dense: bool,
}

/// What a run has, and finds.
struct Bench {
    arguments: Arguments,
    peer: Option<Peer>,
    table: Table,
}

/// One of those that take turns.
struct Turn<'a> {
    name: String,
    call: Box<dyn FnMut() -> Result<f64, Box<dyn Error>> + 'a>,
    least: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let peer = Peer::start(&arguments.python, arguments.threads);
    if peer.is_none() {
        eprintln!("no ONNX Runtime in {}: left out", arguments.python);
    }
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "model",
        "network",
        "ms",
        "x flex",
        "x ORT floats",
        "x ORT int8",
        "cosine",
        "outside, %",
    ]);
    let mut bench = Bench {
        arguments,
        peer,
        table,
    };
    all(&mut bench)?;
    println!("{}", bench.table);
    Ok(())
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        let names = &self.arguments.names;
        names.is_empty() || names.iter().any(|wanted| wanted == name)
    }

    fn floats(&self, name: &str, kind: &str) -> Result<Vec<f32>, Box<dyn Error>> {
        let path = self.arguments.models.join(format!("data/{name}.{kind}"));
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let numbers = bytes.as_chunks::<4>().0.iter();
        Ok(numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    fn model<M: Module, const D: usize, const E: usize>(
        &mut self,
        name: &str,
        model: impl Fn() -> M,
        shape: [usize; D],
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E> + Copy,
    ) -> Result<(), Box<dyn Error>> {
        eprintln!("{name}");
        let device = Device::default();
        let model = model();
        let one: usize = shape[1..].iter().product();
        let batch = |numbers: &[f32]| {
            let mut shape = shape;
            shape[0] = numbers.len() / one;
            Tensor::<D>::from_data(TensorData::new(numbers.to_vec(), shape), &device)
        };
        let test = self.floats(name, "test")?;
        let calibration = self.floats(name, "calib")?;
        let inputs: Vec<_> = calibration.chunks(4 * one).map(batch).collect();
        let mut expected = Vec::new();
        for sample in test.chunks(one) {
            expected.extend(
                forward(&model, batch(sample))
                    .into_data()
                    .try_to_vec::<f32>()?,
            );
        }

        let weights = || Ok::<_, Box<dyn Error>>(Quantization::to(Scheme::symmetric(8)?));
        let blocks = Pruning::to(0.8).pattern(Pattern::Block { channels: 4 });
        let integers = |plan: Plan| -> Result<Network, Box<dyn Error>> {
            let compressed = plan.quantize(weights()?).apply(model.clone())?;
            let activations = Activations::bits(8)?;
            Ok(compressed.quantized_network(shape, forward, activations, inputs.clone())?)
        };
        let graph = Graph::capture_with(&model, shape, Fallback::Float, forward)?;
        let floats = graph.simplify().to_float_model(&model)?;
        let mut networks = vec![("floats", floats), ("integers", integers(Plan::new())?)];
        if !self.arguments.dense {
            networks.push(("blocks", integers(Plan::new().prune(blocks))?));
        }
        let options = Options {
            threads: Some(self.arguments.threads),
            ..Options::default()
        };
        let mut programs = Vec::new();
        for (kind, network) in &networks {
            if self.arguments.steps.as_deref() == Some(*kind) {
                for (index, step) in network.steps().iter().enumerate() {
                    let (layer, name, inputs) = (&step.layer, step.op.name(), &step.inputs);
                    println!(
                        "{index} {layer}: {name} of {inputs:?} is {:?}, {:?}",
                        step.dims, step.grid
                    );
                }
            }
            let program = Program::compile(network, options)?;
            if self.arguments.table.as_deref() == Some(*kind) {
                println!("{}", program.table(1));
            }
            programs.push((*kind, program));
        }

        let sample = &test[..one];
        let input = batch(sample);
        let seconds = self.arguments.seconds;
        let mut turns = vec![Turn::new("flex", || {
            Ok(least(seconds, || {
                drop(forward(&model, input.clone()).into_data())
            }))
        })];
        for (kind, program) in &programs {
            turns.push(Turn::new(*kind, move || {
                Ok(least(seconds, || drop(program.run(sample, 1))))
            }));
        }
        for _ in 0..self.arguments.rounds {
            for turn in &mut turns {
                turn.take()?;
            }
            if let Some(peer) = &mut self.peer {
                peer.turn(&self.arguments.models, name, seconds)?;
            }
        }
        let flex = turns[0].least;
        let (ort_floats, ort_integers) = self.peer.as_mut().map_or((None, None), Peer::ended);
        let ratio = |other: Option<f64>, ms: f64| {
            other.map_or("-".to_string(), |other| format!("{:.2}", other / ms))
        };
        let times: Vec<f64> = turns[1..].iter().map(|turn| turn.least).collect();
        drop(turns);
        let mut row = |cells: [String; 8]| {
            self.table.add_row(cells);
        };
        let none = || "-".to_string();
        let peers = [
            ("Burn flex", Some(flex)),
            ("ORT floats", ort_floats),
            ("ORT int8", ort_integers),
        ];
        for (of, ms) in peers {
            if let Some(ms) = ms {
                let ms = format!("{ms:.3}");
                row([
                    name.into(),
                    of.into(),
                    ms,
                    none(),
                    none(),
                    none(),
                    none(),
                    none(),
                ]);
            }
        }
        for ((kind, program), ms) in programs.iter().zip(times) {
            let count = test.len() / one;
            let outside: f64 = program
                .warnings(1)
                .iter()
                .filter_map(|warning| match warning {
                    Warning::Plain { share, .. } => *share,
                    _ => None,
                })
                .sum();
            row([
                name.into(),
                kind.to_string(),
                format!("{ms:.3}"),
                ratio(Some(flex), ms),
                ratio(ort_floats, ms),
                ratio(ort_integers, ms),
                format!("{:.5}", cosine(&program.run(&test, count)?, &expected)),
                format!("{:.1}", outside * 100.0),
            ]);
        }
        Ok(())
    }
}

impl<'a> Turn<'a> {
    fn new(name: &str, call: impl FnMut() -> Result<f64, Box<dyn Error>> + 'a) -> Self {
        Self {
            name: name.to_string(),
            call: Box::new(call),
            least: f64::INFINITY,
        }
    }

    fn take(&mut self) -> Result<(), Box<dyn Error>> {
        let ms = (self.call)().map_err(|error| format!("{}: {error}", self.name))?;
        self.least = self.least.min(ms);
        Ok(())
    }
}

/// The least time of a call within so many seconds, in milliseconds.
fn least(seconds: f64, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut least = f64::INFINITY;
    while least.is_infinite() || start.elapsed().as_secs_f64() < seconds {
        let began = Instant::now();
        call();
        least = least.min(began.elapsed().as_secs_f64() * 1e3);
    }
    least
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
