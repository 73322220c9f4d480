//! The choice of a candidate for each layer: least damage under limits, by dynamic programming on
//! discretized costs.

/// Steps of a limit. Costs are rounded up to whole steps, so that a sum never exceeds it.
const STEPS: usize = 10_000;

/// What a step may be missed by.
const ROUNDING: f64 = 1e-6;

/// Costs that are limited: of each layer and candidate.
pub(super) struct Constraint {
    pub costs: Vec<Vec<f64>>,
    pub limit: f64,
}

impl Constraint {
    // A cost, as a share of the limit.
    fn share(&self, layer: usize, candidate: usize) -> f64 {
        self.costs[layer][candidate] / self.limit.max(f64::MIN_POSITIVE)
    }

    fn holds(&self, choice: &[usize]) -> bool {
        let costs = choice.iter().zip(&self.costs);
        let sum: f64 = costs.map(|(candidate, costs)| costs[*candidate]).sum();
        sum <= self.limit * (1.0 + ROUNDING)
    }
}

#[derive(Debug, PartialEq)]
pub(super) struct Solution {
    /// The candidate of each layer.
    pub choice: Vec<usize>,
    /// Whether it keeps all limits; else it is the cheapest.
    pub meets: bool,
}

/// Damages are infinite where a layer does not bear a candidate; each layer bears one at least.
pub(super) fn solve(damages: &[Vec<f64>], constraints: &[Constraint]) -> Solution {
    let met = |choice| Solution {
        choice,
        meets: true,
    };
    let Some((first, others)) = constraints.split_first() else {
        let least = damages.iter().map(|of| least(of.iter().copied()));
        return met(least.collect());
    };
    // Of several limits, the others' costs are weighted against damage, as little as keeps them.
    let weighted = |weight: f64| {
        let damages = damages.iter().enumerate().map(|(layer, of)| {
            let of = of.iter().enumerate().map(|(candidate, damage)| {
                let shares = others.iter().map(|of| of.share(layer, candidate));
                damage + weight * shares.sum::<f64>()
            });
            of.collect()
        });
        let damages: Vec<Vec<f64>> = damages.collect();
        let choice = knapsack(&damages, first)?;
        others.iter().all(|of| of.holds(&choice)).then_some(choice)
    };
    let Some(choice) = weighted(0.0) else {
        return match others.is_empty() {
            true => cheapest(damages, constraints),
            false => lightest(weighted).map_or_else(|| cheapest(damages, constraints), met),
        };
    };
    met(choice)
}

// The choice of the least weight that gives one.
fn lightest(weighted: impl Fn(f64) -> Option<Vec<usize>>) -> Option<Vec<usize>> {
    let (mut low, mut high) = (1e-6f64, 1e-6f64);
    let mut best = None;
    while best.is_none() && high < 1e6 {
        (low, high) = (high, high * 10.0);
        best = weighted(high);
    }
    best.as_ref()?;
    for _ in 0..20 {
        let middle = (low * high).sqrt();
        match weighted(middle) {
            Some(choice) => (best, high) = (Some(choice), middle),
            None => low = middle,
        }
    }
    best
}

fn cheapest(damages: &[Vec<f64>], constraints: &[Constraint]) -> Solution {
    let choice = damages.iter().enumerate().map(|(layer, of)| {
        let costs = of.iter().enumerate().map(|(candidate, damage)| {
            let shares = constraints.iter().map(|of| of.share(layer, candidate));
            match damage.is_finite() {
                true => shares.sum(),
                false => f64::INFINITY,
            }
        });
        least(costs)
    });
    Solution {
        choice: choice.collect(),
        meets: false,
    }
}

// The place of the least value, the first of equal ones.
fn least(values: impl Iterator<Item = f64>) -> usize {
    let least = values.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b));
    least.map_or(0, |(place, _)| place)
}

// Least damage under one limit; of equal ones the cheapest. None where nothing keeps it.
fn knapsack(damages: &[Vec<f64>], of: &Constraint) -> Option<Vec<usize>> {
    if of.limit < 0.0 {
        return None;
    }
    let steps = |cost: f64| match cost <= 0.0 {
        true => 0,
        // Beyond all steps where it is infinite.
        false => (cost / of.limit * STEPS as f64 - ROUNDING).ceil() as usize,
    };
    let mut sums = vec![f64::INFINITY; STEPS + 1];
    sums[0] = 0.0;
    let mut chosen: Vec<Vec<u32>> = Vec::with_capacity(damages.len());
    for (damages, costs) in damages.iter().zip(&of.costs) {
        let mut next = vec![f64::INFINITY; STEPS + 1];
        let mut choice = vec![0; STEPS + 1];
        for (candidate, (damage, cost)) in damages.iter().zip(costs).enumerate() {
            let steps = steps(*cost);
            if steps > STEPS || !damage.is_finite() {
                continue;
            }
            for (from, sum) in sums[..=STEPS - steps].iter().enumerate() {
                let sum = sum + damage;
                if sum < next[from + steps] {
                    next[from + steps] = sum;
                    choice[from + steps] = candidate as u32;
                }
            }
        }
        chosen.push(choice);
        sums = next;
    }
    let mut at = least(sums.iter().copied());
    if !sums[at].is_finite() {
        return None;
    }
    let mut choice = vec![0; damages.len()];
    for layer in (0..damages.len()).rev() {
        let candidate = chosen[layer][at] as usize;
        choice[layer] = candidate;
        at -= steps(of.costs[layer][candidate]);
    }
    Some(choice)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::{Constraint, STEPS, Solution, solve};

    fn total(of: &[Vec<f64>], choice: &[usize]) -> f64 {
        of.iter().zip(choice).map(|(of, at)| of[*at]).sum()
    }

    // Every choice of so many layers.
    fn all(layers: usize, candidates: usize) -> Vec<Vec<usize>> {
        let count = candidates.pow(layers as u32);
        let digits = |mut number: usize| {
            let mut choice = Vec::new();
            for _ in 0..layers {
                choice.push(number % candidates);
                number /= candidates;
            }
            choice
        };
        (0..count).map(digits).collect()
    }

    // Costs of whole steps, so that none is rounded.
    fn tables(rng: &mut StdRng, layers: usize, candidates: usize) -> [Vec<Vec<f64>>; 2] {
        let mut table = |most: usize| -> Vec<Vec<f64>> {
            let mut row = |_| {
                (0..candidates)
                    .map(|_| rng.random_range(0..most) as f64)
                    .collect()
            };
            (0..layers).map(&mut row).collect()
        };
        [table(1000), table(STEPS / 2)]
    }

    #[test]
    fn one_limit_is_solved_as_trying_all_does() {
        let mut rng = StdRng::seed_from_u64(7);
        let (mut met, mut missed) = (0, 0);
        for case in 0..40 {
            let (layers, candidates) = (1 + case % 5, 2 + case % 4);
            let [damages, mut costs] = tables(&mut rng, layers, candidates);
            // Now and then nothing keeps the limit.
            if case % 8 == 7 {
                costs[0]
                    .iter_mut()
                    .for_each(|cost| *cost += 1.0 + STEPS as f64);
            }
            let all = all(layers, candidates);
            let limit = STEPS as f64;
            let kept = all.iter().filter(|choice| total(&costs, choice) <= limit);
            let best = kept.map(|choice| total(&damages, choice));
            let best = best.min_by(f64::total_cmp);
            let constraint = Constraint {
                costs: costs.clone(),
                limit,
            };
            let Solution { choice, meets } = solve(&damages, &[constraint]);
            assert_eq!(meets, best.is_some());
            match best {
                Some(best) => {
                    met += 1;
                    assert!(total(&costs, &choice) <= limit);
                    assert_eq!(total(&damages, &choice), best);
                }
                None => {
                    missed += 1;
                    let least = all.iter().map(|choice| total(&costs, choice));
                    let least = least.min_by(f64::total_cmp);
                    assert_eq!(Some(total(&costs, &choice)), least);
                }
            }
        }
        assert!(met > 10 && missed > 0, "{met} met, {missed} missed");
    }

    #[test]
    fn what_a_layer_does_not_bear_is_not_chosen() {
        let damages = vec![vec![5.0, f64::INFINITY], vec![1.0, 3.0]];
        let costs = vec![vec![4.0, 0.0], vec![4.0, 1.0]];
        let of = |limit: f64| {
            let costs = costs.clone();
            solve(&damages, &[Constraint { costs, limit }])
        };
        assert_eq!(of(8.0).choice, [0, 0]);
        assert_eq!(of(6.0).choice, [0, 1]);
        let none = of(2.0);
        assert!(!none.meets);
        assert_eq!(none.choice, [0, 1]);
        assert!(!of(-1.0).meets);
    }

    #[test]
    fn several_limits_hold_together() {
        let mut rng = StdRng::seed_from_u64(9);
        let mut worse = 0.0f64;
        let mut met = 0;
        for _ in 0..12 {
            let [damages, first] = tables(&mut rng, 5, 3);
            let [_, second] = tables(&mut rng, 5, 3);
            let limit = STEPS as f64;
            let constraints = [first.clone(), second.clone()];
            let constraints = constraints.map(|costs| Constraint { costs, limit });
            let found = solve(&damages, &constraints);
            let holds = |choice: &Vec<usize>| {
                total(&first, choice) <= limit && total(&second, choice) <= limit
            };
            let all = all(5, 3);
            let kept = all.iter().filter(|choice| holds(choice));
            let best = kept.map(|choice| total(&damages, choice));
            if let Some(best) = best.min_by(f64::total_cmp) {
                if found.meets {
                    met += 1;
                    assert!(holds(&found.choice));
                    worse = worse.max(total(&damages, &found.choice) / best.max(1.0));
                }
            } else {
                assert!(!found.meets);
            }
        }
        // Weighting is no exact method: it keeps the limits, and comes near.
        assert!(
            met > 6 && worse < 1.6,
            "{met} met, {worse} of the least damage"
        );
    }
}
