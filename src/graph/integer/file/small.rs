//! A small model's file: all of it in one stream.

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use crate::format::coded::adaptive::{Coding, Decoder, Encoder, Floats, Text, Weights, shape};
use crate::format::{Container, FormatError, Opened, Part};

use super::super::model::Unchecked;
use super::super::op::Stored;
use super::{KIND, each_tensor};

/// Version 3, which was never released, had another stream in `model`.
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
    let (mut lengths, mut count) = (Vec::new(), 0);
    each_tensor(model, |_, _, tensor| {
        let length = match tensor {
            Stored::Weights(weights) => weights.codes.len(),
            Stored::Floats(numbers) => {
                lengths.push(numbers.len());
                numbers.len()
            }
            Stored::Table(table) => {
                lengths.push(table.len());
                table.len()
            }
        };
        count += length;
        Ok(())
    })?;
    if count > MOST {
        return Ok(None);
    }
    let contents = serde_json::to_string(&Contents {
        model: emptied(model)?,
        lengths,
    });
    let contents = contents.map_err(|error| FormatError::corrupt(error.to_string()))?;
    if count + contents.len() > MOST {
        return Ok(None);
    }
    let mut encoder = Encoder::default();
    Text::new().write(&mut encoder, &contents);
    let mut tensors = Tensors::new();
    each_tensor(model, |_, name, tensor| {
        match tensor {
            Stored::Weights(weights) => {
                let mut codes = Vec::from(weights.codes.clone());
                tensors.integers(&mut encoder, &weights.dims, &mut codes);
            }
            Stored::Table(table) => {
                let length = table.len();
                tensors.integers(&mut encoder, &[1, 1, length], table);
            }
            Stored::Floats(numbers) => tensors.floats.code(&mut encoder, kind(name), numbers),
        }
        Ok(())
    })?;
    let part = Part::bytes(PART, encoder.into_bytes()?);
    Ok(Some(Container::new(KIND, String::new(), vec![part])))
}

fn emptied(model: &Unchecked) -> Result<Unchecked, FormatError> {
    let mut model = model.clone();
    each_tensor(&mut model, |_, _, tensor| {
        match tensor {
            Stored::Weights(weights) => weights.codes = Default::default(),
            Stored::Table(table) => table.clear(),
            Stored::Floats(numbers) => numbers.clear(),
        }
        Ok(())
    })?;
    Ok(model)
}

pub(super) fn read(mut opened: Opened) -> Result<Unchecked, FormatError> {
    let bytes = opened.pieces.take("", PART, Some(Dtype::U8))?.bytes;
    opened.pieces.end()?;
    let wrong = || FormatError::corrupt("its numbers are cut or altered");
    if !opened.description.is_empty() {
        return Err(wrong());
    }
    let mut decoder = Decoder::new(bytes).ok_or_else(wrong)?;
    let contents = Text::new().read(&mut decoder, MOST).ok_or_else(wrong)?;
    let mut left = MOST - contents.len();
    let contents: Contents =
        serde_json::from_str(&contents).map_err(|error| FormatError::corrupt(error.to_string()))?;
    let mut model = contents.model;
    let mut lengths = contents.lengths.into_iter();
    let mut tensors = Tensors::new();
    each_tensor(&mut model, |path, name, tensor| {
        let mut room = |length: Option<usize>| {
            let length = length.filter(|&length| length <= left);
            let length =
                length.ok_or_else(|| FormatError::tensor(&path, "missing, or too long"))?;
            left -= length;
            Ok(length)
        };
        match tensor {
            Stored::Weights(weights) => {
                let mut dims = weights.dims.iter();
                let count = dims.try_fold(1usize, |all, &length| all.checked_mul(length));
                let mut codes = vec![0; room(count)?];
                tensors.integers(&mut decoder, &weights.dims, &mut codes);
                weights.codes = codes.into();
            }
            Stored::Table(table) => {
                let length = room(lengths.next())?;
                *table = vec![0; length];
                tensors.integers(&mut decoder, &[1, 1, length], table);
            }
            Stored::Floats(numbers) => {
                *numbers = vec![0.0; room(lengths.next())?];
                tensors.floats.code(&mut decoder, kind(name), numbers);
            }
        }
        Ok(())
    })?;
    match lengths.next().is_none() && decoder.ends() {
        true => Ok(model),
        false => Err(wrong()),
    }
}
