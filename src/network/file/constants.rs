//! Constants in few bytes, exactly: whole numbers times a scale for each channel, or the elements that
//! are not zero.

use serde::{Deserialize, Serialize};

use crate::format::FormatError;

use super::super::model::Unchecked;
use super::super::multiples::{Channels, axes, exact};
use super::super::{Constant, Weights};
use super::corrupt;

/// Elements below which a constant stays as it is.
const FEWEST: usize = 64;

/// A constant whose values are not in it, but here.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::network) struct Packed {
    /// Which constant.
    constant: usize,
    /// Whole numbers in the constant's dimensions; of sparse ones, 1 where an element is not zero.
    pub codes: Weights,
    /// The axis with a scale for each index; none of one scale for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    axis: Option<usize>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    sparse: bool,
    /// The scales, or the elements that are not zero.
    pub floats: Vec<f32>,
}

/// Packs the constants that get smaller so.
pub(super) fn pack(model: &mut Unchecked) {
    for (index, constant) in model.constants.iter_mut().enumerate() {
        let count = constant.values.len();
        if count < FEWEST || constant.values.iter().any(|x| x.to_bits() == NEGATIVE_ZERO) {
            continue;
        }
        let scaled = axes(&constant.dims).find_map(|axis| Some((axis, scaled(constant, axis)?)));
        let (axis, (codes, floats), sparse) = match scaled {
            Some((axis, scaled)) => (axis, scaled, false),
            None => match sparse(constant) {
                Some(parts) => (None, parts, true),
                None => continue,
            },
        };
        constant.values.clear();
        model.packed.push(Packed {
            constant: index,
            codes: Weights {
                dims: constant.dims.clone(),
                codes: codes.into(),
            },
            axis,
            sparse,
            floats,
        });
    }
}

const NEGATIVE_ZERO: u32 = 1 << 31;

/// Puts the values back. The model comes from outside.
pub(in crate::network) fn unpack(model: &mut Unchecked) -> Result<(), FormatError> {
    for packed in std::mem::take(&mut model.packed) {
        let wrong = || corrupt(format!("constant {} is packed wrongly", packed.constant));
        let constant = model.constants.get_mut(packed.constant).ok_or_else(wrong)?;
        let codes = Vec::from(packed.codes.codes.clone());
        let fits = constant.values.is_empty()
            && packed.codes.dims == constant.dims
            && count(&constant.dims) == Some(codes.len());
        if !fits {
            return Err(wrong());
        }
        constant.values = match packed.sparse {
            true => {
                let mut floats = packed.floats.iter().copied();
                let mut next = || floats.next().ok_or_else(wrong);
                let values = codes.iter().map(|code| match code {
                    0 => Ok(0.0),
                    _ => next(),
                });
                let values = values.collect::<Result<Vec<f32>, _>>()?;
                if floats.next().is_some() {
                    return Err(wrong());
                }
                values
            }
            false => {
                let axis = packed.axis.filter(|axis| *axis < constant.dims.len());
                let channels = Channels::of(&constant.dims, axis);
                if axis != packed.axis || packed.floats.len() != channels.count {
                    return Err(wrong());
                }
                let mut values = vec![0.0; codes.len()];
                for (channel, scale) in packed.floats.iter().enumerate() {
                    for at in channels.places(channel) {
                        values[at] = codes[at] as f32 * scale;
                    }
                }
                values
            }
        };
    }
    Ok(())
}

fn count(dims: &[usize]) -> Option<usize> {
    let mut dims = dims.iter();
    dims.try_fold(1usize, |all, &length| all.checked_mul(length))
}

// Codes and scales whose products are the values, bit for bit.
fn scaled(constant: &Constant, axis: Option<usize>) -> Option<(Vec<i32>, Vec<f32>)> {
    let values = &constant.values;
    let channels = Channels::of(&constant.dims, axis);
    let mut codes = vec![0; values.len()];
    let mut scales = Vec::with_capacity(channels.count);
    for channel in 0..channels.count {
        let scale = exact(channels.places(channel).map(|at| values[at]))?;
        for at in channels.places(channel) {
            codes[at] = (values[at] / scale).round() as i32;
        }
        scales.push(scale);
    }
    Some((codes, scales))
}

// Where elements are not zero, and these; none where that takes as much room.
fn sparse(constant: &Constant) -> Option<(Vec<i32>, Vec<f32>)> {
    let values = constant.values.iter().copied();
    let kept: Vec<f32> = values.clone().filter(|x| *x != 0.0).collect();
    let few = 10 * kept.len() < 9 * constant.values.len();
    few.then(|| (values.map(|x| i32::from(x != 0.0)).collect(), kept))
}
