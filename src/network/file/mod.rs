//! The file of a model. Of a large one, steps as JSON, weights coded near their entropy, each tensor for
//! itself, and factors, whose exponents alone are coded. A small one is one stream with probabilities
//! that adapt: smaller, and slow to read, which matters little where there is little. In both, tensors
//! that are equal are stored once.

mod constants;
mod shared;
mod small;
mod threads;

use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use crate::format::coded::{self, Width};
use crate::format::{Container, FormatError, MOST_IN_A_BYTE, Opened, Part, read};
use crate::network::NetworkError;

use super::model::Unchecked;
use super::step_op::Stored;
use super::{Codes, Network};
pub(super) use constants::{Packed, unpack};
use shared::Pair;

const KIND: &str = "network";
const INTEGERS: &str = "integers";
const FLOATS: &str = "floats";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    /// Its tensors are empty here.
    model: Unchecked,
    /// Of each tensor of whole numbers, how many they are and their bytes.
    integers: Vec<(usize, usize)>,
    /// Of each tensor of floats, how many they are.
    floats: Vec<usize>,
    /// Tensors that are equal to an earlier one, which are in neither.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shared: Vec<Pair>,
}

/// A tensor of a model.
struct Tensor<'a> {
    path: String,
    /// What it is to its step.
    name: &'static str,
    stored: Stored<'a>,
}

fn corrupt(what: impl ToString) -> FormatError {
    FormatError::corrupt(what.to_string())
}

impl Network {
    /// The file's bytes: the same for the same model.
    ///
    /// Fails with [`NetworkError::Format`]; a checked model can be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, NetworkError> {
        Ok(self.to_container()?.to_bytes()?)
    }

    /// Reads a file's bytes, which may lie in a file that is mapped to memory. Large models are read on
    /// several threads.
    ///
    /// Fails with [`NetworkError::Format`] for what is no such file, or was cut or altered, and as
    /// [`new`](Self::new) does for one that contradicts itself. Takes memory for at most 1024 weights a
    /// byte (files hold as many only where all weights are zero), or half a million weights.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NetworkError> {
        let opened = Opened::new(KIND, bytes)?;
        let model = match opened.pieces.0.contains_key(small::PART) {
            true => small::read(opened),
            false => large(opened),
        };
        Self::try_from(model?)
    }

    /// Writes the file, whole or not at all; returns its size in bytes. Fails as
    /// [`to_bytes`](Self::to_bytes) and [`write_atomically`](crate::format::write_atomically) do.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<u64, NetworkError> {
        Ok(self.to_container()?.save(path)?)
    }

    /// Reads a file. Fails with [`NetworkError::Format`], or as [`from_bytes`](Self::from_bytes) does.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, NetworkError> {
        Self::from_bytes(&read(path.as_ref())?)
    }

    fn to_container(&self) -> Result<Container, FormatError> {
        let mut model = Unchecked::from(self.clone());
        constants::pack(&mut model);
        if let Some(container) = small::write(&mut model)? {
            return Ok(container);
        }
        let (mut integers, mut coded) = (Vec::new(), Vec::new());
        let (mut floats, mut values) = (Vec::new(), Vec::new());
        let mut shared = Vec::new();
        let mut tensors = tensors(&mut model);
        let mut pairs = shared::pairs(&tensors).into_iter().peekable();
        let mut again = 0;
        for (index, tensor) in tensors.iter_mut().enumerate() {
            let pair = pairs.next_if(|pair| pair.0 == index);
            let count = again + tensor.stored.len();
            // Read again and again, a byte would stand for too much. Floats take three bytes at least.
            let most = MOST_IN_A_BYTE * (coded.len() + 3 * values.len());
            if let Some(pair) = pair.filter(|_| count <= most) {
                again = count;
                shared.push(pair);
                tensor.stored.clear();
                continue;
            }
            let numbers = match &mut tensor.stored {
                Stored::Floats(factors) => {
                    floats.push(factors.len());
                    values.append(factors);
                    continue;
                }
                Stored::Weights(weights) => std::mem::take(&mut weights.codes).into(),
                Stored::Table(table) => std::mem::take(*table),
            };
            let bytes = coded::encode(&numbers)?;
            integers.push((numbers.len(), bytes.len()));
            coded.extend(bytes);
        }
        let contents = serde_json::to_string(&Contents {
            model,
            integers,
            floats,
            shared,
        });
        let contents = contents.map_err(corrupt)?;
        let values = coded::encode_floats(&values)?;
        let parts = vec![Part::bytes(INTEGERS, coded), Part::bytes(FLOATS, values)];
        Ok(Container::new(KIND, contents, parts))
    }
}

/// A tensor whose numbers are still to be read.
struct Coded<'a> {
    path: &'a str,
    bytes: &'a [u8],
    count: usize,
    to: &'a mut Codes,
}

impl Coded<'_> {
    fn read(self) -> Result<(), FormatError> {
        let read = || {
            Ok(match coded::width(self.bytes)? {
                Width::One => Codes::I8(Arc::new(coded::decode(self.bytes, self.count)?)),
                Width::Two => Codes::I16(Arc::new(coded::decode(self.bytes, self.count)?)),
                Width::Four => Codes::I32(Arc::new(coded::decode(self.bytes, self.count)?)),
            })
        };
        let wrong = |error: FormatError| FormatError::tensor(self.path, error.to_string());
        *self.to = read().map_err(wrong)?;
        Ok(())
    }
}

fn large(mut opened: Opened) -> Result<Unchecked, FormatError> {
    let contents: Contents = serde_json::from_str(&opened.description).map_err(corrupt)?;
    let mut bytes = opened.pieces.take("", INTEGERS, Some(Dtype::U8))?.bytes;
    let values = opened.pieces.take("", FLOATS, Some(Dtype::U8))?.bytes;
    opened.pieces.end()?;
    let most_again = MOST_IN_A_BYTE.saturating_mul(bytes.len() + values.len());
    let count = contents
        .floats
        .iter()
        .copied()
        .fold(0, usize::saturating_add);
    let values = coded::decode_floats(values, count)?;
    let mut values = &values[..];
    let (mut integers, mut floats) = (contents.integers.into_iter(), contents.floats.into_iter());
    let mut model = contents.model;
    let mut tensors = tensors(&mut model);
    let again = shared::marks(tensors.len(), &contents.shared)?;
    let mut weights = Vec::new();
    for tensor in tensors.iter_mut().zip(again).filter(|(_, again)| !again) {
        let Tensor { path, stored, .. } = tensor.0;
        let missing = || FormatError::tensor(path, "missing");
        if let Stored::Floats(factors) = stored {
            let length = floats.next().ok_or_else(missing)?;
            let (first, rest) = values.split_at_checked(length).ok_or_else(missing)?;
            **factors = first.to_vec();
            values = rest;
            continue;
        }
        let (count, length) = integers.next().ok_or_else(missing)?;
        let (first, rest) = bytes.split_at_checked(length).ok_or_else(missing)?;
        bytes = rest;
        match stored {
            Stored::Weights(to) => weights.push(Coded {
                path,
                bytes: first,
                count,
                to: &mut to.codes,
            }),
            Stored::Table(table) => {
                let numbers = coded::decode(first, count);
                **table = numbers.map_err(|error| FormatError::tensor(path, error.to_string()))?;
            }
            Stored::Floats(_) => {}
        }
    }
    let left = integers.next().is_some() || floats.next().is_some();
    if left || !bytes.is_empty() || !values.is_empty() {
        return Err(corrupt("tensors of no step"));
    }
    threads::read(weights)?;
    let again = contents
        .shared
        .iter()
        .map(|pair| tensors[pair.1].stored.len());
    if again.fold(0, usize::saturating_add) > most_again {
        return Err(corrupt("too many tensors are equal to another"));
    }
    shared::fill(&mut tensors, &contents.shared)?;
    Ok(model)
}

// In order: of each step, then the constants.
fn tensors(model: &mut Unchecked) -> Vec<Tensor<'_>> {
    let mut tensors = Vec::new();
    for (index, step) in model.steps.iter_mut().enumerate() {
        let layer = &step.layer;
        tensors.extend(step.op.stored().into_iter().map(|(name, stored)| Tensor {
            path: format!("{index}.{layer}.{name}"),
            name,
            stored,
        }));
    }
    let constants = model.constants.iter_mut().enumerate();
    tensors.extend(constants.map(|(index, constant)| Tensor {
        path: format!("constant.{index}"),
        name: "constant",
        stored: Stored::Floats(&mut constant.values),
    }));
    for (index, packed) in model.packed.iter_mut().enumerate() {
        let path = |name: &str| format!("constant.{index}.{name}");
        tensors.extend([
            Tensor {
                path: path("codes"),
                name: "weight",
                stored: Stored::Weights(&mut packed.codes),
            },
            Tensor {
                path: path("floats"),
                name: "constant",
                stored: Stored::Floats(&mut packed.floats),
            },
        ]);
    }
    tensors
}
