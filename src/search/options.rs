use serde::{Deserialize, Serialize};

use super::{Candidate, LayerChoice, SearchError};
use crate::compress::{Plan, Pruning, Quantization, Selection};
use crate::engine::Options;
use crate::format::{FormatError, Granularity, Mapping, Scheme};
use crate::graph::Activations;
use crate::prune::{Pattern, Scope};

/// How a [`Search`](super::Search) is made.
///
/// ```
/// use burn_compress::search::{Candidate, SearchOptions};
/// let candidates = vec![Candidate::dense(8), Candidate::dense(4)];
/// let options = SearchOptions { candidates, plans: 3, ..SearchOptions::default() };
/// let text = serde_json::to_string(&options)?;
/// assert_eq!(serde_json::from_str::<SearchOptions>(&text)?, options);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchOptions {
    /// What may be done to each layer, each once. The first is what shares of time are of.
    pub candidates: Vec<Candidate>,
    /// The layers.
    pub selection: Selection,
    /// Symmetric or affine codes.
    pub mapping: Mapping,
    /// Which weights share a scale.
    pub granularity: Granularity,
    /// Bits of activations, 2 to 16; 32 where they stay floats.
    pub activation_bits: u32,
    /// Plans that differ by layer and are run, at least 1.
    pub plans: usize,
    /// Whether each candidate is also run in all layers, to compare with.
    pub uniform: bool,
    /// Measurements of each time, at least 1: the least counts.
    pub repeats: usize,
    /// How programs are compiled.
    pub engine: Options,
}

impl Default for SearchOptions {
    /// Dense, single weights and blocks of four at levels from 0.5 to 0.95, with 8 and 4 bits; activations
    /// of 8 bits.
    fn default() -> Self {
        let patterns = [Pattern::Unstructured, Pattern::Block { channels: 4 }];
        Self {
            candidates: Candidate::grid(&patterns, &[0.5, 0.7, 0.8, 0.9, 0.95], &[8, 4]),
            selection: Selection::default(),
            mapping: Mapping::Symmetric,
            granularity: Granularity::Channel,
            activation_bits: 8,
            plans: 5,
            uniform: true,
            repeats: 5,
            engine: Options::default(),
        }
    }
}

impl SearchOptions {
    /// The plan of these choices: what [`Plan::reconstruct`] or [`Plan::attach`] carry out elsewhere.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::Device};
    /// use burn_compress::{prune::Pattern, search::{Candidate, LayerChoice, SearchOptions}};
    /// let candidate = Candidate::pruned(0.5, Pattern::Unstructured, 4);
    /// let choices = [LayerChoice { layer: "weight".into(), candidate }];
    /// let plan = SearchOptions::default().plan(&choices)?;
    /// let compressed = plan.apply(LinearConfig::new(8, 2).init(&Device::default()))?;
    /// assert!(compressed.layers()[0].removed >= 8 && compressed.layers()[0].bits == 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FormatError::Bits`] and [`FormatError::Group`] where bits or granularity make no scheme.
    pub fn plan(&self, choices: &[LayerChoice]) -> Result<Plan, FormatError> {
        // What states groups holds whatever is selected.
        let mut plan = Plan::new().select(self.selection.clone());
        let of = |fits: &dyn Fn(&Candidate) -> bool| {
            let fitting = choices.iter().filter(|choice| fits(&choice.candidate));
            Selection::only(fitting.map(|choice| choice.layer.clone()))
        };
        let mut prunings: Vec<(Pattern, f64)> = Vec::new();
        let mut widths: Vec<u32> = Vec::new();
        for candidate in choices.iter().map(|choice| choice.candidate) {
            let pruning = (candidate.pattern, candidate.level);
            if candidate.prunes() && !prunings.contains(&pruning) {
                prunings.push(pruning);
                let same = |of: &Candidate| (of.pattern, of.level) == pruning;
                let pruning = Pruning::to(candidate.level).pattern(candidate.pattern);
                plan = plan.prune(pruning.scope(Scope::Layer).select(of(&same)));
            }
            if candidate.quantizes() && !widths.contains(&candidate.bits) {
                widths.push(candidate.bits);
                let same = |of: &Candidate| of.bits == candidate.bits;
                let scheme = self.scheme(candidate.bits)?;
                plan = plan.quantize(Quantization::to(scheme).select(of(&same)));
            }
        }
        Ok(plan)
    }

    pub(super) fn scheme(&self, bits: u32) -> Result<Scheme, FormatError> {
        Scheme::new(bits, self.mapping, self.granularity)
    }

    // None where they stay floats.
    pub(super) fn activations(&self) -> Result<Option<Activations>, FormatError> {
        match self.activation_bits {
            32 => Ok(None),
            bits => Activations::bits(bits).map(Some),
        }
    }

    pub(super) fn check(&self) -> Result<(), SearchError> {
        if self.candidates.is_empty() {
            return Err(SearchError::NoCandidates);
        }
        for (index, candidate) in self.candidates.iter().enumerate() {
            candidate.check()?;
            if candidate.quantizes() {
                self.scheme(candidate.bits)?;
            }
            if self.candidates[..index].contains(candidate) {
                return Err(SearchError::Twice {
                    candidate: *candidate,
                });
            }
        }
        self.activations()?;
        for (name, value) in [("plans", self.plans), ("repeats", self.repeats)] {
            if value == 0 {
                return Err(SearchError::Value {
                    name,
                    value: 0.0,
                    expected: "give at least one",
                });
            }
        }
        Ok(())
    }
}
