//! How long a model takes on the example input.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Tensor;

use super::StudyError;
use crate::Warning;
use crate::engine::{Options, Program};
use crate::graph::Graph;
use crate::network::Network;
use crate::report::Timed;
use crate::train::{TrainError, Workload};

/// What the engine needs to time models: the graph of their forward pass, simplified, and the example
/// input on the host.
pub(super) struct Deployment {
    pub graph: Graph,
    input: Vec<f32>,
    batch: usize,
}

impl Deployment {
    pub fn new<const D: usize>(graph: Graph, example: Tensor<D>) -> Result<Self, StudyError> {
        let batch = example.dims().first().copied().unwrap_or(1);
        let input = example.try_into_vec_as();
        let input = input.map_err(|error| TrainError::Workload {
            action: "giving an example input",
            source: error.to_string().into(),
        })?;
        Ok(Self {
            graph,
            input,
            batch,
        })
    }

    // None where the engine cannot run the model.
    fn time(&self, network: &Network, passes: usize) -> Option<Times> {
        let program = Program::compile(network, Options::default()).ok()?;
        let mut output = program.run(&self.input, self.batch).ok()?;
        Some(Times {
            timed: Timed::Engine,
            spread: spread(passes, || {
                // It is the pass that went well before.
                let _ = program.run_into(&self.input, self.batch, &mut output);
            }),
            warnings: program.warnings(self.batch),
        })
    }
}

/// What passes of a model took, and what ran them slowly.
pub(super) struct Times {
    pub timed: Timed,
    /// Median, fastest and slowest of the passes, in milliseconds.
    pub spread: [f64; 3],
    pub warnings: Vec<Warning>,
}

/// Times passes by the engine where it can run the model, else of the module on its device.
pub(super) fn time<M: Module, W: Workload<M>>(
    deployment: Option<&Deployment>,
    network: Option<&Network>,
    module: &M,
    workload: &W,
    passes: usize,
) -> Times {
    let deployed = deployment.zip(network);
    if let Some(times) = deployed.and_then(|(deployment, network)| deployment.time(network, passes))
    {
        return times;
    }
    let device = module.devices().into_iter().next().unwrap_or_default();
    let input = workload.example(&device);
    let times = spread(passes, || {
        let output = workload.forward(module, input.clone());
        // A device that fails to synchronize failed in scoring before.
        let _ = device.sync();
        output
    });
    Times {
        timed: Timed::Module,
        spread: times,
        warnings: Vec::new(),
    }
}

fn spread<T>(passes: usize, mut run: impl FnMut() -> T) -> [f64; 3] {
    let mut pass = || {
        let start = Instant::now();
        drop(run());
        start.elapsed().as_secs_f64() * 1e3
    };
    pass(); // warms up
    let mut times: Vec<f64> = (0..passes).map(|_| pass()).collect();
    times.sort_by(f64::total_cmp);
    let first = times.first().copied().unwrap_or_default();
    let last = times.last().copied().unwrap_or_default();
    [times[times.len() / 2], first, last]
}
