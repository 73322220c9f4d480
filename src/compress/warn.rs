//! Warnings about the compressed weights of a layer.

use super::{Layer, LayerSummary};
use crate::Warning;
use crate::format::QuantizedWeight;

/// Codes that must be possible before few of them are worth a warning.
const FEW: usize = 8;
/// The share of its codes below which a layer uses few.
const SMALL_PART: usize = 4;
/// Codes below this stand for weights that rounding may change by a tenth or more.
const COARSE: i32 = 5;

/// `values`: the weights in rows. `pruned`: whether the plan removes weights.
pub(super) fn weights(
    layer: &Layer,
    summary: &LayerSummary,
    values: &[f32],
    quantized: Option<&QuantizedWeight>,
    pruned: bool,
) -> Vec<Warning> {
    let path = || layer.path.clone();
    if summary.removed == summary.weights {
        let emptied = Warning::Emptied {
            layer: path(),
            weights: summary.weights,
        };
        // Else they were zero before: a branch that starts at zero.
        return pruned.then_some(emptied).into_iter().collect();
    }
    let mut warnings = Vec::new();
    if summary.frozen {
        warnings.push(Warning::NoGradient { layer: path() });
    }
    if summary.guarded {
        warnings.push(Warning::Guarded {
            layer: path(),
            kept: summary.weights - summary.removed,
            weights: summary.weights,
        });
    }
    let channels = layer.view.rows();
    let rows = values.chunks(layer.view.columns().max(1));
    let dead = rows.filter(|row| row.iter().all(|value| *value == 0.0));
    let dead = dead.count();
    if dead > 0 {
        warnings.push(Warning::DeadChannels {
            layer: path(),
            dead,
            channels,
        });
    }
    if let Some(weight) = quantized {
        let removed = if pruned { summary.removed } else { 0 };
        let (low, high) = weight.scheme().code_range();
        let codes = (high - low + 1) as usize;
        warnings.extend(
            few_codes(weight, removed, codes).map(|used| Warning::UnusedCodes {
                layer: path(),
                used,
                codes,
                bits: weight.scheme().bits(),
            }),
        );
    }
    warnings
}

// How many codes occur, where that is a small part of those that the weights left could take, and most
// of these are coarse for it.
fn few_codes(weight: &QuantizedWeight, removed: usize, codes: usize) -> Option<usize> {
    let kept = weight.codes().len() - removed;
    let possible = codes.min(kept);
    if possible < FEW {
        return None;
    }
    let (low, _) = weight.scheme().code_range();
    let mut seen = vec![false; codes];
    for &code in weight.codes() {
        seen[(code - low) as usize] = true;
    }
    let used = seen.into_iter().filter(|seen| *seen).count();
    let centred = weight.centred().into_iter();
    let coarse = centred.filter(|code| code.abs() < COARSE).count() - removed;
    // One code alone stands for weights that are all the same, exactly.
    (used > 1 && used * SMALL_PART < possible && 2 * coarse > kept).then_some(used)
}
