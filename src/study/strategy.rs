use burn::module::Module;
use burn::tensor::Tensor;

use super::StudyError;
use super::evaluator::Candidate;
use crate::compress::{Compressed, Compression};
use crate::graph::repair::correct_bias;
use crate::graph::{Activations, Calibration, Graph, Quantized};
use crate::train::TrainError;

/// What a trial trains and measures: the module with its weights compressed, or its graph with
/// activations quantized as well.
pub(super) trait Strategy<M: Module> {
    type Model: Module;

    /// Bits of activations; 32 where they stay in float.
    fn activation_bits(&self) -> u32;

    /// The model of a module under a compression.
    fn begin(&self, module: M, compression: &Compression) -> Result<Self::Model, StudyError>;

    /// The model as it trains from this epoch on; refine-tune comes after all epochs.
    fn at_epoch(&self, model: Self::Model, epoch: usize, refined: bool) -> Self::Model;

    /// The model of a compression without training, to be measured.
    fn compressed(&self, compressed: Compressed<M>) -> Result<Candidate<Self::Model>, StudyError>;

    /// The model to be measured; shares nothing with the one passed in.
    fn end(
        &self,
        model: Self::Model,
        compression: Compression,
    ) -> Result<Candidate<Self::Model>, StudyError>;
}

/// Weights alone.
pub(super) struct Weights;

impl<M: Module> Strategy<M> for Weights {
    type Model = M;

    fn activation_bits(&self) -> u32 {
        32
    }

    fn begin(&self, module: M, _compression: &Compression) -> Result<M, StudyError> {
        Ok(module)
    }

    fn at_epoch(&self, model: M, _epoch: usize, _refined: bool) -> M {
        model
    }

    fn compressed(&self, compressed: Compressed<M>) -> Result<Candidate<M>, StudyError> {
        Ok(compressed.into())
    }

    fn end(&self, model: M, compression: Compression) -> Result<Candidate<M>, StudyError> {
        Ok(compression.finish(model)?.into())
    }
}

/// Weights and activations.
pub(super) struct Integers<const I: usize> {
    pub graph: Graph,
    pub activations: Activations,
    /// Epochs after which statistics of batch norms are frozen.
    pub freeze_after: usize,
    /// Whether the means of channels are put back after a reconstruction.
    pub corrects: bool,
    /// What ranges are found with.
    pub batches: Vec<Tensor<I>>,
    /// Some of their samples, on the host: their number, and what they are.
    pub samples: (usize, Vec<f32>),
}

/// Samples on which the activations of each model are inspected, at most.
const SAMPLES: usize = 32;

/// Multiply-adds that such an inspection takes at most: a second or two.
const MOST: u64 = 2_000_000_000;

/// The first samples of a batch, as many as are worth it for a model of so many multiply-adds.
pub(super) fn samples<const I: usize>(
    batches: &[Tensor<I>],
    macs: u64,
) -> Result<(usize, Vec<f32>), TrainError> {
    let Some(batch) = batches.first().filter(|_| I > 0) else {
        return Ok((0, Vec::new()));
    };
    let most = usize::try_from(MOST / macs.max(1)).unwrap_or(SAMPLES);
    let count = batch.dims()[0].min(most.clamp(2, SAMPLES));
    let values = batch.clone().narrow(0, 0, count).try_into_vec_as();
    let values = values.map_err(|error| TrainError::Workload {
        action: "giving batches for calibration",
        source: error.to_string().into(),
    })?;
    Ok((count, values))
}

impl<M: Module, const I: usize> Strategy<M> for Integers<I> {
    type Model = Quantized<M>;

    fn activation_bits(&self) -> u32 {
        self.activations.scheme.bits()
    }

    fn begin(&self, module: M, compression: &Compression) -> Result<Quantized<M>, StudyError> {
        let graph = self.graph.clone();
        let mut calibration = Calibration::new(graph, &module, compression, self.activations)?;
        let seen = module.valid();
        for batch in &self.batches {
            calibration.observe(&seen, batch.clone())?;
        }
        Ok(calibration.finish(module)?)
    }

    fn at_epoch(&self, model: Quantized<M>, epoch: usize, refined: bool) -> Quantized<M> {
        match refined || epoch >= self.freeze_after {
            true => model.freeze_statistics(),
            false => model,
        }
    }

    fn compressed(&self, compressed: Compressed<M>) -> Result<Candidate<Quantized<M>>, StudyError> {
        let (module, compression) = compressed.attached()?;
        let mut model = self.begin(module, &compression)?;
        if self.corrects {
            model = correct_bias(model, self.batches.clone())?;
        }
        self.end(model, compression)
    }

    fn end(
        &self,
        model: Quantized<M>,
        mut compression: Compression,
    ) -> Result<Candidate<Quantized<M>>, StudyError> {
        let model = compression.freeze(model.valid())?.freeze_statistics();
        let integers = model.to_integer()?;
        let (count, samples) = &self.samples;
        // No reason to stop: it computes what calibration and scoring do.
        let inspected = integers.inspect(samples, *count).unwrap_or_default();
        let integers = integers.to_bytes()?;
        let in_float = model.in_float().into_iter();
        let in_float = in_float.map(|node| format!("{} ({})", node.layer, node.op.name()));
        let in_float = in_float.collect();
        let compressed = compression.finish(model.module().valid())?;
        let mut warnings = compressed.warnings().to_vec();
        warnings.extend(inspected);
        Ok(Candidate {
            module: model,
            layers: compressed.layers().to_vec(),
            archive: compressed.into_archive(),
            integers: Some(integers),
            in_float,
            warnings,
        })
    }
}
