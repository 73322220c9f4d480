//! Saved modules with fewer channels, read into modules of full width.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

use super::read::read;
use super::{ChannelError, Fields};
use crate::compress::{replace, snapshot, unpack};
use crate::format::{Archive, FormatError};

/// Reads a file that [`Compressed::save`](crate::Compressed::save) or
/// [`Archive::save`](crate::format::Archive::save) wrote of a module with fewer channels into one of full
/// width: its parameters get the file's dimensions.
///
/// ```
/// use burn::{module::Module, nn::{Linear, LinearConfig}, tensor::{Device, Tensor}};
/// use burn_compress::{Plan, Quantization, Scheme, channels::{self, Channels}};
///
/// #[derive(Module, Debug)]
/// struct Mlp { first: Linear, second: Linear }
///
/// let device = Device::default();
/// let build = || Mlp { first: LinearConfig::new(4, 16).init(&device), second: LinearConfig::new(16, 2).init(&device) };
/// let forward = |mlp: &Mlp, x: Tensor<2>| mlp.second.forward(mlp.first.forward(x).tanh());
/// let smaller = Channels::share(0.5).apply(build(), [1, 4], forward)?;
/// let compressed = Plan::new().quantize(Quantization::to(Scheme::symmetric(8)?)).apply(smaller.module)?;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("model.bcm");
/// compressed.save(&path)?;
/// let loaded = channels::load(&path, build())?;
/// assert_eq!(loaded.first.weight.dims(), [4, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn load<M: Module>(path: impl AsRef<Path>, module: M) -> Result<M, ChannelError> {
    load_with(path, module, |_, _| {})
}

/// [`load`], with the code that sets the fields of layers; see [`Channels::apply_with`].
///
/// [`Channels::apply_with`]: super::Channels::apply_with
pub fn load_with<M: Module>(
    path: impl AsRef<Path>,
    module: M,
    fields: impl Fn(&mut M, &mut Fields),
) -> Result<M, ChannelError> {
    let archive = Archive::load(path).map_err(crate::compress::CompressError::from)?;
    let dims: HashMap<String, Vec<usize>> = archive
        .entries
        .iter()
        .map(|entry| (entry.path.clone(), entry.dims.clone()))
        .collect();
    let module = fit(module, &dims, fields)?;
    Ok(unpack(archive, module)?)
}

/// A module whose parameters have these dimensions, each by its path; others stay as they are. For other
/// files, such as Burn's own records: their dimensions first, then Burn loads the values.
///
/// Fails with [`ChannelError::Compress`] where a parameter has another rank or fewer elements.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::channels::fit;
/// let model = LinearConfig::new(4, 16).init(&Device::default());
/// let dims = [("weight".to_string(), vec![4, 6]), ("bias".to_string(), vec![6])].into();
/// let smaller = fit(model, &dims, |_, _| {})?;
/// assert_eq!(smaller.weight.dims(), [4, 6]);
/// # Ok::<(), burn_compress::channels::ChannelError>(())
/// ```
pub fn fit<M: Module>(
    module: M,
    dims: &HashMap<String, Vec<usize>>,
    fields: impl Fn(&mut M, &mut Fields),
) -> Result<M, ChannelError> {
    let parameters = read(&module, false)?;
    for parameter in &parameters {
        let Some(wanted) = dims.get(&parameter.path) else {
            continue;
        };
        let own = &parameter.dims;
        let fits = own.len() == wanted.len() && own.iter().zip(wanted).all(|(own, to)| to <= own);
        if !fits {
            let what =
                format!("{own:?} in the module, {wanted:?} are wanted: build it at full width");
            let error = FormatError::tensor(&parameter.path, what);
            return Err(crate::compress::CompressError::from(error).into());
        }
    }
    let mut module = snapshot(&module).map(&mut Fit {
        dims,
        path: Vec::new(),
    });
    let before = parameters
        .into_iter()
        .map(|one| (one.id, one.dims))
        .collect();
    fields(&mut module, &mut Fields::of(before));
    Ok(module)
}

struct Fit<'a> {
    dims: &'a HashMap<String, Vec<usize>>,
    path: Vec<String>,
}

impl ModuleMapper for Fit<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.dims.get(&self.path.join(".")) {
            None => param,
            Some(dims) => replace(param, |mut tensor| {
                for (axis, &length) in dims.iter().enumerate() {
                    if length < tensor.dims()[axis] {
                        tensor = tensor.narrow(axis, 0, length);
                    }
                }
                tensor
            }),
        }
    }
}
