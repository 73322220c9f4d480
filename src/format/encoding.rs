//! How the tensors of a model lie in a container: a description, and parts by the tensor's path.

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use super::elements::{dtype, element, from_le_bytes, to_le_bytes};
use super::opened::Pieces;
use super::view::{is_one, one};
use super::{Dense, Entry, FormatError, Part, Payload, QuantizedWeight, Scheme, WeightView, coded};

/// What a file's description says of an entry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    path: String,
    dims: Vec<usize>,
    output_axis: usize,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    groups: usize,
    encoding: Encoding,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Encoding {
    /// As it is.
    Dense,
    /// A coded mask, and the values that are not zero.
    Masked,
    /// Coded, less the zero points.
    Coded { scheme: Scheme },
    /// That of a tensor before it.
    SameAs { path: String },
}

impl Entry {
    /// Adds the parts that hold the content; says how.
    pub(super) fn encode(&self, parts: &mut Vec<Part>) -> Result<Description, FormatError> {
        let mut part = |suffix: &str, dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>| {
            parts.push(Part {
                name: format!("{}{suffix}", self.path),
                dtype,
                shape,
                bytes,
            })
        };
        let encoding = match &self.payload {
            Payload::Dense(dense) => {
                let (dtype, bytes) = (dtype(dense.element), dense.bytes.clone());
                part("", dtype, self.dims.clone(), bytes);
                Encoding::Dense
            }
            Payload::Sparse(values) => {
                let mask: Vec<i32> = values.iter().map(|v| i32::from(*v != 0.0)).collect();
                let mask = coded::encode(&mask)?;
                part(".mask", Dtype::U8, vec![mask.len()], mask);
                let kept = values.iter().copied().filter(|value| *value != 0.0);
                let kept = to_le_bytes(kept);
                part(".values", Dtype::F32, vec![kept.len() / 4], kept);
                Encoding::Masked
            }
            Payload::Quantized(weight) => {
                let codes = coded::encode(&weight.centred())?;
                part(".codes", Dtype::U8, vec![codes.len()], codes);
                let groups = weight.scales().len();
                let scales = to_le_bytes(weight.scales().iter().copied());
                part(".scale", Dtype::F32, vec![groups], scales);
                if weight.has_zero_points() {
                    // A zero point is an affine code, 0 to 65535.
                    let points = weight.zero_points().iter();
                    let points = to_le_bytes(points.map(|&point| point as u16));
                    part(".zero_point", Dtype::U16, vec![groups], points);
                }
                Encoding::Coded {
                    scheme: *weight.scheme(),
                }
            }
            Payload::SameAs(path) => Encoding::SameAs { path: path.clone() },
        };
        Ok(Description {
            path: self.path.clone(),
            dims: self.dims.clone(),
            output_axis: self.output_axis,
            groups: self.groups,
            encoding,
        })
    }

    fn decode(tensor: Description, pieces: &mut Pieces) -> Result<Self, FormatError> {
        let path = tensor.path.clone();
        let wrong = |error: FormatError| FormatError::tensor(&path, error.to_string());
        let mut entry = Self {
            path: tensor.path,
            dims: tensor.dims,
            output_axis: tensor.output_axis,
            groups: tensor.groups,
            payload: Payload::Sparse(Vec::new()),
        };
        entry.payload = match tensor.encoding {
            Encoding::Dense => {
                let piece = pieces.take(&path, "", None)?;
                let element = element(piece.dtype)
                    .ok_or_else(|| entry.wrong(format!("type {}", piece.dtype)))?;
                if piece.shape != entry.dims {
                    return Err(entry.wrong("another shape than described"));
                }
                Payload::Dense(Dense {
                    element,
                    bytes: piece.bytes.to_vec(),
                })
            }
            Encoding::Masked => {
                let view = entry.view()?;
                let mask = pieces.take(&path, ".mask", Some(Dtype::U8))?.bytes;
                let mask: Vec<i8> = coded::decode(mask, view.len()).map_err(wrong)?;
                let values = spread(&mask, pieces.floats(&path, ".values")?);
                let differ = || entry.wrong("its mask and values differ");
                Payload::Sparse(values.ok_or_else(differ)?)
            }
            Encoding::Coded { scheme } => {
                let view = entry.view()?;
                let parameters = Parameters::take(&path, scheme, &view, pieces)?;
                let codes = pieces.take(&path, ".codes", Some(Dtype::U8))?.bytes;
                let mut codes: Vec<i32> = coded::decode(codes, view.len()).map_err(wrong)?;
                for (codes, point) in codes.chunks_mut(parameters.length).zip(&parameters.points) {
                    let of_group = codes.iter_mut();
                    of_group.for_each(|code| *code = code.saturating_add(*point));
                }
                Payload::Quantized(parameters.weight(&path, codes)?)
            }
            Encoding::SameAs { path } => Payload::SameAs(path),
        };
        Ok(entry)
    }
}

/// The entries of descriptions and parts; each part must be described.
pub(super) fn from_pieces(
    tensors: Vec<Description>,
    mut pieces: Pieces,
) -> Result<Vec<Entry>, FormatError> {
    let entries = tensors
        .into_iter()
        .map(|tensor| Entry::decode(tensor, &mut pieces))
        .collect::<Result<_, _>>()?;
    pieces.end()?;
    Ok(entries)
}

/// What is stored of a quantized weight beside its codes.
struct Parameters<'a> {
    scheme: Scheme,
    view: &'a WeightView,
    scales: Vec<f32>,
    points: Vec<i32>,
    /// Weights of a group, at least 1.
    length: usize,
    stored_points: bool,
}

impl<'a> Parameters<'a> {
    fn take(
        path: &str,
        scheme: Scheme,
        view: &'a WeightView,
        pieces: &mut Pieces,
    ) -> Result<Self, FormatError> {
        let wrong = |what: &str| FormatError::tensor(path, what);
        let groups = scheme.groups(view);
        let (groups, length) = groups.map_err(|error| wrong(&error.to_string()))?;
        let scales = pieces.floats(path, ".scale")?;
        if scales.len() != groups {
            return Err(wrong("another number of scales than groups"));
        }
        let stored_points = pieces.0.contains_key(&format!("{path}.zero_point"));
        let points: Vec<i32> = if stored_points {
            let points = pieces.take(path, ".zero_point", Some(Dtype::U16))?.bytes;
            let points = from_le_bytes::<u16, 2>(points).into_iter();
            points.map(i32::from).collect()
        } else {
            vec![0; groups]
        };
        if points.len() != groups {
            return Err(wrong("another number of zero points than groups"));
        }
        Ok(Self {
            scheme,
            view,
            scales,
            points,
            length: length.max(1),
            stored_points,
        })
    }

    fn weight(self, path: &str, codes: Vec<i32>) -> Result<QuantizedWeight, FormatError> {
        let weight = QuantizedWeight::new(self.scheme, self.view, self.scales, self.points, codes)
            .map_err(|error| FormatError::tensor(path, error.to_string()))?;
        match self.stored_points && !weight.has_zero_points() {
            true => Err(FormatError::tensor(path, "zero points that are all zero")),
            false => Ok(weight),
        }
    }
}

/// Puts the values where the mask says, and zero elsewhere; none where they differ in number.
fn spread(mask: &[i8], values: Vec<f32>) -> Option<Vec<f32>> {
    let mut values = values.into_iter();
    let at = |kept: &i8| match kept {
        0 => Some(0.0),
        _ => values.next().filter(|value| *value != 0.0),
    };
    let spread = mask.iter().map(at).collect::<Option<_>>()?;
    values.next().is_none().then_some(spread)
}
