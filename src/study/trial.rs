use crate::prune::Pattern;
use crate::recipe::Recipe;
use crate::report::{Mode, Row, Stage};

/// A trial of the study: which compression, when in force, with what training.
///
/// ```
/// use burn_compress::{prune::Pattern, report::{Mode, Stage}, study::Trial};
/// let trial = Trial { stage: Stage::Prune, mode: Mode::Aware, refined: true, steered: false, level: 0.8,
///     pattern: Pattern::Block { channels: 4 }, bits: 32, activation_bits: 32, seed: 0 };
/// assert_eq!(trial.key(), "prune-aware-refined-80.00-block4-32bit-seed0");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// Part of the study.
    pub stage: Stage,
    /// When the compression is in force.
    pub mode: Mode,
    /// Whether refine-tune follows.
    pub refined: bool,
    /// Whether the level is found by a steered threshold, not given.
    pub steered: bool,
    /// Share of the weights removed.
    pub level: f64,
    /// Which weights were removed together; unstructured where none were.
    pub pattern: Pattern,
    /// Bits of a weight; 32 where it is not quantized.
    pub bits: u32,
    /// Bits of activations; 32 where they are floats.
    pub activation_bits: u32,
    /// Seed of the training.
    pub seed: u64,
}

impl Trial {
    /// The name under which the trial is saved.
    pub fn key(&self) -> String {
        let stage = match self.stage {
            Stage::Baseline => "baseline",
            Stage::Prune => "prune",
            Stage::Quantize => "quantize",
            Stage::Combined => "combined",
        };
        let mode = match self.mode {
            Mode::None => "none",
            Mode::Post => "post",
            Mode::Reconstructed => "reconstructed",
            Mode::Aware => "aware",
        };
        let refined = if self.refined { "refined" } else { "plain" };
        let (bits, seed) = (self.bits, self.seed);
        let level = match self.steered {
            true => "steered".to_string(),
            false => {
                let short = format!("{:.2}", self.level * 100.0);
                // Two levels that look the same in two digits are two trials.
                match short.parse::<f64>() {
                    Ok(percent) if (percent / 100.0 - self.level).abs() < 1e-12 => short,
                    _ => (self.level * 100.0).to_string(),
                }
            }
        };
        // A colon is no part of a file's name everywhere.
        let pattern = self.pattern.shown();
        let pattern =
            pattern.map_or_else(String::new, |name| format!("-{}", name.replace(':', "of")));
        let activations = match self.activation_bits {
            32 => String::new(),
            bits => format!("-{bits}bit-activations"),
        };
        format!("{stage}-{mode}-{refined}-{level}{pattern}-{bits}bit{activations}-seed{seed}")
    }

    pub(super) fn baseline(seed: u64) -> Self {
        Self {
            stage: Stage::Baseline,
            mode: Mode::None,
            refined: false,
            steered: false,
            level: 0.0,
            pattern: Pattern::default(),
            bits: 32,
            activation_bits: 32,
            seed,
        }
    }

    pub(super) fn of(row: &Row) -> Self {
        Self {
            stage: row.stage,
            mode: row.mode,
            refined: row.refined,
            steered: row.steered,
            level: row.level,
            pattern: row.pattern,
            bits: row.weight_bits,
            activation_bits: row.activation_bits,
            seed: row.seed,
        }
    }

    pub(super) fn refined(self) -> Self {
        Self {
            refined: true,
            ..self
        }
    }
}

/// What a reconstruction weighs, in epochs of training.
pub(super) const RECONSTRUCTION: usize = 1;

/// Epochs of training that a recipe asks for in all, and trials that it makes: what progress counts.
pub(super) fn extent(recipe: &Recipe) -> (usize, usize) {
    let (seeds, trains) = (recipe.seeds.len(), recipe.epochs > 0);
    let aware = usize::from(trains);
    let refines = usize::from(trains && recipe.refine_epochs > 0);
    let prune = recipe.prune.as_ref();
    let patterns = || prune.into_iter().flat_map(|prune| &prune.patterns);
    let levels = |pattern: &Pattern| prune.map_or(0, |prune| prune.levels_of(*pattern).len());
    let levels: usize = patterns().map(levels).sum();
    let free = patterns().filter(|pattern| pattern.level().is_none());
    let free = free.count();
    let bits = recipe.quantize.as_ref().map_or(0, |q| q.bits.len());
    let steer = prune.and_then(|prune| prune.steer.as_ref());
    let (rounds, steered) = steer.map_or((0, 0), |steer| (steer.rounds, free * aware));
    // There is something to combine where both parts have trials.
    let combines = recipe.order.contains(&Stage::Combined) && levels + steered > 0 && bits > 0;
    let (alone, both) = (levels + bits, usize::from(combines));
    let trained = refines + aware + aware * refines;
    let reconstructed = usize::from(recipe.reconstruct.is_some());
    let epochs = aware * recipe.epochs + (refines + aware * refines) * recipe.refine_epochs;
    (
        seeds * ((alone + both) * epochs + steered * rounds * recipe.epochs)
            + reconstructed * RECONSTRUCTION * (alone + seeds * both),
        // Without training no level depends on the seed, but for what is combined.
        1 + (1 + reconstructed) * (alone + seeds * both)
            + seeds * ((alone + both) * trained + steered),
    )
}
