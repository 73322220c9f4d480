//! What the owner of a program should know of its layers.

use super::LayerProfile;
use crate::Warning;
use crate::network::{Network, StepOp};

/// The share of a pass below which a step is not worth a warning.
const SMALL: f64 = 0.01;

/// Of the layers of a pass: those that run plainly, and those in floats of a model in whole numbers.
pub(super) fn layers(model: &Network, rows: &[LayerProfile]) -> Vec<Warning> {
    let mut steps = model.steps().iter();
    let whole_numbers = steps.any(|step| matches!(step.op, StepOp::Product { .. }));
    let all: f64 = rows.iter().filter_map(LayerProfile::of_one).sum();
    let mut warnings: Vec<Warning> = Vec::new();
    for row in rows {
        let share = row.of_one().filter(|_| all > 0.0).map(|time| time / all);
        let (layer, operation) = (row.layer.clone(), row.kernel.clone());
        let warning = match row.plain() {
            Some(operation) => Warning::Plain {
                layer,
                operation: operation.to_string(),
                share,
            },
            None if row.in_float && whole_numbers => Warning::InFloat {
                layer,
                operation,
                share,
            },
            None => continue,
        };
        // Several steps of a layer are one warning.
        match warnings.iter_mut().find(|known| known.is_like(&warning)) {
            Some(known) => known.add_share(share),
            None => warnings.push(warning),
        }
    }
    warnings.retain(|warning| warning.share().is_none_or(|share| share >= SMALL));
    warnings
}

/// Of a model that has no plan: all of it runs plainly.
pub(super) fn without_plan() -> Vec<Warning> {
    vec![Warning::Plain {
        layer: "the model".to_string(),
        operation: "every operation".to_string(),
        share: None,
    }]
}
