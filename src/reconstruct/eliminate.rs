//! The order in which the weights of a filter go, each with all that are left moved to make up for it
//! (Frantar and Alistarh 2022, "Optimal Brain Compression").

use super::cholesky::{Factor, dot};
use super::units::Units;

/// The cost of a filter's last unit: it goes where nothing else is left to go.
const LAST: f64 = f64::MAX;

/// A unit that went, and what that cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone {
    pub unit: usize,
    /// Rise of the squared error for each of its weights.
    pub cost: f64,
}

// A filter on its way: the inverse of the matrix of the columns that are left.
struct Filter {
    size: usize,
    inverse: Vec<f32>,
    weights: Vec<f32>,
    /// The column of each place, and the place of each column.
    columns: Vec<usize>,
    places: Vec<usize>,
    left: Vec<bool>,
    count: usize,
    row: Vec<f32>,
}

impl Filter {
    fn eliminate(&mut self, column: usize, least: f32) -> f64 {
        let place = self.places[column];
        let size = self.size;
        self.row.clear();
        self.row
            .extend_from_slice(&self.inverse[place * size..][..size]);
        let pivot = self.row[place].max(least);
        let weight = self.weights[place];
        self.left[place] = false;
        self.count -= 1;
        for (other, values) in self.inverse.chunks_mut(size).enumerate() {
            if self.left[other] {
                let factor = self.row[other] / pivot;
                for (value, row) in values.iter_mut().zip(&self.row) {
                    *value -= factor * row;
                }
            }
        }
        let factor = weight / pivot;
        for (value, row) in self.weights.iter_mut().zip(&self.row) {
            *value -= factor * row;
        }
        self.weights[place] = 0.0;
        f64::from(weight) * f64::from(factor)
    }

    // Keeps the columns that are left alone, where these are few.
    fn shrink(&mut self) {
        if self.count * 5 > self.size * 4 || self.count == 0 {
            return;
        }
        let kept: Vec<usize> = (0..self.size).filter(|place| self.left[*place]).collect();
        let mut inverse = Vec::with_capacity(kept.len() * kept.len());
        for place in &kept {
            let row = &self.inverse[place * self.size..][..self.size];
            inverse.extend(kept.iter().map(|place| row[*place]));
        }
        self.inverse = inverse;
        self.weights = kept.iter().map(|place| self.weights[*place]).collect();
        self.columns = kept.iter().map(|place| self.columns[*place]).collect();
        self.size = kept.len();
        self.left = vec![true; self.size];
        for (place, column) in self.columns.iter().enumerate() {
            self.places[*column] = place;
        }
    }

    // What it would cost to remove these columns together.
    fn cost(&self, columns: &[usize]) -> f64 {
        if let [column] = columns {
            let place = self.places[*column];
            let pivot = f64::from(self.inverse[place * self.size + place]);
            let weight = f64::from(self.weights[place]);
            return weight * weight / pivot.max(f64::from(f32::MIN_POSITIVE));
        }
        let places: Vec<usize> = columns.iter().map(|column| self.places[*column]).collect();
        let mut part = Vec::with_capacity(places.len() * places.len());
        for place in &places {
            let row = &self.inverse[place * self.size..][..self.size];
            part.extend(places.iter().map(|place| f64::from(row[*place])));
        }
        let weights = places.iter().map(|place| f64::from(self.weights[*place]));
        let weights: Vec<f64> = weights.collect();
        let mut solved = weights.clone();
        match Factor::new(part, places.len()) {
            Some(factor) => {
                factor.solve(&mut solved);
                dot(&weights, &solved)
            }
            None => f64::INFINITY,
        }
    }
}

// A unit that is left, and its columns.
type Open = (usize, Vec<usize>);

// A filter of which some columns are gone already, and the units that are left.
fn begin(
    inverse: &[f32],
    diagonal: &[f64],
    weights: &[f64],
    gone: &[bool],
    units: &Units,
) -> (Filter, Vec<Open>, Vec<usize>) {
    let size = weights.len();
    let mut filter = Filter {
        size,
        inverse: inverse.to_vec(),
        weights: weights.iter().map(|weight| *weight as f32).collect(),
        columns: (0..size).collect(),
        places: (0..size).collect(),
        left: vec![true; size],
        count: size,
        row: Vec::with_capacity(size),
    };
    let mut quota = units.quota.clone();
    for column in (0..size).filter(|column| gone[*column]) {
        filter.eliminate(column, least(diagonal, column));
        if let Some(group) = units.group.get(column) {
            quota[*group] = quota[*group].saturating_sub(1);
        }
        filter.shrink();
    }
    let mut open: Vec<Open> = Vec::new();
    for (unit, columns) in units.columns.iter().enumerate() {
        let left = columns.iter().copied().filter(|column| !gone[*column]);
        let left: Vec<usize> = left.collect();
        if !left.is_empty() {
            open.push((unit, left));
        }
    }
    (filter, open, quota)
}

// What rounding may not fall below: the diagonal of an inverse is at least the inverse of the diagonal.
fn least(diagonal: &[f64], column: usize) -> f32 {
    (1.0 / diagonal[column]) as f32
}

/// The order of a filter's units from the cheapest on, without those of which all is gone already; as far
/// as the pattern lets them go.
pub(super) fn order(
    inverse: &[f32],
    diagonal: &[f64],
    weights: &[f64],
    gone: &[bool],
    units: &Units,
) -> Vec<Gone> {
    let (mut filter, mut open, mut quota) = begin(inverse, diagonal, weights, gone, units);
    let mut order = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let costs = open
            .iter()
            .enumerate()
            .filter_map(|(place, (unit, columns))| {
                let may_go = units.group.get(*unit).is_none_or(|group| quota[*group] > 0);
                may_go.then(|| (place, filter.cost(columns) / columns.len() as f64))
            });
        let Some((place, cost)) = costs.min_by(|(_, a), (_, b)| a.total_cmp(b)) else {
            break;
        };
        let (unit, columns) = open.remove(place);
        for column in columns {
            filter.eliminate(column, least(diagonal, column));
        }
        if let Some(group) = units.group.get(unit) {
            quota[*group] -= 1;
        }
        filter.shrink();
        let cost = if open.is_empty() { LAST } else { cost };
        order.push(Gone { unit, cost });
    }
    order
}

/// The same by what each unit would cost as the first: for long filters.
pub(super) fn order_at_once(
    inverse: &[f32],
    diagonal: &[f64],
    weights: &[f64],
    gone: &[bool],
    units: &Units,
) -> Vec<Gone> {
    let (filter, open, mut quota) = begin(inverse, diagonal, weights, gone, units);
    let costs = open.iter().map(|(unit, columns)| Gone {
        unit: *unit,
        cost: filter.cost(columns) / columns.len() as f64,
    });
    let mut order: Vec<Gone> = costs.collect();
    order.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    if let Some(last) = order.last_mut() {
        last.cost = LAST;
    }
    order.retain(|gone| match units.group.get(gone.unit) {
        Some(group) if quota[*group] == 0 => false,
        Some(group) => {
            quota[*group] -= 1;
            true
        }
        None => true,
    });
    order
}

#[cfg(test)]
mod tests {
    use super::{order, order_at_once};
    use crate::format::WeightView;
    use crate::prune::Pattern;
    use crate::reconstruct::cholesky::Factor;
    use crate::reconstruct::units::Units;

    // Columns 0 and 1 carry almost the same input.
    const H: [f64; 9] = [1.0, 0.95, 0.0, 0.95, 1.0, 0.0, 0.0, 0.0, 1.0];

    fn inverse() -> Vec<f32> {
        let factor = Factor::new(H.to_vec(), 3).unwrap();
        factor
            .inverse()
            .into_iter()
            .map(|value| value as f32)
            .collect()
    }

    fn units(pattern: Pattern) -> Units {
        Units::new(pattern, &WeightView::new(vec![1, 3], 0).unwrap())
    }

    #[test]
    fn a_weight_whose_input_another_carries_goes_first() {
        let weights = [0.9, 1.0, 0.5];
        let order = order(
            &inverse(),
            &[1.0; 3],
            &weights,
            &[false; 3],
            &units(Pattern::Unstructured),
        );
        // By magnitude, the last would go first: its loss is 0.25. Without the first, the second is
        // 1 + 0.95 * 0.9, and the loss (1 - 0.95²) * 0.81.
        assert_eq!(order[0].unit, 0);
        assert!(
            (order[0].cost - 0.0975 * 0.81).abs() < 1e-5,
            "{}",
            order[0].cost
        );
        assert_eq!(order[1].unit, 2);
        assert!((order[1].cost - 0.25).abs() < 1e-5);
        // The last goes after all others of the layer.
        assert_eq!((order.len(), order[2].cost), (3, f64::MAX));
    }

    #[test]
    fn what_is_gone_is_made_up_for_first() {
        let units = units(Pattern::Unstructured);
        let gone = [true, false, false];
        let order = order(&inverse(), &[1.0; 3], &[0.9, 0.1, 0.5], &gone, &units);
        assert_eq!(order[0].unit, 2); // the second is 0.1 + 0.95 * 0.9 by now
    }

    #[test]
    fn groups_of_n_of_m_keep_theirs() {
        let units = units(Pattern::NOfM { n: 1, m: 2 });
        for of in [order, order_at_once] {
            let order = of(
                &inverse(),
                &[1.0; 3],
                &[0.9, 1.0, 0.01],
                &[false; 3],
                &units,
            );
            assert_eq!(order.len(), 1);
            assert_eq!(order[0].unit, 0);
        }
    }

    #[test]
    fn a_block_costs_what_its_weights_cost_together() {
        let units = units(Pattern::Block { channels: 2 });
        let order = order(&inverse(), &[1.0; 3], &[0.9, 1.0, 9.0], &[false; 3], &units);
        // w h w of the two columns, over their number.
        let together = 0.81 + 1.0 + 2.0 * 0.95 * 0.9;
        assert_eq!(order[0].unit, 0);
        assert!(
            (order[0].cost - together / 2.0).abs() < 1e-4,
            "{}",
            order[0].cost
        );
    }
}
