use std::collections::BTreeMap;
use std::collections::HashMap;
use std::time::Instant;

use burn::module::Module;

use super::timing::{self, Deployment, Times};
use super::{StudyError, Trial};
use crate::Warning;
use crate::compress::{Compressed, Layer, LayerSummary, archive, weights};
use crate::deploy::float_network;
use crate::format::{Archive, Entry, Payload};
use crate::macs::MacCount;
use crate::network::Network;
use crate::report::{LayerRow, Row};
use crate::train::{Workload, checked_score};

/// What every trial is measured against.
pub(super) struct Evaluator {
    pub score: Option<f64>,
    pub macs: MacCount,
    /// Weights of the selected layers as they came, in rows.
    weights: BTreeMap<String, Vec<f32>>,
    passes: usize,
    /// None where models are timed as modules.
    deployment: Option<Deployment>,
}

/// A module that is to be measured, packed.
pub(super) struct Candidate<M> {
    pub module: M,
    pub archive: Archive,
    pub layers: Vec<LayerSummary>,
    /// The file of its integer form, where activations are quantized.
    pub integers: Option<Vec<u8>>,
    /// What stays in float although activations are quantized: each layer, with its operation.
    pub in_float: Vec<String>,
    /// What of its weights and activations should be known.
    pub warnings: Vec<Warning>,
}

impl<M: Module> From<Compressed<M>> for Candidate<M> {
    fn from(compressed: Compressed<M>) -> Self {
        Self {
            module: compressed.module.clone(),
            layers: compressed.layers().to_vec(),
            warnings: compressed.warnings().to_vec(),
            archive: compressed.into_archive(),
            integers: None,
            in_float: Vec::new(),
        }
    }
}

impl Evaluator {
    pub fn new<M: Module>(
        module: &M,
        layers: &[Layer],
        macs: MacCount,
        passes: usize,
        deployment: Option<Deployment>,
    ) -> Result<Self, StudyError> {
        let paths = layers.iter().map(|layer| layer.path.clone());
        Ok(Self {
            score: None,
            macs,
            weights: paths.zip(weights(module, layers)?).collect(),
            passes,
            deployment,
        })
    }

    /// The module as it came.
    pub fn baseline<M: Module>(&self, module: &M) -> Result<Candidate<M>, StudyError> {
        let layers = self.weights.iter().map(|(path, weights)| LayerSummary {
            path: path.clone(),
            weights: weights.len(),
            removed: weights.iter().filter(|weight| **weight == 0.0).count(),
            bits: 32,
            frozen: false,
            guarded: false,
        });
        Ok(Candidate {
            module: module.valid(),
            archive: archive(module)?,
            layers: layers.collect(),
            integers: None,
            in_float: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// Scores and times a module, and weighs its file.
    pub fn measure<M: Module, W: Workload<M>>(
        &self,
        trial: Trial,
        candidate: &Candidate<M>,
        workload: &mut W,
        started: Instant,
    ) -> Result<Row, StudyError> {
        let module = &candidate.module;
        let score = checked_score(workload, module)?;
        let deployment = self.deployment.as_ref();
        let network = match (&candidate.integers, deployment) {
            (Some(bytes), _) => Some(Network::from_bytes(bytes)?),
            (None, Some(deployment)) => Some(float_network(&deployment.graph, module, trial.bits)?),
            (None, None) => None,
        };
        let Times {
            timed,
            spread: [ms, fastest, slowest],
            warnings: of_program,
        } = timing::time(deployment, network.as_ref(), module, workload, self.passes);
        let mut warnings = candidate.warnings.clone();
        warnings.extend(of_program);
        let left: HashMap<&str, u64> = candidate
            .layers
            .iter()
            .map(|layer| {
                let left = layer.weights - layer.removed;
                (layer.path.as_str(), left as u64)
            })
            .collect();
        let layers: Vec<LayerRow> = candidate
            .layers
            .iter()
            .map(|layer| self.layer(layer, &candidate.archive))
            .collect();
        let macs = self.macs.total(|path| left.get(path).copied());
        let compressed: u64 = layers.iter().map(|layer| layer.macs).sum();
        let coded: u64 = layers
            .iter()
            .map(|layer| layer.macs * u64::from(layer.bits))
            .sum();
        let rest = macs.saturating_sub(compressed) * 32;
        let weights: usize = candidate.layers.iter().map(|l| l.weights).sum();
        let removed: usize = candidate.layers.iter().map(|l| l.removed).sum();
        Ok(Row {
            stage: trial.stage,
            mode: trial.mode,
            refined: trial.refined,
            steered: trial.steered,
            level: trial.level,
            pattern: trial.pattern,
            sparsity: removed as f64 / weights.max(1) as f64,
            weight_bits: trial.bits,
            activation_bits: trial.activation_bits,
            in_float: candidate.in_float.clone(),
            score,
            drop: self.score.unwrap_or(score) - score,
            bytes: match (&candidate.integers, &network) {
                (Some(integers), _) => integers.len(),
                (None, Some(network)) => network.to_bytes()?.len(),
                (None, None) => candidate.archive.to_bytes()?.len(),
            } as u64,
            entropy_bytes: candidate.archive.entropy_bytes(),
            macs,
            bit_operations: (coded + rest) * u64::from(trial.activation_bits),
            ms,
            ms_range: [fastest, slowest],
            timed,
            seconds: started.elapsed().as_secs_f64(),
            seed: trial.seed,
            layers,
            warnings,
        })
    }

    fn layer(&self, layer: &LayerSummary, archive: &Archive) -> LayerRow {
        let path = layer.path.as_str();
        let left = (layer.weights - layer.removed) as u64;
        let before = self.weights.get(path).map_or(&[][..], Vec::as_slice);
        let entry = archive.entries.iter().find(|entry| entry.path == path);
        let content = entry.zip(archive.content(path));
        let now = content.and_then(|(entry, content)| compressed_rows(entry, content));
        let now = now.unwrap_or_else(|| before.to_vec());
        let squares = |values: &mut dyn Iterator<Item = f32>| -> f64 {
            values.map(|value| f64::from(value).powi(2)).sum()
        };
        let size = squares(&mut before.iter().copied());
        let changed = squares(&mut before.iter().zip(&now).map(|(a, b)| a - b));
        LayerRow {
            path: layer.path.clone(),
            weights: layer.weights,
            sparsity: layer.removed as f64 / layer.weights.max(1) as f64,
            bits: layer.bits,
            macs: left * self.macs.uses(path).unwrap_or(0),
            distortion: if size > 0.0 {
                (changed / size).sqrt()
            } else {
                0.0
            },
        }
    }
}

// A compressed tensor's values, in rows; none of one that is as it was.
fn compressed_rows(entry: &Entry, content: &Payload) -> Option<Vec<f32>> {
    match content {
        Payload::Dense(_) | Payload::SameAs(_) => None,
        Payload::Sparse(values) => Some(values.clone()),
        Payload::Quantized(weight) => weight.values(&entry.view().ok()?).ok(),
    }
}
