use super::FloatOp;
use crate::network::{expand, filled, reserve};

impl FloatOp {
    /// Computes it in the processor's memory, the last axis fastest: values and dimensions of the
    /// operands, dimensions of the result. The error says what is wrong with them.
    pub(crate) fn compute(
        &self,
        operands: &[(&[f32], &[usize])],
        dims: &[usize],
    ) -> Result<Vec<f32>, String> {
        let full = |(values, from): (&[f32], &[usize])| expand(values, from, dims).map(Vec::from);
        match (self.axis(), operands) {
            (None, &[(table, from), (places, _)]) if *self == Self::Lookup => {
                let row: usize = from[1..].iter().product();
                let mut result = reserve(places.len() * row)?;
                for &place in places {
                    let wrong = || format!("{place} is no row of {}", from[0]);
                    let exists = place.trunc() >= 0.0 && place.trunc() < from[0] as f32;
                    let start = exists.then_some(place as usize * row).ok_or_else(wrong)?;
                    result.extend_from_slice(&table[start..start + row]);
                }
                Ok(result)
            }
            (None, &[otherwise, mask, chosen]) => {
                let mut result = full(otherwise)?;
                let chosen = full(chosen)?.into_iter().zip(full(mask)?);
                for (to, (chosen, mask)) in result.iter_mut().zip(chosen) {
                    if mask != 0.0 {
                        *to = chosen;
                    }
                }
                Ok(result)
            }
            (None, &[one, other]) => {
                let mut result = full(one)?;
                let other = full(other)?;
                let pairs = result.iter_mut().zip(other);
                pairs.for_each(|(a, b)| *a = self.pair(*a, b));
                Ok(result)
            }
            (Some(axis), &[(input, from), ref rest @ ..]) => {
                let length = from[axis];
                let inner: usize = from[axis + 1..].iter().product();
                let places = match (self, rest) {
                    (Self::Select { indices, .. }, []) => {
                        return picked(input, (length, inner), dims[axis], |_, row| indices[row]);
                    }
                    (Self::Gather { .. }, &[(indices, own)]) => {
                        let mut of_all = from.to_vec();
                        of_all[axis] = dims[axis];
                        expand(indices, own, &of_all)?
                    }
                    _ => return self.along(input, (length, inner), dims[axis]),
                };
                picked(input, (length, inner), dims[axis], |place, _| {
                    places[place] as usize
                })
            }
            _ => Err(format!("{} lacks operands", self.name())),
        }
    }

    fn pair(&self, a: f32, b: f32) -> f32 {
        let mask = |set: bool| f32::from(u8::from(set));
        match self {
            Self::Power => a.powf(b),
            Self::Greater => mask(a > b),
            Self::GreaterEqual => mask(a >= b),
            Self::Less => mask(a < b),
            Self::LessEqual => mask(a <= b),
            Self::Equal => mask(a == b),
            _ => mask(a != b),
        }
    }

    // Along an axis of this length, whose elements are `inner` apart; `kept` of them are left.
    fn along(
        &self,
        input: &[f32],
        (length, inner): (usize, usize),
        kept: usize,
    ) -> Result<Vec<f32>, String> {
        // Sums and products are of double precision: each result is rounded once.
        let join = |a: f64, b: f64| match self {
            Self::Max { .. } | Self::CumulativeMax { .. } => a.max(b),
            Self::Min { .. } | Self::CumulativeMin { .. } => a.min(b),
            Self::Product { .. } | Self::CumulativeProduct { .. } => a * b,
            _ => a + b,
        };
        let outer = input.len() / (length * inner).max(1);
        let mut result = filled(outer * kept * inner, 0.0)?;
        let mut sorted = Vec::new();
        for block in 0..outer {
            for lane in 0..inner {
                let own = |row: usize| input[(block * length + row) * inner + lane];
                let value = |row: usize| f64::from(own(row));
                let at = |row: usize| (block * kept + row) * inner + lane;
                if let Self::LogSoftmax { .. } = self {
                    let greatest = (0..length).map(value).fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = (0..length).map(|row| (value(row) - greatest).exp()).sum();
                    for row in 0..length {
                        result[at(row)] = (value(row) - greatest - sum.ln()) as f32;
                    }
                    continue;
                }
                if let Self::Sort { .. } | Self::SortDescending { .. } = self {
                    sorted.clear();
                    sorted.extend((0..length).map(own));
                    sorted.sort_unstable_by(f32::total_cmp);
                    if let Self::SortDescending { .. } = self {
                        sorted.reverse();
                    }
                    (0..length).for_each(|row| result[at(row)] = sorted[row]);
                    continue;
                }
                let mut joined = value(0);
                result[at(0)] = joined as f32;
                for row in 1..length {
                    joined = join(joined, value(row));
                    result[at(row.min(kept - 1))] = joined as f32;
                }
            }
        }
        Ok(result)
    }
}

// For each element of the result the one at a place of the axis.
fn picked(
    input: &[f32],
    (length, inner): (usize, usize),
    kept: usize,
    row_of: impl Fn(usize, usize) -> usize,
) -> Result<Vec<f32>, String> {
    let outer = input.len() / (length * inner).max(1);
    let mut result = reserve(outer * kept * inner)?;
    for place in 0..outer * kept * inner {
        let (row, block) = (place / inner % kept, place / inner / kept);
        let from = row_of(place, row);
        let index = (block * length + from) * inner + place % inner;
        let value = input.get(index).filter(|_| from < length);
        result.push(*value.ok_or("an index beyond its axis")?);
    }
    Ok(result)
}
