//! Where a step puts its result, one element after the other.

use std::borrow::Cow;

use crate::format::Requantize;

use super::{Elements, Grid};

/// Sums beyond this need not be exact as `f32`.
const EXACT: u32 = 1 << 24;

/// What a step reads.
pub(crate) struct Operand<'a> {
    pub dims: Vec<usize>,
    pub grid: Option<Grid>,
    pub elements: View<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum View<'a> {
    Codes(&'a [i32]),
    Values(&'a [f32]),
}

impl<'a> Operand<'a> {
    pub fn of_codes(dims: Vec<usize>, grid: Grid, codes: &'a [i32]) -> Self {
        Self {
            dims,
            grid: Some(grid),
            elements: View::Codes(codes),
        }
    }

    pub fn of_values(dims: Vec<usize>, values: &'a [f32]) -> Self {
        Self {
            dims,
            grid: None,
            elements: View::Values(values),
        }
    }

    /// Centred codes. A checked model asks for them where they are.
    pub fn codes(&self) -> Result<&'a [i32], String> {
        match self.elements {
            View::Codes(codes) => Ok(codes),
            View::Values(_) => Err("an operand is no tensor of codes".to_string()),
        }
    }

    /// Floats; codes are dequantized.
    pub fn values(&self) -> Result<Cow<'a, [f32]>, String> {
        match (self.elements, self.grid) {
            (View::Values(values), _) => Ok(Cow::Borrowed(values)),
            (View::Codes(codes), Some(grid)) => {
                let mut values = reserve(codes.len())?;
                values.extend(codes.iter().map(|&code| grid.dequantize(code)));
                Ok(Cow::Owned(values))
            }
            _ => Err("an operand's codes have no grid".to_string()),
        }
    }
}

/// Room for elements, or an error where there is no memory for them.
pub(crate) fn reserve<T>(elements: usize) -> Result<Vec<T>, String> {
    let mut room = Vec::new();
    match room.try_reserve_exact(elements) {
        Ok(()) => Ok(room),
        Err(_) => Err(format!("no memory for {elements} elements")),
    }
}

/// The same, filled.
pub(crate) fn filled<T: Copy>(elements: usize, value: T) -> Result<Vec<T>, String> {
    let mut room = reserve(elements)?;
    room.resize(elements, value);
    Ok(room)
}

pub(super) struct Sink {
    grid: Option<(Grid, Requantize)>,
    elements: Elements,
    /// Sums that need not be exact as `f32`.
    pub inexact: u64,
}

impl Sink {
    pub fn new(grid: Option<Grid>, elements: usize) -> Result<Self, String> {
        let grid = match grid {
            Some(grid) => {
                let requantize = Requantize::new(grid.scheme(), grid.zero_point());
                Some((grid, requantize.map_err(|error| error.to_string())?))
            }
            None => None,
        };
        let elements = match grid {
            Some(_) => Elements::Codes(reserve(elements)?),
            None => Elements::Values(reserve(elements)?),
        };
        Ok(Self {
            grid,
            elements,
            inexact: 0,
        })
    }

    /// Elements so far.
    pub fn len(&self) -> usize {
        match &self.elements {
            Elements::Codes(codes) => codes.len(),
            Elements::Values(values) => values.len(),
        }
    }

    /// A sum, on its way to a float.
    #[inline]
    pub fn sum(&mut self, sum: i32) -> i32 {
        self.inexact += u64::from(sum.unsigned_abs() > EXACT);
        sum
    }

    /// A number in units of the grid's scale.
    #[inline]
    pub fn push(&mut self, t: f32) {
        match (&mut self.elements, &self.grid) {
            (Elements::Codes(codes), Some((_, requantize))) => codes.push(requantize.centred(t)),
            (Elements::Values(values), _) => values.push(t),
            // Codes have a grid, by `new`.
            (Elements::Codes(_), None) => {}
        }
    }

    /// A real number.
    pub fn push_value(&mut self, value: f32) {
        match &self.grid {
            Some((grid, _)) => self.push((value - grid.offset()) / grid.scale()),
            None => self.push(value),
        }
    }

    pub fn finish(self) -> (Elements, u64) {
        (self.elements, self.inexact)
    }
}
