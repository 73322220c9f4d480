use serde::{Deserialize, Serialize};

use super::Candidate;
use crate::Warning;

/// What a search measured of layers: times of each candidate, and the damage that it does. Saved and handed
/// back ([`Search::measured`](super::Search::measured)), nothing of it is measured again.
///
/// ```
/// use burn_compress::search::Measurements;
/// let measurements = Measurements::default();
/// let text = serde_json::to_string(&measurements)?;
/// assert_eq!(serde_json::from_str::<Measurements>(&text)?, measurements);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Measurements {
    /// A checksum of the model, the inputs and the options that they depend on.
    pub of: String,
    /// The machine: instruction set, threads, and samples of a call.
    pub machine: String,
    /// The layers.
    pub layers: Vec<MeasuredLayer>,
    /// The candidates that were timed.
    pub timings: Vec<Timing>,
    /// What should be known of the times.
    pub warnings: Vec<Warning>,
}

/// A layer, and the damage that each candidate does to its output.
///
/// ```
/// use burn_compress::search::{Candidate, Damage, MeasuredLayer};
/// let damage = Damage { candidate: Candidate::dense(4), share: Some(0.01) };
/// let layer = MeasuredLayer { layer: "fc.weight".into(), uses: 1, damages: vec![damage] };
/// assert_eq!(layer.damage(&Candidate::dense(4)), Some(damage));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredLayer {
    /// Path of its weight.
    pub layer: String,
    /// How often a forward pass of a sample uses each weight.
    pub uses: u64,
    /// The damage of each candidate that was tried.
    pub damages: Vec<Damage>,
}

impl MeasuredLayer {
    /// The damage of a candidate, where it was tried.
    pub fn damage(&self, candidate: &Candidate) -> Option<Damage> {
        let mut damages = self.damages.iter();
        damages.find(|of| of.candidate == *candidate).copied()
    }
}

/// The damage of a candidate to a layer.
///
/// ```
/// use burn_compress::search::{Candidate, Damage};
/// let none = Damage { candidate: Candidate::dense(32), share: Some(0.0) };
/// # let _ = none;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Damage {
    /// The candidate.
    pub candidate: Candidate,
    /// The squared error of the layer's output, as a share of the variance of its result; none where the
    /// layer does not bear the candidate.
    pub share: Option<f64>,
}

/// The times of a candidate in all layers, within passes of the network.
///
/// ```
/// # fn show(timing: &burn_compress::search::Timing) {
/// println!("{}: {:.2} ms", timing.candidate, timing.milliseconds);
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Timing {
    /// The candidate.
    pub candidate: Candidate,
    /// Microseconds of each layer for a sample, on one thread.
    pub layers: Vec<f64>,
    /// Those of all else.
    pub rest: f64,
    /// Milliseconds of a call.
    pub milliseconds: f64,
    /// Bytes of each layer's weights, about.
    pub layer_bytes: Vec<f64>,
    /// Bytes of the network's file.
    pub bytes: u64,
    /// Weights of each layer that are not zero.
    pub left: Vec<u64>,
}

impl Measurements {
    /// The times of a candidate, where they were taken.
    pub fn timing(&self, candidate: &Candidate) -> Option<&Timing> {
        let mut timings = self.timings.iter();
        timings.find(|timing| timing.candidate == *candidate)
    }
}
