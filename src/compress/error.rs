use crate::format::FormatError;
use crate::prune::{Need, PatternError};
use crate::schedule::ScheduleError;

/// What can be wrong with a model, a selection of its layers, or what is to be attached.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::compress::{CompressError, Plan, Pruning, Selection};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// let plan = Plan::new().select(Selection::only(["conv*"])).prune(Pruning::to(0.5));
/// assert!(matches!(plan.apply(model), Err(CompressError::NoMatch { .. })));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// A pattern of the selection matches no parameter.
    #[error("pattern `{pattern}` matches no parameter; the model has: {}", known.join(", "))]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// Paths of the parameters that could be selected.
        known: Vec<String>,
    },
    /// A pattern is not one.
    #[error("pattern `{pattern}` is not a pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// No layer is left to compress.
    #[error(
        "no layer is selected: the model has no convolution or linear weight; select parameters by path"
    )]
    NothingSelected,
    /// The plan does nothing.
    #[error("the plan neither prunes nor quantizes: give it a pruning or a quantization")]
    EmptyPlan,
    /// Two prunings, or two quantizations, of one layer.
    #[error(
        "layer `{layer}` belongs to two {kind}s of the plan: select other layers for each, and give at most one {kind} none, for the rest"
    )]
    Claimed {
        /// Path of the layer.
        layer: String,
        /// What the plan does to it twice.
        kind: &'static str,
    },
    /// A share of weights outside its range.
    #[error("level {level} is not a share of weights: choose from 0 up to, and without, 1")]
    Level {
        /// The level.
        level: f64,
    },
    /// A pruning pattern whose numbers make none, or a level that it cannot come to.
    #[error(transparent)]
    PruningPattern(#[from] PatternError),
    /// A weight is NaN or infinite.
    #[error(
        "layer `{layer}` has the weight {value}: repair or retrain the model before compressing it"
    )]
    NotFinite {
        /// Path of the layer.
        layer: String,
        /// One of the values.
        value: f32,
    },
    /// A layer without weights.
    #[error("layer `{layer}` of dimensions {dims:?} has no weight: exclude it from the selection")]
    EmptyLayer {
        /// Path of the layer.
        layer: String,
        /// Its dimensions.
        dims: Vec<usize>,
    },
    /// The groups of a transposed convolution, on which the weights of an output channel depend.
    #[error(
        "the groups of layer `{layer}`: {what}; state them with `Selection::groups`, or exclude the layer"
    )]
    Groups {
        /// Path of the layer.
        layer: String,
        /// What is wrong.
        what: String,
    },
    /// A share that is none, of the weights that each layer keeps.
    #[error("each layer cannot keep {share} of its weights: give a share from 0 to 1")]
    AtLeast {
        /// The share.
        share: f64,
    },
    /// A share that is none, of the weights that go and come back.
    #[error("regrowth cannot exchange {share} of the weights: give a share from 0 to 1")]
    Regrowth {
        /// The share.
        share: f64,
    },
    /// Masks of another model than the one that they are put on.
    #[error(
        "the masks do not fit layer `{layer}`: {what}; take them from a model of this structure"
    )]
    Masks {
        /// Path of the layer.
        layer: String,
        /// What is wrong.
        what: String,
    },
    /// A parameter carries another reparameterization, such as a LoRA adapter or an earlier
    /// compression.
    #[error("layer `{layer}` already carries `{name}`: materialize or strip the module first")]
    Occupied {
        /// Path of the layer.
        layer: String,
        /// Name of what it carries.
        name: String,
    },
    /// The module is not the one that the compression was attached to.
    #[error(
        "layer `{layer}` carries no compression: pass the module that `attach` returned, or one loaded from its record"
    )]
    Detached {
        /// Path of the layer.
        layer: String,
    },
    /// The masks cannot be moved to another level.
    #[error("the masks cannot be pruned to another level: {reason}")]
    Fixed {
        /// Why.
        reason: &'static str,
    },
    /// A criterion gave scores that cannot be ranked.
    #[error(
        "criterion `{criterion}` scored layer `{layer}` with {value}: scores must be finite and as many as weights"
    )]
    Score {
        /// Name of the criterion.
        criterion: String,
        /// Path of the layer.
        layer: String,
        /// One of the scores, or what is wrong with them.
        value: String,
    },
    /// A criterion asks for what was not observed of a layer.
    #[error(
        "criterion `{criterion}` needs the {need} of layer `{layer}`, which was not observed: {}",
        way_out(*need)
    )]
    Unobserved {
        /// Name of the criterion.
        criterion: String,
        /// Path of the layer.
        layer: String,
        /// What it asks for.
        need: Need,
    },
    /// What was observed is of another layer than the one to be scored.
    #[error("the {need} observed does not fit layer `{layer}`: {what}; observe this very module")]
    Observed {
        /// Path of the layer.
        layer: String,
        /// What was observed.
        need: Need,
        /// What is wrong.
        what: String,
    },
    /// A layer does not fit a scheme, or a file does not fit the model.
    #[error("layer `{layer}`: {source}")]
    Format {
        /// Path of the layer.
        layer: String,
        /// What is wrong.
        source: FormatError,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FormatError),
    /// A schedule says no sensible value.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The device failed.
    #[error("reading layer `{layer}` from its device failed: {reason}")]
    Device {
        /// Path of the layer.
        layer: String,
        /// The device's message.
        reason: String,
    },
}

fn way_out(need: Need) -> &'static str {
    match need.is_gradient() {
        true => {
            "name it in `Pruner::needs`; pass gradients to `Observations::gradients` for \
             `Plan::apply_with` and `attach_with`, to `Compression::observe` or `Epoch::observe` while \
             masks move, and implement `Workload::observe` for a study"
        }
        false => {
            "name it in `Pruner::needs`; pass inputs to `Graph::observe` for `Plan::apply_with` and \
             `attach_with`, and implement `Workload::observe` for a study"
        }
    }
}
