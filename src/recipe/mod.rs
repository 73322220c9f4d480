//! A study as data: levels, budget, epochs, seeds and order, in TOML or JSON.

mod check;
mod error;
mod levels;
mod names;

pub use error::RecipeError;
pub use levels::{ActivationLevels, PruneLevels, QuantizeLevels, Steer};
pub use names::{Criterion, Ramp, RangeMethod};

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::compress::Selection;
use crate::format::{FormatError, Granularity, Scheme, write_atomically};
use crate::graph::Activations;
use crate::reconstruct::Reconstruction;
use crate::report::Stage;

/// A study as data: what reproduces it.
///
/// ```
/// use burn_compress::recipe::Recipe;
/// let recipe = Recipe::from_toml(
///     "max_drop = 0.5
///      epochs = 3
///      [prune]
///      levels = [0.5, 0.8]
///      [quantize]
///      bits = [8, 4]",
/// )?;
/// assert_eq!(Recipe::from_json(&recipe.to_json()?)?, recipe);
/// assert_eq!(Recipe::from_toml(&recipe.to_toml()?)?, recipe);
/// assert_eq!(recipe.scheme(4)?.bits(), 4);
///
/// let folder = tempfile::tempdir()?;
/// recipe.save(folder.path().join("recipe.toml"))?;
/// assert_eq!(Recipe::load(folder.path().join("recipe.toml"))?, recipe);
///
/// let empty = Recipe { prune: None, quantize: None, ..recipe };
/// assert!(empty.check().is_err()); // nothing to study
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Points of the score that the owner accepts to lose, 0 or more.
    pub max_drop: f64,
    /// The original learning rate, positive.
    pub learning_rate: f64,
    /// Epochs of aware training; 0 leaves it, and refine-tune, out.
    pub epochs: usize,
    /// Epochs of refine-tune, at a tenth of the learning rate; 0 leaves it out.
    pub refine_epochs: usize,
    /// A run of all training for each seed; at least one, each once.
    pub seeds: Vec<u64>,
    /// Timed forward passes of each model; at least 1.
    pub timed_passes: usize,
    /// Also scores the model with each layer alone compressed, at the best levels.
    pub sensitivity: bool,
    /// The stages, in order: each that has levels, and the combination, where it is wanted, after both.
    pub order: Vec<Stage>,
    /// Which parameters are compressed.
    pub selection: Selection,
    /// Also compresses without training on inputs without labels, at each level, and how.
    pub reconstruct: Option<Reconstruction>,
    /// Pruning, if it is studied.
    pub prune: Option<PruneLevels>,
    /// Quantization, if it is studied.
    pub quantize: Option<QuantizeLevels>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            max_drop: 0.5,
            learning_rate: 0.01,
            epochs: 5,
            refine_epochs: 2,
            seeds: vec![0],
            timed_passes: 20,
            sensitivity: true,
            order: vec![Stage::Prune, Stage::Quantize, Stage::Combined],
            selection: Selection::default(),
            reconstruct: None,
            prune: None,
            quantize: None,
        }
    }
}

impl Recipe {
    /// Reads and checks TOML. Fails with [`RecipeError::Parse`], or as [`check`](Self::check) does.
    pub fn from_toml(text: &str) -> Result<Self, RecipeError> {
        let recipe: Self = toml::from_str(text).map_err(parse)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Reads and checks JSON. Fails with [`RecipeError::Parse`], or as [`check`](Self::check) does.
    pub fn from_json(text: &str) -> Result<Self, RecipeError> {
        let recipe: Self = serde_json::from_str(text).map_err(parse)?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Reads and checks a file: JSON where its name ends in `.json`, else TOML. Fails with
    /// [`FormatError::Io`] within [`RecipeError::Format`], or as reading its text does.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, RecipeError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| FormatError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        match is_json(path) {
            true => Self::from_json(&text),
            false => Self::from_toml(&text),
        }
    }

    /// As TOML. Fails with [`RecipeError::Write`].
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self).map_err(write)
    }

    /// As indented JSON. Fails with [`RecipeError::Write`].
    pub fn to_json(&self) -> Result<String, RecipeError> {
        serde_json::to_string_pretty(self).map_err(write)
    }

    /// Writes a file, whole or not at all: JSON where its name ends in `.json`, else TOML. Fails with
    /// [`RecipeError::Write`], or with [`FormatError::Io`] within [`RecipeError::Format`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), RecipeError> {
        let path = path.as_ref();
        let text = match is_json(path) {
            true => self.to_json()?,
            false => self.to_toml()?,
        };
        Ok(write_atomically(path, text.as_bytes())?)
    }

    /// How activations are quantized, if they are. Fails with [`FormatError::Bits`] outside 2 to 16.
    pub fn activations(&self) -> Result<Option<Activations>, FormatError> {
        let levels = self
            .quantize
            .as_ref()
            .and_then(|levels| levels.activations.as_ref());
        let Some(levels) = levels else {
            return Ok(None);
        };
        let scheme = Scheme::new(levels.bits, levels.mapping, Granularity::Tensor)?;
        scheme.with_bits(levels.input_bits)?;
        Ok(Some(Activations {
            scheme,
            input_bits: levels.input_bits,
            calibrator: levels.calibrator,
            learned: levels.learned,
        }))
    }

    /// The scheme at this number of bits, with the recipe's mapping and granularity. Fails with
    /// [`FormatError::Bits`] outside 2 to 16, and with [`FormatError::Group`] for groups of zero.
    pub fn scheme(&self, bits: u32) -> Result<Scheme, FormatError> {
        let levels = self.quantize.clone().unwrap_or_default();
        Scheme::new(bits, levels.mapping, levels.granularity)
    }
}

fn parse(error: impl std::fmt::Display) -> RecipeError {
    RecipeError::Parse {
        reason: error.to_string(),
    }
}

fn write(error: impl std::fmt::Display) -> RecipeError {
    RecipeError::Write {
        reason: error.to_string(),
    }
}

fn is_json(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}
