use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor, TensorData};

use super::AttachError;
use super::elements::DTYPES;
use super::snapshot::snapshot;
use crate::format::{Archive, Entry, FormatError, Payload};

/// Reads a file that [`Compressed::save`](super::Compressed::save) wrote into a module of the same structure. Every tensor of
/// the module must be in the file, with the same dimensions, and the reverse.
pub fn load<M: Module>(path: impl AsRef<Path>, module: M) -> Result<M, AttachError> {
    unpack(Archive::load(path)?, module)
}

/// Puts the tensors of an archive into a module of the same structure; see [`load`].
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::attach::{archive, unpack};
/// let device = Device::default();
/// let model = LinearConfig::new(4, 2).init(&device);
/// let copy = unpack(archive(&model)?, LinearConfig::new(4, 2).init(&device))?;
/// copy.weight.val().into_data().assert_eq(&model.weight.val().into_data(), true);
/// # Ok::<(), burn_compress::attach::AttachError>(())
/// ```
pub fn unpack<M: Module>(archive: Archive, module: M) -> Result<M, AttachError> {
    archive.entries.iter().try_for_each(Entry::check)?;
    // All is checked before anything is put in place.
    let entries = archive.entries.into_iter();
    let mut prepare = Prepare {
        path: Vec::new(),
        entries: entries.map(|entry| (entry.path.clone(), entry)).collect(),
        ready: HashMap::new(),
        error: None,
    };
    module.visit(&mut prepare);
    if let Some(error) = prepare.error {
        return Err(error.into());
    }
    if let Some(path) = prepare.entries.into_keys().min() {
        return Err(FormatError::tensor(&path, "the module has no such parameter").into());
    }
    // A clone that the caller keeps would share running statistics.
    let module = snapshot(&module);
    Ok(module.map(&mut Apply {
        path: Vec::new(),
        ready: prepare.ready,
    }))
}

// The data for each parameter, or the first error.
struct Prepare {
    path: Vec<String>,
    entries: HashMap<String, Entry>,
    ready: HashMap<String, TensorData>,
    error: Option<FormatError>,
}

impl Prepare {
    fn take(&mut self, dims: &[usize], float: bool) {
        let path = self.path.join(".");
        let data = match self.entries.remove(&path) {
            None => Err(FormatError::tensor(&path, "not in the file")),
            Some(entry) if entry.dims != dims => Err(FormatError::tensor(
                &path,
                format!("{:?} in the file, {dims:?} in the module", entry.dims),
            )),
            Some(entry) => data(entry, float),
        };
        match data {
            Ok(data) => {
                self.ready.insert(path, data);
            }
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }
}

impl ModuleVisitor for Prepare {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    // Not the lazy shape: a linear layer in column layout tells its own before it is transposed.
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.take(param.shape().as_slice(), true);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.take(param.shape().as_slice(), false);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.take(param.shape().as_slice(), false);
    }
}

/// Puts values into the parameters of these paths.
pub(super) struct Apply {
    pub path: Vec<String>,
    pub ready: HashMap<String, TensorData>,
}

impl Apply {
    fn take(&mut self) -> Option<TensorData> {
        self.ready.remove(&self.path.join("."))
    }
}

impl ModuleMapper for Apply {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = self.take() else {
            return param;
        };
        param.map(|old| {
            let new = Tensor::from_data(data, (&old.device(), old.dtype()));
            new.set_require_grad(old.is_require_grad())
        })
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        match self.take() {
            Some(data) => param.map(|old| Tensor::from_data(data, (&old.device(), old.dtype()))),
            None => param,
        }
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        match self.take() {
            Some(data) => param.map(|old| Tensor::from_data(data, (&old.device(), old.dtype()))),
            None => param,
        }
    }
}

fn data(entry: Entry, float: bool) -> Result<TensorData, FormatError> {
    let wrong = || FormatError::tensor(&entry.path, "another kind of tensor than in the module");
    let weights = match &entry.payload {
        Payload::Dense(dense) => {
            let stored = DTYPES.iter().find(|(element, _)| *element == dense.element);
            let dtype = stored.map(|(_, dtype)| *dtype).ok_or_else(wrong)?;
            if dtype.is_float() != float {
                return Err(wrong());
            }
            return TensorData::try_from_bytes_vec(dense.bytes.clone(), entry.dims.clone(), dtype)
                .map_err(|error| FormatError::tensor(&entry.path, error.to_string()));
        }
        Payload::Sparse(values) => values.clone(),
        Payload::Quantized(weight) => weight.values(&entry.view()?)?,
    };
    if !float {
        return Err(wrong());
    }
    let values = entry.view()?.from_rows(&weights);
    Ok(TensorData::new(values, entry.dims.clone()))
}
