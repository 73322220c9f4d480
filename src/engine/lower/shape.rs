//! What vector blocks hold of a tensor.

use crate::network::{Dim, Grid, Network, Value};

/// Channels, rows and columns of a tensor that vector blocks can hold: `[N, C]`, `[N, C, L]`, `[N, C, H, W]`.
pub(in crate::engine) fn spatial(dims: &[Dim]) -> Option<[usize; 3]> {
    let fixed = |dim: &Dim| match dim {
        Dim::Fixed(length) => Some(*length),
        Dim::Batch(_) => None,
    };
    match dims {
        [Dim::Batch(1), channels] => Some([fixed(channels)?, 1, 1]),
        [Dim::Batch(1), channels, columns] => Some([fixed(channels)?, 1, fixed(columns)?]),
        [Dim::Batch(1), channels, rows, columns] => {
            Some([fixed(channels)?, fixed(rows)?, fixed(columns)?])
        }
        _ => None,
    }
}

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
}

impl Shape {
    /// None of one that vector blocks cannot hold.
    pub fn of(model: &Network, value: Value) -> Option<Self> {
        if !value.is_activation() {
            return None;
        }
        let [channels, rows, columns] = spatial(&model.dims(value))?;
        Some(Self {
            kind: Kind::of(model.grid(value))?,
            channels,
            rows,
            columns,
        })
    }
}
