//! A small model's file: all of it in one stream.

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use crate::format::coded::adaptive::{Coding, Decoder, Encoder, Floats, Text, Weights, shape};
use crate::format::{Container, FormatError, Opened, Part};

use super::super::model::Unchecked;
use super::super::step_op::Stored;
use super::shared::{self, Pair};
use super::{KIND, Tensor, corrupt, tensors};

pub(super) const PART: &str = "numbers";

/// Weights, factors and bytes of the description, at most: what takes some hundredths of a second to read.
const MOST: usize = 1 << 19;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    /// Its tensors are empty here.
    model: Unchecked,
    /// How many numbers the other tensors have; weights have as many as their dimensions say.
    lengths: Vec<usize>,
    /// Tensors that are equal to an earlier one, which are not in the stream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shared: Vec<Pair>,
}

/// The kinds of vectors, which differ in their exponents.
fn kind(name: &str) -> usize {
    match name {
        "multiplier" => 0,
        "offset" => 1,
        _ => 2,
    }
}

const KINDS: usize = 3;

/// The models of a file's numbers.
struct Tensors {
    weights: Weights,
    floats: Floats,
}

impl Tensors {
    fn new() -> Self {
        Self {
            weights: Weights::new(),
            floats: Floats::new(KINDS),
        }
    }

    fn integers(&mut self, coding: &mut impl Coding, dims: &[usize], numbers: &mut [i32]) {
        self.weights.code(coding, shape(dims), numbers);
    }
}

/// The file of a model that is small; none of another, which is as it was.
pub(super) fn write(model: &mut Unchecked) -> Result<Option<Container>, FormatError> {
    let count = |tensors: &[Tensor]| tensors.iter().map(|tensor| tensor.stored.len()).sum();
    let count: usize = count(&tensors(model));
    if count > MOST {
        return Ok(None);
    }
    let mut emptied = model.clone();
    let tensors_of = tensors(model);
    let pairs = shared::pairs(&tensors_of);
    let again = shared::marks(tensors_of.len(), &pairs)?;
    let mut own: Vec<_> = tensors_of.into_iter().zip(again).collect();
    own.retain(|(_, again)| !again);
    let sized = own.iter().map(|(tensor, _)| &tensor.stored);
    let sized = sized.filter(|stored| !matches!(stored, Stored::Weights(_)));
    let lengths = sized.map(Stored::len).collect();
    let emptied_tensors = tensors(&mut emptied).into_iter();
    emptied_tensors.for_each(|mut tensor| tensor.stored.clear());
    let contents = serde_json::to_string(&Contents {
        model: emptied,
        lengths,
        shared: pairs,
    });
    let contents = contents.map_err(corrupt)?;
    if count + contents.len() > MOST {
        return Ok(None);
    }
    let mut encoder = Encoder::default();
    Text::new().write(&mut encoder, &contents);
    let mut coder = Tensors::new();
    for (tensor, _) in own {
        match tensor.stored {
            Stored::Weights(weights) => {
                let mut codes = Vec::from(weights.codes.clone());
                coder.integers(&mut encoder, &weights.dims, &mut codes);
            }
            Stored::Table(table) => {
                let length = table.len();
                coder.integers(&mut encoder, &[1, 1, length], table);
            }
            Stored::Floats(numbers) => {
                coder.floats.code(&mut encoder, kind(tensor.name), numbers);
            }
        }
    }
    let part = Part::bytes(PART, encoder.into_bytes()?);
    Ok(Some(Container::new(KIND, String::new(), vec![part])))
}

pub(super) fn read(mut opened: Opened) -> Result<Unchecked, FormatError> {
    let bytes = opened.pieces.take("", PART, Some(Dtype::U8))?.bytes;
    opened.pieces.end()?;
    let wrong = || corrupt("its numbers are cut or altered");
    if !opened.description.is_empty() {
        return Err(wrong());
    }
    let mut decoder = Decoder::new(bytes).ok_or_else(wrong)?;
    let contents = Text::new().read(&mut decoder, MOST).ok_or_else(wrong)?;
    let mut left = MOST - contents.len();
    let contents: Contents = serde_json::from_str(&contents).map_err(corrupt)?;
    let mut model = contents.model;
    let mut lengths = contents.lengths.into_iter();
    let mut tensors = tensors(&mut model);
    let again = shared::marks(tensors.len(), &contents.shared)?;
    let mut room = |path: &str, length: Option<usize>| {
        let length = length.filter(|&length| length <= left);
        let length = length.ok_or_else(|| FormatError::tensor(path, "missing, or too long"))?;
        left -= length;
        Ok::<usize, FormatError>(length)
    };
    let mut coder = Tensors::new();
    for tensor in tensors.iter_mut().zip(again).filter(|(_, again)| !again) {
        let tensor = tensor.0;
        match &mut tensor.stored {
            Stored::Weights(weights) => {
                let mut dims = weights.dims.iter();
                let count = dims.try_fold(1usize, |all, &length| all.checked_mul(length));
                let mut codes = vec![0; room(&tensor.path, count)?];
                coder.integers(&mut decoder, &weights.dims, &mut codes);
                weights.codes = codes.into();
            }
            Stored::Table(table) => {
                let length = room(&tensor.path, lengths.next())?;
                **table = vec![0; length];
                coder.integers(&mut decoder, &[1, 1, length], table);
            }
            Stored::Floats(numbers) => {
                **numbers = vec![0.0; room(&tensor.path, lengths.next())?];
                coder.floats.code(&mut decoder, kind(tensor.name), numbers);
            }
        }
    }
    if lengths.next().is_some() || !decoder.ends() {
        return Err(wrong());
    }
    for &(index, first) in &contents.shared {
        room(&tensors[index].path, Some(tensors[first].stored.len()))?;
    }
    shared::fill(&mut tensors, &contents.shared)?;
    Ok(model)
}
