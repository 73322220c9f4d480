use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use super::elements::{dtype, element, from_le_bytes, to_le_bytes};
use super::{
    Container, Dense, ElementType, FormatError, Part, Payload, Quantized, Scheme, WeightView, pack,
    packed_len, unpack,
};

/// A tensor of a model: its path, dimensions and content.
///
/// ```
/// use burn_compress::format::{Entry, Payload};
/// let mut entry = Entry {
///     path: "conv1.weight".into(),
///     dims: vec![2, 2],
///     output_axis: 0,
///     payload: Payload::Sparse(vec![0.0, 1.0, 0.0, 0.0]),
/// };
/// assert_eq!(entry.view()?.rows(), 2);
/// entry.check()?;
/// entry.dims = vec![3, 2];
/// assert!(entry.check().is_err()); // six weights, four values
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Path of the parameter in its module.
    pub path: String,
    /// Dimensions of the parameter; none for a scalar.
    pub dims: Vec<usize>,
    /// Axis of the output channel, 0 or 1; 0 where nothing is compressed.
    pub output_axis: usize,
    /// The content.
    pub payload: Payload,
}

impl Entry {
    /// The tensor as a matrix of output channels. Fails with [`FormatError::Tensor`] where its
    /// dimensions have no such axis.
    pub fn view(&self) -> Result<WeightView, FormatError> {
        WeightView::new(self.dims.clone(), self.output_axis).map_err(|error| self.wrong(error))
    }

    /// Whether the content fits the dimensions. Fails with [`FormatError::Tensor`] where it does not.
    pub fn check(&self) -> Result<(), FormatError> {
        match &self.payload {
            Payload::Dense(dense) => {
                let size = dense.element.size();
                let bytes = self
                    .dims
                    .iter()
                    .try_fold(size, |product, &dim| product.checked_mul(dim));
                if bytes != Some(dense.bytes.len()) {
                    return Err(self.wrong(format!(
                        "{} bytes are not elements of {size} bytes in dimensions {:?}",
                        dense.bytes.len(),
                        self.dims
                    )));
                }
                if dense.element == ElementType::Bool
                    && let Some(byte) = dense.bytes.iter().find(|byte| **byte > 1)
                {
                    return Err(self.wrong(format!("{byte} is neither true nor false")));
                }
                Ok(())
            }
            Payload::Sparse(values) => match self.view()?.len() {
                weights if weights == values.len() => Ok(()),
                weights => {
                    Err(self.wrong(format!("{} values for {weights} weights", values.len())))
                }
            },
            Payload::Quantized(weight) => {
                let fits = weight.check(&self.view()?);
                fits.map_err(|error| self.wrong(error))
            }
        }
    }

    fn wrong(&self, what: impl ToString) -> FormatError {
        FormatError::tensor(&self.path, what.to_string())
    }
}

/// A compressed model on disk: a [safetensors](https://github.com/huggingface/safetensors) container
/// that other tools open too, with packed codes as byte tensors and a description in its metadata.
///
/// Codes take their true bits. A weight with enough zeros is stored as a bitmap of the weights that
/// are not zero and those alone; of the two forms the smaller is taken. A checksum guards the
/// description and the content: a file that was cut or altered does not load.
///
/// ```
/// use burn_compress::format::{Archive, Entry, Payload};
/// let archive = Archive {
///     entries: vec![Entry {
///         path: "fc.weight".into(),
///         dims: vec![1, 4],
///         output_axis: 0,
///         payload: Payload::Sparse(vec![0.0, 0.0, 2.5, 0.0]),
///     }],
/// };
/// let bytes = archive.to_bytes()?;
/// assert_eq!(Archive::from_bytes(&bytes)?, archive);
/// assert!(archive.entropy_bytes() <= bytes.len() as u64);
///
/// let folder = tempfile::tempdir()?;
/// let size = archive.save(folder.path().join("model.bcm"))?;
/// assert_eq!(size, bytes.len() as u64);
/// assert_eq!(Archive::load(folder.path().join("model.bcm"))?, archive);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Archive {
    /// The model's tensors, each path once.
    pub entries: Vec<Entry>,
}

/// What a file's description says of an entry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    path: String,
    dims: Vec<usize>,
    output_axis: usize,
    encoding: Encoding,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Encoding {
    Dense,
    Sparse,
    Quantized { scheme: Scheme, bitmap: bool },
}

impl Archive {
    const KIND: &'static str = "model";

    fn to_container(&self) -> Result<Container, FormatError> {
        let (tensors, parts) = self.to_parts()?;
        let description = serde_json::to_string(&tensors)
            .map_err(|error| FormatError::corrupt(error.to_string()))?;
        Ok(Container::new(Self::KIND, description, parts))
    }

    fn from_container(container: Container) -> Result<Self, FormatError> {
        let tensors: Vec<Description> = serde_json::from_str(container.description())
            .map_err(|error| FormatError::corrupt(error.to_string()))?;
        Self::from_parts(tensors, container.into_parts())
    }

    /// The entries as descriptions and the parts of a container, for a file that describes more.
    pub(crate) fn to_parts(&self) -> Result<(Vec<Description>, Vec<Part>), FormatError> {
        let mut parts = Vec::new();
        let mut tensors = Vec::new();
        for entry in &self.entries {
            entry.check()?;
            let encoding = encode(entry, &mut parts)?;
            tensors.push(Description {
                path: entry.path.clone(),
                dims: entry.dims.clone(),
                output_axis: entry.output_axis,
                encoding,
            });
        }
        let mut names = HashSet::new();
        match parts.iter().find(|part| !names.insert(&part.name)) {
            Some(part) => Err(FormatError::tensor(&part.name, "occurs twice")),
            None => Ok((tensors, parts)),
        }
    }

    /// The entries of descriptions and parts; each part must be described.
    pub(crate) fn from_parts(
        tensors: Vec<Description>,
        mut parts: BTreeMap<String, Part>,
    ) -> Result<Self, FormatError> {
        let entries = tensors
            .into_iter()
            .map(|tensor| decode(tensor, &mut parts))
            .collect::<Result<Vec<_>, _>>()?;
        match parts.keys().next() {
            Some(name) => Err(FormatError::tensor(name, "not described")),
            None => Ok(Self { entries }),
        }
    }

    /// The file's bytes. Fails with [`FormatError::Tensor`] where an entry contradicts itself or a
    /// path occurs twice.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        self.to_container()?.to_bytes()
    }

    /// Reads a file's bytes. Fails with [`FormatError::Version`] for a file of a newer version, with
    /// [`FormatError::Corrupt`] for one that was cut or altered, and with [`FormatError::Tensor`] for
    /// one that contradicts itself. Takes no more memory than what is described in full: 32 times the
    /// bytes' length for a bitmap of weights that are all zero, less for all else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::from_container(Container::from_bytes(Self::KIND, bytes)?)
    }

    /// Writes the file, whole or not at all; returns its size in bytes. Fails as
    /// [`to_bytes`](Self::to_bytes) and [`write_atomically`](super::write_atomically) do.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<u64, FormatError> {
        self.to_container()?.save(path)
    }

    /// Reads a file. Fails with [`FormatError::Io`], or as [`from_bytes`](Self::from_bytes) does.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        Self::from_container(Container::load(Self::KIND, path)?)
    }

    /// Least size in bytes that coding each tensor's symbols one by one could reach: the sum of
    /// [`Payload::entropy_bits`]. A file's own size is never less.
    pub fn entropy_bytes(&self) -> u64 {
        let bits: f64 = self.entries.iter().map(|e| e.payload.entropy_bits()).sum();
        (bits / 8.0).ceil() as u64
    }
}

fn encode(entry: &Entry, parts: &mut Vec<Part>) -> Result<Encoding, FormatError> {
    let mut part = |suffix: &str, dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>| {
        parts.push(Part {
            name: format!("{}{suffix}", entry.path),
            dtype,
            shape,
            bytes,
        })
    };
    let bytes = |suffix: &str, bytes: Vec<u8>| (suffix.to_string(), vec![bytes.len()], bytes);
    match &entry.payload {
        Payload::Dense(dense) => {
            part(
                "",
                dtype(dense.element),
                entry.dims.clone(),
                dense.bytes.clone(),
            );
            Ok(Encoding::Dense)
        }
        Payload::Sparse(values) => {
            let kept_values = values.iter().filter(|value| **value != 0.0);
            let (suffix, shape, map) = bytes(".bitmap", bitmap(values.iter().map(|v| *v != 0.0)));
            part(&suffix, Dtype::U8, shape, map);
            let data = to_le_bytes(kept_values.copied());
            part(".values", Dtype::F32, vec![data.len() / 4], data);
            Ok(Encoding::Sparse)
        }
        Payload::Quantized(weight) => {
            let scheme = *weight.scheme();
            let zeros = weight.zeros();
            let kept = zeros.iter().filter(|zero| !**zero).count();
            let bits = scheme.bits() as usize;
            let sparse = zeros.len() + kept * bits < zeros.len() * bits;
            let low = scheme.code_range().0;
            let codes: Vec<u32> = weight
                .codes()
                .iter()
                .zip(&zeros)
                .filter(|(_, zero)| !(sparse && **zero))
                .map(|(code, _)| (code - low) as u32)
                .collect();
            let (suffix, shape, packed) = bytes(".codes", pack(&codes, scheme.bits())?);
            part(&suffix, Dtype::U8, shape, packed);
            if sparse {
                let kept = zeros.iter().map(|zero| !zero);
                let (suffix, shape, map) = bytes(".bitmap", bitmap(kept));
                part(&suffix, Dtype::U8, shape, map);
            }
            let groups = weight.scales().len();
            let scales = to_le_bytes(weight.scales().iter().copied());
            part(".scale", Dtype::F32, vec![groups], scales);
            if weight.has_zero_points() {
                // A zero point is an affine code, 0 to 65535.
                let points = weight.zero_points().iter();
                let points = to_le_bytes(points.map(|&point| point as u16));
                part(".zero_point", Dtype::U16, vec![groups], points);
            }
            Ok(Encoding::Quantized {
                scheme,
                bitmap: sparse,
            })
        }
    }
}

fn decode(tensor: Description, parts: &mut BTreeMap<String, Part>) -> Result<Entry, FormatError> {
    let path = tensor.path.clone();
    let has_zero_points = parts.contains_key(&format!("{path}.zero_point"));
    let mut take = |suffix: &str, expected: Option<Dtype>| {
        let name = format!("{path}{suffix}");
        let part = parts
            .remove(&name)
            .ok_or_else(|| FormatError::tensor(&name, "missing, or described twice"))?;
        match expected {
            Some(dtype) if part.dtype != dtype => {
                Err(FormatError::tensor(&name, format!("type {}", part.dtype)))
            }
            _ => Ok(part),
        }
    };
    let mut entry = Entry {
        path: tensor.path.clone(),
        dims: tensor.dims,
        output_axis: tensor.output_axis,
        payload: Payload::Sparse(Vec::new()),
    };
    entry.payload = match tensor.encoding {
        Encoding::Dense => {
            let part = take("", None)?;
            let element = element(part.dtype)
                .ok_or_else(|| FormatError::tensor(&path, format!("type {}", part.dtype)))?;
            if part.shape != entry.dims {
                return Err(FormatError::tensor(&path, "another shape than described"));
            }
            Payload::Dense(Dense {
                element,
                bytes: part.bytes,
            })
        }
        Encoding::Sparse => {
            let kept = read_bitmap(
                &take(".bitmap", Some(Dtype::U8))?.bytes,
                entry.view()?.len(),
                &path,
            )?;
            let values = take(".values", Some(Dtype::F32))?;
            let values = from_le_bytes::<f32, 4>(&values.bytes);
            if values.contains(&0.0) {
                return Err(FormatError::tensor(&path, "zero where it says not zero"));
            }
            Payload::Sparse(spread(&kept, values, |_| 0.0, &path)?)
        }
        Encoding::Quantized { scheme, bitmap } => {
            let view = entry.view()?;
            let scales = from_le_bytes::<f32, 4>(&take(".scale", Some(Dtype::F32))?.bytes);
            let (groups, length) = scheme
                .groups(&view)
                .map_err(|error| FormatError::tensor(&path, error.to_string()))?;
            if scales.len() != groups {
                return Err(FormatError::tensor(
                    &path,
                    "another number of scales than groups",
                ));
            }
            let zero_points: Vec<i32> = if has_zero_points {
                let part = take(".zero_point", Some(Dtype::U16))?;
                let points = from_le_bytes::<u16, 2>(&part.bytes).into_iter();
                points.map(i32::from).collect()
            } else {
                vec![0; groups]
            };
            if zero_points.len() != groups {
                return Err(FormatError::tensor(
                    &path,
                    "another number of zero points than groups",
                ));
            }
            let packed = take(".codes", Some(Dtype::U8))?.bytes;
            let low = scheme.code_range().0;
            let read = |count| -> Result<Vec<i32>, FormatError> {
                let codes = unpack(&packed, scheme.bits(), count)
                    .map_err(|error| FormatError::tensor(&path, error.to_string()))?;
                Ok(codes.into_iter().map(|code| code as i32 + low).collect())
            };
            let codes = if bitmap {
                let map = take(".bitmap", Some(Dtype::U8))?.bytes;
                let kept = read_bitmap(&map, view.len(), &path)?;
                let count = kept.iter().filter(|kept| **kept).count();
                let zero = |i: usize| zero_points[i / length.max(1)];
                let codes = spread(&kept, read(count)?, zero, &path)?;
                let mut codes_kept = codes.iter().enumerate().filter(|(i, _)| kept[*i]);
                if codes_kept.any(|(i, code)| *code == zero(i)) {
                    return Err(FormatError::tensor(&path, "zero where it says not zero"));
                }
                codes
            } else {
                read(view.len())?
            };
            let weight = Quantized::new(scheme, &view, scales, zero_points, codes)
                .map_err(|error| FormatError::tensor(&path, error.to_string()))?;
            if has_zero_points && !weight.has_zero_points() {
                return Err(FormatError::tensor(&path, "zero points that are all zero"));
            }
            Payload::Quantized(weight)
        }
    };
    entry.check()?;
    Ok(entry)
}

// Puts the kept values where the bitmap says, and `zero` elsewhere.
fn spread<T>(
    kept: &[bool],
    values: Vec<T>,
    zero: impl Fn(usize) -> T,
    path: &str,
) -> Result<Vec<T>, FormatError> {
    if kept.iter().filter(|kept| **kept).count() != values.len() {
        return Err(FormatError::tensor(
            path,
            "bitmap and values differ in number",
        ));
    }
    let mut values = values.into_iter();
    let at = |(i, kept): (usize, &bool)| match kept {
        true => values.next().unwrap_or_else(|| zero(i)),
        false => zero(i),
    };
    Ok(kept.iter().enumerate().map(at).collect())
}

// A bit each, packed as codes of one bit are.
fn bitmap(kept: impl ExactSizeIterator<Item = bool>) -> Vec<u8> {
    let mut bytes = vec![0; packed_len(kept.len(), 1)];
    for (i, kept) in kept.enumerate() {
        bytes[i / 8] |= u8::from(kept) << (i % 8);
    }
    bytes
}

fn read_bitmap(bytes: &[u8], count: usize, path: &str) -> Result<Vec<bool>, FormatError> {
    let beyond = match (bytes.last(), count % 8) {
        (Some(last), used @ 1..) => last >> used,
        _ => 0,
    };
    if bytes.len() != packed_len(count, 1) || beyond != 0 {
        let what = format!("{} bytes are no bitmap of {count} weights", bytes.len());
        return Err(FormatError::tensor(path, what));
    }
    let bit = |i: usize| bytes[i / 8] >> (i % 8) & 1 == 1;
    Ok((0..count).map(bit).collect())
}
