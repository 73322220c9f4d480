//! Where candidates and plans become networks and are timed.

use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::Tensor;

use super::{LayerChoice, SearchError, SearchOptions, Timing};
use crate::Warning;
use crate::compress::{Compressed, Layer, Plan};
use crate::deploy::float_network;
use crate::engine::{EngineError, Program};
use crate::graph::repair::correct_bias;
use crate::graph::{Graph, GraphError};
use crate::macs::MacCount;
use crate::network::{Network, Value};

use super::candidate::{Candidate, FLOAT_BITS};

/// What is compressed, and what it is timed on.
pub(super) struct Bench<M, const D: usize> {
    pub module: M,
    pub graph: Graph,
    pub batches: Vec<Tensor<D>>,
    /// The samples of a call.
    pub samples: Vec<f32>,
    pub batch: usize,
    pub layers: Vec<Layer>,
    /// Of a sample.
    pub macs: MacCount,
}

/// The times of a program.
pub(super) struct Times {
    /// Microseconds of each layer for a sample, and of all else.
    pub layers: Vec<f64>,
    pub rest: f64,
    /// Milliseconds of a call.
    pub milliseconds: f64,
    /// How far the two fastest passes are apart.
    pub spread: f64,
}

/// For how long calls are repeated at least, and how often at most.
const ENOUGH: Duration = Duration::from_millis(100);
const MOST: usize = 2000;

impl<M: Module, const D: usize> Bench<M, D> {
    /// The same choice for each layer.
    pub fn choices(&self, of: impl Fn(usize) -> Candidate) -> Vec<LayerChoice> {
        let layers = self.layers.iter().enumerate();
        let choices = layers.map(|(place, layer)| LayerChoice {
            layer: layer.path.clone(),
            candidate: of(place),
        });
        choices.collect()
    }

    /// The network of the model as it came.
    pub fn original(&self) -> Result<Network, GraphError> {
        float_network(&self.graph, &self.module, FLOAT_BITS)
    }

    /// The network of a compressed module. On all inputs, means of channels are put back too.
    pub fn network(
        &self,
        options: &SearchOptions,
        compressed: &Compressed<M>,
        all: bool,
    ) -> Result<Network, SearchError> {
        let (Some(_), Some(activations)) = (compressed.bits(), options.activations()?) else {
            let bits = compressed.bits().unwrap_or(FLOAT_BITS);
            return Ok(float_network(&self.graph, &compressed.module, bits)?);
        };
        let batches = if all {
            &self.batches[..]
        } else {
            &self.batches[..1]
        };
        let batches = || batches.iter().cloned();
        let quantized = compressed.quantized_along::<D, SearchError>(
            self.graph.clone(),
            activations,
            batches(),
        )?;
        let quantized = match all {
            true => correct_bias(quantized, batches())?,
            false => quantized,
        };
        Ok(quantized.to_integer()?)
    }

    /// A candidate in all layers: its times depend on how many weights go, not on which.
    pub fn candidate(
        &self,
        options: &SearchOptions,
        candidate: Candidate,
    ) -> Result<(Program, Timing, f64), SearchError> {
        let touched = candidate.prunes() || candidate.quantizes();
        let compressed = match touched {
            true => {
                let plan: Plan = options.plan(&self.choices(|_| candidate))?;
                Some(plan.apply(self.module.valid())?)
            }
            false => None,
        };
        let network = match &compressed {
            Some(compressed) => self.network(options, compressed, false)?,
            None => self.original()?,
        };
        let archive = match &compressed {
            Some(compressed) => compressed.archive().clone(),
            None => crate::compress::archive(&self.module)?,
        };
        let layer_bytes = self.layers.iter().map(|layer| {
            let content = archive.content(&layer.path);
            content.map_or(0.0, |content| content.entropy_bits() / 8.0)
        });
        let left = self.layers.iter().map(|layer| {
            let left = left(compressed.as_ref(), &layer.path);
            left.unwrap_or(layer.view.len() as u64)
        });
        let (layer_bytes, left) = (layer_bytes.collect(), left.collect());
        let bytes = network.to_bytes()?.len() as u64;
        let program = Program::compile(&network, options.engine)?;
        let times = self.time(&program, options.repeats)?;
        let timing = Timing {
            candidate,
            layers: times.layers,
            rest: times.rest,
            milliseconds: times.milliseconds,
            layer_bytes,
            bytes,
            left,
        };
        Ok((program, timing, times.spread))
    }

    /// Takes times within passes of the network, and of calls: the least of several.
    pub fn time(&self, program: &Program, repeats: usize) -> Result<Times, EngineError> {
        let readers = self.readers();
        let mut layers = vec![f64::INFINITY; self.layers.len()];
        let (mut rest, mut passes) = (f64::INFINITY, Vec::new());
        for _ in 0..repeats {
            let mut found = vec![0.0; layers.len()];
            let (mut other, mut pass) = (0.0, 0.0);
            for row in program.profile(self.batch)? {
                let time = row.microseconds.unwrap_or(0.0) / row.samples.max(1) as f64;
                pass += time;
                let of = (0..layers.len()).filter(|layer| readers[*layer].contains(&row.layer));
                let of: Vec<usize> = of.collect();
                if of.is_empty() {
                    other += time;
                }
                for layer in &of {
                    found[*layer] += time / of.len() as f64;
                }
            }
            for (least, found) in layers.iter_mut().zip(found) {
                *least = least.min(found);
            }
            rest = rest.min(other);
            passes.push(pass);
        }
        passes.sort_by(f64::total_cmp);
        let spread = match passes[..] {
            [first, second, ..] if first > 0.0 => second / first - 1.0,
            _ => 0.0,
        };
        Ok(Times {
            layers,
            rest,
            milliseconds: self.call(program, repeats)?,
            spread,
        })
    }

    /// Milliseconds of a call, the fastest of several.
    pub fn call(&self, program: &Program, repeats: usize) -> Result<f64, EngineError> {
        let mut output = program.run(&self.samples, self.batch)?; // warms up
        let begun = Instant::now();
        let (mut least, mut calls) = (f64::INFINITY, 0);
        while calls < repeats || (calls < MOST && begun.elapsed() < ENOUGH) {
            let start = Instant::now();
            program.run_into(&self.samples, self.batch, &mut output)?;
            least = least.min(start.elapsed().as_secs_f64() * 1e3);
            calls += 1;
        }
        Ok(least)
    }

    /// Multiply-adds of a sample whose layers have so many weights left.
    pub fn macs_of(&self, compressed: Option<&Compressed<M>>) -> u64 {
        self.macs.total(|path: &str| left(compressed, path))
    }

    // What the steps are called that read each layer's weight.
    fn readers(&self) -> Vec<Vec<String>> {
        let of = |layer: &Layer| {
            let parameters = self.graph.parameters();
            let nodes = self.graph.nodes().iter().filter(|node| {
                node.inputs.iter().any(|input| match input {
                    Value::Parameter(index) => parameters[*index].path == layer.path,
                    _ => false,
                })
            });
            nodes.map(|node| node.layer.clone()).collect()
        };
        self.layers.iter().map(of).collect()
    }
}

// Weights of a layer that are not removed; none of one that was not compressed.
fn left<M>(compressed: Option<&Compressed<M>>, path: &str) -> Option<u64>
where
    M: Module,
{
    let layer = compressed?
        .layers()
        .iter()
        .find(|layer| layer.path == path)?;
    Some((layer.weights - layer.removed) as u64)
}

/// Times that differ by more are no times of an idle machine.
const STEADY: f64 = 0.1;

/// A warning where times differ by so much.
pub(super) fn unsteady(what: String, share: f64) -> Option<Warning> {
    (share.abs() > STEADY).then(|| Warning::Unsteady {
        what,
        share: share.abs(),
    })
}
