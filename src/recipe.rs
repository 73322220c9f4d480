//! A study as data: levels, budget, epochs, seeds and order, in TOML or JSON.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attach::{Regrowth, Selection};
use crate::format::{FormatError, Granularity, Mapping, Scheme, write_atomically};
use crate::prune::{Magnitude, Pruner, Random, Scope};
use crate::quantize::{LeastSquares, MinMax, Percentile, Quantizer};
use crate::report::Stage;
use crate::schedule::Curve;

/// A recipe that cannot be followed.
///
/// ```
/// use burn_compress::recipe::{Recipe, RecipeError};
/// let error = Recipe::from_toml("[prune]\nlevels = [0.9]\ncriterion = 'magic'").unwrap_err();
/// assert!(matches!(error, RecipeError::Parse { .. }));
/// assert!(error.to_string().contains("magic"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Not TOML or JSON, or with a name or a type that is unknown.
    #[error("the recipe cannot be read: {reason}")]
    Parse {
        /// What and where.
        reason: String,
    },
    /// Holds what the language that it is to be written in has no word for.
    #[error("the recipe cannot be written: {reason}")]
    Write {
        /// What.
        reason: String,
    },
    /// Nothing is to be studied.
    #[error("the recipe has no level: give it pruning levels, numbers of bits, or both")]
    Empty,
    /// A level outside its range.
    #[error("pruning level {level} is not a share of weights: choose above 0 and below 1")]
    Level {
        /// The level.
        level: f64,
    },
    /// Levels that do not rise, or bits that do not fall.
    #[error(
        "{what} {next} comes after {before}: list {what}s from the weakest compression to the strongest, each once"
    )]
    Unsorted {
        /// `pruning level` or `number of bit`.
        what: &'static str,
        /// The one before.
        before: f64,
        /// The one that is out of order.
        next: f64,
    },
    /// A number that makes no sense.
    #[error("{name} is {value}: {expected}")]
    Value {
        /// Name of the field.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it has to be.
        expected: &'static str,
    },
    /// The order leaves out what has levels, repeats a stage, or combines what was not studied before.
    #[error("the order {order:?} cannot be followed: {reason}")]
    Order {
        /// The order.
        order: Vec<Stage>,
        /// Why.
        reason: &'static str,
    },
    /// The recipe names a criterion or a quantizer of the application's own that was not given.
    #[error(
        "the recipe names `{name}`, which is not built in: give it to the study with `{method}`"
    )]
    Custom {
        /// The name.
        name: String,
        /// The method that takes it.
        method: &'static str,
    },
    /// A scheme without codes, or a file that cannot be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// A pruning criterion by name.
///
/// ```
/// use burn_compress::recipe::Criterion;
/// let text = serde_json::to_string(&Criterion::Random { seed: 3 })?;
/// assert_eq!(text, r#"{"random":{"seed":3}}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Criterion {
    /// [`Magnitude`].
    #[default]
    Magnitude,
    /// [`Random`].
    Random {
        /// Its seed.
        seed: u64,
    },
    /// One of the application's own, by [`Pruner::name`].
    Custom(String),
}

impl Criterion {
    pub(crate) fn build(
        &self,
        custom: Option<&Arc<dyn Pruner>>,
    ) -> Result<Arc<dyn Pruner>, RecipeError> {
        match (self, custom) {
            (Self::Magnitude, _) => Ok(Arc::new(Magnitude)),
            (Self::Random { seed }, _) => Ok(Arc::new(Random { seed: *seed })),
            (Self::Custom(name), Some(own)) if own.name() == name => Ok(own.clone()),
            (Self::Custom(name), _) => Err(RecipeError::Custom {
                name: name.clone(),
                method: "Study::criterion",
            }),
        }
    }
}

/// A quantizer by name.
///
/// ```
/// use burn_compress::recipe::Ranges;
/// assert_eq!(serde_json::to_string(&Ranges::LeastSquares)?, r#""least_squares""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ranges {
    /// [`MinMax`].
    MinMax,
    /// [`Percentile`].
    Percentile {
        /// Share of the values left out at each end, 0 to below 0.5.
        outside: f64,
    },
    /// [`LeastSquares`].
    #[default]
    LeastSquares,
    /// One of the application's own, by [`Quantizer::name`].
    Custom(String),
}

impl Ranges {
    pub(crate) fn build(
        &self,
        custom: Option<&Arc<dyn Quantizer>>,
    ) -> Result<Arc<dyn Quantizer>, RecipeError> {
        match (self, custom) {
            (Self::MinMax, _) => Ok(Arc::new(MinMax)),
            (Self::Percentile { outside }, _) => Ok(Arc::new(Percentile { outside: *outside })),
            (Self::LeastSquares, _) => Ok(Arc::new(LeastSquares)),
            (Self::Custom(name), Some(own)) if own.name() == name => Ok(own.clone()),
            (Self::Custom(name), _) => Err(RecipeError::Custom {
                name: name.clone(),
                method: "Study::quantizer",
            }),
        }
    }
}

/// How sparsity rises to a level while fine-tuning.
///
/// ```
/// use burn_compress::{recipe::Ramp, schedule::Schedule};
/// let curve = Ramp::Cubic.curve(0.8, 100);
/// assert_eq!((curve.at(0), curve.at(100)), (0.0, 0.8));
/// assert_eq!(Ramp::AtOnce.curve(0.8, 100).at(0), 0.8);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ramp {
    /// All at the first step.
    AtOnce,
    /// By equal shares.
    Linear,
    /// Fast first, then ever slower.
    #[default]
    Cubic,
}

impl Ramp {
    /// The schedule to this level over this many steps.
    pub fn curve(self, level: f64, steps: usize) -> Curve {
        let (from, to, start, end) = (0.0, level, 0, steps);
        match self {
            Self::AtOnce => Curve::Constant { value: level },
            Self::Linear => Curve::Linear {
                from,
                to,
                start,
                end,
            },
            Self::Cubic => Curve::Cubic {
                from,
                to,
                start,
                end,
            },
        }
    }
}

/// The search for the highest sparsity that keeps the budget, by a steered threshold.
///
/// ```
/// let steer = burn_compress::recipe::Steer::default();
/// assert_eq!((steer.start, steer.increment, steer.resolution, steer.rounds), (0.5, 0.1, 0.01, 12));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Steer {
    /// First share of weights removed, 0 to below 1.
    pub start: f64,
    /// First increment of the share, positive.
    pub increment: f64,
    /// The search ends when the increment is below this; positive, and no more than the increment.
    pub resolution: f64,
    /// Most rounds, each of the recipe's epochs; at least 1.
    pub rounds: usize,
}

impl Default for Steer {
    fn default() -> Self {
        Self {
            start: 0.5,
            increment: 0.1,
            resolution: 0.01,
            rounds: 12,
        }
    }
}

/// The pruning half of a study.
///
/// ```
/// use burn_compress::{prune::Scope, recipe::PruneLevels};
/// let prune = PruneLevels { scope: Scope::Layer, ..PruneLevels::from([0.5, 0.9]) };
/// assert_eq!(prune.levels, [0.5, 0.9]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneLevels {
    /// Shares of the selected weights that are removed, rising, above 0 and below 1.
    pub levels: Vec<f64>,
    /// Which weights go first.
    pub criterion: Criterion,
    /// In each layer, or in all together.
    pub scope: Scope,
    /// Whether weights may come back before masks freeze.
    pub regrowth: Regrowth,
    /// How sparsity rises in aware training.
    pub ramp: Ramp,
    /// Share of the training after which the level is reached and masks freeze, 0 to 1.
    pub ramp_share: f64,
    /// Masks move at every n-th step; at least 1.
    pub every: usize,
    /// Also searches for the highest level that keeps the budget.
    pub steer: Option<Steer>,
}

impl Default for PruneLevels {
    fn default() -> Self {
        Self {
            levels: Vec::new(),
            criterion: Criterion::default(),
            scope: Scope::default(),
            regrowth: Regrowth::default(),
            ramp: Ramp::default(),
            ramp_share: 0.5,
            every: 10,
            steer: None,
        }
    }
}

impl<const N: usize> From<[f64; N]> for PruneLevels {
    fn from(levels: [f64; N]) -> Self {
        Self {
            levels: levels.to_vec(),
            ..Self::default()
        }
    }
}

/// The quantization half of a study.
///
/// ```
/// use burn_compress::{format::Mapping, recipe::QuantizeLevels};
/// let quantize = QuantizeLevels { mapping: Mapping::Affine, ..QuantizeLevels::from([8, 4]) };
/// assert_eq!(quantize.bits, [8, 4]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuantizeLevels {
    /// Numbers of bits, falling, 2 to 16.
    pub bits: Vec<u32>,
    /// Symmetric or affine.
    pub mapping: Mapping,
    /// Which weights share a scale.
    pub granularity: Granularity,
    /// How ranges are picked.
    pub ranges: Ranges,
    /// Scales follow the weights at every n-th step; at least 1.
    pub every: usize,
}

impl Default for QuantizeLevels {
    fn default() -> Self {
        Self {
            bits: Vec::new(),
            mapping: Mapping::Symmetric,
            granularity: Granularity::Channel,
            ranges: Ranges::default(),
            every: 10,
        }
    }
}

impl<const N: usize> From<[u32; N]> for QuantizeLevels {
    fn from(bits: [u32; N]) -> Self {
        Self {
            bits: bits.to_vec(),
            ..Self::default()
        }
    }
}

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

    /// Whether the recipe can be followed. Fails with any other [`RecipeError`] than those of reading
    /// and writing, at the first number, name or order that does not make sense.
    pub fn check(&self) -> Result<(), RecipeError> {
        let levels = self.prune.as_ref().map_or(&[][..], |p| &p.levels);
        let bits = self.quantize.as_ref().map_or(&[][..], |q| &q.bits);
        let steers = self.prune.as_ref().is_some_and(|p| p.steer.is_some());
        if levels.is_empty() && bits.is_empty() && !steers {
            return Err(RecipeError::Empty);
        }
        if let Some(&level) = levels.iter().find(|l| !(**l > 0.0 && **l < 1.0)) {
            return Err(RecipeError::Level { level });
        }
        if let Some(pair) = levels.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(RecipeError::Unsorted {
                what: "pruning level",
                before: pair[0],
                next: pair[1],
            });
        }
        for &bits in bits {
            self.scheme(bits)?;
        }
        if let Some(pair) = bits.windows(2).find(|pair| pair[0] <= pair[1]) {
            return Err(RecipeError::Unsorted {
                what: "number of bit",
                before: f64::from(pair[0]),
                next: f64::from(pair[1]),
            });
        }
        let value = |name, value: f64, fits: bool, expected| match fits {
            true => Ok(()),
            false => Err(RecipeError::Value {
                name,
                value,
                expected,
            }),
        };
        let positive = |number: f64| number > 0.0 && number.is_finite();
        let not_negative = self.max_drop >= 0.0 && self.max_drop.is_finite();
        value(
            "max_drop",
            self.max_drop,
            not_negative,
            "give 0 or more points",
        )?;
        let rate = self.learning_rate;
        value(
            "learning_rate",
            rate,
            positive(rate),
            "give a positive number",
        )?;
        let seeds = self.seeds.len() as f64;
        value(
            "number of seeds",
            seeds,
            seeds > 0.0,
            "give at least one seed",
        )?;
        for (index, &seed) in self.seeds.iter().enumerate() {
            let first = !self.seeds[..index].contains(&seed);
            value("seed", seed as f64, first, "give each seed once")?;
        }
        let passes = self.timed_passes as f64;
        value(
            "timed_passes",
            passes,
            passes > 0.0,
            "time at least one pass",
        )?;
        if let Some(prune) = &self.prune {
            let share = prune.ramp_share;
            let fits = (0.0..=1.0).contains(&share);
            value(
                "ramp_share",
                share,
                fits,
                "give a share of the training, 0 to 1",
            )?;
            let every = prune.every as f64;
            value("prune.every", every, every > 0.0, "give 1 or more steps")?;
            if let Criterion::Custom(name) = &prune.criterion {
                value(
                    "length of the criterion's name",
                    0.0,
                    !name.is_empty(),
                    "name it",
                )?;
            }
            if let Some(steer) = &prune.steer {
                let fits = (0.0..1.0).contains(&steer.start);
                value(
                    "steer.start",
                    steer.start,
                    fits,
                    "give a share from 0 to below 1",
                )?;
                let step = steer.increment;
                value(
                    "steer.increment",
                    step,
                    positive(step),
                    "give a positive share",
                )?;
                let end = steer.resolution;
                value(
                    "steer.resolution",
                    end,
                    positive(end),
                    "give a positive share",
                )?;
                let rounds = steer.rounds as f64;
                let expected = "give no more than the increment";
                value("steer.resolution", end, end <= step, expected)?;
                value("steer.rounds", rounds, rounds > 0.0, "allow at least one")?;
            }
        }
        if let Some(quantize) = &self.quantize {
            let every = quantize.every as f64;
            value("quantize.every", every, every > 0.0, "give 1 or more steps")?;
            if let Ranges::Custom(name) = &quantize.ranges {
                let expected = "name it";
                value(
                    "length of the quantizer's name",
                    0.0,
                    !name.is_empty(),
                    expected,
                )?;
            }
        }
        if let Some(Ranges::Percentile { outside }) = self.quantize.as_ref().map(|q| &q.ranges) {
            let fits = (0.0..0.5).contains(outside);
            value(
                "outside",
                *outside,
                fits,
                "give a share from 0 to below 0.5",
            )?;
        }
        self.check_order(!levels.is_empty() || steers, !bits.is_empty())
    }

    fn check_order(&self, prunes: bool, quantizes: bool) -> Result<(), RecipeError> {
        let refuse = |reason| {
            Err(RecipeError::Order {
                order: self.order.clone(),
                reason,
            })
        };
        let place = |stage| self.order.iter().position(|s| *s == stage);
        if self.order.contains(&Stage::Baseline) {
            return refuse("the baseline is always measured first; leave it out");
        }
        for (index, stage) in self.order.iter().enumerate() {
            if self.order[..index].contains(stage) {
                return refuse("a stage occurs twice");
            }
        }
        if prunes && place(Stage::Prune).is_none() {
            return refuse("pruning has levels, but no place in it");
        }
        if quantizes && place(Stage::Quantize).is_none() {
            return refuse("quantization has numbers of bits, but no place in it");
        }
        if let Some(combined) = place(Stage::Combined)
            && [Stage::Prune, Stage::Quantize]
                .iter()
                .any(|stage| place(*stage).is_none_or(|place| place > combined))
        {
            return refuse("the combination comes after both pruning and quantization");
        }
        Ok(())
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
