//! What vector blocks hold of a tensor.

use super::axes::Axes;
use super::viewed::Viewed;
use crate::network::{Grid, Value};

/// What vector blocks hold of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::engine) enum Kind {
    /// Bytes, from this centred code on.
    Codes {
        low: i32,
    },
    Floats,
}

impl Kind {
    /// None where the codes take more than a byte.
    pub fn of(grid: Option<Grid>) -> Option<Self> {
        match grid {
            None => Some(Self::Floats),
            Some(grid) if grid.high() - grid.low() <= 255 => Some(Self::Codes { low: grid.low() }),
            Some(_) => None,
        }
    }

    /// Channels of a plane of vector blocks.
    pub fn unit(self) -> usize {
        match self {
            Self::Codes { .. } => 4,
            Self::Floats => 1,
        }
    }
}

/// What is known of a tensor that vector blocks can hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::engine) struct Shape {
    pub kind: Kind,
    pub channels: usize,
    pub rows: usize,
    pub columns: usize,
    pub axes: Axes,
}

impl Shape {
    /// None of one that vector blocks cannot hold.
    pub fn of(model: &Viewed, value: Value) -> Option<Self> {
        let axes = model.axes(value)?;
        Some(Self {
            kind: Kind::of(model.grid(value))?,
            channels: axes.channels(),
            rows: axes.rows(),
            columns: axes.columns(),
            axes,
        })
    }

    pub fn size(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Whether both lie alike, element by element.
    pub fn lies_like(&self, other: &Self) -> bool {
        let of = |shape: &Self| (shape.kind, shape.channels, shape.size());
        of(self) == of(other)
    }
}
