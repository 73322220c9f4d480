use crate::format::FormatError;
use crate::prune::PatternError;
use crate::report::Stage;

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
    /// A pruning pattern whose numbers make none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A scheme without codes, or a file that cannot be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
}
