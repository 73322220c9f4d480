use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use super::{
    Container, Dense, ElementType, FormatError, Part, Payload, Quantized, Scheme, WeightView, pack,
    unpack,
};

/// A tensor of a model: its path, dimensions and content.
///
/// ```
/// use burn_compress::format::{Entry, Payload};
/// let entry = Entry {
///     path: "conv1.weight".into(),
///     dims: vec![2, 2],
///     output_axis: 0,
///     payload: Payload::Sparse(vec![0.0, 1.0, 0.0, 0.0]),
/// };
/// assert_eq!(entry.view()?.rows(), 2);
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Path of the parameter in its module.
    pub path: String,
    /// Dimensions of the parameter.
    pub dims: Vec<usize>,
    /// Axis of the output channel, 0 or 1; 0 where nothing is compressed.
    pub output_axis: usize,
    /// The content.
    pub payload: Payload,
}

impl Entry {
    /// The tensor as a matrix of output channels.
    pub fn view(&self) -> Result<WeightView, FormatError> {
        WeightView::new(self.dims.clone(), self.output_axis)
            .map_err(|error| FormatError::tensor(&self.path, error.to_string()))
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
/// # Ok::<(), burn_compress::format::FormatError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Archive {
    /// The model's tensors.
    pub entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Description {
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

    /// The file's content. Fails where an entry contradicts itself.
    fn to_container(&self) -> Result<Container, FormatError> {
        let mut parts = Vec::new();
        let mut tensors = Vec::new();
        for entry in &self.entries {
            let encoding = encode(entry, &mut parts)?;
            tensors.push(Description {
                path: entry.path.clone(),
                dims: entry.dims.clone(),
                output_axis: entry.output_axis,
                encoding,
            });
        }
        let description = serde_json::to_string(&tensors)
            .map_err(|error| FormatError::corrupt(error.to_string()))?;
        Ok(Container::new(Self::KIND, description, parts))
    }

    fn from_container(container: Container) -> Result<Self, FormatError> {
        let tensors: Vec<Description> = serde_json::from_str(container.description())
            .map_err(|error| FormatError::corrupt(error.to_string()))?;
        let mut parts = container.into_parts();
        let entries = tensors
            .into_iter()
            .map(|tensor| decode(tensor, &mut parts))
            .collect::<Result<Vec<_>, _>>()?;
        match parts.keys().next() {
            Some(name) => Err(FormatError::tensor(name, "not described")),
            None => Ok(Self { entries }),
        }
    }

    /// The file's bytes. Fails where an entry contradicts itself.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        self.to_container()?.to_bytes()
    }

    /// Reads a file's bytes. Anything but the bytes that [`to_bytes`](Self::to_bytes) gave is an
    /// error; memory stays within a small multiple of the bytes' length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::from_container(Container::from_bytes(Self::KIND, bytes)?)
    }

    /// Writes the file, whole or not at all; returns its size in bytes.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<u64, FormatError> {
        self.to_container()?.save(path)
    }

    /// Reads a file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        Self::from_container(Container::load(Self::KIND, path)?)
    }

    /// Least size in bytes that coding each tensor's symbols one by one could reach.
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
            if values.len() != entry.view()?.len() {
                return Err(FormatError::tensor(
                    &entry.path,
                    "as many values as weights",
                ));
            }
            let kept: Vec<bool> = values.iter().map(|value| *value != 0.0).collect();
            let kept_values = values.iter().filter(|value| **value != 0.0);
            let (suffix, shape, map) = bytes(".bitmap", bitmap(&kept));
            part(&suffix, Dtype::U8, shape, map);
            let data: Vec<u8> = kept_values.flat_map(|value| value.to_le_bytes()).collect();
            part(".values", Dtype::F32, vec![data.len() / 4], data);
            Ok(Encoding::Sparse)
        }
        Payload::Quantized(weight) => {
            let (scheme, view) = (*weight.scheme(), entry.view()?);
            let zeros = weight.zeros(&view)?;
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
            let (suffix, shape, packed) = bytes(".codes", pack(&codes, scheme.bits()));
            part(&suffix, Dtype::U8, shape, packed);
            if sparse {
                let kept: Vec<bool> = zeros.iter().map(|zero| !zero).collect();
                let (suffix, shape, map) = bytes(".bitmap", bitmap(&kept));
                part(&suffix, Dtype::U8, shape, map);
            }
            let groups = weight.scales().len();
            let scales = weight.scales().iter().flat_map(|s| s.to_le_bytes());
            part(".scale", Dtype::F32, vec![groups], scales.collect());
            if weight.zero_points().iter().any(|&point| point != 0) {
                // A zero point is an affine code, 0 to 65535.
                let points = weight.zero_points().iter();
                let points = points.flat_map(|&point| (point as u16).to_le_bytes());
                part(".zero_point", Dtype::U16, vec![groups], points.collect());
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
            )?;
            let values = take(".values", Some(Dtype::F32))?;
            Payload::Sparse(spread(&kept, floats(&values.bytes), |_| 0.0, &path)?)
        }
        Encoding::Quantized { scheme, bitmap } => {
            let view = entry.view()?;
            let scales = floats(&take(".scale", Some(Dtype::F32))?.bytes);
            let (groups, length) = scheme.groups(&view)?;
            if scales.len() != groups {
                return Err(FormatError::tensor(
                    &path,
                    "another number of scales than groups",
                ));
            }
            let zero_points: Vec<i32> = if has_zero_points {
                let part = take(".zero_point", Some(Dtype::U16))?;
                let pairs = part.bytes.chunks_exact(2);
                pairs
                    .map(|b| i32::from(u16::from_le_bytes([b[0], b[1]])))
                    .collect()
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
                let codes = unpack(&packed, scheme.bits(), count)?;
                Ok(codes.into_iter().map(|code| code as i32 + low).collect())
            };
            let codes = if bitmap {
                let kept = read_bitmap(&take(".bitmap", Some(Dtype::U8))?.bytes, view.len())?;
                let count = kept.iter().filter(|kept| **kept).count();
                let zero = |i: usize| zero_points[i / length.max(1)];
                spread(&kept, read(count)?, zero, &path)?
            } else {
                read(view.len())?
            };
            let weight = Quantized::new(scheme, &view, scales, zero_points, codes)
                .map_err(|error| FormatError::tensor(&path, error.to_string()))?;
            Payload::Quantized(weight)
        }
    };
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

fn bitmap(kept: &[bool]) -> Vec<u8> {
    let bits: Vec<u32> = kept.iter().map(|&kept| u32::from(kept)).collect();
    pack(&bits, 1)
}

fn read_bitmap(bytes: &[u8], count: usize) -> Result<Vec<bool>, FormatError> {
    Ok(unpack(bytes, 1, count)?
        .into_iter()
        .map(|bit| bit == 1)
        .collect())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

const ELEMENTS: [(ElementType, Dtype); 13] = [
    (ElementType::F64, Dtype::F64),
    (ElementType::F32, Dtype::F32),
    (ElementType::F16, Dtype::F16),
    (ElementType::Bf16, Dtype::BF16),
    (ElementType::I64, Dtype::I64),
    (ElementType::I32, Dtype::I32),
    (ElementType::I16, Dtype::I16),
    (ElementType::I8, Dtype::I8),
    (ElementType::U64, Dtype::U64),
    (ElementType::U32, Dtype::U32),
    (ElementType::U16, Dtype::U16),
    (ElementType::U8, Dtype::U8),
    (ElementType::Bool, Dtype::BOOL),
];

fn dtype(element: ElementType) -> Dtype {
    let found = ELEMENTS.iter().find(|(e, _)| *e == element);
    found.map_or(Dtype::U8, |(_, dtype)| *dtype)
}

fn element(dtype: Dtype) -> Option<ElementType> {
    let found = ELEMENTS.iter().find(|(_, d)| *d == dtype);
    found.map(|(element, _)| *element)
}
