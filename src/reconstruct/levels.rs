//! How many weights each layer loses.

use super::eliminate::Gone;

/// What the removal of a unit costs, where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub cost: f64,
    /// Weights that go.
    pub weights: usize,
    /// The layer or the row.
    pub place: usize,
}

/// The costs of a filter's units in the order in which they go. A unit costs no less than those before
/// it, since it goes after them.
pub(super) fn costs<'a>(
    order: &'a [Gone],
    weights: impl Fn(usize) -> usize + 'a,
    importance: f64,
    place: usize,
) -> impl Iterator<Item = Cost> + 'a {
    let mut greatest = 0.0f64;
    order.iter().map(move |gone| {
        greatest = greatest.max(gone.cost * importance);
        Cost {
            cost: greatest,
            weights: weights(gone.unit),
            place,
        }
    })
}

/// The cheapest units up to so many weights: how many units and weights of each place go. A unit goes as
/// long as its middle lies within the number.
pub(super) fn cheapest(
    mut costs: Vec<Cost>,
    places: usize,
    most: impl Fn(usize) -> usize,
    count: usize,
) -> Vec<(usize, usize)> {
    costs.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    let mut gone = vec![(0, 0); places];
    let mut left = count;
    for Cost { weights, place, .. } in costs {
        if left < weights.div_ceil(2) {
            break;
        }
        let (units, removed) = &mut gone[place];
        if *removed + weights <= most(place) {
            *units += 1;
            *removed += weights;
            left = left.saturating_sub(weights);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::{Cost, Gone, cheapest, costs};

    #[test]
    fn a_unit_costs_no_less_than_those_before_it() {
        let order = [2.0, 1.0, 3.0].map(|cost| Gone { unit: 0, cost });
        let costs = costs(&order, |_| 1, 2.0, 0).map(|cost| cost.cost);
        assert_eq!(costs.collect::<Vec<_>>(), [4.0, 4.0, 6.0]);
    }

    #[test]
    fn the_cheapest_go_and_each_place_keeps_some() {
        let cost = |cost: f64, place: usize| Cost {
            cost,
            weights: 2,
            place,
        };
        let all = vec![cost(1.0, 0), cost(2.0, 0), cost(3.0, 1), cost(4.0, 1)];
        let gone = cheapest(all.clone(), 2, |_| 4, 5);
        assert_eq!(gone, [(2, 4), (1, 2)]); // the middle of the third is within 5
        assert_eq!(cheapest(all, 2, |_| 2, 4), [(1, 2), (1, 2)]);
    }
}
