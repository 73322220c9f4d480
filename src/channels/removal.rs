use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use super::ChannelError;
use super::read::{read, statistic};
use crate::compress::{replace, snapshot};

/// Which elements of which axes stay, of each parameter that gets smaller.
///
/// ```
/// use burn::{nn::{Linear, LinearConfig}, module::Module, tensor::{Device, Tensor}};
/// use burn_compress::channels::Channels;
///
/// #[derive(Module, Debug)]
/// struct Mlp { first: Linear, second: Linear }
///
/// let device = Device::default();
/// let (first, second) = (LinearConfig::new(4, 16).init(&device), LinearConfig::new(16, 2).init(&device));
/// let forward = |mlp: &Mlp, x: Tensor<2>| mlp.second.forward(mlp.first.forward(x).tanh());
/// let mlp = Mlp { first, second };
/// let smaller = Channels::share(0.5).apply(mlp.clone(), [1, 4], forward)?;
/// assert_eq!(smaller.removal().kept("first.weight", 1).unwrap().len(), 8);
///
/// // The masked original has zeros in their place, and the same outputs.
/// let masked = smaller.removal().mask(mlp)?;
/// let x = Tensor::ones([1, 4], &device);
/// let difference = forward(&masked, x.clone()) - forward(&smaller.module, x);
/// assert!(difference.abs().max().into_scalar::<f32>() < 1e-5);
/// # Ok::<(), burn_compress::channels::ChannelError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub(super) parameters: BTreeMap<String, Cut>,
}

/// What stays of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cut {
    /// Dimensions before.
    pub dims: Vec<usize>,
    /// What stays of each axis that loses something.
    pub kept: BTreeMap<usize, Vec<usize>>,
}

impl Removal {
    /// What stays of a parameter's axis; none where it stays whole.
    pub fn kept(&self, path: &str, axis: usize) -> Option<&[usize]> {
        self.parameters
            .get(path)?
            .kept
            .get(&axis)
            .map(Vec::as_slice)
    }

    /// The paths of the parameters that get smaller.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.parameters.keys().map(String::as_str)
    }

    /// The module with zeros in place of what is removed: the masked original. Fails with
    /// [`ChannelError::Removal`] where the module is another one.
    pub fn mask<M: Module>(&self, module: M) -> Result<M, ChannelError> {
        self.check(&module)?;
        Ok(self.map(module, true))
    }

    /// The module without what is removed. Fields that hold numbers of channels are left as they are; see
    /// [`Fields`](super::Fields).
    pub fn cut<M: Module>(&self, module: M) -> Result<M, ChannelError> {
        self.check(&module)?;
        Ok(self.map(module, false))
    }

    fn map<M: Module>(&self, module: M, mask: bool) -> M {
        // Clones would share running statistics.
        snapshot(&module).map(&mut Cutter {
            removal: self,
            mask,
            path: Vec::new(),
            containers: Vec::new(),
        })
    }

    fn check<M: Module>(&self, module: &M) -> Result<(), ChannelError> {
        let found = read(module, false)?;
        for (path, cut) in &self.parameters {
            let dims = found
                .iter()
                .find(|one| one.path == *path)
                .map(|one| &one.dims);
            let fits = cut.kept.iter().all(|(axis, kept)| {
                let length = cut.dims.get(*axis).copied().unwrap_or(0);
                !kept.is_empty() && kept.iter().all(|place| *place < length)
            });
            if dims != Some(&cut.dims) || !fits {
                return Err(ChannelError::Removal {
                    path: path.clone(),
                    found: dims.cloned(),
                    expected: cut.dims.clone(),
                });
            }
        }
        Ok(())
    }
}

struct Cutter<'a> {
    removal: &'a Removal,
    mask: bool,
    path: Vec<String>,
    containers: Vec<String>,
}

impl ModuleMapper for Cutter<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_string());
        self.containers.push(container_type.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let Some(cut) = self.removal.parameters.get(&path) else {
            return param;
        };
        let container = self.containers.last().map_or("", String::as_str);
        if self.mask && statistic(container, self.path.last()) {
            return param;
        }
        replace(param, |mut tensor| {
            for (&axis, kept) in &cut.kept {
                let device = tensor.device();
                tensor = match self.mask {
                    true => {
                        let mut factors = vec![0.0f32; cut.dims[axis]];
                        kept.iter().for_each(|&place| factors[place] = 1.0);
                        let mut dims = [1; D];
                        dims[axis] = factors.len();
                        let factors = Tensor::<1>::from_data(factors.as_slice(), &device);
                        let dtype = tensor.dtype();
                        tensor * factors.cast(dtype).reshape(dims)
                    }
                    false => {
                        let kept: Vec<i64> = kept.iter().map(|&place| place as i64).collect();
                        let kept = Tensor::<1, Int>::from_data(kept.as_slice(), &device);
                        tensor.select(axis, kept)
                    }
                };
            }
            tensor
        })
    }
}
