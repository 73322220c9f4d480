//! Which weights go together. A pattern is a [`Rule`] in a file of its own, and a variant here.

mod block;
mod groups;
mod n_of_m;
mod single;

use std::fmt;
use std::str::FromStr;

use burn::tensor::{Bool, Tensor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::share_of;
use crate::format::WeightView;
use block::Block;
use n_of_m::NOfM;
use single::Single;

/// Which weights go together.
///
/// A block's score is the sum of its weights' scores (by magnitude, its L1 norm) over its length, so that
/// short blocks compare with long ones (Mao et al. 2017, "Exploring the Regularity of Sparse Structure in
/// Convolutional Neural Networks").
///
/// Blocks go lowest score first, as long as the middle of the next one lies within the level. So the
/// number of weights removed is as close to `level * weights` as whole blocks, taken in this order, can
/// come, and never more than half of the longest block away from it: in each layer
/// ([`Scope::Layer`](super::Scope::Layer)) or in all together ([`Scope::Global`](super::Scope::Global)).
/// Among equal scores those that come first go: by layer, in it whole blocks before short ones, then by
/// filter, channel and tap.
///
/// A pattern is written by its short name, in recipes too.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::{compress::{Plan, Pruning}, prune::Pattern};
///
/// let pattern = Pattern::Block { channels: 4 };
/// assert_eq!(pattern.to_string(), "block4");
/// assert_eq!(serde_json::to_string(&pattern)?, r#""block4""#);
/// assert_eq!("2:4".parse::<Pattern>()?, Pattern::NOfM { n: 2, m: 4 });
///
/// let model = LinearConfig::new(10, 2).init(&Device::default()); // rows of 4, 4 and 2 weights
/// let compressed = Plan::new().prune(Pruning::to(0.5).pattern(pattern)).apply(model)?;
/// assert!((8..=12).contains(&compressed.layers()[0].removed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Pattern {
    /// Each weight by itself: `unstructured`.
    #[default]
    Unstructured,
    /// This many neighbouring input channels at one tap of one filter: `block4`.
    ///
    /// Channel `c` is in block `c / channels`. Where the input channels (of a convolution's group) are
    /// no multiple, the last block of each filter and tap is shorter; a depthwise convolution has one
    /// input channel, so that each weight is its own block.
    Block {
        /// Input channels of a block, at least 1.
        channels: usize,
    },
    /// Of each `m` neighbouring input channels at one tap of one filter, the `n` of greatest score stay:
    /// `2:4`, as sparse matrix units take them (Mishra et al. 2021, "Accelerating Sparse Deep Neural
    /// Networks").
    ///
    /// It fixes the level ([`level`](Self::level)); at a lower one, as while a schedule rises, the lowest
    /// of those that will go are gone. Where the input channels are no multiple of `m`, the last ones
    /// lose what exceeds `n`; so a depthwise convolution loses nothing.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::Device};
    /// use burn_compress::{compress::{Plan, Pruning}, prune::Pattern};
    /// let model = LinearConfig::new(16, 3).init(&Device::default());
    /// let pruning = Pruning::to(0.5).pattern(Pattern::NOfM { n: 2, m: 4 });
    /// let compressed = Plan::new().prune(pruning).apply(model)?;
    /// assert_eq!(compressed.layers()[0].removed, 24);
    /// # Ok::<(), burn_compress::compress::CompressError>(())
    /// ```
    NOfM {
        /// Weights that stay, at least 1.
        n: usize,
        /// Weights of a group, more than `n`.
        m: usize,
    },
}

/// What a pattern is: its name, its check, and its mask.
///
/// Marks are counted in the pattern's own order of a layer's weights, in which what goes together stands
/// together; that of single weights is the layer's.
trait Rule {
    /// The short name.
    fn name(&self) -> String;

    /// What a headline says after the level; none of single weights.
    fn words(&self) -> Option<String>;

    /// Fails with what is wrong with its numbers, and the way out.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// The level that it fixes.
    fn level(&self) -> Option<f64> {
        None
    }

    /// The most weights of a layer that may go.
    fn most(&self, view: &WeightView) -> usize {
        view.len()
    }

    /// The most weights that go together.
    fn longest(&self, _view: &WeightView) -> usize {
        1
    }

    /// A layer's scores, `[out, in * kernel]`, in its order, each replaced by that of what goes together.
    fn line_up(&self, scores: Tensor<2>, view: &WeightView) -> Tensor<1> {
        scores.reshape([view.len()])
    }

    /// A layer's mask, `[out, in * kernel]`, in its order, each weight by itself.
    fn line_up_each(&self, mask: Tensor<2, Bool>, view: &WeightView) -> Tensor<1, Bool> {
        mask.reshape([view.len()])
    }

    /// The mask, `[out, in * kernel]`, of marks in its order: of what goes together all, where at least
    /// so many weights are marked, given their number.
    fn whole(
        &self,
        marked: Tensor<1, Bool>,
        view: &WeightView,
        _least: &dyn Fn(usize) -> usize,
    ) -> Tensor<2, Bool> {
        marked.reshape([view.rows(), view.columns()])
    }

    /// The weights that stay by these scores, whatever the level; none where any may go.
    fn stays(&self, _scores: Tensor<2>, _view: &WeightView) -> Option<Tensor<2, Bool>> {
        None
    }
}

/// A pattern that is none, or a level that a pattern cannot come to.
///
/// ```
/// use burn_compress::prune::Pattern;
/// let error = "row".parse::<Pattern>().unwrap_err();
/// assert!(error.to_string().starts_with("pattern `row`: no such pattern"));
/// assert!(Pattern::NOfM { n: 4, m: 4 }.check().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern `{pattern}`: {what}")]
#[non_exhaustive]
pub struct PatternError {
    /// The pattern's short name.
    pub pattern: String,
    /// What is wrong, and the way out.
    pub what: String,
}

impl Pattern {
    fn rule(self) -> Box<dyn Rule> {
        match self {
            Self::Unstructured => Box::new(Single),
            Self::Block { channels } => Box::new(Block { channels }),
            Self::NOfM { n, m } => Box::new(NOfM { n, m }),
        }
    }

    /// Fails where its numbers make no pattern.
    pub fn check(self) -> Result<(), PatternError> {
        self.rule().check().map_err(|what| self.error(what))
    }

    /// The level that it fixes: the share of the weights that it removes, of layers whose input channels
    /// are whole groups.
    ///
    /// ```
    /// use burn_compress::prune::Pattern;
    /// assert_eq!(Pattern::NOfM { n: 1, m: 4 }.level(), Some(0.75));
    /// assert_eq!(Pattern::Block { channels: 4 }.level(), None);
    /// ```
    pub fn level(self) -> Option<f64> {
        self.rule().level()
    }

    /// Fails above the level that it fixes.
    pub(crate) fn check_level(self, level: f64) -> Result<(), PatternError> {
        match self.level() {
            // As far as a rounded share can be told from it.
            Some(most) if level > most + 1e-9 => Err(self.error(format!(
                "it removes a share of {most} at most, not {level}: give this level, or a lower one"
            ))),
            _ => Ok(()),
        }
    }

    /// The short name, where it is worth telling: not of single weights.
    pub(crate) fn shown(self) -> Option<String> {
        self.rule().words().map(|_| self.to_string())
    }

    /// What a headline says after the level; none of single weights.
    pub(crate) fn words(self) -> Option<String> {
        self.rule().words()
    }

    /// Weights that go at a level, of those of these layers that may go: their number, and that before it
    /// was rounded.
    pub(crate) fn count<'a>(
        self,
        level: f64,
        views: impl Iterator<Item = &'a WeightView>,
    ) -> (usize, f64) {
        let rule = self.rule();
        let most: usize = views.map(|view| rule.most(view)).sum();
        let share = match rule.level() {
            Some(full) if full > 0.0 => (level / full).min(1.0),
            _ => level,
        };
        (share_of(share, most), share * most as f64)
    }

    pub(crate) fn line_up(self, scores: Tensor<2>, view: &WeightView) -> Tensor<1> {
        self.rule().line_up(scores, view)
    }

    pub(crate) fn line_up_each(self, mask: Tensor<2, Bool>, view: &WeightView) -> Tensor<1, Bool> {
        self.rule().line_up_each(mask, view)
    }

    /// Where a mask, `[out, in * kernel]`, covers all that goes together, in the pattern's order.
    pub(crate) fn line_up_whole(self, mask: Tensor<2, Bool>, view: &WeightView) -> Tensor<1, Bool> {
        let rule = self.rule();
        // The mean of zeros and ones is one of ones alone.
        let share = rule.line_up(mask.float(), view);
        share.greater_elem(1.0 - 0.5 / rule.longest(view) as f64)
    }

    pub(crate) fn longest(self, view: &WeightView) -> usize {
        self.rule().longest(view)
    }

    pub(crate) fn whole(
        self,
        marked: Tensor<1, Bool>,
        view: &WeightView,
        least: impl Fn(usize) -> usize,
    ) -> Tensor<2, Bool> {
        self.rule().whole(marked, view, &least)
    }

    pub(crate) fn stays(self, scores: Tensor<2>, view: &WeightView) -> Option<Tensor<2, Bool>> {
        self.rule().stays(scores, view)
    }

    fn error(self, what: String) -> PatternError {
        PatternError {
            pattern: self.to_string(),
            what,
        }
    }
}

/// The short name: `unstructured`, `block4`, `2:4`.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.rule().name())
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    /// By the short name. Fails where there is no such pattern, not where its numbers make none
    /// ([`check`](Pattern::check)).
    fn from_str(name: &str) -> Result<Self, PatternError> {
        let block = || Block::parse(name).map(|Block { channels }| Self::Block { channels });
        let n_of_m = || NOfM::parse(name).map(|NOfM { n, m }| Self::NOfM { n, m });
        let found = match name == Single.name() {
            true => Some(Self::Unstructured),
            false => block().or_else(n_of_m),
        };
        found.ok_or_else(|| PatternError {
            pattern: name.to_string(),
            what: "no such pattern: write `unstructured`, `block4` or `2:4`".into(),
        })
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(de::Error::custom)
    }
}
