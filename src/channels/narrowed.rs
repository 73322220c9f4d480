use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Reason, Removal};

/// A module with fewer channels, of the same type.
///
/// ```
/// use burn::{module::Module, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use burn_compress::channels::Channels;
///
/// #[derive(Module, Debug)]
/// struct Mlp { first: Linear, second: Linear }
///
/// let device = Device::default();
/// let (first, second) = (LinearConfig::new(4, 16).init(&device), LinearConfig::new(16, 2).init(&device));
/// let forward = |mlp: &Mlp, x: Tensor<2>| mlp.second.forward(mlp.first.forward(x).tanh());
/// let smaller = Channels::macs(0.5).apply(Mlp { first, second }, [1, 4], forward)?;
/// assert_eq!(smaller.module.first.weight.dims(), [4, 8]);
/// assert_eq!(smaller.macs(), (96, 48));
/// println!("{smaller}"); // a line for each group
/// # Ok::<(), burn_compress::channels::ChannelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Narrowed<M> {
    /// The plain module: any Burn code runs and trains it. Its optimizer has to be a new one.
    pub module: M,
    pub(super) groups: Vec<ChannelGroup>,
    pub(super) removal: Removal,
    pub(super) macs: (u64, u64),
    pub(super) parameters: (usize, usize),
}

impl<M> Narrowed<M> {
    /// The groups of channels that go together, those that stay too.
    pub fn groups(&self) -> &[ChannelGroup] {
        &self.groups
    }

    /// What stays of each parameter that got smaller.
    pub fn removal(&self) -> &Removal {
        &self.removal
    }

    /// Multiply-adds of a pass on one sample, before and after, counted as [`macs`](crate::macs) does.
    pub fn macs(&self) -> (u64, u64) {
        self.macs
    }

    /// Numbers in float parameters, before and after.
    pub fn parameters(&self) -> (usize, usize) {
        self.parameters
    }
}

/// Channels of several layers that can only go together.
///
/// ```
/// use burn_compress::channels::{ChannelGroup, Reason};
/// let group = ChannelGroup {
///     layers: vec!["conv.weight".into()],
///     channels: 16,
///     kept: 16,
///     fixed: Some(Reason::Output),
/// };
/// assert!(group.to_string().contains("16 stay: the model's output"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelGroup {
    /// Paths of the weights that make these channels.
    pub layers: Vec<String>,
    /// Channels of the first of them.
    pub channels: usize,
    /// Those that are left.
    pub kept: usize,
    /// Why none could go; none where some could.
    pub fixed: Option<Reason>,
}

impl fmt::Display for ChannelGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.layers.first().map_or("", String::as_str);
        f.write_str(name)?;
        if self.layers.len() > 1 {
            write!(f, " and {} more", self.layers.len() - 1)?;
        }
        match &self.fixed {
            Some(reason) => write!(f, ": {} stay: {reason}", self.channels),
            None => write!(f, ": {} of {} left", self.kept, self.channels),
        }
    }
}

impl<M> fmt::Display for Narrowed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            writeln!(f, "{group}")?;
        }
        let ((before, after), (all, left)) = (self.macs, self.parameters);
        write!(
            f,
            "{after} of {before} multiply-adds, {left} of {all} parameters"
        )
    }
}
