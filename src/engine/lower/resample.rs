//! Interpolation, and means of windows of several sizes.

use super::node::Resample;
use super::shape::Shape;
use crate::network::{Op, Over};

/// What an operation on floats sums, each times a factor; none of another.
pub(in crate::engine) fn of(op: &Op, from: &Shape, to: &Shape) -> Option<Resample> {
    let sizes = [[from.rows, to.rows], [from.columns, to.columns]];
    let interpolates = match op {
        Op::UpsampleBilinear { align_corners } => Some(*align_corners),
        op => match op.sums()? {
            (Over::Shares { .. }, _) => None,
            _ => return None,
        },
    };
    let [rows, columns] = sizes.map(|sizes| match interpolates {
        Some(align_corners) => between(sizes, align_corners),
        None => shares(sizes),
    });
    Some(Resample { rows, columns })
}

// The two neighbours of each place and their weights, as the reference finds them: in double precision.
fn between([length, places]: [usize; 2], align_corners: bool) -> Vec<Vec<(usize, f32)>> {
    let place = |place: usize| {
        let from = length as f64;
        let at = match align_corners {
            true => place as f64 * ((from - 1.0) / places.saturating_sub(1).max(1) as f64),
            false => (place as f64 + 0.5) * (from / places as f64) - 0.5,
        };
        let low = (at.floor().max(0.0) as usize).min(length - 1);
        let high = (low + 1).min(length - 1);
        let second = (at - low as f64).max(0.0) as f32;
        vec![(low, 1.0 - second), (high, second)]
    };
    (0..places).map(place).collect()
}

// Windows that share the operand evenly: the mean of each.
fn shares([length, places]: [usize; 2]) -> Vec<Vec<(usize, f32)>> {
    let window = |place: usize| {
        let window = place * length / places..((place + 1) * length).div_ceil(places);
        let share = 1.0 / window.len() as f32;
        window.map(|at| (at, share)).collect()
    };
    (0..places).map(window).collect()
}
