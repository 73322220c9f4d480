//! Which entries of a plan hold for which layers.

use std::collections::HashMap;

use super::{CompressError, Layer, Plan, Selection};

/// The entries that hold for a layer, by their place in the plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entries {
    pub pruning: Option<usize>,
    pub quantization: Option<usize>,
}

/// The layers of a plan, in the module's order, and the entries of each.
#[derive(Debug, Clone)]
pub(super) struct Assigned {
    pub layers: Vec<Layer>,
    pub entries: Vec<Entries>,
}

impl Assigned {
    /// The layers of a plan among those of a module. An entry that selects nothing itself holds for those
    /// of the plan's selection that no entry of its kind selects.
    pub fn new(plan: &Plan, layers: &[Layer]) -> Result<Self, CompressError> {
        let prunings: Vec<_> = plan.prunings.iter().map(|p| p.selection.as_ref()).collect();
        let quantizations = plan.quantizations.iter().map(|q| q.selection.as_ref());
        let quantizations: Vec<_> = quantizations.collect();
        let both = || prunings.iter().chain(&quantizations);
        let mut layers = plan.selection.with_groups(layers)?;
        for own in both().filter_map(|selection| *selection) {
            layers = own.with_groups(&layers)?;
        }
        let rest = match both().any(Option::is_none) {
            true => plan.selection.select(&layers)?,
            false => Vec::new(),
        };
        let pruned = claims("pruning", &prunings, &rest, &layers)?;
        let quantized = claims("quantization", &quantizations, &rest, &layers)?;
        let of = |layer: &Layer| Entries {
            pruning: pruned.get(&layer.path).copied(),
            quantization: quantized.get(&layer.path).copied(),
        };
        layers.retain(|layer| of(layer) != Entries::default());
        Ok(Self {
            entries: layers.iter().map(of).collect(),
            layers,
        })
    }
}

// The place of the selection that each layer belongs to, by the layer's path; the rest belongs to the one
// that is none.
fn claims(
    kind: &'static str,
    selections: &[Option<&Selection>],
    rest: &[Layer],
    layers: &[Layer],
) -> Result<HashMap<String, usize>, CompressError> {
    let mut claimed: HashMap<String, usize> = HashMap::new();
    let claim = |claimed: &mut HashMap<String, usize>, layer: &Layer, place: usize| match claimed
        .insert(layer.path.clone(), place)
    {
        Some(_) => Err(CompressError::Claimed {
            layer: layer.path.clone(),
            kind,
        }),
        None => Ok(()),
    };
    for (place, selection) in selections.iter().enumerate() {
        if let Some(selection) = selection {
            for layer in &selection.select(layers)? {
                claim(&mut claimed, layer, place)?;
            }
        }
    }
    let left = rest
        .iter()
        .filter(|layer| !claimed.contains_key(&layer.path));
    let left: Vec<&Layer> = left.collect();
    for (place, _) in (selections.iter().enumerate()).filter(|(_, own)| own.is_none()) {
        for layer in &left {
            claim(&mut claimed, layer, place)?;
        }
    }
    Ok(claimed)
}
