use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Bool, Int, Tensor, TensorData};

use super::CompressError;
use super::elements::DTYPES;
use super::snapshot::snapshot;
use crate::format::{Archive, Entry, FormatError, Payload};

/// Reads a file that [`Compressed::save`](super::Compressed::save) wrote into a module of the same structure. Every tensor of
/// the module must be in the file, with the same dimensions, and the reverse.
pub fn load<M: Module>(path: impl AsRef<Path>, module: M) -> Result<M, CompressError> {
    unpack(Archive::load(path)?, module)
}

/// Puts the tensors of an archive into a module of the same structure; see [`load`].
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::compress::{archive, unpack};
/// let device = Device::default();
/// let model = LinearConfig::new(4, 2).init(&device);
/// let copy = unpack(archive(&model)?, LinearConfig::new(4, 2).init(&device))?;
/// copy.weight.val().into_data().assert_eq(&model.weight.val().into_data(), true);
/// # Ok::<(), burn_compress::compress::CompressError>(())
/// ```
pub fn unpack<M: Module>(archive: Archive, module: M) -> Result<M, CompressError> {
    archive.check()?;
    // All is checked before anything is put in place.
    let entries = archive.entries.iter();
    let mut prepare = Prepare {
        path: Vec::new(),
        archive: &archive,
        entries: entries.map(|entry| (entry.path.as_str(), entry)).collect(),
        ready: HashMap::new(),
        error: None,
    };
    module.visit(&mut prepare);
    if let Some(error) = prepare.error {
        return Err(error.into());
    }
    if let Some(path) = prepare.entries.into_keys().min() {
        return Err(FormatError::tensor(
            path,
            "the module has no such parameter: build it as it was saved",
        )
        .into());
    }
    // A clone that the caller keeps would share running statistics.
    let module = snapshot(&module);
    let mut apply = Apply::new(&module, prepare.ready);
    Ok(module.map(&mut apply))
}

// The data for each parameter, or the first error.
struct Prepare<'a> {
    path: Vec<String>,
    archive: &'a Archive,
    // Those that no parameter took yet.
    entries: HashMap<&'a str, &'a Entry>,
    ready: HashMap<String, TensorData>,
    error: Option<FormatError>,
}

impl Prepare<'_> {
    fn take(&mut self, dims: &[usize], float: bool) {
        let path = self.path.join(".");
        let data = match self.entries.remove(path.as_str()) {
            None => Err(FormatError::tensor(
                &path,
                "not in the file: build the module as it was saved",
            )),
            Some(entry) if entry.dims != dims => Err(FormatError::tensor(
                &path,
                format!(
                    "{:?} in the file, {dims:?} in the module: build it as it was saved",
                    entry.dims
                ),
            )),
            Some(entry) => match self.archive.content(&path) {
                Some(content) => data(entry, content, float),
                None => Err(FormatError::tensor(&path, "not in the file")),
            },
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

impl ModuleVisitor for Prepare<'_> {
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

/// Puts values into the parameters of these paths. What is one parameter in two places stays one tensor,
/// where its values are the same.
pub(super) struct Apply {
    path: Vec<String>,
    ready: HashMap<String, TensorData>,
    // Parameters in several places, and what was put into the first of them.
    tied: HashMap<ParamId, Option<Placed>>,
}

// Values, and the tensor that holds them.
type Placed = (TensorData, Box<dyn Any>);

impl Apply {
    pub fn new<M: Module>(module: &M, ready: HashMap<String, TensorData>) -> Self {
        let mut ids = Ids::default();
        module.visit(&mut ids);
        Self {
            path: Vec::new(),
            ready,
            tied: ids.twice.into_iter().map(|id| (id, None)).collect(),
        }
    }

    fn take(&mut self) -> Option<TensorData> {
        self.ready.remove(&self.path.join("."))
    }

    // The tensor of these values: the one that is in another place of the parameter, or a new one.
    fn tensor<T: Clone + 'static>(
        &mut self,
        id: ParamId,
        data: TensorData,
        new: impl FnOnce(TensorData) -> T,
    ) -> T {
        let Some(known) = self.tied.get_mut(&id) else {
            return new(data);
        };
        if let Some((values, tensor)) = known
            && *values == data
            && let Some(tensor) = tensor.downcast_ref::<T>()
        {
            return tensor.clone();
        }
        let tensor = new(data.clone());
        known.get_or_insert_with(|| (data, Box::new(tensor.clone())));
        tensor
    }
}

/// The parameters that are in several places.
#[derive(Default)]
struct Ids {
    once: HashSet<ParamId>,
    twice: HashSet<ParamId>,
}

impl Ids {
    fn see(&mut self, id: ParamId) {
        if !self.once.insert(id) {
            self.twice.insert(id);
        }
    }
}

impl ModuleVisitor for Ids {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.see(param.id);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.see(param.id);
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.see(param.id);
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
        let id = param.id;
        param.map(|old| {
            self.tensor(id, data, |data| {
                let new = Tensor::from_data(data, (&old.device(), old.dtype()));
                new.set_require_grad(old.is_require_grad())
            })
        })
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let Some(data) = self.take() else {
            return param;
        };
        let id = param.id;
        param.map(|old| {
            self.tensor(id, data, |data| {
                Tensor::from_data(data, (&old.device(), old.dtype()))
            })
        })
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        let Some(data) = self.take() else {
            return param;
        };
        let id = param.id;
        param.map(|old| {
            self.tensor(id, data, |data| {
                Tensor::from_data(data, (&old.device(), old.dtype()))
            })
        })
    }
}

fn data(entry: &Entry, content: &Payload, float: bool) -> Result<TensorData, FormatError> {
    let wrong = || FormatError::tensor(&entry.path, "another kind of tensor than in the module");
    let weights = match content {
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
        Payload::SameAs(_) => return Err(wrong()),
    };
    if !float {
        return Err(wrong());
    }
    let values = entry.view()?.from_rows(&weights);
    Ok(TensorData::new(values, entry.dims.clone()))
}
