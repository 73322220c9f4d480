use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor, TensorData};

use super::edit::Parts;
use super::elements::{element, native};
use super::load::Apply;
use super::weights::host;
use super::{CompressError, Compression, Layer, LayerSummary, Unfinished, warn};
use crate::Warning;
use crate::format::{
    Archive, Dense, Entry, FormatError, Payload, QuantizedWeight, Scheme, WeightView,
};

/// A module with its compressed weights in place, and the same weights packed.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// use burn_compress::compress::{Plan, Quantization, load};
/// use burn_compress::format::Scheme;
///
/// let device = Device::default();
/// let config = LinearConfig::new(64, 10);
/// let plan = Plan::new().quantize(Quantization::to(Scheme::symmetric(3)?));
/// let compressed = plan.apply(config.init(&device))?;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("model.bcm");
/// let bytes = compressed.save(&path)?;
/// assert!(bytes < 1000); // 640 weights of 3 bits, 10 scales, 10 biases, and a description
/// let loaded = load(&path, config.init(&device))?;
/// let (one, other) = (loaded.weight.val(), compressed.module.weight.val());
/// one.into_data().assert_eq(&other.into_data(), true);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Compressed<M> {
    /// The plain module: nothing attached, any Burn code runs it.
    pub module: M,
    archive: Archive,
    layers: Vec<LayerSummary>,
    unfinished: Option<Unfinished>,
    warnings: Vec<Warning>,
    pub(super) selected: Vec<Layer>,
    /// Of each of them.
    pub(super) schemes: Vec<Option<Scheme>>,
}

impl<M: Module> Compressed<M> {
    /// Of a module that carries the compression.
    pub(super) fn of_attached(compression: &Compression, module: M) -> Result<Self, CompressError> {
        let parts = compression.parts(&module)?;
        let mut packed = Packed {
            unfinished: compression.unfinished(),
            ..Packed::default()
        };
        for (place, parts) in parts.into_iter().enumerate() {
            packed.add(compression, place, parts, None)?;
        }
        packed.into_compressed(compression, compression.strip(module))
    }

    /// Of a plain module, and what is to be done to its weights.
    pub(super) fn of_plain(
        compression: &Compression,
        module: M,
        parts: Vec<Parts>,
    ) -> Result<Self, CompressError> {
        let mut packed = Packed::default();
        let mut ready = HashMap::new();
        for (place, parts) in parts.into_iter().enumerate() {
            packed.add(compression, place, parts, Some(&mut ready))?;
        }
        let mut apply = Apply::new(&module, ready);
        packed.into_compressed(compression, module.map(&mut apply))
    }

    /// What each selected layer came to.
    pub fn layers(&self) -> &[LayerSummary] {
        &self.layers
    }

    /// How far pruning got, where that is not as far as its schedule goes: training took fewer steps, or
    /// [`Compression::step`] was not called after each.
    pub fn unfinished(&self) -> Option<&Unfinished> {
        self.unfinished.as_ref()
    }

    /// What the compression did to layers that their owner should know: those that lost all weights or
    /// whole channels, and those that need few of their codes.
    ///
    /// ```
    /// use burn::{nn::LinearConfig, tensor::Device};
    /// use burn_compress::compress::{Plan, Pruning};
    /// let model = LinearConfig::new(16, 4).init(&Device::default());
    /// let compressed = Plan::new().prune(Pruning::to(0.95)).apply(model)?;
    /// for warning in compressed.warnings() {
    ///     println!("{warning}"); // three weights are left: one of four channels has none at least
    /// }
    /// # assert!(!compressed.warnings().is_empty());
    /// # Ok::<(), burn_compress::compress::CompressError>(())
    /// ```
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The packed tensors.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The packed tensors alone.
    pub fn into_archive(self) -> Archive {
        self.archive
    }

    /// Writes the packed model, whole or not at all; returns the file's size in bytes.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<u64, CompressError> {
        Ok(self.archive.save(path)?)
    }
}

// Layers as they go into the file.
#[derive(Default)]
struct Packed {
    weights: HashMap<String, (WeightView, Payload)>,
    layers: Vec<LayerSummary>,
    unfinished: Option<Unfinished>,
    warnings: Vec<Warning>,
}

impl Packed {
    // Packs a layer; puts the values that it computes with into `ready`, too.
    fn add(
        &mut self,
        compression: &Compression,
        place: usize,
        parts: Parts,
        ready: Option<&mut HashMap<String, TensorData>>,
    ) -> Result<(), CompressError> {
        let layer = &compression.layers()[place];
        let values = host(layer, compression.effective(place, &parts))?;
        if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
            return Err(CompressError::NotFinite {
                layer: layer.path.clone(),
                value,
            });
        }
        let summary = compression.summarized(place, &parts, &values)?;
        if let Some(ready) = ready {
            let dims = layer.view.dims().to_vec();
            let data = TensorData::new(layer.view.from_rows(&values), dims);
            ready.insert(layer.path.clone(), data);
        }
        let quantized = match (compression.scheme(place), parts.parameters) {
            (Some(scheme), Some(parameters)) => {
                let scales = host(layer, parameters.scale)?;
                let points = host(layer, parameters.zero_point)?;
                let points: Vec<i32> = points.into_iter().map(|p| p as i32).collect();
                let codes = codes(&scheme, &values, &scales, &points);
                let packed = QuantizedWeight::new(scheme, &layer.view, scales, points, codes);
                Some(packed.map_err(|source| CompressError::Format {
                    layer: layer.path.clone(),
                    source,
                })?)
            }
            _ => None,
        };
        let pruned = compression.pruning(place).is_some();
        let warnings = warn::weights(layer, &summary, &values, quantized.as_ref(), pruned);
        self.warnings.extend(warnings);
        self.layers.push(summary);
        let payload = quantized.map_or_else(|| Payload::Sparse(values), Payload::Quantized);
        let packed = (layer.view.clone(), payload);
        self.weights.insert(layer.path.clone(), packed);
        Ok(())
    }

    fn into_compressed<M: Module>(
        self,
        compression: &Compression,
        module: M,
    ) -> Result<Compressed<M>, CompressError> {
        let mut warnings = self.warnings;
        warnings.extend(self.unfinished.as_ref().map(|early| Warning::Unfinished {
            step: early.step,
            end: early.end,
            level: early.level,
        }));
        Ok(Compressed {
            archive: collect(&module, self.weights)?,
            module,
            layers: self.layers,
            unfinished: self.unfinished,
            warnings,
            selected: compression.layers().to_vec(),
            schemes: (0..compression.layers().len())
                .map(|place| compression.scheme(place))
                .collect(),
        })
    }
}

// The values are codes already, times a scale: this finds the very codes that the device computed,
// whatever its division is like.
fn codes(scheme: &Scheme, values: &[f32], scales: &[f32], points: &[i32]) -> Vec<i32> {
    let length = (values.len() / scales.len().max(1)).max(1);
    let mut codes = vec![0; values.len()];
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    // Whole groups, and no thread for little.
    let share = scales.len().div_ceil(threads).max(SHARE.div_ceil(length));
    std::thread::scope(|scope| {
        let shares = codes
            .chunks_mut(share * length)
            .zip(values.chunks(share * length));
        let groups = scales.chunks(share).zip(points.chunks(share));
        for ((codes, values), (scales, points)) in shares.zip(groups) {
            let mut work = move || {
                let rows = codes.chunks_mut(length).zip(values.chunks(length));
                for ((codes, values), (&scale, &point)) in rows.zip(scales.iter().zip(points)) {
                    for (code, &value) in codes.iter_mut().zip(values) {
                        *code = scheme.quantize(value, scale, point);
                    }
                }
            };
            match values.len() < SHARE {
                true => work(),
                false => drop(scope.spawn(work)),
            }
        }
    });
    codes
}

const SHARE: usize = 1 << 17;

/// The tensors of a module as they are, uncompressed.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::Device};
/// let model = LinearConfig::new(4, 2).init(&Device::default());
/// assert_eq!(burn_compress::compress::archive(&model)?.entries.len(), 2);
/// # Ok::<(), burn_compress::compress::CompressError>(())
/// ```
pub fn archive<M: Module>(module: &M) -> Result<Archive, CompressError> {
    collect(module, HashMap::new())
}

// The module's tensors, those of `weights` as given there.
fn collect<M: Module>(
    module: &M,
    weights: HashMap<String, (WeightView, Payload)>,
) -> Result<Archive, CompressError> {
    let mut collect = Collect {
        path: Vec::new(),
        weights,
        entries: Vec::new(),
        error: None,
    };
    module.visit(&mut collect);
    match collect.error {
        Some(error) => Err(error),
        None => Ok(Archive::of(collect.entries)),
    }
}

struct Collect {
    path: Vec<String>,
    weights: HashMap<String, (WeightView, Payload)>,
    entries: Vec<Entry>,
    error: Option<CompressError>,
}

impl Collect {
    fn push(&mut self, dims: Vec<usize>, data: impl FnOnce() -> Result<TensorData, String>) {
        let path = self.path.join(".");
        let (output_axis, groups, payload) = match self.weights.remove(&path) {
            Some((view, payload)) => match view.output_axis() {
                0 => (0, 1, payload),
                axis => (axis, view.groups(), payload),
            },
            None => {
                let dense = data().and_then(|data| {
                    let element = element(data.dtype())
                        .ok_or_else(|| format!("type {:?} cannot be saved", data.dtype()))?;
                    Ok(Dense {
                        element,
                        bytes: data.into_bytes().to_vec(),
                    })
                });
                match dense {
                    Ok(dense) => (0, 1, Payload::Dense(dense)),
                    Err(what) => {
                        let error = FormatError::tensor(&path, what);
                        self.error.get_or_insert(error.into());
                        return;
                    }
                }
            }
        };
        self.entries.push(Entry {
            path,
            dims,
            output_axis,
            groups,
            payload,
        });
    }
}

macro_rules! collect {
    ($method:ident, $kind:ty) => {
        fn $method<const D: usize>(&mut self, param: &Param<Tensor<D, $kind>>) {
            let dims = param.shape().as_slice().to_vec();
            self.push(dims, || {
                let data = param.val().try_into_data();
                data.map_err(|error| error.to_string()).map(native)
            });
        }
    };
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    collect!(visit_float, burn::tensor::Float);
    collect!(visit_int, Int);
    collect!(visit_bool, Bool);
}
