use burn::module::Module;
use burn::tensor::Tensor;

use super::choose::{Limits, Target};
use super::run::Run;
use super::{ChannelError, Fields, Narrowed, Score};
use crate::compress::{Observations, Selection};
use crate::prune::Scope;

/// Which channels are removed.
///
/// Only whole channels go, through every layer that depends on them: the weights that make them, norms and
/// their statistics, the weights that read them, and the same channels of whatever they are added to. The
/// module keeps its type. What it computes is what the original computes with zeros in their place.
///
/// The forward pass is captured to see what depends on what, and again with fewer channels to see that it
/// follows. Where it does not, those channels stay, and [`Narrowed::groups`] says why. A pass that panics
/// with fewer channels is such a case; Rust's panic hook prints it.
///
/// ```
/// use burn_compress::{Selection, channels::{Channels, Score}, prune::Scope};
/// let half = Channels::macs(0.5); // of the multiply-adds
/// let careful = Channels::share(0.3) // of the channels
///     .by(Score::L1)
///     .scope(Scope::Layer)
///     .at_least(8)
///     .multiple_of(8)
///     .select(Selection::default().except(["conv1"]));
/// # let _ = (half, careful);
/// ```
#[derive(Debug, Clone)]
pub struct Channels {
    pub(super) target: Target,
    pub(super) limits: Limits,
    pub(super) score: Score,
    pub(super) selection: Option<Selection>,
    pub(super) observed: Option<Observations>,
    pub(super) renormalize: bool,
    pub(super) frozen: bool,
}

impl Channels {
    /// Removes this share of the channels that can go, above 0 and below 1.
    pub fn share(share: f64) -> Self {
        Self::to(Target::Channels(share))
    }

    /// Removes channels until this share of the multiply-adds of a forward pass is gone, above 0 and below
    /// 1.
    pub fn macs(share: f64) -> Self {
        Self::to(Target::Macs(share))
    }

    fn to(target: Target) -> Self {
        Self {
            target,
            limits: Limits {
                scope: Scope::Global,
                at_least: 1,
                multiple: 1,
            },
            score: Score::default(),
            selection: None,
            observed: None,
            renormalize: false,
            frozen: false,
        }
    }

    /// By this score instead of the L2 norm.
    pub fn by(mut self, score: Score) -> Self {
        self.score = score;
        self
    }

    /// In each group the same share, or in all together: the lowest scores first.
    /// [`Scope::Erk`] is a rule for single weights, and counts as [`Scope::Global`].
    pub fn scope(mut self, scope: Scope) -> Self {
        self.limits.scope = scope;
        self
    }

    /// So many channels stay in each group; at least one.
    pub fn at_least(mut self, channels: usize) -> Self {
        self.limits.at_least = channels.max(1);
        self
    }

    /// A group that loses channels keeps a multiple of this number.
    pub fn multiple_of(mut self, channels: usize) -> Self {
        self.limits.multiple = channels.max(1);
        self
    }

    /// Only channels that the selected weights make. Those of others stay.
    pub fn select(mut self, selection: Selection) -> Self {
        self.selection = Some(selection);
        self
    }

    /// Gradients of some batches, for [`Score::Taylor`].
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::Device};
    /// use burn_compress::{Plan, Pruning, channels::{Channels, Score}, prune::Taylor};
    /// let model = LinearConfig::new(8, 4).init(&Device::default());
    /// let plan = Plan::new().prune(Pruning::to(0.5).by(Taylor::default()));
    /// let observed = plan.observations(&model)?;
    /// // observed.gradients(&gradients, &model) after each backward pass
    /// let channels = Channels::macs(0.5).by(Score::Taylor).observed(observed);
    /// # let _ = channels;
    /// # Ok::<(), burn_compress::compress::CompressError>(())
    /// ```
    pub fn observed(mut self, observed: Observations) -> Self {
        self.observed = Some(observed);
        self
    }

    /// Lets channels go that a layer norm, or a group norm of one group, averages over. Mean and variance
    /// are then those of the channels that are left, so that outputs are not those of the masked original.
    pub fn renormalize(mut self, renormalize: bool) -> Self {
        self.renormalize = renormalize;
        self
    }

    /// Whether frozen parameters may get smaller beside others that train. By default they stay whole.
    pub fn prune_frozen(mut self, prune: bool) -> Self {
        self.frozen = prune;
        self
    }

    /// Removes channels of a module whose forward pass takes inputs of this shape, the batch first.
    /// The module passed in is not changed, nor are its clones.
    ///
    /// ```
    /// use burn::{module::Module, nn::{BatchNorm, BatchNormConfig, conv::{Conv2d, Conv2dConfig}}};
    /// use burn::tensor::{Device, Tensor, activation::relu};
    /// use burn_compress::channels::Channels;
    ///
    /// #[derive(Module, Debug)]
    /// struct Net { first: Conv2d, norm: BatchNorm, second: Conv2d }
    ///
    /// let device = Device::default();
    /// let conv = |channels| Conv2dConfig::new(channels, [3, 3]).init(&device);
    /// let net = Net { first: conv([3, 16]), norm: BatchNormConfig::new(16).init(&device), second: conv([16, 4]) };
    /// let forward = |net: &Net, x: Tensor<4>| net.second.forward(relu(net.norm.forward(net.first.forward(x))));
    /// let smaller = Channels::share(0.5).apply(net, [1, 3, 8, 8], forward)?;
    /// assert_eq!(smaller.module.first.weight.dims(), [8, 3, 3, 3]);
    /// assert_eq!(smaller.module.second.weight.dims(), [4, 8, 3, 3]);
    /// # Ok::<(), burn_compress::channels::ChannelError>(())
    /// ```
    pub fn apply<M: Module, const D: usize, const E: usize>(
        &self,
        module: M,
        shape: [usize; D],
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
    ) -> Result<Narrowed<M>, ChannelError> {
        self.apply_with(module, shape, forward, |_, _| {})
    }

    /// [`apply`](Self::apply), with code that sets the fields in which layers hold numbers of channels:
    /// [`Fields::set`] for each depthwise convolution and group norm that may lose some.
    pub fn apply_with<M: Module, const D: usize, const E: usize>(
        &self,
        module: M,
        shape: [usize; D],
        forward: impl Fn(&M, Tensor<D>) -> Tensor<E>,
        fields: impl Fn(&mut M, &mut Fields),
    ) -> Result<Narrowed<M>, ChannelError> {
        let (Target::Channels(share) | Target::Macs(share)) = self.target;
        if !(share > 0.0 && share < 1.0) {
            return Err(ChannelError::Share { share });
        }
        Run::new(self, &module, shape, &forward, &fields)?.run()
    }
}
