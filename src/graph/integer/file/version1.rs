//! Models as files of version 1 hold them: each tensor with a description and parts of its own.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::format::{
    Dense, Description, ElementType, Entry, FormatError, Opened, Payload, Quantized, WeightView,
    from_pieces,
};

use super::super::model::Unchecked;
use super::super::op::Stored;
use super::each_tensor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    model: Unchecked,
    tensors: Vec<Description>,
}

pub(super) fn model(opened: Opened) -> Result<Unchecked, FormatError> {
    let Contents { mut model, tensors } = serde_json::from_str(&opened.description)
        .map_err(|error| FormatError::corrupt(error.to_string()))?;
    let entries = from_pieces(tensors, opened.pieces)?.into_iter();
    let mut entries: BTreeMap<String, Entry> =
        entries.map(|entry| (entry.path.clone(), entry)).collect();
    each_tensor(&mut model, |path, _, tensor| {
        let entry = entries.remove(&path);
        let entry = entry.ok_or_else(|| FormatError::tensor(&path, "missing"))?;
        let other = || FormatError::tensor(&path, "of another form than its step says");
        match (tensor, &entry.payload) {
            (Stored::Floats(values), Payload::Dense(dense)) => {
                *values = floats(dense).ok_or_else(other)?;
            }
            (Stored::Weights(weights), Payload::Quantized(codes)) => {
                if weights.dims != entry.dims {
                    return Err(other());
                }
                weights.codes = integers(codes, &entry.view()?).into();
            }
            (Stored::Table(table), Payload::Quantized(codes)) => {
                *table = integers(codes, &entry.view()?);
            }
            _ => return Err(other()),
        }
        Ok(())
    })?;
    match entries.keys().next() {
        Some(path) => Err(FormatError::tensor(path, "of no step")),
        None => Ok(model),
    }
}

fn floats(dense: &Dense) -> Option<Vec<f32>> {
    let (chunks, rest) = dense.bytes.as_chunks::<4>();
    let fits = dense.element == ElementType::F32 && rest.is_empty();
    fits.then(|| chunks.iter().copied().map(f32::from_le_bytes).collect())
}

fn integers(weight: &Quantized, view: &WeightView) -> Vec<i32> {
    view.from_rows(&weight.centred())
}
