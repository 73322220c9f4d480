//! Numbers of channels that layers hold in fields, which Burn's mappers do not reach.

use std::collections::HashMap;

use burn::module::{Param, ParamId};
use burn::nn::conv::{Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d};
use burn::nn::{GroupNorm, InstanceNorm};
use burn::tensor::Tensor;

/// Sets the fields of layers to what their parameters have become.
///
/// Burn's layers hold `groups` and numbers of channels in public fields. A depthwise convolution and a
/// group norm can lose channels only if these follow.
///
/// ```
/// use burn::{module::Module, nn::conv::{Conv2d, Conv2dConfig}, tensor::{Device, Tensor}};
/// use burn_compress::channels::{Channels, Fields};
///
/// #[derive(Module, Debug)]
/// struct Net { expand: Conv2d, depthwise: Conv2d, project: Conv2d }
///
/// impl Net {
///     fn forward(&self, x: Tensor<4>) -> Tensor<4> {
///         self.project.forward(self.depthwise.forward(self.expand.forward(x)))
///     }
///     fn fields(&mut self, fields: &mut Fields) {
///         fields.set(&mut self.depthwise);
///     }
/// }
///
/// let device = Device::default();
/// let conv = |channels, kernel, groups| {
///     Conv2dConfig::new(channels, [kernel, kernel]).with_groups(groups).init(&device)
/// };
/// let net = Net { expand: conv([3, 16], 1, 1), depthwise: conv([16, 16], 3, 16), project: conv([16, 4], 1, 1) };
/// let smaller = Channels::share(0.5).apply_with(net, [1, 3, 8, 8], Net::forward, Net::fields)?;
/// assert_eq!(smaller.module.depthwise.groups, 8);
/// # Ok::<(), burn_compress::channels::ChannelError>(())
/// ```
#[derive(Debug, Default)]
pub struct Fields {
    /// Dimensions before channels went.
    before: HashMap<ParamId, Vec<usize>>,
    reached: Vec<ParamId>,
}

/// A layer with fields that [`Fields::set`] can set: convolutions, group norm and instance norm of
/// burn-nn.
pub trait Resize {
    /// Sets them.
    #[doc(hidden)]
    fn resize(&mut self, fields: &mut Fields);
}

impl Fields {
    /// Sets the fields of a layer.
    pub fn set(&mut self, layer: &mut impl Resize) {
        layer.resize(self);
    }

    pub(super) fn of(before: HashMap<ParamId, Vec<usize>>) -> Self {
        Self {
            before,
            reached: Vec::new(),
        }
    }

    /// The parameters of the layers that were set.
    pub(super) fn reached(&self) -> &[ParamId] {
        &self.reached
    }

    // Dimensions before and after.
    fn see<const D: usize>(
        &mut self,
        param: &Param<Tensor<D>>,
    ) -> Option<(Vec<usize>, Vec<usize>)> {
        self.reached.push(param.id);
        let before = self.before.get(&param.id)?.clone();
        Some((before, param.shape().as_slice().to_vec()))
    }
}

// The groups of a depthwise convolution, which are as many as the channels on one axis over a multiple.
fn depthwise(groups: usize, before: usize, after: usize) -> usize {
    groups * after / before.max(1)
}

macro_rules! convolution {
    ($layer:ty) => {
        impl Resize for $layer {
            fn resize(&mut self, fields: &mut Fields) {
                if let Some((before, after)) = fields.see(&self.weight)
                    && self.groups > 1
                    && before[1] == 1
                {
                    self.groups = depthwise(self.groups, before[0], after[0]);
                }
            }
        }
    };
}

macro_rules! transposed {
    ($layer:ty) => {
        impl Resize for $layer {
            fn resize(&mut self, fields: &mut Fields) {
                let Some((before, after)) = fields.see(&self.weight) else {
                    return;
                };
                if self.groups > 1 && before[0] == self.groups {
                    self.groups = after[0];
                }
                self.channels = [after[0], after[1] * self.groups];
            }
        }
    };
}

convolution!(Conv1d);
convolution!(Conv2d);
transposed!(ConvTranspose1d);
transposed!(ConvTranspose2d);

impl Resize for GroupNorm {
    fn resize(&mut self, fields: &mut Fields) {
        let seen = self.gamma.as_ref().and_then(|gamma| fields.see(gamma));
        if let Some((before, after)) = seen {
            if self.num_groups > 1 {
                self.num_groups = depthwise(self.num_groups, before[0], after[0]);
            }
            self.num_channels = after[0];
        }
    }
}

impl Resize for InstanceNorm {
    fn resize(&mut self, fields: &mut Fields) {
        let seen = self.gamma.as_ref().and_then(|gamma| fields.see(gamma));
        if let Some((_, after)) = seen {
            self.num_channels = after[0];
        }
    }
}
