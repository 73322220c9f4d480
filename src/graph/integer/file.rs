//! The file of a model: the steps as JSON, weights at their true bits and factors as tensors.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::format::{
    Archive, Container, Dense, Description, ElementType, Entry, FormatError, Granularity, Mapping,
    Payload, Quantized, Scheme, WeightView,
};
use crate::graph::GraphError;

use super::model::Unchecked;
use super::op::Stored;
use super::{IntegerModel, IntegerOp};

const KIND: &str = "integer_model";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    /// Its tensors are empty here.
    model: Unchecked,
    tensors: Vec<Description>,
}

impl IntegerModel {
    /// The file's bytes: the same for the same model.
    ///
    /// Fails with [`GraphError::Format`]; a checked model can be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, GraphError> {
        Ok(self.to_container()?.to_bytes()?)
    }

    /// Reads a file's bytes. Fails with [`GraphError::Format`] for what is no such file, or was cut or
    /// altered, and as [`new`](Self::new) does for one that contradicts itself.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GraphError> {
        Self::from_container(Container::from_bytes(KIND, bytes)?)
    }

    /// Writes the file, whole or not at all; returns its size in bytes. Fails as
    /// [`to_bytes`](Self::to_bytes) and [`write_atomically`](crate::format::write_atomically) do.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<u64, GraphError> {
        Ok(self.to_container()?.save(path)?)
    }

    /// Reads a file. Fails with [`GraphError::Format`], or as [`from_bytes`](Self::from_bytes) does.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, GraphError> {
        Self::from_container(Container::load(KIND, path)?)
    }

    fn to_container(&self) -> Result<Container, FormatError> {
        let mut model = Unchecked::from(self.clone());
        let mut entries = Vec::new();
        each_tensor(&mut model, |path, tensor| {
            let (dims, output_axis, payload) = match tensor {
                Stored::Floats(values) => (vec![values.len()], 0, floats(&std::mem::take(values))),
                Stored::Integers(codes, dims, axis) => {
                    let dims = dims.unwrap_or_else(|| vec![codes.len()]);
                    let view = WeightView::new(dims.clone(), axis)?;
                    (dims, axis, integers(&std::mem::take(codes), &view)?)
                }
            };
            entries.push(Entry {
                path,
                dims,
                output_axis,
                payload,
            });
            Ok(())
        })?;
        let (tensors, parts) = Archive { entries }.to_parts()?;
        let contents = serde_json::to_string(&Contents { model, tensors })
            .map_err(|error| FormatError::corrupt(error.to_string()))?;
        Ok(Container::new(KIND, contents, parts))
    }

    fn from_container(container: Container) -> Result<Self, GraphError> {
        let Contents { mut model, tensors } = serde_json::from_str(container.description())
            .map_err(|error| FormatError::corrupt(error.to_string()))?;
        let entries = Archive::from_parts(tensors, container.into_parts())?.entries;
        let entries = entries.into_iter().map(|entry| (entry.path.clone(), entry));
        let mut entries: BTreeMap<String, Entry> = entries.collect();
        each_tensor(&mut model, |path, tensor| {
            let entry = entries.remove(&path);
            let entry = entry.ok_or_else(|| FormatError::tensor(&path, "missing"))?;
            let other = || FormatError::tensor(&path, "of another form than its step says");
            match (tensor, &entry.payload) {
                (Stored::Floats(values), Payload::Dense(dense)) => {
                    *values = read_floats(dense).ok_or_else(other)?;
                }
                (Stored::Integers(codes, dims, axis), Payload::Quantized(weight)) => {
                    if dims.is_some_and(|dims| dims != entry.dims) || axis != entry.output_axis {
                        return Err(other());
                    }
                    *codes = read_integers(weight, &entry.view()?);
                }
                _ => return Err(other()),
            }
            Ok(())
        })?;
        match entries.keys().next() {
            Some(path) => Err(FormatError::tensor(path, "of no step").into()),
            None => Self::try_from(model),
        }
    }
}

fn each_tensor(
    model: &mut Unchecked,
    mut each: impl FnMut(String, Stored) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    for (index, step) in model.steps.iter_mut().enumerate() {
        for (name, tensor) in step.op.stored() {
            each(format!("{index}.{}.{name}", step.layer), tensor)?;
        }
    }
    for (index, constant) in model.constants.iter_mut().enumerate() {
        let tensor = Stored::Floats(&mut constant.values);
        each(format!("constant.{index}"), tensor)?;
    }
    Ok(())
}

/// Whether a step's weights can be packed: within 16 bits in each output channel.
pub(super) fn storable(op: &IntegerOp) -> Result<(), String> {
    let (weights, axis) = match op {
        IntegerOp::Convolution { weights, .. } => (weights, 0),
        IntegerOp::TransposedConvolution { weights, .. } | IntegerOp::Linear { weights, .. } => {
            (weights, 1)
        }
        _ => return Ok(()),
    };
    let packed = WeightView::new(weights.dims.clone(), axis)
        .and_then(|view| integers(&weights.codes, &view));
    match packed {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("its weights cannot be stored: {error}")),
    }
}

fn floats(values: &[f32]) -> Payload {
    Payload::Dense(Dense {
        element: ElementType::F32,
        bytes: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    })
}

fn read_floats(dense: &Dense) -> Option<Vec<f32>> {
    let (chunks, rest) = dense.bytes.as_chunks::<4>();
    let fits = dense.element == ElementType::F32 && rest.is_empty();
    fits.then(|| chunks.iter().copied().map(f32::from_le_bytes).collect())
}

/// Centred codes in the fewest bits: symmetric, or from the least of all or of each output channel on.
fn integers(codes: &[i32], view: &WeightView) -> Result<Payload, FormatError> {
    let rows = view.to_rows(codes);
    let ranges = |length: usize| -> Vec<(i64, i64)> {
        let range = |row: &[i32]| {
            row.iter().fold((0, 0), |(low, high), &code| {
                (i64::min(low, code.into()), i64::max(high, code.into()))
            })
        };
        rows.chunks(length.max(1)).map(range).collect()
    };
    let (all, channels) = (ranges(view.len()), ranges(view.columns()));
    let span = |ranges: &[(i64, i64)]| ranges.iter().map(|(low, high)| high - low).max();
    let furthest = all.iter().map(|(low, high)| high.max(&-low) * 2).max();
    let bits = |span: Option<i64>| (64 - span.unwrap_or(0).leading_zeros()).max(Scheme::MIN_BITS);
    let (mapping, granularity, ranges, bits) = [
        (
            Mapping::Symmetric,
            Granularity::Tensor,
            &all,
            bits(furthest),
        ),
        (Mapping::Affine, Granularity::Tensor, &all, bits(span(&all))),
        (
            Mapping::Affine,
            Granularity::Channel,
            &channels,
            bits(span(&channels)),
        ),
    ]
    .into_iter()
    .min_by_key(|(.., bits)| *bits)
    .ok_or_else(|| FormatError::corrupt("no way to write codes"))?;
    let scheme = Scheme::new(bits, mapping, granularity)?;
    let zeros: Vec<i32> = match mapping {
        Mapping::Symmetric => vec![0; ranges.len()],
        Mapping::Affine => ranges.iter().map(|(low, _)| -low as i32).collect(),
    };
    let length = view.len() / zeros.len().max(1);
    let code = |(index, code): (usize, &i32)| code + zeros[index / length];
    let codes = rows.iter().enumerate().map(code).collect();
    let scales = vec![1.0; zeros.len()];
    Quantized::new(scheme, view, scales, zeros, codes).map(Payload::Quantized)
}

fn read_integers(weight: &Quantized, view: &WeightView) -> Vec<i32> {
    let length = weight.codes().len() / weight.zero_points().len().max(1);
    let zeros = weight.zero_points();
    let codes = weight.codes().iter().enumerate();
    let centred = codes.map(|(index, code)| code - zeros[index / length]);
    view.from_rows(&centred.collect::<Vec<_>>())
}
